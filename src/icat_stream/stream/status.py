"""What a loop says of itself to those who watch it."""

import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

# A handler's own frame is seldom the innermost one.
_FRAMES = 4


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
    place
        Where in the program, if it takes long.
    """

    name: str
    record: str | None = None
    seconds: float = 0.0
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStatus:
    """A partition that a loop has, just now.

    Parameters
    ----------
    topic, number
        Which.
    position
        Offset up to which it was read; ``None`` for a table of parked records.
    unfinished
        Records read and not committed, those that only wait included.
    delayed, parked
        Of those: they wait for their time, or for something that they miss.
    oldest
        Seconds since the oldest of them was read.
    span
        How far what was read reaches beyond it.
    characters
        Of the map that stands beside the committed offset.
    """

    topic: str
    number: int
    position: int | None
    unfinished: int
    delayed: int
    parked: int
    oldest: float
    span: int
    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopStatus:
    """A loop, just now.

    Parameters
    ----------
    name
        Of the consumer.
    turned
        Seconds since the loop's last turn.
    turning
        What holds the turn, if it takes long.
    joined
        Whether the group has given it its partitions, be it none.
    missing
        Why it waits for topics and has not joined; ``None``: it does not.
    ended
        Why it ended, nothing if it was asked to; ``None`` while it has not.
    lanes
        All of them.
    committing
        Seconds since the committer began what it is at, tries included; ``None``:
        it has nothing to do.
    silent
        Seconds of that without a step or a try.
    committer
        What it does.
    down
        Why it is paused, by system; empty when it is not.
    each_partition
        What there is of each that is open.
    partitions, in_flight, in_flight_bytes, waiting
        Owned partitions; records handed out and not committed, and their bytes;
        records that were put off or parked and are in the memory of this instance.
    parked
        Of the waiting ones: those in the table of parked records.
    oldest
        Seconds since the oldest record was read that is not committed.
    span
        How far what was read reaches beyond such a one, at most.
    unopened
        Seconds since a partition was given that is not open yet, as a transaction of
        an earlier owner is not decided.
    held_up
        Of a run until the end, and where parked records are read: what another
        producer's transaction, which is not decided, keeps from being read.
    lost
        Records that retention removed before they were read.
    transactions, transaction_seconds
        Committed, and how long that took in all.
    time
        Seconds of the poll thread by what it did.
    """

    name: str
    turned: float
    turning: str = ""
    joined: bool = False
    missing: str | None = None
    ended: str | None = None
    lanes: tuple[LaneStatus, ...] = ()
    committing: float | None = None
    silent: float = 0.0
    committer: str = ""
    down: Mapping[str, str] = field(default_factory=dict)
    each_partition: tuple[PartitionStatus, ...] = ()
    partitions: int = 0
    in_flight: int = 0
    in_flight_bytes: int = 0
    waiting: int = 0
    parked: int = 0
    oldest: float = 0.0
    span: int = 0
    unopened: float = 0.0
    held_up: tuple[str, ...] = ()
    lost: int = 0
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


class Doing:
    """What one thread is at, for others to read.

    Parameters
    ----------
    what
        To begin with.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._began: float | None = time.monotonic()
        self._moved = time.monotonic()

    def begin(self, what: str) -> None:
        """Begin something, or the next step of it."""
        self.what = what
        self.moves()
        if self._began is None:
            self._began = self._moved

    def moves(self) -> None:
        """Give a sign of life."""
        self._moved = time.monotonic()

    def end(self) -> None:
        """Have nothing to do."""
        self._began, self.what = None, ""

    @property
    def seconds(self) -> float | None:
        """Since it was begun; ``None``: there is nothing to do."""
        began = self._began
        return None if began is None else time.monotonic() - began

    @property
    def silent(self) -> float:
        """Seconds since the last sign of life of what was begun."""
        return 0.0 if self._began is None else time.monotonic() - self._moved


def place_of(thread: int | None) -> str:
    """Return where a thread is in the program, the innermost place last.

    Parameters
    ----------
    thread
        Its ``ident``.
    """
    # No locals: these hold what records say.
    frame = sys._current_frames().get(thread or 0)  # noqa: SLF001
    if frame is None:
        return ""
    return " > ".join(
        f"{'/'.join(PurePath(f.filename).parts[-2:])}:{f.lineno} {f.name}"
        for f in traceback.extract_stack(frame)[-_FRAMES:]
    )
