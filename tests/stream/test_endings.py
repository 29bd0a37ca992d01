"""How a loop ends, and what it says then."""

import json
import logging
import socket
from contextlib import closing

import pytest
import scripted

from icat_stream.app.journal_writer import JournalWriter
from icat_stream.config import Settings
from icat_stream.journal import By, Journal, Search
from icat_stream.records import OutcomeKind
from icat_stream.sandbox.kafka import EmbeddedBroker
from icat_stream.stream import Loop, TopicIds, dry_run

kafka = pytest.mark.kafka


def message(name, key="k", *steps):
    return {"id": str(name), "key": key, "do": list(steps) or ["ok"]}


@kafka
def test_a_missing_source_topic_is_named(stage):
    result = stage.run()
    assert result.exit_code == 2
    assert stage.source in result.reason
    assert "consumers.c.topics" in result.reason


@kafka
def test_topics_of_ours_are_created_unless_that_is_forbidden(stage):
    stage.create()
    result = stage.run(kafka={"create_topics": False})
    assert result.exit_code == 2
    assert stage.dead_topic in result.reason
    assert stage.run().exit_code == 0
    assert stage.run(kafka={"create_topics": False}).exit_code == 0


@kafka
def test_refused_credentials_end_it(stage):
    stage.create()
    stage.switch("refused")
    stage.send(message(1))
    result = stage.run()
    assert result.exit_code == 5
    assert "the password is wrong" in result.reason
    assert (stage.events(), stage.dead_letters(), stage.rows()) == ([], [], [])


@kafka
def test_too_many_rejects_end_it_and_leave_the_rest(stage):
    stage.create(partitions=1)
    stage.send(*(message(n, f"k{n}", "reject") for n in range(500)))
    limits = {"rejects": {"ratio": 0.5, "minimum": 20}}
    result = stage.run(limits=limits)
    assert result.exit_code == 3
    assert "rejected" in result.reason
    letters = len(stage.dead_letters())
    # Each lane may be a few further before it hears of it; most is left.
    assert 20 <= letters <= 60
    # What is finished beyond is noted beside it.
    assert 0 < stage.committed()[0] <= letters


@kafka
def test_rejects_below_the_ratio_do_not_end_it(stage):
    stage.create(partitions=1)
    steps = ("ok", "ok", "reject")
    stage.send(*(message(n, f"k{n}", steps[n % 3]) for n in range(90)))
    result = stage.run(limits={"rejects": {"ratio": 0.5, "minimum": 20}})
    assert (result.exit_code, result.counts[OutcomeKind.REJECTED]) == (0, 30)


@kafka
@pytest.mark.parametrize(("start", "seen"), [("earliest", "0123"), ("latest", "23")])
def test_a_new_group_begins_where_it_is_told(stage, start, seen):
    stage.create(partitions=1)
    stage.send(message(0), message(1))
    stage.run(kafka={"start": start})
    # The first run of "latest" saw nothing, yet it fixed where the group stands.
    stage.send(message(2), message(3))
    stage.run(kafka={"start": start})
    assert "".join(stage.events()) == seen


@kafka
def test_latest_skips_nothing_of_a_partition_that_is_added(stage):
    stage.create(partitions=1)
    stage.send(message(0))
    stage.run(kafka={"start": "latest"})
    stage.add_partition()
    stage.send(message(1), partition=1)
    stage.send(message(2), partition=0)
    stage.run(kafka={"start": "latest"})
    assert sorted(stage.events()) == ["1", "2"]


@kafka
def test_a_new_group_may_be_an_error(stage):
    stage.create(partitions=1)
    result = stage.run(kafka={"start": "error"})
    assert result.exit_code == 2
    assert stage.source in result.reason
    assert stage.run().exit_code == 0


@kafka
def test_a_transactional_source_is_read_to_its_end(stage):
    stage.create(partitions=1)
    stage.send(message(0), transactional=True)
    stage.send(message(1), transactional=True)
    assert stage.run().announced == 2
    # Behind the last record is the marker of its transaction.
    assert stage.run().announced == 0


@kafka
def test_a_dry_run_moves_nothing(stage):
    stage.create(partitions=2)
    stage.send(*(message(n, f"k{n}") for n in range(10)))
    stage.run()
    before = stage.committed()
    stage.send(message(10), message(11, "k", "reject"), message(12, "k", "need:inv"))
    stage.send(b"no JSON")
    seen = []
    result = dry_run(
        "c",
        scripted.Scripted(stage.folder),
        Settings(**stage.settings()),
        on_outcome=lambda record, outcome: seen.append(outcome.kind.value),
    )
    assert sorted(seen) == ["deferred", "ingested", "rejected", "rejected"]
    assert result.exit_code == 0
    assert result.announced == 4
    assert stage.committed() == before
    assert len(stage.events()) == 10
    assert stage.dead_letters() == []
    assert len(stage.rows()) == 10


@kafka
def test_a_dry_run_names_a_missing_topic(stage):
    settings = Settings(**stage.settings())
    consumer = scripted.Scripted(stage.folder)
    result = dry_run("c", consumer, settings, on_outcome=lambda *_: None)
    assert result.exit_code == 2
    assert stage.source in result.reason


def test_without_kafka_it_waits_says_so_and_can_be_stopped(tmp_path, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = _settings(f"127.0.0.1:{port}", tmp_path)
    loop = Loop("c", scripted.Scripted(tmp_path), settings)

    class StopWhenSaid(logging.Handler):
        def emit(self, record):
            if "does not answer" in record.getMessage():
                loop.stop()

    handler = StopWhenSaid()
    logging.getLogger("icat_stream").addHandler(handler)
    try:
        result = loop.run()
    finally:
        logging.getLogger("icat_stream").removeHandler(handler)
    assert result.exit_code == 0
    assert "waiting" in caplog.text


def test_the_embedded_broker_is_good_enough_for_a_demonstration(tmp_path):
    topics = dict.fromkeys(("events", "out", "dead", "g.c.retry.0", "g.c.parked"), 1)
    with EmbeddedBroker(topics | {"source": 2}) as broker:
        settings = _settings(broker.bootstrap, tmp_path)
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        for n in range(20):
            producer.produce("source", json.dumps(message(n, f"k{n}")).encode())
        producer.produce("source", json.dumps(message(99, "k", "reject")).encode())
        assert producer.flush(20) == 0
        consumer = scripted.Scripted(tmp_path)
        result = Loop("c", consumer, settings, until_end=True).run()
        with closing(Journal(settings.journal)) as journal:
            for _ in range(2):
                # It tells neither a topic's id nor what is committed: each process
                # reads all of it again, which writes no row twice.
                writer = JournalWriter(settings, journal, TopicIds(settings.kafka))
                writer.start()
                assert writer.catch_up(60) == ""
                writer.stop(60)
                counts = journal.entries.count(Search(), [By.OUTCOME])
                rows = {each.common[0]: each.rows for each in counts}
                assert rows == {"ingested": 20, "rejected": 1}
    assert result.exit_code == 0
    assert result.counts[OutcomeKind.INGESTED] == 20
    assert result.counts[OutcomeKind.REJECTED] == 1


def _settings(bootstrap, folder):
    return Settings(
        facility="TEST",
        kafka={"bootstrap_servers": bootstrap, "group_id": "g"},
        journal={"url": f"sqlite:///{folder}/journal.db"},
        events={"topic": "events"},
        outcomes={"topic": "out"},
        dead_letters={"topic": "dead"},
        retries={"delays": ["1h"]},
        consumers={"c": {"handler": "x", "topics": ["source"]}},
    )


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_missing_topic_is_waited_for_and_read_from_its_beginning(stage, start):
    loop = stage.start(kafka={"start": start})
    stage.wait(lambda: loop.status().missing)
    assert stage.source in loop.status().missing
    assert not loop.status().joined
    stage.create(1)
    stage.send({"id": "a", "key": "k", "do": ["ok"]})
    stage.wait(lambda: stage.events() == ["a"])
    assert loop.status().missing is None
    assert stage.stop(loop).exit_code == 0


def test_who_waits_for_a_topic_can_be_stopped(stage):
    loop = stage.start()
    stage.wait(lambda: loop.status().missing)
    assert stage.stop(loop).exit_code == 0
