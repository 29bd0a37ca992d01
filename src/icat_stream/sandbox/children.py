"""The processes of an embedded facility: started, watched, ended, never left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .folder import Folder, SandboxError

_POLL = 0.01


class Child:
    """A process of ours.

    Parameters
    ----------
    name
        For people; its log is named after it.
    command
        Arguments after ``python``.
    folder
        Of the facility.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Folder) -> None:
        self.name = name
        self.log = folder.log / f"{name}.log"
        self._ready = folder.run / f"{name}.json"
        self._ready.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, *command, "--ready", str(self._ready)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the supervisor, who ends its children in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ready(self, timeout: float = 120.0) -> dict[str, Any]:
        """Wait until it says where it can be reached.

        Parameters
        ----------
        timeout
            Seconds to wait.

        Raises
        ------
        SandboxError
            It ended, or did not come up in time.
        """
        deadline = time.monotonic() + timeout
        while not self._ready.exists():
            code = self._process.poll()
            if code is not None:
                raise SandboxError(
                    f"{self.name} ended with {code} while starting;"
                    f" the end of {self.log}:\n{log_end(self.log)}"
                )
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"{self.name} did not come up within {timeout:.0f} s;"
                    f" the end of {self.log}:\n{log_end(self.log)}"
                )
            time.sleep(_POLL)
        facts: dict[str, Any] = json.loads(self._ready.read_text("utf-8"))
        return facts

    def stop(self, timeout: float = 8.0) -> None:
        """End it; without mercy if it takes too long."""
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ready.unlink(missing_ok=True)


def has_ended(pid: int) -> bool:
    """Tell whether a child of this process has ended, without collecting it."""
    try:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, pid, flags) is not None
    except ChildProcessError:
        return True


def log_end(log: Path, characters: int = 2000) -> str:
    """Return the end of a log."""
    if not log.exists():
        return "(there is no log)"
    return log.read_text(encoding="utf-8", errors="replace")[-characters:].strip()


class Register:
    """Remembers children on disk, for the case that their supervisor is killed.

    Parameters
    ----------
    folder
        Of the facility.
    """

    def __init__(self, folder: Folder) -> None:
        self._file = folder.run / "children.json"
        self._folder = folder

    def add(self, pid: int) -> None:
        """Remember a child."""
        known = [*self._read(), {"pid": pid, "born": _born(pid)}]
        self._folder.write(self._file, json.dumps(known))

    def clear(self) -> None:
        """Forget all of them: they have ended."""
        self._file.unlink(missing_ok=True)

    def end_orphans(self) -> int:
        """End children whose supervisor is gone, and say how many there were.

        A process counts as the child only if it is as old as the child.
        """
        orphans = [
            entry["pid"]
            for entry in self._read()
            if entry["born"] is not None and _born(entry["pid"]) == entry["born"]
        ]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in orphans:
                _signal(pid, number)
            deadline = time.monotonic() + 5
            while any(map(_born, orphans)) and time.monotonic() < deadline:
                time.sleep(_POLL)
            if not any(map(_born, orphans)):
                break
        self.clear()
        return len(orphans)

    def _read(self) -> list[dict[str, Any]]:
        if not self._file.exists():
            return []
        entries: list[dict[str, Any]] = json.loads(self._file.read_text("utf-8"))
        return entries


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _born(pid: int) -> int | None:
    """Return when a process began, in ticks after boot; ``None`` once it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold anything.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])
