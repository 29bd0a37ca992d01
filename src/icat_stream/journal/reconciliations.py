"""What was found when disk, catalogue and journal were compared."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Integer,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from .storable_text import storable
from .tables import metadata

# The newest are kept, the others go with all that they found.
_KEPT = 20

reconciliations = Table(
    "reconciliations",
    metadata,
    # SQLite gives numbers to its own type alone.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("began_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("compared", Text, nullable=False),
    # How many of each kind, those included that were too many to be kept.
    Column("counts", JSON, nullable=False),
)
findings = Table(
    "findings",
    metadata,
    Column("reconciliation", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("what", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("details", JSON, nullable=False),
)


@dataclass(frozen=True, slots=True)
class ReconciliationRun:
    """A comparison that was made.

    Parameters
    ----------
    number
        Its own.
    began_at, ended_at
        When, milliseconds; ``None``: it is under way, or did not come to its end.
    compared
        What of the facility, in words.
    counts
        How many findings of each kind, up to now if it has not ended.
    """

    number: int
    began_at: int
    ended_at: int | None
    compared: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class KeptFinding:
    """Something that did not fit.

    Parameters
    ----------
    kind
        What is wrong.
    number
        Within its run and kind, from 0.
    what
        The file, dataset or announcement.
    text
        What was found and what was expected.
    details
        The same for programs.
    """

    kind: str
    number: int
    what: str
    text: str
    details: Mapping[str, Any]


class Reconciliations:
    """The newest comparisons; its methods raise as those of the journal.

    Parameters
    ----------
    write, read
        Begin a transaction.
    """

    def __init__(
        self,
        write: Callable[[], AbstractContextManager[Connection]],
        read: Callable[[], AbstractContextManager[Connection]],
    ) -> None:
        self._write = write
        self._read = read

    def begin(self, compared: str) -> int:
        """Note that a comparison begins, and forget the oldest; return its number."""
        values = {"began_at": _now(), "compared": storable(compared), "counts": {}}
        c = reconciliations.c
        with self._write() as connection:
            key = connection.execute(
                insert(reconciliations).values(values)
            ).inserted_primary_key
            newest = select(c.number).order_by(c.number.desc()).limit(_KEPT)
            oldest = min(connection.scalars(newest))
            connection.execute(delete(reconciliations).where(c.number < oldest))
            connection.execute(
                delete(findings).where(findings.c.reconciliation < oldest)
            )
        return int(key[0]) if key is not None else 0

    def add(
        self, number: int, found: Sequence[KeptFinding], counts: Mapping[str, int]
    ) -> None:
        """Keep what a comparison has found, and how much there was up to now."""
        rows = [
            {
                "reconciliation": number,
                "kind": each.kind,
                "number": each.number,
                "what": storable(each.what),
                "text": storable(each.text),
                "details": {
                    name: storable(value) if isinstance(value, str) else value
                    for name, value in each.details.items()
                },
            }
            for each in found
        ]
        with self._write() as connection:
            if rows:
                connection.execute(insert(findings), rows)
            connection.execute(_of(number).values(counts=dict(counts)))

    def end(self, number: int) -> None:
        """Note that a comparison came to its end."""
        with self._write() as connection:
            connection.execute(_of(number).values(ended_at=_now()))

    def newest(self) -> list[ReconciliationRun]:
        """Return the comparisons that are kept, the newest first."""
        query = select(reconciliations).order_by(reconciliations.c.number.desc())
        with self._read() as connection:
            rows = connection.execute(query.limit(_KEPT)).mappings()
            return [ReconciliationRun(**row) for row in rows]

    def findings(
        self, number: int, kind: str, *, after: int = -1, limit: int
    ) -> list[KeptFinding]:
        """Return findings of one kind, in the order in which they were found.

        Parameters
        ----------
        number
            Of the comparison.
        kind
            Of the findings.
        after
            Number of the last one that is not meant.
        limit
            At most so many.
        """
        c = findings.c
        query = (
            select(c.kind, c.number, c.what, c.text, c.details)
            .where(c.reconciliation == number, c.kind == kind, c.number > after)
            .order_by(c.number)
            .limit(limit)
        )
        with self._read() as connection:
            return [KeptFinding(*row) for row in connection.execute(query)]


def _of(number: int) -> Any:
    return update(reconciliations).where(reconciliations.c.number == number)


def _now() -> int:
    return time.time_ns() // 1_000_000
