"""Reading a folder of schemas, with every mistake by file and line."""

import difflib
import re
import types
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from icat_stream.config import BadYaml, ConfigError, Problem, line_of, read_yaml

from .compiler import compile_schema
from .models import SchemaModel
from .operators import MODELS
from .schema import MetadataSchema, SchemaSet
from .values import shorten

_SUFFIXES = (".yaml", ".yml")


class SchemaError(ConfigError):
    """Metadata schemas cannot be used; holds every problem found."""


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: ``no``, ``12:30``, ``007`` and dates are text."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9]\d*)", "-+0123456789"),
    ("float", r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


def load_schemas(folder: Path) -> SchemaSet:
    """Load all schemas of a folder: its ``*.yaml`` and ``*.yml`` files.

    Parameters
    ----------
    folder
        Not searched below.

    Raises
    ------
    SchemaError
        With every problem of every file.
    """
    try:
        files = sorted(
            file
            for file in folder.iterdir()
            if file.suffix in _SUFFIXES and not file.name.startswith(".")
        )
    except OSError as error:
        raise SchemaError(
            [_plain(folder, f"cannot be read: {error.strerror}")]
        ) from None
    if not files:
        raise SchemaError([_plain(folder, "holds no schema, expected *.yaml")])
    problems: list[Problem] = []
    schemas: dict[str, tuple[Path, MetadataSchema]] = {}
    for file in files:
        schema = _load(file, problems)
        if schema is None:
            continue
        if schema.id in schemas:
            other = schemas[schema.id][0]
            problems.append(
                Problem(
                    source=str(file),
                    field="id",
                    expected=f"is the id of {other} as well",
                    found=repr(schema.id),
                )
            )
        schemas[schema.id] = (file, schema)
    problems += _conflicts(schemas)
    if problems:
        raise SchemaError(problems)
    return SchemaSet([schema for _, schema in schemas.values()])


def _load(file: Path, problems: list[Problem]) -> MetadataSchema | None:
    """Load one file; with problems, there is no schema."""
    before = len(problems)
    try:
        data, lines = read_yaml(file, _Loader)
    except BadYaml as error:
        problems += [
            Problem(
                source=str(file), field=one.field, expected=one.expected, line=one.line
            )
            for one in error.mistakes
        ]
        return None
    if data is None:
        problems.append(_plain(file, "is empty, expected a schema"))
        return None

    def report(
        path: tuple[str, ...], expected: str, nearest: str | None = None
    ) -> None:
        value = _value_at(data, path)
        problems.append(
            Problem(
                source=str(file),
                line=line_of(lines, path),
                field=".".join(path) or "-",
                expected=expected,
                found=None if isinstance(value, dict | None) else shorten(value),
                nearest=nearest,
            )
        )

    try:
        model = SchemaModel.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            path = _real_path(detail["loc"], data, missing=detail["type"] == "missing")
            report(path, *_words(detail, path))
        return None
    schema = compile_schema(model, file.stem, report)
    return None if len(problems) > before else schema


def _real_path(
    location: tuple[int | str, ...], data: Any, *, missing: bool
) -> tuple[str, ...]:
    """Return the keys in the file; pydantic puts names of its own between them."""
    path: list[str] = []
    value = data
    for index, part in enumerate(location):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif not (missing and index == len(location) - 1):
            continue
        path.append(str(part))
    return tuple(path)


def _words(detail: Any, path: tuple[str, ...]) -> tuple[str, str | None]:
    """Return what is expected, and the nearest known key."""
    if detail["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        if near:
            return "is no known key", near[0]
        return f"is no known key, expected one of {', '.join(known)}", None
    if detail["type"] == "missing":
        return "is required", None
    if detail["type"] in ("model_type", "dict_type"):
        return "expected keys with values", None
    message = str(detail["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:], None


def _keys_at(path: tuple[str, ...]) -> list[str]:
    """Return the keys that the part of the file at a path can have."""
    kind: Any = SchemaModel
    for part in path:
        kind = _unwrapped(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = _fields(kind).get(part)
        else:
            kind = (typing.get_args(kind) or (None,))[-1]
    kind = MODELS.get(path[-1]) if path[2:3] == ("operators",) else _unwrapped(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [name for name in _fields(kind) if name != "operator"]
    return []


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {
        field.alias or name: field.annotation
        for name, field in model.model_fields.items()
    }


def _unwrapped(kind: Any) -> Any:
    """Return what an annotation is about, without None beside it."""
    while typing.get_origin(kind) in (typing.Annotated, typing.Union, types.UnionType):
        kind = next(
            inner for inner in typing.get_args(kind) if inner is not types.NoneType
        )
    return kind


def _value_at(data: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        else:
            break
    return data


def _conflicts(schemas: dict[str, tuple[Path, MetadataSchema]]) -> list[Problem]:
    """Find parameter types that two schemas use for different kinds of values."""
    problems = []
    first: dict[tuple[str, str], tuple[Any, str]] = {}
    for file, schema in schemas.values():
        for rule in schema.parameters:
            key = (rule.name, rule.units)
            kind, where = first.setdefault(key, (rule.value_type, schema.id))
            if kind != rule.value_type:
                problems.append(
                    Problem(
                        source=str(file),
                        field=f"parameters.{rule.name}",
                        expected=f"is {rule.value_type} here, but {kind} in schema "
                        f"{where}: a parameter type has one kind of value",
                    )
                )
    return problems


def _plain(source: Path, expected: str) -> Problem:
    return Problem(source=str(source), field="-", expected=expected)
