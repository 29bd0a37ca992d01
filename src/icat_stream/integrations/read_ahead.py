"""Records that wait for a lane are taken along by one that has a lane."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import zip_longest
from typing import Generic, TypeVar

from icat_stream.records import Coordinates, Failure, Outcome, SystemUnavailable

SubjectT = TypeVar("SubjectT")
Result = Outcome | Failure

# More than are ever read ahead; what is forgotten is handled in its turn.
_AHEAD = 100_000


class ReadAhead(Generic[SubjectT]):
    """Has many records handled at once; each keeps an outcome of its own.

    Parameters
    ----------
    most
        How many at once.
    bring
        Handles some, and returns what became of each.
    """

    def __init__(
        self, most: int, bring: Callable[[Sequence[SubjectT]], Sequence[Result]]
    ) -> None:
        self._most = most
        self._bring = bring
        self._lock = threading.Lock()
        self._ahead: OrderedDict[Coordinates, SubjectT] = OrderedDict()
        self._taken: OrderedDict[Coordinates, Future[Outcome | None]] = OrderedDict()

    def note(self, origin: Coordinates, subject: SubjectT) -> None:
        """Take note of what a record is about, before it has a lane."""
        if self._most > 1:
            with self._lock:
                self._ahead[origin] = subject
                if len(self._ahead) > _AHEAD:
                    self._ahead.popitem(last=False)

    def handle(self, origin: Coordinates, mine: SubjectT) -> Outcome:
        """Return what became of a record; others that wait are taken along.

        Raises
        ------
        Failure
            Of this record, tried by itself.
        """
        with self._lock:
            self._ahead.pop(origin, None)
            earlier = self._taken.pop(origin, None)
        if earlier is not None and (outcome := earlier.result()) is not None:
            return outcome
        # What failed beside others is tried by itself.
        along = [] if earlier is not None else self._take_along()
        result: Result | None = None
        results: Sequence[Result] = ()
        try:
            result, *results = self._bring([mine, *(each for each, _ in along)])
        except SystemUnavailable:
            raise
        except Exception:
            if not along:
                raise
        finally:
            for (_, future), found in zip_longest(along, results):
                future.set_result(found if isinstance(found, Outcome) else None)
        if result is None:
            (result,) = self._bring([mine])
        if isinstance(result, Failure):
            raise result
        return result

    def _take_along(self) -> list[tuple[SubjectT, Future[Outcome | None]]]:
        """Return those that wait, oldest first; they find their outcomes later."""
        along: list[tuple[SubjectT, Future[Outcome | None]]] = []
        with self._lock:
            while self._ahead and len(along) < self._most - 1:
                origin, subject = self._ahead.popitem(last=False)
                future: Future[Outcome | None] = Future()
                self._taken[origin] = future
                if len(self._taken) > _AHEAD:
                    self._taken.popitem(last=False)
                along.append((subject, future))
        return along
