"""A record on its way through the loop, and the partition it came from."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from icat_stream.records import Coordinates, Outcome, Record

from .headers import NO_DELAY, Delay
from .offsets import OffsetTracker, SlotState


class Destination(Enum):
    """Where a finished record goes, besides its events."""

    NOWHERE = "nowhere"
    RETRY = "retry"
    BACK_OF_RETRY_TOPIC = "tail"
    DEAD_LETTER = "dead-letter"


class Finished(NamedTuple):
    """How a record ended, and what has to be produced for it.

    Parameters
    ----------
    outcome
        For journal, counts and events.
    way
        Where the record goes.
    stage, wait
        For a retry: which topic, and what it waits for there.
    attempts
        How often it was handled, earlier deliveries included.
    trace
        Span context of its handling, if traced.
    omitted
        Send the record without its value.
    """

    outcome: Outcome
    destination: Destination = Destination.NOWHERE
    stage: int = 0
    wait: Delay = NO_DELAY
    attempts: int = 0
    trace: Any = None
    omitted: bool = False


class Ownership(Enum):
    """What may be done with a partition."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(slots=True, eq=False)
class Partition:
    """A partition during one assignment; assigned again, it is another object.

    Parameters
    ----------
    topic, number
        Which.
    retry
        Whether it belongs to a retry topic.
    position
        Next offset to be read.
    committed
        What Kafka has, or where it begins without.
    home
        Of one of a retry topic: the source partition that it goes with.
    end
        Where a run until the end stops, ``None`` for never.
    """

    topic: str
    number: int
    retry: bool
    position: int
    committed: int = 0
    home: str = ""
    end: int | None = None
    reached: bool = False
    ownership: Ownership = Ownership.OPEN
    tracker: OffsetTracker["Slot"] = field(default_factory=OffsetTracker)
    working: int = 0
    handed_out: int = 0
    committing: int = 0
    waiting: int = 0
    moved_at: float = 0.0
    # When Kafka was last told; at an assignment it is told at once.
    kept_at: float = float("-inf")
    # Keys by the origins of those that were sent to the tail and not read again.
    moving: dict[Coordinates, str] = field(default_factory=dict)

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
    """

    record: Record
    key: str
    partition: Partition
    wait: Delay = NO_DELAY
    state: SlotState = SlotState.READY
    must_move: bool = False
    finished: Finished | None = None
    tries: int = 0
    first_handled: float = 0.0
    handed_out: bool = False
    waits_for: AbstractSet[str] = frozenset()

    @property
    def offset(self) -> int:
        """Of the record where it was read."""
        return self.record.at.offset
