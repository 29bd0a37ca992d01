"""Writing and reading the journal."""

import json
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, Engine, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError, StatementError

from icat_stream.config import JournalSettings
from icat_stream.records import JournalRow, Rejection, SystemUnavailable
from icat_stream.telemetry import fault_point

from .audit_trail import AuditTrail
from .engines import READS, Engines
from .exports import Exports
from .group_commit import Contended
from .migrations import is_current, upgrade
from .month_partitions import (
    delete_jobs,
    delete_outcomes,
    drop_month,
    make_months,
    old_months,
)
from .newest_claims import NewestClaims
from .postgres_copy import write_copied
from .reconciliations import Reconciliations
from .retention_plans import RetentionPlans
from .scheduled_runs import ScheduledRuns
from .script_tokens import ScriptTokens
from .search import Entries
from .stated_snapshots import StatedSnapshots
from .storable_text import storable
from .summaries import Summaries, delete_summaries
from .tables import COMMITTED, SEVERAL, jobs, outcomes, positions

_LOCK = "SELECT pg_advisory_xact_lock(1229144404)"
# Who writes meanwhile waits behind us, and we behind whoever reads, for as long as that
# takes.
_PATIENCE = "SET LOCAL lock_timeout = '2s'"
_KEY = ("group", "topic", "partition", "offset", "time")
# What is wrong with a value, rather than with the database.
_OF_VALUES = (
    psycopg.DataError,
    psycopg.IntegrityError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
)
# Somebody else holds what was wanted.
_OF_ROWS = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
_NOTHING = text("INSERT INTO outcomes SELECT * FROM outcomes WHERE 1 = 0")
_NAMES = ("investigation", "dataset", "file")
_DATA = tuple(c.name for c in outcomes.columns if c.name not in _KEY)


class Fenced(Exception):
    """Somebody else has written meanwhile: look again up to where."""


class Move(NamedTuple):
    """How far a partition of the outcomes topic gets into the journal.

    Parameters
    ----------
    partition
        Its number.
    before
        The next offset until now; ``None``: it is not known to the journal.
    after
        From now on.
    """

    partition: int
    before: int | None
    after: int


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
        self._engines = Engines(settings)
        self._engine = self._engines.writing
        dialect: Any = postgresql if self._engine.name == "postgresql" else sqlite
        add = dialect.insert(outcomes)
        # What a crash of an earlier version has left open is written anew when its
        # record is handled again.
        self._upsert = add.on_conflict_do_update(
            index_elements=list(_KEY),
            set_={name: add.excluded[name] for name in _DATA},
            where=outcomes.c.state != COMMITTED,
        )
        # Its transactions need not be on disk before the rows of the same records
        # are: whatever was written before those goes to the disk with them.
        lazy = self._engines.lazy
        self.newest = NewestClaims(lambda: self._begin(lazy), self._engine.name)
        # What is outside of the database is to be known after a crash, too.
        self.exports = Exports(self._begin, self._engine.name)
        self.retention = RetentionPlans(self._begin, self._engine.name)
        self.scheduled = ScheduledRuns(self._begin, self._engine.name)
        self._patient = self._engines.patient
        self._reading = self._patient.execution_options(**READS)
        self.entries = Entries(lambda: self._begin(self._reading))
        self.summaries = Summaries(lambda: self._begin(self._reading))
        self.audit = AuditTrail(self._begin, lambda: self._begin(self._reading))
        self.reconciliations = Reconciliations(
            self._begin, lambda: self._begin(self._reading)
        )
        self.script_tokens = ScriptTokens(
            self._begin, lambda: self._begin(self._reading)
        )
        self._begin_position = (
            dialect.insert(positions)
            .on_conflict_do_nothing()
            .execution_options(preserve_rowcount=True)
        )
        add = dialect.insert(jobs)
        self._upsert_job = add.on_conflict_do_update(
            index_elements=["job_id"],
            set_={
                name: add.excluded[name]
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
        with self._begin(self._patient) as connection:
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
            with self._begin(self._patient) as connection:
                connection.execute(text(_LOCK))
                connection.execute(text(_PATIENCE))
                make_months(connection, now, retention)
        with self._begin(self._patient) as connection:
            delete_jobs(connection, now)
        if retention is not None:
            self._drop(now - retention)

    def _drop(self, limit: int) -> None:
        with self._begin(self._patient) as connection:
            delete_summaries(connection, limit)
        if self._engine.name == "postgresql":
            with self._begin(self._patient) as connection:
                months = old_months(connection, limit)
            for month in months:
                with self._begin(self._patient) as connection:
                    connection.execute(text(_PATIENCE))
                    connection.execute(text(_LOCK))
                    if month in old_months(connection, limit):
                        drop_month(connection, month)
        while True:
            with self._begin(self._patient) as connection:
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

    def stated(self, facility: str) -> StatedSnapshots:
        """Return what user offices state of the users and investigations of one."""
        return StatedSnapshots(self._begin, facility)

    def ping(self) -> None:
        """Return if the database answers."""
        with self._begin() as connection:
            connection.execute(text("SELECT 1"))

    def probe(self) -> None:
        """Return if the database would take rows; its tables have to be there."""
        with self._begin() as connection:
            connection.execute(_NOTHING)

    def close(self) -> None:
        """Give the connections back."""
        self._engines.close()

    def write(self, rows: Sequence[JournalRow]) -> None:
        """Write rows; one that is there stays as it is.

        Parameters
        ----------
        rows
            One a record.
        """
        with self._begin() as connection:
            self._write(connection, rows)

    def positions(self, group_id: str, topic: str) -> dict[tuple[str, int], int]:
        """Return up to where outcomes are in the journal.

        Parameters
        ----------
        group_id
            Whose.
        topic
            Of outcomes.

        Returns
        -------
        :
            The next offset by Kafka's id of the topic and number of the partition.
        """
        c = positions.c
        query = select(c.topic_id, c.partition, c.next).where(
            c.group_id == group_id, c.topic == topic
        )
        with self._begin() as connection:
            return {(i, number): n for i, number, n in connection.execute(query)}

    def project(
        self,
        group_id: str,
        topic: str,
        topic_id: str,
        moves: Sequence[Move],
        rows: Sequence[JournalRow],
    ) -> None:
        """Write the rows of some outcomes, and up to where they are, or nothing.

        Parameters
        ----------
        group_id, topic
            As for :meth:`positions`.
        topic_id
            Kafka's; empty where it is not known.
        moves
            One a partition.
        rows
            Of the outcomes between.

        Raises
        ------
        Fenced
            Somebody else has done it.
        """
        whose = {"group_id": group_id, "topic": topic, "topic_id": topic_id}
        with self._begin() as connection:
            # First, and in one order: of two that write, one waits here, and then
            # writes nothing.
            for number, before, after in sorted(moves):
                place = {**whose, "partition": number}
                if before is None:
                    added = self._begin_position.values(**place, next=after)
                    moved = connection.execute(added)
                else:
                    known = (positions.c[name] == each for name, each in place.items())
                    moved = connection.execute(
                        update(positions)
                        .where(*known, positions.c.next == before)
                        .values(next=after)
                    )
                if moved.rowcount != 1:
                    raise Fenced
            self._write(connection, rows)
            fault_point("journalled")

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
            "sample": storable(sample),
            "proposal": storable(proposal),
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

    @contextmanager
    def _begin(self, engine: Engine | None = None) -> Iterator[Connection]:
        try:
            with (engine or self._engine).begin() as connection:
                yield connection
        except (SQLAlchemyError, psycopg.Error) as error:
            # The driver's words only, and of these the first line: all the others
            # would repeat values.
            words = error.orig if isinstance(error, StatementError) else error
            # After a failure within a COPY, its end fails as well.
            while isinstance(words, psycopg.Error) and isinstance(
                words.__context__, psycopg.Error
            ):
                words = words.__context__
            if isinstance(words, _OF_VALUES) and not _is_without_partition(words):
                # The database is well; it is this very value that it does not take.
                raise Rejection(
                    f"the journal does not take it: {_first_line(words)}"
                ) from error
            # Its options may hold a password as well, which nobody hides there.
            url = self._engine.url.set(query={})
            where = url.render_as_string(hide_password=True)
            kind = Contended if isinstance(words, _OF_ROWS) else SystemUnavailable
            raise kind(
                f"the journal {where} fails: {_first_line(words)}", system="journal"
            ) from error

    def _write(self, connection: Connection, rows: Sequence[JournalRow]) -> None:
        if not rows:
            return
        # Of one that comes twice the last: the other may have been aborted, where
        # Kafka does not tell.
        values = [self._values(row) for row in {row.at: row for row in rows}.values()]
        if self._engine.name == "postgresql":
            # Several times as quick as a statement a row.
            write_copied(connection, values)
        else:
            connection.execute(self._upsert, values)

    def _values(self, row: JournalRow) -> dict[str, Any]:
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
            "key": storable(row.key),
            "message_type": _short(row.message_type, 64),
            "message_format": _short(row.message_format, 32),
            "sha256": row.sha256,
            "size": row.size,
            "objects": _as_json(row.objects),
            "outcome": row.outcome,
            "error_class": _short(row.error_class, 32),
            "text": storable(row.text),
            "attempts": min(row.attempts, 2**31 - 1),
            "steps": dict(row.steps),
            "trace_id": row.trace_id,
            "version": row.version,
            "state": COMMITTED,
            "written_at": row.written_at or _now(),
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
                [storable(name), None if value is None else value.decode("latin-1")]
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
    value = storable(value)
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
            return storable(value)
        case list():
            return [_cleaned(each) for each in value]
        case dict():
            return {storable(name): _cleaned(each) for name, each in value.items()}
    return value


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0]


def _is_without_partition(error: object) -> bool:
    # Somebody has dropped the default one: no fault of the row's, and the next start
    # or hour may make the month's.
    return isinstance(error, psycopg.errors.CheckViolation)


def _now() -> int:
    return time.time_ns() // 1_000_000
