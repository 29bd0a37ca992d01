"""How far source partitions were forwarded: records of a topic of the target."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from icat_stream.records import SystemUnavailable

_log = logging.getLogger(__name__)

_ANSWER_S = 10.0
# An open transaction of another forwarder ends within its own time-out.
_PATIENCE_S = 120.0


class Source(NamedTuple):
    """A partition of a topic of the source cluster."""

    topic: str
    partition: int


class Position(NamedTuple):
    """How far a source is forwarded.

    Parameters
    ----------
    offset
        That comes next.
    topic_id
        Kafka's own of the topic; empty where the cluster does not tell.
    """

    offset: int
    topic_id: str = ""


class Positions:
    """Reads and makes the records of positions; the newest of each source counts.

    Parameters
    ----------
    options
        librdkafka's, to reach the target.
    topic
        That holds them there.
    cluster
        Name of the source cluster.
    """

    def __init__(self, options: Mapping[str, Any], topic: str, cluster: str) -> None:
        self._options = dict(options)
        self._topic = topic
        self._cluster = cluster

    def ensure_topic(self, replication: int) -> None:
        """Create the topic unless it is there.

        Raises
        ------
        SystemUnavailable
            It cannot be made, or would lose positions, or mix them up.
        """
        admin = AdminClient(self._options)
        made = NewTopic(
            self._topic,
            num_partitions=1,
            replication_factor=replication,
            config={"cleanup.policy": "compact"},
        )
        try:
            found = admin.list_topics(timeout=_ANSWER_S).topics.get(self._topic)
            if found is None:
                admin.create_topics([made])[self._topic].result(_ANSWER_S)
                return
            if len(found.partitions) != 1:
                raise self._unfit(f"{len(found.partitions)} partitions, not one")
            policy = self._policy(admin)
            if policy not in (None, "compact"):
                raise self._unfit(f"cleanup.policy={policy}, not compact")
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise SystemUnavailable(
                    f"{self._topic} of the target: {error.args[0].str()}",
                    system="target",
                ) from error

    def _unfit(self, text: str) -> SystemUnavailable:
        return SystemUnavailable(
            f"{self._topic} of the target has {text}: positions would be lost there,"
            " and records forwarded twice; make it anew, or name another one in"
            " forward.positions",
            system="target",
        )

    def _policy(self, admin: AdminClient) -> str | None:
        """Return its cleanup policy; ``None`` if we may not know it."""
        resource = ConfigResource(ResourceType.TOPIC, self._topic)
        [future] = admin.describe_configs([resource]).values()
        try:
            return str(future.result(timeout=_ANSWER_S)["cleanup.policy"].value)
        except KafkaException as error:
            _log.warning(
                "forward: the target does not tell the cleanup.policy of %s (%s): it"
                " must be compact",
                self._topic,
                error.args[0].str(),
            )
            return None

    def record(self, source: Source, position: Position) -> dict[str, Any]:
        """Return what to produce to say how far a source is forwarded."""
        key = f"{self._cluster}/{source.topic}/{source.partition}"
        return {
            "topic": self._topic,
            "partition": 0,
            "key": key.encode(),
            "value": json.dumps({"version": 1, **position._asdict()}).encode(),
        }

    def read(self, stopped: Callable[[], bool]) -> dict[Source, Position]:
        """Return how far each source is forwarded, as committed.

        Parameters
        ----------
        stopped
            Whether to give up.

        Raises
        ------
        SystemUnavailable
            The target does not answer, or somebody's transaction does not end.
        """
        end = self._end()
        found: dict[Source, Position] = {}
        consumer = self._consumer("read_committed")
        deadline = time.monotonic() + _PATIENCE_S
        next_offset = 0
        try:
            consumer.assign([TopicPartition(self._topic, 0, 0)])
            # To the very end, also behind what others have not committed yet.
            while next_offset < end:
                if time.monotonic() > deadline or stopped():
                    raise SystemUnavailable(
                        f"{self._topic} of the target cannot be read beyond"
                        f" {next_offset} of {end}",
                        system="target",
                    )
                message: Any = consumer.poll(0.5)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    self._take(message.key(), message.value(), found)
                    next_offset = message.offset() + 1
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    next_offset = message.offset()
                elif not error.retriable():
                    raise KafkaException(error)
        finally:
            consumer.close()
        return found

    def _end(self) -> int:
        consumer = self._consumer("read_uncommitted")
        try:
            if self._topic not in consumer.list_topics(timeout=_ANSWER_S).topics:
                return 0
            place = TopicPartition(self._topic, 0)
            _, high = consumer.get_watermark_offsets(place, timeout=_ANSWER_S)
            return int(high)
        finally:
            consumer.close()

    def _consumer(self, isolation: str) -> Consumer:
        return Consumer(
            {
                **self._options,
                "group.id": f"{self._topic}.reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "isolation.level": isolation,
            }
        )

    def _take(
        self, key: bytes | None, value: bytes | None, found: dict[Source, Position]
    ) -> None:
        cluster, _, rest = (key or b"").decode(errors="replace").partition("/")
        if cluster != self._cluster:
            return
        topic, _, partition = rest.rpartition("/")
        source = Source(topic, int(partition))
        if value is None:
            found.pop(source, None)
        else:
            given = json.loads(value)
            found[source] = Position(int(given["offset"]), given.get("topic_id", ""))
