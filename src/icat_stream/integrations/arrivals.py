"""Which events had come before somebody looked at what they tell of."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count, islice

from icat_stream.records import Coordinates

# More than are ever read ahead; what is forgotten is looked up once more.
_EVENTS = 100_000
_KEYS = 100_000


@dataclass(frozen=True, slots=True)
class _Arrival:
    number: int
    key: str
    dataset_id: int | None


@dataclass(frozen=True, slots=True)
class _Look:
    since: int
    at: float


class Arrivals:
    """Remembers in which order events came, and when the state of a key was read.

    An event is written after what it tells of, so a look after its arrival saw it.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._lock = threading.Lock()
        self._arrivals: OrderedDict[Coordinates, _Arrival] = OrderedDict()
        self._waiting: dict[str, dict[Coordinates, int | None]] = {}
        self._looks: OrderedDict[str, _Look] = OrderedDict()

    def arrived(
        self, event: Coordinates, key: str, dataset_id: int | None = None
    ) -> None:
        """Say that an event came, for the first time or again."""
        with self._lock:
            self._forget(event)
            self._arrivals[event] = _Arrival(next(self._numbers), key, dataset_id)
            self._waiting.setdefault(key, {})[event] = dataset_id
            if len(self._arrivals) > _EVENTS:
                self._forget(next(iter(self._arrivals)))

    def now(self) -> int:
        """Return a number between those of what came and of what is to come."""
        with self._lock:
            return next(self._numbers)

    def waiting(self, key: str, most: int) -> list[int]:
        """Return datasets that events are about which wait, those of one key."""
        with self._lock:
            there = self._waiting.get(key, {}).values()
            return list(islice((each for each in there if each is not None), most))

    def looked(self, keys: Iterable[str], since: int) -> None:
        """Say that what all events of some keys tell of was read, since a moment."""
        look = _Look(since, time.monotonic())
        with self._lock:
            for key in keys:
                self._looks[key] = look
                self._looks.move_to_end(key)
            while len(self._looks) > _KEYS:
                self._looks.popitem(last=False)

    def taken(self, event: Coordinates, apart: float) -> tuple[bool, float]:
        """Say that an event is handled.

        Parameters
        ----------
        event
            Where it is.
        apart
            Seconds between two looks at a key.

        Returns
        -------
        covered
            Whether its key was looked at since it came.
        wait
            Seconds until it is to be looked at, the first time that this is asked.
        """
        with self._lock:
            arrival = self._forget(event)
            look = self._looks.get(arrival.key) if arrival is not None else None
            if arrival is None or look is None:
                return False, 0.0
            if arrival.number < look.since:
                return True, 0.0
            return False, max(0.0, look.at + apart - time.monotonic())

    def _forget(self, event: Coordinates) -> _Arrival | None:
        arrival = self._arrivals.pop(event, None)
        if arrival is not None:
            others = self._waiting[arrival.key]
            others.pop(event, None)
            if not others:
                del self._waiting[arrival.key]
        return arrival
