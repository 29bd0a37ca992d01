"""Who commits while partitions come and go: a member, of what is still its own."""

import time
from contextlib import closing

import pytest
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

from icat_stream.config import Settings
from icat_stream.stream import committed_offsets, kafka_clients
from icat_stream.stream.committed_offsets import CommittedOffsets

pytestmark = pytest.mark.kafka

SHORT = {"client": {"session.timeout.ms": 2000, "heartbeat.interval.ms": 500}}


def message(name, key="k", *steps):
    return {"id": str(name), "key": key, "do": list(steps) or ["ok"]}


def joined(stage):
    """A member of the group that has all partitions."""
    member = Consumer(
        {
            "bootstrap.servers": stage.broker.bootstrap,
            "group.id": stage.group,
            "enable.auto.commit": False,
        }
    )
    given = []
    member.subscribe([stage.source], on_assign=lambda _, places: given.append(places))
    stage.wait(lambda: member.poll(0.1) or given)
    return member


def test_kafka_takes_offsets_from_who_names_no_generation_so_we_send_none(stage):
    stage.create(partitions=1)
    client = {"bootstrap.servers": stage.broker.bootstrap}
    producer = Producer({**client, "transactional.id": f"{stage.prefix}.x"})
    producer.init_transactions(60)
    outsider = Consumer({**client, "group.id": stage.group})
    with closing(joined(stage)) as member, closing(outsider):
        of_nobody = outsider.consumer_group_metadata()
        of_member = member.consumer_group_metadata()
        producer.begin_transaction()
        place = TopicPartition(stage.source, 0, 7)
        producer.send_offsets_to_transaction([place], of_nobody, 60)
        producer.commit_transaction(60)
        assert stage.committed() == {0: 7}
        assert kafka_clients.is_of_member(of_member)
        assert not kafka_clients.is_of_member(of_nobody)


def test_each_transaction_fences_also_one_that_only_lets_parked_records_go(stage):
    stage.create(partitions=1)
    parked = f"{stage.group}.parked"
    stage.send(message(1, "k", "need:inv"))
    loop = stage.start()
    stage.wait(lambda: loop.status().parked == 1)
    stage.switch("have-inv")
    stage.wait(lambda: stage.events() == ["1"])
    stage.stop(loop)
    # Its rows are read from the beginning: what is committed only says whose it is.
    assert stage.committed(parked) == {0: 0}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_what_is_at_work_when_its_partition_goes_is_finished_and_not_repeated(
    stage, protocol
):
    stage.create(partitions=2)
    stage.switch("slow", "0.4")
    mine = {"group_protocol": protocol}
    loop = stage.start(kafka=mine)
    stage.wait(lambda: loop.status().partitions == 8)
    stage.send(*(message(n, f"k{n}") for n in range(60)))
    stage.wait(lambda: stage.lines("calls"))
    other = stage.spawn(kafka=mine)
    stage.wait(lambda: stage.is_assigned(0))
    stage.switch("slow", on=False)
    stage.wait(lambda: sum(stage.committed().values()) == 60)
    other.terminate()
    assert stage.ended(other)[0] == 0
    assert stage.stop(loop).exit_code == 0
    assert sorted(map(int, stage.events())) == list(range(60))
    assert len(stage.lines("calls")) == 60, "each was handled once"


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_partition_that_is_not_open_yet_comes_and_goes(stage, protocol):
    stage.create(partitions=2)
    mine = {"group_protocol": protocol}
    stage.send(*(message(n, f"k{n}") for n in range(20)))
    with stage.open_transaction(
        TopicPartition(stage.source, 0, 0), TopicPartition(stage.source, 1, 0)
    ):
        loop = stage.start(kafka=mine)
        stage.wait(lambda: loop.status().unopened > 0 and loop.status().partitions == 6)
        other = stage.spawn(kafka=mine)
        stage.wait(lambda: loop.status().partitions == 3)
        other.terminate()
        assert stage.ended(other)[0] == 0
        stage.wait(lambda: loop.status().partitions == 6)
        assert stage.events() == []
    stage.wait(lambda: sum(stage.committed().values()) == 20)
    assert stage.stop(loop).exit_code == 0
    assert sorted(map(int, stage.events())) == list(range(20))


def test_a_stop_at_any_moment_of_joining_is_a_stop(stage):
    stage.create(partitions=2)
    moments = [
        lambda _: True,
        lambda loop: loop.status().joined,
        lambda loop: loop.status().partitions,
    ]
    for moment in moments:
        loop = stage.start()
        stage.wait(lambda loop=loop, moment=moment: moment(loop))
        result = stage.stop(loop)
        assert (result.exit_code, result.reason) == (0, "")


def test_a_coordinator_that_moves_is_not_asked_without_end(stage, monkeypatch):
    """It refuses at once, and would thousands of times a second."""
    stage.create(partitions=1)
    calls = []

    class Moving:
        def committed(self, *_, **__):
            calls.append(0)
            raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))

        def close(self):
            pass

    monkeypatch.setattr(committed_offsets, "_SILENT_S", 2.0)
    real, made = kafka_clients.consumer, []

    def client(*args, **kwargs):
        made.append(0)
        return Moving() if len(made) == 1 else real(*args, **kwargs)

    monkeypatch.setattr(kafka_clients, "consumer", client)
    settings = Settings(**stage.settings())
    offsets = CommittedOffsets(settings.kafka, stage.group, pytest.fail)
    offsets.start()
    try:
        found = offsets.read([TopicPartition(stage.source, 0)], lambda: False)
    finally:
        offsets.stop(time.monotonic() + 60)
    # The one that got no answer was replaced.
    assert found[stage.source, 0].offset < 0
    assert len(calls) < 40
