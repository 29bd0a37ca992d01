"""From Kafka's messages to records and slots."""

import time
from collections.abc import Callable
from typing import Any

from icat_stream.records import Coordinates, Record

from . import headers as h
from .slots import Partition, Slot


def record_of(message: Any, at: Coordinates, *, retry: bool) -> Record:
    """Return a message as a record.

    Parameters
    ----------
    message
        Of confluent-kafka, without an error.
    at
        Where it stands.
    retry
        Whether it comes from a retry topic of ours; only there are the headers that
        tell its origin believed.
    """
    timestamp = message.timestamp()[1]
    headers = message.headers()
    given: h.Headers = tuple(headers) if headers else ()
    origin, origin_timestamp, attempts = at, timestamp, 0
    if retry:
        found = h.origin(given)
        if found is not None:
            origin, origin_timestamp, attempts = found
    return Record(
        at,
        timestamp,
        message.key(),
        message.value(),
        origin,
        origin_timestamp,
        given,
        attempts,
    )


def ordering_key(key: Callable[[Record], str], record: Record) -> str:
    """Return the ordering key of a record, also where the consumer's own fails."""
    try:
        ordering = key(record)
    except Exception:
        # It is handle's to say what is wrong with it.
        return str(record.origin)
    return ordering if isinstance(ordering, str) else str(record.origin)


def slot_of(record: Record, partition: Partition, key: Callable[[Record], str]) -> Slot:
    """Return a record on its way.

    Parameters
    ----------
    record
        As read.
    partition
        It was read from.
    key
        Of the consumer.
    """
    ordering = ordering_key(key, record)
    if not partition.retry:
        return Slot(record, ordering, partition)
    return Slot(record, ordering, partition, h.delay(record.headers))


def now_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
