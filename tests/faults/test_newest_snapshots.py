"""Snapshots sent in any order, and a daemon that is killed: the newest ones stay.

``INVESTIGATIONS`` and ``KILLS`` make it larger.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icat.client
import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from plugins.icat import Server, start_icat

BIN = Path(sys.executable).parent
INVESTIGATIONS = int(os.environ.get("INVESTIGATIONS", "60"))
KILLS = int(os.environ.get("KILLS", "3"))
USERS = 20
VERSIONS = 3
HOUR = 3_600_000
WRITES = ("create", "createMany", "update", "delete", "deleteMany")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Run:
    """A daemon with a catalogue and a journal of its own, on a topic of all."""

    folder: Path
    server: Server
    client: icat.client.Client
    topic: str
    bootstrap: str
    journal: str
    consumers: dict[str, Any] | None = None

    def __post_init__(self):
        name = f"{self.topic}-{self.folder.name}"
        self.config = self.folder / "config.yaml"
        settings = {
            "facility": "Muster",
            "kafka": {
                "bootstrap_servers": self.bootstrap,
                "group_id": name,
                "instance_id": "the-daemon",
            },
            "icat": {
                "url": self.server.url,
                "username": "root",
                "password": "secret",
            },
            "ids": {"url": None, "location": {"root": str(self.folder)}},
            "files": {"roots": [str(self.folder)]},
            "journal": {"url": self.journal},
            "events": {"topic": f"{name}-events"},
            "dead_letters": {"topic": f"{name}-dead-letters"},
            "policies": {"removed_members": "delete"},
            "consumers": self.consumers
            or {
                "investigations": {
                    "handler": "investigations",
                    "topics": [self.topic],
                    "lanes": 4,
                }
            },
        }
        self.config.write_text(yaml.safe_dump(settings))

    def start(self, *options):
        with (self.folder / "daemon.log").open("a") as log:
            return subprocess.Popen(
                [BIN / "icat_ingestor", "-c", self.config, *options],
                stdout=subprocess.PIPE if options else subprocess.DEVNULL,
                stderr=log,
                text=True,
            )

    def run_until_end(self):
        daemon = self.start("--until-end")
        out, _ = daemon.communicate()
        assert daemon.returncode == 0, (self.folder / "daemon.log").read_text()[-3000:]
        return json.loads(out.strip().splitlines()[-1])

    def kill_while_it_works(self, after):
        """Kill a daemon when it has written so much."""
        daemon = self.start()
        enough = self.writes() + after
        deadline = time.monotonic() + 300
        while self.writes() < enough:
            assert daemon.poll() is None, "the daemon ended by itself"
            assert time.monotonic() < deadline, "it does not write"
            time.sleep(0.005)
        daemon.kill()
        daemon.wait(30)

    def writes(self):
        calls = self.server.calls()
        return sum(calls.get(name, 0) for name in WRITES)

    def investigations(self):
        """Return title and members of each, read back through python-icat."""
        # Whole objects of 200,000 members would take python-icat half an hour.
        rows = list(self.pages("SELECT i.name, i.title FROM Investigation i", "i"))
        titles = dict(rows)
        assert len(rows) == len(titles), "an investigation is there twice"
        members = {name: set() for name in titles}
        for name, user, role in self.pages(
            "SELECT i.name, u.name, m.role FROM InvestigationUser m"
            " JOIN m.investigation i JOIN m.user u",
            "m",
        ):
            members[name].add((user, role))
        return {name: (title, members[name]) for name, title in titles.items()}

    def pages(self, query, alias):
        count = 0
        page = f"{query} ORDER BY {alias}.id LIMIT {{}}, 5000"
        while rows := self.client.search(page.format(count)):
            yield from rows
            count += len(rows)


@contextmanager
def running(folder, topic, bootstrap, journal="", consumers=None):
    folder.mkdir()
    journal = journal or f"sqlite:///{folder}/journal.db"
    servers = start_icat(folder)
    server = next(servers)
    client = icat.client.Client(server.url)
    client.login("simple", {"username": "root", "password": "secret"})
    facility = client.new("Facility", name="Muster")
    facility.create()
    client.new("InvestigationType", name="experiment", facility=facility).create()
    client.new("Instrument", name="LUMEN", facility=facility).create()
    names = people()
    for start in range(0, len(names), 500):
        client.createMany(
            [client.new("User", name=name) for name in names[start : start + 500]]
        )
    try:
        yield Run(folder, server, client, topic, bootstrap, journal, consumers)
    finally:
        client.logout()
        servers.close()


def people():
    return [f"user{number:05}" for number in range(max(50, INVESTIGATIONS // 5))]


def snapshot(number, version):
    """Return an investigation as it was at some time: title and users change."""
    chance = random.Random(number)
    names = chance.sample(people(), USERS + VERSIONS)
    users = names[version : version + USERS]
    begin = BEGIN + timedelta(hours=number)
    return {
        "name": f"2026-{number:05}",
        "title": f"Version {version} of {number}",
        "type": "experiment",
        "start_date": begin.isoformat(),
        "end_date": (begin + timedelta(days=1)).isoformat(),
        "instrument": {"name": "LUMEN"},
        "user_list": [
            {
                "username": name,
                "role": "Participant" if index else "Principal investigator",
            }
            for index, name in enumerate(users)
        ],
    }


def expected():
    return {
        message["name"]: (
            message["title"],
            {(user["username"], user["role"]) for user in message["user_list"]},
        )
        for message in (snapshot(n, VERSIONS - 1) for n in range(INVESTIGATIONS))
    }


def waves():
    """Return what is sent: each wave has each investigation once, of some age.

    The three of one investigation go to different partitions, so that their times
    alone say which is the newest.
    """
    chance = random.Random(20)
    orders = [chance.sample(range(VERSIONS), VERSIONS) for _ in range(INVESTIGATIONS)]
    places = [chance.sample(range(VERSIONS), VERSIONS) for _ in range(INVESTIGATIONS)]
    for wave in range(VERSIONS):
        numbers = list(range(INVESTIGATIONS))
        chance.shuffle(numbers)
        yield [(n, orders[n][wave], places[n][wave]) for n in numbers]


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_newest_of_each(kind, kafka_broker, topic_prefix, tmp_path, request):
    journal = request.getfixturevalue("empty_postgres") if kind == "postgresql" else ""
    topic, bootstrap = f"{topic_prefix}-investigations", kafka_broker.bootstrap
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.create_topics([NewTopic(topic, VERSIONS, 1)]).values():
        done.result(30)
    producer = Producer({"bootstrap.servers": bootstrap})
    now = time.time_ns() // 10**6
    chance = random.Random(7)
    took = Counter()
    with (
        running(tmp_path / "calm", topic, bootstrap) as calm,
        running(tmp_path / "killed", topic, bootstrap, journal) as harried,
    ):
        for wave, records in enumerate(waves()):
            for number, version, partition in records:
                producer.produce(
                    topic,
                    json.dumps(snapshot(number, version)),
                    partition=partition,
                    timestamp=now - (VERSIONS - version) * HOUR,
                )
                producer.poll(0)
            assert producer.flush(60) == 0
            begun = time.monotonic()
            summary = calm.run_until_end()
            took["calm"] += time.monotonic() - begun
            assert summary["rejected"] == summary["deferred"] == 0
            share = KILLS * (wave + 1) // VERSIONS - KILLS * wave // VERSIONS
            for _ in range(share):
                most = max(2, INVESTIGATIONS // (2 * share))
                harried.kill_while_it_works(chance.randrange(1, most))
            summary = harried.run_until_end()
            assert summary["rejected"] == summary["deferred"] == 0
        undisturbed, disturbed = calm.writes(), harried.writes()
        print(
            f"{INVESTIGATIONS} investigations, killed {KILLS} times:"
            f" {disturbed} writing calls, {undisturbed} undisturbed"
            f" ({disturbed / undisturbed:.3f}); undisturbed in {took['calm']:.0f} s;"
            f" calls {harried.server.calls()}"
        )
        assert calm.investigations() == expected()
        assert harried.investigations() == expected()
    assert disturbed <= 1.2 * undisturbed
