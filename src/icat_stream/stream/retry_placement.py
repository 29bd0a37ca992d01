"""With which source partition each partition of our own topics goes.

The group shares out the source topics only.  Whoever is given a source partition reads
the partitions of retry topics, and of the table of parked records, that are at home
with it as well, so that each has one reader, who
changes only when the group moves the source partition.

Homes must therefore be the same to all members at all times, also when the source
gets more partitions.  So a home is noted with each committed offset of the retry
partition, as its metadata, and stays; only without a note it follows from the numbers.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from icat_stream.config import Settings
from icat_stream.records import ExitCode

from . import kafka_clients, topics
from .offset_metadata import home_of
from .run_result import Halt

Homes = Mapping[tuple[str, int], str]
"""Names of source partitions by retry topic and partition."""

_CALL_S = 5.0
# Longer than a member may hold up a rebalance, be it another client's: 300 s.
_KAFKA_S = 330.0
_BETWEEN_S = 0.5


def name_of(topic: str, number: int) -> str:
    """Return the name of a partition."""
    return f"{topic}[{number}]"


def read(
    settings: Settings,
    name: str,
    partitions: Mapping[str, int],
    stopping: Callable[[], bool],
) -> Homes | None:
    """Return where the retry partitions of a consumer are at home.

    Parameters
    ----------
    settings
        All of them.
    name
        Of the consumer.
    partitions
        By topic.
    stopping
        Asked while waiting for Kafka; ``None`` is returned when it says yes.

    Raises
    ------
    Halt
        Kafka does not tell.
    """
    group = topics.group_of(settings, name)
    ours = [
        *topics.retry_topics(settings, name),
        *topics.dropped_topics(settings, name, partitions),
        topics.parked_topic(settings, name),
    ]
    places = [
        TopicPartition(topic, number)
        for topic in ours
        for number in range(partitions[topic])
    ]
    sources = [
        name_of(topic, number)
        for topic in sorted(settings.consumers[name].topics)
        for number in range(partitions[topic])
    ]
    # Others may be in the middle of a transaction: what they note does not change.
    client = kafka_clients.consumer(
        settings.kafka, group, member=False, committed_only=False
    )
    try:
        noted = _noted(client, places, group, stopping)
    finally:
        client.close()
    return None if noted is None else homes(sources, noted)


def homes(sources: Sequence[str], noted: Sequence[TopicPartition]) -> Homes:
    """Return where retry partitions are at home.

    Parameters
    ----------
    sources
        Names of all source partitions.
    noted
        All retry partitions, with the metadata of their committed offsets.
    """
    known = set(sources)
    return {
        (place.topic, place.partition): home
        if (home := home_of(place.metadata or "")) in known
        else sources[place.partition % len(sources)]
        for place in noted
    }


def _noted(
    client: Consumer,
    places: list[TopicPartition],
    group: str,
    stopping: Callable[[], bool],
) -> list[TopicPartition] | None:
    for _ in _tries(stopping):
        try:
            found: list[TopicPartition] = client.committed(places, timeout=_CALL_S)
            for place in found:
                if place.error is not None:
                    raise KafkaException(place.error)
            return found
        except KafkaException as error:
            reason = error.args[0].str()
    if stopping():
        return None
    text = f"{group}: Kafka does not tell the committed offsets: {reason}"
    raise Halt(ExitCode.UNAVAILABLE, text)


def _tries(stopping: Callable[[], bool]) -> Iterator[int]:
    end = time.monotonic() + _KAFKA_S
    number = 0
    while not stopping():
        yield number
        if time.monotonic() > end:
            return
        number += 1
        time.sleep(_BETWEEN_S)
