"""How much consumers have still to read, asked of Kafka now and then."""

import threading
import time
from collections.abc import Sequence

from icat_stream.config import Settings
from icat_stream.stream import ConsumerLag

_FRESH_S = 10.0


class UnreadRecords:
    """Asks at most every few seconds; safe for threads.

    Parameters
    ----------
    settings
        All of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._kafka: ConsumerLag | None = None
        self._last: tuple[float, dict[str, int]] | None = None

    def read(self, names: Sequence[str]) -> dict[str, int]:
        """Return how many records each consumer has not finished.

        Parameters
        ----------
        names
            Of the consumers: always the same ones.

        Raises
        ------
        SystemUnavailable
            Kafka does not answer.
        """
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > _FRESH_S:
                if self._kafka is None:
                    self._kafka = ConsumerLag(self._settings, names)
                found = dict.fromkeys(names, 0)
                for (name, _), lag in self._kafka.measure().lag.items():
                    found[name] += lag
                self._last = time.monotonic(), found
            return self._last[1]

    def close(self) -> None:
        """Close its clients."""
        with self._lock:
            if self._kafka is not None:
                self._kafka.close()
                self._kafka = None
