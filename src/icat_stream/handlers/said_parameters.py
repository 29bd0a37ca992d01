"""Parameters as messages state them: by name, as text, often without units."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from icat_stream.config import PolicySettings
from icat_stream.messages import Conversion, SaidParameter, Unfit
from icat_stream.records import (
    DependencyMissing,
    Lookups,
    Parameter,
    ParameterTypeEntry,
    Rejection,
    ValueType,
)

_LONGEST = 60


@dataclass(slots=True)
class SaidParameters:
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

    def all(self, where: str, said: Iterable[SaidParameter]) -> tuple[Parameter, ...]:
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
            One is stated twice, fits no type, or its type is not there (by policy).
        DependencyMissing
            A type is to be waited for, by policy.
        """
        found = []
        seen: set[tuple[str, str | None]] = set()
        for parameter in said:
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

    def _one(self, at: str, said: SaidParameter) -> Parameter | None:
        if said.name not in self._types:
            self._types[said.name] = self.lookups.parameter_types(said.name)
        entries = self._types[said.name]
        if said.units is not None:
            fitting = [entry for entry in entries if entry.units == said.units]
        elif len(entries) > 1:
            fitting = [entry for entry in entries if entry.units == ""]
            if not fitting:
                listed = ", ".join(f"[{entry.units}]" for entry in entries[:5])
                raise Rejection(
                    f"{at}: the catalogue has it in {listed}: state the units"
                )
        else:
            fitting = list(entries)
        if fitting:
            return Parameter(
                name=said.name,
                units=fitting[0].units,
                value=_value(at, said, fitting[0].value_type),
            )
        return self._unknown(at, said, entries)

    def _unknown(
        self, at: str, said: SaidParameter, entries: Sequence[ParameterTypeEntry]
    ) -> Parameter | None:
        key = f"{said.name} [{said.units or ''}]"
        reason = f"{at}: parameter type {key} is not in the catalogue"
        if entries:
            others = ", ".join(f"[{entry.units}]" for entry in entries[:5])
            reason += f", which has it in {others}"
        match self.policies.unknown_parameter_types:
            case "create":
                kind = ValueType.STRING if isinstance(said.value, str) else None
                if said.value is not None and not isinstance(said.value, bool | str):
                    kind = ValueType.NUMERIC
                return Parameter(
                    name=said.name,
                    units=said.units or "",
                    value=_value(at, said, kind or ValueType.STRING),
                )
            case "park":
                raise DependencyMissing(reason, [f"parameter_type:{key}"])
            case "reject":
                raise Rejection(f"{reason} (policies.unknown_parameter_types: reject)")
        self.notes.append(f"{reason}: left out")
        return None


def _value(at: str, said: SaidParameter, kind: ValueType) -> float | str | datetime:
    wanted = {ValueType.NUMERIC: float, ValueType.DATE_AND_TIME: datetime}
    value = said.value
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
