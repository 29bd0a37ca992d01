"""No process outlives a run of the tests, however it ends."""

import atexit
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import pytest

# From linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 8.0


def pytest_configure(config: pytest.Config) -> None:
    """Take in the orphans of all workers and of their tests; end with SIGTERM, too."""
    if hasattr(config, "workerinput") or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # As Ctrl-C: what was found until then is reported.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    atexit.register(_end_all)
    if config.getoption("numprocesses", None):
        config.pluginmanager.register(_Workers())


class _Workers:
    """Those that are in the middle of a test would be waited for in vain."""

    def pytest_keyboard_interrupt(self) -> None:
        _end_all()


def _end_all() -> None:
    """End what is left: workers first, whose tests would start more."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _PATIENCE
        asked: set[int] = set()
        while (left := _descendants(os.getpid())) and time.monotonic() < deadline:
            for pid in left - asked:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            asked |= left
            time.sleep(0.05)


def _descendants(pid: int) -> set[int]:
    """Return the processes below one; zombies have ended."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text(encoding="ascii", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        # The name, in parentheses, may hold anything.
        state, parent = text.rpartition(")")[2].split()[:2]
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    found: set[int] = set()
    more = {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more}
        found |= more
    return found
