"""P9: a nightly full synchronisation in which nothing has changed.

Ours: decode, plan, claim in the journal, a snapshot at a time; and identical messages,
which are recalled a batch at a time.  Baseline, in the same
run and alternating: the same message, and one search in the catalogue that finds it as
it should be.  ICAT proper answers 200 to 300 searches a second; the embedded one's rate
is among the results.
"""

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

from icat_stream.app import load_handler
from icat_stream.catalogue import Catalogue, CatalogueSession
from icat_stream.config import (
    IcatSettings,
    IdsSettings,
    JournalSettings,
    PolicySettings,
    Settings,
)
from icat_stream.handlers import HandlerContext
from icat_stream.ids import Ids
from icat_stream.ingest import IngestConsumer, NewestWins
from icat_stream.journal import Journal
from icat_stream.records import Applied, Coordinates, OutcomeKind, Plan, Record
from measuring import Result, run

FACILITY = "Muster"
LANES = 4
BATCH = 1_000
NIGHT = 1_000_000


def measure(quick: bool) -> list[Result]:
    """Return unchanged snapshots against a search each."""
    count, rounds = (500, 5) if quick else (5_000, 7)
    found = []
    with tempfile.TemporaryDirectory() as name, facility(Path(name)) as url:
        journal = Journal(JournalSettings(url=f"sqlite:///{name}/journal.db"))
        journal.create()
        for kind, make in (("users", user), ("investigations", proposal)):
            messages = [make(number) for number in range(count)]
            found += compare(url, journal, kind, messages, rounds)
        journal.close()
    return found


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


def compare(
    url: str, journal: Journal, kind: str, messages: list[dict[str, Any]], rounds: int
) -> list[Result]:
    """Write snapshots, and send them again and again, with claims and with searches."""
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
    guard = NewestWins(journal.newest, FACILITY)
    consumer = IngestConsumer(
        handler=handler,
        catalogue=catalogue,
        ids=Ids(IdsSettings()),
        files=None,
        systems={},
        journal=journal,
        facility=FACILITY,
    )
    offset = 0

    def published(message: dict[str, Any], number: int) -> Record:
        at = Coordinates(kind, 0, number)
        return Record(
            at=at,
            timestamp=number,
            key=None,
            value=json.dumps(message).encode(),
            origin=at,
            origin_timestamp=number,
        )

    def plan(message: dict[str, Any], number: int) -> tuple[Plan, Record]:
        record = published(message, number)
        return handler.plan(handler.decode(record), None), record

    def write(lane: CatalogueSession, message: dict[str, Any], number: int) -> None:
        consumer.handle(published(message, number))

    def claim(lane: CatalogueSession, message: dict[str, Any], number: int) -> None:
        guarded = guard.bring(*plan(message, number), no_call)
        assert guarded.applied.kind is OutcomeKind.UNCHANGED

    def search(lane: CatalogueSession, message: dict[str, Any], number: int) -> None:
        assert lane.apply(plan(message, number)[0]).kind is OutcomeKind.UNCHANGED

    def timed(step: Callable[[CatalogueSession, dict[str, Any], int], None]) -> float:
        nonlocal offset
        start, offset = offset, offset + len(messages)
        ready = [catalogue.new_session() for _ in range(LANES)]

        def work(index: int) -> None:
            for number in range(index, len(messages), LANES):
                step(ready[index], messages[number], start + number)

        for lane in ready:
            lane.ping()
        begun = time.perf_counter()
        with ThreadPoolExecutor(LANES) as pool:
            list(pool.map(work, range(LANES)))
        took = time.perf_counter() - begun
        for lane in ready:
            lane.close()
        return len(messages) / took

    def recalled() -> float:
        nonlocal offset
        start, offset = offset, offset + len(messages)
        records = [published(m, start + n) for n, m in enumerate(messages)]
        begun = time.perf_counter()
        for begin in range(0, len(records), BATCH):
            outcomes = consumer.recall(records[begin : begin + BATCH])
            assert all(each and each.events for each in outcomes)
        return len(messages) / (time.perf_counter() - begun)

    timed(write)
    again, ours, theirs = [], [], []
    for _ in range(rounds):
        again.append(recalled())
        theirs.append(timed(search))
    for number in range(rounds):
        # These are other messages to the journal: from now on nothing is recalled.
        ours.append(timed(claim))
        print(
            f"  {kind}: {again[number]:.0f}/s, {ours[-1]:.0f}/s,"
            f" {theirs[number]:.0f}/s",
            file=sys.stderr,
        )
    other = statistics.median(theirs)

    def result(what: str, rates: list[float], wanted: str, note: str) -> Result:
        mine = statistics.median(rates)
        return Result(
            number="P9",
            what=f"{len(messages):,} {what} {kind}",
            ours=f"{mine:,.0f}/s",
            baseline=f"a search each, {LANES} lanes, {other:,.0f}/s",
            ratio=statistics.median(a / b for a, b in zip(rates, theirs, strict=True)),
            wanted=wanted,
            note=f"{NIGHT:,} in {NIGHT / mine / 60:.0f} minutes, {note}",
        )

    return [
        result("unchanged", ours, "≥ 10", f"one at a time, {LANES} lanes"),
        result("identical", again, "≥ 50", f"{BATCH} at a time, one thread"),
    ]


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
    run(__doc__, measure)
