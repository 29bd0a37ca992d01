"""The embedded ICAT in a process of its own."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Server:
    """The embedded ICAT, and how to break it."""

    url: str
    admin: str

    def fault(self, kind: str, **details: Any) -> None:
        """Order a fault."""
        body = json.dumps({"kind": kind, **details}).encode()
        request = urllib.request.Request(
            f"{self.admin}/faults", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()

    def calls(self) -> dict[str, int]:
        """Return how often each operation was asked for."""
        with urllib.request.urlopen(f"{self.admin}/calls", timeout=30) as answer:
            return dict(json.loads(answer.read()))

    def mend(self) -> None:
        """End all faults."""
        self.fault("clear")


def start_icat(folder: Path, *options: str, **others: str) -> Iterator[Server]:
    """Start an embedded ICAT, yield it, and end it; others are accounts beside root."""
    accounts, ready = folder / "accounts.json", folder / "ready.json"
    accounts.write_text(
        json.dumps({"simple": {"root": "secret", **others}, "anon": {}})
    )
    command = [sys.executable, "-m", "icat_stream.sandbox.icat", "--port", "0"]
    command += ["--admin-port", "0", "--database", str(folder / "icat.db")]
    command += ["--accounts", str(accounts), "--ready", str(ready), *options]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 120
        while not ready.exists():
            assert process.poll() is None, "the embedded ICAT ended"
            assert time.monotonic() < deadline, "the embedded ICAT does not start"
            time.sleep(0.02)
        facts = json.loads(ready.read_text())
        yield Server(facts["url"], facts["admin"])
    finally:
        process.terminate()
        process.wait(120)
