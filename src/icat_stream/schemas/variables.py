"""Variables at work: fetched, made the declared type and unit, operated on."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from pathlib import PurePosixPath
from typing import Any

from icat_stream.records import AskedPath, FieldValue, FileContent, Rejection

from .arithmetic import Term
from .operators import DIFFERENCES
from .selectors import Announcement, message_value
from .templates import Template
from .time_values import duration_of, time_of
from .units import Conversion, UnitError, conversion, zero_is_agreed
from .values import (
    DATETIME,
    FLOAT,
    STRING,
    Kind,
    Mismatch,
    Scalar,
    Value,
    WrongShape,
    coerce,
    says_nothing,
    shorten,
)

ENTRY = "{entry}"
CONSTANT = "a constant"
"""Where a value is from that no file and no message says."""

BUILT_IN: Mapping[str, Kind] = {
    "file.name": STRING,
    "file.path": STRING,
    "file.stem": STRING,
    "file.folder": STRING,
    "file.modified": DATETIME,
    "job_id": STRING,
    "service_id": STRING,
    "schema.id": STRING,
    "record.time": DATETIME,
}
ENTRY_NAME = "entry.name"
"""The variable that only schemas with a dataset for each NXentry have."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What variables are made of.

    Parameters
    ----------
    message
        The announcement, if there is one.
    content
        Of the file.
    values
        The variables so far.
    notes
        What is worth knowing of a dataset that is made all the same, each with the
        variables that it is about.
    entry
        What ``{entry}`` stands for, where each NXentry is a dataset of its own.
    """

    message: Announcement | None
    content: FileContent
    values: dict[str, Value]
    notes: dict[str, list[str]] = field(default_factory=dict)
    entry: str | None = None

    def note(self, text: str, variable: str) -> None:
        """Take down what is worth knowing of a variable."""
        self.notes.setdefault(text, []).append(variable)

    def all_notes(self) -> tuple[str, ...]:
        """Return the notes for people: what many variables share, only once."""
        return tuple(
            f"variable{'s' * (len(names) > 1)} {', '.join(names)}: {text}"
            for text, names in self.notes.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a source says.

    Parameters
    ----------
    value
        ``None`` where there is nothing.
    unit
        ``None`` where nothing says which, or where `parts` say it.
    source
        Where it is from.
    parts
        The places of a wildcard, where they do not name one and the same unit.
    note
        What was left out on the way to it, or why there is nothing.
    failure
        Why it can be no value, though something is there.
    """

    value: Any = None
    unit: str | None = None
    source: str
    parts: tuple[tuple[str, FieldValue], ...] = ()
    note: str | None = None
    failure: Rejection | None = None


Operation = Callable[[Any, Mapping[str, Value]], Any]
"""What an operator makes of a value, with all variables at hand."""

Fetch = Callable[[Inputs], Iterable[Found]]
"""Gives what several sources say, in the order in which they are asked."""


def built_in_values(
    schema_id: str,
    message: Announcement | None,
    content: FileContent,
    record_time: datetime,
) -> dict[str, Value]:
    """Return the variables that every schema has."""
    path = PurePosixPath(content.stat.path)
    found: dict[str, Any] = {
        "file.name": path.name,
        "file.path": content.stat.path,
        "file.stem": path.stem,
        "file.folder": str(path.parent),
        "file.modified": _modified(content),
        "job_id": message_value(message, "job_id"),
        "service_id": message_value(message, "service_id"),
        "schema.id": schema_id,
        "record.time": record_time,
    }
    return {name: Value(value, None, name) for name, value in found.items()}


def _modified(content: FileContent) -> datetime:
    # Whole seconds: catalogues keep no more, and floats would not either.
    seconds = content.stat.mtime_ns // 10**9
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Rejection(
            f"{content.stat.path}: its time of modification, {seconds:,} s after 1970,"
            " is outside the years 1 to 9999; set it right (touch)"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A compiled variable.

    Parameters
    ----------
    name
        Its own.
    fetch
        Finds the raw value.
    kind
        The declared type of the raw value.
    zone
        Of times that name none.
    unit
        The unit that the value shall have, and has where the file names none.
    file_unit
        The variable that says the file's unit, in place of what is beside the value.
    ignore_file_unit
        Whether the file's own unit is known to be wrong.
    term
        Another variable that is added or taken away.
    functions
        The operators.
    keeps_unit
        Whether a unit survives them.
    counts
        Whether only the number of values matters, and no unit.
    gathers
        Name of the operator that makes one value of a list and passes over what in
        it says nothing, if there is one.
    aligned
        Whether `default` stands for each item of a list that says nothing.
    default
        Where there is no value.
    required
        Whether it is an error that there is none.
    where
        Its source, for messages.
    """

    name: str
    fetch: Fetch
    kind: Kind
    zone: tzinfo
    unit: str | None
    file_unit: str | None
    ignore_file_unit: bool
    term: Term | None
    functions: tuple[Operation, ...]
    keeps_unit: bool
    counts: bool
    gathers: str | None
    aligned: bool
    default: Any
    required: bool
    where: str

    def evaluate(self, inputs: Inputs) -> Value:
        """Return the value.

        Raises
        ------
        ValueError
            It is not of the declared type, its unit cannot be converted, an operator
            does not work on it, or it is missing but required.
        Rejection
            All that is there is something else than a value.
        """
        found, value = self._first(inputs)
        unit = found.unit
        if found.value is not None:
            if value is not None:
                value, unit = self._in_one_unit(found, value)
                if self.term is not None:
                    other = inputs.values[self.term.name]
                    value, unit = self.term.apply(value, unit, other)
                if self.gathers in DIFFERENCES and zero_is_agreed(unit):
                    raise Mismatch(
                        f"{self.gathers} of temperatures in {unit} is none, since it"
                        " depends on where zero is: expected unit: K, or mean"
                    )
                self._note_gaps(value, inputs)
            for function in self.functions:
                if value is None:
                    break
                value = function(value, inputs.values)
        if found.note:
            inputs.note(found.note, self.name)
        if self.aligned and self.default is not None and isinstance(value, tuple):
            value = tuple(self.default[0] if one is None else one for one in value)
        if value is None or value == "" or (self.kind.many and says_nothing(value)):
            if self.required:
                raise Mismatch(self._absence(found))
            unit = self.unit if self.keeps_unit else None
            return Value(self.default, unit, found.source)
        return Value(value, unit if self.keeps_unit else None, found.source)

    def _first(self, inputs: Inputs) -> tuple[Found, Any]:
        """Return what says something first, else what is there, and its value.

        Raises
        ------
        Mismatch, Rejection
            What is there cannot be the value, or not in this shape.
        """
        nothing: list[Found] = []
        failure: Exception | None = None
        for found in self.fetch(inputs):
            if found.failure is not None:
                failure = failure or found.failure
                continue
            if self.file_unit is not None:
                said = inputs.values[self.file_unit].value
                found = replace(found, unit=said, parts=())
            found = self._timed(found)
            try:
                value = (
                    None
                    if found.value is None
                    else coerce(found.value, self.kind, self.zone)
                )
            except WrongShape as mismatch:
                failure = failure or mismatch
                continue
            if not says_nothing(value):
                return found, value
            nothing.append(found)
        if failure is not None:
            raise failure
        there = [found for found in nothing if found.value is not None]
        first = (there or nothing)[0]
        notes = [found.note for found in nothing if found.note]
        value = coerce(first.value, self.kind, self.zone) if there else None
        return replace(first, note="; ".join(notes) or None), value

    def _timed(self, found: Found) -> Found:
        """Return a time for a number since 1970, and seconds for a duration."""
        value = found.value
        if self.kind == DATETIME:
            if _is_number(value):
                known = None if self.ignore_file_unit else found.unit
                unit = self.unit if known is None else known
                return replace(found, value=time_of(value, unit, self.zone), unit=None)
        elif self.kind == FLOAT and isinstance(value, str):
            seconds = duration_of(value)
            if seconds is not None:
                return replace(found, value=seconds, unit="s")
        return found

    def _absence(self, found: Found) -> str:
        if found.value is not None:
            return f"is required but there is no value in {shorten(found.value)}"
        return "is required but absent" + (f": {found.note}" if found.note else "")

    def _note_gaps(self, value: Any, inputs: Inputs) -> None:
        if self.gathers is None or not isinstance(value, tuple):
            return
        if gaps := value.count(None):
            inputs.note(
                f"{gaps} of {len(value)} values say nothing (not a number, or blank);"
                f" {self.gathers} is of the others",
                self.name,
            )

    def _in_one_unit(self, found: Found, value: Any) -> tuple[Any, str | None]:
        """Return a value in the variable's unit, or in the one that the file names."""
        if not self.kind.is_number:
            return value, None if self.kind == DATETIME else found.unit
        if self.ignore_file_unit or (self.counts and self.unit is None):
            return value, self.unit
        if found.parts:
            return self._together(found.parts)
        if found.unit is None or self.unit is None:
            return value, found.unit if self.unit is None else self.unit
        return self._converted(value, found.unit, self.unit), self.unit

    def _together(
        self, parts: tuple[tuple[str, FieldValue], ...]
    ) -> tuple[Any, str | None]:
        """Return the values of several places in one unit."""
        at, first = next((at, part.units) for at, part in parts if part.units)
        unit = self.unit or first
        values: list[Any] = []
        for place, part in parts:
            if part.value is None:
                values.append(None)
                continue
            some = coerce(part.value, self.kind, self.zone) or ()
            if part.units is None:
                # Taken to be in the unit, unless another place shows that it may not.
                self._check_silent(place, parts, unit)
            else:
                try:
                    some = self._converted(some, part.units, unit)
                except UnitError as error:
                    raise Mismatch(
                        f"{place} is in {part.units!r}, expected {unit!r}"
                        + ("" if self.unit else f" as at {at}")
                        + f": {error}"
                    ) from error
            values += some
        return tuple(values), unit

    def _check_silent(
        self, place: str, parts: tuple[tuple[str, FieldValue], ...], unit: str
    ) -> None:
        for at, part in parts:
            if part.units and conversion(part.units, unit).changes:
                raise Mismatch(
                    f"{place} names no unit, and {at} is in {part.units!r}: expected"
                    f" one at each place, or none, or {unit!r} wherever there is one"
                )

    def _converted(self, value: Any, found_unit: str, unit: str) -> Any:
        change = conversion(found_unit, unit)
        if not change.changes:
            return value
        many = isinstance(value, tuple)
        numbers = tuple(
            None if one is None else self._number(change, one, found_unit, unit)
            for one in (value if many else (value,))
        )
        return numbers if many else numbers[0]

    def _number(
        self, change: Conversion, value: float, found_unit: str, unit: str
    ) -> float:
        if self.kind.scalar is not Scalar.INTEGER:
            return change.value(value)
        whole = change.integer(int(value))
        if whole is None:
            raise Mismatch(f"{shorten(value)} {found_unit} is no integer in {unit}")
        return whole


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def fetch_nexus(paths: tuple[AskedPath, ...]) -> Fetch:
    """Return what asks several paths of the file."""

    def fetch(inputs: Inputs) -> Iterator[Found]:
        content = inputs.content
        for asked in (at_entry(path, inputs.entry) for path in paths):
            source = asked if isinstance(asked, str) else asked.path
            note = content.notes.get(asked)
            try:
                found = content.values.get(asked)
            except Rejection as failure:
                yield Found(source=source, failure=failure)
                continue
            if found is None:
                yield Found(source=source, note=note)
            else:
                yield Found(
                    value=found.value,
                    unit=found.units,
                    source=source,
                    parts=found.parts,
                    note=note,
                )

    return fetch


def at_entry(asked: AskedPath, entry: str | None) -> AskedPath:
    """Return a path with an entry's name for ``{entry}``, where it means each."""
    if isinstance(asked, str) or not asked.each_entry or entry is None:
        return asked
    return replace(asked, path=f"/{entry}{asked.path.lstrip('/')[len(ENTRY) :]}")


def fetch_items(template: Template, lists: frozenset[str]) -> Fetch:
    """Return what makes a text of each item of several lists.

    Parameters
    ----------
    template
        Of each text.
    lists
        Which of its variables are lists; the others are the same for each.
    """
    names = [placeholder.name for placeholder in template.placeholders]

    def fetch(inputs: Inputs) -> Iterator[Found]:
        sources = dict.fromkeys(inputs.values[name].source for name in names)
        found = {name: inputs.values[name].value for name in names if name in lists}
        lengths = {name: len(one) for name, one in found.items() if one is not None}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"<{name}> {length:,}" for name, length in lengths.items())
            raise Mismatch(f"expected lists with as many items, found {told}")
        nothing = (None,) * max(lengths.values(), default=0)
        items = {name: nothing if one is None else one for name, one in found.items()}
        texts = tuple(
            template.render(
                inputs.values
                | {
                    name: Value(one, None, name)
                    for name, one in zip(items, row, strict=True)
                }
            )
            for row in zip(*items.values(), strict=True)
        )
        gaps = texts.count(None)
        yield Found(
            value=texts or None,
            source=", ".join(sources) or CONSTANT,
            note=f"{gaps} of {len(texts)} items lack one of {', '.join(items)}"
            if gaps
            else None,
        )

    return fetch


def fetch_message(field: str) -> Fetch:
    """Return what finds a field of the message."""
    source = f"message.{field}"

    def fetch(inputs: Inputs) -> Iterator[Found]:
        message = inputs.message
        value = message_value(message, field)
        lost = message is not None and value is None and field.startswith("metadata.")
        yield Found(
            value=value,
            source=source,
            note=message.unread if lost and message is not None else None,
        )

    return fetch


def fetch_value(value: Any, template: Template | None) -> Fetch:
    """Return what gives a constant, another variable, or a template's text."""
    if template is None:
        constant = (Found(value=value, source=CONSTANT),)
        return lambda inputs: constant
    lone = template.lone
    if lone is not None:

        def another(inputs: Inputs) -> Iterator[Found]:
            value, unit, source = inputs.values[lone]
            yield Found(value=value, unit=unit, source=source)

        return another
    names = [placeholder.name for placeholder in template.placeholders]

    def fetch(inputs: Inputs) -> Iterator[Found]:
        sources = dict.fromkeys(inputs.values[name].source for name in names)
        source = ", ".join(sources) or CONSTANT
        yield Found(value=template.render(inputs.values), source=source)

    return fetch
