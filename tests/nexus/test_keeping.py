"""Small files are kept beside the data, whole, and nowhere else."""

import os

import pytest

from icat_stream.nexus import NexusReader
from icat_stream.records import Rejection


@pytest.fixture
def reader(tmp_path):
    with NexusReader([tmp_path / "data"], workers=1) as reader:
        (tmp_path / "data").mkdir()
        yield reader


def test_kept_whole_and_again(reader, tmp_path):
    path = tmp_path / "data" / "run.message.json"
    reader.keep(str(path), b"first")
    assert path.read_bytes() == b"first"
    before = path.stat().st_ino
    reader.keep(str(path), b"first")
    assert path.stat().st_ino == before
    assert reader.keep(str(path), b"second one") == 5
    assert path.read_bytes() == b"first", "what was kept first is the announcement"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_folder_is_made(reader, tmp_path):
    path = tmp_path / "data" / "messages" / "run.json"
    reader.keep(str(path), b"{}")
    assert path.read_bytes() == b"{}"


def test_not_outside_the_allowed_folders(reader, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "data" / "out")
    for folder in ("out", "out/new"):
        with pytest.raises(Rejection, match="nothing was written"):
            reader.keep(str(tmp_path / "data" / folder / "x.json"), b"{}")
    with pytest.raises(Rejection):
        reader.keep(str(tmp_path / "elsewhere" / "x.json"), b"{}")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_is_not_followed(reader, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "data" / "run.json"
    os.symlink(victim, path)
    reader.keep(str(path), b"{}")
    assert victim.read_text() == "precious"
    assert path.is_symlink()
