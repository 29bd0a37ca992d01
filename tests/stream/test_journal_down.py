"""What a loop does while the journal is down."""

import sqlite3
from contextlib import closing

import pytest

pytestmark = pytest.mark.kafka


def rename(stage, before, after):
    with closing(sqlite3.connect(stage.folder / "journal.db")) as connection:
        connection.execute(f"ALTER TABLE {before} RENAME TO {after}")


def test_it_pauses_and_goes_on_by_itself(stage):
    stage.create(1)
    stage.loop()
    rename(stage, "outcomes", "away")
    stage.send({"id": 1, "key": 1})
    loop = stage.start()
    stage.wait(lambda: "journal" in loop.status().down)
    assert stage.events() == []
    rename(stage, "away", "outcomes")
    stage.wait(lambda: stage.events() == ["1"])
    stage.stop(loop)
    assert [row["state"] for row in stage.rows()] == ["committed"]


def test_where_it_may_be_missing_it_goes_on_and_says_so_loudly(stage, caplog):
    stage.create(1)
    stage.send({"id": 1, "key": 1})
    loop = stage.loop(journal={"required": False})
    rename(stage, "outcomes", "away")
    assert loop.run().exit_code == 0
    assert stage.events() == ["1"]
    assert "going on WITHOUT the journal" in caplog.text


def test_a_consumer_of_snapshots_waits_for_it_whatever_is_configured(stage):
    stage.create(1)
    stage.switch("snapshots")
    stage.loop()
    rename(stage, "outcomes", "away")
    stage.send({"id": 1, "key": 1})
    loop = stage.start(journal={"required": False})
    stage.wait(lambda: "journal" in loop.status().down)
    assert stage.events() == []
    rename(stage, "away", "outcomes")
    stage.wait(lambda: stage.events() == ["1"])
    stage.stop(loop)
    assert [row["state"] for row in stage.rows()] == ["committed"]
