"""The types that variables declare, and how what a file says becomes one."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any, NamedTuple

from icat_stream.records import number_of, shortened

# Digits of other scripts, which Python takes too, are no numbers in a data file.
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_LARGEST = 10**30
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)? ?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.IGNORECASE | re.ASCII,
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_LINK = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "1"), True),
    **dict.fromkeys(("false", "no", "0"), False),
}


class Scalar(StrEnum):
    """What one value can be."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    EMAIL = "email"
    LINK = "link"


_LISTED = (Scalar.STRING, Scalar.INTEGER, Scalar.FLOAT)


@dataclass(frozen=True, slots=True)
class Kind:
    """A type: one value, or a list of them.

    Parameters
    ----------
    scalar
        Of the value or of each value.
    many
        Whether it is a list.
    """

    scalar: Scalar
    many: bool = False

    def __str__(self) -> str:
        return f"{self.scalar}[]" if self.many else str(self.scalar)

    @property
    def is_number(self) -> bool:
        """Whether it is one number or several, and so can have a unit."""
        return self.scalar in (Scalar.INTEGER, Scalar.FLOAT)

    @property
    def is_text(self) -> bool:
        """Whether it is text or a list of texts."""
        return self.scalar in (Scalar.STRING, Scalar.EMAIL, Scalar.LINK)


STRING = Kind(Scalar.STRING)
INTEGER = Kind(Scalar.INTEGER)
FLOAT = Kind(Scalar.FLOAT)
DATETIME = Kind(Scalar.DATETIME)

KINDS: Mapping[str, Kind] = {
    str(kind): kind
    for kind in (
        *(Kind(scalar) for scalar in Scalar),
        *(Kind(scalar, many=True) for scalar in _LISTED),
    )
}


class Value(NamedTuple):
    """A variable's value.

    Parameters
    ----------
    value
        ``None`` where there is none.
    unit
        ``None`` where nothing says which.
    source
        Where it was found.
    """

    value: Any
    unit: str | None
    source: str


class Mismatch(ValueError):
    """A value is not of the declared type."""


class WrongShape(Mismatch):
    """There are several values where one is expected."""


def coerce(value: Any, kind: Kind, zone: tzinfo) -> Any:
    """Return what a file or message says as a value of the declared type.

    Parameters
    ----------
    value
        A scalar, or a sequence of scalars.
    kind
        The declared type.
    zone
        Of times that do not name theirs.

    Returns
    -------
    :
        ``None`` for what says nothing: empty text, not-a-number, an empty list.  In
        a list such an item is ``None``, so that every other one keeps its place.

    Raises
    ------
    Mismatch
        It cannot be such a value.
    """
    several = isinstance(value, tuple | list)
    if kind.many:
        items = value if several else (value,)
        return tuple(_one(item, kind, zone) for item in items) or None
    if several:
        if len(value) > 1:
            raise WrongShape(
                f"expected one {kind}, found {len(value)} values: {shorten(value)}; "
                f"declare {kind.scalar}[] and an operator such as first or mean"
            )
        if not value:
            return None
        value = value[0]
    return _one(value, kind, zone)


def says_nothing(value: Any) -> bool:
    """Whether there is no value: none at all, or a list of nothing else."""
    if isinstance(value, tuple):
        return all(item is None for item in value)
    return value is None


def _one(value: Any, kind: Kind, zone: tzinfo) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        value = value.strip()
        if not value or (kind.is_number and value.lower() == "nan"):
            return None
    elif isinstance(value, float) and math.isnan(value):
        return None
    found = _COERCIONS[kind.scalar](value, zone)
    if found is None:
        raise Mismatch(f"expected {kind.scalar}, found {shorten(value)}")
    return found


def _string(value: Any, _zone: tzinfo) -> str | None:
    return text(value) if isinstance(value, str | int | float | datetime) else None


def _integer(value: Any, _zone: tzinfo) -> int | None:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < _LARGEST else None


def _float(value: Any, _zone: tzinfo) -> float | None:
    if isinstance(value, str):
        value = number_of(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _boolean(value: Any, _zone: tzinfo) -> bool | None:
    if isinstance(value, str | int) and str(value).lower() in _BOOLEANS:
        return _BOOLEANS[str(value).lower()]
    return None


def _datetime(value: Any, zone: tzinfo) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    day, minutes, seconds, fraction, offset = match.groups()
    minutes, seconds = minutes or "00:00", seconds or "00"
    later = timedelta()
    if minutes == "24:00" and not (seconds + (fraction or "")).strip("0"):
        minutes, later = "00:00", timedelta(days=1)
    elif seconds == "60":
        # A leap second: the first one of the next minute, as calendars have none.
        seconds, fraction, later = "59", "0", timedelta(seconds=1)
    iso = f"{day}T{minutes}:{seconds}.{(fraction or '0')[:6]:0<6}"
    try:
        time = datetime.fromisoformat(iso + (offset or "").upper()) + later
    except (ValueError, OverflowError):
        return None
    time = time if time.tzinfo else time.replace(tzinfo=zone)
    try:
        time.astimezone(UTC)
    except OverflowError:
        raise Mismatch(
            f"{shorten(value)} is outside the years 1 to 9999 once it is told in UTC"
            " (a date of year 1 often stands for none)"
        ) from None
    return time


def _email(value: Any, _zone: tzinfo) -> str | None:
    return value if isinstance(value, str) and _EMAIL.fullmatch(value) else None


def _link(value: Any, _zone: tzinfo) -> str | None:
    return value if isinstance(value, str) and _LINK.fullmatch(value) else None


_COERCIONS = {
    Scalar.STRING: _string,
    Scalar.INTEGER: _integer,
    Scalar.FLOAT: _float,
    Scalar.BOOLEAN: _boolean,
    Scalar.DATETIME: _datetime,
    Scalar.EMAIL: _email,
    Scalar.LINK: _link,
}


def text(value: Any) -> str:
    """Return a value as templates and string parameters show it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return ", ".join(texts(value))
    return str(value)


def texts(values: Sequence[Any]) -> list[str]:
    """Return the values of a list as text.

    What says nothing is shown among numbers, where the place of each counts; blanks
    among texts are left out.
    """
    shown = [value if value is None else text(value) for value in values]
    if any(isinstance(value, int | float) for value in values):
        return [value or "NaN" for value in shown]
    return [value for value in shown if value]


def shorten(value: Any, limit: int = 60) -> str:
    """Return a value for an error message."""
    if isinstance(value, str):
        value = value[: limit + 1]
    elif isinstance(value, tuple | list):
        value = list(value[:10])
    shown = repr(value)
    return shortened(shown, limit)
