"""Records and their positions, in transactions of the target cluster."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

from icat_stream.records import Coordinates
from icat_stream.telemetry import fault_point

from .positions import Position, Positions, Source
from .rules import HOP, Forwarded
from .source_topics import SourceTopics, all_there, assign, pass_end, place_of

_log = logging.getLogger(__name__)

_BATCH = 1_000
_READ_S = 0.5
_ANSWER_S = 10.0
_COMMIT_S = 30.0
_TRANSACTION_MS = 60_000
# Partitions that are added to a topic are noticed within that.
_LOOK_AGAIN_S = 60.0


class Transfer:
    """From reading the positions until something goes wrong.

    After that nobody but the target itself knows what of a transaction there is, so the
    next transfer fences this one and reads the positions anew.

    Parameters
    ----------
    topics
        What is read.
    positions
        How far it was forwarded.
    options
        librdkafka's, to reach the target.
    name
        Of the source cluster.
    made
        Tells what becomes of a record.
    stopped
        Whether the end was asked for.
    """

    def __init__(
        self,
        *,
        topics: SourceTopics,
        positions: Positions,
        options: Mapping[str, Any],
        name: str,
        made: Callable[[Any], Sequence[Forwarded]],
        stopped: Callable[[], bool],
    ) -> None:
        self._topics = topics
        self._positions = positions
        self._name = name
        self._made = made
        self._stopped = stopped
        self._partitions: dict[str, int] = {}
        self._places: dict[Source, int] = {}
        self._ids: dict[str, str] = {}
        self.too_large: list[Coordinates] = []
        """Records that the target refuses for their size."""
        self.failures: list[KafkaError] = []
        """Why other records were not taken."""
        self._producer = Producer(
            {
                **options,
                "transactional.id": f"icat-stream.forward.{name}",
                "transaction.timeout.ms": _TRANSACTION_MS,
                # Java's way: other clients find the same key in the same partition.
                "partitioner": "murmur2_random",
                "compression.type": "zstd",
                "linger.ms": 5,
                # The broker refuses a batch as a whole: a large record shall be alone.
                "batch.size": 65_536,
                # The broker's limit counts, not the client's.
                "message.max.bytes": 256 * 2**20,
            },
            logger=_log,
        )
        self._consumer = topics.consumer()

    def close(self) -> None:
        """Let go of both clusters."""
        self._producer.purge()
        self._consumer.close()

    def begin(self, places: Mapping[Source, int]) -> None:
        """Fence whoever was here before, and find out how far they came.

        Parameters
        ----------
        places
            To begin at, whatever was forwarded.
        """
        self._producer.init_transactions(_COMMIT_S)
        self._ids = self._topics.ids()
        self._note(places)
        positions = self._positions.read(self._stopped)
        self._places = self._topics.places(self._consumer, positions, self._ids)
        # Where one begins is settled before anything can go wrong: the end moves on.
        self._note({s: at for s, at in self._places.items() if s not in positions})
        assign(self._consumer, self._places)

    def _note(self, places: Mapping[Source, int]) -> None:
        if places:
            self._producer.begin_transaction()
            self._send_positions(places)
            self._producer.commit_transaction(_COMMIT_S)

    def _send_positions(self, places: Mapping[Source, int]) -> None:
        for source, offset in places.items():
            position = Position(offset, self._ids.get(source.topic, ""))
            self._send(**self._positions.record(source, position))

    def run(
        self,
        ends: Mapping[Source, int] | None,
        forwarded: Callable[[Counter[str], float], None],
    ) -> None:
        """Forward until told to stop, or up to some ends.

        Parameters
        ----------
        ends
            ``None``: there are always more.
        forwarded
            Told after each transaction how many records of each rule it had, and the
            seconds that it took; may wait.
        """
        looked = time.monotonic()
        while not self._stopped():
            if ends is not None and all_there(self._places, ends):
                return
            if time.monotonic() - looked > _LOOK_AGAIN_S:
                looked = time.monotonic()
                self._look_for_partitions()
            began = time.monotonic()
            counts = self._transfer(self._consumer.consume(_BATCH, _READ_S))
            forwarded(counts, time.monotonic() - began)

    def _look_for_partitions(self) -> None:
        here = {s: Position(at, self._ids[s.topic]) for s, at in self._places.items()}
        found = self._topics.places(self._consumer, here, self._topics.ids())
        # None of what is new was there when reading began.
        new = dict.fromkeys(found.keys() - self._places.keys(), 0)
        if new:
            self._note(new)
            self._places |= new
            assign(self._consumer, self._places)

    def _transfer(self, messages: Sequence[Any]) -> Counter[str]:
        counts: Counter[str] = Counter()
        touched: dict[Source, int] = {}
        for message in messages:
            if message.error() is not None:
                pass_end(message, self._places)
                continue
            if not touched:
                self._producer.begin_transaction()
            at = place_of(message)
            touched[Source(at.topic, at.partition)] = at.offset + 1
            for each in self._made(message):
                self._produce(message, at, each)
                counts[each.rule] += 1
        if not touched:
            return counts
        self._send_positions(touched)
        fault_point("forward-produced")
        self._producer.commit_transaction(_COMMIT_S)
        fault_point("forward-committed")
        for source, offset in touched.items():
            # The end that was read with them may be behind a transaction's marker.
            self._places[source] = max(offset, self._places.get(source, 0))
        # For those who look how far it is; nothing is read from there.
        self._consumer.commit(
            offsets=[TopicPartition(*source, at) for source, at in touched.items()]
        )
        return counts

    def _produce(self, message: Any, at: Coordinates, made: Forwarded) -> None:
        # Of a topic that is not there, a commit would tell nothing for minutes.
        partitions = self._count(made.topic)
        kind, timestamp = message.timestamp()
        given: dict[str, Any] = {
            "topic": made.topic,
            "key": message.key(),
            "value": made.value,
            "headers": [
                *(message.headers() or ()),
                (HOP, f"{self._name}/{at}".encode()),
            ],
            "on_delivery": lambda error, _: self._answered(error, at),
        }
        if kind != TIMESTAMP_NOT_AVAILABLE:
            given["timestamp"] = timestamp
        if message.key() is None:
            # What has no key stays in the order of its partition.
            given["partition"] = at.partition % partitions
        self._send(**given)

    def _send(self, **given: Any) -> None:
        while True:
            try:
                self._producer.produce(**given)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _answered(self, error: KafkaError | None, at: Coordinates) -> None:
        if error is None or error.code() == KafkaError._PURGE_QUEUE:  # noqa: SLF001
            return
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self.too_large.append(at)
        else:
            self.failures.append(error)

    def _count(self, topic: str) -> int:
        if topic not in self._partitions:
            found = self._producer.list_topics(topic, timeout=_ANSWER_S).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            self._partitions[topic] = len(found.partitions)
        return self._partitions[topic]
