"""A compiled metadata schema, and choosing among several."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from icat_stream.records import AskedPath, FileContent, Rejection, ValueType, rounding

from .draft import Draft, DraftParameter
from .selectors import Announcement, Condition
from .templates import Template
from .units import UnitError, conversion, means_none
from .values import Value, shorten, text, texts
from .variables import (
    CONSTANT,
    ENTRY,
    ENTRY_NAME,
    Inputs,
    Variable,
    at_entry,
    built_in_values,
)

ParameterKey = tuple[str, str, ValueType]


@dataclass(frozen=True, slots=True)
class Number:
    """A constant, or a variable whose value is a number."""

    constant: float | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterRule:
    """How one parameter is made.

    Parameters
    ----------
    name, units, value_type
        Of the parameter.
    value
        A number, or a template: of a text, or of nothing but a time.
    error, range_bottom, range_top
        Numbers beside it.
    """

    name: str
    units: str
    value_type: ValueType
    value: Number | Template
    error: Number | None = None
    range_bottom: Number | None = None
    range_top: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRule:
    """How the dataset is made: templates, and variables that are times."""

    texts: Mapping[str, Template]
    times: Mapping[str, str]
    lists: Mapping[str, tuple[Template, ...]]
    each_entry: bool
    complete: bool
    include_external_links: bool


_REQUIRED = {
    "investigation": "dataset.investigation",
    "name": "dataset.name",
    "type": "dataset.type",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataSchema:
    """What the files of one instrument or layout become.

    Parameters
    ----------
    id, order
        Its name, and its place among others.
    condition
        Whether a file is its business.
    paths
        Paths inside the file that it needs.
    settled_when
        A path that only finished files have.
    variables, dataset, parameters
        The rules.
    """

    id: str
    order: int
    condition: Condition
    paths: frozenset[AskedPath]
    settled_when: AskedPath | None
    variables: tuple[Variable, ...]
    dataset: DatasetRule
    parameters: tuple[ParameterRule, ...]

    def missing_end(self, content: FileContent) -> str | None:
        """Return the path that only finished files have and this one lacks."""
        wanted = self.settled_when
        if wanted is None:
            return None
        for entry in self._entries(content) or (None,):
            path = at_entry(wanted, entry)
            if path not in content.values:
                return path if isinstance(path, str) else path.path
        return None

    def drafts(
        self,
        message: Announcement | None,
        content: FileContent,
        *,
        record_time: datetime,
    ) -> tuple[Draft, ...]:
        """Make the datasets of a file: one, or one for each NXentry.

        Parameters
        ----------
        message, content, record_time
            As :meth:`evaluate` takes them.

        Raises
        ------
        Rejection
            As :meth:`evaluate`, or there is no NXentry, or two would have one name.
        """
        entries = self._entries(content)
        named: dict[tuple[str, str | None, str], str | None] = {}
        found = []
        for entry in entries:
            draft = self.evaluate(
                message, content, record_time=record_time, entry=entry
            )
            key = (draft.investigation, draft.visit_id, draft.name)
            if key in named:
                self._reject(
                    content,
                    "dataset.name",
                    f"entries {named[key]} and {entry} are both {draft.name!r},"
                    f" expected names that differ, such as with <{ENTRY_NAME}>",
                )
            named[key] = entry
            found.append(draft)
        if not found:
            self._reject(
                content,
                "dataset.for_each",
                "; ".join(["has no NXentry", *self._entry_notes(content)]),
            )
        return tuple(found)

    def _entries(self, content: FileContent) -> tuple[str | None, ...]:
        return content.entries if self.dataset.each_entry else (None,)

    def _entry_notes(self, content: FileContent) -> list[str]:
        """Return what may be an entry and was not read."""
        return list(
            dict.fromkeys(
                note
                for path, note in content.notes.items()
                if not isinstance(path, str) and path.each_entry and path.path == ENTRY
            )
        )

    def evaluate(
        self,
        message: Announcement | None,
        content: FileContent,
        *,
        record_time: datetime,
        entry: str | None = None,
    ) -> Draft:
        """Make a dataset of a file.

        Parameters
        ----------
        message
            What announced it, if anything did.
        content
            What the file says at the schema's paths.
        record_time
            When it was announced: the only time there is, since the same record has
            to become the same dataset whenever it is handled.
        entry
            The NXentry that it is made of, where each is a dataset.

        Raises
        ------
        Rejection
            A value is missing, of the wrong type, or in a unit that cannot be
            converted.
        """
        values = built_in_values(self.id, message, content, record_time)
        if entry is not None:
            values[ENTRY_NAME] = Value(entry, None, ENTRY_NAME)
        inputs = Inputs(message, content, values, entry=entry)
        for variable in self.variables:
            try:
                values[variable.name] = variable.evaluate(inputs)
            except Rejection as rejection:
                raise Rejection(
                    f"{rejection.reason}; schema {self.id} wants it for variable"
                    f" {variable.name}"
                ) from rejection
            except ValueError as error:
                where = f"variable {variable.name} ({variable.where})"
                if entry is not None:
                    where = f"entry {entry}: {where}"
                self._reject(content, where, str(error))
        rule = self.dataset
        texts = {name: t.render(values) or None for name, t in rule.texts.items()}
        for name, field in _REQUIRED.items():
            if texts[name] is None:
                self._reject(content, field, self._why_absent(rule.texts[name], values))
        version = texts.pop("format_version", None)
        kind = texts.pop("format_name", None)
        formula = texts.pop("sample_formula", None)
        fields: dict[str, Any] = dict(texts)
        start, end = self._times(values, content)
        parameters = [
            made
            for parameter in self.parameters
            if (made := self._parameter(parameter, inputs)) is not None
        ]
        return Draft(
            **fields,
            schema_id=self.id,
            entry=entry,
            sample_formula=formula or "",
            format=(kind, version) if kind and version else None,
            start=start,
            end=end,
            instruments=self._list("instruments", values),
            techniques=self._list("techniques", values),
            complete=rule.complete,
            include_external_links=rule.include_external_links,
            sources=self._sources(values),
            parameters=tuple(parameters),
            notes=(*inputs.all_notes(), *(self._entry_notes(content) if entry else ())),
        )

    def _sources(self, values: Mapping[str, Value]) -> dict[str, str]:
        rule = self.dataset
        names = {name: _variables([template]) for name, template in rule.texts.items()}
        names |= {
            field: _variables(found) for field, found in rule.lists.items() if found
        }
        names |= {field: [name] for field, name in rule.times.items()}
        return {field: _origin(found, values) for field, found in names.items()}

    def _times(
        self, values: Mapping[str, Value], content: FileContent
    ) -> tuple[datetime | None, datetime | None]:
        """Return start and end."""
        start, end = self._time("start", values), self._time("end", values)
        if start is not None and end is not None and end < start:
            sources = self._sources(values)
            self._reject(
                content,
                f"dataset.end ({sources['end']})",
                f"{end.isoformat()} is before the start {start.isoformat()}"
                f" ({sources['start']})",
            )
        return start, end

    def _time(self, field: str, values: Mapping[str, Value]) -> datetime | None:
        name = self.dataset.times.get(field)
        found: datetime | None = None if name is None else values[name].value
        return found

    def _list(self, field: str, values: Mapping[str, Value]) -> tuple[str, ...]:
        found: list[str] = []
        for template in self.dataset.lists[field]:
            lone = template.lone
            value = values[lone].value if lone else template.render(values)
            if isinstance(value, tuple):
                found.extend(texts(value))
            elif value is not None:
                found.append(text(value))
        return tuple(dict.fromkeys(one for one in found if one))

    def _parameter(self, rule: ParameterRule, inputs: Inputs) -> DraftParameter | None:
        """Return the parameter, or ``None`` where there is no value for it."""
        template, values = rule.value, inputs.values
        if isinstance(template, Number):
            names = [template.variable] if template.variable else []
            value: Any = self._number(rule, "value", template, inputs)
        else:
            names = _variables([template])
            if rule.value_type is ValueType.DATE_AND_TIME and template.lone:
                value = values[template.lone].value
            else:
                value = template.render(values) or None
        if value is None:
            return None
        return DraftParameter(
            name=rule.name,
            units=rule.units,
            value_type=rule.value_type,
            value=value,
            error=self._number(rule, "error", rule.error, inputs),
            range_bottom=self._number(rule, "range_bottom", rule.range_bottom, inputs),
            range_top=self._number(rule, "range_top", rule.range_top, inputs),
            source=_origin(names, values),
        )

    def _number(
        self, rule: ParameterRule, field: str, number: Number | None, inputs: Inputs
    ) -> float | None:
        """Return a number in the parameter's units."""
        if number is None:
            return None
        if number.variable is None:
            return number.constant
        value, unit, source = inputs.values[number.variable]
        if value is None:
            return None
        where = f"parameters.{rule.name}.{field} ({source})"
        if unit is None and not means_none(rule.units):
            self._reject(
                inputs.content,
                where,
                f"{shorten(value)} has no unit, expected one that converts to "
                f"{rule.units}; give variable {number.variable} a unit",
            )
        if unit is None or unit == rule.units:
            if (said := rounding(value)) is not None:
                inputs.note(f"{where}: {said}", number.variable)
            return float(value)
        try:
            change = conversion(unit, rule.units)
            return float(
                change.difference(value) if field == "error" else change.value(value)
            )
        except UnitError as error:
            self._reject(inputs.content, where, f"{shorten(value)} {unit}: {error}")

    def _why_absent(self, template: Template, values: Mapping[str, Value]) -> str:
        absent = [
            f"{placeholder.name} ({values[placeholder.name].source})"
            for placeholder in template.placeholders
            if values[placeholder.name].value is None
        ]
        return f"has no value, since there is none for {', '.join(absent) or 'it'}"

    def _reject(self, content: FileContent, where: str, what: str) -> NoReturn:
        raise Rejection(f"{content.stat.path}: schema {self.id}: {where}: {what}")


def _variables(templates: Iterable[Template]) -> list[str]:
    return [p.name for template in templates for p in template.placeholders]


def _origin(variables: Iterable[str], values: Mapping[str, Value]) -> str:
    """Say where the values of variables are from."""
    found = ((values[name].source, name) for name in variables)
    origins = (
        source if source == name else f"{source} (variable {name})"
        for source, name in found
    )
    return ", ".join(dict.fromkeys(origins)) or CONSTANT


class SchemaSet:
    """All schemas, in the order in which they are tried.

    Parameters
    ----------
    schemas
        With distinct ids.
    """

    def __init__(self, schemas: Sequence[MetadataSchema]) -> None:
        self.schemas = tuple(sorted(schemas, key=lambda s: (s.order, s.id)))

    def paths(self, path: str, message: Announcement | None) -> frozenset[AskedPath]:
        """Return the paths inside a file that may be needed.

        Parameters
        ----------
        path
            The file.
        message
            What announced it, if anything did.

        Returns
        -------
        :
            What the schemas need that path and message alone do not rule out.
        """
        found = self._candidates(path, message)
        return frozenset().union(*(schema.paths for schema in found))

    def wants_links(self, path: str, message: Announcement | None) -> bool:
        """Whether a schema that may be chosen enters the files behind links.

        Parameters
        ----------
        path
            The file.
        message
            What announced it, if anything did.
        """
        found = self._candidates(path, message)
        return any(schema.dataset.include_external_links for schema in found)

    def _candidates(
        self, path: str, message: Announcement | None
    ) -> Iterator[MetadataSchema]:
        """Give the schemas that may be chosen before the file is read."""
        for schema in self.schemas:
            decided = schema.condition(path, message, None)
            if decided is not False:
                yield schema
            if decided:
                return

    def choose(
        self, path: str, message: Announcement | None, content: FileContent
    ) -> MetadataSchema:
        """Return the first schema whose selector holds.

        Raises
        ------
        Rejection
            None does.
        """
        for schema in self.schemas:
            if schema.condition(path, message, content):
                return schema
        tried = ", ".join(schema.id for schema in self.schemas)
        raise Rejection(
            f"{path}: no metadata schema is for this file, tried {tried}; "
            "add a schema, or widen the selector of one"
        )

    def parameter_keys(self) -> tuple[ParameterKey, ...]:
        """Return name, units and value type of every parameter, sorted."""
        return tuple(
            sorted(
                {
                    (rule.name, rule.units, rule.value_type)
                    for schema in self.schemas
                    for rule in schema.parameters
                }
            )
        )
