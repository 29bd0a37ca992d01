"""The older, shorter form of a query, rewritten in the newer one."""

from collections import deque

from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.parser import syntax_error
from icat_stream.sandbox.icat.schema import Schema
from icat_stream.sandbox.icat.syntax import (
    Call,
    Case,
    Expression,
    Join,
    Operation,
    Path,
    Query,
    Search,
    Short,
    Source,
)

# No name that a client could have given begins with this.
_VARIABLE = "$"


def expand(schema: Schema, short: Short, text: str) -> Search:
    """Rewrite a query of the older form.

    Parameters
    ----------
    schema
        The entities, for finding the way from one to another.
    short
        The query.
    text
        Its text, for messages.
    """
    name, *attribute = short.path.parts
    _known(schema, name)
    variable = short.alias or _VARIABLE
    conditions = [_qualify(short.condition, variable)] if short.condition else []
    joins: list[Join] = []
    reached: dict[str, str] = {name: variable}
    for other, condition in short.related:
        _known(schema, other)
        joins.extend(_way(schema, reached, other, text))
        if condition is not None:
            conditions.append(_qualify(condition, reached[other]))
    item: Expression = Path((variable, *attribute))
    if short.function:
        item = Call(short.function, (item,), distinct=short.distinct)
    where = None
    if conditions:
        where = (
            conditions[0]
            if len(conditions) == 1
            else Operation("AND", tuple(conditions))
        )
    query = Query(
        items=(item,),
        sources=(Source(Path((name,)), variable, tuple(joins)),),
        # A related entity found twice does not make two of the entity.
        distinct=(short.distinct or bool(joins)) and not short.function,
        where=where,
        order=tuple((_qualify(e, variable), ascending) for e, ascending in short.order),
    )
    return Search(query, short.includes, short.limit)


def _known(schema: Schema, name: str) -> None:
    if name not in schema.entities:
        raise IcatError("BAD_PARAMETER", f"{name} is not an ICAT entity")


def _way(schema: Schema, reached: dict[str, str], goal: str, text: str) -> list[Join]:
    """Find the shortest way along relations from what is reached to an entity."""
    if goal in reached:
        return []
    queue = deque((name, ()) for name in reached)
    seen = set(reached)
    ways: dict[str, tuple[tuple[str, str], ...]] = dict.fromkeys(reached, ())
    start: dict[str, str] = {name: name for name in reached}
    while queue:
        name, _ = queue.popleft()
        if name == goal:
            break
        entity = schema[name]
        for relation in (*entity.ones, *entity.manys):
            if relation.type not in seen:
                seen.add(relation.type)
                ways[relation.type] = (*ways[name], (relation.name, relation.type))
                start[relation.type] = start[name]
                queue.append((relation.type, ()))
    if goal not in ways:
        raise syntax_error(text, f"There is no way to {goal}.")
    joins = []
    variable = reached[start[goal]]
    for step, name in ways[goal]:
        alias = f"{_VARIABLE}{len(reached)}"
        joins.append(Join(Path((variable, step)), alias, outer=False))
        reached[name] = variable = alias
    return joins


def _qualify(expression: Expression, variable: str) -> Expression:
    """Put the variable before names that stand for attributes of its entity."""
    match expression:
        case Path():
            if expression.parts[0] == variable or len(expression.parts) > 2:
                return expression
            return Path((variable, *expression.parts))
        case Call():
            arguments = tuple(_qualify(a, variable) for a in expression.arguments)
            return Call(
                expression.name,
                arguments,
                expression.distinct,
                expression.star,
                expression.unit,
            )
        case Operation():
            operands = tuple(_qualify(o, variable) for o in expression.operands)
            return Operation(expression.operator, operands, expression.negated)
        case Case():
            return Case(
                _qualify(expression.subject, variable) if expression.subject else None,
                tuple(
                    (_qualify(test, variable), _qualify(result, variable))
                    for test, result in expression.whens
                ),
                _qualify(expression.otherwise, variable),
            )
    return expression
