"""What a slow system said a moment ago, for all who ask meanwhile."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from icat_stream.records import Failure

_T = TypeVar("_T")
_FRESH_S = 10.0
# A system that is down takes its time to say so, and nobody else shall wait for that.
_DOWN_S = 30.0


class RecentAnswer(Generic[_T]):
    """Asks at most every few seconds; safe for threads.

    Parameters
    ----------
    ask
        Asks the system.
    """

    def __init__(self, ask: Callable[[], _T]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._at = 0.0
        self._answer: _T | None = None
        self._failure: Failure | None = None

    def get(self, *, fresh: bool = False) -> _T:
        """Return the answer, or raise the failure, as of a moment ago.

        Parameters
        ----------
        fresh
            As of now.

        Raises
        ------
        Failure
            The system does not answer.
        """
        with self._lock:
            age = time.monotonic() - self._at
            if self._failure is not None and age < _DOWN_S and not fresh:
                raise self._failure
            if self._answer is None or self._failure or fresh or age > _FRESH_S:
                try:
                    self._answer, self._failure = self._ask(), None
                except Failure as failure:
                    self._failure = failure
                    raise
                finally:
                    self._at = time.monotonic()
            return self._answer
