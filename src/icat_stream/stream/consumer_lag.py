"""What Kafka itself says: lag, and dead letters that nobody has dealt with yet."""

import logging
import time
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from icat_stream.config import Settings
from icat_stream.records import SystemUnavailable

from . import kafka_clients, topics
from .dead_letters import marked, said, spans, state_topic
from .offset_metadata import NewerVersion, decode

_log = logging.getLogger("icat_stream.stream.librdkafka.watch")
_log.addFilter(lambda _: False)
_TIMEOUT_S = 10.0
_BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Depths:
    """How much waits in Kafka.

    Parameters
    ----------
    lag
        Records of a consumer that are not finished, by consumer and topic, whether
        they were read or not.  Markers of transactions count where a topic is written
        in such.
    ends
        Where partitions of the sources end, by topic and number; what is not decided
        yet is before that.
    undecided
        Seconds for which a reader has got no further in a partition of the sources,
        as a transaction there is not decided, and up to where it gets.
    dead_letters
        Of this program's group, neither replayed nor discarded.
    """

    lag: Mapping[tuple[str, str], int] = field(default_factory=dict)
    ends: Mapping[tuple[str, int], int] = field(default_factory=dict)
    undecided: Mapping[tuple[str, int], tuple[float, int]] = field(default_factory=dict)
    dead_letters: int = 0


class ConsumerLag:
    """Asks Kafka, with clients of its own that join no group; for one thread.

    Parameters
    ----------
    settings
        All of them.
    names
        Of the consumers to look at.
    """

    def __init__(self, settings: Settings, names: Sequence[str]) -> None:
        self._settings = settings
        self._names = names
        self._clients: dict[str, Any] = {}
        # Up to where partitions are decided, and since when that is so.
        self._decided: dict[tuple[str, int], tuple[int, float]] = {}
        self._reader: Any = None
        self._places = 0
        self._letters: dict[int, _Letters] = {}
        self._spans: dict[int, tuple[int, int]] = {}

    def measure(self) -> Depths:
        """Return how much waits.

        Raises
        ------
        SystemUnavailable
            Kafka does not answer.
        """
        lag: dict[tuple[str, str], int] = defaultdict(int)
        ends: dict[tuple[str, int], int] = {}
        with self._answering():
            for name in self._names:
                wanted = self._settings.consumers[name].topics
                self._measure(name, wanted, lag, ends, start=self._settings.kafka.start)
            undecided = self._undecided(ends)
            self._read_dead_letters()
        return Depths(
            lag=dict(lag),
            ends=ends,
            undecided=undecided,
            dead_letters=sum(each.waiting for each in self._letters.values()),
        )

    def in_first_retry(self, name: str) -> int:
        """Return how many records wait in the first retry topic of a consumer.

        Raises
        ------
        SystemUnavailable
            Kafka does not answer.
        """
        topic = topics.retry_topics(self._settings, name)[0]
        lag: dict[tuple[str, str], int] = defaultdict(int)
        with self._answering():
            self._measure(name, [topic], lag, {}, start="earliest")
        return lag[name, topic]

    def close(self) -> None:
        """Close the clients."""
        for client in (*self._clients.values(), self._reader):
            if client is not None:
                client.close()
        self._clients, self._reader = {}, None

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise SystemUnavailable(
                f"Kafka at {self._settings.kafka.bootstrap_servers}:"
                f" {error.args[0].str()}",
                system="kafka",
            ) from error

    def _measure(
        self,
        name: str,
        wanted: Sequence[str],
        lag: dict[tuple[str, str], int],
        ends: dict[tuple[str, int], int],
        *,
        start: str,
    ) -> None:
        client = self._clients.get(name)
        if client is None:
            group = topics.group_of(self._settings, name)
            client = self._clients[name] = self._client(group, committed_only=False)
        places = [
            TopicPartition(topic, number)
            for topic, known in client.list_topics(timeout=_TIMEOUT_S).topics.items()
            if topic in wanted
            for number in known.partitions
        ]
        if not places:
            return
        for place in kafka_clients.committed(client, places, seconds=_TIMEOUT_S):
            low, high = kafka_clients.watermarks(client, place, seconds=_TIMEOUT_S)
            ends[place.topic, place.partition] = high
            finished = _finished(place)
            begin = place.offset if place.offset >= 0 else low
            if place.offset < 0 and start == "latest":
                begin = high
            lag[name, place.topic] += max(0, high - max(begin, low) - finished)

    def _undecided(
        self, ends: Mapping[tuple[str, int], int]
    ) -> dict[tuple[str, int], tuple[float, int]]:
        now = time.monotonic()
        found: dict[tuple[str, int], tuple[int, float]] = {}
        for (topic, number), end in ends.items():
            _, decided = kafka_clients.watermarks(
                self._committed_reader(),
                TopicPartition(topic, number),
                seconds=_TIMEOUT_S,
            )
            if decided >= end:
                continue
            offset, since = self._decided.get((topic, number), (-1, now))
            found[topic, number] = decided, since if offset == decided else now
        self._decided = found
        return {
            place: (now - since, decided) for place, (decided, since) in found.items()
        }

    def _committed_reader(self) -> Any:
        if self._reader is None:
            group = f"{self._settings.kafka.group_id}.watch"
            self._reader = self._client(group, committed_only=True)
        return self._reader

    def _read_dead_letters(self) -> None:
        topic = self._settings.dead_letters.topic
        markers = state_topic(self._settings)
        known = self._committed_reader().list_topics(timeout=_TIMEOUT_S).topics
        places = [
            TopicPartition(name, number, 0)
            for name in (topic, markers)
            if name in known
            for number in known[name].partitions
        ]
        if len(places) != self._places:
            # The first marker makes its topic: all is read anew, once.
            self._places = len(places)
            self._letters.clear()
            self._reader.assign(places)
        if not places:
            return
        self._look_at_spans(topic)
        groups = {
            topics.group_of(self._settings, name).encode()
            for name in self._settings.consumers
        }
        while messages := self._reader.consume(_BATCH, 1.0):
            for message in messages:
                if message.error() is None:
                    self._note(message, topic, groups)
            if len(messages) < _BATCH:
                break

    def _look_at_spans(self, topic: str) -> None:
        """Forget what the topic's retention has removed: nobody can deal with it."""
        self._spans = spans(self._reader, topic)
        for number in self._letters.keys() - self._spans.keys():
            del self._letters[number]
        for number, (low, _) in self._spans.items():
            self._letters.setdefault(number, _Letters(low)).forget(low)

    def _note(self, message: Any, topic: str, groups: set[bytes]) -> None:
        if message.topic() == topic:
            headers = dict(message.headers() or ())
            letters = self._letters.get(message.partition())
            if letters is not None and headers.get("icat-stream.group") in groups:
                letters.note(message.offset(), rejected=message.timestamp()[1])
            return
        at = marked(message.key())
        if at is None or at.topic != topic or at.partition not in self._letters:
            return
        if at.offset >= self._spans[at.partition][1]:
            # Of a letter that came since we looked, unless it is made up.
            self._look_at_spans(topic)
        if at.offset < self._spans[at.partition][1]:
            _, timestamp = said(message.value())
            self._letters[at.partition].note(at.offset, done=timestamp)

    def _client(self, group: str, *, committed_only: bool) -> Any:
        return Consumer(
            {
                **self._settings.kafka.client_options(),
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": (
                    "read_committed" if committed_only else "read_uncommitted"
                ),
                # Payloads of dead letters are read and dropped.
                "queued.max.messages.kbytes": 4096,
            },
            logger=_log,
        )


def _finished(place: TopicPartition) -> int:
    """Return how many records beyond a committed offset are finished."""
    try:
        return decode(place.metadata or "").bit_count()
    except (NewerVersion, ValueError):
        return 0


class _Letters:
    """Dead letters of one partition: when each was rejected, and when its marker says.

    A few bytes for each, however many there are.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._rejected = array("q")
        self._done = array("q")
        self.waiting = 0

    def note(
        self, offset: int, *, rejected: int | None = None, done: int | None = None
    ) -> None:
        """Take note of a letter, or of its marker, in whatever order they come."""
        index = offset - self._first
        if index < 0:
            return
        if index >= len(self._rejected):
            missing = index + 1 - len(self._rejected)
            # More than is asked for, so that many in a row are quick.
            zeros = bytes(8 * (missing + len(self._rejected) // 8))
            self._rejected.frombytes(zeros)
            self._done.frombytes(zeros)
        self.waiting -= self._waits(index)
        if rejected is not None:
            self._rejected[index] = rejected
        if done is not None:
            self._done[index] = done
        self.waiting += self._waits(index)

    def forget(self, first: int) -> None:
        """Forget what is before an offset."""
        gone = min(max(0, first - self._first), len(self._rejected))
        self.waiting -= sum(map(self._waits, range(gone)))
        del self._rejected[:gone], self._done[:gone]
        self._first = max(first, self._first)

    def _waits(self, index: int) -> bool:
        # A topic that was made anew has the same offsets again, at other times.
        return self._rejected[index] not in (0, self._done[index])
