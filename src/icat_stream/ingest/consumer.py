"""A consumer that joins a handler, the catalogue and the data service."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from icat_stream.catalogue import Catalogue, CatalogueSession
from icat_stream.config import ConsumerSettings
from icat_stream.handlers import Handler
from icat_stream.ids import Ids
from icat_stream.journal import Journal
from icat_stream.messages import applied_events
from icat_stream.nexus import NexusReader
from icat_stream.records import (
    Applied,
    Event,
    Failure,
    Lookups,
    Outcome,
    OutcomeKind,
    Plan,
    Record,
    Rejection,
    explained,
)
from icat_stream.telemetry import current_record, step

from .newest_wins import SUPERSEDED, NewestWins, Repeatable, TopicIdentity

Ping = Callable[[], None]
"""Returns if a system is up, and raises ``SystemUnavailable`` if it is down."""
_FOLDER = "folder:"


def apply(plan: Plan, session: CatalogueSession, ids: Ids) -> Applied:
    """Bring the catalogue to a plan, and its files to where they belong.

    Files are uploaded or registered where they are; with an archive behind the main
    storage a copy in it is asked for.

    Parameters
    ----------
    plan
        Of the facility.
    session, ids
        Of the thread that calls.

    Returns
    -------
    :
        The catalogue's answer, once all of that is done.

    Raises
    ------
    Failure
        It could not be done, or not yet.
    """
    client = ids.client(session)
    applied = session.apply(plan, files=client if ids.uploads else None)
    if client is None:
        return applied
    brought = [
        dataset.id
        for dataset, planned in zip(applied.datasets, plan.datasets, strict=True)
        if planned.brings_files
    ]
    return applied.also(client.archive(brought))


class IngestConsumer:
    """Brings catalogue and data service to what a handler makes of the records.

    Parameters
    ----------
    handler
        Makes plans.
    catalogue, ids, files
        Shared by all threads; each has a session of its own.
    systems
        What records need and may be down, by the name that
        :class:`~icat_stream.records.SystemUnavailable` gives it.
    journal
        Remembers the samples of jobs, and which snapshots are the newest.
    facility
        The facility's name.
    topic_ids
        Tells a topic from one made anew; ``None`` where records are of no topic.
    dry_run
        Plan and compare only; write nothing.
    show_plans
        Keep the plan in each outcome.
    """

    def __init__(
        self,
        *,
        handler: Handler,
        catalogue: Catalogue,
        ids: Ids,
        files: NexusReader,
        systems: Mapping[str, Ping],
        journal: Journal,
        facility: str,
        topic_ids: TopicIdentity | None = None,
        dry_run: bool = False,
        show_plans: bool = False,
    ) -> None:
        self.handler = handler
        self._catalogue = catalogue
        self._ids = ids
        self._systems = systems
        self._files = files
        self._journal = journal
        self._facility = facility
        self._dry_run = dry_run
        self._show_plans = show_plans
        self._newest_wins = NewestWins(journal.newest, facility, topic_ids)
        self.recalls = handler.makes_snapshots and not (dry_run or show_plans)

    def key(self, record: Record) -> str:
        """Return the handler's ordering key."""
        return self.handler.key(record)

    def handle(self, record: Record) -> Outcome:
        """Bring the catalogue to what one record announces.

        Raises
        ------
        Failure
            As foreseen by the stream core.
        """
        token = current_record.set(record.origin)
        try:
            return self._handle(record)
        finally:
            current_record.reset(token)

    def recall(self, records: Sequence[Record]) -> Sequence[Outcome | None]:
        """Return the outcomes of records that say what was applied before.

        Raises
        ------
        Failure
            The journal is down.
        """
        fingerprints = [self._fingerprint(record) for record in records]
        known = iter(
            self._newest_wins.recall(
                [(r, c) for r, c in zip(records, fingerprints, strict=True) if c]
            )
        )
        found: list[Outcome | None] = []
        for record, fingerprint in zip(records, fingerprints, strict=True):
            recalled = next(known) if fingerprint else None
            if recalled is None:
                found.append(None)
                continue
            told, applied = recalled
            found.append(
                Outcome(
                    kind=OutcomeKind.UNCHANGED,
                    reason=told["reason"],
                    message_type=told["message_type"],
                    message_format=told["message_format"],
                    objects=told["objects"] | _ids(applied),
                    events=self._announced(applied, record),
                )
            )
        return found

    def redact(self, record: Record) -> bytes | None:
        """Return the value without what the handler names a secret."""
        return self.handler.redact(record)

    @property
    def takes_files(self) -> bool:
        """Whether :meth:`compose` makes a record of a file that a person names."""
        return self.handler.takes_files

    def compose(self, file: str | None, message: bytes | None) -> bytes:
        """Return the record's value that would have announced a file.

        Raises
        ------
        Rejection
            Nothing can be made of it.
        """
        return self.handler.compose(file, message)

    def present(self, missing: Collection[str]) -> Collection[str]:
        """Return which of the missing things are there by now.

        Parameters
        ----------
        missing
            As :meth:`CatalogueSession.present` takes them, and ``folder:PATH`` of
            ``files.roots``.
        """
        wanted = {name for name in missing if name.startswith(_FOLDER)}
        found = set(self._catalogue.session().present(set(missing) - wanted))
        if wanted:
            found |= wanted - {_FOLDER + root for root in self._files.missing_roots()}
        return found

    def probe(self, system: str) -> None:
        """Raise the failure while a system is still down."""
        if system in self._systems:
            self._systems[system]()

    def leave_lane(self) -> None:
        """Log out the session of the thread that calls."""
        self._catalogue.leave()

    def _handle(self, record: Record) -> Outcome:
        steps: dict[str, float] = {}
        with step("decode", steps):
            message = self.handler.decode(record)
        if isinstance(message, Outcome):
            return message
        try:
            outcome = self._bring(message, record, steps)
        except Failure as failure:
            failure.message_type = getattr(message, "message_type", None)
            failure.message_format = getattr(message, "message_format", None)
            failure.objects = getattr(message, "objects", {})
            raise
        return replace(
            outcome,
            message_type=getattr(message, "message_type", None),
            message_format=getattr(message, "message_format", None),
        )

    def _bring(self, message: Any, record: Record, steps: dict[str, float]) -> Outcome:
        session = self._catalogue.session()
        lookups = _Consulted(session)
        with step("plan", steps):
            plan = self.handler.plan(message, cast(Lookups, lookups))
        if isinstance(plan, Outcome):
            return plan
        try:
            if self._dry_run:
                with step("diff", steps):
                    diff = session.diff(plan, uploads=self._ids.uploads)
                kind = OutcomeKind.UNCHANGED if diff.is_empty else OutcomeKind.INGESTED
                return Outcome(kind=kind, plan=plan, diff=diff, steps=steps)
            with step("apply", steps):
                if plan.users or not all(i.partial for i in plan.investigations):
                    repeatable = (
                        self._repeatable(message, plan, record)
                        if self.recalls and not lookups.consulted
                        else None
                    )
                    return self._guarded(plan, session, record, repeatable, steps)
                applied = self._apply(plan, session)
        except Rejection as failure:
            raise explained(failure, plan.origins) from failure
        outcome = self._outcome(plan, applied, record, steps)
        if outcome.objects:
            return outcome
        return replace(outcome, objects=getattr(message, "objects", {}))

    def _guarded(
        self,
        plan: Plan,
        session: CatalogueSession,
        record: Record,
        repeatable: Repeatable | None,
        steps: dict[str, float],
    ) -> Outcome:
        if plan.datasets or plan.jobs or plan.keep:
            raise TypeError("a plan has users and investigations, or something else")
        guarded = self._newest_wins.bring(plan, record, session.apply, repeatable)
        if not guarded.applied.snapshots:
            return Outcome(
                kind=OutcomeKind.IGNORED,
                reason=SUPERSEDED,
                objects=_objects(plan)
                | {"newer": sorted(set(guarded.superseded.values()))},
                steps=steps,
            )
        notes = [
            f"{name}: superseded by {at}" for name, at in guarded.superseded.items()
        ]
        plan = replace(plan, notes=(*plan.notes, *notes))
        outcome = self._outcome(plan, guarded.applied, record, steps)
        return replace(outcome, objects=_objects(plan) | _ids(guarded.applied))

    def _fingerprint(self, record: Record) -> str | None:
        # What comes by a topic of ours has been decoded before.
        return self.handler.fingerprint(record) if record.at == record.origin else None

    def _repeatable(
        self, message: Any, plan: Plan, record: Record
    ) -> Repeatable | None:
        fingerprint = self._fingerprint(record)
        if fingerprint is None:
            return None
        told = {
            "reason": "; ".join(plan.notes),
            "message_type": getattr(message, "message_type", None),
            "message_format": getattr(message, "message_format", None),
            "objects": _objects(plan),
        }
        return Repeatable(fingerprint, told)

    def _apply(self, plan: Plan, session: CatalogueSession) -> Applied:
        if plan.jobs:
            return self._remember(plan)
        if plan.stubs:
            self._newest_wins.missing(stub.investigation for stub in plan.stubs)
        if plan.keep:
            plan = self._keep(plan)
        return apply(plan, session, self._ids)

    def _remember(self, plan: Plan) -> Applied:
        written = []
        for job in plan.jobs:
            if self._journal.sample_of_job(job.job_id) != job.sample:
                self._journal.remember_job(job.job_id, job.sample)
                written.append(f"sample of job {job.job_id} remembered: {job.sample}")
        kind = OutcomeKind.INGESTED if written else OutcomeKind.UNCHANGED
        return Applied(kind=kind, written=tuple(written))

    def _keep(self, plan: Plan) -> Plan:
        sizes = {f.path: self._files.keep(f.path, f.content) for f in plan.keep}
        return replace(
            plan,
            datasets=tuple(
                replace(
                    dataset,
                    datafiles=tuple(
                        replace(file, size=sizes[file.source])
                        if file.source in sizes
                        else file
                        for file in dataset.datafiles
                    ),
                )
                for dataset in plan.datasets
            ),
        )

    def _outcome(
        self, plan: Plan, applied: Applied, record: Record, steps: Mapping[str, float]
    ) -> Outcome:
        objects = dict(applied.objects)
        if plan.datasets and plan.datasets[0].datafiles:
            objects["file"] = plan.datasets[0].datafiles[0].name
        return Outcome(
            kind=applied.kind,
            reason="; ".join((*plan.notes, *applied.notes)),
            events=self._announced(applied, record),
            objects=objects,
            written=applied.written,
            steps=steps,
            plan=plan if self._show_plans else None,
        )

    def _announced(self, applied: Applied, record: Record) -> tuple[Event, ...]:
        if not self.handler.sends_events:
            return ()
        return applied_events(
            applied,
            facility=self._facility,
            record=record,
            cause=self.handler.cause,
        )


class _Consulted:
    """The catalogue's answers, and whether there was any question."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups
        self.consulted = False

    def __getattr__(self, name: str) -> Any:
        self.consulted = True
        return getattr(self._lookups, name)


def _objects(plan: Plan) -> dict[str, Any]:
    """Return what a plan of snapshots is about, as people search for it."""
    named = {
        "user": [user.account or user.name for user in plan.users],
        "investigation": [each.key for each in plan.investigations],
    }
    return {
        name: found[0] if len(found) == 1 else found
        for name, found in named.items()
        if found
    }


def _ids(applied: Applied) -> dict[str, Any]:
    if len(applied.snapshots) != 1:
        return {}
    (one,) = applied.snapshots
    name = "user" if one.user is not None else "investigation"
    return {f"{name}_id": one.id}


class RecordConsumer(Protocol):
    """A consumer of whatever kind: what the stream core and the commands ask it."""

    @property
    def takes_files(self) -> bool:
        """See :class:`IngestConsumer`, as of all of them."""
        ...

    def key(self, record: Record) -> str: ...  # noqa: D102
    def handle(self, record: Record) -> Outcome: ...  # noqa: D102
    def redact(self, record: Record) -> bytes | None: ...  # noqa: D102
    def compose(self, file: str | None, message: bytes | None) -> bytes: ...  # noqa: D102
    def present(self, missing: Collection[str]) -> Collection[str]: ...  # noqa: D102
    def probe(self, system: str) -> None: ...  # noqa: D102
    def leave_lane(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class RunningConsumer:
    """A consumer of the configuration, ready to handle records."""

    name: str
    settings: ConsumerSettings
    consumer: RecordConsumer
