"""A facility on a real broker, and a checker that knows nothing of our internals."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import icat.client
import icat.config
import pytest
import yaml
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

BIN = Path(sys.executable).parent
GROUP = "icat-stream.file_written"


@dataclass
class Facility:
    """The embedded facility, the daemon run on it, and what became of it all."""

    folder: Path

    def __post_init__(self) -> None:
        self.endpoints = json.loads((self.folder / "endpoints.json").read_text())
        self.config = self.folder / "config.yaml"

    def configure(self, **sections) -> None:
        """Change the daemon's configuration."""
        values = yaml.safe_load(self.config.read_text())
        for name, section in sections.items():
            values[name] = {**values.get(name, {}), **section}
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

    def start(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        """Start a daemon."""
        with (self.folder / "daemon.log").open("a") as log:
            return subprocess.Popen(
                [BIN / "icat_ingestor", "-c", self.config, *options],
                stdout=subprocess.PIPE
                if "--until-end" in options
                else subprocess.DEVNULL,
                stderr=log,
                text=True,
                env={**os.environ, **environment},
            )

    def run_until_end(self, timeout: float = 180) -> dict[str, int]:
        """Run a daemon to the end and return its summary."""
        daemon = self.start("--until-end", "--output", "json")
        out, _ = daemon.communicate(timeout=timeout)
        assert daemon.returncode == 0, (self.folder / "daemon.log").read_text()[-3000:]
        return json.loads(out.strip().splitlines()[-1])

    def datasets(self) -> tuple[Counter[str], int]:
        """Count datasets by name, and datafiles, read back through python-icat."""
        config = icat.config.Config(
            ids=False, args=["-c", str(self.folder / "icat.cfg"), "-s", "root"]
        )
        client, conf = config.getconfig()
        client.login(conf.auth, conf.credentials)
        found: Counter[str] = Counter()
        query = "SELECT o.name FROM Dataset o ORDER BY o.id LIMIT {}, 1000"
        while names := client.search(query.format(found.total())):
            found.update(str(name) for name in names)
        files = client.search("SELECT COUNT(f) FROM Datafile f")
        client.logout()
        return found, int(files[0])

    def read(self, topic: str) -> list[bytes]:
        """Read what a read_committed consumer sees of a topic, from the beginning."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.endpoints["kafka"],
                "group.id": "checker",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            }
        )
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        values, open_ends = [], set(partitions)
        deadline = time.monotonic() + 60
        while open_ends:
            assert time.monotonic() < deadline, f"{topic} is not read to its ends"
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                open_ends.discard(message.partition())
            else:
                values.append(message.value())
        consumer.close()
        return values

    def journal(self, query: str) -> list[tuple]:
        """Ask the journal."""
        path = self.endpoints["journal"].removeprefix("sqlite:///")
        with sqlite3.connect(path, timeout=30) as connection:
            rows = connection.execute(query).fetchall()
        connection.close()
        return rows

    def committed(self) -> dict[tuple[str, int], int]:
        """Return the group's committed offsets."""
        admin = AdminClient({"bootstrap.servers": self.endpoints["kafka"]})
        futures = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(GROUP)]
        )
        result = futures[GROUP].result(30)
        return {(t.topic, t.partition): t.offset for t in result.topic_partitions}


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    """A facility with a real broker; the daemon has an identity."""
    command = [BIN / "icat_stream", "sandbox"]
    done = subprocess.run(
        [*command, "up", "--dir", tmp_path, "--kafka", "java", "--detach"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode and not os.environ.get("CI") and "java" in done.stderr.lower():
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    facility = Facility(tmp_path)
    facility.configure(kafka={"instance_id": "the-daemon"})
    try:
        yield facility
    finally:
        subprocess.run([*command, "down", "--dir", tmp_path], check=True, timeout=60)


def kill(process: subprocess.Popen[str]) -> None:
    """End a process as a power cut would."""
    process.send_signal(signal.SIGKILL)
    process.wait(30)
