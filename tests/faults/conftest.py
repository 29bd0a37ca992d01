"""A facility on a real broker, for tests that disturb what runs on it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.outside import BIN, Facility


@pytest.fixture
def facility(tmp_path: Path) -> Iterator[Facility]:
    """A facility with a real broker; the daemon has an identity."""
    command = [BIN / "icat_stream", "sandbox"]
    done = subprocess.run(
        [*command, "up", "--dir", tmp_path, "--kafka", "java", "--detach"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode and not os.environ.get("CI") and "java" in done.stderr.lower():
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    facility = Facility(tmp_path)
    facility.configure(kafka={"instance_id": "the-daemon"})
    try:
        yield facility
    finally:
        subprocess.run([*command, "down", "--dir", tmp_path], check=True, timeout=60)
