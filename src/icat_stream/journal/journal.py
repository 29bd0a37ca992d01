"""Writing and reading the journal."""

import json
import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    IntegrityError,
    SQLAlchemyError,
    StatementError,
)

from icat_stream.config import JournalSettings
from icat_stream.config.values import read_secret
from icat_stream.records import Rejection, SystemUnavailable

from .copying import write_copied
from .entries import Entries
from .migrations import is_current, upgrade
from .newest import Newest
from .rows import JournalRow
from .tables import COMMITTED, PENDING, SEVERAL, TOLD, jobs, outcomes
from .upkeep import delete_jobs, delete_outcomes, drop_month, make_months, old_months

# Another process may hold SQLite's write lock for a batch, 10 ms each: 10 s is never
# reached unless something is wrong.
_BUSY_S = 10
_PAGE = 2_000
_READS = {"icat_stream_reads": True}
_LOCK = "SELECT pg_advisory_xact_lock(1229144404)"
# Who writes meanwhile waits behind us, and we behind who reads: an export may take
# hours.
_PATIENCE = "SET LOCAL lock_timeout = '2s'"
_KEY = ("group", "topic", "partition", "offset", "time")
_NAMES = ("investigation", "dataset", "file")
_DATA = tuple(c.name for c in outcomes.columns if c.name not in _KEY)


class Journal:
    """What became of every record, in SQLite or PostgreSQL.

    May be used by any number of threads.  Every method raises
    :class:`~icat_stream.records.SystemUnavailable` (of the system ``journal``) when
    the database does not do what it should.

    Parameters
    ----------
    settings
        Where it is.

    Raises
    ------
    ValueError
        The URL names no database that can be used.
    OSError
        The password's file cannot be read.
    """

    def __init__(self, settings: JournalSettings) -> None:
        self._settings = settings
        self._engine = _engine(settings)
        # Another process's late write is told from ours by this.
        self._writer = uuid.uuid4().hex
        dialect: Any = postgresql if self._engine.name == "postgresql" else sqlite
        insert = dialect.insert(outcomes)
        self._upsert = insert.on_conflict_do_update(
            index_elements=list(_KEY),
            set_={name: insert.excluded[name] for name in _DATA},
            where=outcomes.c.state != COMMITTED,
        )
        # Its transactions need not be on disk before the rows of the same records
        # are: whatever was written before those goes to the disk with them.  Where
        # rows may be left out, nothing would follow.
        self._lazy_engine = _engine(settings, lazy=settings.required)
        self.newest = Newest(lambda: self._begin(self._lazy_engine), self._engine.name)
        self._reading = self._engine.execution_options(**_READS)
        self.entries = Entries(lambda: self._begin(self._reading))
        insert = dialect.insert(jobs)
        self._upsert_job = insert.on_conflict_do_update(
            index_elements=["job_id"],
            set_={
                name: insert.excluded[name]
                for name in ("sample", "proposal", "remembered_at")
            },
        )

    def create(self) -> None:
        """Bring the tables up to date; several processes may do so at once.

        Raises
        ------
        ConfigError
            A newer program has made them.
        """
        with self._begin() as connection:
            if self._engine.name == "postgresql":
                # CREATE TABLE IF NOT EXISTS races with itself there.
                connection.execute(text(_LOCK))
            upgrade(connection)
        self.upkeep()

    def upkeep(self) -> None:
        """Make room for the months to come, and drop what is too old.

        To be called now and then, by any number of processes.
        """
        now = _now()
        kept = self._settings.retention
        retention = None if kept is None else int(kept * 1000)
        if self._engine.name == "postgresql":
            with self._begin() as connection:
                connection.execute(text(_LOCK))
                connection.execute(text(_PATIENCE))
                make_months(connection, now, retention)
        with self._begin() as connection:
            delete_jobs(connection, now)
        if retention is not None:
            self._drop(now - retention)

    def _drop(self, limit: int) -> None:
        if self._engine.name == "postgresql":
            with self._begin() as connection:
                months = old_months(connection, limit)
            for month in months:
                with self._begin() as connection:
                    connection.execute(text(_PATIENCE))
                    connection.execute(text(_LOCK))
                    if month in old_months(connection, limit):
                        drop_month(connection, month)
        while True:
            with self._begin() as connection:
                if not delete_outcomes(connection, limit):
                    return

    def keeps(self, size: int) -> bool:
        """Whether a record's payload of that size is kept.

        Parameters
        ----------
        size
            Bytes.
        """
        return self._settings.payload and size <= self._settings.payload_limit

    def is_current(self) -> bool:
        """Whether the tables are there, as this program needs them.

        Raises
        ------
        ConfigError
            A newer program has made them.
        """
        with self._begin(self._reading) as connection:
            return is_current(connection)

    def ping(self) -> None:
        """Return if the database answers."""
        with self._begin() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()
        self._lazy_engine.dispose()

    def pending(self, rows: Sequence[JournalRow]) -> None:
        """Write rows before their transaction is committed in Kafka.

        Rows that are committed already stay as they are.

        Parameters
        ----------
        rows
            One a record.
        """
        if rows:
            values = [self._values(row, PENDING) for row in rows]
            with self._begin() as connection:
                self._write(connection, values)

    def committed(self, rows: Sequence[JournalRow]) -> None:
        """Mark rows after their transaction was committed in Kafka.

        Parameters
        ----------
        rows
            As given to :meth:`pending`, in the order of their partitions.
        """
        if not rows:
            return
        spans = [
            (partition, list(group))
            for partition, group in groupby(rows, key=lambda row: row.at[:3])
        ]
        with self._begin() as connection:
            for (group, topic, partition), span in spans:
                marked = connection.execute(
                    _settled(group, topic, partition)
                    .where(outcomes.c.writer == self._writer)
                    .where(
                        outcomes.c.offset.between(span[0].at.offset, span[-1].at.offset)
                    )
                )
                if marked.rowcount != len(span):
                    # A process that was frozen has written over ours: the commit
                    # in Kafka was ours, so what we say holds.
                    self._write(
                        connection, [self._values(row, COMMITTED) for row in span]
                    )

    def settle(self, group: str, topic: str, partition: int, below: int) -> int:
        """Mark what a crash left pending although Kafka has committed it.

        Parameters
        ----------
        group, topic, partition
            Whose.
        below
            The committed offset.

        Returns
        -------
        :
            How many rows were marked.
        """
        with self._begin() as connection:
            done = connection.execute(
                _settled(group, topic, partition).where(outcomes.c.offset < below)
            )
            return done.rowcount

    def remember_job(
        self, job_id: str, sample: str, proposal: str | None = None
    ) -> None:
        """Keep what a run start said of the file that it will end in.

        Parameters
        ----------
        job_id
            Of the writing job.
        sample
            Name of the sample.
        proposal
            Name of the proposal.
        """
        values = {
            "job_id": job_id,
            "sample": _clean(sample),
            "proposal": _clean(proposal),
            "remembered_at": _now(),
        }
        with self._begin() as connection:
            connection.execute(self._upsert_job, values)

    def sample_of_job(self, job_id: str) -> str | None:
        """Return the sample that a run start named, ``None`` if none did."""
        with self._begin() as connection:
            sample = connection.scalar(
                select(jobs.c.sample).where(jobs.c.job_id == job_id)
            )
        return None if sample is None else str(sample)

    def read(self, since: int = 0) -> Iterator[Mapping[str, Any]]:
        """Yield committed rows by primary key, a short transaction a page.

        Parameters
        ----------
        since
            Those whose origin is no older, in milliseconds since the epoch.
        """
        key = tuple_(*(outcomes.c[name] for name in _KEY))
        query = (
            select(*TOLD)
            .where(outcomes.c.state == COMMITTED)
            .where(outcomes.c.origin_time >= since)
            .order_by(*(outcomes.c[name] for name in _KEY))
            .limit(_PAGE)
        )
        page = query
        while True:
            with self._begin(self._reading) as connection:
                rows = connection.execute(page).mappings().all()
            yield from (dict(row) for row in rows)
            if len(rows) < _PAGE:
                return
            page = query.where(key > tuple_(*(rows[-1][name] for name in _KEY)))

    @contextmanager
    def _begin(
        self, engine: Engine | None = None, *, reads: bool = False
    ) -> Iterator[Connection]:
        engine = engine or self._engine
        if reads:
            engine = engine.execution_options(reads=True)
        try:
            with engine.begin() as connection:
                yield connection
        except (DataError, IntegrityError) as error:
            # The database is well; it is this very value that it does not take.
            raise Rejection(f"the journal does not take it: {error.orig}") from error
        except SQLAlchemyError as error:
            # The driver's words only: SQLAlchemy's own would repeat all the values.
            words = error.orig if isinstance(error, StatementError) else error
            # Its options may hold a password as well, which nobody hides there.
            url = self._engine.url.set(query={})
            where = url.render_as_string(hide_password=True)
            raise SystemUnavailable(
                f"the journal {where} fails: {words}", system="journal"
            ) from error

    def _write(self, connection: Connection, values: list[dict[str, Any]]) -> None:
        if self._engine.name == "postgresql":
            # Several times as quick as a statement a row.
            write_copied(connection, values)
        else:
            connection.execute(self._upsert, values)

    def _values(self, row: JournalRow, state: str) -> dict[str, Any]:
        group, topic, partition, offset, created = row.at
        return {
            "group": group,
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "time": created,
            "origin_topic": _short(row.origin_topic, 249),
            # From headers, which anybody can write.
            "origin_partition": max(-1, min(row.origin_partition, 2**31 - 1)),
            "origin_offset": max(-1, min(row.origin_offset, 2**63 - 1)),
            "origin_time": max(-1, min(row.origin_time, 2**63 - 1)),
            "key": _clean(row.key),
            "message_type": _short(row.message_type, 64),
            "message_format": _short(row.message_format, 32),
            "sha256": row.sha256,
            "size": row.size,
            "objects": _as_json(row.objects),
            "outcome": row.outcome,
            "error_class": _short(row.error_class, 32),
            "text": _clean(row.text),
            "attempts": min(row.attempts, 2**31 - 1),
            "steps": dict(row.steps),
            "trace_id": row.trace_id,
            "version": row.version,
            "state": state,
            "writer": self._writer,
            "written_at": _now(),
            **{name: _named(row.objects, name) for name in _NAMES},
            **self._kept(row),
        }

    def _kept(self, row: JournalRow) -> dict[str, Any]:
        if row.payload is None or not self.keeps(len(row.payload)):
            return {"payload": None, "record_key": None, "headers": None}
        # The quickest: this is in the way of every record.
        return {
            "payload": zlib.compress(row.payload, 1),
            "record_key": row.record_key,
            "headers": [
                [_clean(name), None if value is None else value.decode("latin-1")]
                for name, value in row.headers
            ]
            or None,
        }


def _named(objects: Mapping[str, Any], name: str) -> str | None:
    found = objects.get(name)
    if found is None or isinstance(found, str):
        return _short(found, 255)
    if isinstance(found, list | tuple) and len(found) == 1:
        return _short(str(found[0]), 255)
    return SEVERAL if isinstance(found, list | tuple) and found else None


def _short(value: str | None, limit: int) -> str | None:
    value = _clean(value)
    return None if value is None else value[:limit]


def _as_json(value: Mapping[str, Any]) -> Any:
    """Return something that can be stored, whatever a handler put together."""
    try:
        text = json.dumps(dict(value), default=str, allow_nan=False)
        return _cleaned(json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        return {"not journalled": str(error)[:200]}


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return _clean(value)
        case list():
            return [_cleaned(each) for each in value]
        case dict():
            return {_clean(name): _cleaned(each) for name, each in value.items()}
    return value


def _settled(group: str, topic: str, partition: int) -> Any:
    return (
        update(outcomes)
        .values(state=COMMITTED)
        .where(outcomes.c.group == group)
        .where(outcomes.c.topic == topic)
        .where(outcomes.c.partition == partition)
        # As the partial index has it: a bound value would not match that.
        .where(text(f"state = '{PENDING}'"))
    )


def _clean(value: str | None) -> str | None:
    # PostgreSQL stores no NUL, and no driver encodes half a surrogate pair.
    if value is None:
        return None
    return value.replace("\0", "\ufffd").encode(errors="replace").decode()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _engine(settings: JournalSettings, *, lazy: bool = False) -> Engine:
    try:
        url = make_url(settings.url)
    except ArgumentError as error:
        raise ValueError(f"journal.url: {error}") from None
    if settings.password_file is not None:
        url = url.set(password=read_secret(None, settings.password_file))
    backend = url.get_backend_name()
    if backend == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ValueError("journal.url: a journal in memory is no journal")
        engine = create_engine(url, connect_args={"timeout": _BUSY_S})
        event.listen(engine, "connect", _prepare_lazily if lazy else _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if backend == "postgresql":
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        # Asks a connection whether it still lives before it is used: a database that
        # was restarted costs no record its journal row.
        engine = create_engine(
            url, pool_pre_ping=True, connect_args={"connect_timeout": 10}
        )
        if lazy:
            event.listen(engine, "begin", _begin_lazily)
        return engine
    raise ValueError(
        f"journal.url: {backend} is not supported; expected sqlite or postgresql"
    )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # A row must outlive a power cut: the commit in Kafka that follows it will.
    _prepare(connection, "FULL")


def _prepare_lazily(connection: Any, _record: object) -> None:
    _prepare(connection, "NORMAL")


def _prepare(connection: Any, synchronous: str) -> None:
    # The driver's own idea of when a transaction begins is turned off: see below.
    connection.isolation_level = None
    cursor = connection.cursor()
    _write_ahead(cursor)
    cursor.execute(f"PRAGMA synchronous={synchronous}")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    # Two processes that both switch a new file find it locked at once: SQLite waits
    # for no lock here, whatever its timeout says.
    end = time.monotonic() + _BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins as a reader cannot wait to become a writer; one that
    # stays a reader is in nobody's way.
    reads = connection.get_execution_options().keys() >= _READS.keys()
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _begin_lazily(connection: Connection) -> None:
    # Of the transaction, not of the connection: that may be a pooler's.
    connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")
