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
    Failure,
    LoginRefused,
    NotReady,
    Outcome,
    OutcomeKind,
    Record,
    SystemUnavailable,
    TransientFailure,
    bug_reason,
)
from icat_stream.telemetry import current_record

from . import kafka_clients, topics
from .consumer import Consumer, LaneScoped
from .counting import Counts
from .headers import delay
from .policy import BUG
from .probes import refusal
from .reading import now_ms, record_of
from .run_result import CONFIGURATION, DONE, UNAVAILABLE, Halt, RunResult

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
    code, reason = DONE, ""
    try:
        _look(name, consumer, settings, on_outcome, stopping, counts)
    except Halt as halt:
        code, reason = halt.code, halt.reason
        _log.error("%s: stopping: %s", name, reason)
    except KafkaException as error:
        code, reason = UNAVAILABLE, f"Kafka: {error.args[0].str()}"
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
        settings.kafka, topics.group_of(settings, name), until_end=True, member=False
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
    sources = settings.consumers[name].topics
    retries = topics.retry_topics(settings, name)
    ends = _assign(client, [*sources, *retries], present, settings, sources)
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
        if message.offset() < ends[place]:
            record = record_of(
                message,
                Coordinates(*place, message.offset()),
                retry=message.topic() in retries,
            )
            outcome = _outcome(consumer, record)
            counts.add(record.origin, outcome.kind)
            on_outcome(record, outcome)
        if message.offset() + 1 >= ends[place]:
            del ends[place]


def _assign(
    client: KafkaConsumer,
    wanted: list[str],
    present: dict[str, int],
    settings: Settings,
    sources: list[str],
) -> dict[tuple[str, int], int]:
    places = [
        TopicPartition(topic, number)
        for topic in wanted
        for number in range(present.get(topic, 0))
    ]
    starts = []
    ends = {}
    for place in client.committed(places, timeout=_CALL_S):
        low, high = client.get_watermark_offsets(place, timeout=_CALL_S)
        if place.offset < 0:
            if place.topic in sources and settings.kafka.start == "error":
                raise Halt(
                    CONFIGURATION,
                    f"there is no committed offset for {place.topic}"
                    f"[{place.partition}], and kafka.start is error",
                )
            latest = place.topic in sources and settings.kafka.start == "latest"
            place.offset = high if latest else low
        if place.offset < high:
            ends[place.topic, place.partition] = high
            starts.append(place)
    client.assign(starts)
    return ends


def _outcome(consumer: Consumer, record: Record) -> Outcome:
    wait = delay(record.headers) if record.at != record.origin else None
    if wait is not None and wait.not_before > now_ms() and not wait.missing:
        return Outcome(kind=OutcomeKind.DEFERRED, reason="waits its time")
    token = current_record.set(str(record.origin))
    try:
        return consumer.handle(record)
    except LoginRefused as error:
        raise refusal(error) from None
    except SystemUnavailable as error:
        raise Halt(UNAVAILABLE, f"{error.system} is unavailable: {error}") from None
    except Failure as error:
        puts_off = isinstance(error, DependencyMissing | NotReady | TransientFailure)
        return Outcome(
            kind=OutcomeKind.DEFERRED if puts_off else OutcomeKind.REJECTED,
            reason=error.reason,
            error_class=error.error_class,
            missing=tuple(getattr(error, "missing", ())),
        )
    except Exception as error:
        _log.exception("%s: a bug while handling it", record.at)
        return Outcome(
            kind=OutcomeKind.REJECTED,
            reason=bug_reason(error),
            error_class=BUG,
        )
    finally:
        current_record.reset(token)
