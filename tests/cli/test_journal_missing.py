"""A real daemon while its journal is away, lost, or not yet there."""

import json
import sqlite3
from contextlib import closing

import pytest
from confluent_kafka import Producer

from .conftest import eventually
from .dataset_messages import create_topic

SLOW = 240


class Site:
    """A daemon's configuration with topics of its own, and its journal."""

    def __init__(self, facility, name):
        self.topics = {"users": f"users-{name}", "filewriter": f"filewriter-{name}"}
        for topic in self.topics.values():
            create_topic(facility.endpoints["kafka"], topic, partitions=1)
        self.database = facility.path / f"{name}.db"
        self.config = facility.variant(
            name,
            kafka={"group_id": name},
            journal={"url": f"sqlite:///{name}.db"},
            events={"topic": f"{name}.events"},
            outcomes={"topic": f"{name}.outcomes"},
            consumers={
                "users": {"handler": "users", "topics": [self.topics["users"]]},
                "files": {
                    "handler": "file_written",
                    "topics": [self.topics["filewriter"]],
                },
            },
        )
        self._producer = Producer({"bootstrap.servers": facility.endpoints["kafka"]})

    def announce(self, person):
        message = {
            "first_name": "Perdita",
            "last_name": "Quillhaven",
            "user_list": [{"username": person}],
        }
        self._producer.produce(self.topics["users"], json.dumps(message))
        # No announcement at all: rejected, which is an outcome as well.
        self._producer.produce(self.topics["filewriter"], b"nothing")
        assert self._producer.flush(30) == 0

    def do(self, *statements):
        with closing(sqlite3.connect(self.database, timeout=30)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def rows(self):
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database, timeout=30)) as connection:
            there = "SELECT name FROM sqlite_master WHERE name = 'outcomes'"
            if not connection.execute(there).fetchall():
                return []
            asked = "SELECT COALESCE(message_type, 'none') FROM outcomes ORDER BY 1"
            return [name for (name,) in connection.execute(asked)]


@pytest.fixture
def client(facility):
    client = facility.client()
    yield client
    client.logout()


def test_users_and_files_go_on_and_lose_no_row(facility, client, start, tmp_path):
    site = Site(facility, "may-be-missing")
    log = tmp_path / "log"

    def is_there(person):
        return client.search(f"SELECT u FROM User u WHERE u.name = '{person}'")

    process = start("icat_ingestor", "-c", site.config, log=log)
    site.announce("perdita1")
    eventually(lambda: len(site.rows()) == 2, SLOW)
    # What is the newest can be told, what became of a record cannot.
    site.do("ALTER TABLE outcomes RENAME TO away")
    site.announce("perdita2")
    eventually(lambda: is_there("perdita2"), SLOW)
    eventually(lambda: "the journal is not written for now" in log.read_text(), SLOW)
    assert "pausing" not in log.read_text()
    site.do("ALTER TABLE away RENAME TO outcomes")
    eventually(lambda: site.rows() == ["none"] * 2 + ["user"] * 2, SLOW)
    process.terminate()
    assert process.wait(240) == 0


def test_users_wait_for_a_journal_that_cannot_be_opened_files_do_not(
    facility, client, start, run, tmp_path
):
    site = Site(facility, "not-there-yet")
    log = tmp_path / "log"
    # A folder in its place.
    site.database.mkdir()
    site.announce("perdita3")
    process = start("icat_ingestor", "-c", site.config, log=log)
    eventually(lambda: "users: pausing, journal is unavailable" in log.read_text())
    eventually(lambda: "rejected: " in log.read_text(), SLOW)
    assert "files: pausing" not in log.read_text()
    site.database.rmdir()
    eventually(lambda: site.rows() == ["none", "user"], SLOW)
    process.terminate()
    assert process.wait(240) == 0
    # Lost while nobody looked: it comes back, and a run to the end ends with it.
    site.database.unlink()
    done = run("icat_ingestor", "-c", site.config, "--until-end")
    assert done.code == 0, done.err
    assert site.rows() == ["none", "user"]


def test_a_run_to_the_end_does_not_reach_it_without_the_journal(facility, run):
    site = Site(facility, "no-end")
    site.database.mkdir()
    site.announce("perdita4")
    command = ("icat_ingestor", "-c", site.config, "--until-end", "--wait", "2")
    done = run(*command, "--consumer", "files")
    assert done.code == 5
    assert "journal: it has not all outcomes" in done.err
    assert '"rejected": 1' in done.out
    site.database.rmdir()
    # One consumer is enough for all that is in the topic.
    done = run(*command[:-1], "60", "--consumer", "files")
    assert done.code == 0, done.err
    assert site.rows() == ["none"]
