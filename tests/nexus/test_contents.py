"""What is uploaded is read in the child processes too."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from icat_stream.nexus import NexusReader
from icat_stream.records import NotReady, Rejection


@pytest.mark.parametrize("size", [0, 1, 2**20, 5_000_000])
def test_all_of_it_comes(
    reader: NexusReader, tmp_path: Path, aged: Callable[[Path], str], size: int
) -> None:
    path = tmp_path / "f.nxs"
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    path.write_bytes(content)
    stat = reader.read(aged(path), []).stat
    for _ in range(2):
        assert b"".join(reader.content(stat)) == content


def test_only_of_the_file_that_was_looked_at(
    reader: NexusReader, tmp_path: Path, aged: Callable[[Path], str]
) -> None:
    path = tmp_path / "f.nxs"
    path.write_text("first")
    stat = reader.read(aged(path), []).stat
    with pytest.raises(Rejection, match="outside the allowed folders"):
        list(reader.content(replace(stat, path="/etc/passwd")))
    path.write_text("longer")
    aged(path)
    with pytest.raises(NotReady, match="changed since it was looked at"):
        list(reader.content(stat))


def test_what_changes_meanwhile_is_noticed(
    reader: NexusReader, tmp_path: Path, aged: Callable[[Path], str]
) -> None:
    path = tmp_path / "f.nxs"
    path.write_bytes(bytes(10**7))
    content = reader.content(reader.read(aged(path), []).stat)
    next(content)
    path.write_bytes(b"shorter")
    with pytest.raises(NotReady, match=r"shorter|changed while it was read"):
        list(content)


def test_what_grows_meanwhile_sends_no_byte_more_and_not_the_last_ones(
    reader: NexusReader, tmp_path: Path, aged: Callable[[Path], str]
) -> None:
    path = tmp_path / "f.nxs"
    path.write_bytes(bytes(10**7))
    content = reader.content(reader.read(aged(path), []).stat)
    pieces = [next(content)]
    with path.open("ab") as file:
        file.write(b"DELETE /ids/delete HTTP/1.1")
    with pytest.raises(NotReady, match="changed while it was read"):
        pieces.extend(content)
    assert sum(map(len, pieces)) < 10**7
