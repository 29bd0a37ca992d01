"""The topics that are forwarded, and where in them."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from icat_stream.config import KafkaSettings
from icat_stream.records import Coordinates, SystemUnavailable

from .positions import Position, Source

_log = logging.getLogger(__name__)

_ANSWER_S = 10.0


class SourceTopics:
    """Reads topics of this cluster, all of their partitions.

    Parameters
    ----------
    settings
        Of the cluster.
    topics
        Their names.
    from_earliest
        Whether a partition that never was begins at its beginning, or else at its end.
    """

    def __init__(
        self, settings: KafkaSettings, topics: Sequence[str], *, from_earliest: bool
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._from_earliest = from_earliest

    def consumer(self) -> Consumer:
        """Return a consumer; its group is for those who look how far it is."""
        return Consumer(
            {
                **self._settings.client_options(),
                "group.id": f"{self._settings.group_id}.forward",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": 16_384,
            }
        )

    def ids(self) -> dict[str, str]:
        """Return Kafka's own ids of the topics; empty where it does not tell them.

        A topic that was made anew has its name, but another id.
        """
        admin = AdminClient(self._settings.client_options())
        asked = TopicCollection(list(self._topics))
        found = {}
        for topic, future in admin.describe_topics(
            asked, request_timeout=_ANSWER_S
        ).items():
            try:
                found[topic] = str(future.result().topic_id)
            except KafkaException as error:
                _log.info("forward: no id of topic %s: %s", topic, error.args[0].str())
                found[topic] = ""
        return found

    def places(
        self,
        consumer: Consumer,
        positions: Mapping[Source, Position],
        ids: Mapping[str, str],
    ) -> dict[Source, int]:
        """Return where to read each partition from.

        Parameters
        ----------
        consumer
            To ask with.
        positions
            How far they were forwarded.
        ids
            Of the topics, by now.

        Raises
        ------
        SystemUnavailable
            What comes next is not there any more, or the topic is not there.
        """
        found: dict[Source, int] = {}
        for source in self._partitions(consumer):
            low, high = _span(consumer, source)
            first = low if self._from_earliest else high
            place, topic_id = positions.get(source, Position(first))
            known = ids.get(source.topic, "")
            anew = topic_id and known and topic_id != known
            if anew or not low <= place <= high:
                why = "the topic was made anew" if anew else "records were deleted"
                raise SystemUnavailable(
                    f"{source.topic}[{source.partition}] has offsets from {low} to"
                    f" {high}, and {place} comes next, but {why}; say where to go on"
                    f" with --from '{source.topic}[{source.partition}]@{low}'",
                    system="kafka",
                )
            found[source] = place
        return found

    def ends(self) -> dict[Source, int]:
        """Return where the partitions end now.

        Raises
        ------
        SystemUnavailable
            Kafka does not answer, or lacks a topic.
        """
        try:
            with closing(self.consumer()) as consumer:
                partitions = self._partitions(consumer)
                return {each: _span(consumer, each)[1] for each in partitions}
        except KafkaException as error:
            raise SystemUnavailable(error.args[0].str(), system="kafka") from error

    def _partitions(self, consumer: Consumer) -> list[Source]:
        topics = consumer.list_topics(timeout=_ANSWER_S).topics
        missing = [each for each in self._topics if each not in topics]
        if missing:
            raise SystemUnavailable(
                f"topics {', '.join(missing)} of forward.rules are not there",
                system="kafka",
            )
        return [
            Source(topic, number)
            for topic in self._topics
            for number in sorted(topics[topic].partitions)
        ]


def assign(consumer: Consumer, places: Mapping[Source, int]) -> None:
    """Read from these places on."""
    consumer.assign([TopicPartition(*source, at) for source, at in places.items()])


def place_of(message: Any) -> Coordinates:
    """Return where a record stands."""
    return Coordinates(message.topic(), message.partition(), message.offset())


def pass_end(message: Any, places: dict[Source, int]) -> None:
    """Pass what is no record at a partition's end: transactions' markers.

    Raises
    ------
    KafkaException
        It is no end, but an error.
    """
    error = message.error()
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
        source = Source(message.topic(), message.partition())
        # Records that were read together with it are behind it.
        places[source] = max(message.offset(), places.get(source, 0))
    elif not error.retriable():
        raise KafkaException(error)


def all_there(places: Mapping[Source, int], ends: Mapping[Source, int]) -> bool:
    """Whether reading has come to these ends."""
    return all(places.get(source, 0) >= end for source, end in ends.items())


def _span(consumer: Consumer, source: Source) -> tuple[int, int]:
    place = TopicPartition(*source)
    low, high = consumer.get_watermark_offsets(place, timeout=_ANSWER_S)
    return int(low), int(high)
