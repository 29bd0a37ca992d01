"""Several instances share the source, and each retry partition has one reader."""

import json
import re
import signal
import time
from collections import Counter
from contextlib import closing

import pytest
from confluent_kafka import Consumer, TopicPartition

from icat_stream.sandbox.kafka import JavaBroker
from icat_stream.stream import ledger
from icat_stream.stream.retry_placement import homes

pytestmark = pytest.mark.kafka

SHORT = {"client": {"session.timeout.ms": 2000, "heartbeat.interval.ms": 500}}


def message(name, key="k", *steps):
    return {"id": str(name), "key": key, "do": list(steps) or ["ok"]}


@pytest.mark.parametrize(
    ("protocol", "partitions", "members", "shares"),
    [
        ("classic", 3, 2, [1, 2]),
        ("classic", 4, 4, [1, 1, 1, 1]),
        ("consumer", 4, 2, [2, 2]),
    ],
)
def test_who_joins_later_gets_its_share_of_the_source(
    stage, protocol, partitions, members, shares
):
    stage.create(partitions=partitions)
    # As many retry partitions as of the source, and more: in a sum, they would count.
    mine = {"group_protocol": protocol}
    retries = {"delays": ["200ms", "300ms"]}
    for number in range(members):
        stage.spawn(kafka=mine, retries=retries)
        stage.wait(lambda n=number: "assigned" in log(stage, n))
    waiting = ("retry.0", "retry.1", "parked")
    topics = stage.source, *(f"{stage.group}.{each}" for each in waiting)

    def is_shared():
        owned = [held(stage, number) for number in range(members)]
        return all(
            sorted(sum(topic == t for t, _ in each) for each in owned) == shares
            for topic in topics
        )

    stage.wait(is_shared)


@pytest.mark.parametrize(
    "protocol", ["classic", pytest.param("consumer", marks=pytest.mark.long)]
)
def test_what_waits_is_handled_once_while_instances_come_and_go(stage, protocol):
    stage.create(partitions=3)
    stage.switch("slow", "0.01")
    mine = {"group_protocol": protocol, "partitions": 4}
    if protocol == "classic":
        mine |= SHORT
    settings = {"kafka": mine, "retries": {"delays": ["300ms", "1h"]}}
    again = ["transient"] * 4 + ["ok"]
    kinds = (["ok"], ["need:inv"], ["ok"], ["reject"], ["ok"], ["need:inv"], again)

    def send(first):
        records = range(first, first + 80)
        stage.send(*(message(n, f"k{n % 30}", *kinds[n % 7]) for n in records))

    first = stage.spawn(**settings)
    send(0)
    stage.wait(lambda: len(stage.lines("done")) > 10)
    second = stage.spawn(**settings)
    stage.wait(lambda: "assigned" in log(stage, 1))
    send(80)
    zombie = stage.spawn(
        **settings, journal={"url": f"sqlite:///{stage.folder}/zombie.db"}
    )
    stage.wait(lambda: "assigned" in log(stage, 2))
    send(160)
    stage.wait(lambda: len(stage.lines("done")) > 60)
    zombie.send_signal(signal.SIGSTOP)
    first.kill()
    third = stage.spawn(**settings)
    stage.wait(lambda: sum(stage.committed().values()) == 240)
    stage.switch("have-inv")
    stage.add_partition()
    zombie.send_signal(signal.SIGCONT)
    stage.wait(lambda: "assigned" in log(stage, 3))
    send(240)
    stage.wait(lambda: sum(stage.committed().values()) == 320)
    fine = [n for n in range(320) if kinds[n % 7] != ["reject"]]
    stage.wait(lambda: len(stage.events()) >= len(fine))
    stage.wait(lambda: len(stage.dead_letters()) >= 320 - len(fine))
    for process in (second, third, zombie):
        process.send_signal(signal.SIGTERM)
        assert stage.ended(process)[0] == 0
    events = Counter(map(int, stage.events()))
    assert sorted(events) == fine
    assert set(events.values()) == {1}
    dead = Counter(json.loads(letter.value())["id"] for letter in stage.dead_letters())
    assert (len(dead), set(dead.values())) == (320 - len(fine), {1})
    summary = stage.run(**settings)
    assert sum(summary.counts.values()) == 0


def test_with_whom_a_retry_partition_goes_does_not_change_with_the_source(stage):
    stage.create(partitions=1)
    retry = f"{stage.group}.retry.0"
    # Made by somebody else, with more than the source has.
    stage.create_topic(retry, partitions=3)
    settings = {"retries": {"delays": ["1h"]}}
    stage.spawn(**settings)
    noted = {f"{stage.source}[0]"}
    stage.wait(lambda: set(homes_in(stage, retry)) == noted)
    for _ in range(2):
        stage.add_partition()
    stage.spawn(**settings)
    stage.wait(lambda: len(held(stage, 1)) > 0)
    # Three of the source, three that wait, one of what is parked.
    stage.wait(lambda: len(held(stage, 0)) + len(held(stage, 1)) == 7)
    owners = [
        n for n in range(2) for topic, _ in sorted(held(stage, n)) if topic == retry
    ]
    assert len(owners) == 3
    assert len(set(owners)) == 1
    assert set(homes_in(stage, retry)) == noted


def test_a_home_that_is_not_noted_follows_from_the_numbers():
    sources = ["a[0]", "a[1]", "b[0]"]
    noted = [
        TopicPartition("r", 0, 5, metadata="b[0]"),
        TopicPartition("r", 1, 5),
        TopicPartition("r", 2, 5, metadata="gone[0]"),
        TopicPartition("r", 3, 5),
    ]
    assert list(homes(sources, noted).values()) == ["b[0]", "a[1]", "b[0]", "a[0]"]


@pytest.fixture
def forgetful(stage, tmp_path):
    """The stage with a broker that keeps offsets for a minute."""
    folder = tmp_path / "forgetful"
    folder.mkdir()
    minute = {
        "offsets.retention.minutes": "1",
        "offsets.retention.check.interval.ms": "1000",
    }
    broker = JavaBroker(folder, properties=minute, tied=True)
    broker.start()
    other = type(stage)(broker, stage.prefix, tmp_path)
    yield other
    other.close()
    broker.kill()


@pytest.mark.long
def test_what_is_idle_keeps_its_offset_though_kafka_forgets(forgetful, monkeypatch):
    stage = forgetful
    monkeypatch.setattr(ledger, "KEEP_S", 5.0)
    stage.create(partitions=1)
    retry = f"{stage.group}.retry.0"
    settings = {"kafka": {"partitions": 1}, "retries": {"delays": ["1s"]}}
    stage.send(message(1, "k", *["transient"] * 3, "ok"))
    loop = stage.start(**settings)
    stage.wait(lambda: stage.events() == ["1"])
    stage.wait(lambda: stage.committed(retry)[0] > 0)
    # This one nobody commits again.
    with closing(reader(stage, f"{stage.prefix}.other")) as other:
        other.commit(offsets=[TopicPartition(retry, 0, 1)], asynchronous=False)
        end = time.monotonic() + 180
        while other.committed([TopicPartition(retry, 0)], 60)[0].offset >= 0:
            assert time.monotonic() < end
            time.sleep(1)
    assert stage.committed(retry)[0] > 0
    assert stage.stop(loop).exit_code == 0
    assert sum(stage.run(**settings).counts.values()) == 0
    assert stage.events() == ["1"]


def homes_in(stage, retry):
    with closing(reader(stage, stage.group)) as client:
        known = client.list_topics(retry, timeout=60).topics[retry]
        places = [TopicPartition(retry, n) for n in known.partitions]
        return [place.metadata for place in client.committed(places, timeout=60)]


def reader(stage, group):
    return Consumer(
        {
            "bootstrap.servers": stage.broker.bootstrap,
            "log_level": 0,
            "group.id": group,
        }
    )


def held(stage, number):
    """Return what a process has now, by its log."""
    found = set()
    for line in log(stage, number).splitlines():
        places = {
            (topic, int(number))
            for topic, numbers in re.findall(r"([\w.-]+)\[([\d,]+)\]", line)
            for number in numbers.split(",")
        }
        if " assigned " in line:
            found |= places
        elif " revoked " in line or " lost " in line:
            found -= places
    return found


def log(stage, number):
    return (stage.folder / f"stderr-{number}").read_text()
