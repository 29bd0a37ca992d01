"""Exporting in ICAT's own file format."""

from collections.abc import Iterator

import sqlalchemy as sa

from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.port_file import (
    NAMELESS,
    VERSION,
    exported,
    header,
    key_fields,
    ordered,
    quote,
    show,
)
from icat_stream.sandbox.icat.schema import ID, Entity, Field
from icat_stream.sandbox.icat.search import Loaded, Searcher
from icat_stream.sandbox.icat.translate import one_of

from .access_rules import Gate

_BLOCK = 500
_REMEMBERED = 10_000


class Exporter:
    """Writes what a user may read.

    Parameters
    ----------
    database
        The catalogue.
    clock
        The server's time.
    gate
        Who may read what.
    searcher
        Answers the queries that choose what is exported.
    """

    def __init__(
        self, database: Database, clock: Clock, gate: Gate, searcher: Searcher
    ) -> None:
        self._database = database
        self._schema = database.schema
        self._clock = clock
        self._gate = gate
        self._searcher = searcher

    def export(self, user: str, query: str | None, *, stamps: bool) -> Iterator[str]:
        """Return the file in pieces.

        Parameters
        ----------
        user
            Who exports.
        query
            What; by default everything.
        stamps
            With who created and modified it, and when.
        """
        chosen = None if query is None else self._choose(user, query)
        return self._write(user, chosen, stamps=stamps)

    def _choose(self, user: str, query: str) -> dict[str, set[int]]:
        chosen: dict[str, set[int]] = {}
        found = self._searcher.search(user, query)
        if any(not isinstance(entry, Loaded) for entry in found):
            raise IcatError("BAD_PARAMETER", f"{query} does not select entities")
        for loaded in found:
            _collect(loaded, chosen)
        return chosen

    def _write(
        self, user: str, chosen: dict[str, set[int]] | None, *, stamps: bool
    ) -> Iterator[str]:
        yield f"# ICAT Export file written by {user}\n{VERSION}\n"
        keys: dict[tuple[str, int], str] = {}
        for entity in ordered(self._schema):
            ids = None if chosen is None else sorted(chosen.get(entity.name, ()))
            if ids == []:
                continue
            fields = exported(entity, stamps=stamps)
            yield f"\n{header(self._schema, entity, fields)}\n"
            last: int | None = 0
            while last is not None:
                text, last = self._block(user, entity, ids, last, fields, keys)
                yield text

    def _block(
        self,
        user: str,
        entity: Entity,
        ids: list[int] | None,
        last: int,
        fields: list[Field],
        keys: dict[tuple[str, int], str],
    ) -> tuple[str, int | None]:
        """Return some rows as text, and the last id, or None if there are no more."""
        table = self._database.tables[entity.name]
        statement = sa.select(table).where(table.c.id > last)
        with self._database.read() as connection:
            if ids is not None:
                statement = statement.where(one_of(table.c.id, ids))
            else:
                restriction = self._gate.restriction(connection, user)
                hidden = restriction(entity, table.c.id) if restriction else None
                if hidden is not None:
                    statement = statement.where(hidden)
            statement = statement.order_by(table.c.id).limit(_BLOCK)
            rows = list(connection.execute(statement).mappings())
            lines = []
            for row in rows:
                columns = [] if entity.key else [quote(str(row[ID]))]
                for known in fields:
                    value = row[known.column]
                    columns.append(
                        self._identity(connection, keys, known.type, value)
                        if known.relation == "ONE"
                        else show(self._clock, known, value)
                    )
                lines.append(",".join(columns) + "\n")
        return "".join(lines), rows[-1][ID] if len(rows) == _BLOCK else None

    def _identity(
        self,
        connection: sa.Connection,
        keys: dict[tuple[str, int], str],
        name: str,
        number: int | None,
    ) -> str:
        """Return the columns that identify what a relation leads to."""
        entity = self._schema[name]
        if number is None:
            return ",".join(["NULL"] * self._width(entity))
        known = keys.get((name, number))
        if known is not None:
            return known
        if not entity.key:
            return quote(str(number))
        table = self._database.tables[name]
        row = connection.execute(sa.select(table).where(table.c.id == number))
        values = row.mappings().one()
        columns = []
        for part in entity.key:
            field = entity.fields[part]
            value = values[field.column]
            columns.append(
                self._identity(connection, keys, field.type, value)
                if field.relation == "ONE"
                else show(self._clock, field, value)
            )
        if len(keys) >= _REMEMBERED:
            keys.clear()
        keys[name, number] = text = ",".join(columns)
        return text

    def _width(self, entity: Entity) -> int:
        return sum(
            self._width(self._schema.target(entity.fields[name]))
            if name != NAMELESS and entity.fields[name].relation == "ONE"
            else 1
            for name in key_fields(entity)
        )


def _collect(loaded: Loaded, chosen: dict[str, set[int]]) -> None:
    chosen.setdefault(loaded.entity.name, set()).add(loaded.id)
    for related in loaded.related.values():
        for one in [related] if isinstance(related, Loaded) else related or []:
            _collect(one, chosen)
