"""From what a document says to values of the types that a message has."""

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from icat_stream.records import number_of, shortened

Scalar = str | int | float | bool

_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})"
    r"(?:[T_ ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d+))?"
    r"\s?(Z|z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
# What neither XML nor a catalogue can hold.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_TRUTH = {"true": True, "1": True, "yes": True}
_TRUTH |= {"false": False, "0": False, "no": False}
_LONGEST = 60
_MOST_OF_A_NAME = 100


class Unfit(ValueError):
    """A value cannot be what is expected; says what that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """How one value is read.

    Parameters
    ----------
    kind
        ``str``, ``int``, ``float``, ``bool``, ``datetime``, or ``Scalar`` for a value
        that is kept as it is.
    timezone
        Of times without a zone.
    formats
        Further ways to write a time, as for ``strptime``.
    values
        What texts mean, where only these are allowed.
    """

    kind: Any
    timezone: tzinfo = UTC
    formats: tuple[str, ...] = ()
    values: dict[str, str] | None = field(default=None, hash=False)

    def __call__(self, value: Any) -> Any:
        """Return the value, or ``None`` for an empty text.

        Raises
        ------
        Unfit
            It cannot be read so.
        """
        if isinstance(value, dict):
            # An XML element with attributes, of which the text is meant.
            if not set(value) <= {"#text", "@xmlns"} and "#text" not in value:
                raise Unfit(f"expected {self._expected}")
            value = value.get("#text")
        if isinstance(value, list):
            raise Unfit(f"expected one {self._expected}, found {len(value)}")
        if isinstance(value, str):
            value = value.strip()
            if match := _FORBIDDEN.search(value):
                raise Unfit(
                    f"holds U+{ord(match[0]):04X}, a character that ICAT cannot hold"
                )
        if value is None or value == "":
            return None
        if self.values is not None:
            return self._meaning(value)
        return _CONVERSIONS[self.kind](self, value)

    @property
    def _expected(self) -> str:
        return _NAMES[self.kind]

    def _meaning(self, value: Any) -> str:
        meaning = (self.values or {}).get(str(value))
        if meaning is None:
            known = ", ".join(list(self.values or {})[:20])
            raise Unfit(f"expected one of {known}")
        return meaning


def _text(how: Conversion, value: Any) -> str:
    # Names of proposals are often numbers.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unfit("expected a text")
    return str(value)


def _integer(how: Conversion, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit("expected a whole number")
    if abs(value) >= 2**63:
        raise Unfit("expected a whole number of 64 bits")
    return value


def _float(how: Conversion, value: Any) -> float:
    try:
        number = number_of(value) if isinstance(value, str) else float(value)
    except (TypeError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or not math.isfinite(number):
        raise Unfit("expected a number")
    return number


def _truth(how: Conversion, value: Any) -> bool:
    truth = _TRUTH.get(str(value).lower())
    if truth is None:
        raise Unfit("expected true or false")
    return truth


def _time(how: Conversion, value: Any) -> datetime:
    if isinstance(value, str):
        if match := _TIME.fullmatch(value):
            date, time, fraction, zone = match.groups()
            text = f"{date}T{time or '00:00'}"
            if fraction:
                text += f".{fraction[:6]:0<6}"
            try:
                when = datetime.fromisoformat(text + (zone or "").upper())
                return _placed(how, when)
            except (ValueError, OverflowError) as error:
                raise Unfit(f"is no time: {error}") from None
        for written in how.formats:
            try:
                return _placed(how, datetime.strptime(value, written))  # noqa: DTZ007
            except (ValueError, OverflowError):
                continue
    raise Unfit(
        "expected a time such as 2026-07-15T15:53:33+02:00 or 2026-07-15_15:53:33"
    )


def _placed(how: Conversion, when: datetime) -> datetime:
    aware = when if when.tzinfo else when.replace(tzinfo=how.timezone)
    # Near the ends of the calendar not every zone has the time.
    return aware.astimezone(UTC)


def _scalar(how: Conversion, value: Any) -> Scalar:
    if not isinstance(value, str | int | float):
        raise Unfit("expected a text or a number")
    return value


_CONVERSIONS = {
    str: _text,
    int: _integer,
    float: _float,
    bool: _truth,
    datetime: _time,
    Scalar: _scalar,
}
_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    datetime: "time",
    Scalar: "text or number",
}
KINDS = frozenset(_CONVERSIONS)


def printable(name: str) -> str:
    """Return a name that somebody else chose as an error may show it."""
    name = shortened(name, _MOST_OF_A_NAME)
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def shown(value: Any) -> str:
    """Return a value as an error may show it."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value)
    return shortened(text, _LONGEST)
