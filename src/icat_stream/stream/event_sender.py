"""Sending events without a transaction: what a person did by hand."""

import logging
import time
from collections.abc import Iterable, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from icat_stream.config import Settings
from icat_stream.records import Event, SystemUnavailable

from . import topics
from .run_result import Halt

# A person waits for the answer; librdkafka's own default is five minutes.
_TIMEOUT_S = 10.0


def send_events(settings: Settings, events: Sequence[Event]) -> None:
    """Send events and wait until Kafka has them; their topic is created if need be.

    Parameters
    ----------
    settings
        All of them.
    events
        At least one.

    Raises
    ------
    SystemUnavailable
        Kafka does not have them all.
    """
    records = ((event.key.encode(), event.value) for event in events)
    _send(settings, settings.events.topic, records)


def announce_again(settings: Settings, name: str, values: Iterable[bytes]) -> int:
    """Give records to one consumer, and to nobody else who reads its topics.

    They go to its first retry topic, to be handled at once, with its own lanes,
    retries and dead letters.

    Parameters
    ----------
    settings
        All of them.
    name
        Of the consumer.
    values
        Of the records.

    Returns
    -------
    :
        How many there were.

    Raises
    ------
    SystemUnavailable
        Kafka does not have them all: the rest may be announced again, twice is once.
    """
    topic = topics.retry_topics(settings, name)[0]
    records = ((None, value) for value in values)
    return _send(settings, topic, records, retries=[topic])


def _send(
    settings: Settings,
    topic: str,
    records: Iterable[tuple[bytes | None, bytes]],
    *,
    retries: Sequence[str] = (),
) -> int:
    """Send keys and values, and return how many there were."""
    problems: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            problems.append(error.str())

    count = 0
    try:
        producer = Producer(
            {
                **settings.kafka.client_options(),
                "enable.idempotence": True,
                "linger.ms": 20,
                "message.timeout.ms": int(_TIMEOUT_S * 1000),
            },
            logger=logging.getLogger("icat_stream.kafka"),
        )
        _ensure(producer, settings, topic, retries)
        for key, value in records:
            while True:
                try:
                    producer.produce(topic, key=key, value=value, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
            count += 1
            if problems:
                break
        if producer.flush(_TIMEOUT_S):
            problems.append("no answer")
    except (KafkaException, Halt) as error:
        problems.append(str(error))
    if problems:
        raise SystemUnavailable(
            f"not all of {count} records reached {topic} ({problems[0]})",
            system="kafka",
        )
    return count


def _ensure(
    producer: Producer, settings: Settings, topic: str, retries: Sequence[str]
) -> None:
    known = producer.list_topics(timeout=_TIMEOUT_S).topics
    if topic in known:
        return
    if settings.kafka.create_topics:
        present = {name: len(each.partitions) for name, each in known.items()}
        topics.create(settings, [topic], present, retries)
    deadline = time.monotonic() + _TIMEOUT_S
    while topic not in producer.list_topics(timeout=_TIMEOUT_S).topics:
        if time.monotonic() > deadline:
            raise SystemUnavailable(f"there is no topic {topic}", system="kafka")
        time.sleep(0.1)
