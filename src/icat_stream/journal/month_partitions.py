"""Months made ahead, and what is too old dropped."""

import re
from datetime import UTC, datetime

from sqlalchemy import Connection, Inspector, delete, inspect, select, text

from .tables import jobs, outcomes

# So that a daemon that cannot make any for weeks still has some.  What is older than
# those behind us is kept together.
_AHEAD = 3
_BACK = 2
_DEFAULT = "outcomes_default"
_MONTH = re.compile(r"outcomes_(\d{4})_(\d{2})")
# A run start is of a file that ends within days.
_JOBS_MS = 90 * 86_400_000
# Few enough that a daemon that writes waits for no longer than for another's batch.
_ROWS = 1_000


def make_months(connection: Connection, now: int, retention: int | None) -> None:
    """Make the partitions that are missing, and move to them what is theirs already.

    Parameters
    ----------
    connection
        To PostgreSQL.
    now, retention
        Milliseconds; ``None``: for ever.
    """
    back = now - retention if retention is not None else None
    first = _number(now) - _BACK if back is None else _number(back)
    there = set(_tables(connection))
    if _DEFAULT not in there:
        # Somebody has dropped it, and with it the place of absurd times.
        made = f"CREATE TABLE {_DEFAULT} PARTITION OF outcomes DEFAULT"
        connection.execute(text(made))
    wanted = range(max(first, _number(now) - 240), _number(now) + _AHEAD + 1)
    missing = [number for number in wanted if _name(number) not in there]
    if missing:
        # A row that somebody writes there after ours have moved would keep the month
        # from being attached.
        lock = f"LOCK TABLE {_DEFAULT} IN ACCESS EXCLUSIVE MODE"
        connection.execute(text(lock))
    for number in missing:
        name = _name(number)
        begin, end = _begin(number), _begin(number + 1)
        # Attached last: rows of a time to come may be in the default partition.
        for statement in (
            f"CREATE TABLE {name} (LIKE outcomes INCLUDING ALL)",
            f"WITH moved AS (DELETE FROM outcomes_default"  # noqa: S608
            f' WHERE "time" >= {begin} AND "time" < {end} RETURNING *)'
            f" INSERT INTO {name} SELECT * FROM moved",
            f"ALTER TABLE outcomes ATTACH PARTITION {name}"
            f" FOR VALUES FROM ({begin}) TO ({end})",
        ):
            connection.execute(text(statement))


def old_months(connection: Connection, limit: int) -> list[str]:
    """Return the partitions whose last record is older than a time.

    Parameters
    ----------
    connection
        To PostgreSQL.
    limit
        Milliseconds since the epoch.
    """
    found = []
    for name in _tables(connection):
        match = _MONTH.fullmatch(name)
        if match is None:
            continue
        number = int(match[1]) * 12 + int(match[2]) - 1
        if _begin(number + 1) <= limit:
            found.append(name)
    return found


def drop_month(connection: Connection, name: str) -> None:
    """Drop a partition.

    Parameters
    ----------
    connection
        To PostgreSQL.
    name
        As :func:`old_months` returns it.
    """
    connection.execute(text(f"DROP TABLE {name}"))


def delete_outcomes(connection: Connection, limit: int) -> int:
    """Delete some rows of records that are too old; return how many.

    What has an absurd time is kept for as long since it was written.

    Parameters
    ----------
    connection
        In a transaction.
    limit
        Milliseconds since the epoch.
    """
    key = [outcomes.c[name] for name in ("group", "topic", "partition", "offset")]
    found = connection.execute(
        select(*key, outcomes.c.time)
        .where(outcomes.c.time < limit, outcomes.c.written_at < limit)
        .limit(_ROWS)
    ).all()
    for row in found:
        connection.execute(
            delete(outcomes).where(
                *(column == value for column, value in zip(key, row, strict=False)),
                outcomes.c.time == row.time,
            )
        )
    return len(found)


def delete_jobs(connection: Connection, now: int) -> None:
    """Forget the jobs whose file is not to be expected any more.

    Parameters
    ----------
    connection
        In a transaction.
    now
        Milliseconds since the epoch.
    """
    connection.execute(delete(jobs).where(jobs.c.remembered_at < now - _JOBS_MS))


def _tables(connection: Connection) -> list[str]:
    inspector: Inspector = inspect(connection)
    return inspector.get_table_names()


def _number(ms: int) -> int:
    try:
        day = datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        # A retention beyond all calendars.
        return 1970 * 12
    return day.year * 12 + day.month - 1


def _begin(number: int) -> int:
    day = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int(day.timestamp() * 1000)


def _name(number: int) -> str:
    return f"outcomes_{number // 12:04}_{number % 12 + 1:02}"
