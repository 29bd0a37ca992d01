"""What the benchmarks share: results, alternating runs, a broker, a catalogue."""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icat_stream.sandbox.kafka import JavaBroker

PATIENCE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the table.

    Parameters
    ----------
    number
        Of the claim, ``P3``.
    what
        Was measured.
    ours, baseline
        With their units, for people.
    ratio
        Of the two.
    wanted
        The ratio to reach, ``≥ 0.8``; empty where there is none.
    note
        What else one has to know.
    """

    number: str
    what: str
    ours: str
    baseline: str
    ratio: float
    wanted: str = ""
    note: str = ""

    @property
    def reached(self) -> str:
        """Whether it was, in a word."""
        if not self.wanted:
            return ""
        sign, _, number = self.wanted.partition(" ")
        limit = float(number)
        holds = self.ratio >= limit if sign == "≥" else self.ratio <= limit
        return "yes" if holds else "**no**"


def show(results: list[Result]) -> None:
    """Print results, one a paragraph."""
    for each in results:
        wanted = f" (wanted {each.wanted}: {each.reached})" if each.wanted else ""
        print(f"{each.number}  {each.what}")
        print(f"    {each.ours}  against  {each.baseline}")
        print(f"    ratio {each.ratio:.3g}{wanted}")
        if each.note:
            print(f"    {each.note}")


def run(description: str | None, measure: Callable[[bool], list[Result]]) -> None:
    """Be the ``main`` of a benchmark: measure and print."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    # What was started must be ended, also by who is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser.add_argument("--quick", action="store_true", help="a minute or two")
    show(measure(parser.parse_args().quick))


def alternate(
    ways: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Measure ways in turn: what disturbs the machine disturbs them all."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        names = list(ways) if turn % 2 == 0 else list(reversed(ways))
        for name in names:
            found[name].append(ways[name]())
            print(f"  {name}: {found[name][-1]:.4g}", file=sys.stderr, flush=True)
    return found


def ratio(ours: list[float], baseline: list[float]) -> float:
    """Return the median of the ratios of neighbouring runs."""
    return statistics.median(a / b for a, b in zip(ours, baseline, strict=True))


def child(module: str, **options: Any) -> dict[str, Any]:
    """Run one way of a benchmark in a fresh process; return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, module, "--way", json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def resident(pid: int) -> float:
    """Return a process's memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {pid} has ended")


@contextmanager
def broker(**properties: str) -> Iterator[JavaBroker]:
    """Start a real broker."""
    with tempfile.TemporaryDirectory() as folder:
        kafka = JavaBroker(Path(folder), properties=properties, tied=True)
        kafka.start()
        try:
            yield kafka
        finally:
            kafka.kill()
