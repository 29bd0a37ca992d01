"""How many rows there are, and what waits, without looking at each row."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Connection, delete, func, select

from .reason_kinds import reason_kind
from .tables import tallies, waiting

QUARTER_MS = 900_000
# Reasons that differ in names and numbers only are one in the end.
_MOST_TEXTS = 10_000
# What waits is asked for again and again.
_reason = lru_cache(2 * _MOST_TEXTS)(reason_kind)


@dataclass(frozen=True, slots=True)
class Interval:
    """How many rows of one outcome a quarter of an hour has.

    Parameters
    ----------
    begin
        Of the time, milliseconds.
    outcome
        Of all of them.
    rows
        How many.
    """

    begin: int
    outcome: str
    rows: int


@dataclass(frozen=True, slots=True)
class Total:
    """How many rows of one outcome a group has, and the time of the newest one."""

    rows: int
    newest: int


@dataclass(slots=True)
class Wait:
    """Messages that wait for the same.

    Parameters
    ----------
    group
        Whose they are.
    reason
        Why, without names and numbers.
    messages
        How many.
    first, last
        When the first and the last were published, milliseconds.
    """

    group: str
    reason: str
    messages: int
    first: int
    last: int


class Summaries:
    """What triggers keep of the rows; raises as a journal does.

    Parameters
    ----------
    read
        Begins a transaction that only reads.
    """

    def __init__(self, read: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._read = read

    def intervals(self, since: int, groups: Sequence[str]) -> list[Interval]:
        """Return how much came, an outcome and a quarter of an hour at a time.

        Parameters
        ----------
        since
            Where a quarter begins, milliseconds.
        groups
            Of these consumer groups.
        """
        c = tallies.c
        query = (
            select(c.quarter, c.outcome, func.sum(c.records))
            .where(c.quarter >= since, c.group.in_(groups))
            .group_by(c.quarter, c.outcome)
            .order_by(c.quarter, c.outcome)
        )
        with self._read() as connection:
            return [Interval(b, o, int(n)) for b, o, n in connection.execute(query)]

    def totals(self) -> dict[str, dict[str, Total]]:
        """Return all that is kept, by group and outcome."""
        c = tallies.c
        query = select(
            c.group, c.outcome, func.sum(c.records), func.max(c.newest)
        ).group_by(c.group, c.outcome)
        found: dict[str, dict[str, Total]] = {}
        with self._read() as connection:
            for group, outcome, rows, newest in connection.execute(query):
                found.setdefault(group, {})[outcome] = Total(int(rows), newest)
        return found

    def waits(self, group: str | None = None) -> list[Wait]:
        """Return what waits now, the most frequent reason first.

        Parameters
        ----------
        group
            For messages of this consumer group only.
        """
        c, count = waiting.c, func.count()
        query = (
            select(
                c.group, c.text, count, func.min(c.origin_time), func.max(c.origin_time)
            )
            .group_by(c.group, c.text)
            .order_by(count.desc())
            .limit(_MOST_TEXTS)
        )
        if group is not None:
            query = query.where(c.group == group)
        found: dict[tuple[str, str], Wait] = {}
        with self._read() as connection:
            for whose, text, messages, first, last in connection.execute(query):
                reason = _reason(text)
                known = found.get((whose, reason))
                if known is None:
                    found[whose, reason] = Wait(whose, reason, messages, first, last)
                    continue
                known.messages += messages
                known.first = min(known.first, first)
                known.last = max(known.last, last)
        return sorted(found.values(), key=lambda each: -each.messages)


def delete_summaries(connection: Connection, limit: int) -> None:
    """Forget what is of rows that are too old.

    Parameters
    ----------
    connection
        In a transaction.
    limit
        Milliseconds since the epoch.
    """
    connection.execute(delete(tallies).where(tallies.c.quarter < limit - QUARTER_MS))
    connection.execute(delete(waiting).where(waiting.c.time < limit))
