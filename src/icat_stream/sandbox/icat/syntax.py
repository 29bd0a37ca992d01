"""Queries as data: what the parser makes of the text."""

import datetime as dt
from dataclasses import dataclass

Value = str | int | float | bool | dt.datetime | None


@dataclass(frozen=True, slots=True)
class Path:
    """Names with dots between: a variable, an attribute, a relation."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    value: Value


@dataclass(frozen=True, slots=True)
class Parameter:
    """A named parameter, of which ICAT knows ``:user``."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function; `star` is the argument of ``COUNT(*)``."""

    name: str
    arguments: tuple["Expression", ...] = ()
    distinct: bool = False
    star: bool = False
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator with its operands; negated where a ``NOT`` belongs to it."""

    operator: str
    operands: tuple["Expression", ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """Choices; without a subject the conditions are predicates."""

    subject: "Expression | None"
    whens: tuple[tuple["Expression", "Expression"], ...]
    otherwise: "Expression"


@dataclass(frozen=True, slots=True)
class Join:
    """A relation that is joined under a name."""

    path: Path
    alias: str
    outer: bool


@dataclass(frozen=True, slots=True)
class Source:
    """An entity (or, in a sub-select, a relation) under a name, and its joins."""

    path: Path
    alias: str
    joins: tuple[Join, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """A select, whole or inside another."""

    items: tuple["Expression", ...]
    sources: tuple[Source, ...]
    distinct: bool = False
    where: "Expression | None" = None
    group: tuple["Expression", ...] = ()
    having: "Expression | None" = None
    order: tuple[tuple["Expression", bool], ...] = ()


Expression = Path | Literal | Parameter | Call | Operation | Case | Query


@dataclass(frozen=True, slots=True)
class Include:
    """A relation to return along; no path stands for all to-one relations."""

    path: Path | None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """A whole search: a query, what to include, and how much of it."""

    query: Query
    includes: tuple[Include, ...] = ()
    limit: tuple[int, int | None] | None = None


@dataclass(frozen=True, slots=True)
class Short:
    """ICAT's older form: an entity, conditions in brackets, related entities."""

    path: Path
    function: str | None = None
    distinct: bool = False
    alias: str | None = None
    includes: tuple[Include, ...] = ()
    order: tuple[tuple[Expression, bool], ...] = ()
    limit: tuple[int, int | None] | None = None
    condition: Expression | None = None
    related: tuple[tuple[str, Expression | None], ...] = ()
