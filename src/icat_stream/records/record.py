"""A Kafka record as the consumers see it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Coordinates:
    """Where a record stands: topic, partition and offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One Kafka record.

    Parameters
    ----------
    at
        Where this record was read.
    timestamp
        Kafka's time of the record, milliseconds since the epoch, UTC.  The same on
        every redelivery.
    key, value
        As produced; a tombstone has no value.
    headers
        In the order produced; a header's value may be ``None``.
    origin
        Where the record was first published.  Differs from ``at`` for what comes
        back through a retry topic.
    origin_timestamp
        Kafka's time of the record at its origin.
    attempts
        How often it was handled and put off before, 0 for a new record.
    """

    at: Coordinates
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    origin: Coordinates
    origin_timestamp: int
    attempts: int = 0
    _index: dict[str, bytes | None] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        self._index.update(self.headers)

    def header(self, name: str) -> bytes | None:
        """Return the last header of that name, or ``None``."""
        return self._index.get(name)
