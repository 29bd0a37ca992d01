"""The names that a query defines, and the joins that stand behind them."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.parser import syntax_error, undefined_variable
from icat_stream.sandbox.icat.schema import Entity, Field
from icat_stream.sandbox.icat.syntax import Path, Query, Source


@dataclass(frozen=True, slots=True)
class Thing:
    """An entity that a variable or a path stands for.

    Parameters
    ----------
    entity
        Which.
    alias
        Its table, as joined for this purpose.
    """

    entity: Entity
    alias: Any

    @property
    def id(self) -> Any:
        """The column with its id."""
        return self.alias.c.id


class Scope:
    """The variables of one select and of those around it.

    Parameters
    ----------
    database
        The tables.
    text
        The query as sent, for messages.
    outer
        The scope of the select around it.
    """

    def __init__(
        self, database: Database, text: str, outer: "Scope | None" = None
    ) -> None:
        self._database = database
        self._schema = database.schema
        self._text = text
        self._outer = outer
        # While the SELECT clause is read, more may be reached and errors differ.
        self.selecting = False
        # While the WHERE clause is read, there is nothing yet to count or sum.
        self.filtering = False
        self._things: dict[str, tuple[Thing, int]] = {}
        self._trees: list[Any] = []
        self._implicit: dict[tuple[str, ...], Thing] = {}
        self._aliases: list[Any] = []
        self._conditions: list[Any] = []

    def inner(self) -> "Scope":
        """Return the scope of a select inside this one."""
        return Scope(self._database, self._text, self)

    def error(self, problem: str) -> IcatError:
        """Return the error for a query that makes no sense.

        Parameters
        ----------
        problem
            What is wrong.
        """
        return syntax_error(self._text, problem)

    def knows(self, name: str) -> bool:
        """Tell whether a name is a variable here.

        Parameters
        ----------
        name
            The name.
        """
        return self._find(name) is not None

    def _find(self, name: str) -> "tuple[Scope, Thing, int] | None":
        scope: Scope | None = self
        while scope is not None:
            if name in scope._things:  # noqa: SLF001
                return scope, *scope._things[name]  # noqa: SLF001
            scope = scope._outer  # noqa: SLF001
        return None

    def define(self, query: Query) -> None:
        """Take in the FROM clause of a query.

        Parameters
        ----------
        query
            The query.
        """
        for source in query.sources:
            self._source(source)

    def _source(self, source: Source) -> None:
        index = len(self._trees)
        name = str(source.path)
        if len(source.path.parts) == 1:
            entity = self._schema.entities.get(name)
            if entity is None:
                raise IcatError(
                    "BAD_PARAMETER",
                    f"No information to determine type of {name} in the FROM clause",
                )
            thing = self._thing(entity)
        else:
            owner, relation = self.relation(source.path)
            thing = self._thing(self._schema.target(relation))
            self._conditions.append(self.link(owner, relation, thing.alias))
        self._trees.append(thing.alias)
        self._things[source.alias] = (thing, index)
        for join in source.joins:
            self._join(join.path, join.alias, outer=join.outer)

    def _thing(self, entity: Entity) -> Thing:
        alias = self._database.tables[entity.name].alias()
        self._aliases.append(alias)
        return Thing(entity, alias)

    def _join(self, path: Path, name: str, *, outer: bool) -> None:
        owner, relation = self.relation(path)
        found = self._find(path.parts[0])
        if found is None or found[0] is not self:
            raise self.error(f"{path} cannot be joined here.")
        thing = self._thing(self._schema.target(relation))
        self._attach(found[2], owner, relation, thing, outer=outer)
        self._things[name] = (thing, found[2])

    def _attach(
        self, index: int, owner: Thing, relation: Field, thing: Thing, *, outer: bool
    ) -> None:
        link = self.link(owner, relation, thing.alias)
        self._trees[index] = self._trees[index].join(thing.alias, link, isouter=outer)

    def link(self, owner: Thing, relation: Field, alias: Any) -> Any:
        """Return the condition that joins a table along a relation.

        Parameters
        ----------
        owner
            From where.
        relation
            Along what.
        alias
            To which table.
        """
        if relation.relation == "ONE":
            return owner.alias.c[relation.column] == alias.c.id
        back = self._schema.target(relation).fields[relation.by or ""]
        return alias.c[back.column] == owner.id

    def relation(self, path: Path) -> tuple[Thing, Field]:
        """Return the relation that a path ends with, and what it is a relation of.

        Parameters
        ----------
        path
            The path.
        """
        if len(path.parts) < 2:
            raise self.unresolved(str(path))
        owner = self.walk(path.parts[:-1])
        field = self.field(owner.entity, path.parts[-1])
        if field.relation == "ATTRIBUTE":
            raise self.error(f"{path} is not a relation.")
        return owner, field

    def field(self, entity: Entity, name: str) -> Field:
        """Return a field of an entity.

        Parameters
        ----------
        entity
            The entity.
        name
            The field's name.
        """
        try:
            return entity.fields[name]
        except KeyError:
            message = f"{entity.name} has no field {name}"
            raise IcatError("BAD_PARAMETER", message) from None

    def walk(self, parts: tuple[str, ...]) -> Thing:
        """Follow relations from a variable, joining what is not joined yet.

        Parameters
        ----------
        parts
            The variable and the relations.
        """
        found = self._find(parts[0])
        if found is None:
            if self.selecting:
                raise IcatError("BAD_PARAMETER", undefined_variable(parts[0]))
            raise self.error(
                f"The identification variable '{parts[0]}' is not defined."
            )
        home, thing, index = found
        for depth in range(2, len(parts) + 1):
            thing = home._step(parts[:depth], thing, index, self.selecting)  # noqa: SLF001
        return thing

    def _step(
        self, parts: tuple[str, ...], owner: Thing, index: int, selecting: bool
    ) -> Thing:
        known = self._implicit.get(parts)
        if known is None:
            relation = self.field(owner.entity, parts[-1])
            if relation.relation == "ATTRIBUTE" or (
                relation.relation == "MANY" and not selecting
            ):
                raise self.unresolved(".".join(parts))
            known = self._thing(self._schema.target(relation))
            self._attach(index, owner, relation, known, outer=False)
            self._implicit[parts] = known
        return known

    def unresolved(self, path: str) -> IcatError:
        """Return the error for a path that leads nowhere.

        Parameters
        ----------
        path
            The path.
        """
        return self.error(
            f"The state field path '{path}' cannot be resolved to a valid type."
        )

    def finish(self, statement: "sa.Select[Any]") -> "sa.Select[Any]":
        """Give a statement its FROM clause.

        Parameters
        ----------
        statement
            The statement, once all of the query is translated.
        """
        return (
            statement.where(*self._conditions)
            .select_from(*self._trees)
            .correlate_except(*self._aliases)
        )
