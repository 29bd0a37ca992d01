"""The format in which ICAT exports and imports: tables with natural keys."""

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.schema import ID, STAMPS, Entity, Field, Schema

VERSION = "1.0"
# Names a row that has no natural key.
NAMELESS = "?"

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?)
    | (?P<real>-?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|-?\d+[eE][+-]?\d+)
    | (?P<integer>-?\d+)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign>[(),:?])
    )""",
    re.VERBOSE,
)
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "b": "\b"}
_ESCAPED = {value: f"\\{name}" for name, value in _ESCAPES.items()}
_ESCAPED |= {'"': '\\"', "\\": "\\\\"}
_SPECIAL = re.compile(r'["\\\t\n\r\f\b]')

# What stands in a column: the kind of token, and its text.
Token = tuple[str, str]


@dataclass
class Part:
    """Columns of a table: attributes and, below relations, what identifies them.

    Parameters
    ----------
    entity
        What they are of.
    columns
        Positions by attribute, and by ``?``.
    relations
        Columns by relation.
    """

    entity: Entity
    columns: dict[str, int] = field(default_factory=dict)
    relations: "dict[str, Part]" = field(default_factory=dict)


def _problem(text: str) -> IcatError:
    return IcatError("BAD_PARAMETER", text)


def tokens(line: str) -> list[Token]:
    """Return the tokens of a line.

    Parameters
    ----------
    line
        The line, without its end.
    """
    found = []
    at, end = 0, len(line.rstrip())
    while at < end:
        match = _TOKEN.match(line, at)
        if match is None:
            raise _problem(f"Unexpected character {line[at : at + 10].strip()!r}")
        kind = match.lastgroup or ""
        found.append((kind, match[kind]))
        at = match.end()
    return found


def read_header(schema: Schema, line: str) -> Part:
    """Read the line that says what the rows below it hold.

    Parameters
    ----------
    schema
        The entities.
    line
        The line.
    """
    rest = tokens(line)[::-1]
    kind, name = rest.pop() if rest else ("", "")
    entity = schema.entities.get(name)
    if kind != "name" or entity is None:
        raise _problem(f"{name} is not an ICAT entity")
    part = _read_part(schema, entity, rest)
    if rest:
        raise _problem(f"Expected nothing after the last ) but {rest[-1][1]}")
    return part


def _read_part(schema: Schema, entity: Entity, rest: list[Token]) -> Part:
    part = Part(entity)
    _expect(rest, "(")
    while rest and rest[-1][1] != ")":
        kind, name = rest.pop()
        if name == ",":
            continue
        if kind != "name" and name != NAMELESS:
            raise _problem(f"Expected the name of a field of {entity.name}, not {name}")
        known = entity.fields.get(name)
        if name != NAMELESS and (known is None or known.relation == "MANY"):
            raise _problem(f"Field {name} not found in {entity.name}")
        if rest and rest[-1][1] == "(":
            if known is None or known.relation != "ONE":
                raise _problem(f"{name} is not a relation of {entity.name}")
            target = schema.target(known)
            part.relations[name] = _read_part(schema, target, rest)
            continue
        if known is not None and known.relation == "ONE":
            raise _problem(f"Relation {name} needs the fields that identify it")
        _expect(rest, ":")
        kind, number = rest.pop() if rest else ("", "nothing")
        if kind != "integer" or number.startswith("-"):
            raise _problem(f"Expected the number of a column, not {number}")
        part.columns[name] = int(number)
    _expect(rest, ")")
    return part


def _expect(rest: list[Token], sign: str) -> None:
    found = rest.pop()[1] if rest else "nothing"
    if found != sign:
        raise _problem(f"Expected {sign} but found {found}")


def read_row(line: str) -> list[Token]:
    """Return what stands in the columns of a row.

    Parameters
    ----------
    line
        The line.
    """
    found = tokens(line)
    values, commas = found[::2], found[1::2]
    if any(text != "," for _, text in commas) or len(commas) >= max(len(values), 1):
        raise _problem("Expected values with commas between")
    return values


def value_at(row: list[Token], column: int) -> Token:
    """Return what stands in a column.

    Parameters
    ----------
    row
        The row.
    column
        Its position.
    """
    if column >= len(row):
        raise _problem(f"Data column {column} does not exist")
    return row[column]


def is_null(token: Token) -> bool:
    """Tell whether a token stands for nothing.

    Parameters
    ----------
    token
        The token.
    """
    return token[0] == "name" and token[1].upper() == "NULL"


def read_value(
    schema: Schema, clock: Clock, known: Field, token: Token, column: int
) -> Any:
    """Return an attribute's value.

    Parameters
    ----------
    schema
        The entities, for their enumerations.
    clock
        The server's time.
    known
        The attribute.
    token
        What stands in its column; not NULL.
    column
        The column, for messages.
    """
    kind, text = token
    match known.type:
        case "String" if kind == "string":
            return unquote(text)
        case "Long" | "Integer" if kind == "integer" and len(text) < 20:
            return int(text)
        case "Double" if kind in ("integer", "real"):
            return float(text)
        case "boolean" if kind == "name" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        case "Date" if kind == "timestamp":
            return _moment(clock, text)
        case enum if enum in schema.enums and text.upper() in schema.enums[enum]:
            return text.upper()
    raise _problem(f"Expected a {known.type} value for column {column}")


def _moment(clock: Clock, text: str) -> dt.datetime:
    try:
        return clock.store(dt.datetime.fromisoformat(re.sub(r"\.\d+", "", text)))
    except ValueError:
        raise IcatError("INTERNAL", f"Unable to parse {text}") from None


def unquote(text: str) -> str:
    """Return a string without its quotes and escapes.

    Parameters
    ----------
    text
        The token.
    """
    if "\\" not in text:
        return text[1:-1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1])


def show(clock: Clock, known: Field, value: Any) -> str:
    """Return an attribute's value as a column holds it.

    Parameters
    ----------
    clock
        The server's time.
    known
        The attribute.
    value
        Its value.
    """
    if value is None:
        return "NULL"
    if known.type == "String":
        return quote(value)
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, dt.datetime):
        shown = clock.show(value).isoformat(timespec="milliseconds")
        return shown.replace("+00:00", "Z")
    return str(value)


def quote(text: str) -> str:
    """Return a string in quotes.

    Parameters
    ----------
    text
        The string.
    """
    return '"' + _SPECIAL.sub(lambda found: _ESCAPED[found[0]], text) + '"'


def key_fields(entity: Entity) -> tuple[str, ...]:
    """Return what identifies an entity: the fields of its key, or ``?``.

    Parameters
    ----------
    entity
        The entity.
    """
    return entity.key or (NAMELESS,)


def exported(entity: Entity, *, stamps: bool) -> list[Field]:
    """Return the fields that are exported, in the order of their columns.

    Parameters
    ----------
    entity
        The entity.
    stamps
        With who created and modified it, and when.
    """
    first = [entity.fields[name] for name in STAMPS] if stamps else []
    rest = [
        known
        for known in entity.fields.values()
        if known.relation != "MANY" and known.name != ID and known.name not in STAMPS
    ]
    return first + rest


def header(schema: Schema, entity: Entity, fields: Iterable[Field]) -> str:
    """Return the line that says what the rows below it hold.

    Parameters
    ----------
    schema
        The entities.
    entity
        The entity.
    fields
        Its fields, in the order of their columns.
    """
    numbers = iter(range(10_000))
    columns = [] if entity.key else [f"{NAMELESS}:{next(numbers)}"]
    columns += [_column(schema, known, numbers) for known in fields]
    return f"{entity.name}({', '.join(columns)})"


def _column(schema: Schema, known: Field, numbers: Iterator[int]) -> str:
    if known.relation == "ATTRIBUTE":
        return f"{known.name}:{next(numbers)}"
    target = schema.target(known)
    inner = [
        f"{NAMELESS}:{next(numbers)}"
        if name == NAMELESS
        else _column(schema, target.fields[name], numbers)
        for name in key_fields(target)
    ]
    return f"{known.name}({', '.join(inner)})"


def ordered(schema: Schema) -> list[Entity]:
    """Return the entities so that each comes after those that it refers to.

    Parameters
    ----------
    schema
        The entities.
    """
    done: dict[str, Entity] = {}

    def visit(entity: Entity) -> None:
        if entity.name in done:
            return
        for one in entity.ones:
            visit(schema.target(one))
        done[entity.name] = entity

    for entity in schema:
        visit(entity)
    return list(done.values())
