"""Connections to the journal's database, none of which waits for ever."""

import os
import sqlite3
import time
from collections.abc import Generator
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError

from icat_stream.config import JournalSettings, read_secret

# Another process may hold SQLite's write lock for a batch, 10 ms each: 10 s is never
# reached unless something is wrong.
_BUSY_S = 10
# The server gives a statement up first, and says why.
_LATER_S = 5.0
# Where packets are lost without a word, the kernel finds out within two minutes.
_POSTGRES = {
    "connect_timeout": 10,
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 60_000,
}
READS = {"icat_stream_reads": True}
"""Execution options of transactions that only read."""


class Engines:
    """How to reach one database, for work of several kinds.

    Attributes
    ----------
    writing
        For what the daemon waits for: what takes longer than ``journal.timeout`` fails.
    lazy
        The same for transactions that need not be on disk before one of ``writing``
        that follows them.
    patient
        For what may take long: upgrades, upkeep, questions.

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
        url = _url(settings)
        if url.get_backend_name() == "sqlite":
            file = _File(url)
            self.writing = _sqlite(url, file, "FULL")
            self.lazy = _sqlite(url, file, "NORMAL")
            self.patient = self.writing
        else:
            limit = settings.timeout
            self.writing = postgres_engine(url, limit)
            self.lazy = postgres_engine(url, limit, synchronous=False)
            self.patient = postgres_engine(url, None)

    def close(self) -> None:
        """Give the connections back."""
        for engine in (self.writing, self.lazy, self.patient):
            engine.dispose()


def _url(settings: JournalSettings) -> URL:
    try:
        url = make_url(settings.url)
    except ArgumentError as error:
        raise ValueError(f"journal.url: {error}") from None
    if settings.password_file is not None:
        url = url.set(password=read_secret(None, settings.password_file))
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("journal.url: a journal in memory is no journal")
    if backend not in ("sqlite", "postgresql"):
        raise ValueError(
            f"journal.url: {backend} is not supported; expected sqlite or postgresql"
        )
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return url


class _Impatient(psycopg.Connection[Any]):
    """A connection on which no answer is waited for longer than a statement may take.

    The server's own limits do not help where it is the server, or what is between,
    that has stopped: nothing comes then, for ever.
    """

    patience: float | None = None

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for what the driver has begun."""
        if self.patience is not None:
            gen = self._limited(gen, self.patience)
        return super().wait(gen, *args, **kwargs)

    def _limited(self, gen: Any, patience: float) -> Generator[Any, Any, Any]:
        moved = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    # Many rows are many steps, each of which is a sign of life.
                    moved = now
                elif now - moved > patience:
                    # What was asked may come true or not: this connection is done.
                    self.pgconn.finish()
                    raise psycopg.OperationalError(
                        f"the server has not answered for {patience:.0f} s"
                    )
                wanted = gen.send(ready)
        except StopIteration as stop:
            return stop.value


def postgres_engine(
    url: URL, limit: float | None, *, synchronous: bool = True
) -> Engine:
    """Return how to reach a PostgreSQL that may hang without a word.

    Parameters
    ----------
    url
        With the password.
    limit
        Seconds that a statement may take.
    synchronous
        Whether a transaction is on disk when it ends.
    """
    # Asks a connection whether it still lives before it is used: a database that
    # was restarted costs no record its journal row.
    engine = create_engine(url, pool_pre_ping=True)
    local: dict[str, str] = {}
    if limit is not None:
        local["statement_timeout"] = f"{limit * 1000:.0f}"
        local["lock_timeout"] = f"{min(limit / 2, _BUSY_S) * 1000:.0f}"
    if not synchronous:
        local["synchronous_commit"] = "off"

    def connect(_: Any, __: Any, arguments: Any, options: Any) -> Any:
        connection = _Impatient.connect(*arguments, **{**_POSTGRES, **options})
        connection.patience = None if limit is None else limit + _LATER_S
        return connection

    # Of the transaction, not of the connection: that may be a pooler's.
    settings = ", ".join(f"set_config('{n}', '{v}', true)" for n, v in local.items())

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT {settings}")

    event.listen(engine, "do_connect", connect)
    if settings:
        event.listen(engine, "begin", begin)
    return engine


class _File:
    """SQLite's file, which shall stay the one that it was.

    A file that is deleted or replaced while it is open goes on taking rows, which
    nobody will ever see; a new one lacks the newest states.
    """

    def __init__(self, url: URL) -> None:
        # With ?uri=true it may be written as file:/path.
        self._path = (url.database or "").removeprefix("file:")
        self._known: tuple[int, int] | None = None

    def before(self, *_: Any) -> None:
        """Refuse to connect to another file, or to make one in its place."""
        if self._known is not None and self._identity() != self._known:
            raise sqlite3.OperationalError(
                f"{self._path} is gone, or is not the file that was opened first: put"
                " it back as it was, or restart to work with what is there"
            )

    def connected(self, *_: Any) -> None:
        """Know the file from now on."""
        self._known = self._known or self._identity()

    def checked_out(self, *_: Any) -> None:
        """Refuse a connection to a file that is not there any more."""
        if self._identity() != self._known:
            raise DisconnectionError("another file")

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _sqlite(url: URL, file: _File, synchronous: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY_S})

    def prepare(connection: Any, _: object) -> None:
        # The driver's own idea of when a transaction begins is turned off: see below.
        connection.isolation_level = None
        cursor = connection.cursor()
        _write_ahead(cursor)
        # FULL: a row must outlive a power cut, the commit in Kafka that follows it
        # will.
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.close()

    event.listen(engine, "do_connect", file.before)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "connect", file.connected)
    event.listen(engine, "checkout", file.checked_out)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


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
    reads = connection.get_execution_options().keys() >= READS.keys()
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
