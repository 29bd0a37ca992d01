"""What the sandbox's file writer writes and announces."""

import itertools
import stat
from pathlib import Path
from typing import Any

import h5py
import pytest
from confluent_kafka import Consumer

from icat_stream.messages import FinishedWriting, decode
from icat_stream.sandbox.announcer import write_files
from icat_stream.sandbox.folder import Folder
from icat_stream.sandbox.reference_data import VISITS

from .conftest import sandbox


def consume(bootstrap: str, count: int) -> list[Any]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "test",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["filewriter"])
    found: list[Any] = []
    try:
        while len(found) < count:
            records = consumer.consume(count, 20)
            assert records, f"{len(found)} of {count} records"
            found += records
    finally:
        consumer.close()
    assert [r.error() for r in found] == [None] * count
    return found


def check(folder: Folder, count: int) -> None:
    records = consume(folder.read_endpoints()["kafka"], count)
    files = set()
    for record in records:
        message = decode(record.value())
        assert isinstance(message, FinishedWriting)
        assert not message.error_encountered
        assert record.key() is None
        [(name, trace)] = record.headers()
        assert name == "traceparent"
        assert len(trace) == 55
        files.add(Path(message.file_name))
    assert files == set(folder.data.rglob("*.nxs"))
    assert len(files) == count


@pytest.mark.facility
def test_files_are_announced_as_a_file_writer_does(facility: Folder) -> None:
    done = sandbox("announce", facility.path, "--count", "5")
    assert done.returncode == 0, done.stderr
    assert "announced 5 files" in done.stdout
    done = sandbox(
        "announce", facility.path, "--count", "2", "--layout", "isis", "--rate", "50"
    )
    assert done.returncode == 0, done.stderr
    check(facility, 7)


def test_nowhere_to_announce(tmp_path: Path) -> None:
    done = sandbox("announce", tmp_path)
    assert done.returncode == 1
    assert "no facility runs" in done.stderr
    done = sandbox("announce", tmp_path, "--layout", "nicos")
    assert done.returncode == 2
    assert "ess, isis, both" in done.stderr


def test_every_file_belongs_to_exactly_one_visit(tmp_path: Path) -> None:
    files = list(itertools.islice(write_files(tmp_path, layout="both"), 60))
    hit = set()
    for file in files:
        visits = [
            v
            for v in VISITS
            if (v.proposal, v.instrument) == (file.proposal, file.instrument)
            and v.start <= file.start
            and file.end < v.end
        ]
        assert len(visits) == 1, file
        hit.add((visits[0].proposal, visits[0].visit_id))
    assert hit == {(v.proposal, v.visit_id) for v in VISITS}


def test_runs_go_on_and_are_made_from_the_seed(tmp_path: Path) -> None:
    def write(folder: str, count: int, seed: int = 1) -> list[Any]:
        (tmp_path / folder).mkdir(exist_ok=True)
        files = write_files(tmp_path / folder, layout="both", seed=seed)
        return list(itertools.islice(files, count))

    runs = [f.run for f in write("a", 3) + write("a", 2)]
    assert runs == [1, 2, 3, 4, 5]
    first, again, other = write("b", 2), write("c", 2), write("d", 2, seed=2)
    assert [f.job_id for f in first] == [f.job_id for f in again]
    assert [f.job_id for f in first] != [f.job_id for f in other]


@pytest.mark.parametrize(
    ("layout", "path"), [("ess", "/entry/title"), ("isis", "/raw_data_1/title")]
)
def test_layouts(tmp_path: Path, layout: str, path: str) -> None:
    files = list(itertools.islice(write_files(tmp_path, layout=layout), 2))
    for file in files:
        with h5py.File(file.path, locking=False) as content:
            assert path in content
    mode = stat.S_IMODE(files[0].path.stat().st_mode)
    assert (mode == 0o444) is (layout == "ess")
