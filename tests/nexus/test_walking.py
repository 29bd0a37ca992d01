"""Walking trees page by page, in the reading processes."""

import os

import pytest

from icat_stream.nexus import NexusReader
from icat_stream.nexus.folder_page import listing
from icat_stream.nexus.safe_open import Rules
from icat_stream.records import Rejection


@pytest.fixture
def reader(tmp_path):
    (tmp_path / "data").mkdir()
    with NexusReader([tmp_path / "data"], workers=1) as reader:
        yield reader


def test_all_files_and_nothing_else(tmp_path, reader):
    data = tmp_path / "data"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").touch()
    for name in ("a/1", "a/b/2", "a/b/.hidden", ".git/3", "ü/4"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(name.encode())
    (data / "link").symlink_to(outside)
    (data / "file-link").symlink_to(data / "a/1")
    os.mkfifo(data / "fifo")
    os.close(os.open(os.fsencode(data) + b"/\xff", os.O_CREAT))
    pages = list(reader.walk(str(data)))
    files = {
        f"{page.path}/{name}": size for page in pages for name, size, _ in page.files
    }
    assert files == {
        str(data / name): len(name.encode()) for name in ("a/1", "a/b/2", "ü/4")
    }
    (reason,) = (reason for page in pages for reason in page.unusable)
    assert "not UTF-8" in reason


def test_outside_the_roots_nothing_is_looked_at(reader, tmp_path):
    for path in ("/etc", str(tmp_path), str(tmp_path / "data/../..")):
        with pytest.raises(Rejection):
            list(reader.walk(path))


def test_a_missing_folder_is_said(reader, tmp_path):
    (page,) = reader.walk(str(tmp_path / "data/none"))
    assert "missing" in page.unusable[0]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_pages_leave_nothing_out(tmp_path, most):
    rules = Rules(roots=[str(tmp_path)], settle=0, settle_deadline=0)
    names = sorted([f"f{n}" for n in range(7)])
    for name in names:
        (tmp_path / name).touch()
    found, after = [], ""
    while after is not None:
        page = listing(str(tmp_path), after, most, rules)
        found += [name for name, _, _ in page["files"]]
        after = page["next"]
    assert found == names
