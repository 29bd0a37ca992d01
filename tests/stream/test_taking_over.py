"""Where an instance begins: by what the group has committed, and what Kafka has."""

import base64
import random
from contextlib import closing

import pytest
from confluent_kafka import Consumer, TopicPartition

from icat_stream.records import OutcomeKind
from icat_stream.sandbox.kafka import JavaBroker
from icat_stream.stream import assignment, lane_work, ledger
from icat_stream.stream.offset_metadata import encode

pytestmark = pytest.mark.kafka


def message(name, key="k", *steps):
    return {"id": str(name), "key": key, "do": list(steps) or ["ok"]}


def client(stage):
    return closing(
        Consumer(
            {
                "bootstrap.servers": stage.broker.bootstrap,
                "log_level": 0,
                "group.id": stage.group,
            }
        )
    )


def commit(stage, offset, metadata, topic=None):
    """Let the group have committed this."""
    place = TopicPartition(topic or stage.source, 0, offset, metadata=metadata)
    with client(stage) as consumer:
        consumer.commit(offsets=[place], asynchronous=False)


def committed(stage, topic=None):
    with client(stage) as consumer:
        [place] = consumer.committed([TopicPartition(topic or stage.source, 0)], 60)
    return place.offset, place.metadata


def bits(*offsets):
    return sum(1 << offset for offset in offsets)


def test_what_is_noted_as_finished_is_not_handled_again(stage):
    stage.create(partitions=1)
    stage.send(*(message(n) for n in range(10)))
    commit(stage, 2, encode("", bits(1, 2, 6)))
    assert stage.run().exit_code == 0
    assert stage.events() == ["2", "5", "6", "7", "9"]
    assert committed(stage) == (10, "")


def test_what_is_finished_beyond_what_is_read_is_carried_on(stage, monkeypatch):
    # Also by commits that only keep the offset from being forgotten.
    monkeypatch.setattr(ledger, "KEEP_S", 0.2)
    stage.create(partitions=1)
    slow = message("slow", "s", "settle:600")
    stage.send(slow, *(message(n) for n in range(1, 8)))
    commit(stage, 0, encode("", bits(5, 6, 7)))
    loop = stage.start()
    stage.wait(lambda: stage.events() == ["1", "2", "3", "4"])
    before = loop.status().transactions
    stage.wait(lambda: loop.status().transactions > before + 2)
    stage.stop(loop)
    assert committed(stage) == (0, encode("", bits(1, 2, 3, 4, 5, 6, 7)))


def test_what_there_is_of_each_partition_is_told(stage):
    stage.create(partitions=1)
    slow = message("slow", "s", "settle:600")
    stage.send(slow, message("parked", "p", "need:inv"), *map(message, range(2, 8)))
    loop = stage.start()
    stage.wait(lambda: len(stage.events()) == 6 and loop.status().parked == 1)
    stage.wait(lambda: loop.status().in_flight == 1)
    told = {each.topic: each for each in loop.status().each_partition}
    source, parked = told[stage.source], told[f"{stage.group}.parked"]
    assert (source.position, source.unfinished, source.span) == (8, 1, 8)
    assert source.characters == len(encode("", bits(*range(1, 8))))
    assert source.oldest > 0
    assert (parked.position, parked.unfinished, parked.parked) == (None, 1, 1)
    stage.stop(loop)


def test_much_that_is_finished_is_passed_over(stage):
    stage.create(partitions=1)
    stage.send(*(message(n) for n in range(6000)))
    commit(stage, 1, encode("", bits(*range(1, 5995))))
    assert stage.run().counts[OutcomeKind.INGESTED] == 5
    assert stage.events() == ["1", *map(str, range(5996, 6000))]


def test_all_that_is_left_may_be_finished(stage):
    stage.create(partitions=1)
    stage.send(*(message(n) for n in range(6000)))
    commit(stage, 0, encode("", bits(*range(1, 6000))))
    assert stage.run().counts[OutcomeKind.INGESTED] == 1
    assert committed(stage) == (6000, "")


def test_what_a_version_without_maps_has_noted_is_read(stage):
    stage.create(partitions=1)
    stage.send(*(message(n) for n in range(3)))
    commit(stage, 1, "source[0]")
    assert stage.run().counts[OutcomeKind.INGESTED] == 2


def test_what_cannot_be_read_is_handled_again_and_said(stage, caplog):
    stage.create(partitions=1)
    stage.send(*(message(n) for n in range(3)))
    commit(stage, 1, "~1;b" + base64.b64encode(b"\3").decode())
    assert stage.run().counts[OutcomeKind.INGESTED] == 2
    assert "cannot be read" in caplog.text
    assert committed(stage) == (3, "")


@pytest.mark.parametrize(
    ("offset", "metadata", "reason"),
    [
        (1, "~2;something else", "newer version"),
        (9, "", "made anew"),
        (1, encode("", bits(1, 2)), "made anew"),
    ],
)
def test_what_cannot_be_true_ends_it(stage, offset, metadata, reason):
    stage.create(partitions=1)
    stage.send(*(message(n) for n in range(3)))
    commit(stage, offset, metadata)
    result = stage.run()
    assert result.exit_code == 2
    assert reason in result.reason
    assert stage.source in result.reason
    assert stage.events() == []


def test_what_retention_took_is_counted_and_the_rest_handled(stage, caplog):
    stage.create(partitions=1)
    stage.send(*(message(n) for n in range(6)))
    commit(stage, 1, encode("", bits(1)))
    stage.delete_records(below=4)
    loop = stage.start()
    stage.wait(lambda: stage.events() == ["4", "5"])
    assert loop.status().lost == 2
    assert stage.stop(loop).exit_code == 0
    assert "2 records of" in caplog.text
    assert "LOST" in caplog.text
    assert committed(stage) == (6, "")


def test_what_an_earlier_version_parked_in_a_retry_topic_is_looked_at(stage):
    stage.create(partitions=1)
    retry = f"{stage.group}.retry.0"
    stage.create_topic(retry)
    headers = {
        "icat-stream.topic": stage.source,
        "icat-stream.partition": "0",
        "icat-stream.offset": "7",
        "icat-stream.timestamp": "1700000000000",
        "icat-stream.group": stage.group,
        "icat-stream.not-before": "32503680000000",
        "icat-stream.parked-since": "1700000000000",
    }
    for name in ("there", "missing"):
        stage.send(
            message(name, "k", f"need:{name}"),
            topic=retry,
            headers={**headers, "icat-stream.missing": f'["{name}"]'},
        )
    commit(stage, 0, f"{stage.source}[0]", topic=retry)
    stage.switch("have-there")
    loop = stage.start(retries={"delays": ["1h"], "park_for": "3650d"})
    stage.wait(lambda: stage.events() == ["there"])
    stage.wait(lambda: len(stage.read(f"{stage.group}.parked")) == 1)
    stage.stop(loop)
    assert committed(stage, retry)[0] == 2
    [row] = stage.read(f"{stage.group}.parked")
    assert dict(row.headers())["icat-stream.parked-since"] == b"1700000000000"
    assert dict(row.headers())["icat-stream.offset"] == b"7"


def test_while_a_transaction_is_open_a_partition_waits_and_the_others_do_not(
    stage, monkeypatch, caplog
):
    """Whoever died in the middle of one may still have committed it."""
    monkeypatch.setattr(assignment, "_LONG_S", 0.5)
    stage.create(partitions=2)
    with stage.open_transaction(TopicPartition(stage.source, 0, 1)):
        stage.send(message("a"), message("b"), partition=0)
        stage.send(message("c"), partition=1)
        loop = stage.start()
        stage.wait(lambda: stage.events() == ["c"])
        assert loop.status().unopened > 0
        stage.wait(lambda: f"{stage.source}[0] cannot be read yet" in caplog.text)
    # It went through: what it said holds.
    stage.wait(lambda: stage.events() == ["c", "b"])
    stage.stop(loop)


def test_what_is_not_ready_for_long_leaves_the_source(stage, monkeypatch):
    monkeypatch.setattr(lane_work, "_LONGEST_S", 0.5)
    stage.create(partitions=1)
    stage.send(message("late", "l", "settle:600"), message("good"))
    loop = stage.start(retries={"delays": ["1h"]})
    stage.wait(lambda: committed(stage) == (2, ""))
    stage.stop(loop)
    [put_off] = stage.read(f"{stage.group}.retry.0")
    assert put_off.key() == b"l"
    # It is no failure, and not counted as one.
    assert dict(put_off.headers())["icat-stream.retries"] == b"0"


@pytest.fixture
def terse(stage, tmp_path):
    """The stage with a broker that keeps little beside an offset."""
    folder = tmp_path / "terse"
    folder.mkdir()
    broker = JavaBroker(
        folder, properties={"offset.metadata.max.bytes": "80"}, tied=True
    )
    broker.start()
    other = type(stage)(broker, stage.prefix, tmp_path)
    yield other
    other.close()
    broker.kill()


def test_a_broker_that_keeps_less_is_given_less(terse, caplog):
    stage = terse
    stage.create(partitions=1)
    # What is finished is in no order, so that nothing makes it shorter.
    chance = random.Random(1)
    late = {n for n in range(600) if chance.random() < 0.15}
    kinds = [["settle:4"] if n in late else ["ok"] for n in range(600)]
    stage.send(*(message(n, f"k{n}", *kinds[n]) for n in range(600)))
    loop = stage.start()
    stage.wait(lambda: len(stage.dead_letters()) == len(late))
    stage.wait(lambda: committed(stage)[0] == 600)
    assert stage.stop(loop).exit_code == 0
    assert sorted(map(int, stage.events())) == sorted(set(range(600)) - late)
    assert "keeps less beside an offset" in caplog.text
