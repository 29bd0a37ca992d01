"""Checksums that follow the events, on real Kafka and the embedded ICAT."""

import hashlib
import json
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import xxhash

from icat_stream.sandbox.announcer import Announcer

from .conftest import eventually
from .dataset_messages import create_topic, send
from .test_early_datasets import read

COMMAND = "icat_ingestor"
PATIENCE = 240


class Place:
    """Two consumers with topics and a group of their own."""

    def __init__(self, facility, name, algorithm):
        self.facility, self.name = facility, name
        self.events = f"{name}.events"
        create_topic(facility.endpoints["kafka"], name)
        self.config = facility.variant(
            name,
            kafka={"group_id": name, "instance_id": name},
            journal={"url": f"sqlite:///{name}.db"},
            events={"topic": self.events},
            dead_letters={"topic": f"{name}.dead"},
            consumers={
                "file_written": {"handler": "file_written", "topics": [name]},
                "checksums": {
                    "handler": "checksums",
                    "topics": [self.events],
                    "options": {"algorithm": algorithm},
                },
            },
        )

    def announce(self, *files):
        announcer = Announcer(self.facility.endpoints["kafka"], self.name)
        for file in files:
            announcer.announce(file)
        announcer.flush()

    def send(self, *values):
        send(self.facility.endpoints["kafka"], self.events, *values)

    def read(self, topic):
        return read(self.facility, topic)


@pytest.fixture
def place(facility, request):
    def place(algorithm="sha256"):
        name = request.node.name.removeprefix("test_").replace("_", "-")
        return Place(facility, name, algorithm)

    return place


@pytest.fixture
def run(run):
    return partial(run, timeout=PATIENCE)


def datafile(facility, file):
    (dataset,) = facility.datasets(file)
    (found,) = dataset.datafiles
    return found


def event(dataset_id, **fields):
    return {
        "version": 1,
        "kind": "dataset",
        "outcome": "ingested",
        "facility": "EXAMPLE",
        "investigation": {"name": "240815", "visit_id": "1"},
        "dataset": {"name": "any", "id": dataset_id},
        "origin": {"topic": "any", "partition": 0, "offset": 0},
        "time": "2026-11-21T08:00:00.000+00:00",
    } | fields


def test_both_consumers_beside_each_other(facility, place, start, run, tmp_path):
    place = place()
    assert run("icat_validate_config", place.config, "--connect").code == 0
    log = tmp_path / "log"
    daemon = start(COMMAND, "-c", place.config, log=log)
    files = [facility.write() for _ in range(4)]
    place.announce(*files)

    def hashed():
        client = facility.client()
        names = ", ".join(f"'{file.path.name}'" for file in files)
        found = client.search(
            "SELECT f.checksum FROM Datafile f WHERE f.checksum IS NOT NULL"
            f" AND f.name IN ({names})"
        )
        client.logout()
        return len(found) == len(files)

    eventually(hashed, PATIENCE)
    before = [datafile(facility, file) for file in files]
    for file, found in zip(files, before, strict=True):
        digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
        assert found.checksum == f"sha256:{digest}"
        assert found.fileSize == file.path.stat().st_size
        assert found.location
        assert found.datafileModTime
    # All are in place: the second time there is nothing to do.
    place.announce(*files)
    eventually(lambda: len(place.read(place.events)) == 2 * len(files), PATIENCE)
    daemon.terminate()
    assert daemon.wait(PATIENCE) == 0, log.read_text()[-3000:]
    done = run(COMMAND, "-c", place.config, "--until-end", "--output", "json")
    assert done.code == 0, done.err
    assert done.lines[-1]["rejected"] == 0
    # An event each time of each file, and none of a checksum.
    told = Counter(
        json.loads(record.value())["outcome"] for record in place.read(place.events)
    )
    assert told == {"ingested": 4, "unchanged": 4}
    assert place.read(f"{place.name}.dead") == []
    after = [datafile(facility, file) for file in files]
    assert [f.modTime for f in after] == [f.modTime for f in before]
    assert [f.checksum for f in after] == [f.checksum for f in before]


def test_what_cannot_be_hashed(facility, place, run):
    place = place("xxh3_64")
    names = ("good", "gone", "longer", "deleted", "has one", "outside")
    files = {name: facility.write() for name in names}
    place.announce(*files.values())
    arguments = ("-c", place.config, "--until-end", "--output", "json")
    done = run(COMMAND, *arguments, "--consumer", "file_written")
    assert done.lines[-1]["ingested"] == len(names), done.err
    client = facility.client()
    ids = {name: facility.datasets(file)[0].id for name, file in files.items()}
    files["gone"].path.unlink()
    longer = files["longer"].path
    size = longer.stat().st_size
    longer.chmod(0o644)
    longer.write_bytes(longer.read_bytes() + b"more")
    longer.chmod(0o444)
    client.delete(facility.datasets(files["deleted"])[0])
    client.logout()
    for name, field, value in (
        ("has one", "checksum", "ac69460a"),
        ("outside", "location", "/etc/passwd"),
    ):
        found = datafile(facility, files[name])
        client = facility.client()
        found = client.get("Datafile INCLUDE 1", found.id)
        setattr(found, field, value)
        found.update()
        client.logout()
    place.send(b"garbage", event(1, kind="investigation"), event(1, facility="OTHER"))
    checksums = (*arguments, "--consumer", "checksums")

    def by_dataset(lines):
        return {line["objects"].get("dataset_id"): line for line in lines}

    # A dry run shows what would be written, and writes nothing.
    done = run(COMMAND, "-c", *checksums[1:2], "--consumer", "checksums", "--dry-run")
    assert done.code == 0, done.err
    good = files["good"].path
    expected = f"xxh3_64:{xxhash.xxh3_64(good.read_bytes()).hexdigest()}"
    assert f"changed Datafile {good.name} checksum: nothing -> {expected}" in done.out
    assert datafile(facility, files["good"]).checksum is None

    done = run(COMMAND, *checksums)
    assert done.code == 0, done.err
    *lines, summary = done.lines
    assert summary == {
        "announced": 9,
        "ingested": 1,
        "unchanged": 1,
        "ignored": 3,
        "deferred": 1,
        "rejected": 3,
    }
    found = by_dataset(lines)
    outcomes = {name: found[ids[name]]["outcome"] for name in names}
    assert outcomes == {
        "good": "ingested",
        "gone": "deferred",
        "longer": "rejected",
        "deleted": "ignored",
        "has one": "unchanged",
        "outside": "rejected",
    }
    reason = found[ids["longer"]]["reason"]
    assert f"{size + 4} bytes, the catalogue says {size}" in reason
    assert "missing" in found[ids["gone"]]["reason"]
    assert "outside the allowed folders" in found[ids["outside"]]["reason"]
    assert "not in the catalogue any more" in found[ids["deleted"]]["reason"]
    assert len(place.read(f"{place.name}.dead")) == 3
    checksum = {
        name: datafile(facility, files[name]).checksum
        for name in names
        if name != "deleted"
    }
    assert checksum == {
        "good": expected,
        "gone": None,
        "longer": None,
        "has one": "ac69460a",
        "outside": None,
    }
    # What was said to have an event of its own has none.
    assert len(place.read(place.events)) == len(names) + 3


def test_one_event_by_hand(facility, place, run, tmp_path):
    place = place()
    file = facility.write()
    run("icat_background_ingestor", "-c", facility.config, "--file", file.path)
    (dataset,) = facility.datasets(file)
    message = tmp_path / "event.json"
    message.write_text(json.dumps(event(dataset.id)))
    arguments = ("-c", place.config, "--consumer", "checksums", "--message", message)
    done = run("icat_background_ingestor", *arguments, "--dry-run")
    assert done.code == 0, done.err
    assert "checksum: nothing -> sha256:" in done.out
    assert datafile(facility, file).checksum is None
    for outcome in ("ingested", "unchanged"):
        done = run("icat_background_ingestor", *arguments)
        assert (done.code, done.out.split()[0]) == (0, outcome), done.err
    digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
    assert datafile(facility, file).checksum == f"sha256:{digest}"


def test_a_stop_ends_a_checksum_that_takes_days(facility, place, start, tmp_path):
    place = place()
    log = tmp_path / "log"
    file = facility.write()
    # Nothing is written: it has 4 TB, and no end.
    endless = file.path.with_name(f"endless_{file.path.name}")
    with endless.open("wb") as made:
        made.truncate(4 * 10**12)
    endless.chmod(0o444)
    place.announce(file)
    daemon = start(COMMAND, "-c", place.config, "-v", log=log)
    eventually(lambda: facility.datasets(file), PATIENCE)
    client = facility.client()
    (dataset,) = facility.datasets(file)
    new = client.new(
        "Datafile",
        name=endless.name,
        dataset=dataset,
        location=f"{endless.parent.name}/{endless.name}",
    )
    new.create()
    client.logout()
    place.send(event(dataset.id))

    def hashing():
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if endless in [link.readlink() for link in (process / "fd").iterdir()]:
                    return True
            except OSError:
                continue
        return False

    eventually(hashing, PATIENCE)
    begun = time.monotonic()
    daemon.terminate()
    assert daemon.wait(PATIENCE) == 0, log.read_text()[-3000:]
    print(f"stopped after {time.monotonic() - begun:.1f} s")
    eventually(lambda: not hashing(), PATIENCE)
    endless.unlink()
