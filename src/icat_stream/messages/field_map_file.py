"""Reading field maps from YAML, with every mistake by file and line."""

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, tzinfo
from pathlib import Path as FilePath
from typing import Any
from zoneinfo import ZoneInfo

from icat_stream.config import (
    BadYaml,
    ConfigError,
    Lines,
    Problem,
    line_of,
    read_yaml,
    shipped,
)

from .conversions import KINDS, Conversion, Scalar, Unfit, shown
from .field_map import FieldMap
from .field_map_reader import FieldRule, Known, Path, Source, Table, plain_name
from .user_office import SECRETS, InvestigationMessage, PersonMessage, StayMessage

_KEYS = (
    "message",
    "root",
    "when",
    "only",
    "namespaces",
    "secrets",
    "ignore",
    "timezone",
    "envelope",
    "events",
    "plain",
    "fields",
)
_FIELD_KEYS = (
    "from",
    "value",
    "fields",
    "plain",
    "values",
    "timezone",
    "formats",
    "default",
    "split",
    "join",
)
_SHIPPED = "messages"
_OF_USER_OFFICES = (PersonMessage, InvestigationMessage, StayMessage)
Place = tuple[str, ...]


def load_field_map(
    name: str,
    kinds: Mapping[str, type],
    *,
    timezone: str = "UTC",
) -> FieldMap:
    """Load a field map.

    Parameters
    ----------
    name
        Of one that travels with the program, or the path of a YAML file.
    kinds
        The dataclasses that the map may fill, by what its key ``message`` says.
    timezone
        Of times without a zone, where the map names none.

    Raises
    ------
    icat_stream.config.ConfigError
        With every problem of the file.
    """
    file = _file(name)
    try:
        data, lines = read_yaml(file, text_keys=True)
    except BadYaml as error:
        raise ConfigError(
            [
                Problem(
                    source=str(file), field=m.field, expected=m.expected, line=m.line
                )
                for m in error.mistakes
            ]
        ) from None
    loading = _Loading(file, lines)
    found = loading.map(data, kinds, timezone)
    if loading.problems or found is None:
        raise ConfigError(loading.problems)
    written = json.dumps([data, timezone], default=str)
    sha256 = hashlib.sha256(written.encode(errors="replace")).hexdigest()
    return dataclasses.replace(found, sha256=sha256)


def _file(name: str) -> FilePath:
    if "/" in name or name.endswith((".yaml", ".yml")):
        return FilePath(name)
    folder = shipped(_SHIPPED)
    file = folder / f"{name}.yaml"
    if not file.exists():
        known = sorted(f.stem for f in folder.glob("*.yaml"))
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            [
                Problem(
                    source="configuration",
                    field="options.maps",
                    expected="expected the name of a shipped field map"
                    f" ({', '.join(known)}) or the path of a YAML file",
                    found=name,
                    nearest=near[0] if near else None,
                )
            ]
        )
    return file


class _Loading:
    def __init__(self, file: FilePath, lines: Lines) -> None:
        self.problems: list[Problem] = []
        self._file = str(file)
        self._name = file.stem
        self._lines = lines
        self._zone: tzinfo = UTC

    def map(
        self, data: Any, kinds: Mapping[str, type], timezone: str
    ) -> FieldMap | None:
        if not isinstance(data, dict):
            self._report((), "expected a field map with message and fields")
            return None
        self._keys(data, _KEYS, ())
        kind = data.get("message")
        if not isinstance(kind, str) or kind not in kinds:
            self._report(
                ("message",),
                f"expected one of {', '.join(kinds)}",
                kind,
                _near(str(kind), kinds),
            )
            return None
        self._zone = self._timezone(data.get("timezone", timezone), ("timezone",))
        known: Known = {}
        table = self._table(kinds[kind], data, (), known)
        for name in self._texts(data, "ignore"):
            _know(known, _path(name))
        envelope = data.get("envelope") or {}
        event = envelope.get("event") if isinstance(envelope, dict) else None
        if not isinstance(envelope, dict) or not isinstance(event or {}, dict):
            self._report(("envelope",), "expected event: {header, field}, and body")
            envelope, event = {}, None
        self._keys(envelope, ("event", "body"), ("envelope",))
        self._keys(event or {}, ("header", "field"), ("envelope", "event"))
        events = self._events(data)
        if events and not event:
            self._report(
                ("events",), "needs envelope.event, to know where the name stands"
            )
        named = (event or {}).get("field")
        return FieldMap(
            name=self._name,
            table=table,
            known=known,
            roots=frozenset(map(plain_name, self._texts(data, "root"))),
            when=tuple(map(_path, self._texts(data, "when"))),
            only=frozenset(map(plain_name, self._texts(data, "only"))),
            namespaces=tuple(self._texts(data, "namespaces"))
            if data.get("namespaces") is not None
            else None,
            secrets=self._secrets(data, kinds[kind]),
            event_header=(event or {}).get("header"),
            event_field=None if named is None else _path(str(named)),
            body=_path(str(envelope["body"])) if envelope.get("body") else (),
            events=events,
        )

    def _secrets(self, data: Mapping[str, Any], target: type) -> frozenset[str]:
        named = frozenset(self._texts(data, "secrets"))
        # A facility's own map may not think of it.
        return named | (SECRETS if target in _OF_USER_OFFICES else frozenset())

    def _events(self, data: Mapping[str, Any]) -> dict[str, Path]:
        events = data.get("events")
        if isinstance(events, dict):
            return {str(k): _path(str(v)) if v else () for k, v in events.items()}
        return dict.fromkeys(self._texts(data, "events"), ())

    def _table(
        self, target: type, spec: Mapping[str, Any], at: Place, known: Known
    ) -> Table:
        fields = spec.get("fields")
        hints = typing.get_type_hints(target)
        declared = {f.name: f for f in dataclasses.fields(target) if f.init}
        rules = []
        if not isinstance(fields, dict) or not fields:
            self._report(
                (*at, "fields"), f"expected fields of {', '.join(declared)}", fields
            )
            fields = {}
        for name, given in fields.items():
            place = (*at, "fields", name)
            if name not in declared:
                self._report(
                    place,
                    f"is no field of a {_kind_name(target)}",
                    nearest=_near(name, declared),
                )
                continue
            required = _is_required(declared[name])
            rules.append(
                self._rule(name, hints[name], given, place, known, required=required)
            )
        if not self.problems:
            for name, one in declared.items():
                if _is_required(one) and name not in fields:
                    self._report(
                        (*at, "fields"), f"says nothing of {name}, which is required"
                    )
        plain = spec.get("plain")
        chosen = next((rule for rule in rules if rule.name == plain), None)
        if plain is not None and (chosen is None or chosen.convert is None):
            self._report(
                (*at, "plain"), "expected one of fields that is a plain value", plain
            )
        return Table(target=target, rules=tuple(rules), plain=chosen)

    def _rule(
        self,
        name: str,
        hint: Any,
        given: Any,
        at: Place,
        known: Known,
        *,
        required: bool,
    ) -> FieldRule:
        inner, many = _unwrapped(hint)
        several = isinstance(given, list) and any(isinstance(g, dict) for g in given)
        if several and not many:
            self._report(at, "takes one value: expected one source")
        specs = given if several else [given]
        sources, tables = [], []
        first: dict[str, Any] = {}
        for index, one in enumerate(specs):
            place = (*at, str(index)) if several else at
            spec = one if isinstance(one, dict) else {"from": one}
            self._keys(spec, _FIELD_KEYS, place)
            first = first or spec
            below: Known | None = None
            if dataclasses.is_dataclass(inner):
                below = {}
                tables.append(self._table(typing.cast(type, inner), spec, place, below))
            elif "fields" in spec:
                self._report((*place, "fields"), f"{name} is no object")
            sources.append(self._source(spec, place, known, below))
        default = first.get("default")
        convert = None
        if inner in KINDS:
            convert = self._conversion(inner, first, at)
            if default is not None:
                try:
                    default = convert(default)
                except Unfit:
                    self._report((*at, "default"), "is of another kind", default)
        return FieldRule(
            name=name,
            sources=tuple(sources),
            required=required,
            many=many,
            convert=convert,
            tables=tuple(tables),
            default=default,
            split=self._text(first, "split", at),
            join=self._text(first, "join", at),
        )

    def _source(
        self,
        spec: Mapping[str, Any],
        at: Place,
        known: Known,
        below: Known | None,
    ) -> Source:
        if ("from" in spec) == ("value" in spec):
            self._report(at, "expected a path (from), or a value")
        if "value" in spec:
            return Source(value=spec["value"])
        paths = []
        for text in self._texts(spec, "from", at):
            if not all(text.split("/")):
                self._report(at, "expected a path such as sample/name", text)
                continue
            paths.append(_path(text))
            _know(known, paths[-1], below)
        return Source(paths=tuple(paths))

    def _conversion(self, kind: Any, spec: Mapping[str, Any], at: Place) -> Conversion:
        values = spec.get("values")
        if values is not None and not isinstance(values, dict):
            self._report((*at, "values"), "expected what each value means", values)
            values = None
        if values is not None and kind is not str:
            self._report((*at, "values"), "is for texts only")
        zone = self._zone
        if "timezone" in spec:
            zone = self._timezone(spec["timezone"], (*at, "timezone"))
        return Conversion(
            kind=kind,
            timezone=zone,
            formats=tuple(self._texts(spec, "formats", at)),
            values=None
            if values is None
            else {str(k): str(v) for k, v in values.items()},
        )

    def _timezone(self, name: Any, at: Place) -> tzinfo:
        try:
            return ZoneInfo(name)
        except (OSError, ValueError, TypeError, LookupError):
            self._report(at, "expected a time zone such as Europe/Berlin", name)
            return UTC

    def _text(self, spec: Mapping[str, Any], key: str, at: Place) -> str | None:
        value = spec.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            self._report((*at, key), "expected a text", value)
            return None
        return value

    def _texts(
        self, spec: Mapping[str, Any], key: str, at: Place = ()
    ) -> Sequence[str]:
        value = spec.get(key)
        values = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(v, str) and v for v in values):
            self._report((*at, key), "expected a text, or a list of texts", value)
            return []
        return values

    def _keys(self, spec: Mapping[str, Any], known: Collection[str], at: Place) -> None:
        for key in spec:
            if key not in known:
                near = _near(str(key), known)
                self._report(
                    (*at, str(key)),
                    "is no known key"
                    + ("" if near else f", expected one of {', '.join(known)}"),
                    nearest=near,
                )

    def _report(
        self, at: Place, expected: str, found: Any = None, nearest: str | None = None
    ) -> None:
        self.problems.append(
            Problem(
                source=self._file,
                field=".".join(at) or "-",
                line=line_of(self._lines, at),
                expected=expected,
                found=None if found is None else shown(found),
                nearest=nearest,
            )
        )


def _near(name: str, known: Collection[str]) -> str | None:
    near = difflib.get_close_matches(name, list(known), n=1)
    return near[0] if near else None


def _is_required(field: Any) -> bool:
    return (
        field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    )


def _kind_name(target: type) -> str:
    return target.__name__


def _unwrapped(hint: Any) -> tuple[Any, bool]:
    """Return the type of a field without ``None``, and whether it is a list of it."""
    if hint == Scalar:
        return Scalar, False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not types.NoneType]
        hint = inner[0] if len(inner) == 1 else typing.Union[tuple(inner)]  # noqa: UP007
    if typing.get_origin(hint) is tuple:
        return _unwrapped(typing.get_args(hint)[0])[0], True
    if hint == Scalar:
        return Scalar, False
    if hint not in KINDS and not dataclasses.is_dataclass(hint):
        raise TypeError(f"a message cannot have a field of type {hint}")
    return hint, False


def _path(text: str) -> Path:
    return tuple(text.split("/"))


def _know(known: Known, path: Path, below: Known | None = None) -> None:
    name = plain_name(path[0])
    if len(path) == 1:
        _merge(known, name, below)
        return
    inner: Known = {}
    _know(inner, path[1:], below)
    _merge(known, name, inner)


def _merge(known: Known, name: str, below: Known | None) -> None:
    """Add what is read below a name; what is taken whole stays so."""
    there = known.get(name, {})
    if below is None or there is None:
        known[name] = None
        return
    known[name] = there
    for inner, deeper in below.items():
        _merge(there, inner, deeper)
