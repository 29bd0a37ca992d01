"""P11: what ``policies.names: ignore_case`` costs where there are many investigations.

On a catalogue whose database tells letters apart (the embedded ICAT with
``--match-case``): a look-up of an investigation that is spelled exactly so, the first
one in other letters (``LOWER``, by no index), the next ones, whose spelling is known,
and first ones where the database has an index on ``LOWER(name)``.
"""

import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import icat.client

from icat_stream.catalogue import Catalogue, CatalogueSession
from icat_stream.config import IcatSettings, PolicySettings
from measuring import Result, run

FACILITY = "Muster"


def measure(quick: bool) -> list[Result]:
    """Return look-ups in other letters against exact ones."""
    count = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as name, catalogue(Path(name), count) as url:
        settings = IcatSettings(url=url, username="root", password="secret", timeout=90)
        policies = PolicySettings(names="ignore_case")
        session = Catalogue(settings, FACILITY, policies).new_session()
        session.investigations("A-1")
        numbers = range(10, count, count // 20)
        exact = median(session, [f"A-{n}" for n in numbers])
        first = median(session, [f"a-{n}" for n in numbers])
        known = median(session, [f"a-{n}" for n in numbers])
        absent = median(session, [f"b-{n}" for n in numbers])
        index(Path(name) / "icat.db")
        indexed = median(session, [f"a-{n + 1}" for n in numbers])
        session.close()
    note = f"one that is not there at all {absent * 1000:.0f} ms"
    return [
        Result(
            number="P11",
            what=f"investigation in other letters, of {count:,}, {when}",
            ours=f"{seconds * 1000:.1f} ms",
            baseline=f"spelled exactly so {exact * 1000:.1f} ms",
            ratio=seconds / exact,
            note=note,
        )
        for when, seconds in (
            ("the first time", first),
            ("known", known),
            ("by an index", indexed),
        )
    ]


def median(session: CatalogueSession, names: list[str]) -> float:
    return statistics.median(map(timed(session), names))


def timed(session: CatalogueSession) -> Callable[[str], float]:
    def took(name: str) -> float:
        begin = time.perf_counter()
        found = session.investigations(name)
        end = time.perf_counter()
        assert len(found) == (0 if name.startswith("b") else 1), name
        return end - begin

    return took


@contextmanager
def catalogue(folder: Path, count: int) -> Iterator[str]:
    """Run an ICAT with so many investigations."""
    accounts, ready = folder / "accounts.json", folder / "ready.json"
    accounts.write_text(json.dumps({"simple": {"root": "secret"}}))
    database = folder / "icat.db"
    command = [sys.executable, "-m", "icat_stream.sandbox.icat", "--match-case"]
    command += ["--database", database, "--accounts", accounts, "--ready", ready]
    process = subprocess.Popen(command)
    try:
        while not ready.exists():
            if process.poll() is not None:
                raise SystemExit("the embedded ICAT ended")
            time.sleep(0.02)
        url = json.loads(ready.read_text())["url"]
        client = icat.client.Client(url)
        client.login("simple", {"username": "root", "password": "secret"})
        place = client.new("Facility", name=FACILITY)
        place.create()
        kind = client.new("InvestigationType", name="experiment", facility=place)
        kind.create()
        values = {"visitId": "1", "title": "A", "facility": place, "type": kind}
        client.new("Investigation", name="A-1", **values).create()
        client.logout()
        multiply(database, count)
        yield url
    finally:
        process.terminate()
        process.wait()


def multiply(database: Path, count: int) -> None:
    """Copy the one investigation that is there, under other names."""
    connection = sqlite3.connect(database)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(INVESTIGATION)")]
    others = ", ".join(c for c in columns if c not in ("id", "name"))
    with connection:
        connection.execute(
            "WITH RECURSIVE n(n) AS"
            " (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < ?)"
            f" INSERT INTO INVESTIGATION (id, name, {others})"
            f" SELECT n, 'A-' || n, {others} FROM INVESTIGATION, n WHERE id = 1",
            [count],
        )
    connection.close()


def index(database: Path) -> None:
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("CREATE INDEX letters ON INVESTIGATION (LOWER(name))")
    connection.close()


if __name__ == "__main__":
    run(__doc__, measure)
