"""Records that are put off or parked: when they are due, and what they wait for."""

import heapq
from collections.abc import Collection, Iterable
from itertools import count, islice

from .in_flight import Partition, PartitionKind, Slot
from .offsets import SlotState

# Kept in memory a retry partition.  All of a topic wait equally long, so what is behind
# them is due after them.
PARTITION_RECORDS = 5_000
# And of a loop: a few large messages count as many small ones.
LOOP_BYTES = 64 * 2**20
# Of those that are parked; the payloads of others stay in Kafka until they are needed.
PARKED_BYTES = 32 * 2**20


class WaitingRoom:
    """Records that only wait; the caller holds the lock.

    They occupy no lane and do not count as handed out.
    """

    def __init__(self) -> None:
        self._due: list[tuple[int, int, Slot]] = []
        self._names: dict[str, dict[Slot, None]] = {}
        self._sequence = count()
        self._records = 0
        self._bytes = {PartitionKind.RETRY: 0, PartitionKind.PARKED: 0}

    def add(self, slot: Slot) -> None:
        """Let a record wait for its time, or for all of what it misses."""
        slot.state = SlotState.WAITING
        slot.partition.waiting += 1
        self._records += 1
        self._bytes[slot.partition.kind] += slot.size_in_memory
        heapq.heappush(self._due, (slot.wait.not_before, next(self._sequence), slot))
        slot.waits_for = frozenset(slot.wait.missing)
        for name in slot.waits_for:
            self._names.setdefault(name, {})[slot] = None

    def leave(self, slot: Slot) -> None:
        """Forget a record that was waiting."""
        slot.state = SlotState.READY
        slot.partition.waiting -= 1
        self._records -= 1
        self._bytes[slot.partition.kind] -= slot.size_in_memory
        for name in slot.waits_for:
            others = self._names[name]
            others.pop(slot, None)
            if not others:
                del self._names[name]
        slot.waits_for = frozenset()
        # The heap keeps it, and its payload, until its time.
        if len(self._due) > 64 and len(self._due) > 4 * self._records:
            self._due = [each for each in self._due if _waits(each[2])]
            heapq.heapify(self._due)

    def is_full(self, partition: Partition) -> bool:
        """Whether no more of a retry partition should be read."""
        waiting = self._bytes[PartitionKind.RETRY]
        return partition.waiting >= PARTITION_RECORDS or waiting >= LOOP_BYTES

    def has_room(self, partition: Partition) -> bool:
        """Whether reading may go on after it was full."""
        waiting = self._bytes[PartitionKind.RETRY]
        return (
            partition.waiting <= PARTITION_RECORDS // 2 and waiting <= LOOP_BYTES // 2
        )

    def takes_payload(self, size: int) -> bool:
        """Whether a parked record's payload may be kept."""
        return self._bytes[PartitionKind.PARKED] + size <= PARKED_BYTES

    def due(self, now: int, limit: int, size: int) -> list[Slot]:
        """Return records whose time has come, in the order of their origins.

        Parameters
        ----------
        now
            Milliseconds since the epoch.
        limit
            At most so many.
        size
            No more once they have so many bytes.
        """
        found: list[Slot] = []
        while self._due and self._due[0][0] <= now and len(found) < limit and size > 0:
            slot = heapq.heappop(self._due)[2]
            # What was found and is due has two entries, and is released once.
            if slot.state is SlotState.WAITING:
                self.leave(slot)
                found.append(slot)
                size -= slot.size
        return _in_order(found)

    def has_due(self, now: int) -> bool:
        """Whether some record's time has come."""
        return any(due <= now and _waits(slot) for due, _, slot in self._due)

    def names(self, start: int, limit: int) -> list[str]:
        """Return what is missing, the next so many in turn.

        Parameters
        ----------
        start
            How many were asked for before.
        limit
            At most so many.
        """
        if len(self._names) <= limit:
            return list(self._names)
        start %= len(self._names)
        names = list(islice(self._names, start, start + limit))
        return names + list(islice(self._names, limit - len(names)))

    def found(self, names: Collection[str]) -> None:
        """Note that something is there by now: what misses nothing else is due."""
        complete: list[Slot] = []
        for name in names:
            for slot in self._names.pop(name, {}):
                slot.waits_for -= {name}
                if not slot.waits_for:
                    complete.append(slot)
        for slot in _in_order(complete):
            heapq.heappush(self._due, (0, next(self._sequence), slot))


def _waits(slot: Slot) -> bool:
    return slot.state is SlotState.WAITING


def _in_order(slots: Iterable[Slot]) -> list[Slot]:
    # Rows stand in the order in which they were parked.
    return sorted(slots, key=lambda slot: slot.record.origin)
