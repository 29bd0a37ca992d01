"""A facility on a real broker, for tests that disturb what runs on it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults.outside import BIN, Facility


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    """A facility with a real broker; the daemon has an identity."""
    with _running(tmp_path) as facility:
        yield facility


@pytest.fixture
def two_levels(tmp_path: Path) -> Iterator[Facility]:
    """The same, and its data service has an archive."""
    with _running(tmp_path / "facility", "--two-level") as facility:
        yield facility


@contextmanager
def _running(path: Path, *options: str) -> Iterator[Facility]:
    command = [BIN / "icat_stream", "sandbox"]
    done = subprocess.run(
        [*command, "up", "--dir", path, "--kafka", "java", "--detach", *options],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode and not os.environ.get("CI") and "java" in done.stderr.lower():
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    facility = Facility(path)
    facility.configure(kafka={"instance_id": "the-daemon"})
    try:
        yield facility
    finally:
        facility.end()
        subprocess.run([*command, "down", "--dir", path], check=True, timeout=60)
