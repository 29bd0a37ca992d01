"""ICAT's own provenance: jobs, with the datasets that they read and made.

Neither Job nor DataCollection has a key, so ICAT would take each of them twice.  A job
of ours tells in its arguments which dataset it made.  It is made in steps, each of
which is found again after a crash: a job with its inputs only, then one with inputs and
output, then the first one goes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from icat_stream.icat import (
    IcatFault,
    ResultUnknown,
    Session,
    in_lists,
    quote,
    select,
)
from icat_stream.records import (
    Change,
    DependencyMissing,
    Derivation,
    InvestigationKey,
    TransientFailure,
)

from .dataset_xml import reference

# Looks, each after one write for each job: no more are needed than there are steps.
_ROUNDS = 8
_AT_ONCE = 100
_Named = tuple[InvestigationKey, str]


@dataclass(slots=True)
class _Job:
    id: int
    input: int | None
    output: int | None
    # Of its input collection: ids of datasets, and those of the entries themselves.
    entries: dict[int, int] = field(default_factory=dict)


_Held = tuple[Derivation, list[int], list[_Job]]


class JobWriter:
    """Brings ICAT's jobs to what datasets were made from.

    Parameters
    ----------
    session
        Of the lane.
    facility_id
        ICAT's.
    """

    def __init__(self, session: Session, facility_id: int) -> None:
        self._session = session
        self._facility_id = facility_id
        self.written: list[str] = []

    def diff(self, derivations: Sequence[Derivation]) -> list[Change]:
        """Return what would be written; reads only."""
        found = []
        for one, numbers, jobs in self._held(derivations):
            what = f"Job of {one.key}"
            kept = _kept(jobs)
            if kept is None or kept.output is None:
                found.append(Change(what=what, kind="new"))
            elif set(kept.entries) == set(numbers[1:]):
                found.append(Change(what=what, kind="unchanged"))
            else:
                found.append(
                    Change(
                        what=what,
                        kind="changed",
                        field="inputs",
                        found=f"{len(kept.entries)} datasets",
                        planned=f"{len(numbers) - 1} datasets",
                    )
                )
        return found

    def apply(self, derivations: Sequence[Derivation]) -> None:
        """Bring ICAT to them; a second time changes nothing.

        Raises
        ------
        DependencyMissing
            The application is not there.
        Failure
            It could not be done, or not yet.
        """
        for _ in range(_ROUNDS):
            left = [
                one
                for one, numbers, jobs in self._held(derivations)
                if self._advance(one, numbers, jobs)
            ]
            if not left:
                return
            derivations = left
        raise TransientFailure(
            f"Job of {derivations[0].key}: still not as planned after {_ROUNDS} rounds:"
            " others write it, too"
        )

    def _advance(
        self, one: Derivation, numbers: Sequence[int], jobs: Sequence[_Job]
    ) -> bool:
        """Take one step; return whether there was any to take."""
        doing = f"Job of {one.key}"
        output, inputs = numbers[0], numbers[1:]
        kept = _kept(jobs)
        try:
            if kept is None:
                job = _job(self._application(one), output)
                self._create(inputs, "jobsAsInput", job)
                return True
            if kept.output is None or kept.input is None:
                job = _job(self._application(one), output, kept.input)
                self._create([output], "jobsAsOutput", job)
                self.written.append(f"{doing} created with {len(inputs)} inputs")
                return True
            if len(jobs) > 1:
                self._remove([job for job in jobs if job is not kept], kept)
                return True
            return self._bring_inputs(kept.input, kept.entries, inputs, doing)
        except IcatFault as fault:
            raise self._session.failure(fault, doing) from fault
        except ResultUnknown as unknown:
            # The next try looks first.
            raise TransientFailure(f"{doing}: {unknown.reason}") from unknown

    def _create(self, datasets: Sequence[int], relation: str, job: str) -> None:
        content = "".join(
            f"<dataCollectionDatasets>{reference('dataset', number)}"
            "</dataCollectionDatasets>"
            for number in datasets
        )
        content += f"<{relation}>{job}</{relation}>"
        self._session.create("DataCollection", content, 2 + len(datasets))

    def _remove(self, jobs: Sequence[_Job], kept: _Job) -> None:
        """Remove jobs that stand for the same as the one that is kept."""
        collections = {c for job in jobs for c in (job.input, job.output)}
        collections -= {None, kept.input, kept.output}
        self._session.delete_many("Job", [job.id for job in jobs])
        if collections:
            numbers = sorted(number for number in collections if number is not None)
            self._session.delete_many("DataCollection", numbers)

    def _bring_inputs(
        self, collection: int, held: dict[int, int], inputs: Sequence[int], doing: str
    ) -> bool:
        missing = [number for number in inputs if number not in held]
        surplus = [entry for number, entry in held.items() if number not in inputs]
        if missing:
            self._session.create_many(
                "DataCollectionDataset",
                [
                    (
                        "DataCollectionDataset",
                        reference("dataCollection", collection)
                        + reference("dataset", number),
                    )
                    for number in missing
                ],
            )
            self.written.append(f"{doing}: {len(missing)} inputs added")
        if surplus:
            self._session.delete_many("DataCollectionDataset", surplus)
            self.written.append(f"{doing}: {len(surplus)} inputs removed")
        return bool(missing or surplus)

    def _held(self, derivations: Sequence[Derivation]) -> list[_Held]:
        """Return each with the ids of its output and inputs, and its jobs by id."""
        ids = self._dataset_ids(
            (each, name)
            for one in derivations
            for each, name in ((one.investigation, one.name), *one.inputs)
        )
        numbers = [
            [ids[one.investigation, one.name], *(ids[each] for each in one.inputs)]
            for one in derivations
        ]
        jobs: dict[tuple[str, str, str], dict[int, _Job]] = {}
        applications = {(one.application, one.version) for one in derivations}
        for application, version in sorted(applications):
            marks = [
                _mark(ours[0])
                for one, ours in zip(derivations, numbers, strict=True)
                if (one.application, one.version) == (application, version)
            ]
            for row in self._job_rows(application, version, marks):
                number, mark, input_, output, entry, dataset = row
                job = jobs.setdefault((application, version, mark), {}).setdefault(
                    number, _Job(number, input_, output)
                )
                if entry is not None and dataset is not None:
                    job.entries[dataset] = entry
        found = []
        for one, ours in zip(derivations, numbers, strict=True):
            mine = jobs.get((one.application, one.version, _mark(ours[0])), {})
            found.append((one, ours, [mine[number] for number in sorted(mine)]))
        return found

    def _job_rows(
        self, application: str, version: str, marks: Sequence[str]
    ) -> Iterable[tuple[int, str, int | None, int | None, int | None, int | None]]:
        for begin in range(0, len(marks), _AT_ONCE):
            for listed in in_lists(marks[begin : begin + _AT_ONCE]):
                query = (
                    "SELECT j.id, j.arguments, i.id, o.id, e.id, d.id"  # noqa: S608
                    " FROM Job j JOIN j.application a"
                    " LEFT JOIN j.inputDataCollection i"
                    " LEFT JOIN j.outputDataCollection o"
                    " LEFT JOIN i.dataCollectionDatasets e LEFT JOIN e.dataset d"
                    f" WHERE a.facility.id = {self._facility_id}"
                    f" AND a.name = {quote(application)}"
                    f" AND a.version = {quote(version)} AND j.arguments IN {listed}"
                )
                for row in self._session.search(query, "Job"):
                    yield tuple(row)

    def _dataset_ids(self, wanted: Iterable[_Named]) -> dict[_Named, int]:
        names: dict[InvestigationKey, dict[str, None]] = {}
        for key, name in wanted:
            names.setdefault(key, {})[name] = None
        found: dict[_Named, int] = {}
        for key, its in names.items():
            for listed in in_lists(its):
                query = select(
                    "Dataset",
                    f"o.investigation.facility.id = {self._facility_id}",
                    f"o.investigation.name = {quote(key.name)}",
                    f"o.investigation.visitId = {quote(key.visit_id)}",
                    f"o.name IN {listed}",
                    what="o.name, o.id",
                )
                for name, number in self._session.search(query, "Dataset"):
                    found[key, name] = number
            for name in its:
                if (key, name) not in found:
                    raise TransientFailure(f"dataset {key}/{name} went away")
        return found

    def _application(self, one: Derivation) -> int:
        query = select(
            "Application",
            f"o.facility.id = {self._facility_id}",
            f"o.name = {quote(one.application)}",
            f"o.version = {quote(one.version)}",
            what="o.id",
        )
        found = self._session.search(query, "Application")
        if not found:
            raise DependencyMissing(
                f"application {one.application} {one.version} is not in the catalogue",
                [f"application:{one.application} {one.version}"],
            )
        return int(found[0])


def _kept(jobs: Sequence[_Job]) -> _Job | None:
    """Return the one of several that all look for: the first that is whole."""
    whole = (job for job in jobs if job.output is not None and job.input is not None)
    return next(whole, jobs[0] if jobs else None)


def _mark(dataset_id: int) -> str:
    return f"icat-stream dataset {dataset_id}"


def _job(application: int, output: int, inputs: int | None = None) -> str:
    """Return a job's XML, with the id of its input collection once that is there."""
    content = reference("application", application)
    content += f"<arguments>{_mark(output)}</arguments>"
    if inputs is not None:
        content += reference("inputDataCollection", inputs)
    return content
