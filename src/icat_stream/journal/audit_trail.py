"""Who did what with records by hand, and why: written before it is done."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    String,
    Table,
    Text,
    insert,
    select,
    update,
)

from .tables import metadata

_LONGEST = 2000

acts = Table(
    "acts",
    metadata,
    # SQLite gives numbers to its own type alone.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("began_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("user", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("records", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("result", Text),
)


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person did.

    Parameters
    ----------
    number
        Its own.
    began_at, ended_at
        When, milliseconds; ``None``: it is under way, or nobody knows how it ended.
    user
        ICAT's name of the person.
    action
        Such as ``replay``.
    subject
        What it was done to.
    records
        How many the person was shown.
    reason
        As the person gave it.
    result
        What came of it; ``None`` as long as it has not ended.
    """

    number: int
    began_at: int
    ended_at: int | None
    user: str
    action: str
    subject: str
    records: int
    reason: str
    result: str | None


class AuditTrail:
    """The acts of people; its methods raise as those of the journal.

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

    def begin(
        self, *, user: str, action: str, subject: str, records: int, reason: str
    ) -> int:
        """Note that a person is about to do something; return the act's number."""
        values = {
            "began_at": _now(),
            "user": user,
            "action": action,
            "subject": subject[:_LONGEST],
            "records": records,
            "reason": reason[:_LONGEST],
        }
        with self._write() as connection:
            key = connection.execute(insert(acts).values(values)).inserted_primary_key
        return int(key[0]) if key is not None else 0

    def end(self, number: int, result: str) -> None:
        """Note what came of an act."""
        statement = update(acts).where(acts.c.number == number)
        with self._write() as connection:
            connection.execute(
                statement.values(ended_at=_now(), result=result[:_LONGEST])
            )

    def newest(self, limit: int) -> list[Act]:
        """Return the newest acts, the newest first."""
        query = select(acts).order_by(acts.c.number.desc()).limit(limit)
        with self._read() as connection:
            return [Act(**row) for row in connection.execute(query).mappings()]


def _now() -> int:
    return time.time_ns() // 1_000_000
