"""An SQLite journal is one machine's; who comes from another one is told, and ends."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from icat_stream.app import sqlite_host
from icat_stream.app.sqlite_host import SqliteHost
from icat_stream.app.stop_flag import StopFlag
from icat_stream.config import Settings
from icat_stream.stream import Halt, other_hosts

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka_broker, topic_prefix):
    def make(url="sqlite:///journal.db"):
        return Settings(
            facility="TEST",
            kafka={
                "bootstrap_servers": kafka_broker.bootstrap,
                "group_id": topic_prefix,
            },
            journal={"url": url},
            consumers={"c": {"handler": "users", "topics": [f"{topic_prefix}.a"]}},
        )

    return make


@contextmanager
def member(settings, name):
    """Somebody who reads the group, from a machine of that name."""
    bootstrap = {"bootstrap.servers": settings.kafka.bootstrap_servers}
    [topic] = settings.consumers["c"].topics
    admin = AdminClient(bootstrap)
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    client = Consumer(
        {
            **bootstrap,
            "group.id": f"{settings.kafka.group_id}.c",
            "client.id": f"icat-stream@{name}",
        }
    )
    joined, leave = threading.Event(), threading.Event()
    client.subscribe([topic], on_assign=lambda *_: joined.set())

    def read():
        while not leave.is_set():
            client.poll(0.1)
        client.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(read)
        assert joined.wait(120)
        try:
            yield leave
        finally:
            leave.set()


def test_the_second_machine_ends(settings, monkeypatch):
    monkeypatch.setattr(sqlite_host, "_SESSION_S", 0.0)
    with member(settings(), "elsewhere"):
        with pytest.raises(Halt, match="read from elsewhere as well") as caught:
            SqliteHost(settings(), ["c"]).check(StopFlag())
        assert caught.value.code == 2
        # PostgreSQL is there for all of them.
        postgres = settings("postgresql://nobody@127.0.0.1/nothing")
        SqliteHost(postgres, ["c"]).check(StopFlag())


def test_one_that_died_is_waited_for(settings, monkeypatch):
    monkeypatch.setattr(sqlite_host, "_SESSION_S", 600.0)
    with member(settings(), "elsewhere") as leave, ThreadPoolExecutor(1) as pool:
        done = pool.submit(SqliteHost(settings(), ["c"]).check, StopFlag())
        leave.set()
        assert done.result(120) is None


@pytest.mark.parametrize(("name", "goes"), [("!first", True), ("~last", False)])
def test_of_two_that_began_together_one_ends(settings, monkeypatch, caplog, name, goes):
    monkeypatch.setattr(sqlite_host, "_EVERY_S", 0.1)
    said = []
    with member(settings(), name):
        periodic = SqliteHost(settings(), ["c"]).watch(said.append)
        periodic.start()
        end = time.monotonic() + 120
        while not said and "it will end" not in caplog.text:
            assert time.monotonic() < end
            time.sleep(0.05)
        periodic.stop()
    assert bool(said) is goes


def test_who_runs_here_is_no_other(settings):
    assert other_hosts(settings(), ["c"]) == set()
