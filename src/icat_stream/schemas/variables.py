"""Variables at work: fetched, made the declared type and unit, operated on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import PurePosixPath
from typing import Any

from icat_stream.records import FileContent, Rejection

from .selectors import Announcement, message_value
from .templates import Template
from .units import conversion
from .values import DATETIME, STRING, Kind, Mismatch, Scalar, Value, coerce, shorten

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
    """

    message: Announcement | None
    content: FileContent
    values: dict[str, Value]


Fetch = Callable[[Inputs], Value]


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
    ignore_file_unit
        Whether the file's own unit is known to be wrong.
    functions
        The operators.
    keeps_unit
        Whether a unit survives them.
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
    ignore_file_unit: bool
    functions: tuple[Callable[[Any], Any], ...]
    keeps_unit: bool
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
        """
        raw, found_unit, source = self.fetch(inputs)
        value = None
        unit = found_unit
        if raw is not None:
            value = coerce(raw, self.kind, self.zone)
            if self.unit is not None:
                as_is = self.ignore_file_unit or found_unit in (None, self.unit)
                if value is not None and not as_is:
                    value = self._converted(value, str(found_unit))
                unit = self.unit
            for function in self.functions:
                if value is None:
                    break
                value = function(value)
        if value is None or value == "":
            if self.required:
                raise Mismatch(
                    "is required but absent"
                    if raw is None
                    else f"is required but there is no value in {shorten(raw)}"
                )
            return Value(self.default, self.unit if self.keeps_unit else None, source)
        return Value(value, unit if self.keeps_unit else None, source)

    def _converted(self, value: Any, found_unit: str) -> Any:
        change = conversion(found_unit, self.unit or "")
        many = isinstance(value, tuple)
        numbers = [change.value(one) for one in (value if many else (value,))]
        if self.kind.scalar is Scalar.INTEGER:
            if any(one != int(one) for one in numbers):
                raise Mismatch(
                    f"{shorten(value)} {found_unit} is no integer in {self.unit}"
                )
            numbers = [int(one) for one in numbers]
        return tuple(numbers) if many else numbers[0]


def fetch_nexus(paths: tuple[str, ...]) -> Fetch:
    """Return what finds the first of several paths that says something."""

    def fetch(inputs: Inputs) -> Value:
        for path in paths:
            found = inputs.content.values.get(path)
            if found is not None and found.value not in ("", ()):
                return Value(found.value, found.units, path)
        return Value(None, None, paths[0])

    return fetch


def fetch_message(field: str) -> Fetch:
    """Return what finds a field of the message."""
    source = f"message.{field}"
    return lambda inputs: Value(message_value(inputs.message, field), None, source)


def fetch_value(value: Any, template: Template | None) -> Fetch:
    """Return what gives a constant, another variable, or a template's text."""
    if template is None:
        constant = Value(value, None, CONSTANT)
        return lambda inputs: constant
    lone = template.lone
    if lone is not None:
        return lambda inputs: inputs.values[lone]
    names = [placeholder.name for placeholder in template.placeholders]

    def fetch(inputs: Inputs) -> Value:
        sources = dict.fromkeys(inputs.values[name].source for name in names)
        source = ", ".join(sources) or CONSTANT
        return Value(template.render(inputs.values), None, source)

    return fetch
