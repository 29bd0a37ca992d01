"""A row of the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
