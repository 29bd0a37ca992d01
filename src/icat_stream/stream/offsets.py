"""Which records of a partition are finished, wherever they stand."""

import math
from collections import deque
from enum import Enum
from typing import Generic, NamedTuple, Protocol, TypeVar

from .offset_metadata import SPAN


class SlotState(Enum):
    """Where a record stands."""

    WAITING = "waiting"
    READY = "ready"
    WORKING = "working"
    DONE = "done"


class Tracked(Protocol):
    """What a tracker needs to know of a record."""

    state: SlotState

    @property
    def offset(self) -> int: ...  # noqa: D102

    @property
    def row(self) -> bytes: ...  # noqa: D102

    @property
    def output_size(self) -> int: ...  # noqa: D102


T = TypeVar("T", bound=Tracked)


class Place(NamedTuple):
    """What is committed for a partition.

    Parameters
    ----------
    offset
        Of the oldest record that is not finished, or else the next one.
    finished
        Bit *n*: the record *n* offsets further is finished.
    """

    offset: int
    finished: int = 0

    def has(self, offset: int) -> bool:
        """Whether the record at an offset is finished."""
        beyond = offset - self.offset
        return beyond < 0 or bool(self.finished >> beyond & 1)


class OffsetTracker(Generic[T]):
    """The records of one partition that were read and are not finished.

    Each offset below :attr:`position` is finished, or one of theirs: what is never
    delivered, such as markers of transactions and what was compacted away, is finished.

    Parameters
    ----------
    place
        What was committed; what is finished beyond is not handled again.
    """

    def __init__(self, place: Place) -> None:
        self.position = place.offset
        self._place = place
        self._slots: dict[int, T] = {}
        # Their offsets, rising, and some that are finished meanwhile.
        self._offsets: deque[int] = deque()
        self._done: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, slot: T) -> None:
        """Append a record that was just read."""
        offset = slot.offset
        if offset < self.position:
            raise ValueError(f"offset {offset} was read after {self.position - 1}")
        if self._slots:
            self._mark(self.position, offset)
        self._slots[offset] = slot
        self._offsets.append(offset)
        self.position = offset + 1

    def is_news(self, offset: int) -> bool:
        """Whether a record was neither read nor finished before."""
        return offset >= self.position and not self._place.has(offset)

    def next_news(self) -> int:
        """Return the first offset from the position on that is not finished."""
        offset, finished = self._place
        beyond = max(0, self.position - offset)
        finished >>= beyond
        # As many as there are ones at its low end.
        return offset + beyond + (~finished & (finished + 1)).bit_length() - 1

    def jump(self, offset: int) -> int:
        """Go on from an offset, as all before it is gone; return how many are lost."""
        lost = offset - self.position
        if lost <= 0:
            return 0
        ahead = self._place.finished >> max(0, self.position - self._place.offset)
        # Not by a mask: what is lost may be any number.
        lost -= ahead.bit_count() - (ahead >> lost).bit_count()
        if self._slots:
            self._mark(self.position, offset)
        self.position = offset
        return lost

    def finish(self, slot: T) -> None:
        """Mark a record as finished."""
        slot.state = SlotState.DONE
        self._done.append(slot)

    def waiting(self) -> list[T]:
        """Return the records that wait, by offset."""
        return [s for s in self._slots.values() if s.state is SlotState.WAITING]

    def unfinished(self) -> T | None:
        """Return the oldest record that is not committed."""
        offset = self._oldest()
        return None if offset is None else self._slots[offset]

    @property
    def width(self) -> int:
        """How far what was read reaches beyond the oldest unfinished."""
        oldest = self._oldest()
        return 0 if oldest is None else self.position - oldest

    def is_takeable(self, span: int = SPAN) -> bool:
        """Whether :meth:`take` would return anything."""
        if not self._done:
            return False
        end = (self._oldest() or 0) + span
        return any(slot.offset < end for slot in self._done)

    def take(
        self, limit: int, span: int = SPAN, size: float = math.inf
    ) -> tuple[list[T], int]:
        """Remove and return finished records; :meth:`place` then has them.

        Parameters
        ----------
        limit
            How many at most.
        span
            Only those less than that many offsets from the oldest unfinished one.
        size
            No more once their outputs have so many bytes.

        Returns
        -------
        :
            The records, and the bytes of their outputs.
        """
        taken: list[T] = []
        left: list[T] = []
        end = self.place().offset + span
        found = 0
        while self._done and len(taken) < limit and found < size:
            slot = self._done.popleft()
            if slot.offset < end:
                taken.append(slot)
                found += slot.output_size
            else:
                left.append(slot)
        self._done.extendleft(reversed(left))
        for slot in taken:
            del self._slots[slot.offset]
        if taken:
            self._advance(taken)
        return taken, found

    def give_back(self, slots: list[T]) -> None:
        """Take back records that could not be committed."""
        offset, finished = self._place
        first = min(offset, *(slot.offset for slot in slots))
        finished = finished << offset - first | (1 << offset - first) - 1
        for slot in slots:
            finished &= ~(1 << slot.offset - first)
            self._slots[slot.offset] = slot
        self._slots = dict(sorted(self._slots.items()))
        self._offsets = deque(self._slots)
        self._done.extendleft(reversed(slots))
        self._place = Place(first, finished)

    def place(self) -> Place:
        """Return what can be committed: all that was taken, and what was before."""
        base = self._oldest()
        if base is None:
            base = self.next_news()
        offset, finished = self._place
        if base > offset:
            self._place = Place(base, finished >> base - offset)
        return self._place

    def _advance(self, taken: list[T]) -> None:
        offset, finished = self._place
        last = max(slot.offset for slot in taken) - offset
        bits = bytearray(last // 8 + 1)
        for slot in taken:
            beyond = slot.offset - offset
            bits[beyond >> 3] |= 1 << (beyond & 7)
        self._place = Place(offset, finished | int.from_bytes(bits, "little"))
        self.place()

    def _mark(self, begin: int, end: int) -> None:
        offset, finished = self._place
        begin = max(begin, offset)
        # Nothing is taken that far beyond, however long a gap is.
        end = min(end, offset + SPAN)
        if begin < end:
            more = (1 << end - begin) - 1 << begin - offset
            self._place = Place(offset, finished | more)

    def _oldest(self) -> int | None:
        offsets = self._offsets
        while offsets and offsets[0] not in self._slots:
            offsets.popleft()
        return offsets[0] if offsets else None


class ParkedRows(Generic[T]):
    """The rows of one partition of a table of parked records, the last of each key.

    It is read from its beginning by everyone who is given it, so that there is nothing
    to be committed but that it was ours.
    """

    width = 0
    position = 0

    def __init__(self) -> None:
        self._rows: dict[bytes, T] = {}
        self._done: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, slot: T) -> T | None:
        """Enter a row; return the one that it replaces."""
        replaced = self.remove(slot.row)
        self._rows[slot.row] = slot
        return replaced

    def remove(self, row: bytes) -> T | None:
        """Forget a row; return it."""
        return self._rows.pop(row, None)

    def rows(self) -> list[T]:
        """Return all rows, as they were read."""
        return list(self._rows.values())

    def finish(self, slot: T) -> None:
        """Mark a record as finished."""
        slot.state = SlotState.DONE
        self._done.append(slot)

    def waiting(self) -> list[T]:
        """Return the records that wait."""
        return [s for s in self._rows.values() if s.state is SlotState.WAITING]

    def unfinished(self) -> T | None:
        """Return nothing: what is parked may wait."""
        return None

    def is_takeable(self, span: int = SPAN) -> bool:
        """Whether :meth:`take` would return anything."""
        return bool(self._done)

    def take(
        self, limit: int, span: int = SPAN, size: float = math.inf
    ) -> tuple[list[T], int]:
        """Remove and return finished records; as of an :class:`OffsetTracker`."""
        taken: list[T] = []
        found = 0
        while self._done and len(taken) < limit and found < size:
            slot = self._done.popleft()
            taken.append(slot)
            found += slot.output_size
            # Its next row may have been read already.
            if self._rows.get(slot.row) is slot:
                del self._rows[slot.row]
        return taken, found

    def give_back(self, slots: list[T]) -> None:
        """Take back records that could not be committed."""
        self._done.extendleft(reversed(slots))

    def place(self) -> Place:
        """Return what is committed."""
        return Place(0)
