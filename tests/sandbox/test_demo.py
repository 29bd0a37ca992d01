"""The demonstration, which is also the shortest proof that all parts fit."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from icat_stream.sandbox.kafka.jars import default_folder

from .conftest import TOOL

pytestmark = [pytest.mark.facility, pytest.mark.slow]


@pytest.mark.parametrize(
    "kafka", ["embedded", pytest.param("java", marks=pytest.mark.kafka)]
)
def test_the_demo(tmp_path: Path, kafka: str) -> None:
    environ = os.environ | {"ICAT_STREAM_KAFKA_JARS": str(default_folder().absolute())}
    done = subprocess.run(
        [TOOL, "sandbox", "demo", "--kafka", kafka],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environ,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    lines = done.stdout.splitlines()
    assert json.loads(lines[-1]) == {
        "announced": 23,
        "ingested": 20,
        "unchanged": 0,
        "ignored": 1,
        "deferred": 1,
        "rejected": 1,
    }
    assert done.stdout.count("Lumen_000000") == 10
    assert done.stdout.count("BOREAS000000") == 10
    for reason in ("never_written", "disk full", "expected a schema id"):
        assert reason in done.stdout
    assert "the same as on disk" in done.stdout
    assert list((tmp_path / ".build" / "demo").iterdir()) == []
