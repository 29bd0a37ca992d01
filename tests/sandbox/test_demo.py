"""The demonstration, which is also the shortest proof that all parts fit."""

import json
import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import requests

from icat_stream.sandbox.kafka.jars import default_folder

from .conftest import TOOL

pytestmark = pytest.mark.facility


@pytest.mark.kafka
def test_the_demo_in_a_pipe_on_a_real_broker(tmp_path: Path) -> None:
    done = subprocess.run(
        [TOOL, "sandbox", "demo", "--kafka", "java"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=_environ(80),
        timeout=180,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    # Whole, however narrow a terminal would be.
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "announced": 23,
        "ingested": 20,
        "unchanged": 0,
        "ignored": 1,
        "deferred": 1,
        "rejected": 1,
    }
    assert "\x1b" not in done.stdout
    _check(done.stdout, tmp_path, width=80)
    assert "parameters" not in done.stdout
    # Nobody could end what stays.
    assert "dashboard" not in done.stdout


def test_the_demo_on_a_terminal_without_java(tmp_path: Path) -> None:
    """It stays until Enter, with a dashboard that one can log in to."""
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [TOOL, "sandbox", "demo"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env={k: v for k, v in _environ(120).items() if k != "CI"},
    ) as running:
        os.close(theirs)
        while b"Ctrl-C" not in shown and (chunk := _read(ours)):
            shown += chunk
        said = re.search(
            r"dashboard is at (\S+): log in by (\S+) as (\S+) with the password (\S+)",
            _plain(shown),
        )
        assert said, shown.decode()
        address, *login = said.groups()
        names = ("authenticator", "username", "password")
        page = requests.post(
            f"{address}/login",
            dict(zip(names, login, strict=True)),
            headers={"Accept": "text/html"},
            timeout=60,
        )
        os.write(ours, b"\n")
        # Linux says EIO once nobody has the other side any more.
        while chunk := _read(ours):
            shown += chunk
        assert running.wait(180) == 0, shown.decode()
    os.close(ours)
    assert "1 failed in 24 hours" in page.text
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=60)
    text = _plain(shown)
    assert "\x1b[32m" in shown.decode()
    # It says how far it is.
    assert re.search(r"icat_ingestor --until-end: \d+ of 23", text)
    _check(text, tmp_path, width=120)
    assert "parameters" in text
    assert '"announced"' not in text


def _check(text: str, folder: Path, *, width: int) -> None:
    """Check what is shown whatever it is shown on."""
    table = text.partition("20 datasets are in the catalogue")[2]
    table, _, rest = table.partition("and 15 more")
    rows = [line for line in table.splitlines() if re.search("Lumen|BOREAS", line)]
    assert len(rows) == 5
    assert {"Lumen", "BOREAS"} == {re.findall("Lumen|BOREAS", row)[0] for row in rows}
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
    for reason in ("never_written", "disk full", "expected a schema id"):
        assert reason in rest
    assert "the same as on disk" in rest
    commands = [line.split() for line in rest.splitlines() if "--dir" in line]
    assert [Path(line[0]).name for line in commands] == ["icat_stream"] * 2
    # As it can be typed: with its folder, unless that is where commands are looked for.
    found = shutil.which("icat_stream") == str(TOOL)
    prefix = "  " if found else f"  {Path(TOOL).parent}/"
    assert f"{prefix}icat_ingestor -c facility/config.yaml" in rest
    assert list((folder / ".build" / "demo").iterdir()) == []


def _plain(shown: bytes) -> str:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    return text.replace("\r", "\n")


def _environ(width: int) -> dict[str, str]:
    jars = str(default_folder().absolute())
    return os.environ | {
        "ICAT_STREAM_KAFKA_JARS": jars,
        "COLUMNS": str(width),
        "TERM": "xterm-256color",
    }


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""
