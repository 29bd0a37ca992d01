"""What a loop says of itself to those who watch it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """A lane, just now.

    Parameters
    ----------
    name
        Of its thread.
    record
        What it is at; ``None``: nothing.
    seconds
        Since when.
    """

    name: str
    record: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopStatus:
    """A loop, just now.

    Parameters
    ----------
    name
        Of the consumer.
    turned
        Seconds since the loop's last turn.
    joined
        Whether the group has given it its partitions, be it none.
    ended
        Why it ended, nothing if it was asked to; ``None`` while it has not.
    lanes
        All of them.
    committing
        Seconds since the transaction under way was begun, tries included; ``None``:
        there is none.
    down
        Why it is paused, by system; empty when it is not.
    partitions, in_flight, waiting
        Owned partitions; records handed out and not committed; records that were put
        off or parked and are in the memory of this instance.
    transactions, transaction_seconds
        Committed, and how long that took in all.
    time
        Seconds of the poll thread by what it did.
    """

    name: str
    turned: float
    joined: bool = False
    ended: str | None = None
    lanes: tuple[LaneStatus, ...] = ()
    committing: float | None = None
    down: Mapping[str, str] = field(default_factory=dict)
    partitions: int = 0
    in_flight: int = 0
    waiting: int = 0
    transactions: int = 0
    transaction_seconds: float = 0.0
    time: Mapping[str, float] = field(default_factory=dict)


class TimeAccount:
    """Where the time of one thread goes: parts that add up to all of it.

    Read by any thread, written by one.

    Parameters
    ----------
    parts
        Their names; the first one is where it begins.
    """

    def __init__(self, *parts: str) -> None:
        self._seconds = dict.fromkeys(parts, 0.0)
        self._part = parts[0]
        self._since = time.perf_counter()

    def switch(self, part: str) -> None:
        """Let the time from now on count for a part."""
        now = time.perf_counter()
        self._seconds[self._part] += now - self._since
        self._part, self._since = part, now

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each part until now."""
        part, since = self._part, self._since
        found = dict(self._seconds)
        found[part] += max(0.0, time.perf_counter() - since)
        return found
