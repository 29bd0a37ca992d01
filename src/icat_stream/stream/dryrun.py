"""Looking only: what would become of the records that wait."""

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from icat_stream.config import Settings
from icat_stream.records import (
    Coordinates,
    DependencyMissing,
    ExitCode,
    Failure,
    LoginRefused,
    NotReady,
    Outcome,
    OutcomeKind,
    Record,
    SystemUnavailable,
    TransientFailure,
    bug_reason,
    failed_outcome,
)
from icat_stream.telemetry import current_record

from . import kafka_clients, topics
from .consumer import Consumer, LaneScoped
from .headers import delay
from .in_flight import PartitionKind
from .offset_metadata import NewerVersion, decode
from .offsets import Place
from .outcome_counts import Counts
from .probes import refusal
from .record_slots import record_of, wall_ms
from .run_result import Halt, RunResult

_log = logging.getLogger(__name__)

_POLL_S = 0.2
_CALL_S = 10.0


def dry_run(
    name: str,
    consumer: Consumer,
    settings: Settings,
    *,
    on_outcome: Callable[[Record, Outcome], None],
    stopping: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Handle what a group has not committed yet, without moving anything.

    Reads from the committed offsets to the present ends, joins no group, and writes
    nothing to Kafka or the journal.  A failure is not tried again: it is shown as
    ``deferred`` or ``rejected``.

    Parameters
    ----------
    name
        Of the consumer in ``settings.consumers``.
    consumer
        One that writes nothing: it is asked to handle each record.
    settings
        All of them.
    on_outcome
        Told of each record.
    stopping
        Asked between records.
    """
    counts = Counts()
    code, reason = ExitCode.DONE, ""
    try:
        _look(name, consumer, settings, on_outcome, stopping, counts)
    except Halt as halt:
        code, reason = halt.code, halt.reason
        _log.error("%s: stopping: %s", name, reason)
    except KafkaException as error:
        code, reason = ExitCode.UNAVAILABLE, f"Kafka: {error.args[0].str()}"
        _log.error("%s: stopping: %s", name, reason)
    finally:
        if isinstance(consumer, LaneScoped):
            consumer.leave_lane()
    return RunResult(name=name, exit_code=code, reason=reason, counts=counts.result())


def _look(
    name: str,
    consumer: Consumer,
    settings: Settings,
    on_outcome: Callable[[Record, Outcome], None],
    stopping: Callable[[], bool],
    counts: Counts,
) -> None:
    client = kafka_clients.consumer(
        settings.kafka, topics.group_of(settings, name), member=False
    )
    try:
        present = topics.with_sources(client, settings, name, stopping)
        if present is not None:
            _read(
                client, present, name, consumer, settings, on_outcome, stopping, counts
            )
    finally:
        client.close()


def _read(
    client: KafkaConsumer,
    present: dict[str, int],
    name: str,
    consumer: Consumer,
    settings: Settings,
    on_outcome: Callable[[Record, Outcome], None],
    stopping: Callable[[], bool],
    counts: Counts,
) -> None:
    reading = _Reading(client, present, settings, name)
    ends, places = reading.ends, reading.places
    rows: dict[tuple[int, bytes], Record] = {}

    def show(record: Record) -> None:
        outcome = _outcome(consumer, record)
        counts.add(record.origin, outcome.kind)
        on_outcome(record, outcome)

    while ends and not stopping():
        message: Any = client.poll(_POLL_S)
        if message is None:
            continue
        place = message.topic(), message.partition()
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                ends.pop(place, None)
            elif not error.retriable():
                raise KafkaException(error)
            continue
        if place not in ends:
            continue
        offset = message.offset()
        if offset < ends[place] and not places[place].has(offset):
            kind = reading.kinds[message.topic()]
            record = record_of(message, Coordinates(*place, offset), kind)
            if kind is PartitionKind.PARKED:
                row = message.partition(), message.key() or b""
                rows.pop(row, None)
                if message.value() is not None:
                    rows[row] = record
            else:
                show(record)
        if message.offset() + 1 >= ends[place]:
            del ends[place]
    for record in rows.values():
        show(record)


class _Reading:
    """What is to be read: from where, up to where.

    Parameters
    ----------
    client
        Reads it from now on.
    present
        Partitions by topic.
    settings
        All of them.
    name
        Of the consumer.
    """

    def __init__(
        self,
        client: KafkaConsumer,
        present: dict[str, int],
        settings: Settings,
        name: str,
    ) -> None:
        sources = settings.consumers[name].topics
        retries = [
            *topics.retry_topics(settings, name),
            *topics.dropped_topics(settings, name, present),
        ]
        parked = topics.parked_topic(settings, name)
        self.kinds = {
            **dict.fromkeys(sources, PartitionKind.SOURCE),
            **dict.fromkeys(retries, PartitionKind.RETRY),
            parked: PartitionKind.PARKED,
        }
        self.ends: dict[tuple[str, int], int] = {}
        self.places: dict[tuple[str, int], Place] = {}
        starts = []
        wanted = [
            TopicPartition(topic, number)
            for topic in self.kinds
            for number in range(present.get(topic, 0))
        ]
        for at in kafka_clients.committed(client, wanted, seconds=_CALL_S):
            low, high = kafka_clients.watermarks(client, at, seconds=_CALL_S)
            place = self._place(at, low, high, settings)
            at.offset = max(low, place.offset)
            if at.offset < high:
                self.ends[at.topic, at.partition] = high
                self.places[at.topic, at.partition] = place
                starts.append(at)
        client.assign(starts)

    def _place(
        self, at: TopicPartition, low: int, high: int, settings: Settings
    ) -> Place:
        kind = self.kinds[at.topic]
        if kind is PartitionKind.PARKED:
            return Place(low)
        if at.offset >= 0:
            try:
                return Place(at.offset, decode(at.metadata or ""))
            except (NewerVersion, ValueError) as error:
                raise Halt(
                    ExitCode.USAGE,
                    f"what is noted beside the committed offset of {at.topic}"
                    f"[{at.partition}] cannot be read: {error}",
                ) from None
        if kind is PartitionKind.SOURCE and settings.kafka.start == "error":
            raise Halt(
                ExitCode.USAGE,
                f"there is no committed offset for {at.topic}[{at.partition}], and"
                " kafka.start is error",
            )
        latest = kind is PartitionKind.SOURCE and settings.kafka.start == "latest"
        return Place(high if latest else low)


def _outcome(consumer: Consumer, record: Record) -> Outcome:
    wait = delay(record.headers) if record.at != record.origin else None
    if wait is not None and wait.not_before > wall_ms() and not wait.missing:
        return Outcome(kind=OutcomeKind.DEFERRED, reason="waits its time")
    token = current_record.set(str(record.origin))
    try:
        return consumer.handle(record)
    except LoginRefused as error:
        raise refusal(error) from None
    except SystemUnavailable as error:
        raise Halt(
            ExitCode.UNAVAILABLE, f"{error.system} is unavailable: {error}"
        ) from None
    except Failure as error:
        puts_off = isinstance(error, DependencyMissing | NotReady | TransientFailure)
        kind = OutcomeKind.DEFERRED if puts_off else OutcomeKind.REJECTED
        return failed_outcome(kind, error)
    except Exception as error:
        _log.exception("%s: a bug while handling it", record.at)
        return failed_outcome(OutcomeKind.REJECTED, error, bug_reason(error))
    finally:
        current_record.reset(token)
