"""What becomes of the values of a file."""

import importlib.util
import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import category

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.nexus import Limits, NexusReader
from icat_stream.records import (
    AskedPath,
    FieldPath,
    FieldValue,
    FileContent,
    Rejection,
)

Aged = Callable[[Path], str]


def content(
    reader: NexusReader, path: Path, values: dict[str, Any], *asked: AskedPath
) -> FileContent:
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file[name] = value
    path.chmod(0o444)
    return reader.read(str(path), asked or list(values))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("läuft", "läuft"),
        (np.bytes_("plain"), "plain"),
        (np.array([b"one"]), "one"),
        (np.array([b"one", b"three"]), ("one", "three")),
        (["a", "ß"], ("a", "ß")),
        ("", ""),
        (np.float32(4.1), 4.1),
        (np.array([4.1], "f4"), 4.1),
        (np.array([4.1, 0.3], ">f4"), (4.1, 0.3)),
        (np.array([1.5, 2.5], ">f8"), (1.5, 2.5)),
        (np.float16(0.1), 0.1),
        (np.float32(123456792), 123456792.0),
        (np.array([538039104, 0.1], "f4"), (538039104.0, 0.1)),
        (np.float16(2050), 2050.0),
        (np.longdouble(0.25), 0.25),
        (np.array([[[7]]], "i2"), 7),
        (np.array([[7, 8]], "i2"), (7, 8)),
        (np.array([[[7.5]], [[8.5]]], "f4"), (7.5, 8.5)),
        (np.array([[b"a", b"b"]]), ("a", "b")),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.array([-1, 2], "i1"), (-1, 2)),
        (True, True),
        (np.array([True, False]), (True, False)),
        (np.zeros(0), ()),
        (math.inf, math.inf),
    ],
)
def test_value_is_plain(
    reader: NexusReader, tmp_path: Path, written: Any, read: Any
) -> None:
    found = content(reader, tmp_path / "f.nxs", {"/v": written}).values["/v"].value
    assert found == read
    assert type(found) is type(read)


def test_nan_stays_nan(reader: NexusReader, tmp_path: Path) -> None:
    value = content(reader, tmp_path / "f.nxs", {"/v": math.nan}).values["/v"].value
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("written", "encoding", "read"),
    [
        (b"5 \x80 \x96 test", "cp1252", "5 € \N{EN DASH} test"),
        (b"\xd6la", "latin-1", "Öla"),
        ("試料".encode("shift_jis"), "shift_jis", "試料"),
        ("läuft".encode(), "cp1252", "läuft"),
    ],
)
def test_text_that_is_not_utf_8_needs_its_encoding(
    reader: NexusReader, tmp_path: Path, written: bytes, encoding: str, read: str
) -> None:
    asked = FieldPath(path="/v", encoding=encoding)
    content(reader, tmp_path / "f.nxs", {"/v": np.bytes_(written)})
    found = reader.read(str(tmp_path / "f.nxs"), ["/v", asked])
    assert found.values[asked].value == read
    if read == "läuft":
        assert found.values["/v"].value == read
    else:
        assert "/v" not in found.values
        assert "/v holds text that is not UTF-8" in found.notes["/v"]


@pytest.mark.parametrize(
    ("written", "encoding", "why"),
    [
        (b"5 \x80", "latin-1", r"control character \(U\+0080\).*cp1252"),
        (b"\x81 m", "cp1252", "neither UTF-8 nor cp1252 .*byte 0x81"),
    ],
)
def test_text_that_is_not_in_that_encoding_either(
    reader: NexusReader, tmp_path: Path, written: bytes, encoding: str, why: str
) -> None:
    asked = FieldPath(path="/v", encoding=encoding)
    found = content(reader, tmp_path / "f.nxs", {"/v": np.bytes_(written)}, asked)
    assert asked not in found.values
    assert re.search(why, found.notes[asked])


@cache
def letters(encoding: str) -> str:
    """What of Unicode's first plane can be written and is no control character."""
    # Hypothesis would try all planes, for seconds.
    plane = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x10000)]))
    written = plane.encode(encoding, "ignore").decode(encoding)
    return "".join(c for c in written if category(c) != "Cc" and c not in "¥‾")


@settings(
    max_examples=30,
    deadline=None,
)
@given(
    st.sampled_from(["cp1252", "shift_jis", "koi8_r", "gb18030"]).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.text(st.sampled_from(letters(name)), min_size=1, max_size=20),
        )
    )
)
def test_any_text_is_what_was_written_or_left_out(
    reader: NexusReader, tmp_path: Path, case: tuple[str, str]
) -> None:
    encoding, text = case
    written = text.encode(encoding)
    path = tmp_path / "f.nxs"
    path.unlink(missing_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=written, dtype=h5py.string_dtype())
    path.chmod(0o444)
    asked = FieldPath(path="/v", encoding=encoding)
    found = reader.read(str(path), ["/v", asked])
    try:
        # What happens to be UTF-8 as well is taken for it, as most files are.
        assert found.values[asked].value == written.decode("utf-8")
    except UnicodeDecodeError:
        assert found.values[asked].value == text
        assert "/v" not in found.values


def test_enumeration_gives_names(reader: NexusReader, tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    state = h5py.enum_dtype({"CLOSED": 0, "OPEN": 1}, basetype="i4")
    with h5py.File(path, "w") as file:
        file.create_dataset("one", data=1, dtype=state)
        file.create_dataset("many", data=[0, 1], dtype=state)
        file.create_dataset("none", data=7, dtype=state)
    path.chmod(0o444)
    values = reader.read(str(path), ["/one", "/many"]).values
    assert values["/one"].value == "OPEN"
    assert values["/many"].value == ("CLOSED", "OPEN")
    with pytest.raises(Rejection, match="/none holds 7"):
        reader.read(str(path), ["/none"]).values["/none"]


def test_padding_is_taken_off(reader: NexusReader, tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        for name, padding, text in (
            ("space", h5py.h5t.STR_SPACEPAD, b"ab    "),
            ("null", h5py.h5t.STR_NULLPAD, b"ab \0\0\0"),
            ("term", h5py.h5t.STR_NULLTERM, b"ab\0junk"[:6]),
        ):
            kind = h5py.h5t.C_S1.copy()
            kind.set_size(6)
            kind.set_strpad(padding)
            space = h5py.h5s.create(h5py.h5s.SCALAR)
            dataset = h5py.h5d.create(file.id, name.encode(), kind, space)
            dataset.write(space, space, np.array(text, "S6"), kind)
    path.chmod(0o444)
    values = reader.read(str(path), ["/space", "/null", "/term"]).values
    assert [values[f"/{n}"].value for n in ("space", "null", "term")] == [
        "ab",
        "ab ",
        "ab",
    ]


def test_units_are_text_whatever_they_are_stored_as(
    reader: NexusReader, tmp_path: Path
) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        for number, units in enumerate(
            [
                *("mm", np.bytes_("mm"), np.array([b"mm"]), "", h5py.Empty("S1")),
                *(b"\xb5m", " ", np.array([b"mm", b"mm"])),
            ]
        ):
            file[f"v{number}"] = 1.0
            file[f"v{number}"].attrs["units"] = units
        file["bad"] = 1.0
        file["bad"].attrs["units"] = 3
    path.chmod(0o444)
    values = reader.read(str(path), [f"/v{n}" for n in range(8)]).values
    assert [values[f"/v{n}"].units for n in range(8)] == [
        "mm",
        "mm",
        "mm",
        None,
        None,
        "µm",
        None,
        "mm",
    ]
    with pytest.raises(Rejection, match=r"/bad has @units 3, expected text"):
        reader.read(str(path), ["/bad"]).values["/bad"]


def test_attributes_and_what_is_absent(reader: NexusReader, tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        file.attrs["creator"] = "somebody"
        file["g/v"] = 1
        file["g/v"].attrs["short_name"] = np.bytes_("V")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["inside"] = h5py.SoftLink("g/v")
        file["g/up"] = h5py.SoftLink("/g")
        file["null"] = h5py.Empty("f8")
    path.chmod(0o444)
    found = reader.read(
        str(path),
        [
            "/@creator",
            "/@absent",
            "g/v@short_name",
            "/g@absent",
            "/absent",
            "/absent/deeper@x",
            "/g/v/deeper",
            "/dangling",
            "/inside",
            "/g/up/v",
            "/null",
        ],
    )
    assert found.values == {
        "/@creator": FieldValue(value="somebody"),
        "g/v@short_name": FieldValue(value="V"),
        "/g/v@short_name": FieldValue(value="V"),
        "/inside": FieldValue(value=1),
        "/g/up/v": FieldValue(value=1),
    }


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (np.zeros(1, [("a", "i4")]), "a compound"),
        (1j, "(a complex number|a compound)"),
        (np.zeros((2, 3)), r"2 dimensions \(2 x 3\)"),
        (np.zeros(600_000), "600,000 elements .*files.max_array"),
        (np.zeros(600_000, "i1"), "600,000 elements .*files.max_array"),
        (np.void(b"abc"), "opaque"),
        ("x" * 70_000, "a text of 70,000 bytes"),
        (np.bytes_("x" * 70_000), "a text of 70,000 bytes"),
    ],
)
def test_what_is_no_value_is_named(
    reader: NexusReader, tmp_path: Path, written: Any, what: str
) -> None:
    values = content(reader, tmp_path / "f.nxs", {"/g/v": written}).values
    with pytest.raises(Rejection, match=rf"f\.nxs: /g/v (holds|has) {what}"):
        values["/g/v"]


def test_references_and_groups_are_no_values(
    reader: NexusReader, tmp_path: Path
) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        file["g/v"] = 1
        file["ref"] = file["g"].ref
        file.create_dataset("vlen", shape=(1,), dtype=h5py.vlen_dtype("i4"))
    path.chmod(0o444)
    for asked, what in (
        ("/ref", "a reference"),
        ("/vlen", "a variable-length"),
        ("/g", "a group"),
    ):
        values = reader.read(str(path), [asked, "/g/v"]).values
        assert values["/g/v"].value == 1
        assert asked in values
        assert dict(values) == {"/g/v": FieldValue(value=1)}
        with pytest.raises(Rejection, match=f"{asked} (is|holds) {what}"):
            values.get(asked)


def test_entries_the_default_first(reader: NexusReader, tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        for name in ("b", "a", "c"):
            file.create_group(name).attrs["NX_class"] = np.bytes_("NXentry")
            file[name]["title"] = f"title of {name}"
        file.create_group("other").attrs["NX_class"] = "NXroot"
        file.create_group("odd").attrs["NX_class"] = 5
        file["number"] = 1
        file["link"] = h5py.SoftLink("/nowhere")
        file.attrs["default"] = "c"
    path.chmod(0o444)
    found = reader.read(str(path), ["{entry}/title", "/{entry}@NX_class", "/*/title"])
    assert found.entries == ("c", "a", "b")
    assert found.values["{entry}/title"].value == "title of c"
    assert found.values["/c/title"].value == "title of c"
    assert found.values["/{entry}@NX_class"].value == "NXentry"
    assert found.values["/*/title"].value == ("title of a", "title of b", "title of c")


def test_default_that_is_no_entry_is_passed_over(
    reader: NexusReader, tmp_path: Path
) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "plot"
        file.create_group("plot")
        file.create_group("raw_data_1").attrs["NX_class"] = "NXentry"
    path.chmod(0o444)
    assert reader.read(str(path), ["{entry}/title"]).entries == ("raw_data_1",)


@pytest.mark.parametrize(
    ("target", "entries", "title"),
    [
        (h5py.SoftLink("/entry_3"), ("entry_3", "entry_2", "entry_10"), "t3"),
        (h5py.SoftLink("/deep/scan"), ("d", "entry_2", "entry_3", "entry_10"), "t"),
    ],
)
def test_default_that_is_a_link(
    reader: NexusReader, tmp_path: Path, target: Any, entries: Any, title: str
) -> None:
    found = reader.read(str(several_scans(tmp_path, target)), ["{entry}/title"])
    assert found.entries == entries
    assert found.values["{entry}/title"].value == title
    assert found.notes == {}


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (h5py.ExternalLink("other.h5", "/x"), "/d is an external link to /x in other"),
        (h5py.SoftLink("/gone"), "/d is a soft link to /gone, which leads to nothing"),
    ],
)
def test_default_that_leads_nowhere_is_no_other_scan(
    reader: NexusReader, tmp_path: Path, target: Any, why: str
) -> None:
    found = reader.read(str(several_scans(tmp_path, target)), ["{entry}/title"])
    assert found.values == {}
    assert f"@default names 'd': {why}" in found.notes["{entry}/title"]


def test_default_that_names_nothing_is_told(
    reader: NexusReader, tmp_path: Path
) -> None:
    found = reader.read(str(several_scans(tmp_path, None)), ["{entry}/title"])
    assert found.values["{entry}/title"].value == "t2"
    assert re.search(
        "@default names 'd', which is no NXentry: entry_2 is the first of 3",
        found.notes["{entry}/title"],
    )


def several_scans(folder: Path, target: Any) -> Path:
    """Make a file of three entries, and with a link as the default one."""
    path = folder / "f.nxs"
    with h5py.File(path, "w") as file:
        for name, title in (
            ("entry_10", "t10"),
            ("entry_2", "t2"),
            ("entry_3", "t3"),
            ("deep/scan", "t"),
        ):
            file.create_group(name).attrs["NX_class"] = "NXentry"
            file[name]["title"] = title
        file.attrs["default"] = "d"
        if target is not None:
            file["d"] = target
    path.chmod(0o444)
    return path


def test_names_in_their_natural_order_or_as_they_were_made(
    reader: NexusReader, tmp_path: Path
) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w", track_order=True) as file:
        for name in ("10.1", "2.1", "1.10", "1.9"):
            file.create_group(name, track_order=True).attrs["NX_class"] = "NXentry"
        for name in ("d_10", "d_2", "c", "d_1"):
            file["10.1"][name] = name
        file.create_group("plain")
        file["plain/a"] = 1
    path.chmod(0o444)
    made = [
        FieldPath(path=asked, order="creation") for asked in ("/10.1/*", "/plain/*")
    ]
    found = reader.read(str(path), ["/10.1/*", "{entry}@NX_class"])
    assert found.values["/10.1/*"].value == ("c", "d_1", "d_2", "d_10")
    assert found.entries == ("1.9", "1.10", "2.1", "10.1")
    values = reader.read(str(path), made).values
    assert values[made[0]].value == ("d_10", "d_2", "c", "d_1")
    with pytest.raises(Rejection, match="/plain does not say in which order"):
        values[made[1]]
    entry = FieldPath(path="{entry}@NX_class", order="creation")
    assert reader.read(str(path), [entry]).entries[0] == "10.1"


def test_without_an_entry_nothing_is_found_in_it(
    reader: NexusReader, tmp_path: Path
) -> None:
    found = content(reader, tmp_path / "f.nxs", {"/v": 1}, "{entry}/v", "{entry}")
    assert (found.entries, found.values) == ((), {})


def test_wildcards(reader: NexusReader, tmp_path: Path) -> None:
    written = {
        "/e/user_1/name": "Ann",
        "/e/user_2/name": ["Bob", "Cy"],
        "/e/user_3/role": "none",
        "/e/users/name": "nobody",
        "/e/user_é/name": "Dé",
        "/e/logs/a": 1.0,
        "/e/logs/b": 2.0,
        "/e/logs/image": np.zeros((2, 2)),
        "/e/logs/group/x": 1,
    }
    found = content(
        reader, tmp_path / "f.nxs", written, "/e/user_*/name", "/e/logs/*", "/e/z*/a"
    )
    assert found.values == {
        "/e/user_1/name": FieldValue(value="Ann"),
        "/e/user_2/name": FieldValue(value=("Bob", "Cy")),
        "/e/user_é/name": FieldValue(value="Dé"),
        "/e/user_*/name": FieldValue(value=("Ann", "Bob", "Cy", "Dé")),
        "/e/logs/a": FieldValue(value=1.0),
        "/e/logs/b": FieldValue(value=2.0),
        "/e/logs/*": FieldValue(value=(1.0, 2.0)),
    }
    assert found.notes == {
        "/e/logs/*": "/e/logs/group is a group, expected a value; "
        "/e/logs/image has 2 dimensions (2 x 2), expected at most one"
    }


def test_units_that_differ_under_a_wildcard(
    reader: NexusReader, tmp_path: Path
) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        for name, units in (("a_1", "m"), ("a_2", "mm"), ("b_1", "K"), ("b_2", "K")):
            file[f"e/{name}"] = 1.0
            file[f"e/{name}"].attrs["units"] = units
    path.chmod(0o444)
    values = reader.read(str(path), ["/e/a_*", "/e/b_*"]).values
    assert values["/e/b_*"] == FieldValue(value=(1.0, 1.0), units="K")
    assert values["/e/a_*"] == FieldValue(
        value=(1.0, 1.0),
        parts=(
            ("/e/a_1", FieldValue(value=1.0, units="m")),
            ("/e/a_2", FieldValue(value=1.0, units="mm")),
        ),
    )


def test_a_name_with_an_at_sign(reader: NexusReader, tmp_path: Path) -> None:
    written = {"/e/d@x": 1.0, "/e/d": 2.0}
    found = content(reader, tmp_path / "f.nxs", written, "/e/d@x", "/e/d")
    assert found.values["/e/d@x"].value == 1.0


def test_thousands_of_names_in_the_root(reader: NexusReader, tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        for number in range(12_000):
            file.create_group(f"scan_{number}")
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        file["entry/v"] = 5.0
    path.chmod(0o444)
    found = reader.read(str(path), ["/entry/v", "{entry}/v"])
    assert found.values["/entry/v"].value == found.values["{entry}/v"].value == 5.0


def test_wildcard_over_a_branch_that_is_no_value(
    reader: NexusReader, tmp_path: Path
) -> None:
    written = {"/e/a/v": 1, "/e/b/v": np.zeros((2, 2))}
    values = content(reader, tmp_path / "f.nxs", written, "/e/*/v").values
    assert values["/e/a/v"].value == 1
    for asked in ("/e/*/v", "/e/b/v"):
        with pytest.raises(Rejection, match="/e/b/v has 2 dimensions"):
            values[asked]


def test_no_path_needs_no_hdf5(reader: NexusReader, tmp_path: Path, aged: Aged) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n")
    found = reader.read(aged(path), [])
    assert (found.stat.size, found.stat.path) == (4, str(path))
    assert found.stat.mtime_ns == path.stat().st_mtime_ns
    assert found.values == {}


def test_limits_hold_for_a_whole_request(tmp_path: Path) -> None:
    path = tmp_path / "f.nxs"
    with h5py.File(path, "w") as file:
        for number in range(20):
            file[f"g/v{number}"] = "x" * 100
    path.chmod(0o444)
    for limits, what in (
        (Limits(values=10), "over 10 values"),
        (Limits(total_bytes=1000), "over 1,000 bytes"),
        (Limits(members=10), "makes 20 names to look through"),
    ):
        with NexusReader([tmp_path], limits=limits, workers=1) as reader:
            assert reader.read(str(path), ["/g/v1"]).values
            with pytest.raises(Rejection, match=what):
                reader.read(str(path), ["/g/*"])


def test_file_of_others(aged: Aged) -> None:
    spec = importlib.util.find_spec("nexusformat")
    assert spec is not None
    assert spec.origin is not None
    examples = Path(spec.origin).parent / "examples"
    with NexusReader([examples], workers=1) as reader:
        found = reader.read(
            str(examples / "chopper.nxs"),
            [
                "{entry}/title",
                "{entry}/sample/name",
                "{entry}/start_time",
                "{entry}/sample/temperature",
                "{entry}/*",
            ],
        )
    assert found.entries == ("entry",)
    assert found.values["{entry}/sample/name"].value
    assert found.values["{entry}/sample/temperature"].units == "K"


scalars = st.one_of(
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80
    ),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
)


@settings(
    max_examples=60,
    deadline=None,
)
@given(
    st.lists(scalars, min_size=1, max_size=8), st.sampled_from(["latest", "earliest"])
)
def test_what_is_written_is_read(
    reader: NexusReader, tmp_path: Path, written: list[Any], libver: str
) -> None:
    path = tmp_path / "f.nxs"
    path.unlink(missing_ok=True)
    with h5py.File(path, "w", libver=libver) as file:
        for number, value in enumerate(written):
            file[f"g/{number}"] = value
            file["g"].attrs[f"a{number}"] = value
    path.chmod(0o444)
    names = range(len(written))
    values = reader.read(
        str(path), [f"/g/{n}" for n in names] + [f"/g@a{n}" for n in names]
    ).values
    assert [values[f"/g/{n}"].value for n in names] == written
    assert [values[f"/g@a{n}"].value for n in names] == written
