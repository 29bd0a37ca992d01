"""Which events had come before somebody looked at what they tell of."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from itertools import count

from icat_stream.records import Coordinates

# More than are ever read ahead; what is forgotten is looked up once more.
_EVENTS = 100_000
_KEYS = 100_000


class Arrivals:
    """Remembers in which order events came, and when the state of a key was read.

    An event is written after what it tells of, so a look after its arrival saw it.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._lock = threading.Lock()
        self._arrivals: OrderedDict[Coordinates, tuple[int, str]] = OrderedDict()
        self._looks: OrderedDict[str, int] = OrderedDict()

    def arrived(self, event: Coordinates, key: str) -> None:
        """Say that an event came, for the first time or again."""
        with self._lock:
            self._arrivals[event] = (next(self._numbers), key)
            self._arrivals.move_to_end(event)
            if len(self._arrivals) > _EVENTS:
                self._arrivals.popitem(last=False)

    def now(self) -> int:
        """Return a number between those of what came and of what is to come."""
        with self._lock:
            return next(self._numbers)

    def looked(self, keys: Iterable[str], since: int) -> None:
        """Say that what all events of some keys tell of was read, since a moment."""
        with self._lock:
            for key in keys:
                self._looks[key] = since
                self._looks.move_to_end(key)
            while len(self._looks) > _KEYS:
                self._looks.popitem(last=False)

    def covers(self, event: Coordinates) -> bool:
        """Return whether its key was looked at since an event came."""
        with self._lock:
            number, key = self._arrivals.pop(event, (-1, ""))
            return number >= 0 and number < self._looks.get(key, -1)
