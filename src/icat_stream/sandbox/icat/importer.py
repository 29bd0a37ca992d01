"""Importing from ICAT's own file format."""

from collections.abc import Iterable
from typing import Any, Literal

import sqlalchemy as sa

from icat_stream.sandbox.icat.bean import Bean, key_values
from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.port_file import (
    NAMELESS,
    VERSION,
    Part,
    Token,
    exported,
    is_null,
    read_header,
    read_row,
    read_value,
    unquote,
    value_at,
)
from icat_stream.sandbox.icat.schema import ID, STAMPS, Entity
from icat_stream.sandbox.icat.writer import Writer

from .access_rules import Gate

Duplicate = Literal["THROW", "IGNORE", "CHECK", "OVERWRITE"]

_REMEMBERED = 10_000


class Importer:
    """Reads a file into the catalogue, a transaction a row.

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
        self._clock = clock
        self._gate = gate
        # Types are looked up, so nothing has to be believed as it was sent.
        self._writer = Writer(database, clock, gate, traps=False)

    def load(
        self, user: str, lines: Iterable[str], duplicate: Duplicate, *, stamps: bool
    ) -> None:
        """Read a file; rows before a bad one stay.

        Parameters
        ----------
        user
            Who imports.
        lines
            The file.
        duplicate
            What to do about rows that are there already.
        stamps
            Take who created and modified it, and when, from the file.
        """
        if stamps and not self._gate.is_root(user):
            raise IcatError(
                "INSUFFICIENT_PRIVILEGES",
                "Only root users may import with Attributes.ALL",
            )
        run = _Run(
            self._database, self._clock, self._writer, user, duplicate, stamps=stamps
        )
        count = 0
        try:
            for line in lines:
                count += 1
                run.take(line.strip())
            run.end()
        except IcatError as error:
            message = f"{error.message} at line {count}"
            raise IcatError(error.kind, message, count) from error


class _Run:
    """The reading of one file."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        writer: Writer,
        user: str,
        duplicate: Duplicate,
        *,
        stamps: bool,
    ) -> None:
        self._database = database
        self._clock = clock
        self._writer = writer
        self._schema = database.schema
        self._user = user
        self._duplicate = duplicate
        self._stamps = stamps
        self._version: str | None = None
        self._table: Part | None = None
        self._named: dict[tuple[str, str], int] = {}
        self._found: dict[Any, int] = {}

    def take(self, line: str) -> None:
        if line.startswith("#"):
            return
        if self._version is None:
            if line:
                self._version = line
                self.end()
        elif not line:
            self._table = None
        elif self._table is None:
            self._table = read_header(self._schema, line)
        else:
            self._row(self._table, read_row(line))

    def end(self) -> None:
        if self._version is None:
            raise IcatError("VALIDATION", "No version of file encountered")
        if self._version != VERSION:
            raise IcatError("VALIDATION", f"Version of file must be {VERSION}")

    def _row(self, table: Part, row: list[Token]) -> None:
        entity = table.entity
        bean = Bean(entity)
        stamps: dict[str, Any] = {}
        name = None
        for attribute, column in table.columns.items():
            token = value_at(row, column)
            if attribute == NAMELESS:
                if token[0] != "string":
                    raise IcatError(
                        "BAD_PARAMETER", f"Expected a String value for column {column}"
                    )
                name = unquote(token[1])
                continue
            known = entity.fields[attribute]
            if is_null(token) or attribute == ID:
                continue
            value = read_value(self._schema, self._clock, known, token, column)
            (stamps if attribute in STAMPS else bean.values)[attribute] = value
        for relation, part in table.relations.items():
            number = self._reference(relation, part, row)
            if number is not None:
                bean.ones[relation] = Bean(part.entity)
                bean.ones[relation].id = number
        number = self._write(bean, stamps if self._stamps else {})
        if name is not None and number is not None:
            self._named[entity.name, name] = number

    def _write(self, bean: Bean, stamps: dict[str, Any]) -> int | None:
        try:
            created = self._writer.create(self._user, [bean], many=False, stamps=stamps)
            return created[0]
        except IcatError as error:
            if error.kind != "OBJECT_ALREADY_EXISTS" or self._duplicate == "THROW":
                raise
        if self._duplicate == "IGNORE":
            return None
        row = self._existing(bean)
        number: int = row[ID]
        if self._duplicate == "CHECK":
            self._compare(bean, stamps, row)
            return None
        bean.id = number
        self._writer.update(self._user, bean, stamps=stamps)
        return number

    def _existing(self, bean: Bean) -> Any:
        entity = bean.entity
        table = self._database.tables[entity.name]
        statement = sa.select(table)
        for name, value in zip(entity.key, key_values(bean), strict=True):
            statement = statement.where(table.c[entity.fields[name].column] == value)
        with self._database.read() as connection:
            return connection.execute(statement).mappings().one()

    def _compare(self, bean: Bean, stamps: dict[str, Any], row: Any) -> None:
        entity = bean.entity
        for known in exported(entity, stamps=bool(stamps)):
            if known.name in STAMPS:
                same = stamps.get(known.name, row[known.name]) == row[known.name]
            elif known.relation == "ONE":
                one = bean.ones.get(known.name)
                same = (one.id if one else None) == row[known.column]
            else:
                value = bean.values.get(known.name, known.default)
                same = value == row[known.name]
            if not same:
                raise IcatError(
                    "VALIDATION",
                    f"Duplicate check fails for field {known.name} of {entity.name}",
                )

    def _reference(self, relation: str, part: Part, row: list[Token]) -> int | None:
        """Return the id of what some columns identify, or None if one is NULL."""
        if NAMELESS in part.columns:
            token = value_at(row, part.columns[NAMELESS])
            if is_null(token):
                return None
            name = unquote(token[1]) if token[0] == "string" else token[1]
            number = self._named.get((part.entity.name, name))
            if number is None:
                raise IcatError("BAD_PARAMETER", f"? field '{name}' not defined yet")
            return number
        conditions: list[tuple[str, Any]] = []
        for attribute, column in part.columns.items():
            token = value_at(row, column)
            if is_null(token):
                return None
            known = part.entity.fields[attribute]
            value = read_value(self._schema, self._clock, known, token, column)
            conditions.append((attribute, value))
        for inner, below in part.relations.items():
            found = self._reference(inner, below, row)
            if found is None:
                return None
            conditions.append((part.entity.fields[inner].column, found))
        return self._look_up(relation, part.entity, tuple(conditions))

    def _look_up(
        self, relation: str, entity: Entity, conditions: tuple[tuple[str, Any], ...]
    ) -> int:
        known = self._found.get((entity.name, conditions))
        if known is not None:
            return known
        table = self._database.tables[entity.name]
        statement = sa.select(table.c.id).limit(2)
        for column, value in conditions:
            statement = statement.where(table.c[column] == value)
        with self._database.read() as connection:
            ids: list[int] = list(connection.execute(statement).scalars())
        if not ids:
            raise IcatError(
                "NO_SUCH_OBJECT_FOUND",
                "Import failed when looking up existing object for attribute "
                f"{relation}",
            )
        if len(ids) > 1:
            raise IcatError(
                "BAD_PARAMETER",
                "Import failed with multiple results when looking up existing object "
                f"for attribute {relation}",
            )
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        self._found[entity.name, conditions] = ids[0]
        return ids[0]
