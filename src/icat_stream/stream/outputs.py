"""What a finished record sends: its outcome, events, a retry, a dead letter."""

import hashlib
import logging
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from icat_stream.records import Record, journal_row

from . import headers as h
from .in_flight import Destination, Finished, Slot
from .outcome_messages import outcome_message
from .spans import trace_id, traceparent

_log = logging.getLogger(__name__)

Redact = Callable[[Record], bytes | None]


class Output(NamedTuple):
    """A record to be produced; partition -1 means by its key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    partition: int = -1


def without_secrets(record: Record, redact: Redact | None) -> bytes | None:
    """Return a record's value without secrets; ``None`` if that cannot be told.

    Parameters
    ----------
    record
        With its value.
    redact
        Of the consumer; absent where there are no secrets.
    """
    if redact is None or record.value is None:
        return record.value
    try:
        return redact(record)
    except Exception:
        # Better no payload than a secret in it.
        _log.exception("%s: its secrets cannot be removed", record.at)
        return None


def retry_partition(key: str, count: int) -> int:
    """Return in which of so many partitions of our own topics a record waits.

    Parameters
    ----------
    key
        Its ordering key: records that belong together stay in order, also where they
        were announced without a key.
    count
        Of the topic's partitions.
    """
    return zlib.crc32(key.encode(errors="replace")) % count


class Outputs:
    """Makes the outputs of one loop.

    Parameters
    ----------
    group
        Consumer group.
    events, outcomes, dead_letters
        Topics.
    retries
        Retry topics.
    parked
        Table of parked records.
    partitions
        By topic.
    redact
        Returns the value without secrets, ``None`` where that cannot be told; absent
        where there are none.
    payload_limit
        Larger values are not kept with the outcome; ``None``: none is.
    tells
        Whether what is finished has an outcome; what is put off or given up always has.
    """

    def __init__(
        self,
        *,
        group: str,
        events: str,
        outcomes: str,
        dead_letters: str,
        retries: list[str],
        parked: str,
        partitions: Mapping[str, int],
        redact: Redact | None,
        payload_limit: int | None,
        tells: bool = True,
    ) -> None:
        self._group = group
        self._events = events
        self.outcomes = outcomes
        self._dead_letters = dead_letters
        self._retries = retries
        self._parked = parked
        self._partitions = partitions
        self._redact = redact
        self._payload_limit = payload_limit
        self._tells = tells

    def of(self, slot: Slot) -> list[Output]:
        """Return what a finished record sends."""
        finished = slot.finished
        if finished is None:
            raise ValueError(f"{slot.record.at} is not finished")
        sent = self._sent(slot, finished)
        if slot.row and not any(o.topic == self._parked for o in sent):
            number = slot.partition.number
            sent.append(Output(self._parked, slot.row, None, [], number))
        if self._tells or finished.destination is not Destination.NOWHERE:
            sent.append(self._outcome(slot, finished))
        return sent

    def _outcome(self, slot: Slot, finished: Finished) -> Output:
        record = slot.record
        row = journal_row(
            record,
            finished.outcome,
            group=self._group,
            key=slot.key,
            attempts=finished.attempts,
            trace_id=trace_id(finished.trace, record),
            payload=self._kept(record),
            headers=h.kept(record.headers),
        )
        return Output(self.outcomes, *outcome_message(row, finished.less))

    def _kept(self, record: Record) -> bytes | None:
        # A record that comes again is kept with its first reading.
        if record.at != record.origin or self._payload_limit is None:
            return None
        if record.value is None or len(record.value) > self._payload_limit:
            return None
        return self.redacted(record)

    def _sent(self, slot: Slot, finished: Finished) -> list[Output]:
        match finished.destination:
            case Destination.NOWHERE:
                return self._sent_events(slot.record, finished)
            case Destination.RETRY:
                return [self._retry(slot, finished)]
            case Destination.PARKED:
                return [self._row(slot, finished)]
            case Destination.DEAD_LETTER:
                return [self._dead_letter(slot.record, finished)]

    def redacted(self, record: Record) -> bytes | None:
        """Return a record's value without secrets; ``None`` if that cannot be told."""
        return without_secrets(record, self._redact)

    def _sent_events(self, record: Record, finished: Finished) -> list[Output]:
        events = finished.outcome.events
        if not events:
            return []
        parent = traceparent(finished.trace) or record.header(h.TRACEPARENT)
        headers: list[tuple[str, bytes | None]]
        headers = [(h.TRACEPARENT, parent)] if parent else []
        topic = self._events
        return [Output(topic, e.key.encode(), e.value, headers) for e in events]

    def _retry(self, slot: Slot, finished: Finished) -> Output:
        topic = self._retries[finished.stage]
        return Output(
            topic,
            slot.record.key,
            self.redacted(slot.record),
            self._headers(slot.record, finished) + h.of_delay(finished.wait),
            self._number(slot, topic),
        )

    def _row(self, slot: Slot, finished: Finished) -> Output:
        record = slot.record
        headers = self._headers(record, finished) + h.of_delay(finished.wait)
        if record.key is not None:
            headers.append((h.KEY, record.key))
        value = self.redacted(record)
        if value is None:
            # A row without a value would be none.
            headers.append((h.PAYLOAD, b"none"))
        number = slot.partition.number if slot.row else self._number(slot, self._parked)
        # With its time: a topic that was made anew has the same places again.
        row = slot.row or f"{record.at}@{record.timestamp}".encode()
        return Output(self._parked, row, value or b"", headers, number)

    def _number(self, slot: Slot, topic: str) -> int:
        return retry_partition(slot.key, self._partitions[topic])

    def _dead_letter(self, record: Record, finished: Finished) -> Output:
        headers = self._headers(record, finished)
        headers += h.of_objects(finished.outcome.objects)
        value = None if finished.omitted else self.redacted(record)
        if value is None and record.value is not None:
            headers += [
                (h.PAYLOAD, b"omitted"),
                (h.SIZE, b"%d" % len(record.value)),
                (h.SHA256, hashlib.sha256(record.value).hexdigest().encode()),
            ]
        if finished.omitted:
            # What made it too large may be its key or its headers.
            headers = [each for each in headers if each[0].startswith(h.PREFIX)]
            key = record.key if len(record.key or b"") <= 1024 else None
            return Output(self._dead_letters, key, None, headers)
        return Output(self._dead_letters, record.key, value, headers)

    def _headers(
        self, record: Record, finished: Finished
    ) -> list[tuple[str, bytes | None]]:
        headers = h.foreign(record.headers)
        parent = traceparent(finished.trace)
        if parent is not None:
            headers = [each for each in headers if each[0] != h.TRACEPARENT]
            headers.append((h.TRACEPARENT, parent))
        outcome = finished.outcome
        return [
            *headers,
            *h.of_origin(record, self._group, finished.attempts),
            (h.ERROR_CLASS, (outcome.error_class or "").encode()),
            (h.ERROR_MESSAGE, h.message(outcome.reason)),
        ]
