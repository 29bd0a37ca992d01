"""``icat_stream reconcile`` on a disk, a catalogue and a journal that differ."""

import json
import os
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from icat_stream.repair.reconciliation import outermost

from .conftest import eventually

COMMAND = ("icat_stream", "reconcile")


@pytest.fixture
def config(facility, request):
    """A group and a journal of its own: what it says is about this test's files."""
    name = request.node.name.replace("_", "-")
    return facility.variant(
        name,
        kafka={"group_id": name, "start": "latest"},
        journal={"url": f"sqlite:///{name}.db"},
    )


def ingest(facility, run, config, *files):
    for file in files:
        done = run(
            "icat_background_ingestor", "-c", config, "--file", file.path, "--no-event"
        )
        assert done.code == 0, done.err


def write(facility, folder, count):
    """Write files in a folder of the test's own."""
    place = facility.path / "data" / folder
    place.mkdir(parents=True, exist_ok=True)
    files = [facility.write() for _ in range(count)]
    for file in files:
        file.path.rename(place / file.path.name)
        object.__setattr__(file, "path", place / file.path.name)
    return place, files


def found(done):
    return sorted((line["kind"], line["what"]) for line in done.lines)


def test_files_and_entries(facility, run, config):
    place, files = write(facility, "reconciled", 5)
    whole, grown, gone, touched, absent = files
    ingest(facility, run, config, whole, grown, gone, touched)
    with grown.path.open("ab") as file:
        file.write(b"more")
    gone.path.unlink()
    os.utime(touched.path, (1.7e9, 1.7e9))
    (place / ".hidden.nxs").touch()
    (place / "link.nxs").symlink_to(whole.path)
    arguments = ("-c", config, "--folder", place, "--output", "json")
    done = run(*COMMAND, *arguments)
    assert done.code == 3, done.err
    assert found(done) == [
        ("no_entry", str(absent.path)),
        ("no_file", str(gone.path)),
        ("size", str(grown.path)),
        ("time", str(touched.path)),
    ]
    (size,) = (line for line in done.lines if line["kind"] == "size")
    assert size["details"]["size"] == size["details"]["catalogued"] + 4
    # In a span of time: the touched file is of 2023.
    done = run(*COMMAND, *arguments, "--until", "2024-01-01")
    assert found(done) == [("time", str(touched.path))]
    done = run(*COMMAND, *arguments, "--suffix", ".dat")
    assert (done.code, done.out) == (0, "")
    # What a name of a folder that begins alike has is no business of this one.
    other, _ = write(facility, "reconciled-2", 1)
    assert other.is_dir()
    assert len(run(*COMMAND, *arguments).lines) == 4


def test_an_investigation(facility, run, config):
    _, files = write(facility, "of-investigation", 2)
    ingest(facility, run, config, files[0])
    (dataset,) = facility.datasets(files[0])
    client = facility.client()
    dataset = client.get("Dataset d INCLUDE d.investigation, d.type", dataset.id)
    dataset.complete = False
    dataset.update()
    visit = dataset.investigation
    # Whoever may write entries may name any place.
    client.new("Datafile", name="p", location="/etc/passwd", dataset=dataset).create()
    client.logout()
    name = f"{visit.name}/{visit.visitId}"
    done = run(*COMMAND, "-c", config, "--investigation", name, "--output", "json")
    assert done.code == 3, done.err
    assert ("no_entry", str(files[1].path)) in found(done)
    assert ("incomplete", f"{name} {dataset.name}") in found(done)
    assert {("unusable", "/etc"), ("no_file", "/etc/passwd")} <= set(found(done))
    done = run(*COMMAND, "-c", config, "--investigation", "none-of-that-name")
    assert done.code == 2
    assert "is not there" in done.err


def test_announcements_that_became_nothing(facility, run, config):
    _, files = write(facility, "announced", 2)
    ingest(facility, run, config, *files)
    (dataset,) = facility.datasets(files[0])
    client = facility.client()
    client.delete(dataset)
    client.logout()
    bad = facility.path / "bad.message"
    bad.write_bytes(b"poison")
    assert run(
        "icat_background_ingestor", "-c", config, "--message", bad, "--no-event"
    ).code in (0, 3)
    begin = time.strftime("%Y-%m-%d", time.gmtime())
    arguments = ("-c", config, "--output", "json")
    done = run(*COMMAND, *arguments, "--since", begin)
    assert done.code == 3, done.err
    kinds = {line["kind"]: line for line in done.lines}
    assert kinds["no_dataset"]["details"]["dataset_id"] == dataset.id
    assert files[0].path.name in kinds["no_dataset"]["what"]
    done = run(*COMMAND, *arguments, "--until", "2020-01-01")
    assert "no_dataset" not in {line["kind"] for line in done.lines}


def test_dead_letters_that_somebody_has_dealt_with(facility, run):
    name = "dealt-with"
    admin = AdminClient({"bootstrap.servers": facility.endpoints["kafka"]})
    [made] = admin.create_topics([NewTopic(name, 1, 1)]).values()
    made.result(60)
    config = facility.variant(
        name,
        kafka={"group_id": name},
        journal={"url": f"sqlite:///{name}.db"},
        dead_letters={"topic": f"{name}.dead"},
        consumers={"file_written": {"handler": "file_written", "topics": [name]}},
    )
    producer = Producer({"bootstrap.servers": facility.endpoints["kafka"]})
    for number in range(3):
        producer.produce(name, b"poison %d" % number)
    assert producer.flush(60) == 0

    def rejected(kafka=""):
        # Everything on the disk is of other tests.
        extra = {"ICAT_STREAM_KAFKA__BOOTSTRAP_SERVERS": kafka} if kafka else {}
        suffix = ("--suffix", ".none")
        done = run(*COMMAND, "-c", config, *suffix, "--output", "json", **extra)
        found = {
            each["details"]["origin"]: each["kind"]
            for each in done.lines
            if "origin" in each["details"]
        }
        return {int(at.rpartition("@")[2]): kind for at, kind in found.items()}, done

    def deal(what, number):
        place = f"{name}[0]@{number}"
        done = run("icat_stream", "dead-letters", what, "-c", config, place, "--yes")
        assert done.code == 0, done.err

    assert run("icat_ingestor", "-c", config, "--until-end").code == 0
    assert rejected()[0] == {0: "rejected", 1: "rejected", 2: "rejected"}
    deal("discard", 0)
    deal("replay", 1)
    assert rejected()[0] == {1: "waiting", 2: "rejected"}
    # What was replayed in vain is rejected once more.
    assert run("icat_ingestor", "-c", config, "--until-end").code == 0
    assert rejected()[0] == {1: "rejected", 2: "rejected"}
    deal("discard", 1)
    assert rejected()[0] == {2: "rejected"}
    found, done = rejected(kafka="127.0.0.1:9")
    assert found == {0: "rejected", 1: "rejected", 2: "rejected"}
    assert "is not known" in done.err


def test_what_was_tried_by_hand_does_not_wait(facility, run, config):
    _, (file,) = write(facility, "by-hand", 1)
    content = file.path.read_bytes()
    file.path.write_bytes(b"no HDF5")
    command = ("icat_background_ingestor", "-c", config, "--no-event")
    assert run(*command, "--file", file.path).code == 3
    arguments = ("-c", config, "--suffix", ".none", "--output", "json")

    def by_hand():
        lines = run(*COMMAND, *arguments).lines
        return [line for line in lines if line["kind"] == "by_hand"]

    [found] = by_hand()
    assert file.path.name in found["what"] + found["text"]
    assert "nobody tries it again" in found["text"]
    file.path.write_bytes(content)
    assert run(*command, "--file", file.path).code == 0
    assert by_hand() == []


def test_what_is_missing_is_announced_again(facility, run, start, config, tmp_path):
    place, files = write(facility, "missed", 3)
    arguments = ("-c", config, "--folder", place)
    done = run(*COMMAND, *arguments, "--ingest")
    assert done.code == 2
    assert "--yes" in done.err
    log = tmp_path / "log"
    daemon = start("icat_ingestor", "-c", config, log=log)
    eventually(lambda: "assigned" in log.read_text())
    done = run(*COMMAND, *arguments, "--ingest", "--yes")
    assert done.code == 0, done.err
    for file in files:
        assert len(eventually(lambda file=file: facility.datasets(file))) == 1
    done = run(*COMMAND, *arguments, "--ingest", "--yes")
    assert (done.code, done.out) == (0, "")
    daemon.terminate()
    assert daemon.wait(240) == 0


def test_folders_within_others_are_looked_at_once():
    folders = ["/d/a/x", "/d/a", "/d/a-b", "/d/a/x/y", "/d/ab", "/d/a"]
    assert outermost(folders) == ["/d/a", "/d/a-b", "/d/ab"]
    assert outermost(["/d", "/", "/e"]) == ["/"]


def test_locations_that_tell_no_path(facility, run):
    config = facility.variant("uploads", ids={"mode": "put"})
    done = run(*COMMAND, "-c", config)
    assert done.code == 2
    assert "dataservice check" in done.err


def test_a_folder_outside_the_roots(facility, run, config):
    done = run(*COMMAND, "-c", config, "--folder", "/etc")
    assert done.code == 3
    assert "outside the allowed folders" in done.err


def test_text_for_people(facility, run, config):
    place, files = write(facility, "for-people", 1)
    done = run(*COMMAND, "-c", config, "--folder", place)
    assert done.code == 3
    assert f"{files[0].path}: " in done.out
    assert "no entry in the catalogue" in done.out
    assert "1 no_entry" in done.err
    with pytest.raises(json.JSONDecodeError):
        json.loads(done.out)


def test_a_name_cannot_act_on_the_terminal(facility, run, config):
    place, _ = write(facility, "escaping", 0)
    (place / "red\x1b[31m\nall is well.nxs").touch()
    done = run(*COMMAND, "-c", config, "--folder", place, "--output", "text")
    assert done.code == 3, done.err
    assert "\x1b" not in done.out
    assert len(done.out.splitlines()) == 1
