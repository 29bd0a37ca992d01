"""An embedded facility on a real broker, for the benchmarks that need all of it."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from icat_stream.sandbox.announcer import Announcer, write_files
from icat_stream.sandbox.samples import SampleFile
from measuring import PATIENCE_S

BIN = Path(sys.executable).parent
SOURCE, EVENTS = "filewriter", "icat-stream.events"
_TICK = os.sysconf("SC_CLK_TCK")


class Facility:
    """A facility that runs, and daemons on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.endpoints = json.loads((folder / "endpoints.json").read_text())
        self.config = folder / "config.yaml"
        values = yaml.safe_load(self.config.read_text())
        values["health"] = {"listen": "127.0.0.1:0"}
        values["files"] = {**values["files"], "settle": 0}
        self.config.write_text(yaml.safe_dump(values))
        self._files = write_files(folder / "data", layout="both")
        self._counter = Consumer(
            {"bootstrap.servers": self.endpoints["kafka"], "group.id": "counter"}
        )
        self._daemons: list[subprocess.Popen[bytes]] = []

    def share_out(self, partitions: int) -> None:
        """Let the source have so many partitions."""
        admin = AdminClient({"bootstrap.servers": self.endpoints["kafka"]})
        wanted = [NewPartitions(SOURCE, partitions)]
        for done in admin.create_partitions(wanted).values():
            done.result(30)

    def daemon(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a daemon."""
        with (self.folder / "daemon.log").open("ab") as log:
            process = subprocess.Popen(
                [BIN / "icat_ingestor", "-c", self.config],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **environment},
            )
        self._daemons.append(process)
        return process

    def stop(self) -> None:
        """End all daemons."""
        for process in self._daemons:
            process.terminate()
        for process in self._daemons:
            process.wait(PATIENCE_S)
        self._daemons.clear()

    def write(self, count: int) -> list[SampleFile]:
        """Write settled files."""
        return list(itertools.islice(self._files, count))

    def announce(self, files: list[SampleFile], rate: float | None = None) -> None:
        """Announce files, at once or so many a second."""
        announcer = Announcer(self.endpoints["kafka"])
        begun = time.monotonic()
        for number, written in enumerate(files):
            announcer.announce(written)
            if rate is not None:
                time.sleep(max(0.0, begun + (number + 1) / rate - time.monotonic()))
        announcer.flush()

    def events(self, count: int) -> list[Message]:
        """Wait for so many new events, and return them."""
        found: list[Message] = []
        end = time.monotonic() + PATIENCE_S
        while len(found) < count:
            if time.monotonic() > end:
                raise SystemExit(f"only {len(found)} of {count} events came")
            message = self._reader.poll(1.0)
            if message is not None and message.error() is None:
                found.append(message)
        return found

    def open_events(self) -> None:
        """Read events from now on; the topic must exist."""
        self._reader = Consumer(
            {
                "bootstrap.servers": self.endpoints["kafka"],
                "group.id": "benchmark",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
            }
        )
        known = self._reader.list_topics(EVENTS, timeout=30).topics[EVENTS].partitions
        places = []
        for number in known:
            place = TopicPartition(EVENTS, number)
            place.offset = self._reader.get_watermark_offsets(place, 30)[1]
            places.append(place)
        self._reader.assign(places)

    def event_count(self) -> int:
        """Return how far the events topic is."""
        known = self._counter.list_topics(timeout=30).topics
        if EVENTS not in known:
            return 0
        try:
            return sum(
                self._counter.get_watermark_offsets(TopicPartition(EVENTS, number), 30)[
                    1
                ]
                for number in known[EVENTS].partitions
            )
        except KafkaException:
            # A topic that was just made has no leader for a moment.
            return 0

    def hurt(self, kind: str, **details: Any) -> None:
        """Put a fault of the catalogue in force, or ``clear`` them."""
        ready = json.loads((self.folder / "run" / "icat.json").read_text())
        body = json.dumps({"kind": kind, **details}).encode()
        with urllib.request.urlopen(f"{ready['admin']}/faults", body, timeout=30):
            pass

    def pids(self) -> dict[str, int]:
        """Return the facility's processes and the daemons by name."""
        children = json.loads((self.folder / "run" / "children.json").read_text())
        found = {}
        for child in children:
            command = Path(f"/proc/{child['pid']}/cmdline").read_bytes()
            for name, mark in (
                ("Kafka", b"kafka.Kafka"),
                ("ICAT", b"sandbox.icat"),
                ("IDS", b"dataservice"),
            ):
                if mark in command:
                    found[name] = child["pid"]
        found |= {f"daemon {n + 1}": p.pid for n, p in enumerate(self._daemons)}
        return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its present children."""
    tree = [pid, *_children(pid)]
    return sum(own_cpu_seconds(each) for each in tree)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *_children(int(child))]
    return found


def own_cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, its children apart."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


@contextmanager
def facility() -> Iterator[Facility]:
    """Start a facility, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [BIN / "icat_stream", "sandbox"]
        subprocess.run(
            [*command, "up", "--dir", folder, "--kafka", "java", "--detach"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        running = Facility(Path(folder))
        try:
            yield running
        finally:
            running.stop()
            subprocess.run(
                [*command, "down", "--dir", folder],
                check=True,
                stdout=subprocess.DEVNULL,
            )
