"""Operators on a list that need another one, item for item."""

import math
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from .arithmetic import in_unit
from .operator import Function, Operator, Unfit, finite
from .values import Kind, Mismatch, Scalar, Value, shorten, text

Text = Annotated[str, Field(min_length=1)]


class Where(Operator):
    """The items beside which another list has one of some values."""

    operator: Literal["where"]
    beside: Text
    equals: Annotated[
        list[str | int | float | bool],
        BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
        Field(min_length=1),
    ]

    @property
    def partners(self) -> Mapping[str, str]:
        """The other list."""
        return {"beside": self.beside}

    def check_partners(self, kinds: Mapping[str, Kind]) -> None:
        """Check that it is a list."""
        if not kinds["beside"].many:
            raise Unfit(f"where needs a list, {self.beside} is {kinds['beside']}")

    def _result(self, kind: Kind) -> Kind:
        self._needs(kind.many, "a list", kind)
        return kind

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        wanted = {text(one) for one in self.equals}
        numbers = {one for one in self.equals if isinstance(one, int | float)}

        def where(values: tuple[Any, ...], partners: Mapping[str, Value]) -> Any:
            if partners["beside"].value is None:
                return None
            others = _items(self.beside, partners["beside"], values, "where")
            return (
                tuple(
                    value
                    for value, other in zip(values, others, strict=True)
                    if other is not None and (text(other) in wanted or other in numbers)
                )
                or None
            )

        return where


class TimeMean(Operator):
    """The mean of a log, each value for as long as it held."""

    main = "times"
    operator: Literal["time_mean"]
    times: Text
    since: Text | None = None
    until: Text | None = None

    @property
    def partners(self) -> Mapping[str, str]:
        """The times, and from when to when."""
        named = {"times": self.times, "since": self.since, "until": self.until}
        return {field: source for field, source in named.items() if source is not None}

    def check_partners(self, kinds: Mapping[str, Kind]) -> None:
        """Check that they are numbers."""
        for field, kind in kinds.items():
            wanted = "numbers" if field == "times" else "one number"
            if not kind.is_number or kind.many != (field == "times"):
                raise Unfit(f"time_mean: {field} needs {wanted}, found {kind}")

    def _result(self, kind: Kind) -> Kind:
        self._needs(kind.many and kind.is_number, "a list of numbers", kind)
        return Kind(Scalar.FLOAT)

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        def time_mean(values: tuple[Any, ...], partners: Mapping[str, Value]) -> Any:
            times = _items(self.times, partners["times"], values, "time_mean")
            unit = partners["times"].unit
            _check_ascending(self.times, times)
            since, until = (
                in_unit(self.partners[field], partners[field], unit)
                if field in partners and partners[field].value is not None
                else None
                for field in ("since", "until")
            )
            if since is not None and until is not None and until < since:
                raise Mismatch(
                    f"time_mean: until {shorten(until)} is before"
                    f" since {shorten(since)}"
                )
            held = list(_held(values, times, since, until))
            return finite("time_mean", lambda: _weighted_mean(held), values)

        return time_mean


def _items(
    name: str, other: Value, values: tuple[Any, ...], operator: str
) -> tuple[Any, ...]:
    """Return the items of the other list, of which there have to be as many."""
    items: tuple[Any, ...] = () if other.value is None else other.value
    if len(items) != len(values):
        raise Mismatch(
            f"{operator}: {name} has {len(items):,} items, expected {len(values):,},"
            " one for each value"
        )
    return items


def _check_ascending(name: str, times: tuple[Any, ...]) -> None:
    before = -math.inf
    for time in times:
        if time is None or time < before:
            raise Mismatch(
                f"time_mean: {name} has {'not-a-number' if time is None else time}"
                f" after {before}, expected times that do not go back"
            )
        before = time


def _held(
    values: tuple[Any, ...],
    times: tuple[Any, ...],
    since: float | None,
    until: float | None,
) -> Iterator[tuple[float, float]]:
    """Give the values that say something, and how long each held."""
    ends = (*times[1:], max(t for t in (times[-1], since, until) if t is not None))
    for value, begin, end in zip(values, times, ends, strict=True):
        first = begin if since is None else max(begin, since)
        last = end if until is None else min(end, until)
        if value is not None and last >= first:
            yield value, last - first


def _weighted_mean(held: list[tuple[float, float]]) -> float | None:
    if not held:
        return None
    total = math.fsum(weight for _, weight in held)
    if not total:
        return float(held[-1][0])
    numbers = [value for value, _ in held]
    # From one of them on, so that what never changed is its own mean.
    base = numbers[0]
    mean = base + math.fsum((value - base) * weight for value, weight in held) / total
    return float(min(max(mean, min(numbers)), max(numbers)))
