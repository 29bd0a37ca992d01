"""A Kafka record as the consumers see it."""

from typing import NamedTuple


class Coordinates(NamedTuple):
    """Where a record stands: topic, partition and offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


# A tuple takes a third of the time that a frozen dataclass does, and there is one of
# these for every record.
class Record(NamedTuple):
    """One Kafka record; give the fields by name.

    Parameters
    ----------
    at
        Where this record was read.
    timestamp
        Kafka's time of the record, milliseconds since the epoch, UTC.  The same on
        every redelivery.
    key, value
        As produced; a tombstone has no value.
    origin
        Where the record was first published.  Differs from ``at`` for what comes
        back through a retry topic.
    origin_timestamp
        Kafka's time of the record at its origin.
    headers
        In the order produced; a header's value may be ``None``.
    attempts
        How often it was handled and put off before, 0 for a new record.
    """

    at: Coordinates
    timestamp: int
    key: bytes | None
    value: bytes | None
    origin: Coordinates
    origin_timestamp: int
    headers: tuple[tuple[str, bytes | None], ...] = ()
    attempts: int = 0

    def header(self, name: str) -> bytes | None:
        """Return the last header of that name, or ``None``."""
        for given, value in reversed(self.headers):
            if given == name:
                return value
        return None
