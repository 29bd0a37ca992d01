"""Parts of a real daemon that do not get on: who says so, and how it ends."""

import json
import re
import signal

import pytest

from icat_stream.sandbox.announcer import Announcer
from plugins.proxy import Proxy

from .conftest import eventually
from .dataset_messages import create_topic
from .test_health import SLOW, Daemon

# Of the loop and of the committer; a busy machine takes its time beyond.
PATIENCE = 180

HANGING = """
import threading

from icat_stream.records import Outcome, OutcomeKind


class Hanging:
    def __init__(self, context):
        self._where = context.options["where"]

    def key(self, record):
        self._maybe(record, "key")
        return str(record.at)

    def decode(self, record):
        self._maybe(record, "decode")
        return Outcome(kind=OutcomeKind.IGNORED)

    def _maybe(self, record, where):
        if record.value == b"hang" and self._where == where:
            threading.Event().wait()
"""


@pytest.fixture
def hanging(facility, start, tmp_path, monkeypatch):
    (tmp_path / "hanging_handler.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def daemon(where):
        return Daemon(
            facility,
            start,
            tmp_path / "log",
            f"hanging-{where}",
            health={"stuck": "5s"},
            limits={"stop": "1s"},
            consumers={
                "hanging": {
                    "handler": "hanging_handler:Hanging",
                    "topics": ["filewriter"],
                    "options": {"where": where},
                }
            },
        )

    return daemon


def send(facility, *values):
    announcer = Announcer(facility.endpoints["kafka"])
    for value in values:
        announcer.send(value)
    announcer.flush()


def said(daemon, path, words):
    """Return the problem of these words once the page names it."""

    def look():
        problems = json.loads(daemon.get(path)[1])["problems"]
        return next((p["text"] for p in problems if words in p["text"]), None)

    return eventually(look, PATIENCE)


@pytest.mark.parametrize(("where", "line"), [("decode", 16), ("key", 12)])
def test_a_handler_that_never_returns_is_named(facility, run, hanging, where, line):
    place = f"hanging_handler.py:{line} {where}"
    daemon = hanging(where)
    eventually(lambda: daemon.health()["healthy"], SLOW)
    send(facility, b"hang")
    text = said(daemon, "/health/live", place)
    assert re.search(r"filewriter\[\d\]@\d+", text)
    assert "hanging" in text
    assert daemon.status("/health/live") == 503
    done = run("icat_stream", "health", "--url", daemon.url)
    assert done.code == 5
    assert place in done.out
    daemon.process.send_signal(signal.SIGTERM)
    # What hangs in a lane is left alone; without its loop there is nothing to stop.
    assert daemon.process.wait(SLOW) == (1 if where == "key" else 0)
    if where == "key":
        log = daemon.log.read_text()
        assert "it does not stop: it asks the handler for the key of" in log


@pytest.mark.long
def test_a_silent_database_holds_nobody_up(
    facility, start, run, tmp_path, proxied_postgres
):
    url, proxy = proxied_postgres
    daemon = Daemon(
        facility,
        start,
        tmp_path / "log",
        "silent",
        journal={"url": url, "timeout": "5s"},
    )
    eventually(lambda: daemon.health()["healthy"], SLOW)
    proxy.hold()
    facility.announce(facility.write())
    eventually(
        lambda: daemon.health()["loops"]["file_written"]["outcomes"] == {"ingested": 1},
        SLOW,
    )
    eventually(lambda: daemon.health()["journal"]["down"], SLOW)
    eventually(lambda: daemon.health()["journal"]["lag"], SLOW)
    assert daemon.status("/health/ready") == 503
    assert daemon.status("/health/live") == 200
    assert not daemon.health()["loops"]["file_written"]["down"]
    done = run("icat_stream", "health", "--url", daemon.url)
    assert done.code == 5
    assert "wait in Kafka for their rows" in done.out
    proxy.release()
    eventually(lambda: daemon.health()["healthy"], PATIENCE)
    assert daemon.health()["journal"]["rows"] == 1
    daemon.stop()


@pytest.mark.kafka
def test_a_kafka_that_is_silent(facility, start, tmp_path, own_broker, topic_prefix):
    create_topic(own_broker.bootstrap, "filewriter")
    daemon = Daemon(
        facility,
        start,
        tmp_path / "log",
        topic_prefix,
        kafka={"bootstrap_servers": own_broker.bootstrap},
    )
    eventually(lambda: daemon.health()["healthy"], SLOW)
    file = facility.write()
    announcer = Announcer(own_broker.bootstrap)
    announcer.announce(file)
    announcer.flush()
    eventually(lambda: facility.datasets(file), SLOW)
    own_broker.freeze()
    try:
        said(daemon, "/health/ready", "kafka: ")
        assert daemon.status("/health/ready") == 503
        assert daemon.status("/health/live") == 200
    finally:
        own_broker.thaw()
    eventually(lambda: daemon.health()["healthy"], PATIENCE)
    another = facility.write()
    announcer.announce(another)
    announcer.flush()
    eventually(lambda: facility.datasets(another), PATIENCE)
    daemon.stop()


def test_an_icat_that_is_silent(facility, start, tmp_path):
    port = int(facility.endpoints["icat"].rpartition(":")[2])
    proxy = Proxy(("127.0.0.1", port))
    daemon = Daemon(
        facility,
        start,
        tmp_path / "log",
        "silent-icat",
        icat={"url": f"http://127.0.0.1:{proxy.port}", "timeout": "2s"},
    )
    eventually(lambda: daemon.health()["healthy"], SLOW)
    proxy.hold()
    file = facility.write()
    facility.announce(file)
    said(daemon, "/health/ready", "icat: ")
    said(daemon, "/health/ready", "file_written is paused")
    assert daemon.status("/health/ready") == 503
    assert daemon.status("/health/live") == 200
    proxy.release()
    eventually(lambda: facility.datasets(file), PATIENCE)
    eventually(lambda: daemon.health()["healthy"], PATIENCE)
    daemon.stop()
    proxy.close()
