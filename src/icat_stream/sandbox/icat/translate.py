"""Queries as SQL: every name is looked up in the schema, every value is bound."""

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.functions import (
    FUNCTIONS,
    SELECTABLE,
    native,
    refused_in_select,
)
from icat_stream.sandbox.icat.schema import ID, Entity
from icat_stream.sandbox.icat.scope import Scope, Thing
from icat_stream.sandbox.icat.syntax import (
    Call,
    Case,
    Expression,
    Literal,
    Operation,
    Parameter,
    Path,
    Query,
)

# A long list is sent as one value: SQLite limits the number of parameters.
_LONG_LIST = 200

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}

AGGREGATES = frozenset({"COUNT", "MIN", "MAX", "AVG", "SUM"})
# What JPQL hands on to the database.
_NATIVE = frozenset({"SQL", "FUNC", "FUNCTION", "OPERATOR"})
_CURRENT = frozenset({"CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"})


# With these, NULL is taken for IS NULL; with others nothing is known.
_EQUALITIES = frozenset({"=", "<>", "!="})


_ARITHMETIC = frozenset({"+", "-", "*", "/"})


def _unknown(value: Any) -> Any:
    return sa.literal(None) if isinstance(value, sa.Null) else value


def _number(value: Any) -> Any:
    """Let the database make a number of what is none, instead of joining strings."""
    numeric = (sa.Integer, sa.Numeric, sa.types.NullType)
    return value if isinstance(value.type, numeric) else sa.cast(value, sa.Float)


def _string(value: Any) -> Any:
    textual = (sa.String, sa.types.NullType)
    return value if isinstance(value.type, textual) else sa.cast(value, sa.String)


def _is_clock(path: Path) -> bool:
    return len(path.parts) == 1 and path.parts[0].upper() in _CURRENT


@dataclass(frozen=True)
class Item:
    """One thing that is selected.

    Parameters
    ----------
    columns
        The columns that make it: all of an entity's, or one.
    entity
        The entity, if it is one.
    enum
        The enumeration that the value belongs to, if it does.
    """

    columns: tuple[Any, ...]
    entity: Entity | None = None
    enum: str | None = None


@dataclass
class Selection:
    """A translated query.

    Parameters
    ----------
    statement
        What to execute.
    items
        What its columns are.
    """

    statement: "sa.Select[Any]"
    items: tuple[Item, ...]


def one_of(column: Any, values: Iterable[int | str | float | bool]) -> Any:
    """Return the condition that a column has one of many values.

    Parameters
    ----------
    column
        What to compare.
    values
        The values; any number of them.
    """
    listed = list(values)
    if len(listed) <= _LONG_LIST:
        return column.in_(listed)
    each = sa.func.json_each(json.dumps(listed)).table_valued("value")
    return column.in_(sa.select(each.c.value))


class Translator:
    """Translates one query.

    Parameters
    ----------
    database
        The tables.
    clock
        The server's time.
    user
        Value of ``:user``.
    text
        The query as sent, for messages.
    restriction
        Given an entity and its id column, the condition under which its rows may be
        seen, or None if there is none.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        user: str,
        text: str,
        restriction: Callable[[Entity, Any], Any] | None = None,
    ) -> None:
        self._database = database
        self._schema = database.schema
        self._clock = clock
        self._user = user
        self._text = text
        self._restriction = restriction
        self._shown: dict[int, Thing] = {}

    def select(self, query: Query) -> Selection:
        """Translate a whole query.

        Parameters
        ----------
        query
            The query.
        """
        scope = Scope(self._database, self._text)
        scope.define(query)
        scope.selecting = True
        items = tuple(self._item(scope, expression) for expression in query.items)
        scope.selecting = False
        columns = [column for item in items for column in item.columns]
        # The same column twice needs two names to come back twice.
        labels = [column.label(f"c{n}") for n, column in enumerate(columns)]
        statement = self._clauses(scope, query, sa.select(*labels))
        statement = statement.where(*self._hidden())
        return Selection(scope.finish(statement), items)

    def ids(self, query: Query, name: str) -> "sa.Select[Any]":
        """Translate a query to the ids of one of its variables.

        Parameters
        ----------
        query
            The query.
        name
            The variable.
        """
        scope = Scope(self._database, self._text)
        scope.define(query)
        statement = sa.select(scope.walk((name,)).id)
        return scope.finish(self._clauses(scope, query, statement))

    def _hidden(self) -> Iterator[Any]:
        """Yield the conditions that hide what this user may not read."""
        if self._restriction is None:
            return
        for thing in self._shown.values():
            condition = self._restriction(thing.entity, thing.id)
            if condition is not None:
                yield condition

    def _show(self, thing: Thing) -> Thing:
        self._shown[id(thing.alias)] = thing
        return thing

    # Clauses

    def _clauses(
        self, scope: Scope, query: Query, statement: "sa.Select[Any]"
    ) -> "sa.Select[Any]":
        if query.where is not None:
            scope.filtering = True
            statement = statement.where(self._condition(scope, query.where))
            scope.filtering = False
        if query.group:
            statement = statement.group_by(
                *(self._value(scope, expression) for expression in query.group)
            )
        if query.having is not None:
            statement = statement.having(self._condition(scope, query.having))
        for expression, ascending in query.order:
            column = self._value(scope, expression)
            statement = statement.order_by(column.asc() if ascending else column.desc())
        return statement.distinct() if query.distinct else statement

    def _item(self, scope: Scope, expression: Expression) -> Item:
        if isinstance(expression, Case):
            raise refused_in_select("CASE", self._text, "WHEN")
        if not isinstance(expression, Path) or _is_clock(expression):
            return Item((self._value(scope, expression),))
        parts = expression.parts
        enum = None
        if len(parts) > 1:
            owner = scope.walk(parts[:-1])
            last = scope.field(owner.entity, parts[-1])
            if last.relation == "ATTRIBUTE":
                enum = last.type if last.type in self._schema.enums else None
                return Item((self._show(owner).alias.c[last.name],), enum=enum)
        thing = self._show(scope.walk(parts))
        return Item(tuple(thing.alias.c), thing.entity)

    def _subquery(self, scope: Scope, query: Query) -> "sa.Select[Any]":
        if scope.selecting:
            raise scope.error("A sub-select cannot be selected.")
        inner = scope.inner()
        inner.define(query)
        columns = [self._value(inner, expression) for expression in query.items]
        return inner.finish(self._clauses(inner, query, sa.select(*columns)))

    # Conditions and values

    def _condition(self, scope: Scope, expression: Expression) -> Any:
        if isinstance(expression, Operation):
            translate = getattr(self, _OPERATIONS.get(expression.operator, "_compare"))
            condition = translate(scope, expression)
            return sa.not_(condition) if expression.negated else condition
        return self._value(scope, expression)

    def _and(self, scope: Scope, operation: Operation) -> Any:
        return sa.and_(*(self._condition(scope, o) for o in operation.operands))

    def _or(self, scope: Scope, operation: Operation) -> Any:
        return sa.or_(*(self._condition(scope, o) for o in operation.operands))

    def _not(self, scope: Scope, operation: Operation) -> Any:
        return sa.not_(self._condition(scope, operation.operands[0]))

    def _compare(self, scope: Scope, operation: Operation) -> Any:
        operator, _, quantifier = operation.operator.partition(" ")
        if operator == "unary":
            value = _number(self._value(scope, operation.operands[0]))
            return -value if quantifier == "-" else value
        if quantifier:
            return self._quantified(scope, operation, operator, quantifier)
        left, right = self._pair(scope, *operation.operands)
        if operator not in _EQUALITIES:
            left, right = _unknown(left), _unknown(right)
        if operator in _ARITHMETIC:
            left, right = _number(left), _number(right)
        return _COMPARISONS[operator](left, right)

    def _quantified(
        self, scope: Scope, operation: Operation, operator: str, quantifier: str
    ) -> Any:
        # SQLite has neither ALL nor ANY: there is (not) a row for which it does (not)
        # hold.
        left, query = operation.operands
        if not isinstance(query, Query):
            raise scope.error(f"{quantifier} needs a sub-select.")
        inner = self._subquery(scope, query).subquery()
        value = next(iter(inner.c))
        holds = _COMPARISONS[operator](self._value(scope, left), value)
        if quantifier == "ANY":
            return sa.exists(sa.select(sa.literal(1)).select_from(inner).where(holds))
        return ~sa.exists(
            sa.select(sa.literal(1)).select_from(inner).where(sa.not_(holds))
        )

    def _between(self, scope: Scope, operation: Operation) -> Any:
        value, low, high = operation.operands
        left, bottom = self._pair(scope, value, low)
        _, top = self._pair(scope, value, high)
        return left.between(bottom, top)

    def _in(self, scope: Scope, operation: Operation) -> Any:
        value, *options = operation.operands
        if len(options) == 1 and isinstance(options[0], Query):
            return self._value(scope, value).in_(self._subquery(scope, options[0]))
        column = self._value(scope, value)
        if all(isinstance(option, Literal) for option in options):
            listed = [self._constant(column, option) for option in options]
            if all(isinstance(entry, str | int | float) for entry in listed):
                return one_of(column, listed)
            return column.in_(listed)
        return column.in_([self._pair(scope, value, option)[1] for option in options])

    def _like(self, scope: Scope, operation: Operation) -> Any:
        value, pattern, *escape = (
            _string(self._value(scope, operand)) for operand in operation.operands
        )
        if escape:
            given = operation.operands[2]
            if not isinstance(given, Literal) or len(str(given.value)) != 1:
                raise scope.error("ESCAPE needs one character.")
            return value.like(pattern, escape=str(given.value))
        return value.like(pattern)

    def _regexp(self, scope: Scope, operation: Operation) -> Any:
        value, pattern = operation.operands
        text = _string(self._value(scope, value))
        return text.regexp_match(_string(self._value(scope, pattern)))

    def _is_null(self, scope: Scope, operation: Operation) -> Any:
        return self._value(scope, operation.operands[0]).is_(None)

    def _is_empty(self, scope: Scope, operation: Operation) -> Any:
        return ~sa.exists(self._members(scope, operation.operands[0]))

    def _member_of(self, scope: Scope, operation: Operation) -> Any:
        value, path = operation.operands
        return self._value(scope, value).in_(self._members(scope, path))

    def _exists(self, scope: Scope, operation: Operation) -> Any:
        query = operation.operands[0]
        if not isinstance(query, Query):
            raise scope.error("EXISTS needs a sub-select.")
        return sa.exists(self._subquery(scope, query))

    def _members(self, scope: Scope, path: Expression) -> "sa.Select[Any]":
        if not isinstance(path, Path) or len(path.parts) < 2:
            raise scope.error(f"{path} is not a collection.")
        owner, relation = scope.relation(path)
        if relation.relation != "MANY":
            raise scope.error(f"{path} is not a collection.")
        table = self._database.tables[relation.type].alias()
        return (
            sa.select(table.c.id)
            .where(scope.link(owner, relation, table))
            .correlate_except(table)
        )

    def _pair(
        self, scope: Scope, left: Expression, right: Expression
    ) -> tuple[Any, Any]:
        """Translate two values that are compared: one gives the other its type."""
        if isinstance(left, Literal) and not isinstance(right, Literal):
            second = self._value(scope, right)
            return sa.literal(self._constant(second, left)), second
        first = self._value(scope, left)
        if isinstance(right, Literal):
            constant = self._constant(first, right)
            return first, sa.null() if constant is None else sa.literal(constant)
        return first, self._value(scope, right)

    def _constant(self, column: Any, literal: Expression) -> Any:
        value = literal.value if isinstance(literal, Literal) else None
        if isinstance(value, str) and isinstance(column.type, sa.DateTime):
            return _date(self._clock, value)
        return value

    def _value(self, scope: Scope, expression: Expression) -> Any:
        match expression:
            case Literal():
                value = expression.value
                return sa.null() if value is None else sa.literal(value)
            case Parameter():
                if expression.name != "user":
                    raise scope.error(f"The parameter :{expression.name} is not known.")
                return sa.literal(self._user)
            case Path():
                return self._path(scope, expression)
            case Call():
                return self._call(scope, expression)
            case Case():
                return self._case(scope, expression)
            case Query():
                return self._subquery(scope, expression).scalar_subquery()
            case Operation():
                return self._condition(scope, expression)

    def _path(self, scope: Scope, path: Path) -> Any:
        parts = path.parts
        if _is_clock(path):
            return sa.literal(self._now(parts[0].upper()))
        if len(parts) > 1 and not scope.knows(parts[0]):
            constant = self._enum(parts)
            if constant is not None:
                return sa.literal(constant)
        if len(parts) == 1:
            return self._seen(scope, scope.walk(parts)).id
        if parts[-1] == ID and len(parts) > 2:
            # The id of what a relation leads to is here already.
            return self._path(scope, Path(parts[:-1]))
        owner = self._seen(scope, scope.walk(parts[:-1]))
        last = scope.field(owner.entity, parts[-1])
        if last.relation == "MANY":
            if scope.selecting:
                return self._seen(scope, scope.walk(parts)).id
            raise scope.unresolved(str(path))
        return owner.alias.c[last.column]

    def _seen(self, scope: Scope, thing: Thing) -> Thing:
        return self._show(thing) if scope.selecting else thing

    def _enum(self, parts: tuple[str, ...]) -> str | None:
        values = self._schema.enums.get(parts[-2], ())
        return parts[-1] if parts[-1] in values else None

    def _now(self, name: str) -> dt.datetime:
        now = self._clock.now()
        if name == "CURRENT_DATE":
            return now.replace(hour=0, minute=0, second=0)
        if name == "CURRENT_TIME":
            return now.replace(year=1970, month=1, day=1)
        return now

    def _call(self, scope: Scope, call: Call) -> Any:
        if scope.selecting and call.name not in SELECTABLE:
            raise refused_in_select(call.name, self._text)
        if call.name in AGGREGATES:
            return self._aggregate(scope, call)
        if call.name == "SIZE":
            members = self._members(scope, call.arguments[0]).subquery()
            return sa.select(sa.func.count()).select_from(members).scalar_subquery()
        if call.name in _NATIVE:
            return native(call.name, _constants(call), self._clock.now())
        if call.name == "COLUMN":
            return self._column(scope, call)
        if call.name == "TYPE":
            raise IcatError(
                "INTERNAL",
                "class org.eclipse.persistence.exceptions.QueryException \n"
                "Exception Description: Invalid Type Expression on an entity that "
                "has no descendants.",
            )
        function = FUNCTIONS.get(call.name)
        if function is None:
            raise scope.error(f"{call.name} is not a function.")
        try:
            return function(
                call.unit, [self._value(scope, argument) for argument in call.arguments]
            )
        except ValueError as error:
            raise scope.error(f"{call.name} {error}.") from error

    def _column(self, scope: Scope, call: Call) -> Any:
        """Find a column by its name in the database, which knows no letter case."""
        given = call.arguments
        if len(given) != 2 or not isinstance(given[1], Path):
            raise scope.error("COLUMN needs a name and a variable.")
        columns = scope.walk(given[1].parts).alias.c
        name = str(next(iter(_constants(call)), ""))
        for column in columns:
            if column.name.upper() == name.upper():
                return column
        raise scope.error(f"{name} is no column of {given[1]}.")

    def _aggregate(self, scope: Scope, call: Call) -> Any:
        if scope.filtering:
            raise scope.error(f"{call.name} cannot stand in the WHERE clause.")
        if call.star or len(call.arguments) != 1:
            raise scope.error(f"{call.name} needs one argument.")
        value = self._value(scope, call.arguments[0])
        if call.distinct:
            value = value.distinct()
        function: Any = getattr(sa.func, call.name.lower())
        return function(value)

    def _case(self, scope: Scope, case: Case) -> Any:
        whens = []
        for condition, result in case.whens:
            if case.subject is None:
                test = self._condition(scope, condition)
            else:
                left, right = self._pair(scope, case.subject, condition)
                test = left == right
            whens.append((test, self._value(scope, result)))
        return sa.case(*whens, else_=self._value(scope, case.otherwise))


def _constants(call: Call) -> list[Any]:
    return [entry.value for entry in call.arguments if isinstance(entry, Literal)]


_OPERATIONS = {
    "AND": "_and",
    "OR": "_or",
    "NOT": "_not",
    "BETWEEN": "_between",
    "IN": "_in",
    "LIKE": "_like",
    "REGEXP": "_regexp",
    "IS NULL": "_is_null",
    "IS EMPTY": "_is_empty",
    "MEMBER OF": "_member_of",
    "EXISTS": "_exists",
}


_DATE = re.compile(
    r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})"
    r"( [0-9]{2}:[0-9]{2}:[0-9]{2})?(?:\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)


def _date(clock: Clock, text: str) -> dt.datetime:
    """Read the dates that the real server's database layer takes from a string."""
    match = _DATE.fullmatch(text)
    if match is not None:
        year, month, day, time, zone = match.groups()
        clean = f"{year}-{month:0>2}-{day:0>2}{time or ' 00:00:00'}{zone or ''}"
        try:
            return clock.store(dt.datetime.fromisoformat(clean))
        except ValueError:
            pass
    raise IcatError(
        "INTERNAL",
        "class org.eclipse.persistence.exceptions.ConversionException \n"
        f"Exception Description: The object [{text}], of class [class "
        "java.lang.String], could not be converted to [class java.sql.Timestamp].",
    )
