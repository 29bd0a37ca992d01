"""Everything a server would refuse, misreport or lose, found before it is sent."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from icat_stream.icat import FORBIDDEN, Schema, shorten
from icat_stream.records import (
    Datafile,
    Dataset,
    Investigation,
    Parameter,
    Rejection,
    User,
    ValueType,
)

from .reference_cache import ParameterType

_REPORTED = 5
_LONG_MAX = 2**63 - 1
_PYTHON_TYPES = {
    ValueType.NUMERIC: "a number",
    ValueType.STRING: "text",
    ValueType.DATE_AND_TIME: "a time",
}
ParameterTypes = Mapping[tuple[str, str], ParameterType]


@dataclass(slots=True)
class Checker:
    """Collects what is wrong with a dataset.

    Parameters
    ----------
    schema
        Of the server.
    ignore_case
        Whether the database sees no difference between ``a`` and ``A``.
    """

    schema: Schema
    ignore_case: bool
    _problems: list[str] = field(default_factory=list)
    _limits: dict[tuple[str, str], int | None] = field(default_factory=dict)

    def dataset(self, dataset: Dataset) -> None:
        """Check all that can be checked without the catalogue.

        Raises
        ------
        Rejection
            Something is wrong; entity, field, value and limit are named.
        """
        where = f"Dataset {shorten(dataset.name)}"
        self._name(where, "Dataset", dataset.name)
        self._text(where, "Dataset", "description", dataset.description)
        self._text(where, "Dataset", "location", dataset.location)
        self._time(where, "startDate", dataset.start)
        self._time(where, "endDate", dataset.end)
        self._key(where, "type", dataset.type)
        if dataset.sample is not None:
            sample = f"Sample {shorten(dataset.sample.name)}"
            self._name(sample, "Sample", dataset.sample.name)
            if dataset.sample.type is not None:
                self._key(sample, "type", dataset.sample.type)
                self._key(sample, "formula", dataset.sample.molecular_formula)
            self._parameters("SampleParameter", sample, dataset.sample.parameters)
        for name in dataset.instruments:
            self._key(where, "instrument", name)
        for technique in dataset.techniques:
            self._key(where, "technique", technique.name)
        self._parameters("DatasetParameter", where, dataset.parameters)
        self._duplicates(where, "datafiles", (f.name for f in dataset.datafiles))
        for datafile in dataset.datafiles:
            self._datafile(datafile)
        self._report(f"dataset {dataset.investigation}")

    def user(self, user: User, attributes: Mapping[str, str]) -> None:
        """Check a user.

        Parameters
        ----------
        user
            Planned.
        attributes
            Of ICAT, and the fields of the plan that they are.

        Raises
        ------
        Rejection
            Something is wrong.
        """
        where = f"User {shorten(user.name)}"
        self._name(where, "User", user.name)
        for attribute, name in attributes.items():
            self._text(where, "User", attribute, getattr(user, name))
        for name in (*user.formerly, *user.groups, *user.left_groups):
            self._key(where, "name or group", name)
        self._report("user")

    def investigation(
        self, planned: Investigation, *, one_in_any_letters: bool = False
    ) -> None:
        """Check all of an investigation that can be checked without the catalogue.

        Parameters
        ----------
        planned
            As it was stated.
        one_in_any_letters
            Whether keywords that differ in letters only are one by policy.

        Raises
        ------
        Rejection
            Something is wrong.
        """
        where = f"Investigation {shorten(planned.key)}"
        entity = "Investigation"
        self._name(where, entity, planned.investigation.name)
        self._text(where, entity, "visitId", planned.investigation.visit_id)
        self._text(where, entity, "title", planned.title)
        self._text(where, entity, "summary", planned.summary)
        self._text(where, entity, "doi", planned.doi)
        self._span(where, planned.start, planned.end)
        self._time(where, "releaseDate", planned.release)
        for label, names in (
            ("type", () if planned.type is None else (planned.type,)),
            ("instrument", planned.instruments or ()),
            ("facility cycle", planned.cycles or ()),
            ("user", [m.user for m in planned.members or ()]),
        ):
            for name in names:
                self._key(where, label, name)
        for member in planned.members or ():
            at = f"InvestigationUser {shorten(member.user)}"
            self._text(at, "InvestigationUser", "role", member.role or 0)
        for keyword in planned.keywords or ():
            self._name(f"Keyword {shorten(keyword)}", "Keyword", keyword)
        if not one_in_any_letters:
            self._duplicates(where, "keywords", dict.fromkeys(planned.keywords or ()))
        samples = planned.samples or ()
        self._duplicates(where, "samples", (sample.name for sample in samples))
        for sample in samples:
            at = f"Sample {shorten(sample.name)}"
            self._name(at, "Sample", sample.name)
            if sample.type is not None:
                self._key(at, "type", sample.type)
            self._parameters("SampleParameter", at, sample.parameters)
        self._parameters("InvestigationParameter", where, planned.parameters or ())
        for number, shift in enumerate(planned.shifts or ()):
            at = f"{where}: shift {number}"
            self._span(at, shift.start, shift.end)
            self._text(at, "Shift", "comment", shift.comment)
        self._report("investigation")

    def parameter_values(
        self, uses: Iterable[tuple[str, Parameter]], types: ParameterTypes, what: str
    ) -> None:
        """Check parameters against their types.

        Parameters
        ----------
        uses
            Parameters, each with the entity that it is of.
        types
            Of the parameters; those whose type is still to be created are not in it.
        what
            Of what they are, for people.

        Raises
        ------
        Rejection
            A value does not fit its type.
        """
        for owner, parameter in uses:
            kind = types.get((parameter.name, parameter.units))
            self._value(owner, "", parameter, kind)
        self._report(what)

    def values(self, dataset: Dataset, types: ParameterTypes) -> None:
        """Check parameters against their types.

        Parameters
        ----------
        dataset
            Checked by :meth:`dataset` before.
        types
            Of its parameters; those whose type is still to be created are not in it.

        Raises
        ------
        Rejection
            A value does not fit its type.
        """
        for parameter in dataset.sample.parameters if dataset.sample else ():
            kind = types.get((parameter.name, parameter.units))
            self._value("Sample", "", parameter, kind)
        for parameter in dataset.parameters:
            kind = types.get((parameter.name, parameter.units))
            self._value("Dataset", "", parameter, kind)
        for datafile in dataset.datafiles:
            for parameter in datafile.parameters:
                kind = types.get((parameter.name, parameter.units))
                at = f" of Datafile {shorten(datafile.name)}"
                self._value("Datafile", at, parameter, kind)
        self._report(f"dataset {dataset.investigation}")

    def _datafile(self, datafile: Datafile) -> None:
        # Ten thousand of these have to be quick: no text is made of what is right.
        for name, value in (
            ("location", datafile.location),
            ("checksum", datafile.checksum),
            ("description", datafile.description),
        ):
            if value is not None and not self._fits("Datafile", name, value):
                self._text(_file(datafile), "Datafile", name, value)
        if not datafile.name or not self._fits("Datafile", "name", datafile.name):
            self._name(_file(datafile), "Datafile", datafile.name)
        size = datafile.size
        if size is not None and not (type(size) is int and 0 <= size <= _LONG_MAX):
            self._problems.append(
                f"{_file(datafile)}: fileSize: {shorten(size)} is no number of bytes"
            )
        if datafile.create_time is not None:
            self._time(datafile, "datafileCreateTime", datafile.create_time)
        if datafile.mod_time is not None:
            self._time(datafile, "datafileModTime", datafile.mod_time)
        if datafile.format is not None:
            self._key(datafile, "format", datafile.format.name)
            self._key(datafile, "format version", datafile.format.version)
        if datafile.parameters:
            self._parameters("DatafileParameter", datafile, datafile.parameters)

    def _parameters(
        self, entity: str, where: str | Datafile, parameters: tuple[Parameter, ...]
    ) -> None:
        self._duplicates(where, "parameters", (p.label for p in parameters))
        for p in parameters:
            self._key(where, "parameter", p.name)
            self._key(where, "unit", p.units)
            at = f"{entity} {p.label}"
            if isinstance(p.value, str):
                self._text(at, entity, "stringValue", p.value)
            elif isinstance(p.value, datetime):
                self._time(at, "dateTimeValue", p.value)
            else:
                self._number(at, "numericValue", p.value)
            for name, value in (
                ("error", p.error),
                ("rangeBottom", p.range_bottom),
                ("rangeTop", p.range_top),
            ):
                if value is not None:
                    self._number(at, name, value)

    def _value(
        self, owner: str, at: str, parameter: Parameter, kind: ParameterType | None
    ) -> None:
        if kind is None:
            return
        entry, value = kind.entry, parameter.value
        name = f"{owner}Parameter {parameter.label}{at}"
        if owner not in entry.applicable_to:
            self._problems.append(
                f"{name}: the type is not applicable to a {owner}; set"
                f" applicableTo{owner} in ICAT"
            )
        if value_type(value) is not entry.value_type:
            self._problems.append(
                f"{name}: value: {shorten(value)} is not"
                f" {_PYTHON_TYPES[entry.value_type]}, but the type is"
                f" {entry.value_type.value}"
            )
        elif entry.enforced and isinstance(value, str):
            if entry.permissible and value not in entry.permissible:
                allowed = ", ".join(shorten(v) for v in entry.permissible[:5])
                self._problems.append(
                    f"{name}: value: {shorten(value)} is none of the permissible"
                    f" values ({allowed}{'…' if len(entry.permissible) > 5 else ''})"
                )
        elif entry.enforced and isinstance(value, int | float):
            if entry.minimum is not None and value < entry.minimum:
                self._problems.append(
                    f"{name}: value: {value} is under the minimum, {entry.minimum}"
                )
            if entry.maximum is not None and value > entry.maximum:
                self._problems.append(
                    f"{name}: value: {value} is over the maximum, {entry.maximum}"
                )

    def _fits(self, entity: str, name: str, value: object) -> bool:
        key = (entity, name)
        if key not in self._limits:
            if not self.schema.has(entity, name):
                return False
            self._limits[key] = self.schema.length(entity, name)
        limit = self._limits[key]
        return (
            isinstance(value, str)
            and (limit is None or len(value) <= limit)
            and FORBIDDEN.search(value) is None
        )

    def _text(
        self, where: str | Datafile, entity: str, name: str, value: object
    ) -> None:
        if value is None or self._fits(entity, name, value):
            return
        at = f"{_file(where)}: {name}"
        if not self.schema.has(entity, name):
            self._problems.append(f"{at}: ICAT {self.schema.version} has no such field")
        elif not isinstance(value, str):
            self._problems.append(f"{at}: {shorten(value)} is no text")
        elif bad := FORBIDDEN.search(value):
            self._problems.append(
                f"{at}: {shorten(value)} holds U+{ord(bad[0]):04X} at {bad.start()},"
                " which XML cannot carry"
            )
        else:
            self._problems.append(
                f"{at}: {len(value)} characters ({shorten(value)}), at most"
                f" {self.schema.length(entity, name)} are allowed"
            )

    def _name(self, where: str, entity: str, value: object) -> None:
        if value == "":
            self._problems.append(f"{where}: name: empty")
        else:
            self._text(where, entity, "name", value if value is not None else 0)

    def _key(self, where: str | Datafile, name: str, value: object) -> None:
        if not isinstance(value, str) or FORBIDDEN.search(value) or len(value) > 255:
            self._problems.append(
                f"{_file(where)}: {name}: {shorten(value)} is no name of anything in"
                " ICAT"
            )

    def _time(self, where: str | Datafile, name: str, value: datetime | None) -> None:
        if value is None:
            return
        problem = None
        if not isinstance(value, datetime):
            problem = "is no time"
        elif value.utcoffset() is None:
            problem = "has no time zone"
        else:
            try:
                value.astimezone(UTC)
            except OverflowError:
                problem = "is outside the years 1 to 9999"
        if problem is not None:
            self._problems.append(f"{_file(where)}: {name}: {shorten(value)} {problem}")

    def _span(self, where: str, start: datetime | None, end: datetime | None) -> None:
        before = len(self._problems)
        self._time(where, "startDate", start)
        self._time(where, "endDate", end)
        if start is not None and end is not None and before == len(self._problems):
            if end < start:
                self._problems.append(
                    f"{where}: endDate: {end.isoformat()} is before startDate:"
                    f" {start.isoformat()}"
                )

    def _number(self, where: str, name: str, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._problems.append(f"{where}: {name}: {shorten(value)} is no number")
            return
        try:
            finite = math.isfinite(float(value))
        except OverflowError:
            finite = False
        if not finite:
            self._problems.append(
                f"{where}: {name}: {shorten(value)} is no finite number"
            )

    def _duplicates(
        self, where: str | Datafile, what: str, names: Iterable[str]
    ) -> None:
        # The usual collations of MariaDB also ignore blanks at the end.
        fold: Callable[[str], str] = (
            (lambda name: name.rstrip(" ").casefold()) if self.ignore_case else str
        )
        names = list(names)
        if len({fold(name) for name in names}) == len(names):
            return
        counted = Counter(fold(name) for name in names)
        for key, count in counted.items():
            if count > 1:
                spelled = [shorten(name) for name in names if fold(name) == key]
                self._problems.append(
                    f"{_file(where)}: {what}: {count} of one name"
                    f" ({', '.join(spelled[:3])})"
                )

    def _report(self, what: str) -> None:
        if not self._problems:
            return
        problems, count = self._problems[:_REPORTED], len(self._problems)
        self._problems.clear()
        text = "; ".join(problems)
        if count > _REPORTED:
            text += f"; and {count - _REPORTED} more"
        raise Rejection(f"{what}: {text}")


def value_type(value: float | str | datetime) -> ValueType:
    """Return the type of parameter that takes such a value."""
    if isinstance(value, str):
        return ValueType.STRING
    if isinstance(value, datetime):
        return ValueType.DATE_AND_TIME
    return ValueType.NUMERIC


def _file(where: str | Datafile) -> str:
    if isinstance(where, str):
        return where
    return f"Datafile {shorten(where.name)}"
