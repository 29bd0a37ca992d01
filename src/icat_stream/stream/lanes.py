"""The lanes: a pool of threads that take the next key that is ready."""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count

from .in_flight import Slot
from .status import LaneStatus, place_of

# Longer than that, people ask what it does.
_LONG_S = 5.0

Work = Callable[[Slot], float | None]
"""Handle a record.  ``None``: done with it; otherwise it comes again after so many
seconds, and its key waits for it."""


class Lanes:
    """Threads that handle records, those of one key one after the other.

    Keys are not bound to threads: a free lane takes the next key that is ready, and a
    key that waits on a timer occupies none.

    Parameters
    ----------
    name
        For the threads' names.
    size
        How many.
    work
        Handles a record.
    leave
        Called in each thread at its end.
    crashed
        Told of an exception in ``work`` or ``leave``: the core itself is broken.
    """

    def __init__(
        self,
        name: str,
        size: int,
        *,
        work: Work,
        leave: Callable[[], None],
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._work = work
        self._leave = leave
        self._crashed = crashed
        self._lock = threading.Lock()
        self._ready_or_closed = threading.Condition(self._lock)
        self._queues: dict[str, deque[Slot]] = {}
        self._ready: deque[str] = deque()
        self._timers: list[tuple[float, int, str]] = []
        self._sequence = count()
        self._blocked = False
        self._closed = False
        self._idle = 0
        self._at: list[tuple[Slot, float] | None] = [None] * size
        # As daemons they cannot keep a process alive whose stop has a deadline.
        self._threads = [
            threading.Thread(
                target=self._run, args=(n,), name=f"{name}-lane-{n}", daemon=True
            )
            for n in range(size)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def submit(self, slots: Iterable[Slot]) -> None:
        """Append records to the queues of their keys."""
        with self._lock:
            before = len(self._ready)
            for slot in slots:
                queue = self._queues.get(slot.key)
                if queue is None:
                    self._queues[slot.key] = deque((slot,))
                    self._ready.append(slot.key)
                else:
                    queue.append(slot)
            self._wake(len(self._ready) - before)

    def tick(self) -> None:
        """Let keys go on whose timer has run out."""
        if not self._timers or self._timers[0][0] > time.monotonic():
            return
        with self._lock:
            now = time.monotonic()
            moved = 0
            while self._timers and self._timers[0][0] <= now:
                self._ready.append(heapq.heappop(self._timers)[2])
                moved += 1
            self._wake(moved)

    def block(self) -> None:
        """Begin nothing more for now."""
        with self._lock:
            self._blocked = True

    def unblock(self) -> None:
        """Go on."""
        with self._lock:
            self._blocked = False
            self._ready_or_closed.notify_all()

    def close(self) -> None:
        """Let each thread end after the record it is at."""
        with self._lock:
            self._closed = True
            self._ready_or_closed.notify_all()

    def join(self, deadline: float) -> list[str]:
        """Wait for the threads; return the names of those that still run.

        Parameters
        ----------
        deadline
            Monotonic seconds.
        """
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def status(self) -> tuple[LaneStatus, ...]:
        """Return what each lane is at, and for how long."""
        now = time.monotonic()
        found = []
        for thread, at in zip(self._threads, list(self._at), strict=True):
            if at is None:
                found.append(LaneStatus(name=thread.name))
            else:
                seconds = now - at[1]
                found.append(
                    LaneStatus(
                        name=thread.name,
                        record=str(at[0].record.origin),
                        seconds=seconds,
                        place=place_of(thread.ident) if seconds > _LONG_S else "",
                    )
                )
        return tuple(found)

    def _run(self, number: int) -> None:
        try:
            self._handle_all(number)
        except BaseException as error:
            self._crashed(error)
        try:
            self._leave()
        except BaseException as error:
            self._crashed(error)

    def _handle_all(self, number: int) -> None:
        slot: Slot | None = None
        again: float | None = None
        while True:
            with self._lock:
                if slot is not None:
                    self._put_back(slot, again)
                self._idle += 1
                while not self._closed and (self._blocked or not self._ready):
                    self._ready_or_closed.wait()
                self._idle -= 1
                if self._closed:
                    return
                slot = self._queues[self._ready.popleft()].popleft()
            self._at[number] = (slot, time.monotonic())
            again = self._work(slot)
            self._at[number] = None

    def _put_back(self, slot: Slot, again: float | None) -> None:
        queue = self._queues[slot.key]
        if again is not None:
            queue.appendleft(slot)
        if again:
            due = time.monotonic() + again
            heapq.heappush(self._timers, (due, next(self._sequence), slot.key))
        elif queue:
            self._ready.append(slot.key)
        else:
            del self._queues[slot.key]

    def _wake(self, ready: int) -> None:
        if ready and not self._blocked:
            self._ready_or_closed.notify(min(ready, self._idle))
