"""A real daemon that may do without its journal, while the journal is away."""

import json
import sqlite3
from contextlib import closing

import pytest
from confluent_kafka import Producer

from .conftest import eventually
from .dataset_messages import create_topic

SLOW = 240


def journal_of(facility, name):
    return closing(sqlite3.connect(facility.path / f"{name}.db", timeout=30))


def rename(facility, name, before, after):
    with journal_of(facility, name) as connection, connection:
        connection.execute(f"ALTER TABLE {before} RENAME TO {after}")


def rows(facility, name):
    if not (facility.path / f"{name}.db").exists():
        return []
    with journal_of(facility, name) as connection:
        there = "SELECT name FROM sqlite_master WHERE name = 'outcomes'"
        if not connection.execute(there).fetchall():
            return []
        return connection.execute("SELECT message_type, state FROM outcomes").fetchall()


@pytest.fixture
def client(facility):
    client = facility.client()
    yield client
    client.logout()


def test_users_lose_no_row_while_files_go_on(facility, client, start, tmp_path):
    name = "may-be-missing"
    topics = {"users": f"users-{name}", "filewriter": f"filewriter-{name}"}
    for topic in topics.values():
        create_topic(facility.endpoints["kafka"], topic, partitions=1)
    config = facility.variant(
        name,
        kafka={"group_id": name},
        journal={"url": f"sqlite:///{name}.db", "required": False},
        events={"topic": f"{name}.events"},
        consumers={
            "users": {"handler": "users", "topics": [topics["users"]]},
            "files": {"handler": "file_written", "topics": [topics["filewriter"]]},
        },
    )
    log = tmp_path / "log"
    producer = Producer({"bootstrap.servers": facility.endpoints["kafka"]})

    def announce(person):
        message = {
            "first_name": "Perdita",
            "last_name": "Quillhaven",
            "user_list": [{"username": person}],
        }
        producer.produce(topics["users"], json.dumps(message))
        # No announcement at all: rejected, which is an outcome as well.
        producer.produce(topics["filewriter"], b"nothing")
        assert producer.flush(30) == 0

    def is_there(person):
        return client.search(f"SELECT u FROM User u WHERE u.name = '{person}'")

    process = start("icat_ingestor", "-c", config, log=log)
    announce("perdita1")
    eventually(lambda: len(rows(facility, name)) == 2, SLOW)
    # What is the newest can be told, what became of a record cannot.
    rename(facility, name, "outcomes", "away")
    announce("perdita2")
    eventually(lambda: is_there("perdita2"), SLOW)
    eventually(lambda: "going on WITHOUT the journal" in log.read_text(), SLOW)
    eventually(lambda: "users: pausing, journal" in log.read_text(), SLOW)
    assert "users: going on WITHOUT" not in log.read_text()
    rename(facility, name, "away", "outcomes")
    eventually(
        lambda: rows(facility, name).count(("user", "committed")) == 2,
        SLOW,
    )
    process.terminate()
    assert process.wait(240) == 0
