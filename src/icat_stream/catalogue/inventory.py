"""Reading much of the catalogue, page by page, for comparing it with something."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from icat_stream.icat import Session, id_lists, in_lists, quote, select
from icat_stream.records import InvestigationKey, LocationKey

_LARGEST_PAGE = 5_000
_FILE = "o.id, o.location, o.fileSize, o.datafileModTime, o.dataset.id"
# Of signed locations, in one query.
_PATTERNS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which part of the catalogue is meant.

    Parameters
    ----------
    investigation, visit
        Of this name, of this visit.
    below
        Beginning of locations.
    """

    investigation: str | None = None
    visit: str | None = None
    below: str | None = None


class LocatedFile(NamedTuple):
    """A datafile, as far as it says something about a file."""

    id: int
    location: str
    size: int | None
    mod_time: datetime | None
    dataset_id: int


class NamedDataset(NamedTuple):
    """A dataset, by what people call it."""

    id: int
    name: str
    investigation: str
    start: datetime | None


class HeldObject(NamedTuple):
    """A user, an investigation or a dataset, as events name it.

    Parameters
    ----------
    kind
        ``user``, ``investigation`` or ``dataset``.
    id, investigation_id
        ICAT's.
    name
        Of a user or a dataset.
    investigation
        The investigation itself, or that of a dataset.
    """

    kind: str
    id: int
    name: str = ""
    investigation: InvestigationKey | None = None
    investigation_id: int | None = None

    def __str__(self) -> str:
        if self.kind == "user":
            return f"user {self.name}"
        within = f"/{self.name}" if self.kind == "dataset" else ""
        return f"{self.kind} {self.investigation}{within}"


class EndedDataset(NamedTuple):
    """A dataset of an investigation that is over.

    Parameters
    ----------
    ended
        When that was.
    changed
        When the dataset was changed last in ICAT.
    """

    id: int
    name: str
    investigation: InvestigationKey
    complete: bool
    ended: datetime
    changed: datetime | None


class FileFacts(NamedTuple):
    """What is known of the files of a dataset together.

    Parameters
    ----------
    size
        Bytes.
    changed
        When the newest of them was changed.
    """

    files: int
    size: int
    without_location: int
    without_checksum: int
    changed: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From when until when, both included; ``None``: from the beginning."""

    since: datetime | None
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvestigationSelection:
    """Which investigations are meant; what is ``None`` or empty does not matter.

    Parameters
    ----------
    start, end, release
        Their dates; who has none is not meant.
    types, instruments
        Names: one of them.
    doi
        Whether they have one.
    """

    start: Period | None = None
    end: Period | None = None
    release: Period | None = None
    types: Sequence[str] = ()
    instruments: Sequence[str] = ()
    doi: bool | None = None


class Inventory:
    """Lists what a facility has; used by one thread at a time.

    Pages follow the id, so that what is written meanwhile neither hides nor repeats
    anything that was there before.

    Parameters
    ----------
    session
        Of a lane.
    facility
        Its name.
    key
        Of signed locations, which are given without their digests.
    """

    def __init__(
        self, session: Session, facility: str, key: LocationKey | None = None
    ) -> None:
        self._session = session
        self._key = key
        self._facility = facility
        self._page = 0

    def datafiles(self, scope: Scope) -> Iterator[LocatedFile]:
        """Yield datafiles that have a location."""
        where = ["o.location IS NOT NULL"]
        where += self._limits("o.dataset.investigation", scope)
        if scope.below is not None:
            # Characters that mean something in a pattern match too much, not too
            # little, and so does a database that ignores case.
            pattern = scope.below[:200].replace("\\", "_")
            where.append(f"o.location LIKE {quote(pattern + '%')}")
        for number, location, size, time, dataset in self._rows(
            "Datafile", _FILE, where
        ):
            location = self._unsigned(number, location)
            if scope.below is None or location.startswith(scope.below):
                yield LocatedFile(number, location, size, _time(time), dataset)

    def newest(self) -> LocatedFile | None:
        """Return the datafile that was catalogued last and has a location."""
        query = select(
            "Datafile",
            "o.location IS NOT NULL",
            *self._limits("o.dataset.investigation"),
            what=_FILE,
            then="ORDER BY o.id DESC LIMIT 0, 1",
        )
        for number, location, size, time, dataset in self._session.search(
            query, "Datafile"
        ):
            location = self._unsigned(number, location)
            return LocatedFile(number, location, size, _time(time), dataset)
        return None

    def incomplete(self, scope: Scope) -> Iterator[NamedDataset]:
        """Yield datasets that are not complete."""
        where = ["o.complete = FALSE", *self._limits("o.investigation", scope)]
        yield from self._datasets(where)

    def datasets(self, ids: Collection[int]) -> Iterator[NamedDataset]:
        """Yield those of these datasets that are there, of whatever facility."""
        for listed in id_lists(sorted(set(ids))):
            yield from self._datasets([f"o.id IN {listed}"])

    def objects(
        self, kind: str, scope: Scope, *, since: datetime | None, after: int
    ) -> Iterator[HeldObject]:
        """Yield users, investigations or datasets, by id.

        Parameters
        ----------
        kind
            Of :class:`HeldObject`.
        scope
            Which part; users are everybody's.
        since
            Changed from then on.
        after
            ICAT's id of the last one that is not meant.
        """
        where = [] if since is None else [f"o.modTime >= {_literal(since)}"]
        match kind:
            case "user":
                for number, name in self._rows("User", "o.id, o.name", where, after):
                    yield HeldObject("user", number, name)
            case "investigation":
                what = "o.id, o.name, o.visitId"
                where += self._limits("o", scope)
                for number, name, visit in self._rows(
                    "Investigation", what, where, after
                ):
                    key = InvestigationKey(name=name, visit_id=visit)
                    yield HeldObject("investigation", number, investigation=key)
            case _:
                what = "o.id, o.name, o.investigation.id, o.investigation.name"
                what += ", o.investigation.visitId"
                where += self._limits("o.investigation", scope)
                for number, name, of, its_name, visit in self._rows(
                    "Dataset", what, where, after
                ):
                    key = InvestigationKey(name=its_name, visit_id=visit)
                    yield HeldObject("dataset", number, name, key, of)

    def ended_datasets(
        self, scope: Scope, before: datetime, ids: Collection[int] | None = None
    ) -> Iterator[EndedDataset]:
        """Yield datasets of investigations that were over before then, by id.

        Parameters
        ----------
        scope
            Which part of the catalogue.
        before
            The latest end.
        ids
            Only these, some hundred at most.
        """
        of = "o.investigation"
        what = f"o.id, o.name, {of}.name, {of}.visitId, o.complete, {of}.endDate"
        where = [f"{of}.endDate <= {_literal(before)}", *self._limits(of, scope)]
        if ids is not None:
            (listed,) = id_lists(ids)
            where.append(f"o.id IN {listed}")
        for number, name, its, visit, complete, ended, changed in self._rows(
            "Dataset", f"{what}, o.modTime", where
        ):
            yield EndedDataset(
                id=number,
                name=name,
                investigation=InvestigationKey(name=its, visit_id=visit),
                complete=bool(complete),
                ended=datetime.fromisoformat(ended),
                changed=_time(changed),
            )

    def file_facts(self, ids: Sequence[int]) -> dict[int, FileFacts]:
        """Return those of the datasets that have files."""
        found = {}
        for listed in id_lists(sorted(set(ids))):
            query = (
                "SELECT d.id, COUNT(f), SUM(f.fileSize), COUNT(f.location),"  # noqa: S608
                " COUNT(f.checksum), MAX(f.datafileModTime)"
                f" FROM Datafile f JOIN f.dataset d WHERE d.id IN {listed}"
                " GROUP BY d.id"
            )
            for row in self._session.search(query, "Datafile"):
                number, count, size, located, summed, changed = row
                found[int(number)] = FileFacts(
                    files=count,
                    size=size or 0,
                    without_location=count - located,
                    without_checksum=count - summed,
                    changed=_time(changed),
                )
        return found

    def having_parameter(self, name: str, ids: Sequence[int]) -> set[int]:
        """Return those of the datasets that have a parameter of that name."""
        return {
            int(number)
            for listed in id_lists(sorted(set(ids)))
            for number in self._session.search(
                select(
                    "DatasetParameter",
                    f"o.type.name = {quote(name)}",
                    f"o.dataset.id IN {listed}",
                    what="o.dataset.id",
                ),
                "DatasetParameter",
            )
        }

    def used_by_jobs(self, ids: Sequence[int], since: datetime) -> dict[int, int]:
        """Return those of the datasets that are inputs of jobs made since then.

        With the id of one of these jobs.
        """
        found = {}
        for listed in id_lists(sorted(set(ids))):
            query = (
                "SELECT d.id, j.id FROM Job j JOIN j.inputDataCollection c"  # noqa: S608
                " JOIN c.dataCollectionDatasets e JOIN e.dataset d"
                f" WHERE d.id IN {listed} AND j.createTime >= {_literal(since)}"
            )
            found.update(dict(self._session.search(query, "Job")))
        return found

    def selected(self, selection: InvestigationSelection) -> Iterator[InvestigationKey]:
        """Yield investigations, each once."""
        entity = "InvestigationInstrument" if selection.instruments else "Investigation"
        path = "o.investigation" if selection.instruments else "o"
        where = self._limits(path)
        for name, period in (
            ("startDate", selection.start),
            ("endDate", selection.end),
            ("releaseDate", selection.release),
        ):
            if period is not None:
                where.append(f"{path}.{name} <= {_literal(period.until)}")
            if period is not None and period.since is not None:
                where.append(f"{path}.{name} >= {_literal(period.since)}")
        where += [f"{path}.type.name IN {names}" for names in in_lists(selection.types)]
        if selection.doi is not None:
            where.append(f"{path}.doi IS {'NOT ' if selection.doi else ''}NULL")
        where += [
            f"o.instrument.name IN {names}" for names in in_lists(selection.instruments)
        ]
        told: set[InvestigationKey] = set()
        what = f"o.id, {path}.name, {path}.visitId"
        for _, name, visit in self._rows(entity, what, where):
            key = InvestigationKey(name=name, visit_id=visit)
            if key not in told:
                yield key
            # Of several of the instruments.
            if selection.instruments:
                told.add(key)

    def located(self, locations: Collection[str]) -> set[str]:
        """Return those of these locations that some datafile of the facility has."""
        found: set[str] = set()
        limits = self._limits("o.dataset.investigation")
        for condition in self._at(locations):
            rows = self._rows("Datafile", "o.id, o.location", [condition, *limits])
            found.update(self._unsigned(number, location) for number, location in rows)
        return found.intersection(locations)

    def _at(self, locations: Collection[str]) -> Iterator[str]:
        """Give conditions that hold for datafiles at these locations, at least."""
        for texts in in_lists(locations):
            yield f"o.location IN {texts}"
        if self._key is None:
            return
        ordered = list(locations)
        for begin in range(0, len(ordered), _PATTERNS):
            signed = (
                f"o.location LIKE {quote(location.replace(chr(92), '_') + ' %')}"
                for location in ordered[begin : begin + _PATTERNS]
            )
            yield f"({' OR '.join(signed)})"

    def _unsigned(self, number: int, location: str) -> str:
        if self._key is None:
            return location
        return self._key.location(number, location) or location

    def _datasets(self, where: list[str]) -> Iterator[NamedDataset]:
        what = "o.id, o.name, o.investigation.name, o.investigation.visitId"
        for number, name, investigation, visit, start in self._rows(
            "Dataset", f"{what}, o.startDate", where
        ):
            yield NamedDataset(number, name, f"{investigation}/{visit}", _time(start))

    def _limits(self, path: str, scope: Scope | None = None) -> list[str]:
        where = [f"{path}.facility.name = {quote(self._facility)}"]
        if scope is not None and scope.investigation is not None:
            where.append(f"{path}.name = {quote(scope.investigation)}")
        if scope is not None and scope.visit is not None:
            where.append(f"{path}.visitId = {quote(scope.visit)}")
        return where

    def _rows(
        self, entity: str, what: str, where: list[str], after: int = -1
    ) -> Iterator[list[Any]]:
        if not self._page:
            self._page = max(1, min(_LARGEST_PAGE, self._session.limit()))
        last = after
        while True:
            query = select(
                entity,
                *where,
                f"o.id > {last}",
                what=what,
                then=f"ORDER BY o.id LIMIT 0, {self._page}",
            )
            rows = self._session.search(query, entity)
            yield from rows
            if len(rows) < self._page:
                return
            last = int(rows[-1][0])


def _literal(when: datetime) -> str:
    """Return a time as queries have it: in UTC, to the second."""
    return f"{{ts {when.astimezone(UTC):%Y-%m-%d %H:%M:%S}}}"


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
