"""What our topics must be set to: checked at start, and mended."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from icat_stream.config import Settings

from . import kafka_clients, topics

_log = logging.getLogger(__name__)

_CALL_S = 10.0
# What is due may be read late: after a weekend that nobody ran it.
_MARGIN_S = 3 * 86400
# No right, or a broker that cannot do it, such as the embedded one.
_NOT_FOR_US = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError._TIMED_OUT,  # noqa: SLF001
)

Configs = Mapping[str, Mapping[str, str]]


def mend(settings: Settings, name: str, partitions: Mapping[str, int]) -> None:
    """Set the retry topics, the table of parked records and the outcomes topic right.

    What we may not do is said, and no reason not to run.

    Parameters
    ----------
    settings
        All of them.
    name
        Of the consumer.
    partitions
        By topic.
    """
    for text in _too_few(settings, name, partitions):
        _log.warning("%s", text)
    if dropped := topics.dropped_topics(settings, name, partitions):
        _log.info(
            "%s: of delays that retries.delays does not have any more: what waits"
            " there is handled; delete them when they are empty",
            ", ".join(dropped),
        )
    try:
        admin = kafka_clients.admin(settings.kafka)
        for topic, wrong in _wrong(admin, settings, name, partitions).items():
            _set(admin, settings, topic, wrong)
    except KafkaException as error:
        if error.args[0].code() not in _NOT_FOR_US and not error.args[0].retriable():
            raise
        _log.info("settings of topics are not known: %s", error.args[0].str())


def faults(
    settings: Settings, name: str, partitions: Mapping[str, int]
) -> Iterator[str]:
    """Yield what is wrong with a consumer's topics of ours, of those that are there.

    Parameters
    ----------
    settings
        All of them.
    name
        Of the consumer.
    partitions
        By topic.

    Raises
    ------
    KafkaException
        Kafka does not tell.
    """
    yield from _too_few(settings, name, partitions)
    admin = kafka_clients.admin(settings.kafka)
    wrong = _wrong(admin, settings, name, partitions)
    for topic, wanted in wrong.items():
        yield f"topic {topic} should have {_text(wanted)}"


def _too_few(
    settings: Settings, name: str, partitions: Mapping[str, int]
) -> Iterator[str]:
    sources = settings.consumers[name].topics
    ours = [*topics.retry_topics(settings, name), topics.parked_topic(settings, name)]
    most = max(partitions.get(topic, 0) for topic in sources)
    few = [each for each in ours if partitions.get(each, most) < most]
    if few:
        yield (
            f"{', '.join(few)} have fewer than the {most} partitions of"
            f" {' or '.join(sources)}: only so many instances share what waits. Stop"
            " all instances, then give them more"
        )


def _wrong(
    admin: AdminClient, settings: Settings, name: str, partitions: Mapping[str, int]
) -> dict[str, dict[str, str]]:
    """Return what has to be set, by topic."""
    sources = settings.consumers[name].topics
    retries = topics.retry_topics(settings, name)
    parked = topics.parked_topic(settings, name)
    outcomes = settings.outcomes.topic
    ours = (*retries, parked, outcomes)
    # Outcomes may be a source, too.
    wanted = [t for t in dict.fromkeys((*sources, *ours)) if t in partitions]
    found = _described(admin, wanted)
    largest = max(
        (int(found[topic]["max.message.bytes"]) for topic in sources if topic in found),
        default=0,
    )
    longest = int((max(settings.retries.delays) + _MARGIN_S) * 1000)
    wrong: dict[str, dict[str, str]] = {}
    for topic in found.keys() - set(sources):
        own = wrong.setdefault(topic, {})
        if topic == outcomes:
            for key, least in topics.outcomes_config(settings).items():
                if 0 <= int(found[topic][key]) < int(least):
                    own[key] = least
            continue
        if int(found[topic]["max.message.bytes"]) < largest:
            own["max.message.bytes"] = str(largest)
        if topic == parked:
            if found[topic]["cleanup.policy"] != "compact":
                own["cleanup.policy"] = "compact"
        elif 0 <= int(found[topic]["retention.ms"]) < longest:
            own["retention.ms"] = str(longest)
    return {topic: own for topic, own in sorted(wrong.items()) if own}


def _text(wanted: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in wanted.items())


def _described(admin: AdminClient, names: Sequence[str]) -> Configs:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    futures = admin.describe_configs(resources, request_timeout=_CALL_S)
    found = {}
    for resource, future in futures.items():
        try:
            entries = future.result().values()
        except KafkaException as error:
            # Those of one topic; the others are looked at all the same.
            if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise
            _log.info(
                "settings of topic %s are not known: we lack DESCRIBE_CONFIGS on it",
                resource.name,
            )
        else:
            found[resource.name] = {each.name: each.value or "" for each in entries}
    return found


def _set(
    admin: AdminClient, settings: Settings, topic: str, wanted: Mapping[str, str]
) -> None:
    text = _text(wanted)
    if not settings.kafka.create_topics:
        _log.warning("topic %s should have %s; kafka.create_topics is off", topic, text)
        return
    entries: list[Any] = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in wanted.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    futures = admin.incremental_alter_configs([resource], request_timeout=_CALL_S)
    for future in futures.values():
        try:
            future.result()
            _log.info("topic %s: set %s", topic, text)
        except KafkaException as error:
            _log.warning("topic %s: set %s: %s", topic, text, error.args[0].str())
