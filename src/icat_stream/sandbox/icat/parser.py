"""From the text of a query to its syntax."""

import datetime as dt
import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from typing import Any, cast

import lark

from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.schema import load_schema
from icat_stream.sandbox.icat.syntax import (
    Call,
    Case,
    Expression,
    Include,
    Join,
    Literal,
    Operation,
    Parameter,
    Path,
    Query,
    Search,
    Short,
    Source,
)


@dataclass(slots=True)
class _Clause:
    """A clause on its way up the tree."""

    name: str
    content: Any
    extra: dict[str, Any] = field(default_factory=dict)


def parse_timestamp(text: str) -> dt.datetime:
    """Read ICAT's ``{ts yyyy-mm-dd hh:mm:ss}``.

    Parameters
    ----------
    text
        The literal with its braces.
    """
    words = text[1:-1].split(maxsplit=1)
    try:
        if len(words) == 2 and words[0] == "ts":
            text_form = "%Y-%m-%d %H:%M:%S"
            return dt.datetime.strptime(words[1].strip(), text_form)  # noqa: DTZ007
    except ValueError:
        pass
    raise IcatError(
        "BAD_PARAMETER", f"Timestamp {text} is not of form {{ts yyyy-mm-dd hh:mm:ss}}."
    )


def _operation(operator: str) -> Any:
    def build(_: Any, children: list[Any]) -> Operation:
        negated = any(child is _NEGATED for child in children)
        rest = tuple(child for child in children if child is not _NEGATED)
        return Operation(operator, rest, negated)

    return build


def _chain(operator: str) -> Any:
    # Flat, so that a thousand conditions are not a thousand levels deep.
    def build(_: Any, children: list[Any]) -> Operation:
        first, last = children
        if isinstance(first, Operation) and first.operator == operator:
            return Operation(operator, (*first.operands, last))
        return Operation(operator, (first, last))

    return build


_NEGATED = object()


class _Builder(lark.Transformer[lark.Token, Any]):
    """Turns the parser's reductions into the classes above."""

    or_ = _chain("OR")
    and_ = _chain("AND")
    not_ = _operation("NOT")
    between = _operation("BETWEEN")
    in_list = _operation("IN")
    in_query = _operation("IN")
    like = _operation("LIKE")
    regexp = _operation("REGEXP")
    is_null = _operation("IS NULL")
    is_empty = _operation("IS EMPTY")
    member_of = _operation("MEMBER OF")
    exists = _operation("EXISTS")
    multiply = _operation("*")
    divide = _operation("/")

    def negated(self, _: Any) -> object:
        return _NEGATED

    def compare(self, children: list[Any]) -> Operation:
        left, operator, right = children
        return Operation(str(operator), (left, right))

    arithmetic = compare

    def compare_all(self, children: list[Any]) -> Operation:
        left, operator, quantifier, query = children
        return Operation(f"{operator} {quantifier}", (left, query))

    def all(self, _: Any) -> str:
        return "ALL"

    def any(self, _: Any) -> str:
        return "ANY"

    def signed(self, children: list[Any]) -> Expression:
        sign, operand = children
        if isinstance(operand, Literal) and isinstance(operand.value, int | float):
            return Literal(-operand.value if sign == "-" else operand.value)
        return Operation(f"unary {sign}", (operand,))

    def subquery(self, children: list[Any]) -> Query:
        query: Query = children[0]
        return query

    def path(self, children: list[Any]) -> Path:
        return Path(tuple(str(child) for child in children))

    def string(self, children: list[Any]) -> Literal:
        text = str(children[0])
        quote = text[0]
        return Literal(text[1:-1].replace(quote * 2, quote))

    def integer(self, children: list[Any]) -> Literal:
        return Literal(_integer(children[0]))

    def decimal(self, children: list[Any]) -> Literal:
        return Literal(float(str(children[0]).rstrip("fFdD")))

    def timestamp(self, children: list[Any]) -> Literal:
        return Literal(parse_timestamp(str(children[0])))

    def parameter(self, children: list[Any]) -> Parameter:
        return Parameter(str(children[0])[1:])

    PARAMETER = str

    def true(self, _: Any) -> Literal:
        return Literal(True)

    def false(self, _: Any) -> Literal:
        return Literal(False)

    def null(self, _: Any) -> Literal:
        return Literal(None)

    def call(self, children: list[Any]) -> Call:
        if len(children) == 1 and not isinstance(children[0], lark.Token):
            inner: Call = children[0]
            return inner
        return Call(str(children[0]).upper(), tuple(children[1:]))

    def call_distinct(self, children: list[Any]) -> Call:
        return Call(str(children[0]).upper(), tuple(children[1:]), distinct=True)

    def call_star(self, children: list[Any]) -> Call:
        return Call(str(children[0]).upper(), star=True)

    def extract(self, children: list[Any]) -> Call:
        name, unit, operand = children
        return Call(str(name).upper(), (operand,), unit=str(unit).upper())

    def cast(self, children: list[Any]) -> Call:
        name, operand, unit = children[:3]
        return Call(str(name).upper(), (operand,), unit=str(unit).upper())

    def when(self, children: list[Any]) -> tuple[Expression, Expression]:
        return children[0], children[1]

    def case(self, children: list[Any]) -> Case:
        if len(children) == 1:
            inner: Case = children[0]
            return inner
        return Case(None, tuple(children[:-1]), children[-1])

    def case_of(self, children: list[Any]) -> Case:
        return Case(children[0], tuple(children[1:-1]), children[-1])

    def distinct(self, _: Any) -> _Clause:
        return _Clause("distinct", True)

    def items(self, children: list[Any]) -> _Clause:
        return _Clause("items", tuple(children))

    def inner(self, _: Any) -> bool:
        return False

    def outer(self, _: Any) -> bool:
        return True

    def join(self, children: list[Any]) -> Join:
        outer, path, alias = children
        return Join(path, str(alias), outer)

    def from_item(self, children: list[Any]) -> Source:
        path, alias, *joins = children
        return Source(path, str(alias), tuple(joins))

    def where(self, children: list[Any]) -> _Clause:
        return _Clause("where", children[0])

    def group(self, children: list[Any]) -> _Clause:
        return _Clause("group", tuple(children))

    def having(self, children: list[Any]) -> _Clause:
        return _Clause("having", children[0])

    def order(self, children: list[Any]) -> _Clause:
        return _Clause("order", tuple(children))

    def ascending(self, children: list[Any]) -> tuple[Expression, bool]:
        return children[0], True

    def descending(self, children: list[Any]) -> tuple[Expression, bool]:
        return children[0], False

    def query(self, children: list[Any]) -> Query:
        sources = tuple(child for child in children if isinstance(child, Source))
        clauses = {c.name: c.content for c in children if isinstance(c, _Clause)}
        return Query(sources=sources, **clauses)

    def limit(self, children: list[Any]) -> _Clause:
        return _Clause("limit", (_integer(children[0]), _integer(children[1])))

    def slice(self, children: list[Any]) -> _Clause:
        count = _integer(children[1]) if len(children) > 1 else None
        return _Clause("limit", (_integer(children[0]), count))

    def include(self, children: list[Any]) -> _Clause:
        return _Clause("includes", tuple(children))

    def include_path(self, children: list[Any]) -> Include:
        alias = str(children[1]) if len(children) > 1 else None
        return Include(children[0], alias)

    def include_ones(self, children: list[Any]) -> Include:
        if _integer(children[0]) != 1:
            raise IcatError(
                "BAD_PARAMETER",
                f"Problem with INCLUDE clause: {children[0]} is not a field",
            )
        return Include(None)

    def full(self, children: list[Any]) -> Search:
        query, *tails = children
        return Search(query, **{tail.name: tail.content for tail in tails})

    def short_plain(self, children: list[Any]) -> _Clause:
        return _Clause("path", children[0])

    def short_distinct(self, children: list[Any]) -> _Clause:
        return _Clause("path", children[0], {"distinct": True})

    def short_call(self, children: list[Any]) -> _Clause:
        return _Clause("path", children[1], {"function": str(children[0]).upper()})

    def short_call_distinct(self, children: list[Any]) -> _Clause:
        clause = self.short_call(children)
        clause.extra["distinct"] = True
        return clause

    def short_alias(self, children: list[Any]) -> _Clause:
        return _Clause("alias", str(children[0]))

    def condition(self, children: list[Any]) -> _Clause:
        return _Clause("condition", children[0])

    def related(self, children: list[Any]) -> tuple[str, Expression | None]:
        condition = children[1].content if len(children) > 1 else None
        return str(children[0]), condition

    def short(self, children: list[Any]) -> Short:
        if len(children) == 1 and isinstance(children[0], Short):
            return children[0]
        given: dict[str, Any] = {}
        for child in children:
            if isinstance(child, _Clause):
                given[child.name] = child.content
                given |= child.extra
        related = tuple(child for child in children if isinstance(child, tuple))
        return Short(related=related, **given)


def _integer(token: Any) -> int:
    value = int(str(token).rstrip("lL"))
    if value >= 2**63:
        raise IcatError(
            "BAD_PARAMETER", f"{value} is too large for a number in a query"
        )
    return value


@cache
def _parser() -> lark.Lark:
    grammar = resources.files(__package__).joinpath("jpql.lark").read_text("utf-8")
    return lark.Lark(grammar, parser="lalr", lexer="contextual", transformer=_Builder())


@lru_cache(maxsize=512)
def parse(text: str) -> Search | Short:
    """Parse a query.

    Parameters
    ----------
    text
        What the client sent.

    Raises
    ------
    IcatError
        BAD_PARAMETER, with the place where it went wrong.
    """
    try:
        return cast("Search | Short", _parser().parse(text))
    except lark.exceptions.VisitError as error:
        if isinstance(error.orig_exc, IcatError):
            raise error.orig_exc from None
        raise
    except lark.UnexpectedInput as error:
        raise _syntax_error(text, error) from None


def _syntax_error(text: str, error: lark.UnexpectedInput) -> IcatError:
    first = re.match(r"\s*([A-Za-z]+)", text)
    if (
        first
        and first[1].upper() != "SELECT"
        and first[1] not in load_schema().entities
    ):
        return IcatError("BAD_PARAMETER", f"{first[1]} is not an ICAT entity")
    if re.match(r"\s*SELECT\s+NEW\s+\w", text, re.IGNORECASE):
        return IcatError("BAD_PARAMETER", undefined_variable("NEW"))
    if isinstance(error, lark.UnexpectedToken) and error.token.type == "$END":
        if "COMMA" in error.expected and " LIMIT " in text.upper():
            return IcatError("BAD_PARAMETER", "Attempt to read beyond end")
        place = f"[{len(text)}, {len(text)}] The query ends too early."
    else:
        at = error.pos_in_stream or 0
        found = text[at : at + 20]
        place = f"[{at}, {at}] Nothing is expected here that begins with: {found}"
    return syntax_error(text, place)


def undefined_variable(name: str) -> str:
    """Return what is said of a name that the FROM clause does not define.

    Parameters
    ----------
    name
        The name.
    """
    return (
        f"idVar '{name}' referenced in the SELECT"  # noqa: S608
        " clause is not defined in the FROM clause."
    )


def syntax_error(text: str, place: str) -> IcatError:
    """Return the error for a query that cannot be understood.

    Parameters
    ----------
    text
        The query.
    place
        Position and what is wrong there.
    """
    return IcatError(
        "BAD_PARAMETER",
        "An exception occurred while creating a query in EntityManager: \n"
        f"Exception Description: Syntax error parsing [{text}]. \n{place}",
    )
