"""A transaction that hangs in Kafka is found, and ended by who has its name."""

import socket
import struct
from contextlib import closing

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from icat_stream.config import Settings
from icat_stream.sandbox.kafka import JavaBroker
from icat_stream.stream import (
    Hanging,
    find_hanging,
    free_hanging,
    transactional_id,
)

pytestmark = pytest.mark.kafka

INIT_PRODUCER_ID, TXN_OFFSET_COMMIT = 22, 28


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


class Wire:
    """Kafka's protocol by hand: what no client would ever send."""

    def __init__(self, bootstrap):
        host, _, port = bootstrap.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), 60)

    def close(self):
        self._socket.close()

    def ask(self, kind, version, body):
        request = struct.pack(">hhi", kind, version, 1) + text("by hand") + body
        self._socket.sendall(struct.pack(">i", len(request)) + request)
        size = struct.unpack(">i", self._read(4))[0]
        return self._read(size)[4:]

    def _read(self, size):
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            assert more
            data += more
        return data

    def hang(self, sender, group, topic, offset):
        """Leave an offset in a transaction of which no coordinator knows."""
        body = text(sender) + struct.pack(">i", 10_000)
        answer = self.ask(INIT_PRODUCER_ID, 1, body)
        _, error, producer, epoch = struct.unpack(">ihqh", answer)
        assert error == 0
        body = text(sender) + text(group) + struct.pack(">qhi", producer, epoch, 1)
        body += text(topic) + struct.pack(">iiq", 1, 0, offset) + text("")
        answer = self.ask(TXN_OFFSET_COMMIT, 1, body)
        assert answer[-2:] == b"\0\0", "it was taken"


@pytest.fixture
def careless(stage, tmp_path):
    """The stage with a broker that does not ask whether a transaction is known."""
    folder = tmp_path / "careless"
    folder.mkdir()
    broker = JavaBroker(
        folder,
        properties={"transaction.partition.verification.enable": "false"},
        tied=True,
    )
    broker.start()
    other = type(stage)(broker, stage.prefix, tmp_path)
    yield other
    other.close()
    broker.kill()


def known(stage):
    """Let coordinators of group and sender be there."""
    client = {"bootstrap.servers": stage.broker.bootstrap}
    consumer = Consumer({**client, "group.id": stage.group})
    consumer.commit(offsets=[TopicPartition(stage.source, 0, 0)], asynchronous=False)
    consumer.close()
    producer = Producer({**client, "transactional.id": f"{stage.group}.here"})
    producer.init_transactions(60)


def test_it_is_found_and_freed_and_the_group_goes_on(careless):
    stage = careless
    stage.create(partitions=1)
    stage.send({"id": "1", "key": "k", "do": ["ok"]})
    known(stage)
    settings = Settings(**stage.settings(kafka={"instance_id": "here"}))
    sender = transactional_id(settings, "c", "here")
    assert find_hanging(settings, "c", patience=1) == []
    with closing(Wire(stage.broker.bootstrap)) as wire:
        wire.hang(sender, stage.group, stage.source, 0)
    # Kafka does not end it, however long ago it should have been over.
    [found] = find_hanging(settings, "c", patience=12)
    assert found == Hanging(stage.source, 0)
    loop = stage.start()
    stage.wait(lambda: loop.status().partitions)
    assert loop.status().unopened > 0
    assert free_hanging(settings, "c", "somebody else", [found]) == [found]
    assert free_hanging(settings, "c", sender, [found]) == []
    stage.wait(lambda: stage.events() == ["1"])
    assert stage.stop(loop).exit_code == 0


def test_what_is_only_under_way_is_none(stage):
    stage.create(partitions=1)
    settings = Settings(**stage.settings())
    with stage.open_transaction(TopicPartition(stage.source, 0, 0)):
        assert find_hanging(settings, "c", patience=0)
    assert find_hanging(settings, "c") == []
