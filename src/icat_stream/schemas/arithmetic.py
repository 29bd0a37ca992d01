"""Sums and differences of variables: ``end = start + duration``."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .units import UnitError, conversion, zero_is_agreed
from .values import DATETIME, FLOAT, Kind, Mismatch, Value, shorten


@dataclass(frozen=True, slots=True)
class Term:
    """Another variable that is added to a value, or taken from it.

    Parameters
    ----------
    name
        Of the other variable.
    sign
        1 or -1.
    """

    name: str
    sign: int

    def result(self, kind: Kind, other: Kind) -> Kind | None:
        """Return the type of the result, ``None`` where there is none."""
        if kind.many or other.many:
            return None
        if kind == DATETIME and other.is_number:
            return DATETIME
        if kind == other == DATETIME and self.sign == -1:
            return FLOAT
        if kind.is_number and other.is_number:
            return kind if kind == other else FLOAT
        return None

    def apply(
        self, value: Any, unit: str | None, other: Value
    ) -> tuple[Any, str | None]:
        """Return the result and its unit; ``None`` where the other says nothing.

        Raises
        ------
        Mismatch
            The units do not fit, or there is no such time.
        """
        if other.value is None:
            return None, unit
        if isinstance(value, datetime) and isinstance(other.value, datetime):
            return (value - other.value).total_seconds(), "s"
        if isinstance(value, datetime):
            seconds = in_unit(f"<{self.name}>", other, "s")
            try:
                return value + timedelta(seconds=self.sign * seconds), None
            except OverflowError:
                raise Mismatch(
                    f"{value.isoformat()} and {shorten(other.value)} {other.unit} make"
                    " a time outside the years 1 to 9999"
                ) from None
        total = value + self.sign * in_unit(f"<{self.name}>", other, unit)
        if isinstance(value, int) and isinstance(other.value, int):
            if total != int(total):
                raise Mismatch(
                    f"{value} {unit} and {other.value} {other.unit} make no integer in"
                    f" {unit}"
                )
            total = int(total)
        return total, unit


def in_unit(name: str, other: Value, unit: str | None) -> Any:
    """Return a variable's value, which is a difference, in a unit.

    Parameters
    ----------
    name
        Of the variable, for errors.
    other
        Its value.
    unit
        ``None`` for no unit at all.

    Raises
    ------
    Mismatch
        It has no such unit.
    """
    if zero_is_agreed(other.unit):
        raise Mismatch(
            f"{name} {shorten(other.value)} is in {other.unit}, of which"
            " nobody can tell whether it is a temperature or a difference: expected"
            " unit: K, of both for the difference of two temperatures"
        )
    if other.unit == unit:
        return other.value
    if other.unit is None or unit is None:
        raise Mismatch(
            f"{name} {shorten(other.value)} has"
            f" {f'the unit {other.unit}' if other.unit else 'no unit'}, expected"
            f" {f'one that converts to {unit}' if unit else 'none'}"
        )
    try:
        return conversion(other.unit, unit).difference(other.value)
    except UnitError as error:
        raise Mismatch(f"{name}: {error}") from None
