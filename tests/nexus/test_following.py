"""Values in other files: behind external links, and in virtual datasets."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from icat_stream.nexus import Limits, NexusReader
from icat_stream.records import FieldPath, FieldValue, FileContent, NotReady

Aged = Callable[[Path], str]


def followed(path: str) -> FieldPath:
    return FieldPath(path=path, follow=True)


def read(reader: NexusReader, path: Path, *asked: str) -> FileContent:
    path.chmod(0o444)
    return reader.read(str(path), [followed(one) for one in asked])


def write(path: Path, **members: Any) -> Path:
    """Write a file, which its writer then says is finished."""
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, value in members.items():
            file[name.replace("__", "/")] = value
    path.chmod(0o444)
    return path


@pytest.fixture
def master(tmp_path: Path) -> Path:
    """Make a file with its scans in other files, as ESRF's are."""
    (tmp_path / "scans").mkdir()
    for number in (1, 2, 10):
        with h5py.File(tmp_path / "scans" / f"scan{number}.h5", "w") as file:
            entry = file.create_group(f"{number}.1")
            entry.attrs["NX_class"] = "NXentry"
            entry["title"] = f"scan {number}"
            entry["energy"] = float(number)
            entry["energy"].attrs["units"] = "keV"
            entry["image"] = h5py.ExternalLink("raw.h5", "/v")
            entry["inside"] = h5py.SoftLink(f"/{number}.1/title")
        (tmp_path / "scans" / f"scan{number}.h5").chmod(0o444)
    write(tmp_path / "scans" / "raw.h5", v=7)
    with h5py.File(tmp_path / "master.h5", "w") as file:
        for number in (10, 2, 1):
            file[f"{number}.1"] = h5py.ExternalLink(
                f"scans/scan{number}.h5", f"/{number}.1"
            )
    (tmp_path / "master.h5").chmod(0o444)
    return tmp_path / "master.h5"


def test_a_master_file(reader: NexusReader, master: Path) -> None:
    found = read(
        reader,
        master,
        "{entry}/title",
        "/2.1/energy",
        "/*/title",
        # Relative to the file that it is in, and of that file's root.
        "/2.1/image",
        "/2.1/inside",
    )
    values = found.values
    assert values[followed("{entry}/title")].value == "scan 1"
    assert values[followed("/2.1/energy")] == FieldValue(value=2.0, units="keV")
    assert values[followed("/*/title")].value == ("scan 1", "scan 2", "scan 10")
    assert values[followed("/2.1/image")].value == 7
    assert values[followed("/2.1/inside")].value == "scan 2"
    assert found.entries == ("1.1", "2.1", "10.1")
    assert found.notes == {}


def test_what_is_not_to_be_followed_is_not(reader: NexusReader, master: Path) -> None:
    found = reader.read(str(master), ["/2.1/energy", "{entry}/title"])
    assert found.values == {}
    assert re.search(
        "/2.1 is an external link to /2.1 in scans/scan2.h5, not followed without",
        found.notes["/2.1/energy"],
    )
    assert "/1.1 is an external link" in found.notes["{entry}/title"]


def test_targets_of_links_in_other_files(reader: NexusReader, master: Path) -> None:
    links = reader.read(str(master), [followed("/2.1/image")], links=True).links
    assert [link.stat and Path(link.stat.path).name for link in links] == [
        "scan2.h5",
        "raw.h5",
    ]


def test_where_no_other_file_may_lead(reader: NexusReader, tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "leaving").symlink_to("/etc/passwd")
    (tmp_path / "text").write_text("no HDF5")
    (tmp_path / "text").chmod(0o444)
    write(tmp_path / "there.h5", v=1)
    with h5py.File(path, "w") as file:
        for name, target, at in (
            ("fifo", "fifo", "/v"),
            ("out", "/etc/passwd", "/v"),
            ("leaving", "leaving", "/v"),
            ("missing", "missing.h5", "/v"),
            ("text", "text", "/v"),
            ("gone", "there.h5", "/w"),
            ("circle", "f.h5", "/circle"),
        ):
            file[name] = h5py.ExternalLink(target, at)
    for name, why in (
        ("fifo", "which cannot be followed: .*is a FIFO"),
        ("out", "which is /etc/passwd, outside the allowed folders"),
        ("leaving", "which cannot be followed: .*leads to /etc/passwd, outside"),
        ("missing", "which is not there"),
        ("text", "which cannot be followed: .*is no HDF5 file"),
        ("gone", "external link to /w in there.h5, which leads to nothing"),
    ):
        found = read(reader, path, f"/{name}")
        assert found.values == {}
        assert re.search(why, found.notes[followed(f"/{name}")])
    found = read(reader, path, "/circle")
    with pytest.raises(Exception, match="probably in a circle"):
        found.values[followed("/circle")]


def test_a_file_that_is_still_written_is_waited_for(
    reader: NexusReader, tmp_path: Path
) -> None:
    write(tmp_path / "scan.h5", v=1).chmod(0o644)
    path = write(tmp_path / "f.h5", v=h5py.ExternalLink("scan.h5", "/v"))
    with pytest.raises(NotReady, match=r"scan\.h5: changed .* still writable"):
        read(reader, path, "/v")


def test_a_name_of_windows_is_translated(tmp_path: Path) -> None:
    write(tmp_path / "raw" / "scan.h5", v=5)
    path = write(
        tmp_path / "f.h5", v=h5py.ExternalLink("\\\\server\\share\\scan.h5", "/v")
    )
    path_map = {"//server/share": str(tmp_path / "raw")}
    with NexusReader([tmp_path], path_map=path_map, workers=1) as reader:
        assert read(reader, path, "/v").values[followed("/v")].value == 5


def test_no_more_files_than_may_be(tmp_path: Path) -> None:
    members = {}
    for number in range(3):
        write(tmp_path / f"s{number}.h5", v=number)
        members[f"g__v{number}"] = h5py.ExternalLink(f"s{number}.h5", "/v")
    path = write(tmp_path / "f.h5", **members)
    limits = Limits(other_files=2)
    with NexusReader([tmp_path], limits=limits, workers=1) as reader:
        found = read(reader, path, "/g/*")
    assert found.values[followed("/g/*")].value == (0, 1)
    assert "more than 2 files" in found.notes[followed("/g/*")]


def virtual(
    path: Path, *pieces: tuple[Any, Any], size: int = 4, **options: Any
) -> Path:
    """Write a file with a virtual dataset /w of pieces of others."""
    layout = h5py.VirtualLayout((4,), "f8")
    for where, source in pieces:
        layout[where] = source
    with h5py.File(path, "w", libver="latest") as file:
        file.create_virtual_dataset("w", layout).attrs["units"] = "mm"
    path.chmod(0o444)
    return path


def test_a_virtual_dataset(reader: NexusReader, tmp_path: Path) -> None:
    write(tmp_path / "raw" / "a.h5", v=np.arange(10.0))
    write(tmp_path / "b.h5", deep__v=np.array([5.5, 6.5]))
    path = virtual(
        tmp_path / "f.h5",
        (slice(0, 2), h5py.VirtualSource("raw/a.h5", "v", (10,))[4:8:2]),
        (slice(2, 4), h5py.VirtualSource("b.h5", "/deep/v", (2,))),
    )
    found = read(reader, path, "/w")
    assert found.values[followed("/w")] == FieldValue(
        value=(4.0, 6.0, 5.5, 6.5), units="mm"
    )
    with h5py.File(path) as file:
        assert list(file["w"]) == [4.0, 6.0, 5.5, 6.5]


def test_a_virtual_dataset_with_a_gap_is_none(
    reader: NexusReader, tmp_path: Path
) -> None:
    write(tmp_path / "a.h5", v=np.arange(2.0), g__v=1)
    a = h5py.VirtualSource("a.h5", "v", (2,))
    wrong = h5py.VirtualSource("a.h5", "v", (4,))
    beyond = h5py.VirtualSource("a.h5", "v", (9,))[5:9]
    nowhere = h5py.VirtualSource("a.h5", "w", (4,))
    missing = h5py.VirtualSource("missing.h5", "v", (4,))
    outside = h5py.VirtualSource("/etc/passwd", "v", (4,))
    everything = slice(0, 4)
    for pieces, why in (
        ([(slice(0, 2), a)], "virtual dataset of 4 values, and its sources have 2"),
        (
            [(everything, wrong)],
            "made of v in a.h5, expected 4 values there of 2",
        ),
        ([(everything, beyond)], "expected 4 values there of 2, which do not fit"),
        ([(everything, nowhere)], "made of w in a.h5, where there is no dataset"),
        ([(everything, missing)], "made of v in missing.h5, which is not there"),
        ([(everything, outside)], "made of v in /etc/passwd, which is .* outside"),
    ):
        path = tmp_path / "f.h5"
        path.unlink(missing_ok=True)
        found = read(reader, virtual(path, *pieces), "/w")
        assert found.values == {}
        assert re.search(why, found.notes[followed("/w")])
