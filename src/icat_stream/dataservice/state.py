"""What survives a restart: requests, failures, prepared ids, links, doubts."""

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    create_engine,
    delete,
    event,
    func,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError

from .errors import InsufficientStorage, Internal
from .settings import LinkSettings, PreparedSettings, SettingsError
from .tables import Copy, Doubt, Failure, Request, Unit
from .tables import copies as _copies
from .tables import doubts as _doubts
from .tables import links as _links
from .tables import metadata as _metadata
from .tables import prepared as _prepared
from .tables import reads as _reads
from .tables import units as _units

_IDS_A_STATEMENT = 500


class State:
    """The service's memory, a database in its own folder.

    Parameters
    ----------
    folder
        Made if it is not there.

    Raises
    ------
    SettingsError
        It cannot be made or used.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"folder {folder}: {error.strerror}") from None
        self.folder = folder
        _only_ours(folder / "state.db")
        url = f"sqlite:///{folder / 'state.db'}"
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        self._writer = create_engine(url)
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._writer, "connect", _prepare)
        event.listen(self._writer, "begin", _begin_at_once)
        # SQLite lets one write at a time anyhow, and waiting here is fair.
        self._writing = threading.Lock()
        # Two processes that switch a new file find it locked at once: SQLite waits
        # for no lock then, whatever its timeout says.
        try:
            with _locked(folder / "opening"), self._asks() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                _metadata.create_all(connection)
                # In this one, ids stood in clear.
                connection.exec_driver_sql("DROP TABLE IF EXISTS prepared")
                _move_links(connection)
        except Internal as error:
            raise SettingsError(error.message) from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder as the one service that runs on it.

        Raises
        ------
        SettingsError
            Another one does.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(_locked(self.folder / "lock", wait=False))
            except BlockingIOError:
                raise SettingsError(
                    f"folder {self.folder} is in use by another data service: end it,"
                    " or give this one a folder of its own"
                ) from None
            yield

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()
        self._writer.dispose()

    def ping(self) -> None:
        """Return if the database answers."""
        with self._asks() as connection:
            connection.execute(select(1))

    # Units

    def units(self, ids: Iterable[int]) -> dict[int, Unit]:
        """Return those of some units of which something is wanted or wrong."""
        found: dict[int, Unit] = {}
        with self._asks() as connection:
            for some in _portions(ids):
                rows = connection.execute(select(_units).where(_units.c.unit.in_(some)))
                found.update((row.unit, _unit(row)) for row in rows)
        return found

    def wanted(self) -> list[Unit]:
        """Return all units of which something is wanted, the longest waiting first."""
        query = select(_units).where(_units.c.request.is_not(None))
        with self._asks() as connection:
            return [_unit(r) for r in connection.execute(query.order_by(_units.c.due))]

    def due(self, limit: int) -> list[Unit]:
        """Return units whose time has come: people wait for what is restored."""
        query = (
            select(_units)
            .where(_units.c.request.is_not(None), _units.c.due <= time.time())
            .order_by(_units.c.request != Request.RESTORE, _units.c.due)
            .limit(limit)
        )
        with self._asks() as connection:
            return [_unit(row) for row in connection.execute(query)]

    def failed(self) -> list[Unit]:
        """Return all units that are flagged as failed."""
        query = select(_units).where(_units.c.failure.is_not(None))
        with self._asks() as connection:
            return [_unit(r) for r in connection.execute(query.order_by(_units.c.unit))]

    @contextmanager
    def changing(self, ids: Iterable[int]) -> Iterator["Change"]:
        """Change units, all or none, with nobody in between."""
        with self._writes() as connection:
            found: dict[int, Unit] = {}
            for some in _portions(ids):
                rows = connection.execute(select(_units).where(_units.c.unit.in_(some)))
                found.update((row.unit, _unit(row)) for row in rows)
            yield Change(connection, found)

    def finish(
        self,
        done: Unit,
        *,
        then: Request | None = None,
        clears: Failure | None = None,
        copy: Copy | None = None,
    ) -> bool:
        """Note that what was wanted is done, unless something newer is wanted.

        Parameters
        ----------
        done
            The unit as it was when the work began.
        then
            What is wanted next.
        clears
            The flag that this success takes away.
        copy
            What the archive holds now, if that was the work.

        Returns
        -------
        :
            Whether nothing newer is wanted.
        """
        this = _units.c.unit == done.unit
        with self._writes() as connection:
            if copy is not None:
                _remember_copy(connection, done.unit, copy)
            if clears is not None:
                flagged = update(_units).where(this, _units.c.failure == clears)
                connection.execute(flagged.values(failure=None, reason=None))
            same = update(_units).where(this, _units.c.serial == done.serial)
            ended = connection.execute(same.values(request=then, due=0.0))
            connection.execute(_forgettable())
            return bool(ended.rowcount)

    def fail(self, unit: Unit, failure: Failure, reason: str) -> None:
        """Flag a unit, and want nothing more of it unless it is something newer."""
        with self._writes() as connection:
            this = _units.c.unit == unit.unit
            flag = update(_units).where(this).values(failure=failure, reason=reason)
            connection.execute(flag)
            same = this & (_units.c.serial == unit.serial)
            connection.execute(update(_units).where(same).values(request=None))

    def postpone(self, unit: Unit, due: float) -> None:
        """Try again later, unless something newer is wanted."""
        with self._writes() as connection:
            same = (_units.c.unit == unit.unit) & (_units.c.serial == unit.serial)
            connection.execute(update(_units).where(same).values(due=due))

    def copy(self, unit: int) -> Copy | None:
        """Return what the archive holds of a unit, as far as this service knows."""
        query = select(_copies).where(_copies.c.unit == unit)
        with self._asks() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Copy(row.listing, row.content, row.size)

    def forget_copy(self, unit: int) -> None:
        """Note that the archive holds nothing of a unit."""
        with self._writes() as connection:
            connection.execute(delete(_copies).where(_copies.c.unit == unit))

    # When files were read last

    def note_reads(self, reads: dict[str, float]) -> None:
        """Remember when files were read."""
        if not reads:
            return
        statement = insert(_reads)
        statement = statement.on_conflict_do_update(
            index_elements=["location"], set_={"at": statement.excluded.at}
        )
        with self._writes() as connection:
            rows = [{"location": where, "at": at} for where, at in reads.items()]
            connection.execute(statement, rows)

    def reads(self) -> dict[str, float]:
        """Return when files were read last, by location."""
        with self._asks() as connection:
            return {r.location: r.at for r in connection.execute(select(_reads))}

    def forget_reads(self, locations: Iterable[str]) -> None:
        """Forget files that are gone."""
        with self._writes() as connection:
            for some in _portions(locations):
                gone = delete(_reads).where(_reads.c.location.in_(some))
                connection.execute(gone)

    # Prepared ids

    def prepare(
        self, id_: str, owner: str, content: object, settings: PreparedSettings
    ) -> None:
        """Keep a selection of a user's under an id.

        Raises
        ------
        InsufficientStorage
            The user keeps too many, or too much.
        """
        text = json.dumps(content, separators=(",", ":"))
        now = time.time()
        size = func.coalesce(func.sum(func.length(_prepared.c.content)), 0)
        kept = select(func.count(), size).where(
            _prepared.c.owner == owner, _prepared.c.expires > now
        )
        row = {
            "digest": _digest(id_),
            "owner": owner,
            "expires": now + settings.lifetime,
            "content": text,
        }
        with self._writes() as connection:
            number, total = connection.execute(kept).one()
            if number >= settings.user_count or total + len(text) > settings.user_size:
                raise InsufficientStorage(
                    f"{owner} keeps {number} prepared ids with {total} bytes; allowed"
                    f" are {settings.user_count} with {settings.user_size} (prepared."
                    "user_count, prepared.user_size): withdraw some, or wait until"
                    " they expire"
                )
            connection.execute(insert(_prepared).values(**row))

    def prepared(self, id_: str) -> tuple[str, Any] | None:
        """Return whose an id is and what is kept under it, if anything is."""
        query = select(_prepared.c.owner, _prepared.c.content).where(
            _prepared.c.digest == _digest(id_), _prepared.c.expires > time.time()
        )
        with self._asks() as connection:
            found = connection.execute(query).one_or_none()
        return None if found is None else (found.owner, json.loads(found.content))

    def withdraw(self, id_: str) -> None:
        """Forget a prepared id."""
        with self._writes() as connection:
            this = _prepared.c.digest == _digest(id_)
            connection.execute(delete(_prepared).where(this))

    def forget_expired(self) -> None:
        """Forget prepared ids that nobody may use any more."""
        with self._writes() as connection:
            old = _prepared.c.expires <= time.time()
            connection.execute(delete(_prepared).where(old))

    # Links

    def add_link(self, path: Path, owner: str, settings: LinkSettings) -> None:
        """Remember a link of a user's before it is made.

        Raises
        ------
        InsufficientStorage
            The user has too many.
        """
        now = time.time()
        theirs = select(func.count()).where(
            _links.c.owner == owner, _links.c.expires > now
        )
        row = {"path": str(path), "owner": owner, "expires": now + settings.lifetime}
        with self._writes() as connection:
            number = connection.execute(theirs).scalar_one()
            if number >= settings.user_count:
                raise InsufficientStorage(
                    f"{owner} has {number} links; allowed are {settings.user_count}"
                    " (links.user_count): wait until they expire"
                    f" ({settings.lifetime:g} s after they were made)"
                )
            connection.execute(insert(_links).values(**row))

    def expired_links(self) -> list[Path]:
        """Return the links whose time is over."""
        query = select(_links.c.path).where(_links.c.expires <= time.time())
        with self._asks() as connection:
            return [Path(path) for path in connection.execute(query).scalars()]

    def forget_link(self, path: Path) -> None:
        """Forget a link that is removed."""
        with self._writes() as connection:
            connection.execute(delete(_links).where(_links.c.path == str(path)))

    # Doubts

    def doubt(self, location: str, dataset: int, name: str, reason: str) -> None:
        """Note a stored file of which it is not certain that it is catalogued."""
        row = {
            "location": location,
            "dataset": dataset,
            "name": name,
            "noted": time.time(),
            "reason": reason,
        }
        statement = insert(_doubts).values(**row)
        with self._writes() as connection:
            connection.execute(statement.on_conflict_do_nothing())

    def doubts(self) -> list[Doubt]:
        """Return all such files."""
        with self._asks() as connection:
            rows = connection.execute(select(_doubts).order_by(_doubts.c.noted))
            return [Doubt(*row) for row in rows]

    def settle(self, location: str) -> None:
        """Note that there is no doubt any more."""
        with self._writes() as connection:
            this = _doubts.c.location == location
            connection.execute(delete(_doubts).where(this))

    def count_doubts(self) -> int:
        """Return how many such files there are."""
        with self._asks() as connection:
            query = select(func.count()).select_from(_doubts)
            return int(connection.execute(query).scalar_one())

    @contextmanager
    def _writes(self) -> Iterator[Connection]:
        with self._writing, self._told(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _asks(self) -> Iterator[Connection]:
        with self._told(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell of a database in trouble without what was to be written to it."""
        try:
            yield
        except DBAPIError as error:
            text = f"the service's state in {self.folder}: {error.orig}"
            raise Internal(text) from None


class Change:
    """Units on their way to other requests and flags.

    Parameters
    ----------
    connection
        Inside a transaction.
    units
        As they were at its beginning.
    """

    def __init__(self, connection: Connection, units: dict[int, Unit]) -> None:
        self._connection = connection
        self.units = units

    def request(self, unit: int, label: str, request: Request, due: float) -> None:
        """Want something of a unit instead of what was wanted before."""
        statement = insert(_units).values(
            unit=unit, label=label, request=request, due=due, serial=1
        )
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["unit"],
                set_={
                    "label": label,
                    "request": request,
                    "due": due,
                    "serial": _units.c.serial + 1,
                },
            )
        )

    def reset(self, unit: int) -> None:
        """Take a flag away."""
        this = _units.c.unit == unit
        cleared = update(_units).where(this).values(failure=None, reason=None)
        self._connection.execute(cleared)
        self._connection.execute(_forgettable())


def _digest(id_: str) -> str:
    return hashlib.sha256(id_.encode()).hexdigest()


def _forgettable() -> Any:
    nothing = _units.c.request.is_(None) & _units.c.failure.is_(None)
    return delete(_units).where(nothing)


def _remember_copy(connection: Connection, unit: int, copy: Copy) -> None:
    facts = {"listing": copy.listing, "content": copy.content, "size": copy.size}
    statement = insert(_copies).values(unit=unit, **facts)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["unit"], set_=facts)
    )


def _unit(row: Any) -> Unit:
    return Unit(
        row.unit,
        row.label,
        Request(row.request) if row.request else None,
        row.due,
        row.serial,
        Failure(row.failure) if row.failure else None,
        row.reason,
    )


def _portions(values: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(values)
    while some := list(islice(rest, _IDS_A_STATEMENT)):
        yield some


def _prepare(connection: Any, _: object) -> None:
    # Transactions are begun by _begin_at_once, not by the driver's guess.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("synchronous=FULL", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _only_ours(path: Path) -> None:
    """Let nobody else read the database; SQLite gives its other files the same mode."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
    except OSError as error:
        raise SettingsError(f"folder {path.parent}: {error.strerror}") from None


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _move_links(connection: Connection) -> None:
    # In an older table nobody knew whose they were.
    if inspect(connection).has_table("links"):
        connection.exec_driver_sql(
            "INSERT INTO user_links (path, owner, expires)"
            " SELECT path, '', expires FROM links"
        )
        connection.exec_driver_sql("DROP TABLE links")


def _begin_at_once(connection: Connection) -> None:
    # One that reads first and writes later could find the database changed between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
