"""What is published is complete, and named after a tag."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_source_has_all_that_it_needs_to_build_and_test(distributions):
    [path] = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    if (ROOT / ".git").exists():
        git = ["git", "-c", f"safe.directory={ROOT}", "ls-files"]
        listed = subprocess.run(
            git, cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.splitlines()
        kept = {name for name in listed if (ROOT / name).exists()}
        assert kept - names == set()
    needed = {"pyproject.toml", "Makefile", "tox.ini", "requirements/dev.txt"}
    needed |= {"LICENSE", "CHANGELOG.md", ".ci/run", "tests/conftest.py"}
    assert needed <= names


def test_the_wheel_has_what_a_facility_starts_from(distributions):
    [path] = distributions.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        [metadata] = (n for n in names if n.endswith(".dist-info/METADATA"))
        headers = message_from_string(archive.read(metadata).decode())
    for name in ("resources/config.sample.yaml", "resources/schemas/isis.yaml"):
        assert f"icat_stream/{name}" in names
    assert "icat_stream/docs/night/icat-down.md" in names
    assert "icat_stream/py.typed" in names
    assert not any(name.startswith("tests") for name in names)
    assert headers["License-Expression"] == "BSD-3-Clause"
    assert headers["Description-Content-Type"] == "text/markdown"
    assert set(headers.get_all("Provides-Extra", [])) >= {"sandbox", "dataservice"}
    assert headers.get_all("Project-URL")
    assert "Typing :: Typed" in headers.get_all("Classifier", [])


def test_a_tag_is_the_version(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)

    def run(*command: str) -> str:
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    def version() -> str:
        return run(sys.executable, "-m", "hatchling", "version")

    assert version() == "0.1.dev0"
    run("git", "init", "--quiet")
    run("git", "add", ".")
    author = ("-c", "user.name=A. Nyone", "-c", "user.email=a@example.org")
    run("git", *author, "commit", "--quiet", "-m", "all")
    run("git", "tag", "v1.2.3")
    assert version() == "1.2.3"
    run("git", *author, "commit", "--quiet", "--allow-empty", "-m", "more")
    assert version().startswith("1.2.4.dev1")
