"""What can be seen of a facility from outside, by the tools that anybody has."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import icat.client
import icat.config
import yaml
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

BIN = Path(sys.executable).parent
GROUP = "icat-stream.file_written"
ACCOUNT = "simple/dataingest"
# Permissions of files bind the daemon, even where root runs the tests.
BOUND = (
    ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if os.geteuid() == 0
    else ()
)


@dataclass
class Facility:
    """The embedded facility, the daemon run on it, and what became of it all."""

    folder: Path

    def __post_init__(self) -> None:
        self.endpoints = json.loads((self.folder / "endpoints.json").read_text())
        self.config = self.folder / "config.yaml"
        self._started: list[subprocess.Popen[str]] = []
        self._lock = Lock()
        self._clients: dict[bool, list[tuple[Any, Any]]] = {False: [], True: []}

    def configure(self, **sections) -> None:
        """Change the daemon's configuration."""
        values = yaml.safe_load(self.config.read_text())
        for name, section in sections.items():
            values[name] = {**values.get(name, {}), **section}
        # Of several instances only one could have the facility's address.
        values["health"] = sections.get("health", {"listen": "127.0.0.1:0"})
        self.config.write_text(yaml.safe_dump(values))

    def announce(self, count: int, *options: str) -> None:
        """Write and announce files."""
        subprocess.run(
            [
                BIN / "icat_stream",
                "sandbox",
                "announce",
                "--dir",
                self.folder,
                "--count",
                str(count),
                *options,
            ],
            check=True,
            capture_output=True,
            timeout=300,
        )

    def start(
        self, *options: str, log: str = "daemon.log", **environment: str
    ) -> subprocess.Popen[str]:
        """Start a daemon that writes to a log in the facility's folder."""
        with (self.folder / log).open("a") as errors:
            daemon = subprocess.Popen(
                [*BOUND, BIN / "icat_ingestor", "-c", self.config, *options],
                stdout=subprocess.PIPE
                if "--until-end" in options
                else subprocess.DEVNULL,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )
        self._started = [each for each in self._started if each.poll() is None]
        self._started.append(daemon)
        return daemon

    def end(self) -> None:
        """End daemons that a failed test left behind."""
        for daemon in self._started:
            daemon.kill()
            daemon.wait(30)

    def run_until_end(self, timeout: float = 180) -> dict[str, int]:
        """Run a daemon to the end and return its summary."""
        daemon = self.start("--until-end", "--output", "json")
        out, _ = daemon.communicate(timeout=timeout)
        assert daemon.returncode == 0, (self.folder / "daemon.log").read_text()[-3000:]
        return json.loads(out.strip().splitlines()[-1])

    def icat_fault(self, kind: str, **details: Any) -> None:
        """Let ICAT have a bad day."""
        body = json.dumps({"kind": kind, **details}).encode()
        request = urllib.request.Request(f"{self._admin()}/faults", body)

        def order() -> None:
            with urllib.request.urlopen(request, timeout=30):
                pass

        # It may be about to start.
        self.patiently(order)

    def sessions(self) -> int:
        """Count the daemons' sessions in ICAT that have not expired."""
        with urllib.request.urlopen(f"{self._admin()}/sessions", timeout=30) as answer:
            return int(json.loads(answer.read()).get(ACCOUNT, {}).get("valid", 0))

    def _admin(self) -> str:
        ready = json.loads((self.folder / "run" / "icat.json").read_text())
        return str(ready["admin"])

    def datasets(self) -> tuple[Counter[str], int]:
        """Count datasets by name, and datafiles, read back through python-icat."""
        client = self.client()
        found: Counter[str] = Counter()
        query = "SELECT o.name FROM Dataset o ORDER BY o.id LIMIT {}, 1000"
        while names := client.search(query.format(found.total())):
            found.update(str(name) for name in names)
        files = client.search("SELECT COUNT(f) FROM Datafile f")
        client.logout()
        return found, int(files[0])

    def client(self, *, ids: bool = False) -> icat.client.Client:
        """Return a client of python-icat, logged in as root.

        A client takes half a second to make, a login next to nothing: one that is
        logged out is used again.
        """
        with self._lock:
            free = (c for c in self._clients[ids] if c[0].sessionId is None)
            client, conf = next(free, None) or self._new_client(ids)
            client.login(conf.auth, conf.credentials)
        return client

    def _new_client(self, ids: bool) -> tuple[Any, Any]:
        config = icat.config.Config(
            ids="mandatory" if ids else False,
            args=["-c", str(self.folder / "icat.cfg"), "-s", "root"],
        )
        self._clients[ids].append(config.getconfig())
        return self._clients[ids][-1]

    def incomplete(self) -> list[str]:
        """Return datasets without all that belongs to them."""
        client = self.client()
        query = (
            "SELECT o.name FROM Dataset o"
            " WHERE o.datafiles IS EMPTY OR o.parameters IS EMPTY"
        )
        found = [str(name) for name in client.search(query)]
        client.logout()
        return found

    def read(self, topic: str) -> list[bytes]:
        """Read what a read_committed consumer sees of a topic, from the beginning."""
        return [message.value() for message in self._messages(topic)]

    def headers(self, topic: str) -> list[dict[str, bytes]]:
        """Read the headers likewise."""
        return [dict(message.headers() or ()) for message in self._messages(topic)]

    def ends(self, topic: str) -> list[tuple[str, int, int]]:
        """Return where the partitions of a topic end."""
        consumer = self._consumer()
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in partitions]
        found = [
            (topic, place.partition, consumer.get_watermark_offsets(place, 30)[1])
            for place in places
        ]
        consumer.close()
        return found

    def _messages(self, topic: str) -> list[Message]:
        consumer = self._consumer()
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        messages, open_ends = [], set(partitions)
        deadline = time.monotonic() + 120
        while open_ends:
            assert time.monotonic() < deadline, f"{topic} is not read to its ends"
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                open_ends.discard(message.partition())
            else:
                messages.append(message)
        consumer.close()
        return messages

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.endpoints["kafka"],
                "group.id": "checker",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            }
        )

    def patiently(self, act: Callable[[], None], seconds: float = 120) -> None:
        """Do something that may fail while a broker is away."""
        end = time.monotonic() + seconds
        while True:
            try:
                act()
            except Exception:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)
            else:
                return

    def hold_journal(self, seconds: float) -> None:
        """Keep others from writing the journal for a while."""
        path = self.endpoints["journal"].removeprefix("sqlite:///")
        connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        connection.close()

    def journal(self, query: str) -> list[tuple]:
        """Ask the journal."""
        path = self.endpoints["journal"].removeprefix("sqlite:///")
        with sqlite3.connect(path, timeout=30) as connection:
            rows = connection.execute(query).fetchall()
        connection.close()
        return rows

    def done(self) -> int:
        """Return how many records have an outcome in the journal."""
        try:
            return int(
                self.journal("SELECT COUNT(*) FROM outcomes WHERE state = 'committed'")[
                    0
                ][0]
            )
        except sqlite3.OperationalError:
            # Its tables are not there yet.
            return 0

    def committed(self) -> dict[tuple[str, int], int]:
        """Return the group's committed offsets."""
        admin = AdminClient({"bootstrap.servers": self.endpoints["kafka"]})
        futures = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(GROUP)]
        )
        result = futures[GROUP].result(30)
        return {(t.topic, t.partition): t.offset for t in result.topic_partitions}


def kill(process: subprocess.Popen[str]) -> None:
    """End a process as a power cut would."""
    process.send_signal(signal.SIGKILL)
    process.wait(30)
