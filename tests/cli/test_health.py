"""Health, metrics and alerts of a real daemon, on good days and bad ones."""

import json
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from .conftest import eventually

SLOW = 240


class Receiver(ThreadingHTTPServer):
    """A chat tool's end of a webhook; on demand one that never answers."""

    def __init__(self):
        self.got = []
        self.hangs = threading.Event()
        self.freed = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server_port}/hook/T0K3N"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.hangs.is_set():
            self.server.freed.wait(SLOW)
            return
        self.server.got.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.freed.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Daemon:
    """A daemon with a health endpoint."""

    def __init__(self, facility, start, log, name, **sections):
        self.log = log
        self.config = facility.variant(
            name,
            kafka={
                "group_id": name,
                "start": "latest",
                **sections.pop("kafka", {}),
            },
            journal={"url": f"sqlite:///{name}.db", **sections.pop("journal", {})},
            health={
                "listen": "127.0.0.1:0",
                "every": "200ms",
                **sections.pop("health", {}),
            },
            **sections,
        )
        self.process = start("icat_ingestor", "-c", self.config, log=log)
        found = eventually(
            lambda: re.search(r"health: (http://\S+)/health", log.read_text()), SLOW
        )
        self.url = found[1]

    def get(self, path):
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def status(self, path):
        return self.get(path)[0]

    def health(self):
        return json.loads(self.get("/health")[1])

    def stop(self):
        self.process.terminate()
        assert self.process.wait(240) == 0


def test_a_good_day(facility, start, run, tmp_path):
    daemon = Daemon(facility, start, tmp_path / "log", "good-day")
    eventually(lambda: daemon.health()["healthy"], SLOW)
    facility.announce(facility.write())
    eventually(
        lambda: daemon.health()["loops"]["file_written"]["outcomes"] == {"ingested": 1},
        SLOW,
    )
    for path in ("/health/live", "/health/ready", "/health/startup"):
        assert daemon.status(path) == 200
    done = run("icat_stream", "health", "--url", daemon.url)
    assert done.code == 0, done.err
    assert "healthy" in done.out
    assert "1 ingested" in done.out
    metrics = daemon.get("/metrics")[1]
    records = 'records_total{consumer="file_written",outcome="ingested"} 1'
    assert f"icat_stream_{records}\n" in metrics
    # Kafka is asked beside the loop, and a first look takes its time.
    lag = 'icat_stream_lag_records{consumer="file_written"'
    eventually(lambda: lag in daemon.get("/metrics")[1], SLOW)
    # The parts of the loop's time are all of its time.
    parts = [
        float(line.split()[-1])
        for line in metrics.splitlines()
        if line.startswith("icat_stream_loop_seconds_total")
    ]
    time.sleep(1)
    later = sum(daemon.health()["loops"]["file_written"]["time"].values())
    # Rounded to milliseconds each.
    assert later >= sum(parts) + 0.9
    daemon.stop()


def test_a_stopped_daemon_is_noticed(facility, start, run, tmp_path):
    daemon = Daemon(facility, start, tmp_path / "log", "stopped")
    eventually(lambda: daemon.status("/health") == 200, SLOW)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        done = run("icat_stream", "health", "--url", daemon.url, "--timeout", "1")
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert done.code == 5
    assert "does not answer within 1 s" in done.err
    daemon.stop()
    done = run("icat_stream", "health", "--url", daemon.url)
    assert done.code == 5
    assert "does it run?" in done.err


def test_without_an_address_it_says_what_to_set(facility, run):
    config = facility.variant("no-address")
    done = run("icat_stream", "health", "-c", config)
    assert done.code == 2
    assert "health.listen" in done.err


def test_something_else_on_the_port_is_no_daemon(run):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def greet():
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"SSH-2.0-none\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = run("icat_stream", "health", "--url", url)
        thread.join(SLOW)
    assert done.code == 5
    assert "no daemon answers" in done.err


HANGING = """
import threading

from icat_stream.records import Outcome, OutcomeKind


class Hanging:
    def __init__(self, context):
        pass

    def key(self, record):
        return str(record.at)

    def decode(self, record):
        threading.Event().wait(600 if record.value == b"hang" else 0)
        return Outcome(kind=OutcomeKind.IGNORED)
"""


def test_a_lane_that_hangs_is_not_live(facility, start, tmp_path, monkeypatch):
    (tmp_path / "hanging_handler.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    daemon = Daemon(
        facility,
        start,
        tmp_path / "log",
        "hanging",
        health={"stuck": "1s"},
        limits={"stop": "1s"},
        consumers={
            "hanging": {"handler": "hanging_handler:Hanging", "topics": ["filewriter"]},
            "file_written": {
                "handler": "file_written",
                "topics": ["filewriter"],
                "enabled": False,
            },
        },
    )
    eventually(lambda: daemon.health()["healthy"], SLOW)
    from icat_stream.sandbox.announcer import Announcer

    announcer = Announcer(facility.endpoints["kafka"])
    announcer.send(b"hang")
    announcer.flush()
    eventually(lambda: daemon.status("/health/live") == 503, SLOW)
    (problem,) = json.loads(daemon.get("/health/live")[1])["problems"]
    assert "hanging-lane-" in problem["text"]
    assert "filewriter" in problem["text"]
    assert problem["page"] == "icat_stream docs stuck-daemon"
    daemon.process.kill()


def test_paused_says_why_and_alerts_are_told_once_and_resolved(
    facility, start, tmp_path, receiver
):
    # A port that we hold, so that nobody else answers there.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ids = f"http://127.0.0.1:{taken.getsockname()[1]}/ids"
        daemon = Daemon(
            facility,
            start,
            tmp_path / "log",
            "alerting",
            ids={"url": ids},
            alerts={
                "webhook": receiver.url,
                "format": "chat",
                "every": "100ms",
                "hold": "300ms",
                "docs": "https://docs.example.org/icat-stream",
            },
        )
        eventually(lambda: receiver.got, SLOW)
        assert daemon.status("/health/ready") == 503
        assert daemon.status("/health/live") == 200
        report = daemon.health()
        assert report["systems"]["ids"]["up"] is False
        first = receiver.got[0]["text"]
        assert "ids: the data service at" in first
        assert "https://docs.example.org/icat-stream/night/icat-down.html" in first
        time.sleep(1)
        assert [each["text"] for each in receiver.got].count(first) == 1
        port = taken.getsockname()[1]
    server = ThreadingHTTPServer(("127.0.0.1", port), _IdsOk)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        eventually(
            lambda: any(
                "Resolved" in each["text"] and "ids" in each["text"]
                for each in receiver.got
            ),
            SLOW,
        )
        eventually(lambda: daemon.status("/health") == 200, SLOW)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    daemon.stop()
    # Chat tools put a secret into the URL.
    assert "T0K3N" not in (tmp_path / "log").read_text()


class _IdsOk(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"IdsOK")

    def log_message(self, *_):
        pass


def test_dead_letters_are_told_and_a_hanging_webhook_disturbs_nothing(
    facility, start, tmp_path, receiver
):
    receiver.hangs.set()
    daemon = Daemon(
        facility,
        start,
        tmp_path / "log",
        "letters",
        alerts={"webhook": receiver.url, "every": "100ms", "hold": "0s"},
    )
    eventually(lambda: daemon.health()["started"], SLOW)
    from icat_stream.sandbox.announcer import Announcer

    announcer = Announcer(facility.endpoints["kafka"])
    announcer.send(b"poison")
    announcer.flush()
    file = facility.write()
    facility.announce(file)
    eventually(lambda: facility.datasets(file), SLOW)
    eventually(lambda: daemon.health()["dead_letters"] == 1, SLOW)
    receiver.hangs.clear()
    receiver.freed.set()
    eventually(
        lambda: any(each["alert"] == "dead letters" for each in receiver.got), SLOW
    )
    found = next(each for each in receiver.got if each["alert"] == "dead letters")
    assert found["status"] == "firing"
    assert found["docs"] == "icat_stream docs dead-letters-filling"
    daemon.stop()


def test_health_while_waiting_for_icat_at_start(facility, start, tmp_path):
    daemon = Daemon(
        facility,
        start,
        tmp_path / "log",
        "early",
        icat={"url": "http://127.0.0.1:9"},
    )
    eventually(lambda: daemon.health()["systems"]["icat"]["up"] is False, SLOW)
    assert daemon.status("/health/startup") == 503
    assert daemon.status("/health/live") == 200
    daemon.stop()


def test_pages_that_alerts_name_are_there():
    docs = Path(__file__).parents[2] / "docs/night"
    source = Path(__file__).parents[2] / "src/icat_stream/app/health_report.py"
    pages = set(re.findall(r'page="([\w-]+)"', source.read_text()))
    assert pages
    assert all((docs / f"{page}.md").is_file() for page in pages)


def test_a_missing_topic_stops_nobody_else(facility, start, run, tmp_path):
    consumers = {
        "file_written": {"handler": "file_written", "topics": ["filewriter"]},
        "later": {"handler": "file_written", "topics": ["not-yet"]},
    }
    log = tmp_path / "log"
    daemon = Daemon(facility, start, log, "topicless", consumers=consumers)

    def loop(name):
        return daemon.health()["loops"].get(name, {})

    assert "not-yet" in eventually(lambda: loop("later").get("missing"), SLOW)
    eventually(lambda: loop("file_written").get("joined"), SLOW)
    # A restart would help nobody: only readiness says no.
    assert daemon.status("/health/live") == daemon.status("/health/startup") == 200
    assert daemon.status("/health/ready") == 503
    done = run("icat_stream", "health", "--url", daemon.url)
    assert done.code == 5
    assert "icat_stream docs topic-missing" in done.out
    assert "later: waiting: consumers.later.topics" in log.read_text()
    file = facility.write()
    facility.announce(file)
    eventually(lambda: facility.datasets(file), SLOW)
    admin = AdminClient({"bootstrap.servers": facility.endpoints["kafka"]})
    [made] = admin.create_topics([NewTopic("not-yet", 1, 1)]).values()
    made.result(60)
    # Its one topic, and three retry topics and one of parked records like it.
    eventually(lambda: loop("later").get("partitions") == 5, SLOW)
    eventually(lambda: daemon.health()["healthy"], SLOW)
    daemon.stop()
