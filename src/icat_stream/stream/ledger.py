"""What was read and is not committed: the state that the threads share."""

import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .in_flight import Finished, Ownership, Partition, PartitionKind, Slot
from .offset_metadata import SPAN, encode
from .offsets import Place, SlotState
from .status import PartitionStatus
from .waiting_room import WaitingRoom

# 100 to 1,000 records a transaction make no difference, and a transaction must be
# over within its timeout.
GROUP_RECORDS = 5_000
GROUP_BYTES = 16 * 2**20
# One partition that does not get on leaves room for others.  Only a still one is
# paused for that: what flows loses what was fetched ahead by a pause.
_SHARES = 2
_STILL_S = 1.0
# Kafka forgets offsets of topics that the group has not subscribed to, days after they
# were committed: what is idle is committed again.
KEEP_S = 600.0
# A broker that keeps less beside an offset than this needs is of no use.
_LEAST_SPAN = 100


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
    places
        What is committed of each partition: of those of the slots, and of others
        lest Kafka forget it.
    """

    slots: list[Slot]
    metadata: Any
    places: Mapping[Partition, Place]


class Sizes(NamedTuple):
    """How much there is in a ledger; as in :class:`~.status.LoopStatus`."""

    partitions: int
    in_flight: int
    in_flight_bytes: int
    waiting: int
    parked: int
    oldest: float
    span: int


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
    size
        Bytes of such records.  What was fetched when it was reached comes on top.
    """

    def __init__(self, bound: int, lanes: int, size: int) -> None:
        # Sixteen a lane: otherwise one slow record starves the others of work.
        self.bound = max(bound, 16 * lanes)
        self._size = size
        self._share = max(16 * lanes, self.bound // _SHARES)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._change = threading.Condition(self._lock)
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._reloading: list[Partition] = []
        self._room = WaitingRoom()
        self._span = SPAN
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._metadata: Any = None
        self._metadata_used = True
        self._asked = 0
        self._is_starved = False

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

    def news(self, messages: Iterable[Any]) -> list[tuple[Any, Partition]]:
        """Return messages that nobody has read or finished, and their partitions.

        Parameters
        ----------
        messages
            Of confluent-kafka, without errors.
        """
        found = []
        with self._lock:
            for message in messages:
                partition = self.find(message.topic(), message.partition())
                if partition is None:
                    continue
                if partition.parked is not None or partition.tracker.is_news(
                    message.offset()
                ):
                    found.append((message, partition))
        return found

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
                # Versions before this one parked in a retry topic: what misses
                # something there is looked at, and then stands where it belongs.
                if slot.wait.not_before > now and not slot.wait.missing:
                    self._room.add(slot)
                else:
                    if not partition.handed_out:
                        partition.moved_at = time.monotonic()
                    self._hand_out(slot)
                    ready.append(slot)
        return ready

    def park(self, slot: Slot) -> None:
        """Enter a row of parked records that was read."""
        parked = slot.partition.parked
        if parked is None:
            raise ValueError(f"{slot.partition} has no parked records")
        with self._lock:
            self._replaced(parked.put(slot))
            size = slot.size
            if not self._room.takes_payload(size + slot.partition.loaded):
                slot.record = slot.record._replace(value=None, headers=())
                slot.is_elsewhere = True
            elif not slot.partition.reached:
                slot.partition.loaded += size
            if slot.partition.reached:
                self._room.add(slot)

    def unpark(self, partition: Partition, row: bytes) -> None:
        """Forget a row of parked records."""
        if partition.parked is not None:
            with self._lock:
                self._replaced(partition.parked.remove(row))

    def let_go(self, partition: Partition) -> None:
        """Let parked records go: all rows there were are read."""
        with self._lock:
            partition.reached, partition.loaded = True, 0
            for slot in partition.parked.rows() if partition.parked else ():
                self._room.add(slot)

    def far_ahead(self, least: int) -> list[tuple[Partition, int]]:
        """Return partitions with where to go on, where much ahead is finished.

        Parameters
        ----------
        least
            Records, for which it is worth it.
        """
        with self._lock:
            news = [(p, p.tracker.next_news()) for p in self._partitions.values()]
        return [(p, n) for p, n in news if n - p.tracker.position >= least]

    def jump(self, partition: Partition, offset: int) -> int:
        """Go on from an offset; return how many records before it are lost."""
        with self._lock:
            return partition.tracker.jump(offset)

    def wants_reload(self) -> list[Partition]:
        """Return partitions that have to be given up and opened again."""
        with self._lock:
            found, self._reloading = self._reloading, []
        return found

    def due(self, now: int) -> list[Slot]:
        """Return waiting records whose time has come, to be handled now."""
        with self._lock:
            slots = self._room.due(
                now, self.bound - self._in_flight, self._size - self._in_flight_bytes
            )
            for slot in slots:
                self._hand_out(slot)
        return slots

    def has_due(self, now: int) -> bool:
        """Whether some waiting record's time has come."""
        with self._lock:
            return self._room.has_due(now)

    def space(self) -> int:
        """Return how many more records may be read."""
        if self._in_flight_bytes >= self._size:
            return 0
        return self.bound - self._in_flight

    def is_half_free(self) -> bool:
        """Whether reading may go on after it was stopped."""
        return (
            self._in_flight <= self.bound // 2
            and self._in_flight_bytes <= self._size // 2
        )

    def wait_for_space(self, seconds: float) -> None:
        """Wait until something was committed."""
        with self._lock:
            if self.space() <= 0:
                self._change.wait(seconds)

    def congested(self, now: float) -> set[Partition]:
        """Return partitions that should not be read on for now.

        Parameters
        ----------
        now
            Monotonic seconds.
        """
        with self._lock:
            several = len(self._partitions) > 1
            return {
                p
                for p in self._partitions.values()
                if (
                    several
                    and self._has_its_share(p, 1)
                    and now - p.moved_at > _STILL_S
                )
                or (p.kind is PartitionKind.RETRY and self._room.is_full(p))
                or p.records.width >= self._span
            }

    def is_congested(self, partition: Partition) -> bool:
        """Whether a partition that was paused should stay so."""
        with self._lock:
            return (
                self._has_its_share(partition, 2)
                or partition.records.width > self._span // 2
                or (
                    partition.kind is PartitionKind.RETRY
                    and not self._room.has_room(partition)
                )
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
                self._in_flight_bytes -= partition.handed_out_bytes
                partition.handed_out = partition.handed_out_bytes = 0
                for slot in partition.records.waiting():
                    self._room.leave(slot)
                if self.find(partition.topic, partition.number) is partition:
                    del self._partitions[partition.topic, partition.number]
            self._work.notify_all()
            self._change.notify_all()

    def is_settled(self, partitions: Iterable[Partition]) -> bool:
        """Whether nothing is in work, and all that can be committed is."""
        with self._lock:
            return all(
                p.ownership is Ownership.CLOSED
                or (
                    not p.working
                    and not p.committing
                    and not p.records.is_takeable(self._span)
                )
                for p in partitions
            )

    def wait_for_change(self, seconds: float) -> None:
        """Wait until something was committed, finished or asked for."""
        with self._lock:
            self._change.wait(seconds)

    def sizes(self) -> Sizes:
        """Return how much there is."""
        now = time.monotonic()
        with self._lock:
            owned = list(self._partitions.values())
            oldest = [slot for p in owned if (slot := p.tracker.unfinished())]
            return Sizes(
                partitions=len(owned),
                in_flight=self._in_flight,
                in_flight_bytes=self._in_flight_bytes,
                waiting=sum(p.waiting for p in owned),
                parked=sum(p.waiting for p in owned if p.parked is not None),
                oldest=max((now - slot.read_at for slot in oldest), default=0.0),
                span=max((p.tracker.width for p in owned), default=0),
            )

    def each_partition(self) -> tuple[PartitionStatus, ...]:
        """Return how much there is of each partition."""
        now = time.monotonic()
        with self._lock:
            found = [
                (p, p.records.place(), p.tracker.unfinished())
                for p in self._partitions.values()
            ]
            return tuple(
                PartitionStatus(
                    topic=p.topic,
                    number=p.number,
                    position=p.tracker.position if p.parked is None else None,
                    unfinished=len(p.records),
                    delayed=p.waiting if p.parked is None else 0,
                    parked=0 if p.parked is None else p.waiting,
                    oldest=0.0 if oldest is None else now - oldest.read_at,
                    span=p.tracker.width,
                    characters=len(encode(p.home, place.finished)),
                )
                for p, place, oldest in found
            )

    def waiting(self) -> list[Slot]:
        """Return all records that only wait."""
        with self._lock:
            return [s for p in self._partitions.values() for s in p.records.waiting()]

    def is_idle(self) -> bool:
        """Whether nothing is in flight."""
        with self._lock:
            return self._in_flight == 0 and not any(
                p.committing for p in self._partitions.values()
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

    def holds_up(self, slot: Slot) -> bool:
        """Whether so much behind a record is finished that it has to give way."""
        with self._lock:
            records = slot.partition.records
            return records.width > self._span // 2 and records.unfinished() is slot

    def finish(self, slot: Slot, finished: Finished) -> None:
        """Enter what became of a record."""
        with self._lock:
            slot.finished = finished
            partition = slot.partition
            partition.working -= 1
            partition.records.finish(slot)
            # While a transaction is under way, nobody waits for this.
            if self._is_starved:
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
                self._room.found(names)

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
                {
                    partition: place
                    for partition, place in batch.places.items()
                    if partition.ownership is not Ownership.CLOSED
                },
            )

    def wait_for_metadata(self, old: Any, seconds: float) -> None:
        """Wait for a snapshot of the group's metadata that is not the old one."""
        end = time.monotonic() + seconds
        with self._lock:
            self._metadata_used = True
            self._change.notify_all()
            while self._metadata is old and time.monotonic() < end:
                self._work.wait(end - time.monotonic())

    def reload(self, partitions: Iterable[Partition]) -> None:
        """Give partitions up, and have them opened again."""
        partitions = [p for p in partitions if p.ownership is Ownership.OPEN]
        self.close(partitions, now=True)
        with self._lock:
            self._reloading += partitions

    def abandon(self) -> None:
        """Give up at once what is being given up: it is lost."""
        # librdkafka forgets that it is lost where a partition is opened meanwhile.
        self.close(
            [p for p in self.partitions() if p.ownership is Ownership.CLOSING],
            now=True,
        )

    def shrink(self, batch: Batch) -> bool:
        """Take a batch back: Kafka does not keep as much beside an offset.

        Returns
        -------
        :
            ``False`` if there is nothing left to be shrunk.
        """
        with self._lock:
            self._span //= 2
            for partition in {slot.partition for slot in batch.slots}:
                slots = [s for s in batch.slots if s.partition is partition]
                partition.committing -= len(slots)
                partition.records.give_back(slots)
            return self._span > _LEAST_SPAN

    def committed(self, slots: Iterable[Slot], kept: Iterable[Partition] = ()) -> None:
        """Forget records whose transaction is through.

        Parameters
        ----------
        slots
            The records.
        kept
            Partitions whose place was committed.
        """
        now = time.monotonic()
        with self._lock:
            for partition in kept:
                partition.kept_at = now
            for slot in slots:
                partition = slot.partition
                partition.moved_at = now
                partition.committing -= 1
                if slot.handed_out and partition.ownership is not Ownership.CLOSED:
                    partition.handed_out -= 1
                    partition.handed_out_bytes -= slot.size
                    self._in_flight -= 1
                    self._in_flight_bytes -= slot.size
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
        # One with large records shall not keep the others from their turn.
        for partition in sorted(self._partitions.values(), key=lambda p: p.moved_at):
            own, found = partition.records.take(
                GROUP_RECORDS - len(slots), self._span, GROUP_BYTES - size
            )
            size += found
            partition.committing += len(own)
            slots += sorted(own, key=lambda slot: slot.offset)
        wanted = dict.fromkeys([*(s.partition for s in slots), *self._to_be_kept()])
        if not wanted:
            return None
        self._metadata_used = True
        places = {partition: partition.records.place() for partition in wanted}
        return Batch(slots, self._metadata, places)

    def _hand_out(self, slot: Slot) -> None:
        slot.handed_out = True
        slot.partition.handed_out += 1
        slot.partition.handed_out_bytes += slot.size
        self._in_flight += 1
        self._in_flight_bytes += slot.size

    def _has_its_share(self, partition: Partition, parts: int) -> bool:
        """Whether a part of a partition's share of the room is taken."""
        return (
            partition.handed_out >= max(1, self._share // parts)
            or partition.handed_out_bytes * _SHARES * parts >= self._size
        )

    def _to_be_kept(self) -> list[Partition]:
        long_ago = time.monotonic() - KEEP_S
        return [
            partition
            for partition in self._partitions.values()
            if partition.kept_at < long_ago and partition.ownership is Ownership.OPEN
        ]

    def _replaced(self, slot: Slot | None) -> None:
        if slot is not None and slot.state is SlotState.WAITING:
            self._room.leave(slot)
