"""What was read and is not committed: the state that the threads share."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from icat_stream.records import Outcome, OutcomeKind

from .in_flight import Destination, Finished, Ownership, Partition, Slot
from .offsets import SlotState
from .waiting_room import PARTITION_RECORDS, WaitingRoom

# 100 to 1,000 records a transaction make no difference, and a transaction must be
# over within its timeout.
GROUP_RECORDS = 5_000
GROUP_BYTES = 16 * 2**20
_AT_A_TIME = 256
# A full index is turned over so often at most: each time rewrites half of it.
_TURN_OVER_S = 30.0
# What is found waits for others of its key that move: a moment, unless others that are
# released all the time keep them moving.
_LONGEST_HELD_S = 15.0
# One partition that does not get on leaves room for others.  Only a still one is
# paused for that: what flows loses what was fetched ahead by a pause.
_SHARES = 2
_STILL_S = 1.0
# Kafka forgets offsets of topics that the group has not subscribed to, days after they
# were committed: what is idle is committed again.
KEEP_S = 600.0


@dataclass(slots=True)
class Batch:
    """What goes into one transaction.

    Parameters
    ----------
    slots
        By partition and offset.
    metadata
        Of the group, from before the slots were collected: if one of their
        partitions is somebody else's by now, the broker refuses the commit.
    kept
        Partitions whose offset is committed again, lest Kafka forget it.
    """

    slots: list[Slot]
    metadata: Any
    kept: list[Partition] = field(default_factory=list)

    def offsets(self) -> dict[Partition, int]:
        """Return the next offset of each partition."""
        offsets = {partition: partition.committed for partition in self.kept}
        return offsets | {slot.partition: slot.offset + 1 for slot in self.slots}


class Ledger:
    """Partitions, and the records in flight.

    Safe for threads.  The poll thread opens, closes and fills partitions, lanes start
    and finish records, the committer collects what can be committed.

    Parameters
    ----------
    bound
        Records handed out and not committed.
    lanes
        How many are handled at a time.
    """

    def __init__(self, bound: int, lanes: int) -> None:
        # Sixteen a lane: otherwise one slow record starves the others of work.
        self.bound = max(bound, 16 * lanes)
        self._share = max(16 * lanes, self.bound // _SHARES)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._change = threading.Condition(self._lock)
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._room = WaitingRoom()
        self._turned_over: dict[Partition, float] = {}
        self._in_flight = 0
        self._metadata: Any = None
        self._metadata_used = True
        self._asked = 0
        self._is_starved = False
        self._held: dict[tuple[Partition, str], float] = {}
        self._committed_wanted = False
        self._committed_answer: dict[Partition, int] | None = None

    # The poll thread.

    def open(self, partitions: Iterable[Partition]) -> None:
        """Take over newly assigned partitions."""
        with self._lock:
            for partition in partitions:
                self._partitions[partition.topic, partition.number] = partition

    def find(self, topic: str, number: int) -> Partition | None:
        """Return an owned partition."""
        return self._partitions.get((topic, number))

    def partitions(self) -> list[Partition]:
        """Return what is owned."""
        with self._lock:
            return list(self._partitions.values())

    def accept(self, slots: Sequence[Slot], now: int) -> list[Slot]:
        """Enter records that were read; return those to be handled now.

        Parameters
        ----------
        slots
            In the order of their partitions.
        now
            Milliseconds since the epoch.
        """
        ready = []
        with self._lock:
            for slot in slots:
                partition = slot.partition
                partition.tracker.add(slot)
                partition.position = slot.record.at.offset + 1
                partition.moving.pop(slot.record.origin, None)
                if slot.wait.not_before > now:
                    self._room.add(slot)
                else:
                    if not partition.handed_out:
                        partition.moved_at = time.monotonic()
                    partition.handed_out += 1
                    slot.handed_out = True
                    self._in_flight += 1
                    ready.append(slot)
        return ready

    def due(self, now: int) -> list[Slot]:
        """Return waiting records whose time has come, to be handled now."""
        with self._lock:
            slots = self._room.due(now, self.bound - self._in_flight)
            for slot in slots:
                self._room.leave(slot)
                slot.state = SlotState.READY
                slot.handed_out = True
                slot.partition.handed_out += 1
            self._in_flight += len(slots)
        return slots

    def has_due(self, now: int) -> bool:
        """Whether some waiting record's time has come."""
        with self._lock:
            return self._room.has_due(now)

    def space(self) -> int:
        """Return how many more records may be read."""
        return self.bound - self._in_flight

    def is_half_free(self) -> bool:
        """Whether reading may go on after it was stopped."""
        return self._in_flight <= self.bound // 2

    def wait_for_space(self, seconds: float) -> None:
        """Wait until something was committed."""
        with self._lock:
            if self._in_flight >= self.bound:
                self._change.wait(seconds)

    def congested(self, now: float, *, hurry: bool) -> set[Partition]:
        """Return partitions that should not be read on for now.

        Parameters
        ----------
        now
            Monotonic seconds.
        hurry
            Turn a full index over at once.
        """
        found = set()
        with self._lock:
            several = len(self._partitions) > 1
            for partition in self._partitions.values():
                if (
                    several
                    and partition.handed_out >= self._share
                    and now - partition.moved_at > _STILL_S
                ):
                    found.add(partition)
                # Half free is what it takes to be read on: until then it goes on.
                if partition.waiting and (
                    self._room.is_full(partition)
                    or (
                        partition in self._turned_over
                        and not self._room.has_room(partition)
                    )
                ):
                    found.add(partition)
                    self._turn_over(partition, now, hurry)
                else:
                    self._turned_over.pop(partition, None)
        return found

    def is_congested(self, partition: Partition) -> bool:
        """Whether a partition that was paused should stay so."""
        with self._lock:
            return partition.handed_out > self._share // 2 or not self._room.has_room(
                partition
            )

    def close(self, partitions: Iterable[Partition], *, now: bool) -> None:
        """Start nothing more of partitions that are given up.

        Parameters
        ----------
        partitions
            Which.
        now
            They are gone already; otherwise what was started may still finish and
            be committed.
        """
        with self._lock:
            for partition in partitions:
                if not now:
                    partition.ownership = Ownership.CLOSING
                    continue
                partition.ownership = Ownership.CLOSED
                self._in_flight -= partition.handed_out
                partition.handed_out = 0
                for slot in partition.tracker.waiting():
                    self._room.leave(slot)
                    slot.state = SlotState.READY
                self._partitions.pop((partition.topic, partition.number), None)
                self._turned_over.pop(partition, None)
            self._work.notify_all()
            self._change.notify_all()

    def is_settled(self, partitions: Iterable[Partition]) -> bool:
        """Whether nothing is in work, and all that can be committed is."""
        with self._lock:
            return all(
                not p.working and not p.committing and not p.tracker.is_takeable()
                for p in partitions
            )

    def wait_for_change(self, seconds: float) -> None:
        """Wait until something was committed, finished or asked for."""
        with self._lock:
            self._change.wait(seconds)

    def sizes(self) -> tuple[int, int, int]:
        """Return how many partitions, records in flight, and waiting ones there are."""
        with self._lock:
            return (
                len(self._partitions),
                self._in_flight,
                sum(p.waiting for p in self._partitions.values()),
            )

    def waiting(self) -> list[Slot]:
        """Return all records that only wait."""
        with self._lock:
            return [s for p in self._partitions.values() for s in p.tracker.waiting()]

    def is_idle(self) -> bool:
        """Whether nothing is in flight and nothing has to be moved."""
        with self._lock:
            return self._in_flight == 0 and not any(
                p.committing or p.tracker.is_takeable()
                for p in self._partitions.values()
            )

    def wants_metadata(self) -> bool:
        """Whether the snapshot of the group's metadata was used."""
        return self._metadata_used

    def set_metadata(self, metadata: Any) -> None:
        """Keep a snapshot of the group's metadata, as of now."""
        with self._lock:
            self._metadata = metadata
            self._metadata_used = False
            self._work.notify_all()

    def wants_committed(self) -> list[Partition]:
        """Return partitions whose committed offsets the committer waits for."""
        if not self._committed_wanted:
            return []
        return self.partitions()

    def set_committed(self, offsets: dict[Partition, int]) -> None:
        """Answer the committer."""
        with self._lock:
            self._committed_wanted = False
            self._committed_answer = offsets
            self._work.notify_all()

    # The lanes.

    def start(self, slot: Slot) -> bool:
        """Take a record into work; ``False`` if its partition was given up."""
        with self._lock:
            if slot.partition.ownership is not Ownership.OPEN:
                return False
            slot.state = SlotState.WORKING
            slot.partition.working += 1
            return True

    def put_back(self, slot: Slot) -> None:
        """Return a record that has to be handled again."""
        with self._lock:
            slot.partition.working -= 1
            slot.state = SlotState.READY
            self._change.notify_all()

    def finish(self, slot: Slot, finished: Finished) -> None:
        """Enter what became of a record."""
        with self._lock:
            slot.finished = finished
            partition = slot.partition
            partition.working -= 1
            partition.tracker.finish(slot)
            # While a transaction is under way, nobody waits for this.
            if self._is_starved and partition.tracker.is_takeable():
                self._work.notify()
            if partition.ownership is not Ownership.OPEN:
                self._change.notify_all()

    # Whoever asks for what is missing.

    def missing(self, limit: int) -> list[str]:
        """Return what records wait for, the next so many in turn."""
        with self._lock:
            names = self._room.names(self._asked, limit)
            self._asked += len(names)
            return names

    def found(self, names: Collection[str]) -> None:
        """Note what of it is there by now."""
        if names:
            with self._lock:
                self._room.found(names, self._moving())

    # The committer.

    def collect(self, seconds: float) -> Batch | None:
        """Return what can be committed, waiting for it a while."""
        with self._lock:
            batch = self._collect()
            if batch is None:
                self._is_starved = True
                self._work.wait(seconds)
                self._is_starved = False
                batch = self._collect()
            return batch

    def ours(self, batch: Batch) -> Batch:
        """Return what is left of a batch after partitions were given up.

        Its metadata are a snapshot from now: what is ours now was ours all the time.
        """
        with self._lock:
            self._metadata_used = True
            return Batch(
                [
                    slot
                    for slot in batch.slots
                    if slot.partition.ownership is not Ownership.CLOSED
                ],
                self._metadata,
                [p for p in batch.kept if p.ownership is not Ownership.CLOSED],
            )

    def wait_for_metadata(self, old: Any, seconds: float) -> None:
        """Wait for a snapshot of the group's metadata that is not the old one."""
        end = time.monotonic() + seconds
        with self._lock:
            self._metadata_used = True
            self._change.notify_all()
            while self._metadata is old and time.monotonic() < end:
                self._work.wait(end - time.monotonic())

    def ask_committed(self, seconds: float) -> dict[Partition, int] | None:
        """Return the committed offsets of what is owned; ``None``: no answer."""
        end = time.monotonic() + seconds
        with self._lock:
            self._committed_answer = None
            self._committed_wanted = True
            self._change.notify_all()
            while self._committed_answer is None and time.monotonic() < end:
                self._work.wait(end - time.monotonic())
            self._committed_wanted = False
            return self._committed_answer

    def committed(self, slots: Iterable[Slot], kept: Iterable[Partition] = ()) -> None:
        """Forget records whose transaction is through.

        Parameters
        ----------
        slots
            The records.
        kept
            Partitions whose offset was committed again.
        """
        now = time.monotonic()
        with self._lock:
            for partition in kept:
                partition.kept_at = now
            for slot in slots:
                partition = slot.partition
                partition.moved_at = partition.kept_at = now
                partition.committed = slot.offset + 1
                partition.committing -= 1
                if slot.handed_out and partition.ownership is not Ownership.CLOSED:
                    partition.handed_out -= 1
                    self._in_flight -= 1
            self._change.notify_all()

    def wake(self) -> None:
        """Let everybody look around."""
        with self._lock:
            self._work.notify_all()
            self._change.notify_all()

    def _collect(self) -> Batch | None:
        if self._metadata is None:
            return None
        slots: list[Slot] = []
        size = 0
        for partition in self._partitions.values():
            while len(slots) < GROUP_RECORDS and size < GROUP_BYTES:
                taken = partition.tracker.take(_AT_A_TIME)
                if not taken:
                    break
                for slot in taken:
                    if slot.state is SlotState.WAITING:
                        self._room.leave(slot)
                        _leaves(slot)
                        # Its time must not make it rise again from the heap.
                        slot.state = SlotState.DONE
                        slot.finished = _moved(slot)
                    if (
                        slot.finished
                        and slot.finished.destination is not Destination.NOWHERE
                    ):
                        size += len(slot.record.value or b"")
                partition.committing += len(taken)
                slots += taken
        kept = self._to_be_kept()
        if not slots and not kept:
            return None
        self._metadata_used = True
        return Batch(slots, self._metadata, kept)

    def _to_be_kept(self) -> list[Partition]:
        long_ago = time.monotonic() - KEEP_S
        return [
            partition
            for partition in self._partitions.values()
            if partition.kept_at < long_ago and partition.ownership is Ownership.OPEN
        ]

    def _moving(self) -> Callable[[Slot], bool]:
        """Return what tells whether records of a record's key are moving."""
        now = time.monotonic()
        keys: dict[Partition, set[str]] = {}
        held = self._held
        self._held = {}

        def is_moving(slot: Slot) -> bool:
            partition = slot.partition
            if partition not in keys:
                keys[partition] = partition.tracker.moving().union(
                    partition.moving.values()
                )
            if slot.key not in keys[partition]:
                return False
            at = (partition, slot.key)
            since = self._held[at] = held.get(at, now)
            return now - since < _LONGEST_HELD_S

        return is_moving

    def _turn_over(self, partition: Partition, now: float, hurry: bool) -> None:
        last = self._turned_over.get(partition)
        if last is None and not hurry:
            self._turned_over[partition] = now
        elif hurry or last is None or now - last >= _TURN_OVER_S:
            self._turned_over[partition] = now
            waiting = partition.tracker.waiting()
            for slot in waiting[: max(1, len(waiting) // 2)]:
                partition.tracker.move(slot)
            self._work.notify()


def _leaves(slot: Slot) -> None:
    moving = slot.partition.moving
    if len(moving) >= PARTITION_RECORDS:
        # More wait than are kept in memory: their order is not known as a whole.
        moving.clear()
    moving[slot.record.origin] = slot.key


def _moved(slot: Slot) -> Finished:
    missing = ", ".join(slot.wait.missing)
    return Finished(
        outcome=Outcome(
            kind=OutcomeKind.DEFERRED,
            reason=f"still waits for {missing}" if missing else "still waits",
            missing=slot.wait.missing,
        ),
        destination=Destination.BACK_OF_RETRY_TOPIC,
        attempts=slot.record.attempts,
    )
