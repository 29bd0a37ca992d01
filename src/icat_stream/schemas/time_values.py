"""Times written as numbers since a moment, and durations written as text."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction

from .units import UnitError, conversion
from .values import DATETIME, Mismatch, coerce, shorten

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SINCE = re.compile(r"\s*(\S+)\s+since\s+(.+)", re.IGNORECASE)
_DURATION = re.compile(
    r"P(?!$)(?:([0-9]+)D)?(?:T(?!$)(?:([0-9]+)H)?(?:([0-9]+)M)?"
    r"(?:([0-9]+(?:[.,][0-9]{1,9})?)S)?)?"
)
_SECONDS = (86_400, 3600, 60, 1)


def time_of(number: float, unit: str | None, zone: tzinfo) -> datetime:
    """Return the time that a number means.

    Parameters
    ----------
    number
        Since 1970, or since what the unit says.
    unit
        Such as ``ns``, or ``seconds since 2026-01-01T00:00:00``.
    zone
        Of that moment, if it names none.

    Raises
    ------
    Mismatch
        There is no unit of time, or no such time.
    """
    if unit is None:
        raise Mismatch(
            f"expected datetime, found the number {shorten(number)}; if it is the"
            " seconds since 1970, give the variable unit: s"
        )
    match = _SINCE.fullmatch(unit)
    start = coerce(match[2], DATETIME, zone) if match else _EPOCH
    try:
        micros = conversion(match[1] if match else unit, "us").value(number)
        return _in_range(start + timedelta(microseconds=round(micros)))
    except UnitError as error:
        raise Mismatch(
            f"expected datetime, found the number {shorten(number)}: {error}"
        ) from None
    except OverflowError:
        raise Mismatch(
            f"{shorten(number)} {unit} is a time outside the years 1 to 9999"
        ) from None


def duration_of(text: str) -> float | None:
    """Return the seconds of an ISO 8601 duration such as ``PT1H30M``, if it is one.

    Months and years have no length of their own, so with them it is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    parts = [part and Fraction(part.replace(",", ".")) for part in match.groups()]
    terms = zip(parts, _SECONDS, strict=True)
    return float(sum(part * seconds for part, seconds in terms if part))


def _in_range(time: datetime) -> datetime:
    time.astimezone(UTC)
    return time
