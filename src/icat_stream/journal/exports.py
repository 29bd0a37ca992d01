"""What was written to other systems, and which state of it is the newest."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from .storable_text import storable
from .tables import exports

# Rows in one question; databases limit its parameters.
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One state of a document, to be read and written.

    Parameters
    ----------
    key
        The document's.
    version
        Grows with each reading: a higher one was read later.
    sha256
        Of what the system holds; ``None`` where that is not known: nothing was
        written yet, or somebody is at it, or has crashed.
    """

    key: str
    version: int
    sha256: str | None


class Exports:
    """Versions of the documents of other systems.

    Who writes one begins its next version before reading the catalogue, so a higher
    version never holds an older state.  Until :meth:`finish` says that the newest one
    is written, what the other system holds counts as unknown.

    Its methods raise as those of :class:`~icat_stream.journal.Journal`, of which it
    is a part.

    Parameters
    ----------
    begin
        Begins a transaction.
    dialect
        ``postgresql`` or ``sqlite``.
    """

    def __init__(
        self, begin: Callable[[], AbstractContextManager[Connection]], dialect: str
    ) -> None:
        self._begin_transaction = begin
        module: Any = postgresql if dialect == "postgresql" else sqlite
        self._insert = module.insert(exports).on_conflict_do_nothing()

    def begin(self, system: str, keys: Sequence[str]) -> list[Export]:
        """Begin the next version of documents, each once, in the order of their keys.

        Parameters
        ----------
        system
            Whose documents.
        keys
            Theirs; no two are the same.
        """
        rows = {_digest(key): key for key in keys}
        found: dict[str, Export] = {}
        with self._begin_transaction() as connection:
            # In one order in all processes, or two of them wait for each other.
            for digest in sorted(rows):
                key = rows[digest]
                row = _locked(connection, system, digest)
                if row is None:
                    values = {"system": system, "key": digest, "version": 0}
                    connection.execute(
                        self._insert.values(values | {"name": storable(key)})
                    )
                    row = _locked(connection, system, digest)
                version = row.version + 1
                connection.execute(
                    _of(system, digest).values(version=version, sha256=None)
                )
                found[key] = Export(key=key, version=version, sha256=row.sha256)
        return [found[key] for key in keys]

    def held(self, system: str, keys: Sequence[str]) -> dict[str, Export]:
        """Return the newest versions of documents; those never written are left out."""
        rows = {_digest(key): key for key in keys}
        digests = list(rows)
        found = {}
        with self._begin_transaction() as connection:
            for start in range(0, len(digests), _AT_ONCE):
                query = select(exports).where(
                    exports.c.system == system,
                    exports.c.key.in_(digests[start : start + _AT_ONCE]),
                )
                for row in connection.execute(query):
                    key = rows[row.key]
                    found[key] = Export(key=key, version=row.version, sha256=row.sha256)
        return found

    def each(self, system: str) -> Iterator[Export]:
        """Yield the newest version of every document that a system was given."""
        after = ""
        while True:
            query = (
                select(exports)
                .where(exports.c.system == system, exports.c.key > after)
                .order_by(exports.c.key)
                .limit(_AT_ONCE)
            )
            with self._begin_transaction() as connection:
                rows = connection.execute(query).all()
            for row in rows:
                yield Export(key=row.name, version=row.version, sha256=row.sha256)
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].key

    def finish(
        self, system: str, versions: Sequence[Export], held: Mapping[str, str | None]
    ) -> set[str]:
        """Say what the other system holds.

        Parameters
        ----------
        system
            Whose documents.
        versions
            As :meth:`begin` returned them.
        held
            sha256 of it, by key.

        Returns
        -------
        :
            Keys of which somebody began a newer version meanwhile.
        """
        overtaken = set()
        with self._begin_transaction() as connection:
            for one in sorted(versions, key=lambda each: _digest(each.key)):
                done = (
                    _of(system, _digest(one.key))
                    .where(exports.c.version == one.version)
                    .values(sha256=held[one.key])
                )
                if connection.execute(done).rowcount == 0:
                    overtaken.add(one.key)
        return overtaken


def _locked(connection: Connection, system: str, digest: str) -> Any:
    query = select(exports).where(exports.c.system == system, exports.c.key == digest)
    return connection.execute(query.with_for_update()).one_or_none()


def _of(system: str, digest: str) -> Any:
    return update(exports).where(exports.c.system == system, exports.c.key == digest)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
