"""From ``dataset__name__startswith="x"`` to conditions of a query."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from .errors import QueryError, nearest, shorten
from .literals import ESCAPE, check, escape_pattern, literal, quote
from .queries import select
from .schema import Field, Kind, Schema

# Oracle takes no more in one list.
LIST = 1000

_COMPARISONS = {
    "eq": "=",
    "ne": "<>",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
}
_PATTERNS: dict[str, Callable[[str], str]] = {
    "like": lambda text: text,
    "contains": lambda text: f"%{escape_pattern(text)}%",
    "startswith": lambda text: f"{escape_pattern(text)}%",
    "endswith": lambda text: f"%{escape_pattern(text)}",
}
OPERATORS = (*_COMPARISONS, *_PATTERNS, "in", "isnull")
_EQUALITIES = {"eq", "ne", "in", "isnull"}
# A time with a fraction lies between two that ICAT can hold.
_ROUNDS_UP = {"gte", "lt"}

Localize = Callable[[Kind, Field, dt.datetime], dt.datetime]


@dataclass(frozen=True, slots=True)
class Condition:
    """One keyword of a filter.

    Parameters
    ----------
    text
        As it was written.
    steps
        The relations from the kind that is asked for, and where each leads.
    field
        What is compared: an attribute, or a relation.
    operator
        One of :data:`OPERATORS`.
    values
        What it is compared with, checked; several for ``in``.
    """

    text: str
    steps: tuple[tuple[Field, Kind], ...]
    owner: Kind
    field: Field
    operator: str
    values: tuple[Any, ...]

    @property
    def plain(self) -> bool:
        """Whether it looks at the object itself alone."""
        return not self.steps and self.field.relation != "MANY"

    @property
    def through_one(self) -> bool:
        """Whether one row at most is behind it, and its absence means false."""
        if any(step.relation == "MANY" for step, _ in self.steps):
            return False
        asks_absence = self.operator == "isnull" and self.values[0]
        return not (asks_absence and self.steps)


@dataclass(frozen=True, slots=True)
class Group:
    """The keywords of one filter: they hold for the same related objects.

    Parameters
    ----------
    conditions
        All of them must hold.
    negated
        Whether it is the others that are wanted.
    """

    conditions: tuple[Condition, ...]
    negated: bool = False

    @property
    def never(self) -> bool:
        """Whether nothing can fulfil the conditions: an empty list."""
        return any(c.operator == "in" and not c.values for c in self.conditions)


@dataclass(slots=True)
class Writer:
    """Writes groups as text of a query; one a query.

    Parameters
    ----------
    localize
        Gives a time as the clock at the server shows it.
    """

    localize: Localize
    _count: int = field(default=0)

    def where(self, kind: Kind, group: Group, variable: str = "o") -> str:
        """Return a group as a condition on a variable."""
        conditions = group.conditions
        if group.negated:
            if all(c.plain for c in conditions):
                return f"({' OR '.join(self._fails(variable, c) for c in conditions)})"
        elif all(c.through_one for c in conditions):
            return " AND ".join(self._inline(variable, c) for c in conditions)
        word = "NOT IN" if group.negated else "IN"
        return f"{variable}.id {word} ({self._select(kind, conditions)})"

    def _fails(self, variable: str, condition: Condition) -> str:
        text = f"NOT ({self._inline(variable, condition)})"
        if condition.field.nullable and condition.operator != "isnull":
            return f"{text} OR {variable}.{condition.field.name} IS NULL"
        return text

    def _inline(self, variable: str, condition: Condition) -> str:
        names = [step.name for step, _ in condition.steps]
        return self._compare(".".join([variable, *names]), condition)

    def _select(self, kind: Kind, conditions: Sequence[Condition]) -> str:
        start = self._variable()
        joined: dict[tuple[str, ...], str] = {}
        joins = []
        texts = []
        for condition in conditions:
            base, base_kind, path = start, kind, start
            seen: tuple[str, ...] = ()
            rest: list[tuple[Field, Kind]] = []
            for step, target in condition.steps:
                seen = (*seen, step.name)
                path = f"{path}.{step.name}"
                rest.append((step, target))
                if step.relation == "MANY":
                    if seen not in joined:
                        joined[seen] = self._variable()
                        joins.append(f"JOIN {path} {joined[seen]}")
                    base, base_kind, path = joined[seen], target, joined[seen]
                    rest = []
            tail = Condition(
                condition.text,
                tuple(rest),
                condition.owner,
                condition.field,
                condition.operator,
                condition.values,
            )
            if tail.through_one:
                texts.append(self._inline(base, tail))
            else:
                present = Condition(
                    tail.text, tail.steps, tail.owner, tail.field, "isnull", (False,)
                )
                inner = self._present(base_kind, present)
                texts.append(f"{base}.id NOT IN ({inner})")
        return select(
            f"{kind.name} {start}", *texts, what=f"{start}.id", joins=" ".join(joins)
        )

    def _present(self, kind: Kind, condition: Condition) -> str:
        variable = self._variable()
        where = self._inline(variable, condition)
        return select(f"{kind.name} {variable}", where, what=f"{variable}.id")

    def _compare(self, path: str, condition: Condition) -> str:
        name = f"{path}.{condition.field.name}"
        relation = condition.field.relation
        if condition.operator == "isnull":
            word = "EMPTY" if relation == "MANY" else "NULL"
            return f"{name} IS {'' if condition.values[0] else 'NOT '}{word}"
        if relation != "ATTRIBUTE":
            name += ".id"
        if condition.operator == "in":
            literals = [self._literal(condition, value) for value in condition.values]
            lists = [
                f"{name} IN ({', '.join(literals[n : n + LIST])})"
                for n in range(0, len(literals), LIST)
            ]
            return lists[0] if len(lists) == 1 else f"({' OR '.join(lists)})"
        value = condition.values[0]
        if condition.operator in _PATTERNS:
            pattern = quote(_PATTERNS[condition.operator](value))
            escape = "" if condition.operator == "like" else f" ESCAPE '{ESCAPE}'"
            return f"{name} LIKE {pattern}{escape}"
        sign = _COMPARISONS[condition.operator]
        return f"{name} {sign} {self._literal(condition, value)}"

    def _literal(self, condition: Condition, value: Any) -> str:
        if condition.field.relation != "ATTRIBUTE":
            return str(value)
        if isinstance(value, dt.datetime):
            if value.microsecond and condition.operator in _ROUNDS_UP:
                value += dt.timedelta(seconds=1)
            value = value.replace(microsecond=0)
            value = self.localize(condition.owner, condition.field, value)
        return literal(condition.field, value)

    def _variable(self) -> str:
        self._count += 1
        return f"v{self._count}"


def parse(schema: Schema, kind: Kind, given: Mapping[str, Any]) -> Group:
    """Return the group that keywords mean.

    Parameters
    ----------
    schema
        Of the server.
    kind
        What is asked for.
    given
        Values by ``relation__attribute__operator``.

    Raises
    ------
    QueryError
        An unknown name, or a value that cannot be.
    """
    return Group(
        tuple(_condition(schema, kind, text, value) for text, value in given.items())
    )


def parts(groups: Sequence[Group]) -> Iterator[tuple[Group, ...]]:
    """Split long lists: yield groups whose results together are the result."""
    choices: list[list[Group]] = []
    for group in groups:
        if group.negated:
            choices.append([group])
            continue
        lists = [list(_split(condition)) for condition in group.conditions]
        choices.append([Group(chosen) for chosen in product(*lists)])
    yield from product(*choices)


def _split(condition: Condition) -> Iterator[Condition]:
    if condition.operator != "in":
        yield condition
        return
    for start in range(0, len(condition.values), LIST):
        yield Condition(
            condition.text,
            condition.steps,
            condition.owner,
            condition.field,
            "in",
            condition.values[start : start + LIST],
        )


def walk(schema: Schema, kind: Kind, words: Sequence[str]) -> list[tuple[Field, Kind]]:
    """Return the relations that names lead along, and the kinds they lead to.

    Raises
    ------
    QueryError
        One of them is no relation.
    """
    steps = []
    for word in words:
        step = kind.field(word)
        if step.relation == "ATTRIBUTE":
            raise QueryError(
                f"{kind.name}.{step.name} is an attribute, not a relation:"
                f" nothing can follow it (in {'__'.join(words)!r})"
            )
        kind = schema.kind(step.type)
        steps.append((step, kind))
    return steps


def _condition(schema: Schema, kind: Kind, text: str, value: Any) -> Condition:
    words = text.replace(".", "__").split("__")
    operator = "eq"
    if len(words) > 1 and words[-1] in OPERATORS:
        operator = words.pop()
    elif len(words) > 1:
        # An unknown last word may be a mistyped operator or a mistyped name.
        owner = _owner(schema, kind, words[:-1])
        if owner is None:
            raise QueryError(
                f"{text}: there is no operator {words[-1]!r}:"
                f" {nearest(words[-1], OPERATORS)}"
            )
    steps = walk(schema, kind, words[:-1])
    owner = steps[-1][1] if steps else kind
    compared = owner.field(words[-1])
    _suits(text, compared, operator)
    return Condition(
        text,
        tuple(steps),
        owner,
        compared,
        *_values(schema, compared, operator, value, text),
    )


def _owner(schema: Schema, kind: Kind, words: Sequence[str]) -> Kind | None:
    """Return where names lead, None if the last one is an attribute."""
    *relations, last = words
    for _, target in walk(schema, kind, relations):
        kind = target
    step = kind.field(last)
    return None if step.relation == "ATTRIBUTE" else schema.kind(step.type)


def _suits(text: str, compared: Field, operator: str) -> None:
    if operator in _EQUALITIES:
        return
    if compared.relation != "ATTRIBUTE":
        raise QueryError(
            f"{text}: {compared.name} is a relation; {operator!r} needs an attribute"
            f" of it, such as {compared.name}__id__{operator}"
        )
    if operator in _PATTERNS and compared.type != "String":
        raise QueryError(
            f"{text}: {operator!r} is for texts, {compared.name} is {compared.type}"
        )
    if compared.type not in ("String", "Integer", "Long", "Double", "Date"):
        raise QueryError(
            f"{text}: {compared.name} is {compared.type}, which has no order"
        )


def _values(
    schema: Schema, compared: Field, operator: str, value: Any, text: str
) -> tuple[str, tuple[Any, ...]]:
    if operator == "isnull":
        if not isinstance(value, bool):
            raise QueryError(f"{text}: expected True or False, not {shorten(value)}")
        return operator, (value,)
    if value is None:
        if operator not in ("eq", "ne"):
            raise QueryError(f"{text}: None has no order; {compared.name}__isnull=True")
        return "isnull", (operator == "eq",)
    if operator != "in":
        return operator, (_value(schema, compared, value, text),)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise QueryError(f"{text}: expected a list, not {shorten(value)}")
    listed = [_value(schema, compared, item, text) for item in value]
    return operator, tuple(dict.fromkeys(listed))


def _value(schema: Schema, compared: Field, value: Any, text: str) -> Any:
    if value is None:
        raise QueryError(f"{text}: a list cannot contain None; ask for __isnull=True")
    if compared.relation == "ATTRIBUTE":
        checked = check(schema, compared, value, text)
        if isinstance(checked, str) and compared.type == "String":
            quote(checked)
        return checked
    kind = getattr(value, "BeanName", None)
    if kind is not None and kind != compared.type:
        raise QueryError(f"{text}: expected a {compared.type}, not a {kind}")
    number = getattr(value, "id", value)
    if not isinstance(number, int) or isinstance(number, bool):
        raise QueryError(
            f"{text}: expected a {compared.type} that is in ICAT, or its id, not"
            f" {shorten(value)}"
        )
    return int(number)
