"""A record on its way through the loop, and the partition it came from."""

import time
from collections.abc import Set as AbstractSet
from dataclasses import InitVar, dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from icat_stream.records import Outcome, Record

from .headers import NO_DELAY, Delay
from .offsets import OffsetTracker, ParkedRows, Place, SlotState


class Destination(Enum):
    """Where a finished record goes, besides its events."""

    NOWHERE = "nowhere"
    RETRY = "retry"
    PARKED = "parked"
    DEAD_LETTER = "dead-letter"


class Finished(NamedTuple):
    """How a record ended, and what has to be produced for it.

    Parameters
    ----------
    outcome
        For journal, counts and events.
    destination
        Where the record goes.
    stage, wait
        For a retry: which topic.  What it waits for there, or parked.
    attempts
        How often it was handled, earlier deliveries included.
    trace
        Span context of its handling, if traced.
    omitted
        Send the record without its value.
    less
        How much is left out of its outcome, which is too large for the broker.
    """

    outcome: Outcome
    destination: Destination = Destination.NOWHERE
    stage: int = 0
    wait: Delay = NO_DELAY
    attempts: int = 0
    trace: Any = None
    omitted: bool = False
    less: int = 0


class Ownership(Enum):
    """What may be done with a partition."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class PartitionKind(Enum):
    """Of which topic a partition is."""

    SOURCE = "source"
    RETRY = "retry"
    PARKED = "parked"


@dataclass(slots=True, eq=False)
class Partition:
    """A partition during one assignment; assigned again, it is another object.

    Parameters
    ----------
    topic, number, kind
        Which.
    place
        What is committed, or where it begins without.
    home
        Of one that is none of a source: the source partition that it goes with.
    end
        Where a run until the end stops, ``None`` for never.  Of parked records: up to
        where it is read before the first of them is let go.
    """

    topic: str
    number: int
    kind: PartitionKind
    place: InitVar[Place]
    home: str = ""
    end: int | None = None
    reached: bool = False
    # Up to where it was read of that, as what follows is not decided yet.
    decided: int | None = None
    ownership: Ownership = Ownership.OPEN
    tracker: OffsetTracker["Slot"] = field(init=False)
    # Instead, where records are parked.
    parked: ParkedRows["Slot"] | None = field(init=False, default=None)
    working: int = 0
    handed_out: int = 0
    handed_out_bytes: int = 0
    committing: int = 0
    waiting: int = 0
    # Bytes of parked records that are not let go yet.
    loaded: int = 0
    moved_at: float = 0.0
    # When Kafka was last told; at an assignment it is told at once.
    kept_at: float = float("-inf")

    def __post_init__(self, place: Place) -> None:
        self.tracker = OffsetTracker(place)
        if self.kind is PartitionKind.PARKED:
            self.parked = ParkedRows()

    @property
    def records(self) -> OffsetTracker["Slot"] | ParkedRows["Slot"]:
        """What was read and is not committed."""
        return self.tracker if self.parked is None else self.parked

    @property
    def is_held_up(self) -> bool:
        """Whether a transaction that is not decided is in the way of its end."""
        return (
            not self.reached
            and self.decided is not None
            and self.tracker.position <= self.decided
        )

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


@dataclass(slots=True, eq=False)
class Slot:
    """A record on its way.

    Parameters
    ----------
    record
        As the consumer sees it.
    key
        Its ordering key.
    partition
        Where it was read.
    wait
        What it was waiting for when it was read.
    row
        Key of its row, of one that is parked.
    """

    record: Record
    key: str
    partition: Partition
    wait: Delay = NO_DELAY
    row: bytes = b""
    # Of one that is parked: its payload is only in Kafka.
    is_elsewhere: bool = False
    state: SlotState = SlotState.READY
    read_at: float = field(default_factory=time.monotonic)
    finished: Finished | None = None
    tries: int = 0
    first_handled: float = 0.0
    # Systems that it found down and that have answered their probe since.
    paused_for: AbstractSet[str] = frozenset()
    handed_out: bool = False
    waits_for: AbstractSet[str] = frozenset()
    # As it was read, also where its payload is not in memory.
    size: int = field(init=False)

    def __post_init__(self) -> None:
        record = self.record
        self.size = len(record.value or b"") + len(record.key or b"")
        for name, value in record.headers:
            self.size += len(name) + len(value or b"")

    @property
    def offset(self) -> int:
        """Of the record where it was read."""
        return self.record.at.offset

    @property
    def size_in_memory(self) -> int:
        """Bytes of it that are in memory."""
        return 0 if self.is_elsewhere else self.size

    @property
    def output_size(self) -> int:
        """About how many bytes it adds to a transaction."""
        if self.finished is None:
            return self.size
        # Its outcome has its payload, and so has where else it goes.
        goes_on = self.finished.destination is not Destination.NOWHERE
        events = sum(len(event.value) for event in self.finished.outcome.events)
        return self.size * (2 if goes_on else 1) + events
