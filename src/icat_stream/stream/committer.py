"""The committer: a Kafka transaction of whatever is ready."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from confluent_kafka import Producer, TopicPartition

from icat_stream.records import ExitCode, Outcome, Record
from icat_stream.telemetry import fault_point

from .committed_offsets import CommittedOffsets
from .in_flight import Finished, Partition, Slot
from .lane_work import too_large
from .ledger import Batch, Ledger
from .offset_metadata import decode, encode
from .offsets import Place
from .outcome_counts import Counts
from .outcome_messages import OMITTED
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
from .spans import Tracing
from .status import Doing

_log = logging.getLogger(__name__)

OnOutcome = Callable[[Record, Outcome], None]

# Two instances of one id fence each other without end; a zombie that wakes up does
# it once.
_FENCINGS = 2
_FENCING_S = 60.0
_IDLE_S = 0.5
_FRESH_S = 2.0
_TOO_SHORT = (
    "Kafka keeps too little beside a committed offset: set the brokers'"
    " offset.metadata.max.bytes to 4096, which is their default"
)
_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Committer:
    """A thread that owns the transactional producer.

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
    tracing
        Makes spans.
    counts
        Of outcomes.
    on_outcome
        Told of each committed outcome.
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
        tracing: Tracing,
        counts: Counts,
        on_outcome: OnOutcome | None,
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._group = group
        self._identity = identity
        self._ledger = ledger
        self._offsets = offsets
        self._outputs = outputs
        self._tracing = tracing
        self._counts = counts
        self._on_outcome = on_outcome
        self._crashed = crashed
        self._transactor = Transactor(create, self._is_over)
        self._deadline: float | None = None
        self._fencings: deque[float] = deque()
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
        alone: list[Output] = []
        while batch.places:
            try:
                self._commit(batch, alone)
                return
            except TooLarge as error:
                # A batch is refused as a whole: of several, see which it is.
                alone = list(error.outputs)
                if len(alone) == 1:
                    self._shrink(batch, alone[0])
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
            if tries:
                self._pause(_BACKOFF_S[min(tries, len(_BACKOFF_S)) - 1])
            tries += 1
            if self._is_over():
                raise Stopped
            batch = self._ledger.ours(batch)

    def _commit(self, batch: Batch, alone: list[Output]) -> None:
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
        self._done(batch.slots, batch.places)

    def _done(self, slots: list[Slot], places: Iterable[Partition] = ()) -> None:
        self._ledger.committed(slots, places)
        for slot in slots:
            if slot.finished is not None:
                self._tell(slot, slot.finished)

    def _tell(self, slot: Slot, finished: Finished) -> None:
        self._counts.add(slot.record.origin, finished.outcome.kind)
        if self._on_outcome is not None:
            self._on_outcome(slot.record, finished.outcome)

    def _shrink(self, batch: Batch, refused: Output) -> None:
        """Let records whose output is refused for its size end without it."""
        size = len(refused.value or b"") + sum(
            len(v or b"") for _, v in refused.headers
        )
        what = f"an output of {size} bytes for {refused.topic}"
        for slot in batch.slots:
            finished = slot.finished
            if finished is None or refused not in self._outputs.of(slot):
                continue
            if refused.topic == self._outputs.outcomes:
                is_least = finished.less + 1 == len(OMITTED)
                smaller = finished._replace(less=finished.less + 1)
            else:
                is_least = finished.omitted
                smaller = too_large(finished, what)
            if is_least:
                raise Halt(
                    ExitCode.USAGE,
                    f"topic {refused.topic} refuses even {what}: raise its"
                    " max.message.bytes",
                )
            _log.warning("%s: %s is too large for the broker", slot.record.at, what)
            slot.finished = smaller

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
        self._done(done)
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


def shared_identity(identity: str) -> str:
    """Return what to say when two instances use one id."""
    return (
        f"another running instance uses the same identity, {identity}: give each"
        " instance its own kafka.instance_id, or end the other one"
    )
