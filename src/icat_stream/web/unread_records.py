"""How much consumers have still to read, asked of Kafka now and then."""

from icat_stream.config import Settings
from icat_stream.stream import ConsumerLag

from .recent_answer import RecentAnswer


class UnreadRecords:
    """Of all consumers that are enabled; safe for threads.

    Parameters
    ----------
    settings
        All of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._names = [n for n, c in settings.consumers.items() if c.enabled]
        self._kafka = ConsumerLag(settings, self._names)
        self._recent = RecentAnswer(self._measure)

    def read(self) -> dict[str, int]:
        """Return how many records each consumer has not finished.

        Raises
        ------
        SystemUnavailable
            Kafka does not answer.
        """
        return self._recent.get()

    def close(self) -> None:
        """Close its clients."""
        self._kafka.close()

    def _measure(self) -> dict[str, int]:
        found = dict.fromkeys(self._names, 0)
        for (name, _), lag in self._kafka.measure().lag.items():
            found[name] += lag
        return found
