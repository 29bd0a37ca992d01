"""Parts of the data service that meet hostile input, on their own."""

import sqlite3
import subprocess
import sys
import threading
import zlib
from contextlib import nullcontext
from pathlib import Path, PurePosixPath

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.dataservice import parameters
from icat_stream.dataservice.delivery import disposition
from icat_stream.dataservice.errors import (
    BadRequest,
    InsufficientPrivileges,
    Internal,
)
from icat_stream.dataservice.file_storage import FileStorage
from icat_stream.dataservice.parameters import Range
from icat_stream.dataservice.plugins import DatasetInfo
from icat_stream.dataservice.settings import PreparedSettings, SettingsError, load
from icat_stream.dataservice.state import State
from icat_stream.dataservice.threads import Threads
from icat_stream.dataservice.zip_mapping import ZipMapping

names = st.text(min_size=1, max_size=40) | st.lists(
    st.sampled_from(["..", ".", "", "a", "b.nxs"]), min_size=1, max_size=6
).map("/".join)


@given(names, st.lists(names, min_size=4, max_size=4))
def test_zip_entries_stay_below_their_folder(name: str, parents: list[str]) -> None:
    dataset = DatasetInfo(
        id=1,
        investigation_id=1,
        facility=parents[0],
        investigation=parents[1],
        visit_id=parents[2],
        name=parents[3],
    )
    mapping = ZipMapping()
    entry = mapping.entry_name(dataset, name)
    assert not entry.startswith("/")
    parts = PurePosixPath(entry).parts
    assert parts[0] == "ids"
    assert ".." not in parts
    assert mapping.file_name(entry)
    assert mapping.entry_name(dataset, mapping.file_name(entry)) == entry


@given(st.text(max_size=60))
def test_a_download_has_a_header_that_can_be_sent(name: str) -> None:
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2


@given(st.text(max_size=30) | st.from_regex(r"\d{1,20}", fullmatch=True))
def test_ranges_are_read_or_refused(text: str) -> None:
    good = text.isascii() and text.isdecimal() and len(text) <= 18
    with nullcontext() if good else pytest.raises(BadRequest):
        assert parameters.range_(f"bytes={text}-") == Range(int(text), None)


@given(st.binary(max_size=20), st.integers(0, 25), st.none() | st.integers(0, 25))
def test_ranges_are_as_in_slices(text: bytes, first: int, last: int | None) -> None:
    end = None if last is None else max(first, last)
    found = Range(first, end).within(len(text))
    expected = text[first : None if end is None else end + 1]
    assert (text[found[0] : found[1]] if found else b"") == expected
    if last is not None:
        found = Range(None, last).within(len(text))
        assert (text[found[0] : found[1]] if found else b"") == (
            text[-last:] if last else b""
        )


@given(st.lists(st.integers(-(10**17), 10**17), min_size=1))
def test_selections_are_read(ids: list[int]) -> None:
    asked = {"datasetIds": ", ".join(map(str, ids)), "datafileIds": ""}
    assert parameters.selection(asked).ids == {"Dataset": tuple(dict.fromkeys(ids))}


@given(st.text(max_size=30) | st.from_regex(r"-?\d{1,20}(, ?\d)*", fullmatch=True))
def test_selections_are_refused(text: str) -> None:
    parts = [part.strip().removeprefix("-") for part in text.split(",")]
    good = text == "" or all(
        p.isascii() and p.isdecimal() and len(p) <= 18 for p in parts
    )
    refused = pytest.raises(BadRequest, match="comma separated list of longs")
    with nullcontext() if good else refused:
        parameters.selection({"investigationIds": text})


DATASET = DatasetInfo(
    id=17, name="d", investigation_id=3, investigation="i", visit_id="1", facility="f"
)


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    (tmp_path / "main").mkdir()
    (tmp_path / "a").write_text("outside")
    (tmp_path / "main" / "out").symlink_to(tmp_path)
    return FileStorage(tmp_path / "main")


@given(
    st.text(max_size=20)
    | st.lists(
        st.sampled_from(["..", ".", "", "a", "out", "main", ".incoming", "\0"]),
        max_size=8,
    ).map("/".join)
)
def test_no_location_leads_out(storage: FileStorage, location: str) -> None:
    for call in (storage.open, storage.size):
        with pytest.raises((InsufficientPrivileges, OSError)):
            call(location)


def test_an_upload_is_there_whole_or_not_at_all(
    storage: FileStorage, tmp_path: Path
) -> None:
    upload = storage.begin(DATASET, "a")
    for block in (b"a" * 1000, b"", b"b"):
        upload.write(block)
    with pytest.raises(InsufficientPrivileges):
        storage.open(next((tmp_path / "main" / ".incoming").iterdir()).name + "/..")
    location = upload.commit()
    assert location.startswith("3/17/")
    content = b"a" * 1000 + b"b"
    assert (upload.size, upload.checksum) == (1001, zlib.crc32(content))
    assert b"".join(storage.open(location).blocks()) == content
    assert b"".join(storage.open(location).blocks(999)) == b"ab"
    aborted = storage.begin(DATASET, "b")
    aborted.write(b"x")
    aborted.abort()
    files = [p for p in (tmp_path / "main").rglob("*") if p.is_file()]
    assert [str(p.relative_to(tmp_path / "main")) for p in files] == [location]
    storage.delete(location)
    storage.delete(location)
    with pytest.raises(FileNotFoundError):
        storage.open(location)


def test_a_growing_file_is_cut_at_what_was_told(
    storage: FileStorage, tmp_path: Path
) -> None:
    path = tmp_path / "main" / "grows"
    path.write_bytes(b"old")
    opened = storage.open("grows")
    path.write_bytes(b"old and new")
    assert b"".join(opened.blocks()) == b"old"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("icat: {url: ftp://x}\nmain_storage: {root: .}", "icat.url"),
        ("icat: {url: http://x}", "main_storage: Field required"),
        ("icat: {url: http://x}\nmain_storage: {root: .}\nextra: 1", "extra"),
        ("icat: [", "ids.yaml:1: -: is no YAML"),
        ("", "-"),
    ],
)
def test_a_wrong_configuration_is_explained(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "ids.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_threads_that_hang_have_an_end() -> None:
    """A storage that hangs for hours must not fill the process with threads."""
    threads = Threads(0.05)
    go_on = threading.Event()
    late: list[bool] = []
    answers: list[str] = []

    async def ask() -> None:
        try:
            await threads.call(go_on.wait, late.append)
        except Internal as error:
            answers.append(error.message)

    async def ask_often() -> None:
        for _ in range(6):
            async with anyio.create_task_group() as tasks:
                for _ in range(60):
                    tasks.start_soon(ask)
        hanging = threading.active_count() - before
        assert 256 <= hanging < 330
        go_on.set()
        with anyio.fail_after(60):
            while len(late) < 256:
                await anyio.sleep(0.01)
            await ask()

    before = threading.active_count()
    anyio.run(ask_often)
    assert "hang" in answers[-1]
    assert len(answers) == 360


def test_a_state_in_trouble_tells_nothing_of_what_it_holds(tmp_path: Path) -> None:
    state = State(tmp_path)
    with sqlite3.connect(tmp_path / "state.db") as database:
        database.execute("DROP TABLE prepared_selections")
    database.close()
    try:
        with pytest.raises(Internal, match="no such table: prepared_sel") as caught:
            state.prepare(
                "of-somebody", "db/x", {"files": "theirs"}, PreparedSettings()
            )
        assert "theirs" not in caught.value.message
        assert "of-somebody" not in caught.value.message
    finally:
        state.close()


def test_many_open_a_new_state_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        " from icat_stream.dataservice.state import State;"
        " sys.stdin.read(); State(Path(sys.argv[1])).close()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    openers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.close()
    assert [opener.wait(60) for opener in openers] == [0] * 4
