"""Values as the query language wants them: the one place where they become text."""

import datetime as dt
import math
import re
from collections.abc import Callable
from typing import Any

from .errors import QueryError, nearest, shorten
from .schema import PLAIN_TYPES, Field, Schema

ESCAPE = "!"
# What XML cannot carry never reaches ICAT as it was meant.
FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def quote(text: str) -> str:
    """Return a text as a literal.

    Raises
    ------
    QueryError
        It has a character that no text in ICAT can have.
    """
    found = FORBIDDEN.search(text)
    if found:
        raise QueryError(
            f"{shorten(text)} cannot be searched for: character {found.start()} is"
            f" {found.group()!r}, which no text in ICAT can have"
        )
    if "\r" in text:
        raise QueryError(
            f"{shorten(text)} cannot be searched for: a carriage return becomes a line"
            " feed on its way to ICAT"
        )
    return "'" + text.replace("'", "''") + "'"


def escape_pattern(text: str) -> str:
    """Return a text in which ``%`` and ``_`` stand for themselves."""
    return re.sub(r"([!%_])", rf"{ESCAPE}\1", text)


def check(schema: Schema, field: Field, value: Any, what: str) -> Any:
    """Return a value as its attribute's type has it.

    Parameters
    ----------
    schema
        Of the server.
    field
        The attribute.
    value
        Not None.
    what
        The condition, for errors.

    Raises
    ------
    QueryError
        It is no value of that type.
    """
    if field.type in PLAIN_TYPES:
        accepts, convert, expected = _TYPES[field.type]
        if accepts(value):
            return convert(value)
    else:
        values = schema.values_of(field.type)
        if value in values:
            return str(value)
        expected = f"one of {', '.join(sorted(values))}"
        if isinstance(value, str):
            expected = nearest(value, values)
    raise QueryError(
        f"{what}: {shorten(value)} is no value of {field.name}, which is"
        f" {field.type}; expected {expected}"
    )


def literal(field: Field, value: Any) -> str:
    """Return a checked value, times already in the server's zone, as a literal."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dt.datetime):
        return f"{{ts {value.isoformat(sep=' ', timespec='seconds')[:19]}}}"
    if field.type not in PLAIN_TYPES:
        # ICAT puts the package of its entities in; it takes no other spelling.
        return f"org.icatproject.{field.type}.{value}"
    return quote(value)


def _number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _whole(value: Any) -> bool:
    fits = isinstance(value, int) and not isinstance(value, bool)
    return fits and -(2**63) <= value < 2**63


def _time(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return False
    return isinstance(value, dt.date) and value.year >= 1000


def _to_time(value: Any) -> dt.datetime:
    if isinstance(value, str):
        return dt.datetime.fromisoformat(value)
    if isinstance(value, dt.datetime):
        return value
    # Midnight where the server is: a day has no zone of its own.
    return dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001


_Check = tuple[Callable[[Any], bool], Callable[[Any], Any], str]
_TYPES: dict[str, _Check] = {
    "String": (lambda value: isinstance(value, str), str, "a text"),
    "Integer": (_whole, int, "a whole number"),
    "Long": (_whole, int, "a whole number"),
    "Double": (_number, lambda value: value, "a number"),
    "boolean": (lambda value: isinstance(value, bool), bool, "True or False"),
    "Date": (_time, _to_time, "a datetime, a date or a text like 2026-01-31T12:00"),
}
