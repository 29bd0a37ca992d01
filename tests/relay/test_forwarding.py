"""Two real brokers, and what of one arrives in the other."""

import json
import os
import re
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from icat_stream.sandbox.kafka import JavaBroker
from plugins.commands import BIN
from plugins.kafka import started

# It kills a broker.
pytestmark = [pytest.mark.kafka, pytest.mark.alone]
# Of the long run by hand: RECORDS=100000 KILLS=20.
RECORDS = int(os.environ.get("RECORDS", "3000"))
KILLS = int(os.environ.get("KILLS", "2"))


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with started(tmp_path_factory.mktemp("target") / "broker") as broker:
        yield broker


@pytest.fixture
def clusters(kafka_broker, target, topic_prefix, tmp_path):
    return Clusters(kafka_broker.bootstrap, target, topic_prefix, tmp_path)


class Clusters:
    """The source, which others use, too; and the target, which may be killed."""

    def __init__(
        self, source: str, broker: JavaBroker, prefix: str, folder: Path
    ) -> None:
        self.source, self.broker, self.topic = source, broker, f"{prefix}.events"
        self.target = broker.bootstrap
        self.folder = folder
        for address in (self.source, self.target):
            create(address, self.topic)

    def config(self, *, forward: dict[str, Any] | None = None, **rule: Any) -> Path:
        given = {
            "facility": "EXAMPLE",
            "kafka": {"bootstrap_servers": self.source, "group_id": self.topic},
            "consumers": {"users": {"handler": "users", "topics": ["users"]}},
            "forward": {
                "source_name": f"production-{self.topic}",
                "target_name": "test",
                "target": {"bootstrap_servers": self.target},
                "rules": {"all": {"topics": [self.topic], **rule}},
                **(forward or {}),
            },
        }
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump(given))
        return file

    def forward(
        self, config: Path, *arguments: str, code: int = 0, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        command = [BIN / "icat_stream", "forward", "-c", config, *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=240,
            env={**os.environ, **extra},
        )
        assert done.returncode == code, done.stderr
        return done


def remove(address: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.delete_topics([topic])[topic].result(60)
    while topic in admin.list_topics(timeout=60).topics:
        time.sleep(0.05)


def create(address: str, topic: str, *, partitions: int = 3, **settings: str) -> None:
    # Its answers come as long as somebody holds it.
    admin = AdminClient({"bootstrap.servers": address})
    made = NewTopic(topic, partitions, 1, config=settings)
    admin.create_topics([made])[topic].result(60)


def produce(address: str, topic: str, records: list[dict[str, Any]]) -> None:
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True})
    for record in records:
        producer.produce(topic, **record)
        producer.poll(0)
    assert producer.flush(60) == 0


def records_of(address: str, topic: str) -> list[Any]:
    """Return what is committed, as it stands in each partition."""
    consumer: Any = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(3)])
    found, left = [], set(range(3))
    deadline = time.monotonic() + 120
    while left:
        assert time.monotonic() < deadline
        for message in consumer.consume(1000, 1.0):
            if message.error() is not None:
                left.discard(message.partition())
            else:
                found.append(message)
    consumer.close()
    return found


def test_records_arrive_as_they_are(clusters):
    topic = clusters.topic
    sent = {
        "key": b"k",
        "value": json.dumps({"kind": "dataset", "who": "x@y", "n": 1}).encode(),
        "headers": [("a", b"1"), ("a", None)],
        "timestamp": 1_700_000_000_000,
    }
    other = {**sent, "value": json.dumps({"kind": "user"}).encode()}
    back = {**sent, "headers": [("forwarded-from", b"test/x[0]@1")]}
    produce(clusters.source, topic, [sent, other, back, {**sent, "value": b"\xff"}])
    config = clusters.config(kinds=["dataset"], redact=["who"])
    shown = clusters.forward(config, "--dry-run").stdout
    assert json.loads(shown)["to"] == topic
    assert records_of(clusters.target, topic) == []

    done = clusters.forward(config, "--until-end")
    assert "all: 1 forwarded" in done.stdout
    assert "left out: its value is no JSON object" in done.stderr
    (found,) = records_of(clusters.target, topic)
    assert json.loads(found.value()) == {"kind": "dataset", "n": 1}
    assert (found.key(), found.timestamp()[1]) == (b"k", 1_700_000_000_000)
    *headers, (name, hop) = found.headers()
    assert headers == sent["headers"]
    assert name == "forwarded-from"
    assert hop.startswith(f"production-{topic}/{topic}[".encode())
    # A second time there is nothing to do; unless somebody says so.
    assert clusters.forward(config, "--until-end").stdout == ""
    place = hop.decode().rpartition("/")[2]
    done = clusters.forward(config, "--until-end", "--from", place)
    assert "all: 1 forwarded" in done.stdout
    assert len(records_of(clusters.target, topic)) == 2
    lost = f"{topic}[0]@999"
    done = clusters.forward(config, "--until-end", "--from", lost, code=5)
    assert "999 comes next" in done.stderr


def test_each_record_once_and_in_order_whatever_dies(clusters):
    topic = clusters.topic
    keys = [f"k{number}".encode() for number in range(7)]
    produce(
        clusters.source,
        topic,
        [
            {"key": keys[number % 7], "value": str(number).encode()}
            for number in range(RECORDS)
        ],
    )
    config = clusters.config()
    for step in ("forward-produced:2", "forward-committed"):
        clusters.forward(config, "--until-end", code=-9, ICAT_STREAM_FAULT=step)
    for _ in range(KILLS):
        kill_in_the_middle(clusters, config)
    clusters.forward(config, "--until-end")
    by_key = defaultdict(list)
    for message in records_of(clusters.target, topic):
        by_key[message.key()].append(int(message.value()))
    assert by_key == {
        key: list(range(number, RECORDS, 7)) for number, key in enumerate(keys)
    }


def kill_in_the_middle(clusters: Clusters, config: Path) -> None:
    """Kill the target's broker while it is forwarded to, then who forwards."""
    command = [BIN / "icat_stream", "forward", "-c", config]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "goes on" in line:
                break
        clusters.broker.kill()
        clusters.broker.start()
        time.sleep(0.5)
    finally:
        process.kill()
        process.communicate()


def test_what_is_too_large_is_left_out_and_named(clusters):
    topic = f"{clusters.topic}.small"
    for address in (clusters.source, clusters.target):
        limit = {} if address == clusters.source else {"max.message.bytes": "500"}
        create(address, topic, **limit)
    large = {"key": b"k", "value": os.urandom(900_000)}
    small = {"key": b"k", "value": b"small"}
    produce(clusters.source, topic, [small, large, small])
    config = clusters.config(topics=[topic])
    done = clusters.forward(config, "--until-end")
    assert "left out: the target finds it too large" in done.stderr
    assert [m.value() for m in records_of(clusters.target, topic)] == [b"small"] * 2


def test_what_comes_while_nothing_runs_is_not_passed_over(clusters):
    produce(clusters.source, clusters.topic, [{"key": b"k", "value": b"old"}])
    config = clusters.config(forward={"start": "latest"})
    assert clusters.forward(config, "--until-end").stdout == ""
    produce(clusters.source, clusters.topic, [{"key": b"k", "value": b"new"}])
    clusters.forward(config, "--until-end")
    found = [m.value() for m in records_of(clusters.target, clusters.topic)]
    assert found == [b"new"]


def test_a_topic_made_anew_stops_it(clusters):
    record = {"key": b"k", "value": b"{}"}
    produce(clusters.source, clusters.topic, [record])
    config = clusters.config()
    clusters.forward(config, "--until-end")
    remove(clusters.source, clusters.topic)
    create(clusters.source, clusters.topic)
    # More than there were: no offset is beyond the end.
    produce(clusters.source, clusters.topic, [record] * 3)
    done = clusters.forward(config, "--until-end", code=5)
    assert "made anew" in done.stderr
    place = re.search(r"--from '([^']+)'", done.stderr)
    assert place
    # The other partitions are those of another topic, too.
    places = [f"{clusters.topic}[{number}]@0" for number in range(3)]
    assert place[1] in places
    given = [part for each in places for part in ("--from", each)]
    clusters.forward(config, "--until-end", *given)
    assert len(records_of(clusters.target, clusters.topic)) == 4


def test_the_end_behind_a_transaction_is_reached(clusters):
    producer = Producer(
        {"bootstrap.servers": clusters.source, "transactional.id": clusters.topic}
    )
    producer.init_transactions(60)
    for _ in range(20):
        producer.begin_transaction()
        for _ in range(100):
            producer.produce(clusters.topic, key=b"k", value=b"{}")
        producer.commit_transaction(60)
    clusters.forward(clusters.config(), "--until-end")
    assert len(records_of(clusters.target, clusters.topic)) == 2000


def test_a_topic_that_would_lose_positions_is_refused(clusters):
    produce(clusters.source, clusters.topic, [{"key": b"k", "value": b"{}"}])
    for settings, text in (
        ({}, "3 partitions"),
        ({"cleanup.policy": "delete", "partitions": 1}, "cleanup.policy=delete"),
    ):
        positions = f"{clusters.topic}.{settings.get('partitions', 3)}"
        create(clusters.target, positions, **settings)
        config = clusters.config(forward={"positions": positions})
        done = clusters.forward(config, "--until-end", code=5)
        assert text in done.stderr
    assert records_of(clusters.target, clusters.topic) == []


def test_what_no_record_of_it_suits_is_not_emptied_into(clusters):
    """A compacted topic takes none without a key."""
    topic = f"{clusters.topic}.table"
    create(clusters.target, topic, **{"cleanup.policy": "compact"})
    produce(clusters.source, clusters.topic, [{"value": b"{}"}])
    config = clusters.config(to=topic)
    for _ in range(2):
        done = clusters.forward(config, "--until-end", code=5)
        assert "forward.target" in done.stderr


def test_a_topic_that_is_not_there_stops_it(clusters):
    produce(clusters.source, clusters.topic, [{"key": b"k", "value": b"{}"}])
    done = clusters.forward(
        clusters.config(to="nowhere.to.be.found"), "--until-end", code=5
    )
    assert "forward.target" in done.stderr
    nothing = clusters.config(enabled=False)
    assert "at least one enabled rule" in clusters.forward(nothing, code=2).stderr
