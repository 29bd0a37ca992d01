"""``icat_background_ingestor``: one file, at once, and an exit code that says it."""

import json
import os
import sqlite3

import h5py
import pytest

from icat_stream.messages import FinishedWriting, encode
from icat_stream.sandbox.announcer import missing_file

COMMAND = "icat_background_ingestor"


def test_ingested_then_unchanged(facility, run):
    file = facility.write()
    arguments = ("-c", facility.config, "--file", file.path, "--output", "json")
    first = run(COMMAND, *arguments)
    assert first.code == 0, first.err
    (line,) = first.lines
    assert line["outcome"] == "ingested"
    assert any("Dataset" in text for text in line["written"])
    (second,) = run(COMMAND, *arguments).lines
    assert (second["outcome"], second["written"]) == ("unchanged", [])
    (dataset,) = facility.datasets(file)
    assert len(dataset.parameters) >= 8
    assert dataset.datafiles[0].fileSize == file.path.stat().st_size
    told = facility.told(dataset)
    assert [body["outcome"] for body, _ in told] == ["ingested", "unchanged"]


def test_no_event(facility, run):
    file = facility.write()
    done = run(COMMAND, "-c", facility.config, "--file", file.path, "--no-event")
    assert done.code == 0
    (dataset,) = facility.datasets(file)
    assert facility.told(dataset) == []


def test_dry_run_writes_nothing_nowhere(facility, run):
    file = facility.write()
    config = facility.variant("dry", journal={"url": "sqlite:///dry.db"})
    before = len(facility.events())
    done = run(
        COMMAND, "-c", config, "--file", file.path, "--dry-run", "--output", "json"
    )
    assert done.code == 0
    (line,) = done.lines
    (dataset,) = line["plan"]["datasets"]
    assert dataset["investigation"]["name"] == "240815"
    assert {change["kind"] for change in line["diff"]["changes"]} == {"new"}
    assert facility.datasets(file) == []
    assert len(facility.events()) == before
    assert not (facility.path / "dry.db").exists()


def test_dry_run_for_people(facility, run):
    file = facility.write()
    done = run(COMMAND, "-c", facility.config, "--file", file.path, "--dry-run")
    assert "dataset 240815/" in done.out
    assert "parameter wavelength = " in done.out
    assert "against the catalogue: " in done.out


def test_rejected(facility, run):
    done = run(COMMAND, "-c", facility.config, "--file", "/etc/hostname")
    assert done.code == 3
    assert "outside the allowed folders" in done.out


def test_deferred(facility, run):
    missing = missing_file(facility.path / "data")
    done = run(COMMAND, "-c", facility.config, "--file", missing.path)
    assert done.code == 4
    assert "missing" in done.out


def test_missing_investigation_is_deferred(facility, run):
    file = facility.write(proposal="990001")
    done = run(COMMAND, "-c", facility.config, "--file", file.path)
    assert done.code == 4
    assert "investigation 990001 is not in the catalogue" in done.out


def test_wrong_password(facility, run):
    file = facility.write()
    done = run(
        COMMAND,
        "-c",
        facility.config,
        "--file",
        file.path,
        ICAT_STREAM_ICAT__PASSWORD="not-the-password",
    )
    assert done.code == 5
    assert "dataingest" in done.err
    assert "not-the-password" not in done.out + done.err


def test_icat_is_down(facility, run):
    file = facility.write()
    config = facility.variant("down", icat={"url": "http://127.0.0.1:9"})
    done = run(COMMAND, "-c", config, "--file", file.path)
    assert done.code == 5
    assert done.err.startswith("icat: ")


def test_wrong_facility(facility, run):
    file = facility.write()
    done = run(
        COMMAND, "-c", facility.variant("other", facility="OTHER"), "--file", file.path
    )
    assert done.code == 2
    assert "facility 'OTHER' is none of those in ICAT" in done.err
    assert "or give the account the right READ on Facility" in done.err


def test_message_is_kept_and_can_be_used_again(facility, run, tmp_path):
    file = facility.write()
    config = facility.variant("keep", files={"keep_message": {"enabled": True}})
    announcement = FinishedWriting(
        service_id="writer-1", job_id=file.job_id, file_name=str(file.path)
    )
    raw = tmp_path / "wrdn"
    raw.write_bytes(encode(announcement))
    assert run(COMMAND, "-c", config, "--message", raw).code == 0
    kept = file.path.with_name(file.path.name + ".message.json")
    assert json.loads(kept.read_text())["file_name"] == str(file.path)
    (dataset,) = facility.datasets(file)
    assert {f.name for f in dataset.datafiles} == {file.path.name, kept.name}
    again = run(COMMAND, "-c", config, "--message", kept, "--output", "json")
    assert again.lines[0]["outcome"] == "unchanged"
    # A run by hand makes up an announcement, which is not kept.
    by_hand = run(COMMAND, "-c", config, "--file", file.path, "--output", "json")
    assert by_hand.lines[0]["outcome"] == "unchanged"
    assert json.loads(kept.read_text())["service_id"] == "writer-1"


def test_checksum(facility, run):
    file = facility.write()
    config = facility.variant("sum", files={"checksum": "xxh3_64"})
    assert run(COMMAND, "-c", config, "--file", file.path).code == 0
    (dataset,) = facility.datasets(file)
    assert dataset.datafiles[0].checksum.startswith("xxh3_64:")


def test_upload(facility, run):
    file = facility.write()
    config = facility.variant("put", ids={"mode": "put"})
    done = run(COMMAND, "-c", config, "--file", file.path, "--output", "json")
    assert done.code == 0, done.err
    (dataset,) = facility.datasets(file)
    assert dataset.complete
    assert dataset.datafiles[0].fileSize == file.path.stat().st_size
    again = run(COMMAND, "-c", config, "--file", file.path, "--output", "json")
    assert again.lines[0]["outcome"] == "unchanged"


def test_journalled_as_one_shot(facility, run):
    file = facility.write()
    run(COMMAND, "-c", facility.config, "--file", file.path)
    with sqlite3.connect(facility.path / "journal.db") as journal:
        rows = journal.execute(
            'SELECT outcome, state FROM outcomes WHERE "group" = ? AND objects LIKE ?',
            ("one-shot", f"%{file.path.name}%"),
        ).fetchall()
    journal.close()
    assert rows == [("ingested", "committed")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give --file, --message, or both"),
        (("--file", "/x", "--consumer", "nobody"), "is none of the consumers"),
        (("--message", "/nothing/there"), "No such file"),
    ],
)
def test_bad_usage(facility, run, arguments, words):
    done = run(COMMAND, "-c", facility.config, *arguments)
    assert done.code == 2
    assert words in done.err


def test_a_dataset_for_each_entry(facility, run):
    folder = facility.path / "each"
    folder.mkdir()
    (folder / "scans.yaml").write_text(
        """
        selector: {always: true}
        variables:
          title: {nexus: "{entry}/title"}
          start: {nexus: "{entry}/start_time", type: datetime}
        dataset:
          for_each: NXentry
          investigation: "240815"
          name: <file.stem>_<entry.name>
          description: <title>
          start: <start>
        """
    )
    path = facility.path / "data" / "240815" / "scans.h5"
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for number in ("2.1", "10.1"):
            entry = file.create_group(number)
            entry.attrs["NX_class"] = "NXentry"
            entry["title"] = f"scan {number}"
            entry["start_time"] = "2026-03-20T10:00:00Z"
    os.utime(path, (1, 1))
    config = facility.variant("each", schemas=str(folder))
    arguments = ("-c", config, "--file", path, "--output", "json")
    first = run(COMMAND, *arguments)
    assert (first.code, first.lines[0]["outcome"]) == (0, "ingested"), first.lines
    (second,) = run(COMMAND, *arguments).lines
    assert (second["outcome"], second["written"]) == ("unchanged", [])
    made = facility.client().search(
        "SELECT d FROM Dataset d WHERE d.name LIKE 'scans_%' ORDER BY d.id"
        " INCLUDE d.datafiles"
    )
    assert [(d.name, d.description, len(d.datafiles)) for d in made] == [
        ("scans_2.1", "scan 2.1", 1),
        ("scans_10.1", "scan 10.1", 1),
    ]
    assert [len(facility.told(dataset)) for dataset in made] == [2, 2]
