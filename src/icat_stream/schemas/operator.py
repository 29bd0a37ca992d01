"""What all operators on variables are."""

import math
from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from .values import Kind, Mismatch, shorten

Function = Callable[..., Any]


class Unfit(ValueError):
    """An operator cannot work on values of that type."""


class Operator(BaseModel):
    """An operator with its arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    main: ClassVar[str | None] = None

    operator: str

    @property
    def partners(self) -> Mapping[str, str]:
        """Other variables that it needs, as ``<variable>``, by the argument."""
        return {}

    def check_partners(self, kinds: Mapping[str, Kind]) -> None:
        """Check the types of the other variables, by the argument.

        Raises
        ------
        Unfit
            They will not do.
        """

    def result(self, kind: Kind) -> Kind:
        """Return the type that comes out.

        Raises
        ------
        Unfit
            Values of that type cannot go in.
        """
        return self._result(kind)

    def function(self, kind: Kind, zone: tzinfo) -> Function:
        """Return what is done to a value of that type.

        With partners it takes their values as well, by the argument.
        It returns ``None`` where there is no result, and raises
        :class:`~icat_stream.schemas.values.Mismatch` where the value will not do.

        Raises
        ------
        Unfit
            The arguments do not fit each other.
        """
        return self._function(kind, zone)

    # Each operator has its own; one that lacks them is a mistake in this package.

    def _result(self, kind: Kind) -> Kind:
        raise NotImplementedError

    def _function(self, kind: Kind, zone: tzinfo) -> Function:
        raise NotImplementedError

    def _needs(self, fits: bool, what: str, kind: Kind) -> None:
        if not fits:
            raise Unfit(f"{self.operator} works on {what}, not on {kind}")


def each(kind: Kind, function: Function) -> Function:
    """Return a function of one value as one of a value of that type."""
    if not kind.many:
        return function

    def over_list(values: tuple[Any, ...]) -> tuple[Any, ...]:
        # What says nothing keeps its place, so that each item stays what it is.
        return tuple(None if value is None else function(value) for value in values)

    return over_list


def finite(name: str, make: Callable[[], Any], values: tuple[Any, ...]) -> Any:
    """Return a number that is made of others.

    Raises
    ------
    Mismatch
        It is larger than numbers can be.
    """
    try:
        result = make()
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise Mismatch(f"{name} of {shorten(values)} is too large")
    return result
