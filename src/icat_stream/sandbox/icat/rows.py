"""Rows from beans: whole trees, level by level."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from icat_stream.sandbox.icat.bean import Bean
from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.schema import ID, STAMPS, Entity
from icat_stream.sandbox.icat.translate import one_of

# A bean, the column that leads to its parent, and the parent's id.
Child = tuple[Bean, str | None, int]

_AT_ONCE = 1000


class Refused(Exception):
    """The database would not take it; what the client is told follows from the top.

    Parameters
    ----------
    text
        What the real database says.
    bean
        What it would not take.
    """

    def __init__(self, text: str, bean: "Bean") -> None:
        super().__init__(text)
        self.bean = bean


class Rows:
    """Writes beans into the tables.

    Parameters
    ----------
    database
        The catalogue.
    clock
        The server's time.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._schema = database.schema
        self._clock = clock
        self._blank = {e.name: _blank(e) for e in self._schema}

    def check_references(
        self, connection: sa.Connection, beans: Iterable[Bean]
    ) -> None:
        """Raise Refused if a bean refers to what is not there.

        Parameters
        ----------
        connection
            The writer's connection.
        beans
            The beans.
        """
        wanted: dict[str, dict[int, Bean]] = {}
        for bean in beans:
            for one in bean.ones.values():
                if one.id is None:
                    raise Refused(_transient(one.entity, "null"), bean)
                wanted.setdefault(one.entity.name, {}).setdefault(one.id, bean)
        for name, users in wanted.items():
            table = self._database.tables[name]
            known = sa.select(table.c.id).where(one_of(table.c.id, users))
            missing = users.keys() - set(connection.execute(known).scalars())
            if missing:
                number = next(number for number in users if number in missing)
                text = _transient(self._schema[name], str(number))
                raise Refused(text, users[number])

    def row(self, bean: Bean) -> dict[str, Any]:
        """Return the columns of a bean, with what it does not say as default.

        Parameters
        ----------
        bean
            The bean.
        """
        entity = bean.entity
        row = self._blank[entity.name].copy()
        row.update(bean.values)
        for name, one in bean.ones.items():
            row[f"{name}_id"] = one.id
        for field in entity.attributes:
            if field.type == "String":
                value = row[field.name]
                if value is not None and len(value) > (field.length or 255):
                    raise Refused(_too_long(field.column), bean)
        return row

    def _new(self, child: Child, number: int, stamps: dict[str, Any]) -> dict[str, Any]:
        bean, back, parent = child
        row = self.row(bean) | stamps
        row[ID] = number
        if back is not None:
            row[back] = parent
        return row

    def insert(
        self,
        connection: sa.Connection,
        user: str,
        tops: list[Child],
        given: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Insert trees and return the ids of their tops.

        Parameters
        ----------
        connection
            The writer's connection.
        user
            Who creates.
        tops
            The trees, and where they hang.
        given
            Who created and modified them, and when, where it is not this user now.
        """
        now = self._clock.now()
        stamps = dict(zip(STAMPS, (user, now, user, now), strict=True))
        stamps |= given or {}
        level = tops
        first_ids: list[int] = []
        # Level by level: a row's parent is there before it.
        while level:
            self.check_references(connection, (bean for bean, _, _ in level))
            groups: dict[str, list[int]] = {}
            for index, (bean, _, _) in enumerate(level):
                groups.setdefault(bean.entity.name, []).append(index)
            ids = [0] * len(level)
            for name, members in groups.items():
                first = self._database.next_ids(
                    connection, self._schema[name], len(members)
                )
                for number, index in enumerate(members, first):
                    ids[index] = number
                # A row takes more room than its bean: not all of them at once.
                for start in range(0, len(members), _AT_ONCE):
                    part = members[start : start + _AT_ONCE]
                    rows = [self._new(level[n], ids[n], stamps) for n in part]
                    connection.execute(self._database.tables[name].insert(), rows)
            first_ids = first_ids or ids
            level = [
                (child, f"{bean.entity.fields[many].by}_id", number)
                for (bean, _, _), number in zip(level, ids, strict=True)
                for many, children in bean.manys.items()
                for child in children
            ]
        return first_ids


def _blank(entity: Entity) -> dict[str, Any]:
    return {
        field.column: field.default
        for field in entity.fields.values()
        if field.relation != "MANY"
    }


def _transient(entity: Entity, number: str) -> str:
    return (
        "class java.lang.IllegalStateException During synchronization a new object was "
        "found through a relationship that was not marked cascade PERSIST: "
        f"{entity.name}:{number}."
    )


DATABASE_SAYS = (
    "class jakarta.persistence.PersistenceException Exception [EclipseLink-4002] "
    "(Eclipse Persistence Services): "
    "org.eclipse.persistence.exceptions.DatabaseException Internal Exception: "
)


def _too_long(column: str) -> str:
    return (
        f"{DATABASE_SAYS}java.sql.SQLDataException: Data too long for column "
        f"'{column.upper()}' at row 1"
    )
