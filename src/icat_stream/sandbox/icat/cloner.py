"""Copying an entity with all that hangs on it."""

from typing import Any

import sqlalchemy as sa

from icat_stream.sandbox.icat.bean import Bean
from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.diagnosis import FAILURES, Diagnosis
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.port_file import ordered
from icat_stream.sandbox.icat.schema import ID, STAMPS, Entity
from icat_stream.sandbox.icat.translate import one_of

from .access_rules import Gate

# Rows by id by the name of their entity.
Tree = dict[str, dict[int, dict[str, Any]]]


class Cloner:
    """Copies trees of rows, each in one transaction.

    Parameters
    ----------
    database
        The catalogue.
    clock
        The server's time.
    gate
        Who may do what.
    """

    def __init__(self, database: Database, clock: Clock, gate: Gate) -> None:
        self._database = database
        self._schema = database.schema
        self._clock = clock
        self._gate = gate
        self._diagnosis = Diagnosis(database, traps=False)

    def clone(self, user: str, name: str, number: int, keys: dict[str, Any]) -> int:
        """Copy an entity and all below it, and return the id of the copy.

        Parameters
        ----------
        user
            Who copies.
        name
            The entity.
        number
            The id of the original.
        keys
            What of its unique key is to be another.
        """
        entity = self._schema.entities.get(name)
        if entity is None:
            raise IcatError("BAD_PARAMETER", f"{name} is not an ICAT entity")
        self._check(entity, keys)
        top = Bean(entity)
        try:
            with self._database.write() as connection:
                tree = self._read(connection, user, entity, number)
                row = tree[name][number]
                row |= keys
                for part in entity.key:
                    known = entity.fields[part]
                    if known.relation == "ONE":
                        top.ones[part] = Bean(self._schema.target(known))
                        top.ones[part].id = row[known.column]
                    else:
                        top.values[part] = row[part]
                existing = self._diagnosis.duplicate(connection, top)
                if existing is not None:
                    raise IcatError("OBJECT_ALREADY_EXISTS", existing)
                return self._write(connection, user, tree, entity, number)
        except FAILURES as error:
            raise IcatError("INTERNAL", f"Unexpected DB response {error}") from error

    def _check(self, entity: Entity, keys: dict[str, Any]) -> None:
        for key, value in keys.items():
            known = entity.fields.get(key)
            if known is None or key not in entity.key or known.type != "String":
                raise IcatError(
                    "BAD_PARAMETER",
                    f"{key} is not an attribute of the unique key of {entity.name}",
                )
            if not isinstance(value, str):
                raise IcatError("BAD_PARAMETER", f"The value of {key} must be a string")
            limit = known.length or 255
            if len(value) > limit:
                raise IcatError(
                    "VALIDATION",
                    f"{entity.name}: {key} cannot have length > {limit}",
                )

    def _read(
        self, connection: sa.Connection, user: str, top: Entity, number: int
    ) -> Tree:
        tree: Tree = {}
        self._take(connection, tree, top, ID, {number})
        if not tree[top.name]:
            raise IcatError(
                "NO_SUCH_OBJECT_FOUND", f"{top.name}[id:{number}] not found."
            )
        for name, rows in tree.items():
            self._gate.require(connection, user, self._schema[name], list(rows), "READ")
        return tree

    def _take(
        self,
        connection: sa.Connection,
        tree: Tree,
        entity: Entity,
        column: str,
        ids: set[int],
    ) -> None:
        """Add rows that are not there yet, and all that hangs on them."""
        table = self._database.tables[entity.name]
        known = tree.setdefault(entity.name, {})
        found = connection.execute(sa.select(table).where(one_of(table.c[column], ids)))
        new = {row[ID]: dict(row) for row in found.mappings() if row[ID] not in known}
        known |= new
        if not new:
            return
        for many in entity.manys:
            below = self._schema.target(many)
            back = below.fields[many.by or ""].column
            self._take(connection, tree, below, back, set(new))

    def _write(
        self,
        connection: sa.Connection,
        user: str,
        tree: Tree,
        top: Entity,
        number: int,
    ) -> int:
        now = self._clock.now()
        stamps = dict(zip(STAMPS, (user, now, user, now), strict=True))
        copies: dict[str, dict[int, int]] = {}
        for entity in ordered(self._schema):
            rows = tree.get(entity.name)
            if not rows:
                continue
            first = self._database.next_ids(connection, entity, len(rows))
            new = {old: copy for copy, old in enumerate(rows, first)}
            copies[entity.name] = new
            for old, row in rows.items():
                row |= stamps | {ID: new[old]}
                for one in entity.ones:
                    # What was copied as well refers to the copy.
                    inside = copies.get(one.type, {})
                    row[one.column] = inside.get(row[one.column], row[one.column])
            table = self._database.tables[entity.name]
            connection.execute(table.insert(), list(rows.values()))
        for name, made in copies.items():
            self._gate.require(
                connection, user, self._schema[name], list(made.values()), "CREATE"
            )
        return copies[top.name][number]
