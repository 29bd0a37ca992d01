"""What was written to other systems, and which state of it is the newest."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from .storable_text import storable
from .tables import exports, insert_new

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
        self._insert = insert_new(exports, dialect)

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
            for some in _chunks(rows):
                # In one order in all processes, or two of them wait for each other: the
                # new ones first, which another process may be at, too.
                new = [
                    {
                        "system": system,
                        "key": digest,
                        "version": 0,
                        "name": storable(rows[digest]),
                    }
                    for digest in some
                ]
                connection.execute(self._insert.values(new))
                for row in _locked(connection, system, some):
                    key = rows[row.key]
                    version = row.version + 1
                    found[key] = Export(key=key, version=version, sha256=row.sha256)
                ours = (exports.c.system == system, exports.c.key.in_(some))
                begun = {"version": exports.c.version + 1, "sha256": None}
                connection.execute(update(exports).where(*ours).values(begun))
        return [found[key] for key in keys]

    def held(self, system: str, keys: Sequence[str]) -> dict[str, Export]:
        """Return the newest versions of documents; those never written are left out."""
        rows = {_digest(key): key for key in keys}
        found = {}
        with self._begin_transaction() as connection:
            for some in _chunks(rows):
                query = select(exports).where(
                    exports.c.system == system, exports.c.key.in_(some)
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
        ours = {_digest(each.key): each for each in versions}
        overtaken = {each.key for each in versions}
        with self._begin_transaction() as connection:
            for some in _chunks(ours):
                done = [
                    {"its_key": row.key, "its_sha256": held[ours[row.key].key]}
                    for row in _locked(connection, system, some)
                    if row.version == ours[row.key].version
                ]
                if done:
                    connection.execute(
                        _DONE, [{"its_system": system, **d} for d in done]
                    )
                overtaken -= {ours[each["its_key"]].key for each in done}
        return overtaken


_DONE = (
    update(exports)
    .where(exports.c.system == bindparam("its_system"))
    .where(exports.c.key == bindparam("its_key"))
    .values(sha256=bindparam("its_sha256"))
)


def _chunks(digests: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(digests)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]


def _locked(connection: Connection, system: str, digests: Sequence[str]) -> Any:
    query = select(exports).where(
        exports.c.system == system, exports.c.key.in_(digests)
    )
    return connection.execute(query.order_by(exports.c.key).with_for_update()).all()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
