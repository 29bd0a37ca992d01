"""A nightly full synchronisation in which nothing has changed, a snapshot at a time.

Ours: decode, plan, claim in the journal.  Baseline, in the same run and alternating:
the same message, and one search in the catalogue that finds it as it should be.
Prints medians and the ratio.  ``--journal`` takes an SQLAlchemy URL.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import icat.client

from icat_stream.catalogue import Applied, Catalogue, Lane
from icat_stream.config import IcatSettings, JournalSettings, PolicySettings, Settings
from icat_stream.handlers import HandlerContext, load_handler
from icat_stream.ingest.guard import Guard
from icat_stream.journal import Journal
from icat_stream.records import Coordinates, OutcomeKind, Plan, Record

FACILITY = "Muster"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snapshots", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--journal")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, facility(Path(name)) as url:
        journal = Journal(
            JournalSettings(url=options.journal or f"sqlite:///{name}/journal.db")
        )
        journal.create()
        for kind, messages in (
            ("users", [user(n) for n in range(options.snapshots)]),
            ("investigations", [proposal(n) for n in range(options.snapshots)]),
        ):
            measure(url, journal, kind, messages, options.rounds, options.lanes)
        journal.close()


@contextmanager
def facility(folder: Path) -> Iterator[str]:
    accounts, ready = folder / "accounts.json", folder / "ready.json"
    accounts.write_text(json.dumps({"simple": {"root": "secret"}}))
    command = [sys.executable, "-m", "icat_stream.sandbox.icat", "--port", "0"]
    command += ["--database", str(folder / "icat.db"), "--accounts", str(accounts)]
    process = subprocess.Popen([*command, "--ready", str(ready)])
    try:
        while not ready.exists():
            if process.poll() is not None:
                raise SystemExit("the embedded ICAT ended")
            time.sleep(0.02)
        url = json.loads(ready.read_text())["url"]
        client = icat.client.Client(url)
        client.login("simple", {"username": "root", "password": "secret"})
        one = client.new("Facility", name=FACILITY)
        one.create()
        client.new("InvestigationType", name="experiment", facility=one).create()
        client.createMany([client.new("User", name=f"m{n}") for n in range(20)])
        client.logout()
        yield url
    finally:
        icat.client.Client.cleanupall()
        process.terminate()
        process.wait(10)


def measure(
    url: str,
    journal: Journal,
    kind: str,
    messages: list[dict[str, Any]],
    rounds: int,
    lanes: int,
) -> None:
    settings = IcatSettings(url=url, username="root", password="secret")
    catalogue = Catalogue(settings, FACILITY, PolicySettings())
    handler = load_handler(kind)(
        HandlerContext(
            settings=Settings(
                facility=FACILITY, consumers={kind: {"handler": kind, "topics": ["t"]}}
            ),
            files=None,
        )
    )
    guard = Guard(journal.newest, FACILITY)
    offset = 0

    def plan(message: dict[str, Any], number: int) -> tuple[Plan, Record]:
        at = Coordinates(kind, 0, number)
        record = Record(
            at=at,
            timestamp=number,
            key=None,
            value=json.dumps(message).encode(),
            origin=at,
            origin_timestamp=number,
        )
        return handler.plan(handler.decode(record), None), record

    def write(lane: Lane, message: dict[str, Any], number: int) -> None:
        guard.bring(*plan(message, number), lane.apply)

    def claim(lane: Lane, message: dict[str, Any], number: int) -> None:
        guarded = guard.bring(*plan(message, number), no_call)
        assert guarded.applied.kind is OutcomeKind.UNCHANGED

    def search(lane: Lane, message: dict[str, Any], number: int) -> None:
        assert lane.apply(plan(message, number)[0]).kind is OutcomeKind.UNCHANGED

    def timed(step: Callable[[Lane, dict[str, Any], int], None]) -> float:
        nonlocal offset
        start, offset = offset, offset + len(messages)
        ready = [catalogue.lane() for _ in range(lanes)]

        def work(index: int) -> None:
            for number in range(index, len(messages), lanes):
                step(ready[index], messages[number], start + number)

        for lane in ready:
            lane.ping()
        begun = time.perf_counter()
        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(work, range(lanes)))
        took = time.perf_counter() - begun
        for lane in ready:
            lane.close()
        return took / len(messages) * 1000

    first = timed(write)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(timed(claim))
        theirs.append(timed(search))
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(
        f"{kind}: {len(messages)} unchanged, {lanes} lanes: {mine:.2f} ms each, with a"
        f" search {other:.2f} ms, ratio {other / mine:.1f} (written first: {first:.2f})"
    )


def no_call(plan: Plan) -> Applied:
    raise AssertionError("an unchanged snapshot costs no call")


def user(number: int) -> dict[str, Any]:
    return {
        "first_name": "Nerissa",
        "last_name": f"Bournemill {number}",
        "email": f"n{number}@example.org",
        "affiliation": {"name": "Polder University", "unit": "Physics"},
        "user_list": [{"username": f"nb{number}"}],
    }


def proposal(number: int) -> dict[str, Any]:
    return {
        "name": f"26-{number}",
        "title": "Domains",
        "type": "experiment",
        "start_date": "2026-03-01T08:00:00",
        "end_date": "2026-03-02T08:00:00",
        "user_list": [{"username": f"m{n}", "role": "Participant"} for n in range(20)],
    }


if __name__ == "__main__":
    main()
