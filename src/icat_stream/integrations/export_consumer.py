"""A consumer that joins an integration, the catalogue and the journal's exports."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from icat_stream.catalogue import Catalogue
from icat_stream.journal import Export, Exports
from icat_stream.messages import (
    DocumentLimits,
    EventMessage,
    Undecodable,
    applied_events,
)
from icat_stream.records import (
    Failure,
    LoginRefused,
    Outcome,
    OutcomeKind,
    Record,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)
from icat_stream.telemetry import current_record, fault_point, step

from .event_filter import EventFilter, nothing
from .integration import Document, Integration
from .read_ahead import ReadAhead, Result


class _Subject(NamedTuple):
    """What an event is about, and the record that it came in."""

    event: EventMessage
    record: Record


# How often a document is read and written again because another process is at it.
_ROUNDS = 5
_PATIENCE_S = 0.2


class ExportConsumer:
    """Brings another system to what an integration makes of events.

    Events that wait for a lane are taken along in a batch; each keeps an outcome of
    its own.  What is unchanged costs no call, and of two processes that are at one
    document the one that read later has the last word.

    Parameters
    ----------
    integration
        Reads the catalogue, and writes.
    catalogue
        Shared by all threads; each has a session of its own.
    exports
        Knows what the system holds; ``None`` in a dry run where nothing is known.
    systems
        What may be down, by name.
    facility
        Whose events are followed.
    max_bytes
        Of an event.
    dry_run
        Read only; the documents are in the outcomes.
    """

    takes_files = False

    def __init__(
        self,
        *,
        integration: Integration[Any],
        catalogue: Catalogue,
        exports: Exports | None,
        systems: Mapping[str, Callable[[], None]],
        facility: str,
        max_bytes: int,
        dry_run: bool = False,
    ) -> None:
        self.integration = integration
        self._catalogue = catalogue
        self._exports = exports
        self._systems = {**systems, integration.name: self.ping}
        self._facility = facility
        self._dry_run = dry_run
        self._filter = EventFilter(
            facility=facility,
            follows=integration.follows,
            operations=integration.operations,
            limits=DocumentLimits(size=max_bytes),
        )
        # A dry run prints what each event comes to.
        most = 1 if dry_run else integration.batch
        self._ahead: ReadAhead[_Subject] = ReadAhead(most, self._bring)

    def key(self, record: Record) -> str:
        """Return the key of the event's document."""
        try:
            event = self._filter.read(record, self.integration.cause)
        except Undecodable:
            return str(record.at)
        if isinstance(event, Outcome):
            return str(record.at)
        self._ahead.note(record.origin, _Subject(event, record))
        return self.integration.key(event)

    def handle(self, record: Record) -> Outcome:
        """Bring the system to what one event is about.

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

    def redact(self, record: Record) -> bytes | None:
        """Return the value: our own events hold no secrets."""
        return record.value

    def compose(self, file: str | None, message: bytes | None) -> bytes:
        """Return a message as it is.

        Raises
        ------
        Rejection
            There is a file, or no message.
        """
        if message is None or file is not None:
            raise Rejection("an integration takes events only, no files")
        return message

    def present(self, missing: Collection[str]) -> Collection[str]:
        """Return which of the missing things are there, in ICAT or in the system."""
        session = self._catalogue.session()
        in_icat = set(session.present(missing))
        left = set(missing) - in_icat
        return in_icat | set(self.integration.present(left, session))

    def probe(self, system: str) -> None:
        """Raise the failure while a system is still down."""
        if system in self._systems:
            self._systems[system]()

    def ping(self) -> None:
        """Ask the integration's system whether it is there.

        Raises
        ------
        SystemUnavailable
            It is not, or refuses our credentials: only this consumer waits for that.
        """
        try:
            self.integration.ping()
        except LoginRefused as failure:
            raise self.integration.down(failure.reason) from failure

    def warnings(self) -> Sequence[str]:
        """Return what a person should know of its system, though it works."""
        return self.integration.warnings()

    def leave_lane(self) -> None:
        """Log out the session of the thread that calls."""
        self._catalogue.leave()

    def _handle(self, record: Record) -> Outcome:
        event = self._filter.read(record, self.integration.cause)
        if isinstance(event, Outcome):
            return event
        return self._ahead.handle(record.origin, _Subject(event, record))

    def _bring(self, asked: Sequence[_Subject]) -> list[Result]:
        """Bring the system to what some events are about; one result for each."""
        keys = [self.integration.key(each.event) for each in asked]
        subjects: dict[str, _Subject] = {}
        for key, each in zip(keys, asked, strict=True):
            subjects.setdefault(key, each)
        if self._dry_run or self._exports is None:
            found = self._printed(subjects)
        else:
            found = self._written(self._exports, subjects)
        results: list[Result] = []
        for key, each in zip(keys, asked, strict=True):
            result, event = found[key], each.event
            if isinstance(result, Failure):
                result.message_type = event.message_type
                result.message_format = event.message_format
                result.objects = {**event.objects, **result.objects}
            elif each is subjects[key]:
                result = replace(
                    result,
                    message_type=event.message_type,
                    message_format=event.message_format,
                    objects={**event.objects, **result.objects},
                )
            else:
                reason = "what it is about was read and written with another event"
                result = nothing(event, OutcomeKind.UNCHANGED, reason)
            results.append(result)
        return results

    def _printed(self, subjects: Mapping[str, _Subject]) -> dict[str, Result]:
        steps: dict[str, float] = {}
        with step("plan", steps):
            results, documents = self._wanted(subjects)
        held: Mapping[str, Export] = {}
        if self._exports is not None:
            held = self._exports.held(self.integration.name, list(documents))
        for key, document in documents.items():
            same = key in held and held[key].sha256 == _sha256(document)
            diff = None
            if document.plan is not None:
                with step("diff", steps):
                    diff = self._catalogue.session().diff(document.plan)
                same = same and diff.is_empty
            results[key] = Outcome(
                kind=OutcomeKind.UNCHANGED if same else OutcomeKind.INGESTED,
                reason="; ".join(document.notes),
                documents=({"key": key, "content": document.content},),
                plan=document.plan,
                diff=diff,
                steps=steps,
            )
        return results

    def _written(
        self, exports: Exports, subjects: Mapping[str, _Subject]
    ) -> dict[str, Result]:
        results, again = self._round(exports, subjects, frozenset())
        for _ in range(_ROUNDS):
            if not again:
                break
            # Or two processes would overtake each other in step.
            time.sleep(random.uniform(0, _PATIENCE_S))  # noqa: S311
            left = {key: subjects[key] for key in again}
            more, again = self._round(exports, left, frozenset(again))
            results |= more
        for key in again:
            results[key] = TransientFailure(
                f"{self.integration.name}: {key} is written by others at the same time"
            )
        return results

    def _round(
        self,
        exports: Exports,
        subjects: Mapping[str, _Subject],
        forced: Collection[str],
    ) -> tuple[dict[str, Result], set[str]]:
        """Read and write once.

        Parameters
        ----------
        exports
            Knows what the system holds.
        subjects
            Events by key.
        forced
            Keys that are written whatever the system seems to hold.

        Returns
        -------
        results
            By key.
        again
            Keys of which a later version was begun meanwhile: to be read once more.
        """
        name = self.integration.name
        steps: dict[str, float] = {}
        versions = {e.key: e for e in exports.begin(name, list(subjects))}
        fault_point("export-begun")
        with step("plan", steps):
            results, documents = self._wanted(subjects)
        # What nothing is to be written of is held as it was.
        held = {key: versions[key].sha256 for key in results}
        sums = {key: _sha256(document) for key, document in documents.items()}
        pending, done = [], []
        for key, document in documents.items():
            if versions[key].sha256 == sums[key] and key not in forced:
                done.append((document, Outcome(kind=OutcomeKind.UNCHANGED)))
            else:
                pending.append(self._versioned(exports, document, versions[key]))
        newest = exports.held(name, [each.key for each in pending])
        again = {
            each.key for each in pending if newest[each.key].version != each.version
        }
        pending = [each for each in pending if each.key not in again]
        if pending:
            with step("apply", steps):
                answers = self._apply(pending)
            fault_point("export-applied")
            for document, answer in zip(pending, answers, strict=True):
                if isinstance(answer, Outcome):
                    done.append((document, answer))
                else:
                    results[document.key] = answer
        for document, answer in done:
            result = self._catalogued(document, answer, subjects[document.key], steps)
            results[document.key] = result
            if isinstance(result, Outcome):
                held[document.key] = sums[document.key]
        overtaken = exports.finish(name, [versions[key] for key in held], held)
        # What was refused because another process was faster is no failure.
        failed = [each for each in pending if isinstance(results[each.key], Failure)]
        if failed:
            newest = exports.held(name, [each.key for each in failed])
            overtaken |= {
                each.key for each in failed if newest[each.key].version != each.version
            }
        return results, again | (overtaken & {each.key for each in pending})

    def _versioned(
        self, exports: Exports, document: Document, begun: Export
    ) -> Document:
        def is_newest() -> bool:
            held = exports.held(self.integration.name, [document.key])
            return held[document.key].version == begun.version

        return replace(document, version=begun.version, is_newest=is_newest)

    def _catalogued(
        self,
        document: Document,
        answer: Outcome,
        subject: _Subject,
        steps: dict[str, float],
    ) -> Result:
        """Bring the catalogue to a document's plan, now that the system has it."""
        reasons = [*document.notes, *([answer.reason] if answer.reason else [])]
        if document.plan is None:
            return replace(answer, reason="; ".join(reasons), steps=steps)
        try:
            with step("catalogue", steps):
                applied = self._catalogue.session().apply(document.plan)
        except SystemUnavailable:
            raise
        except Failure as failure:
            # Of this document alone.
            return failure
        fault_point("export-catalogued")
        changed = OutcomeKind.INGESTED in (answer.kind, applied.kind)
        return replace(
            answer,
            kind=OutcomeKind.INGESTED if changed else OutcomeKind.UNCHANGED,
            reason="; ".join([*reasons, *applied.notes]),
            written=(*answer.written, *applied.written),
            events=applied_events(
                applied,
                facility=self._facility,
                record=subject.record,
                cause=self.integration.cause,
            ),
            steps=steps,
        )

    def _wanted(
        self, subjects: Mapping[str, _Subject]
    ) -> tuple[dict[str, Result], dict[str, Document]]:
        """Return what nothing is to be written of, and the documents of the others."""
        session = self._catalogue.session()
        events = [each.event for each in subjects.values()]
        found = self.integration.wanted(events, session)
        results: dict[str, Result] = {}
        documents: dict[str, Document] = {}
        for key, each in zip(subjects, found, strict=True):
            if not isinstance(each, Document):
                results[key] = each
            elif each.key == key:
                documents[key] = each
            else:
                raise TypeError(f"a document {each.key!r} for the event of {key!r}")
        return results, documents

    def _apply(self, documents: Sequence[Document]) -> Sequence[Result]:
        try:
            return self.integration.apply(documents)
        except LoginRefused as failure:
            # Of the system's: the daemon goes on with everything else.
            raise self.integration.down(failure.reason) from failure


def _sha256(document: Document) -> str:
    text = json.dumps(document.content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
