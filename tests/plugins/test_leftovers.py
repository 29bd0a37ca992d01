"""A run of the tests that is ended leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ENDLESS = """
import subprocess
import time
from pathlib import Path


def test_it():
    # An orphan with a session of its own, as a facility that was detached.
    subprocess.run("setsid sleep 1000 & echo $! > pid", shell=True, check=True)
    Path("pid").rename("begun")
    time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are taken in on Linux")
@pytest.mark.parametrize(
    ("workers", "number"), [(0, signal.SIGINT), (1, signal.SIGTERM)]
)
def test_not_even_orphans(tmp_path: Path, workers: int, number: int) -> None:
    (tmp_path / "test_endless.py").write_text(ENDLESS)
    command = ["-p", "plugins.leftovers", "-p", "no:cacheprovider", "-n", str(workers)]
    with subprocess.Popen(
        # A shell that runs the tests in the background lets nobody hear of Ctrl-C.
        ["env", "--default-signal=INT", sys.executable, "-m", "pytest", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        begun = tmp_path / "begun"
        while not begun.exists():
            assert run.poll() is None
            time.sleep(0.05)
        orphan = int(begun.read_text())
        assert _runs(orphan)
        run.send_signal(number)
        assert run.wait(240) == pytest.ExitCode.INTERRUPTED
    assert not _runs(orphan)


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
