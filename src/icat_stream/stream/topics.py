"""The topics of a loop: checked at start, ours created."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from icat_stream.config import Settings
from icat_stream.records import ExitCode

from . import kafka_clients
from .run_result import Halt

_log = logging.getLogger(__name__)

_METADATA_S = 2.0
_SAY_AGAIN_S = 30.0
_BACKOFF_S = (0.5, 1.0, 2.0, 5.0)
_CREATION_S = 30.0
# A topic that was just created is not known to every broker at once.
_NEWS_S = 2.0
_LATE = (KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT)  # noqa: SLF001
# Beyond the longest wait of a parked record, its dead letter must still find it.
_RETENTION_MARGIN_S = 7 * 86400
# Of an outcome, beside the payload.
_OUTCOME_BYTES = 128 * 2**10
# The default of brokers.
_LEAST_MESSAGE = 2**20 + 12

_DAY_MS = 86_400_000
# What is gone from a table is deleted, but not before everybody has read that it is.
_TABLE = {
    "cleanup.policy": "compact",
    "segment.ms": str(_DAY_MS // 24),
    "delete.retention.ms": str(_DAY_MS),
}


class Missing(Halt):
    """Topics are not there, and it is for a person to make them.

    Parameters
    ----------
    topics
        Their names.
    reason
        Why they are not made here, and what to do.
    """

    def __init__(self, topics: Sequence[str], reason: str) -> None:
        super().__init__(ExitCode.USAGE, reason)
        self.topics = tuple(topics)


def group_of(settings: Settings, name: str) -> str:
    """Return the group of a consumer."""
    return f"{settings.kafka.group_id}.{name}"


def retry_topics(settings: Settings, name: str) -> list[str]:
    """Return the retry topics of a consumer, by rising delay."""
    group = group_of(settings, name)
    return [f"{group}.retry.{n}" for n in range(len(settings.retries.delays))]


def dropped_topics(
    settings: Settings, name: str, present: Mapping[str, int]
) -> list[str]:
    """Return retry topics of a consumer whose delays are in the configuration no more.

    What waits there is handled all the same; nothing is added.

    Parameters
    ----------
    settings
        All of them.
    name
        Of the consumer.
    present
        Partitions by topic, of all that Kafka has.
    """
    prefix = f"{group_of(settings, name)}.retry."
    written = retry_topics(settings, name)
    return sorted(
        topic
        for topic in present
        if topic.startswith(prefix)
        and topic.removeprefix(prefix).isdecimal()
        and topic not in written
    )


def parked_topic(settings: Settings, name: str) -> str:
    """Return the table of a consumer's parked records."""
    return f"{group_of(settings, name)}.parked"


def transactional_id(settings: Settings, name: str, instance: str) -> str:
    """Return under which name an instance of a consumer sends.

    Parameters
    ----------
    settings
        All of them.
    name
        Of the consumer.
    instance
        Its ``kafka.instance_id``, or what it has made up.
    """
    return f"{group_of(settings, name)}.{instance}"


def partitions_when_reachable(
    client: Consumer, stopping: Callable[[], bool]
) -> dict[str, int] | None:
    """Return all topics with their number of partitions, once Kafka answers.

    Parameters
    ----------
    client
        Any client of the cluster.
    stopping
        Asked in between; ``None`` is returned when it says yes.

    Raises
    ------
    Halt
        Kafka refuses our credentials.
    """
    tries = 0
    said = 0.0
    begin = time.monotonic()
    while not stopping():
        try:
            topics = client.list_topics(timeout=_METADATA_S).topics
            if said:
                _log.info("Kafka answers after %.0f s", time.monotonic() - begin)
            return {name: len(topic.partitions) for name, topic in topics.items()}
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() in (
                KafkaError._AUTHENTICATION,  # noqa: SLF001
                KafkaError.SASL_AUTHENTICATION_FAILED,
            ):
                text = f"Kafka refuses us: {reason.str()}"
                raise Halt(ExitCode.UNAVAILABLE, text) from None
        now = time.monotonic()
        if not said or now - said > _SAY_AGAIN_S:
            _log.warning("Kafka does not answer (%s); waiting", reason.str())
            said = now
        sleep(_BACKOFF_S[min(tries, len(_BACKOFF_S) - 1)], stopping)
        tries += 1
    return None


def ensure(
    client: Consumer, settings: Settings, name: str, stopping: Callable[[], bool]
) -> Mapping[str, int] | None:
    """Check the topics of a consumer and create those of ours that are missing.

    Parameters
    ----------
    client
        The loop's consumer.
    settings
        All of them.
    name
        Of the consumer.
    stopping
        Asked while waiting for Kafka.

    Returns
    -------
    :
        Partitions by topic; ``None`` if asked to stop before Kafka answered.

    Raises
    ------
    Missing
        Source topics, or ours that may not be created.
    Halt
        Kafka refuses us.
    """
    present = with_sources(client, settings, name, stopping)
    if present is None:
        return None
    retries = retry_topics(settings, name)
    parked = parked_topic(settings, name)
    ours = [
        *(settings.events.topic, settings.outcomes.topic, settings.dead_letters.topic),
        *(*retries, parked),
    ]
    missing = [topic for topic in ours if topic not in present]
    if not missing:
        return present
    if not settings.kafka.create_topics:
        raise Missing(
            missing,
            f"Kafka has no topic {', '.join(missing)}, and kafka.create_topics is off:"
            f" create them ({parked} with cleanup.policy=compact), or turn it on",
        )
    create(settings, missing, present, retries, [parked])
    deadline = time.monotonic() + _CREATION_S
    while not stopping():
        present = partitions_when_reachable(client, stopping) or {}
        missing = [topic for topic in missing if not present.get(topic)]
        if not missing:
            return present
        if time.monotonic() > deadline:
            raise Halt(
                ExitCode.UNAVAILABLE,
                f"Kafka did not create {', '.join(missing)} within"
                f" {_CREATION_S:.0f} s: create it, or look at its controller",
            )
        time.sleep(0.1)
    return None


def with_sources(
    client: Consumer, settings: Settings, name: str, stopping: Callable[[], bool]
) -> dict[str, int] | None:
    """Return all topics, once Kafka answers and has those that a consumer reads.

    Parameters
    ----------
    client
        Any client of the cluster.
    settings
        All of them.
    name
        Of the consumer.
    stopping
        Asked in between; ``None`` is returned when it says yes.

    Raises
    ------
    Missing
        Not all are there; our own events are none of them, if we may create their
        topic.
    """
    ours = {settings.events.topic} if settings.kafka.create_topics else set()
    wanted = [t for t in settings.consumers[name].topics if t not in ours]
    deadline: float | None = None
    while True:
        present = partitions_when_reachable(client, stopping)
        if present is None:
            return None
        missing = [topic for topic in wanted if not present.get(topic)]
        if not missing:
            return present
        deadline = deadline or time.monotonic() + _NEWS_S
        if time.monotonic() > deadline:
            raise Missing(
                missing,
                f"consumers.{name}.topics: Kafka at"
                f" {settings.kafka.bootstrap_servers} has no topic"
                f" {', '.join(missing)} (or hides it from us): create it, or correct"
                " the name",
            )
        sleep(0.2, stopping)


def create(
    settings: Settings,
    missing: Sequence[str],
    present: Mapping[str, int],
    retries: Sequence[str] = (),
    compacted: Sequence[str] = (),
) -> None:
    """Create topics of ours; one that somebody else has just created is as good.

    Parameters
    ----------
    settings
        All of them.
    missing
        Names.
    present
        Partitions by topic: what waits has as many as where it comes from.
    retries
        Those among them that are retry topics, which are kept for longer.
    compacted
        Those among them that are tables: the last record of each key is kept for ever.

    Raises
    ------
    Missing
        Kafka refuses.
    """
    kafka = settings.kafka
    waits = settings.retries.park_for + max(settings.retries.delays)
    retention = {"retention.ms": str(int((waits + _RETENTION_MARGIN_S) * 1000))}
    configs = {
        **dict.fromkeys(retries, retention),
        **dict.fromkeys(compacted, _TABLE),
        settings.outcomes.topic: outcomes_config(settings),
    }
    admin = kafka_clients.admin(kafka)
    futures = admin.create_topics(
        [
            NewTopic(
                topic,
                num_partitions=_partitions(settings, topic, present),
                replication_factor=kafka.replication_factor,
                config=configs.get(topic, {}),
            )
            for topic in missing
        ],
        operation_timeout=10,
        request_timeout=20,
    )
    for topic, future in futures.items():
        try:
            future.result()
            _log.info("created topic %s", topic)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            if error.args[0].retriable() or error.args[0].code() in _LATE:
                # No controller at the moment: whoever needs the topic waits for it.
                _log.warning("topic %s: %s", topic, error.args[0].str())
                continue
            raise Missing(
                [topic],
                f"topic {topic} is missing and cannot be created:"
                f" {error.args[0].str()}; create it, or give us the right to",
            ) from None


def outcomes_config(settings: Settings) -> dict[str, str]:
    """Return how the outcomes topic has to be set at least."""
    payload = settings.journal.payload_limit if settings.journal.payload else 0
    largest = max(_LEAST_MESSAGE, payload + _OUTCOME_BYTES)
    return {
        "retention.ms": str(int(settings.outcomes.retention * 1000)),
        "max.message.bytes": str(largest),
    }


def _partitions(settings: Settings, topic: str, present: Mapping[str, int]) -> int:
    for name, consumer in settings.consumers.items():
        if topic in (*retry_topics(settings, name), parked_topic(settings, name)):
            return max(present.get(each, 0) for each in consumer.topics) or 1
    return settings.kafka.partitions


def sleep(seconds: float, stopping: Callable[[], bool]) -> None:
    """Sleep, but no longer than until a stop is asked for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stopping():
        time.sleep(0.1)
