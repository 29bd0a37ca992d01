"""Pictures that datasets name come into the catalogue, as python-icat reads it back."""

import json
import os
from itertools import count

import pytest

from catalogue.plans import FACILITY
from icat_stream.app import load_handler
from icat_stream.config import ConfigError, Settings
from icat_stream.handlers import HandlerContext
from icat_stream.records import (
    Dataset,
    NotReady,
    Outcome,
    OutcomeKind,
    Parameter,
    Plan,
)

PATHS = "ResourcesGalleryFilePaths"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
_OFFSETS = count(1)


@pytest.fixture(scope="module", autouse=True)
def types(client):
    client.new(
        "ParameterType",
        name=PATHS,
        units="",
        valueType="STRING",
        facility=client.search("Facility")[0],
        applicableToDataset=True,
    ).create()


@pytest.fixture
def folder(data, tmp_path):
    """A folder of the test's own below the allowed ones."""
    folder = data / tmp_path.name
    folder.mkdir()
    return folder


@pytest.fixture
def ingest(lane, investigation, folder):
    """Bring in a dataset that names pictures; return its id."""

    def ingest(paths, name="d"):
        stated = (Parameter(name=PATHS, units="", value=paths),)
        dataset = Dataset(
            investigation=investigation,
            name=name,
            type="raw",
            location=str(folder),
            parameters=stated if paths else (),
        )
        applied = lane.apply(Plan(facility=FACILITY, datasets=(dataset,)))
        return applied.datasets[0].id

    return ingest


@pytest.fixture
def make(data, reader):
    def make(options=None, **sections):
        values = {
            "facility": FACILITY,
            "files": {"roots": [data], "path_map": {"/icat": str(data)}},
            "ids": {"location": {"root": data}},
            "consumers": {"g": {"handler": "gallery", "topics": ["t"]}},
        }
        context = HandlerContext(
            settings=Settings(**values | sections), files=reader, options=options or {}
        )
        return load_handler("gallery")(context)

    return make


@pytest.fixture
def follow(make, lane, record):
    def follow(number, options=None, **sections):
        body = {
            "version": 1,
            "kind": "dataset",
            "outcome": "ingested",
            "facility": FACILITY,
            "dataset": {"name": "d", "id": number},
        }
        handler = make(options, **sections)
        event = record(json.dumps(body).encode(), offset=next(_OFFSETS))
        found = handler.plan(handler.decode(event), lane)
        if isinstance(found, Outcome):
            return found
        return lane.apply(found).also(found.notes)

    return follow


@pytest.fixture
def pictures(client):
    def pictures(number):
        found = client.search(
            f"SELECT f FROM Datafile f WHERE f.dataset.id = {number} INCLUDE f.dataset"
        )
        assert all(file.dataset.complete for file in found)
        return {file.name: (file.location, file.fileSize) for file in found}

    return pictures


def test_pictures_become_datafiles(follow, ingest, folder, pictures, data):
    """They are named as in the seed: from the writer's host, over several lines."""
    for number in range(4):
        (folder / f"{number}_thumbnail.png").write_bytes(PNG)
    listed = ",\n      ".join(
        f"/icat/{folder.name}/{number}_thumbnail.png" for number in range(4)
    )
    dataset = ingest(f"\n      {listed}\n    ")
    assert follow(dataset).kind is OutcomeKind.INGESTED
    assert pictures(dataset) == {
        f"gallery/{number}_thumbnail.png": (
            f"{folder.name}/{number}_thumbnail.png",
            len(PNG),
        )
        for number in range(4)
    }
    # Redelivered.
    assert follow(dataset).kind is OutcomeKind.UNCHANGED


def test_what_is_no_picture_is_left_out_and_the_rest_goes_in(
    follow, ingest, folder, pictures, tmp_path
):
    (folder / "good.PNG").write_bytes(PNG)
    (folder / "text.png").write_text("no picture")
    (folder / "jpeg.png").write_bytes(b"\xff\xd8\xff" + bytes(9))
    (folder / "empty.png").touch()
    (folder / "page.svg").write_text("<svg/>")
    with (folder / "huge.png").open("wb") as huge:
        huge.write(PNG)
        huge.truncate(500_000_000)
    (tmp_path / "outside.png").write_bytes(PNG)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    names = "missing text jpeg empty huge link folder pipe"
    paths = [f"{name}.png" for name in names.split()]
    paths += [f"{tmp_path}/outside.png", "page.svg", "../up.png", "none/such.png"]
    dataset = ingest(",".join([*paths, "good.PNG", "good.PNG", ""]))
    outcome = follow(dataset)
    assert list(pictures(dataset)) == ["gallery/good.PNG"]
    notes = [line for line in outcome.written if line.startswith("picture left out: ")]
    assert len(notes) == len(paths)
    told = "\n".join(notes)
    for what in (
        "missing.png: missing",
        "text.png: is no picture of its suffix",
        "huge.png: 500000000 bytes, expected at most 20000000 (options.max_bytes)",
        "link.png: leads to",
        "folder.png: is a directory",
        "pipe.png: is a FIFO",
        f"{tmp_path}/outside.png: is outside the allowed folders",
        "expected a path without '..'",
        "none/such.png: missing",
    ):
        assert what in told, what


def test_pictures_that_come_later_and_others_in_their_place(
    follow, ingest, folder, pictures
):
    dataset = ingest("a.png, b.png")
    outcome = follow(dataset)
    assert outcome.kind is OutcomeKind.UNCHANGED
    assert "a.png: missing" in outcome.reason
    (folder / "a.png").write_bytes(PNG)
    follow(dataset)
    assert list(pictures(dataset)) == ["gallery/a.png"]
    (folder / "a.png").write_bytes(PNG + b"more")
    (folder / "b.png").write_bytes(PNG)
    follow(dataset)
    sizes = {name: size for name, (_, size) in pictures(dataset).items()}
    assert sizes == {"gallery/a.png": len(PNG) + 4, "gallery/b.png": len(PNG)}


def test_a_picture_that_is_being_written_is_waited_for(
    ingest, folder, data, make, lane, record
):
    from icat_stream.nexus import NexusReader

    (folder / "a.png").write_bytes(PNG)
    dataset = ingest("a.png")
    body = {"version": 1, "kind": "dataset", "outcome": "ingested"}
    body |= {"facility": FACILITY, "dataset": {"name": "d", "id": dataset}}
    with NexusReader([data], settle=3600.0, workers=1) as patient:
        handler = make()
        handler._files = patient
        event = handler.decode(record(json.dumps(body).encode()))
        with pytest.raises(NotReady, match="still writable"):
            handler.plan(event, lane)


def test_two_of_one_name_and_too_many(follow, ingest, folder, pictures):
    for name in ("x", "y"):
        (folder / name).mkdir()
        (folder / name / "a.png").write_bytes(PNG)
    dataset = ingest("x/a.png,y/a.png,z.png")
    outcome = follow(dataset, {"max_pictures": 2})
    assert list(pictures(dataset)) == ["gallery/a.png", "gallery/a_2.png"]
    assert "1 more pictures than 2 (options.max_pictures)" in outcome.written


def test_what_is_uploaded_has_its_content_in_its_name(ingest, folder, make, lane):
    from icat_stream.messages import EventMessage

    (folder / "a.png").write_bytes(PNG)
    dataset = ingest("a.png")
    handler = make(
        ids={"url": "http://127.0.0.1:9/ids", "mode": "put", "location": {"root": "/"}}
    )
    event = EventMessage(
        kind="dataset",
        outcome="ingested",
        facility=FACILITY,
        investigation=None,
        dataset="d",
        dataset_id=dataset,
    )
    names = []
    for content in (PNG, PNG, PNG + b"more"):
        (folder / "a.png").write_bytes(content)
        (datafile,) = handler.plan(event, lane).datasets[0].datafiles
        assert datafile.location is None
        assert datafile.source == str(folder / "a.png")
        names.append(datafile.name)
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("gallery/a-")


def test_without_pictures_nothing_follows(follow, ingest, client):
    assert follow(ingest("")).reason == "it names no pictures"
    assert follow(ingest(" ,\n, ", "e")).kind is OutcomeKind.UNCHANGED
    assert follow(10**9).kind is OutcomeKind.IGNORED


def test_its_options_are_checked(make):
    for options, field in (
        ({"folder": "a/b"}, "options.folder"),
        ({"max_bytes": 0}, "options.max_bytes"),
        ({"path": "x"}, "options.path"),
    ):
        with pytest.raises(ConfigError, match=field):
            make(options)
