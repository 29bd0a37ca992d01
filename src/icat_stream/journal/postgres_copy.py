"""Writing many rows to PostgreSQL at once."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, Connection, text

from .tables import COMMITTED, outcomes

_COLUMNS = tuple(c.name for c in outcomes.columns)
_JSON = frozenset(c.name for c in outcomes.columns if isinstance(c.type, JSON))
_KEY = tuple(c.name for c in outcomes.primary_key)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


_LIST = _quoted(_COLUMNS)
_STAGE = text(
    "CREATE TEMPORARY TABLE IF NOT EXISTS staged (LIKE outcomes) ON COMMIT DELETE ROWS"
)
_SET = ", ".join(f'"{n}" = excluded."{n}"' for n in _COLUMNS if n not in _KEY)
_MERGE = text(
    f"INSERT INTO outcomes ({_LIST}) SELECT {_LIST} FROM staged"  # noqa: S608
    f" ON CONFLICT ({_quoted(_KEY)}) DO UPDATE SET {_SET}"
    f" WHERE outcomes.state <> '{COMMITTED}'"
)
_EMPTY = text("TRUNCATE staged")


def write_copied(connection: Connection, values: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or update those that are there and not committed.

    Parameters
    ----------
    connection
        To PostgreSQL, in a transaction.
    values
        All columns of each row; of different keys.
    """
    connection.execute(_STAGE)
    copy(connection, "staged", values)
    connection.execute(_MERGE)
    # A second time in one transaction they would come again.
    connection.execute(_EMPTY)


def copy(
    connection: Connection, table: str, values: Sequence[Mapping[str, Any]]
) -> None:
    """Copy rows into a table with the columns of the outcomes.

    Parameters
    ----------
    connection
        To PostgreSQL, in a transaction.
    table
        Its name.
    values
        All columns of each row.
    """
    driver: Any = connection.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {table} ({_LIST}) FROM STDIN") as stream,
    ):
        for row in values:
            stream.write_row([_plain(name, row[name]) for name in _COLUMNS])


def _plain(name: str, value: Any) -> Any:
    return json.dumps(value) if name in _JSON and value is not None else value
