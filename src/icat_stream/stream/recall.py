"""Records that need not be handled are told apart before they come to the lanes."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from icat_stream.records import Outcome

from .consumer import Recalling
from .in_flight import Slot
from .ledger import Ledger

_log = logging.getLogger(__name__)

_MOST = 1_000


class Recall:
    """A thread between the reading of records and the lanes.

    Parameters
    ----------
    name
        Of the consumer.
    consumer
        Tells which records need not be handled.
    ledger
        Where records are started and given back.
    settled
        Told of a record that was started, and its outcome.
    submit
        Takes those that have to be handled, in the order in which they were read.
    crashed
        Told of what ends the thread.
    """

    def __init__(
        self,
        name: str,
        consumer: Recalling,
        ledger: Ledger,
        *,
        settled: Callable[[Slot, Outcome], None],
        submit: Callable[[Iterable[Slot]], None],
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._consumer = consumer
        self._ledger = ledger
        self._settled = settled
        self._submit = submit
        self._crashed = crashed
        self._change = threading.Condition()
        self._queue: deque[Slot] = deque()
        self._closed = False
        self._thread = threading.Thread(
            target=self._run, name=f"{name}-recall", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, slots: Iterable[Slot]) -> None:
        """Take records; each comes to the lanes, or is settled."""
        with self._change:
            self._queue.extend(slots)
            self._change.notify_all()

    def close(self) -> None:
        """Begin nothing more."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def join(self, deadline: float) -> None:
        """Wait for the thread.

        Parameters
        ----------
        deadline
            Monotonic seconds.
        """
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        try:
            while slots := self._next():
                self._look(slots)
        except BaseException as error:
            self._crashed(error)

    def _next(self) -> list[Slot]:
        with self._change:
            while not self._queue and not self._closed:
                self._change.wait()
            if self._closed:
                return []
            most = min(_MOST, len(self._queue))
            return [self._queue.popleft() for _ in range(most)]

    def _look(self, slots: list[Slot]) -> None:
        started = [slot for slot in slots if self._ledger.start(slot)]
        try:
            outcomes = self._consumer.recall([slot.record for slot in started])
        except Exception as error:
            # Whatever it is, it meets each record in its lane, where it is decided.
            _log.info("not known whether records change anything: %s", error)
            outcomes = [None] * len(started)
        left = []
        for slot, outcome in zip(started, outcomes, strict=True):
            if outcome is None:
                self._ledger.put_back(slot)
                left.append(slot)
            else:
                self._settled(slot, outcome)
        self._submit(left)
