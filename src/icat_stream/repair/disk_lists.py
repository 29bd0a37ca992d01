"""Long lists, of files, of entries and of dead letters, in a database on disk."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from icat_stream.records import Coordinates

# SQLite's own memory, in KiB; everything else is on disk.
_CACHE = -32_000
_BATCH = 5_000


class Pair(NamedTuple):
    """A location with what the disk has there, and what the catalogue says.

    Sizes and times are ``None`` where there is nothing.
    """

    location: str
    size: int | None
    mtime: int | None
    entry: int | None
    entry_size: int | None
    entry_mtime: int | None
    dataset: int | None


class Comparison:
    """Takes files and entries in any order, and pairs them, in flat memory.

    Parameters
    ----------
    folder
        Where its database may be; it is removed by whoever made the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "comparison.db", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            f"PRAGMA cache_size={_CACHE}",
            "PRAGMA temp_store=FILE",
            "CREATE TABLE files (location TEXT, size INTEGER, mtime INTEGER)",
            "CREATE TABLE entries (location TEXT, id INTEGER, size INTEGER,"
            " mtime INTEGER, dataset INTEGER)",
            # What was done about the last dead letter of a group's record.
            "CREATE TABLE letters (of TEXT, topic TEXT, part INTEGER, at INTEGER,"
            " time INTEGER, rejected INTEGER, done TEXT,"
            " PRIMARY KEY (of, topic, part, at, time)) WITHOUT ROWID",
            "BEGIN",
        ):
            self._database.execute(statement)
        self._files: list[tuple[str, int, int]] = []
        self._entries: list[tuple[str, int, int | None, int | None, int]] = []

    def add_file(self, location: str, size: int, mtime: int) -> None:
        """Add a file that is there."""
        self._files.append((location, size, mtime))
        if len(self._files) >= _BATCH:
            self._flush()

    def add_entry(
        self, location: str, number: int, size: int | None, mtime: int | None, ds: int
    ) -> None:
        """Add a datafile that is catalogued."""
        self._entries.append((location, number, size, mtime, ds))
        if len(self._entries) >= _BATCH:
            self._flush()

    def differing(self) -> Iterator[Pair]:
        """Yield what is on one side only, or differs in size or in seconds."""
        self._flush()
        for table in ("files", "entries"):
            self._database.execute(f"CREATE INDEX {table}_at ON {table} (location)")
        columns = "l.size, l.mtime, e.id, e.size, e.mtime, e.dataset"
        yield from map(
            Pair._make,
            self._database.execute(
                f"SELECT l.location, {columns} FROM files l"  # noqa: S608
                " LEFT JOIN entries e ON e.location = l.location"
                " WHERE e.id IS NULL OR e.size IS NOT l.size"
                " OR (e.mtime IS NOT NULL AND e.mtime <> l.mtime)"
                " ORDER BY l.location"
            ),
        )
        yield from map(
            Pair._make,
            self._database.execute(
                f"SELECT e.location, {columns} FROM entries e"  # noqa: S608
                " LEFT JOIN files l ON l.location = e.location"
                " WHERE l.location IS NULL ORDER BY e.location"
            ),
        )

    def folders(self) -> Iterator[str]:
        """Yield the folders of all entries' locations, some of them repeatedly."""
        self._flush()
        last = None
        for (location,) in self._database.execute(
            "SELECT location FROM entries ORDER BY location"
        ):
            folder = location.rpartition("/")[0]
            if folder != last:
                last = folder
                yield folder

    def add_letter(
        self,
        group: str,
        origin: Coordinates,
        time: int,
        rejected: int,
        done: str | None,
    ) -> None:
        """Add a dead letter; of those of one record the one rejected last counts.

        Parameters
        ----------
        group
            That rejected it.
        origin, time
            Where and when the record was published.
        rejected
            When it was, milliseconds.
        done
            What somebody did about it.
        """
        self._database.execute(
            "INSERT INTO letters VALUES (?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET"
            " rejected = excluded.rejected, done = excluded.done"
            " WHERE excluded.rejected >= letters.rejected",
            (group, *origin, time, rejected, done),
        )

    def letter(self, group: str, origin: Coordinates, time: int) -> str | None:
        """Return what was done about a record's last dead letter."""
        found = self._database.execute(
            "SELECT done FROM letters WHERE (of, topic, part, at, time) = (?,?,?,?,?)",
            (group, *origin, time),
        ).fetchone()
        return None if found is None else found[0]

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _flush(self) -> None:
        self._database.executemany("INSERT INTO files VALUES (?,?,?)", self._files)
        self._database.executemany(
            "INSERT INTO entries VALUES (?,?,?,?,?)", self._entries
        )
        self._files.clear()
        self._entries.clear()
