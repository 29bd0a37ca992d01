"""The tables, generated from the schema, on SQLite in a file or in memory."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from icat_stream.sandbox.icat.file_totals import triggers
from icat_stream.sandbox.icat.schema import ID, STAMPS, Entity, Field, Schema

_TYPES: dict[str, Any] = {
    "Long": sa.Integer,
    "Integer": sa.Integer,
    "Double": sa.Float,
    "boolean": sa.Boolean,
    "Date": sa.DateTime,
}


class Database:
    """A catalogue's tables and the connections to them.

    Readers see a snapshot each; writers wait for each other.

    Parameters
    ----------
    schema
        The entities.
    path
        The database file, or None to keep everything in memory.
    ignore_case
        Take letters that differ in case for the same, as MariaDB does by default.
        A file keeps to what it was made with.
    file_totals
        Keep fileCount and fileSize of datasets and investigations by triggers. A file
        keeps to what it was made with.
    """

    def __init__(
        self,
        schema: Schema,
        path: str | None = None,
        *,
        ignore_case: bool = False,
        file_totals: bool = False,
    ) -> None:
        self.schema = schema
        self.ignore_case = ignore_case
        self._file_totals = file_totals
        self.metadata = sa.MetaData()
        collation = "NOCASE" if ignore_case else None
        self.tables = {
            e.name: _table(schema, e, self.metadata, collation) for e in schema
        }
        # Ids are given out before the rows are written, so that a whole tree goes in
        # level by level; an id is never given out twice.
        self.sequences = sa.Table(
            "SEQUENCE_",
            self.metadata,
            sa.Column("entity", sa.String, primary_key=True),
            sa.Column("last", sa.Integer, nullable=False),
        )
        self.sessions = sa.Table(
            "SESSION_",
            self.metadata,
            sa.Column("id", sa.String, primary_key=True),
            sa.Column("user", sa.String, nullable=False),
            sa.Column("expires", sa.Float, nullable=False),
        )
        self._write_lock = threading.RLock()
        # A database in memory is one connection, which only one thread may use.
        self._read_lock = self._write_lock if path is None else None
        if path is None:
            self.engine = sa.create_engine(
                "sqlite://",
                poolclass=StaticPool,
                connect_args={"check_same_thread": False},
                enable_from_linting=False,
            )
        else:
            # Two entities without a join between them are the client's business.
            self.engine = sa.create_engine(
                f"sqlite:///{path}", enable_from_linting=False
            )
        sa.event.listen(self.engine, "connect", self._configure)
        sa.event.listen(self.engine, "begin", _begin)
        with self.write() as connection:
            self._create_tables(connection)

    def _create_tables(self, connection: sa.Connection) -> None:
        if sa.inspect(connection).has_table("SEQUENCE_"):
            return
        self.metadata.create_all(connection, checkfirst=False)
        if self._file_totals:
            for statement in triggers():
                connection.exec_driver_sql(statement)
        connection.execute(
            self.sequences.insert(),
            [{"entity": e.name, "last": 0} for e in self.schema],
        )

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Give a connection that sees one state of the database."""
        if self._read_lock is None:
            with self.engine.connect() as connection:
                yield connection
        else:
            with self._read_lock, self.engine.connect() as connection:
                yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Give a connection whose work is committed at the end, or not at all."""
        with self._write_lock, self.engine.begin() as connection:
            yield connection

    def next_ids(self, connection: sa.Connection, entity: Entity, count: int) -> int:
        """Reserve ids and return the first.

        Parameters
        ----------
        connection
            The writer's connection.
        entity
            Whose ids.
        count
            How many.
        """
        last: int = connection.execute(
            self.sequences.update()
            .where(self.sequences.c.entity == entity.name)
            .values(last=self.sequences.c.last + count)
            .returning(self.sequences.c.last)
        ).scalar_one()
        return last - count + 1

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _configure(self, connection: Any, _: Any) -> None:
        # The driver must not begin transactions itself: they would not cover reads.
        connection.isolation_level = None
        connection.create_function("icat_locate", -1, _locate, deterministic=True)
        flags = re.IGNORECASE if self.ignore_case else re.NOFLAG

        def regexp(pattern: str, value: Any) -> bool | None:
            if value is None:
                return None
            return re.search(pattern, str(value), flags) is not None

        connection.create_function("regexp", 2, regexp, deterministic=True)
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        sensitive = "OFF" if self.ignore_case else "ON"
        cursor.execute(f"PRAGMA case_sensitive_like={sensitive}")
        cursor.execute("PRAGMA busy_timeout=10000")
        cursor.close()


def _locate(what: str | None, where: str | None, start: int = 1) -> int | None:
    if what is None or where is None:
        return None
    return where.find(what, max(start, 1) - 1) + 1


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _table(
    schema: Schema, entity: Entity, metadata: sa.MetaData, collation: str | None
) -> sa.Table:
    columns = [_column(schema, field, collation) for field in entity.fields.values()]
    key = tuple(entity.fields[name].column for name in entity.key)
    indexed = key[0] if key else None
    table = sa.Table(
        entity.name.upper(), metadata, *(c for c in columns if c is not None)
    )
    if key:
        table.append_constraint(sa.UniqueConstraint(*key))
    for field in entity.ones:
        if field.column != indexed:
            sa.Index(f"{table.name}_{field.column}", table.c[field.column])
    return table


def _column(
    schema: Schema, field: Field, collation: str | None
) -> "sa.Column[Any] | None":
    if field.name == ID:
        return sa.Column(ID, sa.Integer, primary_key=True, autoincrement=False)
    if field.relation == "MANY":
        return None
    if field.relation == "ONE":
        # Every to-one relation has a to-many side, and ICAT deletes along those.
        return sa.Column(
            field.column,
            sa.Integer,
            sa.ForeignKey(f"{field.type.upper()}.{ID}", ondelete="CASCADE"),
            nullable=not field.required,
        )
    kind = _TYPES.get(field.type, sa.String(field.length or 255, collation))
    required = field.required or field.name in STAMPS
    return sa.Column(field.name, kind, nullable=not required)
