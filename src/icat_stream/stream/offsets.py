"""Which records of a partition may be committed: the contiguous prefix."""

from collections import deque
from enum import Enum
from typing import Generic, Protocol, TypeVar


class SlotState(Enum):
    """Where a record stands."""

    WAITING = "waiting"
    READY = "ready"
    WORKING = "working"
    DONE = "done"


class Tracked(Protocol):
    """What the tracker needs to know of a record."""

    state: SlotState
    must_move: bool

    @property
    def offset(self) -> int: ...  # noqa: D102

    @property
    def key(self) -> str: ...  # noqa: D102


T = TypeVar("T", bound=Tracked)


class OffsetTracker(Generic[T]):
    """The records of one partition that were read and are not committed.

    Offsets rise, with gaps: transaction markers and compaction leave some.

    A record that only waits does not hold back finished ones behind it: it is taken
    out together with them, to be sent to the tail of its topic.  Those of its key
    that wait behind it must then move as well, so that they keep their order.
    """

    def __init__(self) -> None:
        self._slots: deque[T] = deque()
        # Finished ones, and waiting ones that must move.
        self._movable = 0

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, slot: T) -> None:
        """Append a record that was just read."""
        if self._slots and slot.offset <= self._slots[-1].offset:
            raise ValueError(
                f"offset {slot.offset} was read after {self._slots[-1].offset}"
            )
        self._slots.append(slot)

    def finish(self, slot: T) -> None:
        """Mark a record as finished."""
        slot.state = SlotState.DONE
        self._movable += 1

    def move(self, slot: T) -> None:
        """Mark a waiting record as one that must go to the tail."""
        if not slot.must_move:
            slot.must_move = True
            self._movable += 1

    def moving(self) -> set[str]:
        """Return the keys of waiting records that must go to the tail."""
        return {slot.key for slot in self._slots if slot.must_move}

    def is_takeable(self) -> bool:
        """Whether :meth:`take` would return anything."""
        if self._movable:
            for slot in self._slots:
                if slot.state is SlotState.DONE or slot.must_move:
                    return True
                if slot.state is not SlotState.WAITING:
                    return False
        return False

    def waiting(self) -> list[T]:
        """Return the records that wait, by offset."""
        return [slot for slot in self._slots if slot.state is SlotState.WAITING]

    def take(self, limit: int) -> list[T]:
        """Remove and return the longest prefix that can be committed.

        Parameters
        ----------
        limit
            About how many at most.

        Returns
        -------
        :
            Finished records, and among them waiting ones that have to be sent to the
            tail.
        """
        if not self._movable:
            return []
        length = 0
        moving: set[str] = set()
        between: list[str] = []
        for index, slot in enumerate(self._slots, 1):
            if slot.state is SlotState.WAITING:
                between.append(slot.key)
                if not slot.must_move:
                    continue
            elif slot.state is not SlotState.DONE:
                break
            length = index
            moving.update(between)
            between.clear()
            if length >= limit:
                break
        taken = [self._slots.popleft() for _ in range(length)]
        self._movable -= sum(s.state is SlotState.DONE or s.must_move for s in taken)
        if moving:
            for slot in self._slots:
                if slot.state is SlotState.WAITING and slot.key in moving:
                    self.move(slot)
        return taken
