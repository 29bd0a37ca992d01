"""The comparison with h5py, on files of our own; public ones: ``make public-files``."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from icat_stream.nexus import NexusReader
from icat_stream.records import FieldPath, FileContent
from icat_stream.sandbox.samples import write_ess_like, write_isis_like

from .public_files import compare, table


def write_kinds(path: Path) -> None:
    """Write one of each kind of value that files have."""
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        colour = h5py.enum_dtype({"RED": 1, "BLUE": 2}, basetype="i1")
        pair = np.dtype([("a", "i4"), ("b", "f8")])
        values = {
            "integer": np.int64(2**63 - 1),
            "unsigned": np.uint64(2**64 - 1),
            "big_endian": np.array([1, 2, 3], ">i2"),
            "float": 0.1,
            "single": np.float32(4.1),
            "half": np.array([0.1, np.nan, np.inf], "f2"),
            "boolean": np.array([True, False]),
            "text": "Größe",
            "bytes": np.bytes_("\N{EURO SIGN}".encode("cp1252")),
            "no_text": np.bytes_(b"\x81\xff"),
            "texts": np.array([b"a", b"", b" b "], "S4"),
            "empty": h5py.Empty("f8"),
            "nothing": np.empty(0),
            "row": np.arange(5.0).reshape(1, 5),
            "image": np.zeros((2, 3)),
            "large": np.zeros(2**20),
            "compound": np.zeros(2, pair),
            "reference": entry.ref,
        }
        for name, value in values.items():
            dtype = h5py.ref_dtype if name == "reference" else None
            entry.create_dataset(name, data=value, dtype=dtype).attrs["units"] = "mm"
        entry.create_dataset("colour", data=2, dtype=colour)
        entry["soft"] = h5py.SoftLink("/entry/float")
        entry["circle"] = h5py.SoftLink("/entry")
        entry["broken"] = h5py.SoftLink("/nowhere")
        entry["away"] = h5py.ExternalLink("other.h5", "/x")


def test_all_kinds_are_as_h5py_has_them(reader, tmp_path):
    path = tmp_path / "kinds.nxs"
    write_kinds(path)
    path.chmod(0o444)
    counts, different = compare(path, reader)
    assert different == []
    refused = {"no_text", "image", "large", "compound", "reference", "broken", "away"}
    assert counts["refused"] == len(refused)


@pytest.mark.parametrize("write", [write_ess_like, write_isis_like])
def test_samples_are_as_h5py_has_them(reader, tmp_path, write):
    written = write(tmp_path / "f.nxs", proposal="2026-1001", run=7)
    written.path.chmod(0o444)
    counts, different = compare(written.path, reader)
    assert different == []
    assert counts["equal"] > 20


class Forgetful:
    """A reader that has no values."""

    def __init__(self, reader: NexusReader) -> None:
        self._reader = reader

    def read(self, path: str, asked: list[FieldPath]) -> FileContent:
        return replace(self._reader.read(path, asked), values={})


def test_a_difference_is_seen(reader, tmp_path):
    path = tmp_path / "kinds.nxs"
    write_kinds(path)
    path.chmod(0o444)
    _, different = compare(path, Forgetful(reader))
    assert "/entry/float: absent, h5py: array(0.1)" in different


def test_the_table_names_each_file_once():
    files = table()
    assert len({one.sha256 for one in files}) == len(files) >= 30
    assert all(len(one.commit) == 40 and one.size for one in files)
