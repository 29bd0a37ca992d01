"""How many records had which outcome."""

import threading
from collections import Counter
from collections.abc import Mapping

from icat_stream.records import Coordinates, OutcomeKind

# A daemon that defers for years shall not remember all of it; an --until-end that
# defers more than this counts some records twice.
_REMEMBERED = 100_000


class Counts:
    """Counts each original record once, by its last outcome."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[OutcomeKind] = Counter()
        self._deferred: set[Coordinates] = set()

    def add(self, origin: Coordinates, kind: OutcomeKind) -> None:
        """Count an outcome of a record.

        Parameters
        ----------
        origin
            Where it was first published.
        kind
            Its outcome.
        """
        with self._lock:
            if self._deferred and origin in self._deferred:
                self._counts[OutcomeKind.DEFERRED] -= 1
                self._deferred.discard(origin)
            self._counts[kind] += 1
            if kind is OutcomeKind.DEFERRED and len(self._deferred) < _REMEMBERED:
                self._deferred.add(origin)

    def left(self, origin: Coordinates) -> bool:
        """Count a record that waits on; return whether it was unknown until now."""
        with self._lock:
            if origin in self._deferred:
                return False
        self.add(origin, OutcomeKind.DEFERRED)
        return True

    def result(self) -> Mapping[OutcomeKind, int]:
        """Return the counts of all five kinds."""
        with self._lock:
            return {kind: self._counts[kind] for kind in OutcomeKind}
