"""From Kafka's messages to records and slots."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from icat_stream.records import Coordinates, Record

from . import headers as h
from .in_flight import Partition, PartitionKind, Slot

# When the monotonic clock was at nought, by the clock that this process started with.
_EPOCH_MS = (time.time_ns() - time.monotonic_ns()) // 1_000_000


def record_of(message: Any, at: Coordinates, kind: PartitionKind) -> Record:
    """Return a message as a record.

    Parameters
    ----------
    message
        Of confluent-kafka, without an error.
    at
        Where it stands.
    kind
        Of its partition; only in topics of ours are the headers that tell its origin
        believed.
    """
    timestamp = message.timestamp()[1]
    headers = message.headers()
    given: h.Headers = tuple(headers) if headers else ()
    origin, origin_timestamp, attempts = at, timestamp, 0
    if kind is not PartitionKind.SOURCE:
        found = h.origin(given)
        if found is not None:
            origin, origin_timestamp, attempts = found
    key, value = message.key(), message.value()
    if kind is PartitionKind.PARKED:
        kept = dict(given)
        key = kept.get(h.KEY)
        value = None if h.PAYLOAD in kept else value
    return Record(
        at,
        timestamp,
        key,
        value,
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


def slot_of(
    record: Record,
    partition: Partition,
    key: Callable[[Record], str],
    longest: int,
    row: bytes = b"",
) -> Slot:
    """Return a record on its way.

    Parameters
    ----------
    record
        As read.
    partition
        It was read from.
    key
        Of the consumer.
    longest
        Milliseconds that it waits at most: what wrote its time may have had a clock
        that was ahead of ours.
    row
        Key of its row, of one that is parked.
    """
    ordering = ordering_key(key, record)
    if partition.kind is PartitionKind.SOURCE:
        return Slot(record, ordering, partition)
    wait = h.delay(record.headers)
    due = min(wait.not_before, now_ms() + longest)
    return Slot(record, ordering, partition, replace(wait, not_before=due), row)


def now_ms() -> int:
    """Return milliseconds since the epoch, going on evenly if the clock is set."""
    return _EPOCH_MS + time.monotonic_ns() // 1_000_000
