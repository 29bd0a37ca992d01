"""Transactions that hang in Kafka: where, and how they are ended.

A broker that dies inside a commit can forget to write some of its marks.  What the
transaction touched then stays undecided for good: offsets of the group, and records
that no ``read_committed`` reader gets past.  A later transaction of the same producer
that touches the same places writes the marks that are missing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from icat_stream.config import Settings
from icat_stream.records import SystemUnavailable

from . import kafka_clients, topics

_T = TypeVar("_T")

_CALL_S = 10.0
_ASK_S = 0.5
_BETWEEN_S = 0.2
_TIMEOUT_S = 30.0
_DECIDED_S = 10.0
# An answer may come later: while a transaction is not decided, or a coordinator moves.
_NOT_YET = (
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._WAIT_COORD,  # noqa: SLF001
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
# One that is only under way is over by then, and so is one whose instance has died:
# Kafka ends it after 10 s, and looks every 10 s.
PATIENCE_S = 25.0


@dataclass(frozen=True, slots=True)
class Hanging:
    """A partition on which a transaction is not decided.

    Parameters
    ----------
    topic, partition
        Which.
    offset
        Of the first record that is not decided; ``None``: it is the group's offset of
        this partition that is not.
    """

    topic: str
    partition: int
    offset: int | None = None

    def __str__(self) -> str:
        name = f"{self.topic}[{self.partition}]"
        if self.offset is None:
            return f"the group's offset of {name}"
        return f"{name} from {self.offset} on"


def find_hanging(
    settings: Settings, name: str, patience: float = PATIENCE_S
) -> list[Hanging]:
    """Return what stays undecided of a consumer's topics and offsets.

    Parameters
    ----------
    settings
        All of them.
    name
        Of the consumer.
    patience
        Seconds that whatever is only under way is given to end.

    Raises
    ------
    SystemUnavailable
        Kafka does not answer.
    """
    return _translated(lambda: _hanging(settings, name, patience))


def free_hanging(
    settings: Settings, name: str, sender: str, places: Sequence[Hanging]
) -> list[Hanging]:
    """End what a producer has left hanging; return what hangs all the same.

    Nobody may run under its name meanwhile: it would be fenced.

    Parameters
    ----------
    settings
        All of them.
    name
        Of the consumer.
    sender
        The producer's transactional id.
    places
        What hangs.

    Raises
    ------
    SystemUnavailable
        Kafka does not answer.
    """

    def act() -> list[Hanging]:
        _touch(settings, name, sender, places)
        return _hanging(settings, name, _DECIDED_S)

    return _translated(act)


def _hanging(settings: Settings, name: str, patience: float) -> list[Hanging]:
    group = topics.group_of(settings, name)
    stable = kafka_clients.consumer(settings.kafka, group, member=False)
    client = kafka_clients.consumer(
        settings.kafka, group, member=False, committed_only=False
    )
    try:
        found_topics = client.list_topics(timeout=_CALL_S).topics
        known = {topic: len(each.partitions) for topic, each in found_topics.items()}
        own = [
            *settings.consumers[name].topics,
            *topics.retry_topics(settings, name),
            *topics.dropped_topics(settings, name, known),
            topics.parked_topic(settings, name),
        ]
        written = [settings.events.topic, settings.dead_letters.topic]
        places = {
            topic: [TopicPartition(topic, n) for n in range(known[topic])]
            for topic in dict.fromkeys([*own, *written])
            if topic in known
        }
        offsets = [place for topic in own for place in places.get(topic, ())]
        found = _offsets(stable, offsets)
        for each in places.values():
            found += _records(stable, client, each)
        end = time.monotonic() + patience
        while found and time.monotonic() < end:
            time.sleep(_BETWEEN_S)
            found = [each for each in found if _still(stable, client, each)]
        return found
    finally:
        stable.close()
        client.close()


def _offsets(client: Consumer, places: Sequence[TopicPartition]) -> list[Hanging]:
    if not places or _is_decided(client, places):
        return []
    return [
        Hanging(each.topic, each.partition)
        for each in places
        if not _is_decided(client, [each])
    ]


def _is_decided(client: Consumer, places: Sequence[TopicPartition]) -> bool:
    # librdkafka asks again and again while a transaction is not decided.
    try:
        found = client.committed(list(places), timeout=_ASK_S)
    except KafkaException as error:
        if error.args[0].code() in _NOT_YET:
            return False
        raise
    return all(each.error is None for each in found)


def _records(
    stable: Consumer, client: Consumer, places: Sequence[TopicPartition]
) -> list[Hanging]:
    found = []
    for place in places:
        _, decided = kafka_clients.watermarks(stable, place, seconds=_CALL_S)
        _, high = kafka_clients.watermarks(client, place, seconds=_CALL_S)
        if decided < high:
            found.append(Hanging(place.topic, place.partition, decided))
    return found


def _still(stable: Consumer, client: Consumer, each: Hanging) -> bool:
    place = TopicPartition(each.topic, each.partition)
    if each.offset is None:
        return not _is_decided(stable, [place])
    # Another one may be under way there by now.
    return each in _records(stable, client, [place])


def _touch(
    settings: Settings, name: str, sender: str, places: Sequence[Hanging]
) -> None:
    producer = kafka_clients.producer(settings.kafka, sender)
    # Who has not joined has no generation: Kafka takes it for a tool, which this is.
    outsider = kafka_clients.consumer(
        settings.kafka, topics.group_of(settings, name), member=False
    )
    try:
        producer.init_transactions(_TIMEOUT_S)
        producer.begin_transaction()
        for each in places:
            if each.offset is not None:
                producer.produce(each.topic, b"", partition=each.partition)
        producer.flush(_TIMEOUT_S)
        offsets = [
            TopicPartition(each.topic, each.partition, 0)
            for each in places
            if each.offset is None
        ]
        if offsets:
            producer.send_offsets_to_transaction(
                offsets, outsider.consumer_group_metadata(), _TIMEOUT_S
            )
        producer.abort_transaction(_TIMEOUT_S)
    finally:
        outsider.close()


def _translated(act: Callable[[], _T]) -> _T:
    try:
        return act()
    except KafkaException as error:
        raise SystemUnavailable(
            f"Kafka does not do it: {error.args[0].str()}", system="kafka"
        ) from error
