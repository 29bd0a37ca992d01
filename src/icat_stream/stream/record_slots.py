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
    wait = replace(wait, not_before=due(wait.not_before, longest))
    return Slot(record, ordering, partition, wait, row)


def due(not_before: int, longest: int) -> int:
    """Return when a record is due, to be compared with :func:`now_ms`.

    Parameters
    ----------
    not_before
        As it was written, by the clock of who wrote it.
    longest
        As for :func:`slot_of`.
    """
    return max(0, now_ms() + min(not_before - wall_ms(), longest))


def wall_ms() -> int:
    """Return milliseconds since the epoch by the clock, for what others read."""
    return time.time_ns() // 1_000_000


def now_ms() -> int:
    """Return milliseconds that go on evenly if the clock is set, for waits in here.

    The clock may have been wrong when this process started: no time of day.
    """
    return _EPOCH_MS + time.monotonic_ns() // 1_000_000
