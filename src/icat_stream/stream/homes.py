"""With which source partition each retry partition goes.

The group shares out the source topics only.  Whoever is given a source partition reads
the retry partitions that are at home with it as well, so that each has one reader, who
changes only when the group moves the source partition.

Homes must therefore be the same to all members at all times, also when the source
gets more partitions.  So a home is noted with each committed offset of the retry
partition, as its metadata, and stays; only without a note it follows from the numbers.
"""

import concurrent.futures
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from icat_stream.config import Settings

from . import clients, topics
from .results import CONFIGURATION, UNAVAILABLE, Halt

_log = logging.getLogger(__name__)

Homes = Mapping[tuple[str, int], str]
"""Names of source partitions by retry topic and partition."""

_CALL_S = 5.0
# Longer than a member may hold up a rebalance: max.poll.interval.ms is 300 s.
_KAFKA_S = 330.0
# Members with an instance id stay for their session timeout after they have ended.
_PATIENCE_S = 60.0
_BETWEEN_S = 0.5
# Only then no assignment is told.
_MOVING = (
    ConsumerGroupState.PREPARING_REBALANCING,
    ConsumerGroupState.COMPLETING_REBALANCING,
)


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
        Kafka does not tell, or the group has members that share out retry topics.
    """
    group = topics.group_of(settings, name)
    retries = topics.retry_topics(settings, name)
    if not _only_shares_sources(settings, group, retries, stopping):
        return None
    places = [
        TopicPartition(topic, number)
        for topic in retries
        for number in range(partitions[topic])
    ]
    sources = [
        name_of(topic, number)
        for topic in sorted(settings.consumers[name].topics)
        for number in range(partitions[topic])
    ]
    # Others may be in the middle of a transaction: what they note does not change.
    client = clients.consumer(
        settings.kafka, group, until_end=False, member=False, committed_only=False
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
        (place.topic, place.partition): place.metadata
        if place.metadata in known
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
    raise Halt(
        UNAVAILABLE, f"{group}: Kafka does not tell the committed offsets: {reason}"
    )


def _only_shares_sources(
    settings: Settings, group: str, retries: list[str], stopping: Callable[[], bool]
) -> bool:
    """Wait until nobody is given retry partitions by the group; ``False``: stopping."""
    trouble = ""
    until: float | None = None
    admin = AdminClient({**settings.kafka.client_options(), "log_level": 0})
    for _ in _tries(stopping):
        try:
            future = admin.describe_consumer_groups([group], request_timeout=_CALL_S)
            told = future[group].result(2 * _CALL_S)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:  # noqa: SLF001
                # Only the broker for demonstrations: it has one instance.
                return True
            trouble = f"Kafka does not tell its members: {error.args[0].str()}"
            continue
        except concurrent.futures.TimeoutError:
            trouble = "Kafka does not tell its members"
            continue
        if told.state in _MOVING:
            trouble = "its members do not come to rest"
            continue
        hosts = {
            member.host
            for member in told.members
            for place in member.assignment.topic_partitions
            if place.topic in retries
        }
        if not hosts:
            return True
        trouble = (
            "instances of an earlier version share out retry topics, on"
            f" {', '.join(sorted(hosts))}: stop all instances of the old version,"
            " then start the new one"
        )
        if until is None:
            until = time.monotonic() + _PATIENCE_S
            _log.warning("%s: %s; waiting", group, trouble)
        elif time.monotonic() > until:
            raise Halt(CONFIGURATION, f"group {group}: {trouble}")
    if stopping():
        return False
    raise Halt(UNAVAILABLE, f"group {group}: {trouble}")


def _tries(stopping: Callable[[], bool]) -> Iterator[int]:
    end = time.monotonic() + _KAFKA_S
    number = 0
    while not stopping():
        yield number
        if time.monotonic() > end:
            return
        number += 1
        time.sleep(_BETWEEN_S)
