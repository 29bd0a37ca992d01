"""Parameters as messages state them: by name, as text, often without units."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from icat_stream.config import PolicySettings
from icat_stream.messages import Conversion, StatedParameter, Unfit
from icat_stream.records import (
    Lookups,
    Parameter,
    ParameterTypeEntry,
    Rejection,
    ValueType,
    parameter_label,
    rounding,
)
from icat_stream.schemas import UnitError, conversion

from .dataset_references import other_units

_LONGEST = 60
_LONGEST_UNITS = 255


@dataclass(slots=True)
class StatedParameters:
    """Finds the types of parameters, and makes values of those types.

    Parameters
    ----------
    lookups
        The catalogue.
    policies
        What to do about unknown types.
    notes
        Gets a line for each that is left out.
    """

    lookups: Lookups
    policies: PolicySettings
    notes: list[str]
    _types: dict[str, Sequence[ParameterTypeEntry]] = field(default_factory=dict)

    def all(
        self, where: str, stated: Iterable[StatedParameter]
    ) -> tuple[Parameter, ...]:
        """Return parameters with their units, and values of the right kind.

        Parameters
        ----------
        where
            Whose they are, for errors.
        said
            By a message.

        Raises
        ------
        Rejection
            One is stated twice, or fits no type of its name.
        """
        found = []
        seen: set[tuple[str, str | None]] = set()
        for parameter in stated:
            at = f"{where}: {parameter.name[:_LONGEST]}"
            if (parameter.name, parameter.units) in seen:
                raise Rejection(f"{at}: is stated twice, expected each name once")
            seen.add((parameter.name, parameter.units))
            if parameter.value is None:
                self.notes.append(f"{at}: has no value: left out")
                continue
            one = self._one(at, parameter)
            if one is not None:
                found.append(one)
        return tuple(found)

    def _one(self, at: str, stated: StatedParameter) -> Parameter | None:
        if stated.units is not None and len(stated.units) > _LONGEST_UNITS:
            raise Rejection(
                f"{at}: units: {stated.units[:_LONGEST]!r}… has {len(stated.units)}"
                f" characters, expected at most {_LONGEST_UNITS}"
            )
        if stated.name not in self._types:
            self._types[stated.name] = self.lookups.parameter_types(stated.name)
        entries = self._types[stated.name]
        if stated.units is not None:
            fitting = [entry for entry in entries if entry.units == stated.units]
        elif len(entries) > 1:
            fitting = [entry for entry in entries if entry.units == ""]
            if not fitting:
                raise Rejection(
                    f"{at}: is not in the catalogue without units"
                    f"{other_units(entries)}: state the units"
                )
        else:
            fitting = list(entries)
        if fitting:
            entry = fitting[0]
            return self._made(at, stated, entry.units, entry.value_type)
        return _converted(at, stated, entries) or self._unknown(at, stated, entries)

    def _unknown(
        self, at: str, stated: StatedParameter, entries: Sequence[ParameterTypeEntry]
    ) -> Parameter | None:
        units = stated.units or ""
        if self.policies.unknown_parameter_types == "skip":
            self.notes.append(
                f"{at}: parameter type {parameter_label(stated.name, units)} is not in"
                f" the catalogue{other_units(entries)}: left out"
            )
            return None
        # The catalogue names all that are missing at once, or makes them.
        is_text = isinstance(stated.value, bool | str)
        kind = ValueType.STRING if is_text else ValueType.NUMERIC
        return self._made(at, stated, units, kind)

    def _made(
        self, at: str, stated: StatedParameter, units: str, kind: ValueType
    ) -> Parameter:
        value = _value(at, stated, kind)
        if kind is ValueType.NUMERIC and (note := rounding(stated.value or 0)):
            self.notes.append(f"{at}: {note}")
        return Parameter(name=stated.name, units=units, value=value)


def _converted(
    at: str, stated: StatedParameter, entries: Sequence[ParameterTypeEntry]
) -> Parameter | None:
    """Return it in the units of the only type that they can be converted to."""
    found = []
    for entry in entries if stated.units else ():
        if entry.value_type is not ValueType.NUMERIC or not entry.units:
            continue
        try:
            found.append((entry, conversion(stated.units or "", entry.units)))
        except UnitError:
            continue
    if len(found) != 1:
        return None
    ((entry, factor),) = found
    number = _value(at, stated, ValueType.NUMERIC)
    if not isinstance(number, int | float):
        return None
    try:
        value = factor.value(number)
    except UnitError as error:
        raise Rejection(
            f"{at}: {stated.value} [{stated.units}] in [{entry.units}]: {error}"
        ) from None
    return Parameter(name=stated.name, units=entry.units, value=value)


def _value(at: str, stated: StatedParameter, kind: ValueType) -> float | str | datetime:
    wanted = {ValueType.NUMERIC: float, ValueType.DATE_AND_TIME: datetime}
    value = stated.value
    if kind is ValueType.STRING:
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)
    try:
        converted: float | datetime = Conversion(kind=wanted[kind])(value)
    except Unfit as error:
        shown = repr(value)[:_LONGEST]
        raise Rejection(
            f"{at}: its type is {kind.value}: {error} (found: {shown})"
        ) from None
    return converted
