"""One thread's access to the catalogue."""

import re
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime
from posixpath import commonpath
from typing import Any

from icat_stream.config import PolicySettings
from icat_stream.icat import (
    Schema,
    Session,
    entities,
    id_lists,
    in_lists,
    quote,
    related,
    searchable,
    select,
)
from icat_stream.records import (
    STUB_TITLE,
    Applied,
    AppliedDataset,
    AppliedSnapshot,
    DatafileEntry,
    DatasetDetails,
    DatasetEntry,
    DatasetSum,
    Diff,
    FileSum,
    Investigation,
    InvestigationDetails,
    InvestigationEntry,
    InvestigationKey,
    LocationKey,
    OutcomeKind,
    ParameterTypeEntry,
    Plan,
    Rejection,
    User,
)
from icat_stream.telemetry import quiet_span

from . import held_datasets
from .dataset_details import dataset_details
from .dataset_writer import DatasetWriter
from .fault_memory import FaultMemory
from .file_store import FileStore
from .file_sums import dataset_sums, files_of_datasets, files_of_investigation
from .inventory import Inventory
from .investigation_details import investigation_details
from .job_writer import JobWriter
from .location_signer import LocationSigner
from .reference_cache import ReferenceCache
from .snapshot_trees import SnapshotResolver
from .snapshot_writer import SnapshotWriter
from .tree_writer import TreeWriter

_NAMED = {
    "dataset_type": "DatasetType",
    "instrument": "Instrument",
    "technique": "Technique",
}
# Of a location, in a pattern; what it finds too much the asker sees.
_LIKE = 200
# A common folder of fewer parts is everybody's.
_FOLDERS = 2
_ACCESS = {"R": "READ", "U": "UPDATE", "D": "DELETE"}
_WITH_UNITS = re.compile(r"(.*) \[(.*)\]", re.DOTALL)


class CatalogueSession:
    """Look-ups and writes on a connection and a session of its own.

    Made by :meth:`Catalogue.new_session`; used by one thread at a time.
    """

    def __init__(
        self,
        *,
        session: Session,
        facility: str,
        schema: Schema,
        references: ReferenceCache,
        memory: FaultMemory,
        policies: PolicySettings,
        ignore_case: bool,
        sample_of_job: Callable[[str], str | None],
        location_key: LocationKey | None = None,
    ) -> None:
        self._session = session
        self._facility = facility
        self._schema = schema
        self._references = references
        self._memory = memory
        self._policies = policies
        self._ignore_case = ignore_case
        self._sample_of_job = sample_of_job
        self._location_key = location_key
        # As the last one was: new ones come in rows, and so do those that come again.
        self._expects_new = True

    @property
    def session_id(self) -> str:
        """ICAT's session id, for the data service: a secret."""
        return self._session.id

    def renew_session(self) -> None:
        """Log in again with the next call: another system found it expired."""
        self._session.renew()

    def investigations(self, name: str) -> Sequence[InvestigationEntry]:
        """Return all visits of that name, by visit id.

        Always asked for: a visit that just came may be the right one.
        """
        return _investigations(
            self._references.investigations(self._session, name, fresh=True)
        )

    def recent_investigations(self, name: str) -> Sequence[InvestigationEntry]:
        """Return what was answered to that seconds ago; empty if it was not asked."""
        return _investigations(self._references.recent_investigations(name))

    def investigation_by_id(self, number: int) -> InvestigationEntry | None:
        """Return the investigation of the facility with that id of ICAT's."""
        query = select(
            "Investigation",
            f"o.facility.id = {self._references.facility_id}",
            f"o.id = {int(number)}",
            then="INCLUDE o.investigationInstruments.instrument",
        )
        rows = entities(self._session.search(query, "Investigation"))
        return _investigation(rows[0]) if rows else None

    def investigation_details(
        self, keys: Sequence[InvestigationKey] = (), *, ids: Sequence[int] = ()
    ) -> Sequence[InvestigationDetails]:
        """Return those of some investigations that are there, by id."""
        number = self._references.facility_id
        return investigation_details(self._session, number, keys, ids)

    def datasets(
        self,
        investigation: str | None = None,
        *,
        ids: Sequence[int] = (),
        names: Sequence[str] = (),
        locations: Sequence[str] = (),
        endings: Sequence[str] = (),
    ) -> Sequence[DatasetEntry]:
        """Return datasets of the facility, by id."""
        where = [f"o.investigation.facility.id = {self._references.facility_id}"]
        if investigation is not None:
            where.append(f"o.investigation.name = {quote(investigation)}")
        chosen = [f"o.id IN {listed}" for listed in id_lists(ids)]
        chosen += [f"o.name IN {listed}" for listed in in_lists(names)]
        chosen += [f"o.location IN {listed}" for listed in in_lists(locations)]
        chosen += [
            f"o.location LIKE {quote(f'%{end[-_LIKE:]}')}" for end in endings if end
        ]
        return self._dataset_entries(where, chosen)

    def dataset_details(self, ids: Sequence[int]) -> dict[int, DatasetDetails]:
        """Return those of some datasets of the facility that are there, by id."""
        return dataset_details(self._session, self._references.facility_id, ids)

    def datasets_naming(
        self, parameter: str, sources: Sequence[DatasetEntry]
    ) -> Sequence[DatasetEntry]:
        """Return datasets with a parameter that may name the location of others.

        All that have it in investigations of their names, and those elsewhere whose
        value has the folder that their locations have in common.
        """
        ours = f"o.dataset.investigation.facility.id = {self._references.facility_id}"
        of_type = f"o.type.name = {quote(parameter)}"
        by_name: dict[str, list[str]] = {}
        for source in sources:
            locations = by_name.setdefault(source.investigation.name, [])
            locations += [source.location] if source.location else []
        numbers: set[int] = set()
        for name, locations in by_name.items():
            here = f"o.dataset.investigation.name = {quote(name)}"
            # Their common folder: one question, whatever their number.
            absolute = all(location.startswith("/") for location in locations)
            folder = commonpath(locations) if locations and absolute else ""
            wholes = locations if folder.count("/") < _FOLDERS else [folder]
            like = (f"o.stringValue LIKE {quote(f'%{w[-_LIKE:]}%')}" for w in wholes)
            for named in (here, *like):
                query = select(
                    "DatasetParameter", ours, of_type, named, what="o.dataset.id"
                )
                numbers.update(self._session.search(query, "DatasetParameter"))
        chosen = [f"o.id IN {listed}" for listed in id_lists(sorted(numbers))]
        return self._dataset_entries([], chosen)

    def _dataset_entries(
        self, where: Sequence[str], chosen: Sequence[str]
    ) -> Sequence[DatasetEntry]:
        found: dict[int, DatasetEntry] = {}
        for one in chosen:
            query = select(
                "Dataset",
                *where,
                one,
                then="INCLUDE o.investigation, o.type, o.parameters.type",
            )
            for row in entities(self._session.search(query, "Dataset")):
                found[row["id"]] = _dataset(row)
        return [found[number] for number in sorted(found)]

    def dataset_files(self, ids: Sequence[int]) -> dict[int, FileSum]:
        """Count the files of some datasets that are there, by id."""
        return files_of_datasets(self._session, ids)

    def investigation_files(self, key: InvestigationKey) -> FileSum:
        """Count the files of an investigation's datasets."""
        return files_of_investigation(self._session, self._visit("i", key))

    def dataset_sums(
        self, key: InvestigationKey, *, seconds: bool
    ) -> Sequence[DatasetSum]:
        """Count the datasets of an investigation."""
        visit = self._visit("d.investigation", key)
        return dataset_sums(self._session, visit, seconds=seconds)

    def sample_count(self, key: InvestigationKey) -> int:
        """Count the samples of an investigation."""
        visit = self._visit("s.investigation", key)
        query = f"SELECT COUNT(s) FROM Sample s WHERE {visit}"  # noqa: S608
        return int(self._session.search(query, "Sample")[0])

    def datafiles_without_checksum(self, dataset_id: int) -> Iterator[DatafileEntry]:
        """Yield those datafiles of a dataset by id, page by page."""
        for row in held_datasets.datafile_pages(
            self._session, dataset_id, "o.checksum IS NULL", key=self._location_key
        ):
            yield DatafileEntry(
                name=row["name"],
                location=row.get("location"),
                size=row.get("fileSize"),
                mod_time=_time(row.get("datafileModTime")),
            )

    def parameter_types(self, name: str) -> Sequence[ParameterTypeEntry]:
        """Return all parameter types of that name, whatever their units."""
        found = self._references.parameter_types(self._session, [name])
        return sorted((t.entry for t in found.values()), key=lambda entry: entry.units)

    def exists(self, entity: str, name: str) -> bool:
        """Whether the facility has an entity of that name."""
        return self.spelling(entity, name) is not None

    def spelling(self, entity: str, name: str) -> str | None:
        """Return the name of an entity of the facility as the catalogue spells it."""
        rows = self._references.named(self._session, entity, [name]).get(name)
        return str(rows[0]["name"]) if rows else None

    def formats(self, name: str) -> Sequence[str]:
        """Return the versions of the datafile format of that name."""
        rows = self._references.named(self._session, "DatafileFormat", [name])
        return sorted(row["version"] for row in rows.get(name, ()))

    def sample_of_job(self, job_id: str) -> str | None:
        """Return the sample that a run start announced for that job, if known."""
        return self._sample_of_job(job_id)

    def datafile_rows(
        self, dataset_id: int, names: Collection[str]
    ) -> dict[str, Mapping[str, Any]]:
        """Return those datafiles of a dataset that are there, by name."""
        rows = held_datasets.datafiles(self._session, dataset_id, names)
        return {name: rows[name] for name in names if name in rows}

    def diff(self, plan: Plan, *, uploads: bool = False) -> Diff:
        """Return a plan beside what the catalogue holds; writes nothing.

        Parameters
        ----------
        plan
            Of this facility.
        uploads
            Whether the data service will make the datafiles.

        Raises
        ------
        Failure
            As :meth:`apply`.
        """
        found: list[Any] = []
        store = _NoStore() if uploads else None
        with quiet_span("icat.diff"):
            for snapshot in self._snapshots(plan):
                found.extend(self._snapshot_application().diff(snapshot))
            for application, dataset in self._applications(plan, store):
                found.extend(application.diff(dataset).changes)
            if plan.derivations:
                found.extend(self._job_writer().diff(plan.derivations))
        return Diff(changes=tuple(found))

    def apply(self, plan: Plan, files: FileStore | None = None) -> Applied:
        """Bring the catalogue to a plan; a second time changes nothing.

        Parameters
        ----------
        plan
            Of this facility.
        files
            Takes the files in; ``None`` where they stay where they are.

        Raises
        ------
        Rejection
            The plan is wrong, or differs from what is there, by policy.
        DependencyMissing
            Something is to be waited for, by policy.
        TransientFailure
            It may work in a moment.
        SystemUnavailable
            ICAT is down.
        """
        done: list[AppliedDataset] = []
        snapshots: list[AppliedSnapshot] = []
        written: list[str] = []
        notes: list[str] = []
        with quiet_span("icat.apply"):
            for snapshot in self._snapshots(plan):
                one = self._snapshot_application()
                snapshots.append(one.apply(snapshot))
                written += one.tree.written
                notes += one.notes
            for application, dataset in self._applications(plan, files):
                # After a failure the next one looks first.
                self._expects_new = False
                done.append(application.apply(dataset))
                self._expects_new = not application.met
                written += application.written
                notes += application.notes
            kinds = {d.kind for d in done} | {s.kind for s in snapshots}
            if plan.derivations:
                jobs = self._job_writer()
                jobs.apply(plan.derivations)
                written += jobs.written
                if jobs.written:
                    kinds.add(OutcomeKind.INGESTED)
        objects: dict[str, Any] = {}
        if len(done) == 1:
            objects = {
                "investigation": str(done[0].investigation),
                "investigation_id": done[0].investigation_id,
                "dataset": done[0].name,
                "dataset_id": done[0].id,
            }
        return Applied(
            kind=OutcomeKind.INGESTED
            if OutcomeKind.INGESTED in kinds
            else OutcomeKind.UNCHANGED,
            snapshots=tuple(snapshots),
            datasets=tuple(done),
            written=tuple(written),
            notes=tuple(notes),
            objects=objects,
        )

    def present(self, missing: Collection[str]) -> Collection[str]:
        """Return which of the things that were missing are there by now.

        Parameters
        ----------
        missing
            ``investigation:NAME/VISIT`` or ``investigation:NAME``,
            ``investigation_id:ID``, ``dataset_id:ID``, ``dataset_at:LOCATION``,
            ``parameter_type:NAME [UNITS]``, ``instrument:NAME``,
            ``technique:NAME``, ``dataset_type:NAME``, ``user:NAME``,
            ``application:NAME VERSION``.
        """
        found: set[str] = set()
        by_kind: dict[str, list[str]] = {}
        for item in missing:
            kind, _, name = item.partition(":")
            by_kind.setdefault(kind, []).append(name)
        for kind, names in by_kind.items():
            if kind == "investigation":
                found.update(self._present_investigations(names))
            elif kind == "investigation_id":
                found.update(self._present_ids("Investigation", kind, names))
            elif kind == "dataset_id":
                found.update(self._present_ids("Dataset", kind, names))
            elif kind == "dataset_at":
                possible = [name for name in names if searchable(name)]
                found.update(
                    f"{kind}:{dataset.location}"
                    for dataset in self.datasets(locations=possible)
                )
            elif kind == "parameter_type":
                found.update(self._present_parameter_types(names))
            elif kind == "user":
                found.update(self._present_users(names))
            elif kind == "application":
                # Either may have blanks in it.
                there = self._ask("Application", {n for n, _ in _halves(names)})
                known = {f"{row['name']} {row['version']}" for row in there}
                found.update(f"{kind}:{name}" for name in names if name in known)
            elif kind in _NAMED:
                there = self._ask(_NAMED[kind], names)
                known = {self._letters(row["name"]) for row in there}
                found.update(
                    f"{kind}:{name}" for name in names if self._letters(name) in known
                )
        return found

    def existing_ids(self, entity: str, ids: Collection[int]) -> set[int]:
        """Return which of ICAT's ids are of entities that are there."""
        return {
            number
            for listed in id_lists(sorted(ids))
            for number in self._session.search(
                select(entity, f"o.id IN {listed}", what="o.id"), entity
            )
        }

    def inventory(self) -> Inventory:
        """Return what lists much of the catalogue, on this session."""
        return Inventory(self._session, self._facility, self._location_key)

    def rights_lacking(self, wanted: Mapping[str, str]) -> Sequence[str]:
        """Return which of these rights no rule gives for all of an entity.

        Parameters
        ----------
        wanted
            Letters of R, U and D by entity; others are not asked for.

        Returns
        -------
        :
            Such as ``READ Technique``.
        """
        return [
            f"{access} {entity}"
            for entity, letters in wanted.items()
            for letter, access in _ACCESS.items()
            if letter in letters and not self._session.may(access, entity)
        ]

    def ping(self) -> None:
        """See that ICAT and its database answer.

        Raises
        ------
        SystemUnavailable
            They do not.
        """
        self._session.ping()

    def close(self) -> None:
        """Log out and close the connection."""
        self._session.close()

    def _visit(self, variable: str, key: InvestigationKey) -> str:
        """Return the condition of being an investigation of the facility."""
        return (
            f"{variable}.facility.id = {self._references.facility_id}"
            f" AND {variable}.name = {quote(key.name)}"
            f" AND {variable}.visitId = {quote(key.visit_id)}"
        )

    def _snapshots(self, plan: Plan) -> tuple[User | Investigation, ...]:
        self._ours(plan)
        return (*plan.users, *plan.investigations)

    def _snapshot_application(self) -> SnapshotWriter:
        return SnapshotWriter(
            looking=SnapshotResolver(
                session=self._session,
                schema=self._schema,
                references=self._references,
                policies=self._policies,
                ignore_case=self._ignore_case,
            ),
            tree=TreeWriter(
                session=self._session,
                schema=self._schema,
                references=self._references,
                memory=self._memory,
            ),
        )

    def _job_writer(self) -> JobWriter:
        return JobWriter(self._session, self._references.facility_id)

    def _ours(self, plan: Plan) -> None:
        if plan.facility != self._facility:
            raise Rejection(
                f"the plan is for facility {plan.facility!r}, we write"
                f" {self._facility!r}"
            )

    def _applications(
        self, plan: Plan, store: FileStore | None
    ) -> Iterable[tuple[DatasetWriter, Any]]:
        self._ours(plan)
        keys = [dataset.key for dataset in plan.datasets]
        if len(set(keys)) < len(keys):
            raise Rejection(f"the plan names a dataset twice: {', '.join(keys)}")
        stubs = {stub.investigation: stub for stub in plan.stubs}
        for dataset in plan.datasets:
            application = DatasetWriter(
                session=self._session,
                schema=self._schema,
                references=self._references,
                memory=self._memory,
                policies=self._policies,
                ignore_case=self._ignore_case,
                store=store,
                signing=LocationSigner(self._session, self._location_key),
                stubs=stubs,
                expects_new=self._expects_new,
            )
            yield application, dataset

    def _present_investigations(self, names: Sequence[str]) -> Iterable[str]:
        # Both parts may contain a slash: all ways to cut are asked for.
        cuts = {name: list(_cuts(name)) for name in names}
        there = self._ask(
            "Investigation", {first for pairs in cuts.values() for first, _ in pairs}
        )
        letters = self._letters
        keys: set[tuple[str, str | None]] = {
            (letters(row["name"]), letters(row["visitId"])) for row in there
        }
        keys |= {(letters(row["name"]), None) for row in there}
        for name, pairs in cuts.items():
            if any(
                (letters(first), None if second is None else letters(second)) in keys
                for first, second in pairs
            ):
                yield f"investigation:{name}"

    def _present_ids(
        self, entity: str, kind: str, names: Sequence[str]
    ) -> Iterable[str]:
        numbers = {int(name) for name in names if name.isdecimal()}
        return (f"{kind}:{number}" for number in self.existing_ids(entity, numbers))

    def _present_users(self, names: Sequence[str]) -> Iterable[str]:
        called = {name: self._policies.names_of(name) for name in names}
        rows = self._ask("User", {each for names in called.values() for each in names})
        there = {self._letters(row["name"]) for row in rows}
        for name, each in called.items():
            if not there.isdisjoint(map(self._letters, each)):
                yield f"user:{name}"

    def _present_parameter_types(self, names: Sequence[str]) -> Iterable[str]:
        wanted = {}
        for name in names:
            match = _WITH_UNITS.fullmatch(name)
            wanted[name] = (match[1], match[2]) if match else (name, None)
        there = self._ask("ParameterType", {name for name, _ in wanted.values()})
        keys = {(row["name"], row["units"]) for row in there}
        keys |= {(row["name"], None) for row in there}
        for name, key in wanted.items():
            if key in keys:
                yield f"parameter_type:{name}"

    def _letters(self, name: str) -> str:
        """Return what is compared of a name."""
        return name.lower() if self._policies.ignore_case else name

    def _ask(self, entity: str, names: Iterable[str]) -> list[dict[str, Any]]:
        """Return entities by name, past the cache."""
        # Names that no ICAT can hold are not there, and are not asked for.
        possible = [name for name in names if searchable(name)]
        scope = (
            [f"o.facility.id = {self._references.facility_id}"]
            if self._schema.has(entity, "facility")
            else []
        )
        rows: list[dict[str, Any]] = []
        attribute = "LOWER(o.name)" if self._policies.ignore_case else "o.name"
        for listed in in_lists(map(self._letters, possible)):
            query = select(entity, *scope, f"{attribute} IN {listed}")
            rows += entities(self._session.search(query, entity))
        return rows


class _NoStore:
    """Stands for the data service where nothing is written: to ask it is a bug."""

    def put(self, datafile: Any, *, dataset_id: int, format_id: int) -> None:
        raise NotImplementedError

    def verify(self, datafile: Any, *, dataset_id: int) -> None:
        raise NotImplementedError


def _cuts(name: str) -> Iterable[tuple[str, str | None]]:
    yield name, None
    for index, character in enumerate(name):
        if character == "/":
            yield name[:index], name[index + 1 :]


def _halves(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        for index, character in enumerate(name):
            if character == " ":
                yield name[:index], name[index + 1 :]


def _investigations(rows: Iterable[Mapping[str, Any]]) -> Sequence[InvestigationEntry]:
    entries = [_investigation(row) for row in rows]
    return sorted(entries, key=lambda entry: entry.key.visit_id)


def _investigation(row: Mapping[str, Any]) -> InvestigationEntry:
    return InvestigationEntry(
        key=InvestigationKey(name=row["name"], visit_id=row["visitId"]),
        start=_time(row.get("startDate")),
        end=_time(row.get("endDate")),
        instruments=tuple(
            related(link, "instrument", "Instrument")["name"]
            for link in row.get("investigationInstruments", ())
        ),
        state="stub" if row.get("title") == STUB_TITLE else "whole",
    )


def _dataset(row: Mapping[str, Any]) -> DatasetEntry:
    investigation = related(row, "investigation", "Investigation")
    return DatasetEntry(
        id=row["id"],
        investigation=InvestigationKey(
            name=investigation["name"], visit_id=investigation["visitId"]
        ),
        name=row["name"],
        type=related(row, "type", "DatasetType")["name"],
        complete=bool(row.get("complete")),
        location=row.get("location"),
        start=_time(row.get("startDate")),
        end=_time(row.get("endDate")),
        parameters={
            related(p, "type", "ParameterType")["name"]: p.get("stringValue")
            or p.get("numericValue")
            for p in row.get("parameters", ())
            if p.get("stringValue") or p.get("numericValue") is not None
        },
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
