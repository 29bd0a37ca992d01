"""Checksums, which are read in the child processes too."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash

from icat_stream.nexus import NexusReader
from icat_stream.records import NotReady, Rejection


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_checksums(
    reader: NexusReader, tmp_path: Path, aged: Callable[[Path], str], size: int
) -> None:
    path = tmp_path / "f.nxs"
    content = bytes(range(250)) * (size // 250) + b"x" * (size % 250)
    path.write_bytes(content)
    stat = reader.read(aged(path), []).stat
    assert [
        reader.checksum(stat, name)
        for name in ("xxh3_64", "xxh3_128", "sha256", "blake2b")
    ] == [
        f"xxh3_64:{xxhash.xxh3_64(content).hexdigest()}",
        f"xxh3_128:{xxhash.xxh3_128(content).hexdigest()}",
        f"sha256:{hashlib.sha256(content).hexdigest()}",
        f"blake2b:{hashlib.blake2b(content).hexdigest()}",
    ]


def test_only_of_the_file_that_was_looked_at(
    reader: NexusReader, tmp_path: Path, aged: Callable[[Path], str]
) -> None:
    path = tmp_path / "f.nxs"
    path.write_text("first")
    stat = reader.read(aged(path), []).stat
    path.write_text("longer")
    aged(path)
    with pytest.raises(NotReady, match="changed since it was looked at"):
        reader.checksum(stat, "sha256")
    with pytest.raises(Rejection, match="outside the allowed folders"):
        reader.checksum(replace(stat, path="/etc/passwd"), "sha256")
    with pytest.raises(ValueError, match="md5: expected one of"):
        reader.checksum(stat, "md5")


def test_of_a_file_of_a_folder(
    reader: NexusReader, tmp_path: Path, aged: Callable[[Path], str]
) -> None:
    path = tmp_path / "f.nxs"
    path.write_text("content")
    # The folder is an allowed one itself.
    (file,) = reader.folder(str(tmp_path.parent), names=[aged(path)]).files
    assert reader.checksum(file, "sha256") == (
        f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    )
