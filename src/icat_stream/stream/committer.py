"""The committer: journal and Kafka transaction of whatever is ready."""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import Producer, TopicPartition

from icat_stream import __version__
from icat_stream.journal import Journal, JournalRow, RowKey
from icat_stream.records import ExitCode, Outcome, Record, SystemUnavailable
from icat_stream.telemetry import fault_point

from .committed_offsets import CommittedOffsets
from .headers import kept
from .in_flight import Finished, Partition, Slot
from .lane_work import too_large
from .ledger import Batch, Ledger
from .offset_metadata import decode, encode
from .offsets import Place
from .outcome_counts import Counts
from .outputs import Output, Outputs
from .producer import (
    Aborted,
    Lost,
    MetadataTooLarge,
    NoMember,
    Stopped,
    TooLarge,
    Transactor,
)
from .run_result import Halt
from .spans import Tracing, trace_id
from .status import Doing

_log = logging.getLogger(__name__)

OnOutcome = Callable[[Record, Outcome], None]

# Two instances of one id fence each other without end; a zombie that wakes up does
# it once.
_FENCINGS = 2
_FENCING_S = 60.0
_IDLE_S = 0.5
_FRESH_S = 2.0
_WITHOUT_S = 10.0
_TOO_SHORT = (
    "Kafka keeps too little beside a committed offset: set the brokers'"
    " offset.metadata.max.bytes to 4096, which is their default"
)
_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Committer:
    """A thread that owns the transactional producer and the journal's writing.

    Parameters
    ----------
    group
        Consumer group.
    identity
        What to name when two instances share it.
    create
        Makes a producer.
    ledger
        Where finished records are.
    offsets
        Tells what is committed.
    outputs
        Makes what they send; set before the thread starts.
    journal
        ``None`` for none.
    required
        Asked whether nothing is committed while the journal is down.
    tracing
        Makes spans.
    counts
        Of outcomes.
    on_outcome
        Told of each committed outcome.
    unavailable
        Told when the journal is down.
    crashed
        Told of what ends the loop.
    """

    def __init__(
        self,
        *,
        group: str,
        identity: str,
        create: Callable[[], Producer],
        ledger: Ledger,
        offsets: CommittedOffsets,
        outputs: Outputs,
        journal: Journal | None,
        required: Callable[[], bool],
        tracing: Tracing,
        counts: Counts,
        on_outcome: OnOutcome | None,
        unavailable: Callable[[SystemUnavailable], None],
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._group = group
        self._identity = identity
        self._ledger = ledger
        self._offsets = offsets
        self._outputs = outputs
        self._journal = journal
        self._required = required
        self._without_until = 0.0
        self._tracing = tracing
        self._counts = counts
        self._on_outcome = on_outcome
        self._unavailable = unavailable
        self._crashed = crashed
        self._transactor = Transactor(create, self._is_over)
        self._deadline: float | None = None
        self._fencings: deque[float] = deque()
        self._settles: deque[tuple[str, int, Callable[[int], bool]]] = deque()
        self._unmarked: list[JournalRow] = []
        self.doing = Doing("waits for Kafka to let it begin transactions")
        self.transactions = 0
        self.transaction_seconds = 0.0
        self._thread = threading.Thread(
            target=self._run, name=f"{group}-committer", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def settle(self, topic: str, number: int, is_done: Callable[[int], bool]) -> None:
        """Mark journal rows of offsets that are committed, some time soon."""
        if self._journal is not None:
            self._settles.append((topic, number, is_done))

    def stop(self, deadline: float) -> bool:
        """End the thread; return whether it did.

        Parameters
        ----------
        deadline
            Monotonic seconds.
        """
        self._deadline = deadline
        self._ledger.wake()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._reconnect()
            while True:
                self._settle()
                self.doing.end()
                batch = self._ledger.collect(_IDLE_S)
                if batch is not None:
                    self._see_through(batch)
                    self.doing.end()
                elif self._deadline is not None:
                    return
        except Stopped:
            pass
        except BaseException as error:
            self._crashed(error)
        finally:
            self._transactor.close()

    def _is_over(self) -> bool:
        # Asked by everything that waits and tries again.
        self.doing.moves()
        return self._deadline is not None and time.monotonic() > self._deadline

    def _see_through(self, batch: Batch) -> None:
        """Commit a batch, however often it takes."""
        tries = 0
        written: set[Slot] = set()
        alone: list[Output] = []
        while batch.places:
            try:
                self._commit(batch, written, alone)
                return
            except TooLarge as error:
                # A batch is refused as a whole: of several, see which it is.
                alone = list(error.outputs)
                if len(alone) == 1:
                    written -= self._shrink(batch, alone)
                batch = self._ledger.ours(batch)
                continue
            except MetadataTooLarge:
                _log.warning("%s: Kafka keeps less beside an offset", self._group)
                if not self._ledger.shrink(batch):
                    raise Halt(ExitCode.USAGE, _TOO_SHORT) from None
                return
            except Aborted as error:
                _log.warning("%s: transaction aborted: %s", self._group, error)
                if isinstance(error, NoMember):
                    self._ledger.abandon()
                self._ledger.wait_for_metadata(batch.metadata, _FRESH_S)
            except Lost as error:
                _log.warning("%s: the producer is lost: %s", self._group, error)
                self._reconnect(error)
                batch = self._decided(batch)
            except SystemUnavailable as error:
                self._unavailable(error)
            if tries:
                self._pause(_BACKOFF_S[min(tries, len(_BACKOFF_S)) - 1])
            tries += 1
            if self._is_over():
                raise Stopped
            batch = self._ledger.ours(batch)

    def _commit(self, batch: Batch, written: set[Slot], alone: list[Output]) -> None:
        self.doing.begin("writes rows to the journal")
        rows = [] if self._journal is None else [self._row(s) for s in batch.slots]
        if self._journal is not None and batch.slots:
            if self._unmarked:
                unmarked = self._unmarked
                if self._write(lambda journal: journal.committed(unmarked)):
                    self._unmarked = []
            fault_point("pending")
            fresh = [
                row
                for row, slot in zip(rows, batch.slots, strict=True)
                if slot not in written
            ]
            if self._write(lambda journal: journal.pending(fresh)):
                written.update(batch.slots)
            fault_point("journalled")
        outputs = [output for slot in batch.slots for output in self._outputs.of(slot)]
        positions = [
            TopicPartition(
                p.topic,
                p.number,
                place.offset,
                metadata=encode(p.home, place.finished),
            )
            for p, place in batch.places.items()
        ]
        traces = (
            [s.finished.trace for s in batch.slots if s.finished and s.finished.trace]
            if self._tracing.is_on
            else []
        )
        self.doing.begin("commits a transaction in Kafka")
        with self._tracing.transaction(traces, len(batch.slots)):
            began = time.monotonic()
            self._transactor.commit(outputs, positions, batch.metadata, alone=alone)
            self.transaction_seconds += time.monotonic() - began
            self.transactions += 1
        fault_point("committed")
        self._done(batch.slots, rows, batch.places)

    def _write(self, write: Callable[[Journal], None]) -> bool:
        """Write to the journal; return whether it was, where it may be left out."""
        if self._journal is None:
            return False
        if time.monotonic() < self._without_until and not self._required():
            return False
        try:
            write(self._journal)
        except SystemUnavailable as error:
            if self._required():
                raise
            # A database that hangs shall not cost every batch its timeout.
            self._without_until = time.monotonic() + _WITHOUT_S
            _log.error(
                "%s: going on WITHOUT the journal, as journal.required says: what is"
                " handled meanwhile will not be in it: %s",
                self._group,
                error,
            )
            return False
        return True

    def _done(
        self,
        slots: list[Slot],
        rows: list[JournalRow],
        places: Iterable[Partition] = (),
    ) -> None:
        self.doing.begin("marks rows in the journal")
        if self._journal is not None and slots:
            try:
                self._write(lambda journal: journal.committed(rows))
            except SystemUnavailable as error:
                # What Kafka has committed is done; the next batch marks these first.
                self._unmarked = rows
                self._unavailable(error)
            fault_point("marked")
        self._ledger.committed(slots, places)
        for slot in slots:
            if slot.finished is not None:
                self._tell(slot, slot.finished)

    def _tell(self, slot: Slot, finished: Finished) -> None:
        self._counts.add(slot.record.origin, finished.outcome.kind)
        if self._on_outcome is not None:
            self._on_outcome(slot.record, finished.outcome)

    def _shrink(self, batch: Batch, refused: Sequence[Output]) -> set[Slot]:
        """Let records whose output is refused for its size end without it."""
        changed = set()
        for slot in batch.slots:
            finished = slot.finished
            found = [o for o in self._outputs.of(slot) if o in refused]
            if not found or finished is None:
                continue
            size = len(found[0].value or b"")
            what = f"an output of {size} bytes for {found[0].topic}"
            if finished.omitted:
                raise Halt(
                    ExitCode.USAGE,
                    f"topic {found[0].topic} refuses even {what}: raise its"
                    " max.message.bytes",
                )
            _log.warning("%s: %s is too large for the broker", slot.record.at, what)
            slot.finished = too_large(finished, what)
            changed.add(slot)
        return changed

    def _decided(self, batch: Batch) -> Batch:
        """Return what is left to do after the old transaction was decided."""
        self.doing.begin("asks Kafka what was committed")
        # Whether a row of the table was let go, only the table itself tells.
        self._ledger.reload(p for p in batch.places if p.parked is not None)
        batch = self._ledger.ours(batch)
        found = self._offsets.read(
            [TopicPartition(p.topic, p.number) for p in batch.places], self._is_over
        )
        if found is None:
            raise Stopped
        committed = {
            (topic, number): Place(max(0, each.offset), decode(each.metadata))
            for (topic, number), each in found.items()
        }
        batch = self._ledger.ours(batch)

        def is_done(slot: Slot) -> bool:
            partition = slot.partition
            return committed[partition.topic, partition.number].has(slot.offset)

        done = [slot for slot in batch.slots if is_done(slot)]
        if done:
            rows = [] if self._journal is None else [self._row(s) for s in done]
            self._done(done, rows)
        left = [slot for slot in batch.slots if not is_done(slot)]
        return Batch(left, batch.metadata, batch.places if left else {})

    def _reconnect(self, lost: Lost | None = None) -> None:
        """Make a new producer, unless somebody keeps taking our name."""
        self.doing.begin("waits for Kafka to let it begin transactions")
        tries = 0
        while True:
            if lost is not None and lost.fenced:
                self._fenced()
            try:
                self._transactor.connect()
                return
            except Lost as error:
                _log.warning("%s: no producer: %s", self._group, error)
                lost = error
            self._pause(_BACKOFF_S[min(tries, len(_BACKOFF_S) - 1)])
            tries += 1

    def _fenced(self) -> None:
        now = time.monotonic()
        self._fencings.append(now)
        while now - self._fencings[0] > _FENCING_S:
            self._fencings.popleft()
        if len(self._fencings) > _FENCINGS:
            raise Halt(ExitCode.USAGE, shared_identity(self._identity))

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._is_over():
                raise Stopped
            time.sleep(min(0.1, seconds))

    def _settle(self) -> None:
        while self._settles:
            self.doing.begin("marks rows in the journal")
            topic, number, is_done = self._settles[0]

            def settle(journal: Journal, at: Any = (topic, number, is_done)) -> None:
                if marked := journal.settle(self._group, *at):
                    _log.info("%s[%d]: %d rows settled", at[0], at[1], marked)

            try:
                if not self._write(settle):
                    return
            except SystemUnavailable as error:
                self._unavailable(error)
                return
            self._settles.popleft()

    def _row(self, slot: Slot) -> JournalRow:
        finished = slot.finished
        if finished is None:
            raise ValueError(f"{slot.record.at} is not finished")
        record, outcome = slot.record, finished.outcome
        value = record.value or b""
        return JournalRow(
            at=RowKey(self._group, *_coordinates(record), record.timestamp),
            origin_topic=record.origin.topic,
            origin_partition=record.origin.partition,
            origin_offset=record.origin.offset,
            origin_time=record.origin_timestamp,
            outcome=outcome.kind.value,
            size=len(value),
            sha256=hashlib.sha256(value).hexdigest(),
            key=slot.key,
            message_type=outcome.message_type,
            message_format=outcome.message_format,
            objects=outcome.objects,
            error_class=outcome.error_class,
            text=outcome.reason,
            attempts=finished.attempts,
            steps=outcome.steps,
            trace_id=trace_id(finished.trace, record),
            version=__version__,
            payload=self._kept(record),
            record_key=record.key,
            headers=kept(record.headers),
        )

    def _kept(self, record: Record) -> bytes | None:
        # A record that comes again is kept with its first reading.
        again = record.at != record.origin
        if self._journal is None or again or record.value is None:
            return None
        if not self._journal.keeps(len(record.value)):
            return None
        return self._outputs.redacted(record)


def shared_identity(identity: str) -> str:
    """Return what to say when two instances use one id."""
    return (
        f"another running instance uses the same identity, {identity}: give each"
        " instance its own kafka.instance_id, or end the other one"
    )


def _coordinates(record: Record) -> tuple[str, int, int]:
    return record.at.topic, record.at.partition, record.at.offset
