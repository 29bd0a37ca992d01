"""Who may do what: root users everything, others what the rules say."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import sqlalchemy as sa

from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.parser import parse
from icat_stream.sandbox.icat.schema import Entity, Field, Schema
from icat_stream.sandbox.icat.syntax import (
    Path,
    Query,
    Short,
)
from icat_stream.sandbox.icat.translate import Translator, one_of

from .short_queries import expand

Access = Literal["CREATE", "READ", "UPDATE", "DELETE"]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a rule says.

    Parameters
    ----------
    entity
        Name of the entity that it is about.
    query
        Which of its rows.
    variable
        The variable of the query that stands for the row.
    attribute
        The only attribute that it is about, if it is.
    everywhere
        Whether it is about all rows.
    """

    entity: str
    query: Query
    variable: str
    attribute: str | None
    everywhere: bool


class Gate:
    """Decides about access.

    Parameters
    ----------
    database
        The catalogue, which holds the rules.
    clock
        The server's time.
    roots
        Names of the users who may do everything.
    """

    def __init__(self, database: Database, clock: Clock, roots: Iterable[str]) -> None:
        self._database = database
        self._clock = clock
        self._roots = frozenset(roots)

    def is_root(self, user: str) -> bool:
        """Tell whether a user may do everything.

        Parameters
        ----------
        user
            Who.
        """
        return user in self._roots

    def require_root(self, user: str) -> None:
        """Raise unless a user may do everything.

        Parameters
        ----------
        user
            Who.
        """
        if user not in self._roots:
            raise IcatError("INSUFFICIENT_PRIVILEGES", "user must be in rootUserNames")

    def restriction(
        self, connection: sa.Connection, user: str
    ) -> Callable[[Entity, Any], Any] | None:
        """Return the condition that hides what a user may not read, as a function.

        Parameters
        ----------
        connection
            A reader's connection.
        user
            Who reads.
        """
        if user in self._roots:
            return None
        return lambda entity, column: self._condition(
            connection, user, entity, column, "READ"
        )

    def include_restriction(
        self,
        connection: sa.Connection,
        user: str,
        origin: Entity,
        relation: Field,
        column: Any,
    ) -> Any:
        """Return the condition that hides what may not be included.

        Parameters
        ----------
        connection
            A reader's connection.
        user
            Who reads.
        origin
            From where.
        relation
            Along what.
        column
            The id column of what is included.
        """
        if user in self._roots:
            return None
        steps = self._database.tables["PublicStep"]
        public = sa.select(steps.c.id).where(
            steps.c.origin == origin.name, steps.c.field == relation.name
        )
        if connection.execute(public).first():
            return None
        target = self._database.schema.target(relation)
        return self._condition(connection, user, target, column, "READ")

    def allows(
        self,
        connection: sa.Connection,
        user: str,
        entity: Entity,
        ids: list[int],
        access: Access,
        attribute: str | None = None,
    ) -> bool:
        """Tell whether a user has access to all of some rows.

        Parameters
        ----------
        connection
            A connection.
        user
            Who.
        entity
            What.
        ids
            Which.
        access
            For what purpose.
        attribute
            The only attribute that is meant, if there are rules about it alone.
        """
        if user in self._roots:
            return True
        table = self._database.tables[entity.name]
        condition = self._condition(
            connection, user, entity, table.c.id, access, attribute
        )
        if condition is None:
            return True
        found = sa.select(table.c.id).where(one_of(table.c.id, ids), condition)
        return len(connection.execute(found).all()) == len(set(ids))

    def require(
        self,
        connection: sa.Connection,
        user: str,
        entity: Entity,
        ids: list[int],
        access: Access,
    ) -> None:
        """Raise unless a user has access to all of some rows.

        Parameters
        ----------
        connection
            A connection.
        user
            Who.
        entity
            What.
        ids
            Which.
        access
            For what purpose.
        """
        if not self.allows(connection, user, entity, ids, access):
            raise IcatError(
                "INSUFFICIENT_PRIVILEGES",
                f"{access} access to this {entity.name} is not allowed.",
            )

    def require_update(
        self,
        connection: sa.Connection,
        user: str,
        entity: Entity,
        number: int,
        fields: Collection[str],
    ) -> None:
        """Raise unless a user may update a row, or each of some fields of it.

        Parameters
        ----------
        connection
            A connection.
        user
            Who.
        entity
            What.
        number
            Which.
        fields
            The fields that are given.
        """
        if not fields or self.allows(connection, user, entity, [number], "UPDATE"):
            return
        for field in fields:
            if not self.allows(connection, user, entity, [number], "UPDATE", field):
                self.require(connection, user, entity, [number], "UPDATE")

    def _condition(
        self,
        connection: sa.Connection,
        user: str,
        entity: Entity,
        column: Any,
        access: Access,
        attribute: str | None = None,
    ) -> Any:
        """Return under which condition a row may be accessed; None: always."""
        granted = []
        for what in self._rules(connection, user, access):
            grant = read_rule(self._database.schema, what)
            if grant.entity != entity.name or grant.attribute != attribute:
                continue
            if grant.everywhere:
                return None
            translator = Translator(self._database, self._clock, user, what)
            granted.append(column.in_(translator.ids(grant.query, grant.variable)))
        return sa.or_(*granted) if granted else sa.false()

    def _rules(self, connection: sa.Connection, user: str, access: Access) -> list[str]:
        tables = self._database.tables
        rule, member, person = tables["Rule"], tables["UserGroup"], tables["User"]
        groups = (
            sa.select(member.c.grouping_id)
            .join(person, person.c.id == member.c.user_id)
            .where(person.c.name == user)
        )
        statement = sa.select(rule.c.what).where(
            rule.c.crudFlags.contains(access[0]),
            rule.c.grouping_id.is_(None) | rule.c.grouping_id.in_(groups),
        )
        return list(connection.execute(statement).scalars())


@lru_cache(maxsize=1024)
def read_rule(schema: Schema, what: str) -> Grant:
    """Find out what a rule says.

    Parameters
    ----------
    schema
        The entities.
    what
        The rule's query.

    Raises
    ------
    IcatError
        If it says nothing that is understood.
    """
    search = parse(what)
    if isinstance(search, Short):
        search = expand(schema, search, what)
    query = search.query
    item = query.items[0]
    sources = {source.alias: source.path.parts for source in query.sources}
    if (
        len(query.items) != 1
        or not isinstance(item, Path)
        or item.parts[0] not in sources
        or len(item.parts) > 2
        or query.group
        or query.order
        or search.limit
        or search.includes
    ):
        raise IcatError("BAD_PARAMETER", f"{what} does not select rows of one entity")
    variable, *attribute = item.parts
    entity = sources[variable][0]
    if entity not in schema.entities:
        raise IcatError("BAD_PARAMETER", f"{entity} is not an ICAT entity")
    return Grant(
        entity=entity,
        query=query,
        variable=variable,
        attribute=attribute[0] if attribute else None,
        everywhere=query.where is None
        and len(query.sources) == 1
        and not query.sources[0].joins,
    )
