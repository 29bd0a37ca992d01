"""Zips as they are sent: what unpacks them finds everything, and each time the same."""

import io
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.dataservice.zips import Entry, SizeDiffers, Zip, distinct

contents = st.binary(max_size=300) | st.integers(0, 2**18).map(lambda n: b"ab" * n)
names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1
).filter(lambda name: name not in (".", ".."))
times = st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))  # noqa: DTZ001


def entry(name: str, content: bytes, modified: datetime | None = None) -> Entry:
    def blocks() -> Iterator[bytes]:
        for begin in range(0, len(content), 1000):
            yield content[begin : begin + 1000]

    return Entry(name, len(content), blocks, modified)


@given(st.dictionaries(names, st.tuples(contents, times), max_size=5), st.booleans())
def test_what_goes_in_comes_out(
    files: dict[str, tuple[bytes, datetime | None]], compress: bool
) -> None:
    made = Zip([entry(n, *what) for n, what in files.items()], compress=compress)
    text = b"".join(made)
    assert made.size == (None if compress else len(text))
    with zipfile.ZipFile(io.BytesIO(text)) as archive:
        assert archive.testzip() is None
        assert {n: archive.read(n) for n in archive.namelist()} == {
            name: content for name, (content, _) in files.items()
        }
        for info in archive.infolist():
            when = files[info.filename][1]
            if when is not None and 1980 <= when.year <= 2107:
                assert info.date_time[:5] == when.timetuple()[:5]
    again = Zip([entry(n, *what) for n, what in files.items()], compress=compress)
    assert b"".join(again) == text


@pytest.mark.parametrize("size", [0xFFFFFFFE, 0xFFFFFFFF, 0x100000005])
def test_files_of_four_gigabytes_have_the_length_that_was_said(size: int) -> None:
    # Not read through: what matters are the fields around the content.
    made = Zip(
        [
            Entry("large", size, lambda: iter(())),
            Entry("after", 3, lambda: iter([b"abc"])),
        ],
        compress=False,
    )
    large = size >= 0xFFFFFFFF
    # Local heads, descriptors, the directory's entries, and the end.
    fields = 30 + 5 + size + (20 + 24 if large else 16)
    second = 30 + 5 + 3 + 16
    directory = 46 + 5 + (20 if large else 0) + 46 + 5 + 12
    assert made.size == fields + second + directory + 56 + 20 + 22
    with pytest.raises(SizeDiffers, match="large: 0 bytes"):
        list(made)


def test_more_entries_than_an_old_zip_counts() -> None:
    made = Zip([entry(f"{n}", b"") for n in range(70_000)], compress=False)
    text = b"".join(made)
    assert len(text) == made.size
    with zipfile.ZipFile(io.BytesIO(text)) as archive:
        assert len(archive.namelist()) == 70_000


parts = st.lists(st.sampled_from(["a", "b", "__", "a (2)"]), min_size=1, max_size=3)


@given(st.lists(parts.map("/".join), max_size=12))
def test_names_are_kept_apart(given: list[str]) -> None:
    found = distinct(given)
    assert len(set(found)) == len(given)
    folders = {str(p) for name in found for p in PurePosixPath(name).parents}
    assert folders.isdisjoint(found)
    # Whoever is alone keeps the name.
    assert all(n == f for n, f in zip(given, found, strict=True) if given == [n])


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        ("RUN/A.NXS", "RUN/A (2).NXS"),
        ("run/a.nxs", "run/a (2).nxs"),
        ("run", "run (2)"),
        ("run/b.nxs", "run/b.nxs"),
    ],
)
def test_names_that_other_systems_take_for_one(second: str, kept: str) -> None:
    assert distinct(["Run/a.nxs", second]) == ["Run/a.nxs", kept]


def test_names_composed_otherwise_are_one() -> None:
    whole, parts = "Gr\u00f6\u00dfe", "GRO\u0308SSE"
    assert distinct([whole, parts, whole]) == [whole, f"{parts} (2)", f"{whole} (3)"]


def test_numbers_stand_before_the_suffix() -> None:
    assert distinct(["x/a.nxs", "x/a.nxs", "x/a.nxs", ".b", ".b", "x"]) == [
        "x/a.nxs",
        "x/a (2).nxs",
        "x/a (3).nxs",
        ".b",
        ".b (2)",
        "x (2)",
    ]
    assert len(set(distinct(["a"] * 20_000))) == 20_000
