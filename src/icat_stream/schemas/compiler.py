"""From a file's model to a working schema, finding every mistake on the way."""

import difflib
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Protocol

from icat_stream.records import AskedPath, FieldPath, ValueType

from .arithmetic import Term
from .models import ParameterModel, SchemaModel, VariableModel
from .operator import Function, Operator, Unfit
from .operators import DIFFERENCES, GATHERING
from .schema import DatasetRule, MetadataSchema, Number, ParameterRule
from .selectors import condition, selector_paths
from .templates import Template, parse
from .units import (
    UnitError,
    conversion,
    known,
    means_none,
    nearest,
    zero_is_agreed,
)
from .values import DATETIME, FLOAT, KINDS, STRING, Kind, Mismatch, Scalar, coerce, text
from .variables import (
    BUILT_IN,
    ENTRY,
    ENTRY_NAME,
    Fetch,
    Operation,
    Variable,
    fetch_items,
    fetch_message,
    fetch_nexus,
    fetch_value,
)

Path = tuple[str, ...]


class Report(Protocol):
    """Takes down a mistake."""

    def __call__(self, path: Path, expected: str, nearest: str | None = None) -> None:
        """Take down what is wrong at a path of keys."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a variable before any file is read.

    Parameters
    ----------
    kind
        Its type after the operators.
    unit
        Its unit, if that is certain.
    from_file
        Whether otherwise the file may name one.
    """

    kind: Kind
    unit: str | None = None
    from_file: bool = False


def compile_schema(model: SchemaModel, name: str, report: Report) -> MetadataSchema:
    """Compile a schema.

    Parameters
    ----------
    model
        The file.
    name
        Its id where it names none.
    report
        Is told of each mistake; with any, the result is of no use.
    """
    return _Compiler(model, report).schema(model.id or name)


class _Compiler:
    def __init__(self, model: SchemaModel, report: Report) -> None:
        self._model = model
        self._report = report
        self._zone: tzinfo = zoneinfo.ZoneInfo(model.timezone)
        self._scope = {name: _Known(kind) for name, kind in BUILT_IN.items()}
        self._each_entry = model.dataset.for_each is not None
        if self._each_entry:
            self._scope[ENTRY_NAME] = _Known(STRING)

    def schema(self, name: str) -> MetadataSchema:
        model = self._model
        self._check_unknown_units()
        variables = tuple(
            self._variable(name, variable) for name, variable in model.variables.items()
        )
        paths = {self._asked(path) for path in selector_paths(model.selector)}
        for variable in model.variables.values():
            paths.update(self._of_dataset(variable))
        paths.update(self._in_dataset(path) for path in model.datafiles.link_paths)
        settled = model.settled_when and self._in_dataset(model.settled_when)
        if settled is not None:
            paths.add(settled)
        dataset = self._dataset()
        self._check_entries(paths)
        return MetadataSchema(
            id=name,
            order=model.order,
            condition=condition(model.selector, self._asked),
            paths=frozenset(paths),
            settled_when=settled,
            variables=variables,
            dataset=dataset,
            parameters=self._parameters(),
        )

    def _asked(
        self, path: str, *, aligned: bool = False, each_entry: bool = False
    ) -> AskedPath:
        """Return a path with the way in which this schema reads it."""
        model = self._model
        way = FieldPath(
            path=path,
            encoding=model.encoding,
            order=model.member_order,
            follow=model.follow_links,
            aligned=aligned,
            each_entry=each_entry,
        )
        return path if way == FieldPath(path=path) else way

    def _in_dataset(self, path: str, *, aligned: bool = False) -> AskedPath:
        """Return a path of which ``{entry}`` is the dataset's own."""
        each_entry = self._each_entry and path.lstrip("/").startswith(ENTRY)
        return self._asked(path, aligned=aligned, each_entry=each_entry)

    def _of_dataset(self, model: VariableModel) -> tuple[AskedPath, ...]:
        return tuple(
            self._in_dataset(path, aligned=model.aligned) for path in model.nexus or ()
        )

    def _check_entries(self, paths: Iterable[AskedPath]) -> None:
        """See that datasets of several entries will differ."""
        if not self._each_entry:
            return
        if not any(not isinstance(path, str) and path.each_entry for path in paths):
            self._report(
                ("dataset", "for_each"),
                "needs a variable or settled_when with a path in {entry}",
            )

    def _check_unknown_units(self) -> None:
        """Take an unknown unit only if a parameter of that very unit expects it."""
        expected = {parameter.units for parameter in self._model.parameters}
        for name, variable in self._model.variables.items():
            unit = variable.unit
            if unit is not None and not known(unit) and unit not in expected:
                self._report(
                    ("variables", name, "unit"), "is not a known unit", nearest(unit)
                )

    def _variable(self, name: str, model: VariableModel) -> Variable:
        path = ("variables", name)
        if name in BUILT_IN:
            self._report(path, "is the name of a built-in variable")
        fetch, raw = self._source(path, model)
        kind = raw.kind if model.type is None else KINDS[model.type]
        if model.unit is not None and kind == DATETIME:
            self._check_time_unit((*path, "unit"), model.unit)
        elif model.unit is not None and not kind.is_number:
            self._report((*path, "unit"), f"is for numbers, but the type is {kind}")
        if model.nexus and not kind.many and any("*" in p for p in model.nexus):
            self._report(
                (*path, "type"),
                f"a path with * gives a list: expected {kind}[] and, for one value, "
                "an operator such as first",
            )
        if model.items is not None and not kind.many:
            self._report((*path, "type"), f"items make a list: expected {kind}[]")
        self._check_own_unit(path, model, raw)
        file_unit = self._file_unit(path, model, kind)
        functions: list[Operation] = []
        term = self._term(path, model)
        result = kind
        difference = None
        if term is not None:
            other = self._scope[term.name].kind
            combined = term.result(kind, other)
            if combined is None:
                self._report(
                    (*path, "plus" if term.sign > 0 else "minus"),
                    f"{kind} and {other} have no such result: expected two numbers, a"
                    " datetime and a number, or minus between two datetimes",
                )
            else:
                result = combined
                difference = "s" if kind == DATETIME and result == FLOAT else None
        keeps_unit = result.is_number
        for index, operator in enumerate(model.operators):
            try:
                before, result = result, operator.result(result)
                partners = self._partners((*path, "operators", str(index)), operator)
                function = operator.function(before, self._zone)
                functions.append(_operation(function, partners))
            except Unfit as error:
                self._report((*path, "operators", str(index)), str(error))
                break
            if operator.operator in ("count", "to") or not result.is_number:
                keeps_unit = False
        default = model.default
        if default is not None:
            try:
                default = coerce(default, result, self._zone)
            except Mismatch as error:
                self._report((*path, "default"), str(error))
        unit = model.unit if model.unit is not None else raw.unit
        unit = difference or unit
        self._scope[name] = _Known(
            result,
            unit if keeps_unit else None,
            # A default has the unit that is declared, or none.
            raw.from_file and keeps_unit and unit is None and default is None,
        )
        gathers = next(
            (o.operator for o in model.operators if o.operator in GATHERING), None
        )
        if gathers in DIFFERENCES and zero_is_agreed(unit):
            self._report(
                (*path, "unit"),
                f"has no {gathers}, since it depends on where zero is: expected K",
            )
        return Variable(
            name=name,
            fetch=fetch,
            kind=kind,
            zone=self._zone,
            unit=model.unit,
            file_unit=file_unit,
            ignore_file_unit=model.ignore_file_unit,
            term=term,
            functions=tuple(functions),
            keeps_unit=keeps_unit,
            counts=any(one.operator == "count" for one in model.operators),
            gathers=gathers,
            aligned=model.aligned,
            default=default,
            required=model.required,
            where=_where(model),
        )

    def _term(self, path: Path, model: VariableModel) -> Term | None:
        """Return the variable that is added or taken away, if there is one."""
        for field, sign in (("plus", 1), ("minus", -1)):
            source = getattr(model, field)
            if source is None:
                continue
            lone = self._another((*path, field), source)
            return None if lone is None else Term(lone, sign)
        return None

    def _another(self, path: Path, source: str) -> str | None:
        """Return the variable that a template is nothing but."""
        template = self._template(path, source)
        if template.lone is None and template.parts:
            self._report(path, "expected nothing but one <variable>")
        return template.lone

    def _file_unit(self, path: Path, model: VariableModel, kind: Kind) -> str | None:
        """Return the variable that says in which unit the file has the value."""
        if model.file_unit is None:
            return None
        path = (*path, "file_unit")
        name = self._another(path, model.file_unit)
        if not kind.is_number and kind != DATETIME:
            self._report(path, f"is for numbers, but the type is {kind}")
        elif name is not None and self._scope[name].kind != STRING:
            self._report(
                path, f"expected one text, <{name}> is {self._scope[name].kind}"
            )
        return name

    def _partners(self, path: Path, operator: Operator) -> dict[str, str]:
        """Return the other variables that an operator needs, by the argument."""
        named = {
            field: self._another((*path, operator.operator, field), source)
            for field, source in operator.partners.items()
        }
        names = {field: name for field, name in named.items() if name is not None}
        if len(names) == len(named):
            operator.check_partners({f: self._scope[n].kind for f, n in names.items()})
        return names

    def _source(self, path: Path, model: VariableModel) -> tuple[Fetch, _Known]:
        """Return what finds the raw value, and what is known of it."""
        if model.nexus is not None:
            return fetch_nexus(self._of_dataset(model)), _Known(STRING, from_file=True)
        if model.message is not None:
            return fetch_message(model.message), _Known(STRING)
        if model.items is not None:
            return self._items((*path, "items"), model.items)
        value = model.value
        template = None
        found = _Known(_kind_of(value))
        if isinstance(value, str):
            template = self._template((*path, "value"), value)
            found = self._scope.get(template.lone or "", found)
        if model.type is not None and not (template and template.placeholders):
            try:
                coerce(value, KINDS[model.type], self._zone)
            except Mismatch as error:
                self._report((*path, "value"), str(error))
        return fetch_value(value, template), found

    def _items(self, path: Path, source: str) -> tuple[Fetch, _Known]:
        """Return what makes a list of texts of other lists."""
        template = self._template(path, source, items=True)
        lists = frozenset(
            placeholder.name
            for placeholder in template.placeholders
            if self._scope[placeholder.name].kind.many
        )
        if template.parts and not lists:
            self._report(path, "expected a <variable> in it that is a list")
        return fetch_items(template, lists), _Known(Kind(Scalar.STRING, many=True))

    def _check_own_unit(self, path: Path, model: VariableModel, raw: _Known) -> None:
        if model.unit is None or raw.unit is None or model.unit == raw.unit:
            return
        try:
            conversion(raw.unit, model.unit)
        except UnitError as error:
            self._report((*path, "unit"), str(error))

    def _check_time_unit(self, path: Path, unit: str) -> None:
        try:
            conversion(unit, "s")
        except UnitError:
            self._report(
                path, "expected a unit of the time since 1970, such as s or ns"
            )

    def _template(self, path: Path, source: str, *, items: bool = False) -> Template:
        """Parse a template; after a mistake the result is empty.

        Parameters
        ----------
        path
            Where it stands.
        source
            Its text.
        items
            Whether it is made of the items of lists, one by one.
        """
        try:
            template = parse(source)
        except ValueError as error:
            self._report(path, str(error))
            return Template(())
        mistakes = False
        for placeholder in template.placeholders:
            found = self._scope.get(placeholder.name)
            if found is None:
                near = difflib.get_close_matches(placeholder.name, self._scope, n=1)
                later = placeholder.name in self._model.variables
                self._report(
                    path,
                    f"<{placeholder.name}> is "
                    + (
                        "defined further down"
                        if later
                        else "there with dataset.for_each: NXentry only"
                        if placeholder.name == ENTRY_NAME
                        else "no known variable"
                    ),
                    None
                    if later or not near or placeholder.name == ENTRY_NAME
                    else f"<{near[0]}>",
                )
                mistakes = True
            elif why := placeholder.check(
                Kind(found.kind.scalar) if items else found.kind
            ):
                self._report(path, why)
                mistakes = True
        return Template(()) if mistakes else template

    def _dataset(self) -> DatasetRule:
        dataset, files = self._model.dataset, self._model.datafiles
        texts: dict[str, Template] = {}

        def take(name: str, source: str | None, *path: str) -> None:
            if source is not None:
                texts[name] = self._template(path, source)

        investigation, sample = dataset.investigation, dataset.sample
        where = ("dataset", "investigation")
        take("investigation", investigation.name, *where, "name")
        take("visit_id", investigation.visit_id, *where, "visit_id")
        for name in ("name", "type", "description", "location"):
            take(name, getattr(dataset, name), "dataset", name)
        if sample is not None:
            where = ("dataset", "sample")
            take("sample", sample.name, *where, "name")
            take("sample_type", sample.type, *where, "type")
            formula = sample.molecular_formula
            take("sample_formula", formula, *where, "molecular_formula")
        take("file_name", files.name, "datafiles", "name")
        if files.format is not None:
            where = ("datafiles", "format")
            take("format_name", files.format.name, *where, "name")
            take("format_version", files.format.version, *where, "version")
        lists = {"instruments": dataset.instruments, "techniques": dataset.techniques}
        times = {"start": dataset.start, "end": dataset.end}
        return DatasetRule(
            texts=texts,
            times={
                name: self._time(("dataset", name), source)
                for name, source in times.items()
                if source is not None
            },
            lists={
                name: tuple(
                    self._template(("dataset", name, str(index)), source)
                    for index, source in enumerate(templates)
                )
                for name, templates in lists.items()
            },
            each_entry=self._each_entry,
            complete=dataset.complete,
            include_external_links=files.include_external_links,
        )

    def _time(self, path: Path, source: str) -> str:
        template = self._template(path, source)
        lone = template.lone
        kind = self._scope[lone].kind if lone else None
        if template.parts and kind != DATETIME:
            self._report(
                path,
                "expected nothing but one <variable> of type datetime"
                + (f", <{lone}> is {kind}" if lone else ""),
            )
        return lone or "record.time"

    def _parameters(self) -> tuple[ParameterRule, ...]:
        seen: dict[tuple[str, str], int] = {}
        rules = []
        for index, model in enumerate(self._model.parameters):
            first = seen.setdefault((model.name, model.units), index)
            path = ("parameters", str(index))
            if first != index:
                self._report(
                    (*path, "name"),
                    f"{model.name} [{model.units}] is there twice: as number "
                    f"{first + 1} and {index + 1}",
                )
            rules.append(self._parameter(path, model))
        return tuple(rules)

    def _parameter(self, path: Path, model: ParameterModel) -> ParameterRule:
        value: Number | Template
        source = model.value
        template = (
            self._template((*path, "value"), source)
            if isinstance(source, str)
            else Template((text(source),))
        )
        kind = self._kind(template) if isinstance(source, str) else _kind_of(source)
        value_type = model.value_type or _value_type(kind)
        if value_type is ValueType.NUMERIC:
            value = self._number((*path, "value"), source, model.units)
        else:
            value = template
            if value_type is ValueType.DATE_AND_TIME and kind != DATETIME:
                self._report(
                    (*path, "value"),
                    f"DATE_AND_TIME needs one <variable> of type datetime, not {kind}",
                )
            if kind.is_number and kind.many and model.units:
                self._report(
                    (*path, "value"),
                    f"{source} is a list of numbers with a unit: expected an operator "
                    "such as mean at the variable",
                )
        beside: dict[str, Number] = {}
        for field in ("error", "range_bottom", "range_top"):
            given = getattr(model, field)
            if given is None:
                continue
            if value_type is not ValueType.NUMERIC:
                self._report((*path, field), f"is for numbers, not for {value_type}")
            beside[field] = self._number((*path, field), given, model.units)
        return ParameterRule(
            name=model.name,
            units=model.units,
            value_type=value_type,
            value=value,
            error=beside.get("error"),
            range_bottom=beside.get("range_bottom"),
            range_top=beside.get("range_top"),
        )

    def _kind(self, template: Template) -> Kind:
        lone = template.lone
        return STRING if lone is None else self._scope[lone].kind

    def _number(self, path: Path, source: Any, units: str) -> Number:
        """Check that something is a number whose unit can become `units`."""
        if isinstance(source, int | float) and not isinstance(source, bool):
            self._check_parameter_units(path, units, None)
            return Number(constant=float(source))
        template = self._template(path, source) if isinstance(source, str) else None
        lone = template.lone if template else None
        if lone is None:
            if template is None or template.parts:
                self._report(path, "expected a number, or nothing but one <variable>")
            return Number(constant=0.0)
        found = self._scope[lone]
        if not found.kind.is_number or found.kind.many:
            self._report(path, f"expected one number, <{lone}> is {found.kind}")
        else:
            self._check_parameter_units(path, units, found, lone)
        return Number(variable=lone)

    def _check_parameter_units(
        self, path: Path, units: str, found: _Known | None, name: str = ""
    ) -> None:
        where = (*path[:2], "units")
        if found is not None and found.unit == units:
            return
        if not known(units):
            self._report(
                where,
                "is not a known unit; to use it all the same, give the variable the "
                "very same unit",
                nearest(units),
            )
            return
        if found is None or found.from_file:
            return
        if found.unit is None:
            if not means_none(units):
                self._report(
                    path, f"<{name}> has no unit: expected one at the variable"
                )
            return
        try:
            conversion(found.unit, units)
        except UnitError as error:
            self._report(where, f"{error}, the unit of <{name}>")


def _operation(function: Function, partners: Mapping[str, str]) -> Operation:
    """Return an operator's function as variables call it."""
    if not partners:
        return lambda value, _variables: function(value)
    return lambda value, variables: function(
        value, {field: variables[name] for field, name in partners.items()}
    )


def _kind_of(value: Any) -> Kind:
    for python, scalar in (
        (bool, Scalar.BOOLEAN),
        (int, Scalar.INTEGER),
        (float, Scalar.FLOAT),
    ):
        if isinstance(value, python):
            return Kind(scalar)
    return STRING


def _value_type(kind: Kind) -> ValueType:
    if kind == DATETIME:
        return ValueType.DATE_AND_TIME
    if kind.is_number and not kind.many:
        return ValueType.NUMERIC
    return ValueType.STRING


def _where(model: VariableModel) -> str:
    paths: Iterable[str] = model.nexus or ()
    return " or ".join(paths) or (
        f"message.{model.message}"
        if model.message
        else "items"
        if model.items
        else "value"
    )
