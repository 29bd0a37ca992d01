"""The commands as their users run them, each in a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

BIN = Path(sys.executable).parent
_SERVER = Path(__file__).with_name("forking.py")


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Commands:
    """Runs commands in forks of a process that has imported them.

    Parameters
    ----------
    modules
        What else it imports: what commands import later, or packages that are
        commands themselves, run by their own names.
    """

    def __init__(self, *modules: str) -> None:
        self._channel, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", str(_SERVER), str(theirs.fileno()), *modules]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._early = _told_early(os.environ)

    def run(self, name: str, *arguments: str, timeout: float, **extra: str) -> Done:
        """Run a command to its end, with some variables set."""
        command = [str(BIN / name), *arguments]
        # A pipe has no width, whatever the one who started the tests has set.
        widths = {"COLUMNS", "LINES"}
        given = {k: v for k, v in os.environ.items() if k not in widths}
        environment = {**given, **extra}
        if _told_early(environment) != self._early:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                env=environment,
            )
            return Done(done.returncode, done.stdout, done.stderr)
        asked = {
            "command": command,
            "environment": environment,
            "folder": str(Path.cwd()),
        }
        with TemporaryFile() as out, TemporaryFile() as err:
            files = [out.fileno(), err.fileno()]
            socket.send_fds(self._channel, [json.dumps(asked).encode()], files)
            self._channel.settimeout(60)
            pid = int(self._channel.recv(100))
            self._channel.settimeout(timeout)
            try:
                code = int(self._channel.recv(100))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._channel.settimeout(60)
                self._channel.recv(100)
                raise
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode())
        return Done(code, *said)

    def close(self) -> None:
        """End the process."""
        self._channel.close()
        self._process.wait(30)


def _told_early(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what matters before a command begins."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PYTHON") or name == "ICAT_STREAM_FAULT"
    }
