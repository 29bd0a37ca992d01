"""Events of datasets become checksums of their files, or say what is wrong."""

import hashlib
import json
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.app import load_handler
from icat_stream.config import ConfigError, Settings
from icat_stream.handlers import HandlerContext
from icat_stream.records import (
    DatafileEntry,
    DatasetEntry,
    InvestigationKey,
    NotReady,
    Outcome,
    OutcomeKind,
    Plan,
    Rejection,
)

KEY = InvestigationKey(name="2026-0815", visit_id="1")
CONTENT = b"0123456789"
EVENT = {
    "version": 1,
    "kind": "dataset",
    "outcome": "ingested",
    "facility": "EXAMPLE",
    "investigation": {"name": "2026-0815", "visit_id": "1"},
    "dataset": {"name": "run 7", "id": 42},
    "origin": {"topic": "filewriter", "partition": 0, "offset": 7},
    "time": "2026-11-21T08:00:00.000+00:00",
}


@pytest.fixture
def make(data, reader):
    def make(options=None, **sections):
        values = {
            "facility": "EXAMPLE",
            "files": {"roots": [data], "path_map": {"/writer": str(data)}},
            "ids": {"location": {"root": data}},
            "consumers": {"a": {"handler": "checksums", "topics": ["t"]}},
        }
        context = HandlerContext(
            settings=Settings(**values | sections), files=reader, options=options or {}
        )
        return load_handler("checksums")(context)

    return make


@pytest.fixture
def plan(make, record, catalogue):
    def plan(options=None, sections=None, **fields):
        handler = make(options, **(sections or {}))
        event = handler.decode(record(json.dumps(EVENT | fields).encode()))
        return event if isinstance(event, Outcome) else handler.plan(event, catalogue)

    return plan


@pytest.fixture
def hold(data, tmp_path, catalogue):
    """Have files on disk, and their entries in the catalogue."""

    def hold(*names, **fields):
        folder = data / tmp_path.name
        folder.mkdir(exist_ok=True)
        catalogue.held = [
            DatasetEntry(id=42, investigation=KEY, name="run 7", type="raw")
        ]
        entries = catalogue.unhashed.setdefault(42, [])
        for name in names:
            path = folder / name
            path.write_bytes(CONTENT)
            values = {
                "location": f"{folder.name}/{name}",
                "size": len(CONTENT),
                "mod_time": datetime.fromtimestamp(int(path.stat().st_mtime), UTC),
            }
            entries.append(DatafileEntry(name=name, **values | fields))
        return folder

    return hold


def planned(plan):
    assert isinstance(plan, Plan), plan
    (dataset,) = plan.datasets
    assert (dataset.investigation, dataset.name) == (KEY, "run 7")
    assert dataset.partial
    assert dataset.existing == "reject"
    return {file.name: file.checksum for file in dataset.datafiles}


@pytest.mark.parametrize("outcome", ["ingested", "unchanged"])
@pytest.mark.parametrize(
    ("algorithm", "made"),
    [
        ("xxh3_64", xxhash.xxh3_64),
        ("xxh3_128", xxhash.xxh3_128),
        ("sha256", hashlib.sha256),
        ("blake2b", hashlib.blake2b),
    ],
)
def test_files_without_checksum_get_one(plan, hold, algorithm, made, outcome):
    hold("a.nxs", "b.nxs")
    expected = f"{algorithm}:{made(CONTENT).hexdigest()}"
    assert planned(plan({"algorithm": algorithm}, outcome=outcome)) == {
        "a.nxs": expected,
        "b.nxs": expected,
    }


def test_what_has_a_checksum_is_left_alone(plan, hold):
    hold()
    assert plan().kind is OutcomeKind.UNCHANGED


def test_a_deleted_dataset_is_ignored(plan):
    outcome = plan()
    assert outcome.kind is OutcomeKind.IGNORED
    assert "dataset 42 is not in the catalogue any more" in outcome.reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": "investigation"}, "an event of kind 'investigation'"),
        ({"kind": "user", "user": {"name": "x", "id": 1}}, "an event of kind 'user'"),
        ({"outcome": "rejected"}, "an event of outcome 'rejected'"),
        ({"facility": "OTHER"}, "of facility 'OTHER'"),
    ],
)
def test_events_of_other_things_are_ignored(plan, hold, fields, reason):
    hold("a.nxs")
    outcome = plan(**fields)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.IGNORED, reason)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "has no value"),
        (b"garbage", "begins with b'g'"),
        (b"[1]", "no JSON object"),
        (b"<event/>", "no JSON object"),
        (json.dumps(EVENT | {"version": 2}).encode(), r"version: .*found: 2"),
        (json.dumps(EVENT | {"kind": 7}).encode(), r"kind: expected a text"),
        (json.dumps(EVENT | {"outcome": None}).encode(), "outcome: expected a text"),
        (json.dumps(EVENT | {"dataset": None}).encode(), "dataset: expected an object"),
        (
            json.dumps(EVENT | {"dataset": {"name": "x", "id": "42"}}).encode(),
            r"dataset\.id: expected an id of ICAT's \(found: '42'\)",
        ),
        (
            json.dumps(EVENT | {"investigation": {"name": "x"}}).encode(),
            r"investigation\.visit_id: expected a text",
        ),
    ],
)
def test_what_is_no_event_is_rejected(make, record, value, reason):
    handler = make()
    assert handler.key(record(value))
    with pytest.raises(Rejection, match=reason):
        handler.decode(record(value))


@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text() | st.sampled_from([1, "dataset", 42]),
        lambda inner: (
            st.dictionaries(st.sampled_from([*EVENT, "name", "id"]) | st.text(), inner)
            | st.lists(inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_value_is_an_event_or_rejected(make, record, value):
    handler = make()
    handler.key(record(value))
    with suppress(Rejection):
        handler.decode(record(value))


def test_one_dataset_is_one_key(make, record):
    handler = make()
    keys = {
        handler.key(record(json.dumps(EVENT | {"dataset": dataset}).encode(), offset))
        for offset, dataset in enumerate(
            ({"name": "a", "id": 1}, {"name": "b", "id": 1}, {"name": "b", "id": 2})
        )
    }
    assert len(keys) == 2


def test_other_size(plan, hold):
    folder = hold("a.nxs")
    (folder / "a.nxs").write_bytes(CONTENT + b"more")
    with pytest.raises(Rejection, match="14 bytes, the catalogue says 10") as error:
        plan()
    assert "dataset 2026-0815/1/run 7, datafile a.nxs" in error.value.reason


def test_other_time(plan, hold):
    folder = hold("a.nxs")
    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    os.utime(folder / "a.nxs", (then.timestamp(),) * 2)
    with pytest.raises(Rejection, match="changed 2026-01-02T03:04:05") as error:
        plan()
    assert "the catalogue says 20" in error.value.reason


def test_a_repeated_hour_is_no_other_time(plan, hold, catalogue):
    folder = hold("a.nxs")
    # 02:30 in Berlin twice: the catalogue gives back one of the two.
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    os.utime(folder / "a.nxs", (first.timestamp(),) * 2)
    (entry,) = catalogue.unhashed[42]
    catalogue.unhashed[42] = [
        DatafileEntry(
            name=entry.name,
            location=entry.location,
            size=entry.size,
            mod_time=first + timedelta(hours=1),
        )
    ]
    assert planned(plan())


def test_what_the_catalogue_does_not_say_is_not_compared(plan, hold):
    hold("a.nxs", size=None, mod_time=None)
    # ICAT has 0 where nobody stated a size.
    hold("b.nxs", size=0, mod_time=None)
    assert len(planned(plan())) == 2


def test_without_location(plan, hold):
    hold("a.nxs")
    hold("b.nxs", location=None)
    found = plan()
    assert list(planned(found)) == ["a.nxs"]
    assert found.notes == ("1 datafiles have no location, and no checksum",)


def test_only_without_location(plan, hold):
    hold("b.nxs", location=None)
    outcome = plan()
    assert outcome.kind is OutcomeKind.UNCHANGED
    assert "1 datafiles have no location" in outcome.reason


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/etc/passwd", "outside the allowed folders"),
        ("../../../etc/passwd", "without '..'"),
        ("a\0b", "NUL"),
    ],
)
def test_outside_the_roots(plan, hold, location, reason):
    hold("a.nxs", location=location)
    with pytest.raises(Rejection, match=reason):
        plan()


def test_a_link_that_leads_outside(plan, hold):
    folder = hold("a.nxs")
    (folder / "a.nxs").unlink()
    (folder / "a.nxs").symlink_to("/etc/passwd")
    with pytest.raises(Rejection, match=r"leads to /etc/passwd, outside"):
        plan()


def test_a_file_that_is_gone_is_waited_for(plan, hold):
    folder = hold("a.nxs")
    (folder / "a.nxs").unlink()
    with pytest.raises(NotReady, match=r"a\.nxs: missing"):
        plan()


def test_locations_of_another_template(plan, hold, data):
    ids = {"location": {"root": data, "template": "file://{path}"}}
    folder = hold()
    hold("a.nxs", location=f"file://{folder}/a.nxs")
    assert planned(plan(sections={"ids": ids}))


def test_locations_as_the_writer_sees_them(plan, hold):
    folder = hold()
    hold("a.nxs", location=f"/writer/{folder.name}/a.nxs")
    assert planned(plan())


def test_too_many(plan, hold):
    hold("a.nxs", "b.nxs")
    with pytest.raises(Rejection, match="more than 1 datafiles have no checksum"):
        plan({"max_datafiles": 1})


@pytest.mark.parametrize(
    "ids", [{"mode": "put"}, {"location": {"template": "{investigation}/{name}"}}]
)
def test_locations_that_tell_no_path(make, ids):
    with pytest.raises(ConfigError, match=r"checksums needs ids\.mode register"):
        make(ids=ids)


def test_an_algorithm_that_is_none(make):
    with pytest.raises(ConfigError, match=r"options\.algorithm"):
        make({"algorithm": "md5"})
