"""The catalogue as the data service sees it: always with somebody's session."""

import re
import threading
import time
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from typing import Any, TypeVar

from icat_stream.icat import escape, literal
from icat_stream.records import LocationKey

from .accounts import Account
from .catalogue_calls import CatalogueCalls
from .errors import IdsError, InsufficientPrivileges, Internal, Unanswered
from .metrics import Metrics
from .plugins import DatasetInfo
from .settings import AccountSettings, IcatAccess

T = TypeVar("T")
Session = str | None
"""Of the caller; ``None`` is that of the reader."""

# A query goes in the URL, which servers cut at 8 kB.
_IDS_A_QUERY = 400
_LOCATIONS_A_QUERY = 40
_LETTERS_A_QUERY = 4000
# ICAT refuses to return more than its maxEntities, 10,000 by default.
_ROWS_A_QUERY = 5000
# What a condition goes through, the caller need not be able to read; what is selected,
# however, yes: so a caller's query selects of one entity only.
_CHOSEN = {
    "Datafile": "df.id",
    "Dataset": "df.dataset.id",
    "Investigation": "df.dataset.investigation.id",
}
# Names change rarely, and what they are used for need not be of this second.
_INFO_LIVES = 30.0
_INFOS = 4096


@dataclass(frozen=True, slots=True)
class CataloguedFile:
    """A datafile."""

    id: int
    name: str
    location: str | None
    size: int
    checksum: str | None = None
    dataset_id: int = 0
    """Zero where it was not asked for."""
    signed: bool = True
    """Whether it may have its location: always, where none is signed."""
    modified: str | None = None
    """When, as the catalogue writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A stored file that is to be catalogued."""

    name: str
    dataset_id: int
    format_id: int
    location: str | None
    size: int
    checksum: int
    description: str | None
    doi: str | None
    create_time: datetime | None
    mod_time: datetime | None


class Catalogue:
    """Asks ICAT.

    Parameters
    ----------
    access
        Where it is.
    reader
        Account for callers without a session, and for what runs in the background.
    writer
        Account that makes entries; without one, callers make theirs.
    key
        With which locations are signed, if they are.
    metrics
        Count the calls.
    """

    def __init__(
        self,
        access: IcatAccess,
        reader: AccountSettings | None,
        writer: AccountSettings | None = None,
        key: str | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.url = access.url.rstrip("/")
        self._calls = CatalogueCalls(access, metrics or Metrics())
        self._reader = None if reader is None else Account(self._calls, reader)
        self._writer = None if writer is None else Account(self._calls, writer)
        self._key = None if key is None else LocationKey(key)
        self._lock = threading.Lock()
        self._infos: dict[int, tuple[float, DatasetInfo]] = {}

    @property
    def sees_everything(self) -> bool:
        """Whether there is a reader, who sees what a caller may not."""
        return self._reader is not None

    def user(self, session: str) -> str:
        """Return whose session it is."""
        return self._calls.user_name(session)

    def ping(self) -> None:
        """Return if ICAT answers."""
        self._calls.version()

    def check_accounts(self) -> Iterator[tuple[str, IdsError | OSError]]:
        """Try whether the service's accounts can log in; return those that cannot."""
        for name, account in (("reader", self._reader), ("writer", self._writer)):
            if account is not None:
                try:
                    account.log_in()
                except (IdsError, OSError) as error:
                    yield name, error

    def must_read_dataset(self, session: str, dataset_id: int) -> None:
        """Return if the caller may read a dataset.

        Raises
        ------
        IdsError
            There is no such dataset, or the caller must not see it.
        """
        query = f"SELECT ds.id FROM Dataset ds WHERE ds.id = {dataset_id}"  # noqa: S608
        if not self._search(session, query):
            self._explain(session, "Dataset", dataset_id)

    def files(
        self,
        session: Session,
        entity: str,
        ids: Sequence[int],
        *,
        with_datasets: bool = False,
    ) -> Iterator[CataloguedFile]:
        """Return datafiles by their ids or by those of what they belong to.

        Parameters
        ----------
        session
            Of the caller.
        entity
            What the ids are of: ``Datafile``, ``Dataset`` or ``Investigation``.
        ids
            Each must exist and be readable for the caller.
        with_datasets
            Say of which dataset each file is.

        Raises
        ------
        IdsError
            One does not exist, or the caller must not see it.
        """
        wanted = sorted(set(ids))
        for some in _portions(wanted, _IDS_A_QUERY):
            listed = f"IN ({', '.join(map(str, some))})"
            if entity != "Datafile":
                # No file below it may also mean that there is no such dataset.
                query = f"SELECT e.id FROM {entity} e WHERE e.id {listed}"  # noqa: S608
                found = self._search(session, query)
                self._all_there(session, entity, some, found)
            seen: set[int] = set()
            for page in self._pages(session, f"{_CHOSEN[entity]} {listed}"):
                seen.update(file.id for file in page)
                _must_be_signed(page)
                if with_datasets:
                    only = some[0] if entity == "Dataset" and len(some) == 1 else None
                    page = self._with_datasets(session, page, only)
                yield from page
            if entity == "Datafile":
                self._all_there(session, entity, some, seen)

    def still_there(self, files: Sequence[CataloguedFile]) -> list[CataloguedFile]:
        """Return those of some files that nobody deleted, as far as anybody sees."""
        if self._reader is None:
            return list(files)
        known: set[int] = set()
        if len(files) <= _IDS_A_QUERY:
            column, ids = "df.id", [file.id for file in files]
        else:
            column, ids = "df.dataset.id", sorted({file.dataset_id for file in files})
        for some in _portions(ids, _IDS_A_QUERY):
            condition = f"{column} IN ({', '.join(map(str, some))})"
            for page in self._pages(None, condition):
                known.update(file.id for file in page)
        return [file for file in files if file.id in known]

    def all_files(self, dataset_id: int) -> list[CataloguedFile]:
        """Return all files of a dataset that have a location, as the reader sees it.

        Raises
        ------
        NotFound
            There is no such dataset.
        """
        files = list(self.files(None, "Dataset", [dataset_id], with_datasets=True))
        return [file for file in files if file.location]

    def datasets_of(self, session: Session, investigations: Sequence[int]) -> list[int]:
        """Return the ids of the datasets of investigations."""
        found: list[int] = []
        for some in _portions(sorted(set(investigations)), _IDS_A_QUERY):
            listed = ", ".join(map(str, some))
            last = -1
            while True:
                rows = self._search(
                    self._privileged(session),
                    "SELECT ds.id FROM Dataset ds"  # noqa: S608
                    f" WHERE ds.investigation.id IN ({listed}) AND ds.id > {last}"
                    f" ORDER BY ds.id LIMIT 0, {_ROWS_A_QUERY}",
                )
                found += map(int, rows)
                if len(rows) < _ROWS_A_QUERY:
                    break
                last = found[-1]
        return found

    def a_location_in(self, session: Session, dataset_id: int) -> str | None:
        """Return a location of any file of a dataset, ``None`` if there is none."""
        found = self._search(
            self._privileged(session),
            "SELECT df.id, df.location FROM Datafile df"  # noqa: S608
            f" WHERE df.dataset.id = {dataset_id}"
            " AND df.location IS NOT NULL LIMIT 0, 1",
        )
        return self._plain(int(found[0][0]), str(found[0][1]))[0] if found else None

    def dataset(self, session: Session, dataset_id: int) -> DatasetInfo:
        """Return what is known about a dataset that the caller may read."""
        return self.datasets(session, [dataset_id])[dataset_id]

    def datasets(self, session: Session, ids: Iterable[int]) -> dict[int, DatasetInfo]:
        """Return what is known about datasets of which the caller may read something.

        Raises
        ------
        IdsError
            It cannot be found out.
        """
        now = time.monotonic()
        known = {}
        missing = []
        with self._lock:
            for id_ in sorted(set(ids)):
                until, info = self._infos.get(id_, (0.0, None))
                if info is not None and until > now:
                    known[id_] = info
                else:
                    missing.append(id_)
        if not missing:
            return known
        fresh = self._ask_for_datasets(self._privileged(session), missing)
        hidden = set(missing).difference(fresh)
        if hidden:
            raise self._hidden(f"what Dataset[id:{min(hidden)}] belongs to")
        with self._lock:
            if len(self._infos) > _INFOS:
                self._infos.clear()
            self._infos.update((i, (now + _INFO_LIVES, d)) for i, d in fresh.items())
        return {**known, **fresh}

    def find(self, session: str, file: NewFile) -> int | None:
        """Return the id of a datafile that may or may not be catalogued, if it is."""
        where = f"df.dataset.id = {file.dataset_id} AND "
        if self._key is None:
            where += f"df.location = {literal(file.location or '')}"
        else:
            where += f"df.name = {literal(file.name)} AND df.location IS NULL"
        query = f"SELECT df.id FROM Datafile df WHERE {where}"  # noqa: S608
        found = self._as_maker(session, lambda s: self._calls.search(s, query))
        return int(found[0]) if found else None

    def at(self, locations: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Return datafile and dataset id by location, as far as they are known."""
        found: dict[str, tuple[int, int]] = {}
        for some in _fitting(locations):
            rows = self._search(
                None,
                "SELECT df.location, df.id, df.dataset.id FROM Datafile df"  # noqa: S608
                f" WHERE {self._located(some)}",
            )
            for signed, id_, dataset in rows:
                location, good = self._plain(int(id_), str(signed))
                if good:
                    found[location] = (int(id_), int(dataset))
        return found

    def shared(
        self, ids: Collection[int], spellings: Mapping[str, Collection[str]]
    ) -> set[str]:
        """Return those of some locations that other datafiles have, too.

        Seen with the reader's eyes: what the caller must not see counts most.

        Parameters
        ----------
        ids
            Datafiles that do not count.
        spellings
            Of each location all that name the same file.
        """
        found: set[str] = set()
        for some in _fitting(chain.from_iterable(spellings.values())):
            rows = self._search(
                None,
                "SELECT df.location, df.id FROM Datafile df"  # noqa: S608
                f" WHERE {self._located(some)}",
            )
            for signed, id_ in rows:
                if int(id_) not in ids:
                    # Who may not have it names it all the same: better kept than gone.
                    found.add(self._plain(int(id_), str(signed))[0])
        return {w for w, spelled in spellings.items() if not found.isdisjoint(spelled)}

    def everything(self) -> Iterator[CataloguedFile]:
        """Return all datafiles that have a location, as the reader sees them."""
        for page in self._pages(None, "df.location IS NOT NULL"):
            yield from self._with_datasets(None, page, None)

    def create(self, session: str, file: NewFile) -> int:
        """Catalogue a stored file; where locations are signed, yet without one.

        Returns
        -------
        :
            The id of the new Datafile.

        Raises
        ------
        Unanswered
            It is not known whether the file is catalogued.
        IdsError
            ICAT refuses.
        """
        if self._key is not None:
            file = replace(file, location=None)
        content = _datafile(file)
        return self._as_maker(
            session, lambda s: self._calls.create(s, "Datafile", content)
        )

    def sign(self, session: str, id_: int, file: NewFile) -> None:
        """Give a new Datafile its location, signed, where that is done.

        Raises
        ------
        IdsError
            ICAT refuses, or does not answer; the entry is gone, or without location.
        """
        if self._key is None or file.location is None:
            return
        signed = replace(file, location=self._key.signed(id_, file.location))
        content = _datafile(signed, id_)
        try:
            self._as_maker(
                session, lambda s: self._calls.update(s, "Datafile", content)
            )
        except Unanswered:
            raise
        except IdsError as error:
            try:
                self._as_maker(session, lambda s: self.delete(s, [id_]))
            except IdsError as second:
                raise Internal(
                    f"Datafile[id:{id_}] could not be given its location"
                    f" ({error.message}) and stays without: {second.message}"
                ) from None
            raise

    def must_create(self, session: str, file: NewFile) -> None:
        """Return if a file like this could be catalogued for the caller; ICAT tries.

        Where the service makes the entries, the caller needs UPDATE on the dataset.

        Raises
        ------
        IdsError
            ICAT would refuse.
        """
        if self._writer is not None:
            dataset = f"<id>{file.dataset_id}</id>"
            self._must_be_allowed(session, "UPDATE", "Dataset", dataset)
        content = _datafile(file)
        try:
            self._as_maker(
                session,
                lambda s: self._must_be_allowed(s, "CREATE", "Datafile", content),
            )
        except InsufficientPrivileges:
            raise
        except IdsError:
            query = f"SELECT f.id FROM DatafileFormat f WHERE f.id = {file.format_id}"  # noqa: S608
            if not self._search(session, query):
                self._explain(session, "DatafileFormat", file.format_id)
            raise

    def _must_be_allowed(
        self, session: str, access: str, entity: str, content: str
    ) -> None:
        if not self._calls.may(session, access, entity, content):
            raise InsufficientPrivileges(
                f"{access} access to this {entity} is not allowed."
            )

    def _as_maker(self, session: str, call: Callable[[str], T]) -> T:
        """Call as who makes entries: the service, or else the caller."""
        return call(session) if self._writer is None else self._writer.call(call)

    def _located(self, locations: Iterable[str]) -> str:
        """Return the condition that a Datafile is at one of some locations."""
        locations = list(locations)
        condition = f"df.location IN ({', '.join(map(literal, locations))})"
        if self._key is not None:
            signed = (re.sub("[%_!]", r"!\g<0>", where) for where in locations)
            condition += "".join(
                f" OR df.location LIKE {literal(where + ' %')} ESCAPE '!'"
                for where in signed
            )
        return condition

    def _plain(self, id_: int, signed: str) -> tuple[str, bool]:
        """Return the location in what a Datafile has, and whether it may have it."""
        if self._key is None:
            return signed, True
        location = self._key.location(id_, signed)
        if location is not None:
            return location, True
        return signed.rpartition(" ")[0] or signed, False

    def delete(self, session: str, ids: Iterable[int]) -> None:
        """Remove datafiles from the catalogue, all or none."""
        self._calls.delete_many(session, "Datafile", ids)

    def as_reader(self, call: Callable[[str], T]) -> T:
        """Call with the reader's session, a new one if the old one is over.

        Raises
        ------
        InsufficientPrivileges
            There is no such account, or it is refused.
        """
        if self._reader is None:
            raise InsufficientPrivileges(
                "a sessionId is needed: this service has no reader account"
            )
        return self._reader.call(call)

    def close(self) -> None:
        """Log the accounts out, if that works, and close all connections."""
        for account in (self._reader, self._writer):
            if account is not None:
                account.log_out()
        self._calls.close()

    def _search(self, session: Session, query: str) -> list[Any]:
        if session is None:
            return self.as_reader(lambda reader: self._calls.search(reader, query))
        return self._calls.search(session, query)

    def _pages(
        self, session: Session, condition: str
    ) -> Iterator[list[CataloguedFile]]:
        last = -1
        while True:
            rows = self._search(
                session,
                "SELECT df.id, df.name, df.location, df.fileSize, df.checksum,"  # noqa: S608
                " df.datafileModTime FROM Datafile df"
                f" WHERE {condition} AND df.id > {last}"
                f" ORDER BY df.id LIMIT 0, {_ROWS_A_QUERY}",
            )
            yield [self._file(*row) for row in rows]
            if len(rows) < _ROWS_A_QUERY:
                return
            last = int(rows[-1][0])

    def _file(
        self,
        id_: int,
        name: str,
        signed: str | None,
        size: int | None,
        checksum: str | None,
        modified: str | None,
    ) -> CataloguedFile:
        location, good = self._plain(int(id_), signed) if signed else (signed, True)
        return CataloguedFile(
            int(id_),
            name,
            location,
            int(size or 0),
            checksum,
            signed=good,
            modified=modified,
        )

    def _with_datasets(
        self, session: Session, page: list[CataloguedFile], only: int | None
    ) -> list[CataloguedFile]:
        if only is not None:
            return [replace(file, dataset_id=only) for file in page]
        parents: dict[int, int] = {}
        for some in _portions([file.id for file in page], _IDS_A_QUERY):
            rows = self._search(
                self._privileged(session),
                "SELECT df.id, df.dataset.id FROM Datafile df"  # noqa: S608
                f" WHERE df.id IN ({', '.join(map(str, some))})",
            )
            parents.update((int(r[0]), int(r[1])) for r in rows)
        hidden = {file.id for file in page}.difference(parents)
        if hidden:
            raise self._hidden(f"what Datafile[id:{min(hidden)}] belongs to")
        return [replace(file, dataset_id=parents[file.id]) for file in page]

    def _ask_for_datasets(
        self, session: Session, ids: Sequence[int]
    ) -> dict[int, DatasetInfo]:
        infos = {}
        for some in _portions(ids, _IDS_A_QUERY):
            listed = f"IN ({', '.join(map(str, some))})"
            instruments: dict[int, list[str]] = {}
            for id_, name in self._search(
                session,
                "SELECT ds.id, ins.name FROM Dataset ds"  # noqa: S608
                " JOIN ds.investigation inv JOIN inv.investigationInstruments ii"
                f" JOIN ii.instrument ins WHERE ds.id {listed} ORDER BY ins.name",
            ):
                instruments.setdefault(int(id_), []).append(name)
            for row in self._search(
                session,
                "SELECT ds.id, ds.name, inv.id, inv.name, inv.visitId, inv.startDate,"  # noqa: S608
                " fac.name FROM Dataset ds JOIN ds.investigation inv"
                f" JOIN inv.facility fac WHERE ds.id {listed}",
            ):
                id_ = int(row[0])
                infos[id_] = DatasetInfo(
                    id=id_,
                    name=row[1],
                    investigation_id=int(row[2]),
                    investigation=row[3],
                    visit_id=row[4],
                    start=datetime.fromisoformat(row[5]) if row[5] else None,
                    facility=row[6],
                    instruments=tuple(instruments.get(id_, ())),
                )
        return infos

    def _privileged(self, session: Session) -> Session:
        """Return a session that sees what a file belongs to, if there is one.

        Who may read a file need not be able to read its investigation.
        """
        return session if self._reader is None else None

    def _hidden(self, what: str) -> IdsError:
        return InsufficientPrivileges(
            f"READ access to {what} is not allowed, and this service has no reader"
            " account that could see it"
        )

    def _all_there(
        self, session: Session, entity: str, wanted: Iterable[int], found: Iterable[int]
    ) -> None:
        missing = set(wanted).difference(found)
        if missing:
            self._explain(session, entity, min(missing))

    def _explain(self, session: Session, entity: str, id_: int) -> None:
        """Let ICAT say why something is not found; searching does not tell."""
        if session is None:
            self.as_reader(lambda reader: self._calls.must_exist(reader, entity, id_))
        else:
            self._calls.must_exist(session, entity, id_)
        raise Unanswered(f"{entity}[id:{id_}] came into being just now: ask again")


def _must_be_signed(files: Iterable[CataloguedFile]) -> None:
    for file in files:
        if not file.signed:
            raise InsufficientPrivileges(
                f"Datafile[id:{file.id}]: its location does not contain a valid hash:"
                " it was not given by this data service"
            )


def _datafile(file: NewFile, id_: int | None = None) -> str:
    facts = {
        "id": id_,
        "checksum": f"{file.checksum:x}",
        "datafileCreateTime": file.create_time and file.create_time.isoformat(),
        "datafileModTime": file.mod_time and file.mod_time.isoformat(),
        "description": file.description,
        "doi": file.doi,
        "fileSize": file.size,
        "location": file.location,
        "name": file.name,
    }
    content = "".join(
        f"<{name}>{escape(str(value))}</{name}>"
        for name, value in facts.items()
        if value is not None
    )
    content += f"<datafileFormat><id>{file.format_id}</id></datafileFormat>"
    return content + f"<dataset><id>{file.dataset_id}</id></dataset>"


def _fitting(texts: Iterable[str]) -> Iterator[list[str]]:
    """Return portions that fit into a query."""
    some: list[str] = []
    letters = 0
    for text in texts:
        if not _is_text(text):
            # The name of a file, perhaps, but not of one that is catalogued.
            continue
        if some and (len(some) == _LOCATIONS_A_QUERY or letters > _LETTERS_A_QUERY):
            yield some
            some, letters = [], 0
        some.append(text)
        letters += len(text)
    if some:
        yield some


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _portions(values: Sequence[int], size: int) -> Iterator[list[int]]:
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
