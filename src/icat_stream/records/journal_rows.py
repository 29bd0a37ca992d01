"""A row of the journal."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from .outcome import Outcome
from .record import Record

ONE_SHOT = "one-shot"
"""The group under which what was handled by hand is journalled."""


class RowKey(NamedTuple):
    """The primary key: the record as Kafka knows it, for one consumer group.

    The record's time is Kafka's own, the same on every redelivery; it tells records
    of a topic that was deleted and made again from those before.
    """

    group: str
    topic: str
    partition: int
    offset: int
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """What became of one record.

    Parameters
    ----------
    at
        The record.
    origin_topic, origin_partition, origin_offset, origin_time
        Where it was first published; differs from ``at`` for a retried record.
    key
        The ordering key.
    message_type, message_format
        What it was decoded as.
    sha256, size
        Of its value.
    objects
        Identifiers that people search by.
    outcome, error_class, text
        What became of it, and why.
    attempts
        How often it was handled, earlier deliveries included.
    steps
        Seconds of each step.
    trace_id
        32 hexadecimal digits, if it was traced.
    version
        Of this program.
    payload
        The record's value without its secrets; ``None``: not to be kept.
    record_key, headers
        Of the record, kept with its payload.
    written_at
        When it was told, milliseconds; 0: now.
    """

    at: RowKey
    origin_topic: str
    origin_partition: int
    origin_offset: int
    origin_time: int
    outcome: str
    size: int
    sha256: str
    key: str | None = None
    message_type: str | None = None
    message_format: str | None = None
    objects: Mapping[str, Any] = field(default_factory=dict)
    error_class: str | None = None
    text: str = ""
    attempts: int = 0
    steps: Mapping[str, float] = field(default_factory=dict)
    trace_id: str | None = None
    version: str = ""
    payload: bytes | None = None
    record_key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    written_at: int = 0


def journal_row(
    record: Record,
    outcome: Outcome,
    *,
    group: str,
    key: str | None = None,
    attempts: int = 1,
    trace_id: str | None = None,
    payload: bytes | None = None,
    headers: tuple[tuple[str, bytes | None], ...] = (),
) -> JournalRow:
    """Return the row of a record's outcome.

    Parameters
    ----------
    record, outcome
        What became of what.
    group
        Of the consumer, or :data:`ONE_SHOT`.
    key, attempts, trace_id, payload, headers
        As the row has them.
    """
    value = record.value or b""
    return JournalRow(
        at=RowKey(group, *record.at, record.timestamp),
        origin_topic=record.origin.topic,
        origin_partition=record.origin.partition,
        origin_offset=record.origin.offset,
        origin_time=record.origin_timestamp,
        outcome=outcome.kind.value,
        size=len(value),
        sha256=hashlib.sha256(value).hexdigest(),
        key=key,
        message_type=outcome.message_type,
        message_format=outcome.message_format,
        objects=outcome.objects,
        error_class=outcome.error_class,
        text=outcome.reason,
        attempts=attempts,
        steps=outcome.steps,
        trace_id=trace_id,
        version=_version(),
        payload=payload,
        record_key=None if payload is None else record.key,
        headers=() if payload is None else headers,
    )


@cache
def _version() -> str:
    from icat_stream import __version__

    return str(__version__)
