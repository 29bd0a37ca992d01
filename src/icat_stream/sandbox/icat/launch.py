"""Starting the server as a process, and stopping it."""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STARTS_WITHIN = 120.0
_STOPS_WITHIN = 10.0


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Parameters
    ----------
    url
        Where clients come.
    admin
        Where faults are ordered.
    pid
        Its process.
    """

    url: str
    admin: str
    pid: int

    def fault(self, kind: str, **details: Any) -> None:
        """Order a fault.

        Parameters
        ----------
        kind
            What is to go wrong.
        details
            ``seconds``, ``count``, ``match``, ``status``.
        """
        order = json.dumps({"kind": kind, **details}).encode()
        # The address is the server's own, never a file.
        request = urllib.request.Request(f"{self.admin}/faults", order)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            answer.read()


@contextmanager
def running(
    accounts: Mapping[str, Mapping[str, str]],
    *,
    roots: Sequence[str] = (),
    database: Path | None = None,
    options: Sequence[str] = (),
) -> Iterator[Running]:
    """Run a server in a process of its own, on free ports.

    Parameters
    ----------
    accounts
        Passwords by user by authenticator.
    roots
        Users who may do everything; by default ``simple/root`` and some more.
    database
        Its file; in memory without it.
    options
        Further options of ``python -m icat_stream.sandbox.icat``.
    """
    with tempfile.TemporaryDirectory(prefix="icat-") as folder:
        ready, passwords = Path(folder, "ready.json"), Path(folder, "accounts.json")
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps(accounts), "utf-8")
        command = [
            sys.executable,
            "-m",
            "icat_stream.sandbox.icat",
            "--admin-port",
            "0",
        ]
        command += ["--accounts", str(passwords), "--ready", str(ready)]
        command += [word for root in roots for word in ("--root", root)]
        command += ["--database", str(database)] if database else []
        process = subprocess.Popen([*command, *options])  # noqa: S603
        try:
            yield Running(**_wait(process, ready))
        finally:
            _stop(process)


def _wait(process: "subprocess.Popen[bytes]", ready: Path) -> dict[str, Any]:
    end = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < end:
        if ready.exists():
            facts: dict[str, Any] = json.loads(ready.read_text("utf-8"))
            return facts
        if process.poll() is not None:
            raise RuntimeError(f"the ICAT server ended with {process.returncode}")
        time.sleep(0.01)
    raise RuntimeError(f"the ICAT server was not ready after {_STARTS_WITHIN:g} s")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
