"""Searching: queries, old and new, and what is included with their results."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.parser import parse
from icat_stream.sandbox.icat.schema import Entity
from icat_stream.sandbox.icat.syntax import (
    Include,
    Search,
    Short,
)
from icat_stream.sandbox.icat.translate import Item, Translator, one_of

from .access_rules import Gate
from .short_queries import expand


class Loaded:
    """An entity as read, with the related ones that were asked for.

    Parameters
    ----------
    entity
        What it is.
    values
        Its columns' values, in the order of its fields.
    """

    __slots__ = ("entity", "related", "values")

    def __init__(self, entity: Entity, values: tuple[Any, ...]) -> None:
        self.entity = entity
        self.values = values
        self.related: dict[str, Loaded | list[Loaded] | None] = {}

    @property
    def id(self) -> int:
        """Its id, which is always the first of its values."""
        number: int = self.values[0]
        return number


@dataclass(frozen=True, slots=True)
class EnumValue:
    """A selected value of an enumeration."""

    type: str
    value: str


@dataclass
class Node:
    """Something that is returned, and what is included with it."""

    entity: Entity
    branches: "dict[str, Node]" = field(default_factory=dict)


class Searcher:
    """Answers searches.

    Parameters
    ----------
    database
        The catalogue.
    clock
        The server's time.
    gate
        Who may see what.
    max_entities
        More than this many entities in one answer are refused.
    """

    def __init__(
        self, database: Database, clock: Clock, gate: Gate, max_entities: int = 10_000
    ) -> None:
        self._database = database
        self._schema = database.schema
        self._clock = clock
        self._gate = gate
        self._max = max_entities
        self._positions = {
            entity.name: {
                column.name: n
                for n, column in enumerate(database.tables[entity.name].c)
            }
            for entity in self._schema
        }

    def search(self, user: str, text: str) -> list[Any]:
        """Return what a query finds: entities, values, or tuples of them.

        Parameters
        ----------
        user
            Whose search it is.
        text
            The query.
        """
        parsed = parse(text)
        if isinstance(parsed, Short):
            parsed = expand(self._schema, parsed, text)
        try:
            with self._database.read() as connection:
                return self._run(connection, user, text, parsed)
        except RecursionError:
            raise IcatError("BAD_PARAMETER", "The query is nested too deeply") from None
        except OverflowError:
            raise IcatError(
                "BAD_PARAMETER", "The query holds a number that is too large"
            ) from None

    def get(self, user: str, text: str, key: int) -> Loaded:
        """Return one entity.

        Parameters
        ----------
        user
            Who asks.
        text
            The name of an entity, and what to include.
        key
            Its id.
        """
        parsed = parse(text)
        if isinstance(parsed, Search):
            raise IcatError(
                "BAD_PARAMETER", f"{text} is not of the form: Entity INCLUDE ..."
            )
        name = parsed.path.parts[0]
        search = expand(self._schema, parsed, text)
        entity = self._schema[name]
        with self._database.read() as connection:
            table = self._database.tables[name]
            try:
                row = connection.execute(
                    sa.select(table).where(table.c.id == key)
                ).first()
            except OverflowError:
                row = None
            if row is None:
                raise IcatError("NO_SUCH_OBJECT_FOUND", f"{name}[id:{key}] not found.")
            self._gate.require(connection, user, entity, [key], "READ")
            loaded = Loaded(entity, tuple(row))
            node = self._plan(search.includes, search.query.sources[0].alias, entity)
            self._include(connection, user, node, [loaded], _Budget(self._max, 1))
        return loaded

    def _run(
        self, connection: sa.Connection, user: str, text: str, search: Search
    ) -> list[Any]:
        translator = Translator(
            self._database,
            self._clock,
            user,
            text,
            self._gate.restriction(connection, user),
        )
        selection = translator.select(search.query)
        statement = selection.statement
        if search.limit is not None:
            skip, count = search.limit
            statement = statement.offset(skip)
            if count is not None:
                statement = statement.limit(count)
        if search.limit is None or (search.limit[1] or self._max + 1) > self._max:
            statement = statement.limit(self._max + 1)
        rows = _execute(connection, statement)
        if len(rows) > self._max:
            raise _too_many(self._max)
        results = [_result(selection.items, tuple(row)) for row in rows]
        if search.includes:
            self._include_all(connection, user, search, selection.items, results)
        return results

    def _include_all(
        self,
        connection: sa.Connection,
        user: str,
        search: Search,
        items: tuple[Item, ...],
        results: list[Any],
    ) -> None:
        if len(items) != 1 or items[0].entity is None:
            raise IcatError(
                "BAD_PARAMETER", "INCLUDE is only allowed when one entity is selected"
            )
        expression = search.query.items[0]
        name = str(expression)
        node = self._plan(search.includes, name, items[0].entity)
        found = [result for result in results if result is not None]
        self._include(connection, user, node, found, _Budget(self._max, len(found)))

    # Includes

    def _plan(self, includes: tuple[Include, ...], name: str, entity: Entity) -> Node:
        root = Node(entity)
        names = {name: root}
        for include in includes:
            if include.path is None:
                for one in entity.ones:
                    root.branches.setdefault(one.name, Node(self._schema.target(one)))
                continue
            first, *rest = include.path.parts
            if first in names:
                node = names[first]
            elif not rest and first in self._schema.entities:
                node = self._by_type(root, first)
            else:
                raise IcatError(
                    "BAD_PARAMETER",
                    f"Problem with INCLUDE clause: {first} is no variable of the query",
                )
            for step in rest:
                node = self._branch(node, step)
            if include.alias is not None:
                names[include.alias] = node
        return root

    def _branch(self, node: Node, step: str) -> Node:
        relation = node.entity.fields.get(step)
        if relation is None or relation.relation == "ATTRIBUTE":
            raise IcatError(
                "BAD_PARAMETER",
                f"Problem with INCLUDE clause: {step} is not a field of "
                f"{node.entity.name}",
            )
        return node.branches.setdefault(step, Node(self._schema.target(relation)))

    def _by_type(self, root: Node, name: str) -> Node:
        """Find the relation to an entity that the older form includes by its name."""
        queue = [root]
        while queue:
            node = queue.pop(0)
            for relation in (*node.entity.ones, *node.entity.manys):
                if relation.type == name and relation.name not in node.branches:
                    return self._branch(node, relation.name)
            queue.extend(node.branches.values())
        raise IcatError(
            "BAD_PARAMETER",
            f"Problem with INCLUDE clause: {name} cannot be reached from "
            f"{root.entity.name}",
        )

    def _include(
        self,
        connection: sa.Connection,
        user: str,
        node: Node,
        parents: list[Loaded],
        budget: "_Budget",
    ) -> None:
        for name, branch in node.branches.items():
            if not parents:
                return
            relation = node.entity.fields[name]
            table = self._database.tables[branch.entity.name]
            hidden = self._gate.include_restriction(
                connection, user, node.entity, relation, table.c.id
            )
            if relation.relation == "ONE":
                position = self._positions[node.entity.name][relation.column]
                wanted = {p.values[position] for p in parents} - {None}
                statement = sa.select(table).where(one_of(table.c.id, wanted))
            else:
                back = branch.entity.fields[relation.by or ""].column
                position = self._positions[branch.entity.name][back]
                statement = (
                    sa.select(table)
                    .where(one_of(table.c[back], {p.id for p in parents}))
                    .order_by(table.c.id)
                )
            if hidden is not None:
                statement = statement.where(hidden)
            rows = connection.execute(statement.limit(budget.left + 1)).all()
            children = [Loaded(branch.entity, tuple(row)) for row in rows]
            budget.spend(len(children))
            if relation.relation == "ONE":
                by_id = {child.id: child for child in children}
                for parent in parents:
                    parent.related[name] = by_id.get(parent.values[position])
            else:
                lists: dict[int, list[Loaded]] = {}
                for child in children:
                    lists.setdefault(child.values[position], []).append(child)
                for parent in parents:
                    parent.related[name] = lists.get(parent.id, [])
            self._include(connection, user, branch, children, budget)


class _Budget:
    """How many more entities an answer may hold."""

    def __init__(self, limit: int, spent: int) -> None:
        self._limit = limit
        self.left = limit - spent

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise _too_many(self._limit)


def _too_many(limit: int) -> IcatError:
    return IcatError("VALIDATION", f"attempt to process more than {limit} entities")


def _execute(connection: sa.Connection, statement: "sa.Select[Any]") -> list[Any]:
    try:
        return list(connection.execute(statement).all())
    except sa.exc.OperationalError as error:
        raise IcatError(
            "INTERNAL",
            "class jakarta.persistence.PersistenceException Exception "
            f"[EclipseLink-4002]: {error.orig}",
        ) from error


def _result(items: tuple[Item, ...], row: tuple[Any, ...]) -> Any:
    values = list(_values(items, row))
    return values[0] if len(values) == 1 else tuple(values)


def _values(items: tuple[Item, ...], row: tuple[Any, ...]) -> Iterator[Any]:
    start = 0
    for item in items:
        part = row[start : start + len(item.columns)]
        start += len(item.columns)
        if item.entity is not None:
            yield None if part[0] is None else Loaded(item.entity, part)
        elif item.enum is not None and part[0] is not None:
            yield EnumValue(item.enum, part[0])
        else:
            yield part[0]
