"""A planned dataset, and parts of one, as XML content of ICAT's beans."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from icat_stream.icat import Schema, escape, time_text, value_text
from icat_stream.records import Datafile, Parameter

from .resolver import Resolved

Row = Mapping[str, Any]


class Writer:
    """Writes what belongs to one dataset.

    Parameters
    ----------
    schema
        Of the server.
    resolved
        The dataset and what it refers to; all of that is there.
    """

    def __init__(self, schema: Schema, resolved: Resolved) -> None:
        self._resolved = resolved
        # A nested parameter is checked against its type as sent, so the type goes
        # out with all that is known of it; once made, as text, for all its uses.
        names = schema.attributes("ParameterType")
        self._types = {
            key: "<type>" + attributes(kind.row, names) + "</type>"
            for key, kind in resolved.parameter_types.items()
        }
        self._formats = {
            kind: f"<datafileFormat><id>{number}</id></datafileFormat>"
            for kind, number in resolved.format_ids.items()
        }

    def dataset(self, name: str, *, complete: bool, with_files: bool) -> str:
        """Return the dataset with all that is nested in it.

        Parameters
        ----------
        name
            Its name, which a policy may have changed.
        complete
            Whether it counts as complete from the beginning.
        with_files
            Whether its datafiles are nested in it.
        """
        planned = self._resolved.dataset
        parts = [f"<complete>{'true' if complete else 'false'}</complete>"]
        if with_files:
            parts += [
                f"<datafiles>{self.datafile(file)}</datafiles>"
                for file in planned.datafiles
            ]
        parts += [
            f"<datasetInstruments>{self.instrument(n)}</datasetInstruments>"
            for n in planned.instruments
        ]
        parts += [
            f"<datasetTechniques>{self.technique(t.name)}</datasetTechniques>"
            for t in planned.techniques
        ]
        _text(parts, "description", planned.description)
        _time(parts, "endDate", planned.end)
        _whole(parts, "fileCount", planned.file_count)
        _whole(parts, "fileSize", planned.file_size)
        parts.append(reference("investigation", self._resolved.investigation_id))
        _text(parts, "location", planned.location)
        _text(parts, "name", name)
        parts += [
            f"<parameters>{self.parameter(p)}</parameters>" for p in planned.parameters
        ]
        if self._resolved.sample_id is not None:
            parts.append(reference("sample", self._resolved.sample_id))
        _time(parts, "startDate", planned.start)
        parts.append(reference("type", self._resolved.type_id))
        return "".join(parts)

    def datafile(self, file: Datafile) -> str:
        """Return a datafile with its parameters."""
        parts: list[str] = []
        _text(parts, "checksum", file.checksum)
        _time(parts, "datafileCreateTime", file.create_time)
        if file.format is not None:
            parts.append(self._formats[file.format])
        _time(parts, "datafileModTime", file.mod_time)
        _text(parts, "description", file.description)
        _whole(parts, "fileSize", file.size)
        _text(parts, "location", file.location)
        _text(parts, "name", file.name)
        if file.parameters:
            parts += [
                f"<parameters>{self.parameter(p)}</parameters>" for p in file.parameters
            ]
        return "".join(parts)

    def parameter(self, parameter: Parameter) -> str:
        """Return a parameter with its type."""
        tags = {
            "error": parameter.error,
            "rangeBottom": parameter.range_bottom,
            "rangeTop": parameter.range_top,
        }
        content = "".join(
            f"<{tag}>{float(value)!r}</{tag}>"
            for tag, value in tags.items()
            if value is not None
        )
        name, value = parameter_value(parameter)
        return (
            f"{content}<{name}>{value_text(value)}</{name}>"
            + self._types[parameter.name, parameter.units]
        )

    def instrument(self, name: str) -> str:
        """Return the link to an instrument."""
        return reference("instrument", self._resolved.instrument_ids[name])

    def technique(self, name: str) -> str:
        """Return the link to a technique."""
        return reference("technique", self._resolved.technique_ids[name])


def reference(tag: str, number: int) -> str:
    """Return a to-one relation."""
    return f"<{tag}><id>{number}</id></{tag}>"


def attributes(row: Row, names: list[str]) -> str:
    """Return an object's id and attributes, as a search returned them."""
    return f"<id>{row['id']}</id>" + "".join(
        f"<{name}>{value_text(row[name])}</{name}>"
        for name in names
        if row.get(name) is not None
    )


def rewritten(schema: Schema, entity: str, row: Row, changes: Row) -> str:
    """Return an object with some fields changed, for an update of all of them.

    Parameters
    ----------
    schema
        Of the server.
    entity
        Of the object.
    row
        The object with all its to-one relations, as a search returned it.
    changes
        New values; of a to-one relation the id.
    """
    fields = {
        name: changes.get(name, row.get(name)) for name in schema.attributes(entity)
    }
    parts = [f"<id>{row['id']}</id>"]
    parts += [
        f"<{name}>{value_text(value)}</{name}>"
        for name, value in fields.items()
        if value is not None
    ]
    for name, target in schema.to_one(entity).items():
        if name in changes:
            parts.append(reference(name, changes[name]))
        elif row.get(name):
            names = schema.attributes(target)
            parts.append(f"<{name}>{attributes(row[name], names)}</{name}>")
    return "".join(parts)


def parameter_value(parameter: Parameter) -> tuple[str, float | str | datetime]:
    """Return which attribute takes a parameter's value, and the value."""
    if isinstance(parameter.value, str):
        return "stringValue", parameter.value
    if isinstance(parameter.value, datetime):
        return "dateTimeValue", parameter.value
    return "numericValue", float(parameter.value)


def _text(parts: list[str], tag: str, value: str | None) -> None:
    if value is not None:
        parts.append(f"<{tag}>{escape(value)}</{tag}>")


def _whole(parts: list[str], tag: str, value: int | None) -> None:
    if value is not None:
        parts.append(f"<{tag}>{value}</{tag}>")


def _time(parts: list[str], tag: str, value: datetime | None) -> None:
    if value is not None:
        parts.append(f"<{tag}>{time_text(value)}</{tag}>")
