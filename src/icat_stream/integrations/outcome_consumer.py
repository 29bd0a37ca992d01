"""A consumer that joins what follows outcomes and the topic that tells them."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from icat_stream.config import Settings
from icat_stream.records import (
    Failure,
    JournalRow,
    Outcome,
    OutcomeKind,
    Record,
    Rejection,
)
from icat_stream.stream import outcome_row
from icat_stream.telemetry import current_record, fault_point, step

from .integration import Document
from .outcome_follower import OutcomeFollower
from .read_ahead import ReadAhead, Result


class OutcomeConsumer:
    """Brings another system to what became of records.

    Outcomes that wait for a lane are taken along in a batch.  What it finishes has no
    outcome of its own in that topic, or it would never come to rest.

    Parameters
    ----------
    follower
        Writes.
    settings
        Which topic it is, and whose groups are ours.
    dry_run
        Read only; the documents are in the outcomes.
    """

    takes_files = False
    tells_outcomes = False

    def __init__(
        self,
        follower: OutcomeFollower[Any],
        settings: Settings,
        *,
        dry_run: bool = False,
    ) -> None:
        self.integration = follower
        self._topic = settings.outcomes.topic
        self._groups = f"{settings.kafka.group_id}."
        self._dry_run = dry_run
        most = 1 if dry_run else follower.batch
        self._ahead: ReadAhead[JournalRow] = ReadAhead(most, self._bring)

    def key(self, record: Record) -> str:
        """Return the record's own place: no two outcomes have to be in order."""
        try:
            row = self._read(record)
        except Rejection:
            return str(record.at)
        if isinstance(row, JournalRow):
            self._ahead.note(record.origin, row)
        return str(record.at)

    def handle(self, record: Record) -> Outcome:
        """Bring the system to one outcome.

        Raises
        ------
        Failure
            As foreseen by the stream core.
        """
        token = current_record.set(record.origin)
        try:
            row = self._read(record)
            if isinstance(row, Outcome):
                return row
            return self._ahead.handle(record.origin, row)
        finally:
            current_record.reset(token)

    def redact(self, record: Record) -> bytes | None:
        """Return the value: secrets were taken out before it was told."""
        return record.value

    def compose(self, file: str | None, message: bytes | None) -> bytes:
        """Return a message as it is.

        Raises
        ------
        Rejection
            There is a file, or no message.
        """
        if message is None or file is not None:
            raise Rejection("an outcome is a message, and no file")
        return message

    def present(self, missing: Collection[str]) -> Collection[str]:
        """Return nothing: it waits for nothing but its system."""
        return ()

    def probe(self, system: str) -> None:
        """Raise the failure while a system is still down."""
        if system == self.integration.name:
            self.ping()

    def ping(self) -> None:
        """Ask the system whether it is there.

        Raises
        ------
        SystemUnavailable
            It is not.
        """
        self.integration.ping()

    def warnings(self) -> Sequence[str]:
        """Return what a person should know of its system, though it works."""
        return self.integration.warnings()

    def leave_lane(self) -> None:
        """Do nothing: its threads share all that is open."""

    def _read(self, record: Record) -> JournalRow | Outcome:
        try:
            # Without headers: the payload is in one of them.
            row = outcome_row(record.value, (), record.origin_timestamp)
        except ValueError as error:
            raise Rejection(f"no outcome of this program: {error}") from None
        reason = ""
        if not row.at.group.startswith(self._groups):
            reason = "an outcome of another program's"
        elif row.origin_topic == self._topic:
            reason = "what became of an outcome"
        if reason:
            return Outcome(kind=OutcomeKind.IGNORED, reason=reason)
        return replace(row, headers=())

    def _bring(self, rows: Sequence[JournalRow]) -> list[Result]:
        steps: dict[str, float] = {}
        with step("plan", steps):
            found = [self.integration.wanted(row) for row in rows]
        documents = [each for each in found if isinstance(each, Document)]
        if self._dry_run:
            results: Sequence[Result] = [_printed(each) for each in documents]
        elif documents:
            with step("apply", steps):
                results = self.integration.apply(documents)
            fault_point("export-applied")
        else:
            results = ()
        of_documents = iter(results)
        brought: list[Result] = []
        for row, each in zip(rows, found, strict=True):
            result = next(of_documents) if isinstance(each, Document) else each
            objects = {
                "outcome": row.outcome,
                "message": f"{row.at.topic}[{row.at.partition}]@{row.at.offset}",
            }
            if isinstance(result, Failure):
                result.objects = objects
            else:
                result = replace(result, objects=objects, steps=steps)
            brought.append(result)
        return brought


def _printed(document: Document) -> Outcome:
    shown = {"key": document.key, "content": document.content}
    return Outcome(kind=OutcomeKind.INGESTED, documents=(shown,))
