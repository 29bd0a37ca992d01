"""When each check of the schedule ran, and which process is at it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from .tables import insert_new, schedule

# Who has not finished after so long is dead, or was frozen.
_LEASE_MS = 15 * 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRun:
    """One run of a check.

    Parameters
    ----------
    name
        Of the check.
    at, last
        When it and the one before began, milliseconds; ``None``: there was none.
    """

    name: str
    at: int
    last: int | None


class ScheduledRuns:
    """Lets one of all processes run a check when it is due.

    A run that is not finished does not count: another process does it again.

    Its methods raise as those of :class:`~icat_stream.journal.Journal`, of which it
    is a part.

    Parameters
    ----------
    begin
        Begins a transaction.
    dialect
        ``postgresql`` or ``sqlite``.
    """

    def __init__(
        self, begin: Callable[[], AbstractContextManager[Connection]], dialect: str
    ) -> None:
        self._begin = begin
        self._insert = insert_new(schedule, dialect)

    def claim(self, name: str, now: int, every: int) -> ScheduledRun | None:
        """Begin a run, unless it is not due or another process is at it.

        Parameters
        ----------
        name
            Of the check.
        now, every
            Milliseconds.
        """
        with self._begin() as connection:
            connection.execute(self._insert.values(name=name, begun_at=0, busy_until=0))
            query = select(schedule).where(schedule.c.name == name).with_for_update()
            row = connection.execute(query).one()
            due = row.ran_at is None or row.ran_at + every <= now
            if not due or row.busy_until > now:
                return None
            connection.execute(
                update(schedule)
                .where(schedule.c.name == name)
                .values(begun_at=now, busy_until=now + _LEASE_MS)
            )
        return ScheduledRun(name=name, at=now, last=row.ran_at)

    def finish(self, run: ScheduledRun) -> None:
        """Say that a run is done."""
        done = (
            update(schedule)
            .where(schedule.c.name == run.name, schedule.c.begun_at == run.at)
            .values(ran_at=run.at, busy_until=0)
        )
        with self._begin() as connection:
            connection.execute(done)

    def last(self) -> dict[str, int]:
        """Return when each check ran last, milliseconds; those that never did not."""
        query = select(schedule.c.name, schedule.c.ran_at)
        with self._begin() as connection:
            rows = connection.execute(query.where(schedule.c.ran_at.is_not(None)))
            return {row.name: row.ran_at for row in rows}
