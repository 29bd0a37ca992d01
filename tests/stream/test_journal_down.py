"""What becomes of the journal while its database is away, lost, or behind."""

import json
import os
import sqlite3
from base64 import b64encode
from contextlib import closing

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from icat_stream.config import JournalSettings
from icat_stream.journal import Journal, Search

pytestmark = pytest.mark.kafka


def message(name, *steps):
    return {"id": str(name), "key": f"k{name}", "do": list(steps) or ["ok"]}


def database(stage, *statements):
    with closing(sqlite3.connect(stage.folder / "journal.db", timeout=60)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def ids(stage):
    return sorted(json.loads(row["objects"])["dataset"] for row in stage.rows())


def test_nothing_waits_for_it_and_its_rows_come_later(stage):
    stage.create(1)
    stage.send(message(1))
    assert stage.run().exit_code == 0
    assert ids(stage) == ["1"]
    database(stage, "ALTER TABLE outcomes RENAME TO away")
    loop, writer = stage.start(), stage.writer()
    stage.send(message(2))
    stage.wait(lambda: stage.events() == ["1", "2"])
    stage.wait(lambda: writer.status().down and writer.status().lag)
    assert not loop.status().down
    database(stage, "ALTER TABLE away RENAME TO outcomes")
    assert writer.catch_up(180) == ""
    stage.stop(loop)
    assert writer.status().down == ""
    assert ids(stage) == ["1", "2"]


def test_a_lost_one_comes_back_as_far_as_the_topic_reaches(stage, caplog):
    stage.create(3)
    stage.send(*(message(n) for n in range(30)), message("bad", "reject"))
    assert stage.run().exit_code == 0
    before = [tuple(row) for row in stage.rows()]
    assert len(before) == 31
    for file in stage.folder.glob("journal.db*"):
        file.unlink()
    assert [tuple(row) for row in stage.rows()] == before


def test_a_second_reading_writes_nothing(stage):
    stage.create(1)
    stage.send(*(message(n) for n in range(5)))
    assert stage.run().exit_code == 0
    before = [tuple(row) for row in stage.rows()]
    database(stage, "DELETE FROM positions")
    assert [tuple(row) for row in stage.rows()] == before


def test_outcomes_that_retention_took_are_counted_and_said(stage, caplog):
    stage.create(1)
    stage.create_topic(stage.outcomes_topic, 1)
    stage.send(message(1))
    assert stage.run().exit_code == 0
    assert ids(stage) == ["1"]
    stage.send(*(message(n) for n in range(2, 6)))
    assert stage.run().exit_code == 0
    admin = AdminClient({"bootstrap.servers": stage.broker.bootstrap, "log_level": 0})
    place = TopicPartition(stage.outcomes_topic, 0, 5)
    for future in admin.delete_records([place]).values():
        future.result()
    writer = stage.writer()
    assert writer.catch_up(180) == ""
    # Offsets, of which one is a transaction's mark.
    assert writer.status().lost >= 2
    assert "were removed by the topic's retention" in caplog.text
    assert set(ids(stage)) < {"1", "2", "3", "4", "5"}
    assert "5" in ids(stage)


def test_a_topic_made_anew_is_read_from_its_beginning(stage, caplog):
    stage.create(1)
    stage.create_topic(stage.outcomes_topic, 1)
    stage.send(*(message(n) for n in range(3)))
    assert stage.run().exit_code == 0
    assert len(stage.rows()) == 3
    admin = AdminClient({"bootstrap.servers": stage.broker.bootstrap, "log_level": 0})
    for future in admin.delete_topics([stage.outcomes_topic]).values():
        future.result()
    stage.wait(lambda: stage.outcomes_topic not in admin.list_topics().topics)
    stage.send(*(message(n) for n in range(3, 9)))
    assert stage.run().exit_code == 0
    assert ids(stage) == [str(n) for n in range(9)]
    assert "was made anew" in caplog.text


def test_a_topic_that_ends_before_what_was_read_of_it_ends_the_writer(stage):
    stage.create(1)
    stage.send(message(1))
    assert stage.run().exit_code == 0
    assert len(stage.rows()) == 1
    database(stage, "UPDATE positions SET next = next + 1000")
    writer = stage.writer()
    stage.wait(lambda: writer.status().ended)
    assert "Kafka has lost what it had" in writer.status().ended
    assert writer.catch_up(1) == writer.status().ended


def test_two_that_write_one_journal_write_each_row_once(stage):
    stage.create(3)
    stage.create_topic(stage.outcomes_topic, 3)
    first, second = stage.writer(), stage.writer()
    loop = stage.start()
    for begin in range(0, 600, 60):
        stage.send(*(message(n) for n in range(begin, begin + 60)))
        stage.wait(lambda end=begin + 60: len(stage.events()) == end)
    stage.stop(loop)
    assert first.catch_up(180) == second.catch_up(180) == ""
    assert first.status().rows + second.status().rows == 600
    assert not first.status().ended + second.status().ended
    assert len(ids(stage)) == 600


def test_what_somebody_else_wrote_to_the_topic_is_said_and_passed_over(stage, caplog):
    stage.create(1)
    stage.create_topic(stage.outcomes_topic, 1)
    stage.send(b"nothing of ours", topic=stage.outcomes_topic)
    stage.send(message(1))
    assert stage.run().exit_code == 0
    writer = stage.writer()
    assert writer.catch_up(180) == ""
    assert writer.status().refused == 1
    assert f"{stage.outcomes_topic}[0]@0" in caplog.text
    assert ids(stage) == ["1"]


def test_rows_of_another_group_id_are_not_of_this_journal(stage):
    stage.create(1)
    stage.send(message(1))
    assert stage.run().exit_code == 0
    other = f"sqlite:///{stage.folder}/other.db"
    kafka = {"group_id": f"{stage.prefix}-other"}
    stage.catch_up(kafka=kafka, journal={"url": other})
    with closing(Journal(JournalSettings(url=other))) as journal:
        assert list(journal.entries.find(Search())) == []
    assert ids(stage) == ["1"]


def test_an_outcome_too_large_for_its_topic_goes_without_its_payload(stage):
    stage.create(1)
    limits = {"max.message.bytes": "20000"}
    stage.create_topic(stage.outcomes_topic, 1, **limits)
    large = {**message("large"), "pad": b64encode(os.urandom(30_000)).decode()}
    stage.send(message(1), large, message(3))
    kept = {"kafka": {"create_topics": False}}
    stage.create_topic(stage.events_topic)
    stage.create_topic(stage.dead_topic)
    for name in ("retry.0", "retry.1", "parked"):
        stage.create_topic(f"{stage.group}.{name}")
    assert stage.run(**kept).exit_code == 0
    # Three keys, three lanes: they may end in any order.
    assert sorted(stage.events()) == ["1", "3", "large"]
    assert stage.dead_letters() == []
    rows = {json.loads(row["objects"])["dataset"]: row for row in stage.rows()}
    assert {name: bool(row["payload"]) for name, row in rows.items()} == {
        "1": True,
        "large": False,
        "3": True,
    }
    said = [json.loads(m.value()) for m in stage.read(stage.outcomes_topic)]
    assert sorted(each["omitted"] for each in said) == [[], [], ["payload"]]
