"""The dead letters that wait, and those that somebody has dealt with."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from icat_stream.config import Settings
from icat_stream.records import Coordinates, Record, SystemUnavailable
from icat_stream.stream import headers as h
from icat_stream.stream import kafka_clients, topics
from icat_stream.stream.in_flight import PartitionKind
from icat_stream.stream.record_slots import record_of

from .markers import Action, Markers, state_topic

_TIMEOUT_S = 10.0
# The broker ends what a killed tool left open after its transaction's timeout.
_SILENCE_S = 60.0
_BATCH = 500
# A call for so many waits for all of them, or for so long.
_TURN_S = 0.05
Ends = Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A rejected record.

    Parameters
    ----------
    record
        As it stands among the dead letters; its origin is the rejected record's.
    consumer
        Name of the consumer that rejected it; ``None`` if it is none of this
        configuration's, or the headers do not say.
    group, error_class, message, version
        As its headers say.
    objects
        What it is about.
    size, sha256
        Of the payload, where that was not kept.
    omitted
        Whether the payload was not kept.
    done
        What somebody did about it; ``None``: it waits.
    """

    record: Record
    consumer: str | None
    group: str
    error_class: str
    message: str
    version: str
    objects: Mapping[str, Any]
    size: int
    sha256: str | None
    omitted: bool
    done: Action | None

    @property
    def at(self) -> Coordinates:
        """Where it stands among the dead letters."""
        return self.record.at

    @property
    def investigation(self) -> str | None:
        """The investigation that it is about, if the headers say."""
        found = self.objects.get("investigation")
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters are meant: those for which all that is given holds.

    Parameters
    ----------
    error_class
        Such as ``permanent``.
    text
        Found in the error message, whatever the case.
    since, until
        When it was rejected, milliseconds since the epoch; the second is excluded.
    investigation
        Its name, with or without ``/<visit>``.  Where the headers name none, it is
        looked for as a word in key, error message and payload.
    consumer
        That rejected it.
    places
        Of the dead letter or of the rejected record; empty for any.
    done
        Also what was dealt with.
    """

    error_class: str | None = None
    text: str | None = None
    since: int | None = None
    until: int | None = None
    investigation: str | None = None
    consumer: str | None = None
    places: frozenset[Coordinates] = field(default_factory=frozenset)
    done: bool = False

    def __contains__(self, letter: DeadLetter) -> bool:
        """Whether a dead letter is meant."""
        at = letter.record.timestamp
        return (
            (self.done or letter.done is None)
            and self.error_class in (None, letter.error_class)
            and self.consumer in (None, letter.consumer)
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
            and (not self.places or self._is_named(letter))
            and (self.text is None or self.text.lower() in letter.message.lower())
            and (self.investigation is None or self._is_about(letter))
        )

    def _is_named(self, letter: DeadLetter) -> bool:
        return letter.at in self.places or letter.record.origin in self.places

    def _is_about(self, letter: DeadLetter) -> bool:
        wanted = self.investigation or ""
        if letter.investigation is not None:
            return f"{letter.investigation}/".startswith(f"{wanted}/")
        word = re.compile(rb"(?<![\w-])%s(?![\w-])" % re.escape(wanted.encode()))
        texts = letter.record.key, letter.message.encode(), letter.record.value
        return any(word.search(text) for text in texts if text)


class DeadLetters:
    """Reads dead letters; changes nothing, joins no group.

    Parameters
    ----------
    settings
        All of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.dead_letters.topic
        self._groups = {
            topics.group_of(settings, name): name for name in settings.consumers
        }
        self._client = reader(settings)
        self.foreign = 0
        """Those of other groups, in the last reading: not ours to deal with."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of Kafka."""
        self._client.close()

    def ends(self) -> dict[int, int]:
        """Return the next offset of each partition.

        Raises
        ------
        SystemUnavailable
            Kafka does not answer.
        """
        with answering(self._settings):
            return {
                n: high for n, (_, high) in spans(self._client, self._topic).items()
            }

    def read(
        self, selection: Selection, ends: Ends | None = None
    ) -> Iterator[DeadLetter]:
        """Yield dead letters, each partition in its order.

        Parameters
        ----------
        selection
            Which.
        ends
            Only those before; by default all that are there now.

        Raises
        ------
        SystemUnavailable
            Kafka does not answer.
        """
        self.foreign = 0
        with answering(self._settings):
            known = spans(self._client, self._topic)
            markers = Markers(self._topic, known)
            state = state_topic(self._settings)
            scan(self._client, state, spans(self._client, state), markers.note)
            if ends is not None:
                known = {n: (low, ends.get(n, low)) for n, (low, _) in known.items()}
            for message in messages(self._client, self._topic, known):
                letter = self._letter(message, markers)
                if letter.consumer is None:
                    self.foreign += 1
                elif letter in selection:
                    yield letter

    def find(self, place: Coordinates) -> DeadLetter | None:
        """Return a dead letter, done or not; of a record's several the last one.

        Parameters
        ----------
        place
            Of the dead letter, or of the rejected record.

        Raises
        ------
        SystemUnavailable
            Kafka does not answer.
        """
        found = None
        for letter in self.read(Selection(places=frozenset([place]), done=True)):
            if letter.at == place:
                return letter
            found = letter
        return found

    def _letter(self, message: Any, markers: Markers) -> DeadLetter:
        at = Coordinates(message.topic(), message.partition(), message.offset())
        record = record_of(message, at, PartitionKind.RETRY)
        given = dict(record.headers)
        group = _text(given.get(h.GROUP))
        size = len(record.value or b"")
        omitted = given.get(h.PAYLOAD) == b"omitted"
        if omitted and (said := given.get(h.SIZE) or b"").isdigit() and len(said) < 20:
            size = int(said)
        return DeadLetter(
            record=record,
            consumer=self._groups.get(group) if record.at != record.origin else None,
            group=group,
            error_class=_text(given.get(h.ERROR_CLASS)),
            message=_text(given.get(h.ERROR_MESSAGE)),
            version=_text(given.get(h.VERSION)),
            objects=h.objects(record.headers),
            size=size,
            sha256=_text(given.get(h.SHA256)) or None,
            omitted=omitted,
            done=markers.of(record.at, record.timestamp),
        )


def reader(settings: Settings) -> Consumer:
    """Return a client that reads what is committed, and joins no group."""
    return kafka_clients.consumer(
        settings.kafka,
        f"{settings.kafka.group_id}.dead-letters",
        member=False,
    )


@contextmanager
def answering(settings: Settings) -> Iterator[None]:
    """Say what it means where Kafka does not answer.

    Raises
    ------
    SystemUnavailable
        It does not.
    """
    try:
        yield
    except KafkaException as error:
        raise SystemUnavailable(
            f"Kafka at {settings.kafka.bootstrap_servers}: {error.args[0].str()}",
            system="kafka",
        ) from error


def spans(client: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """Return first and next offset of each partition; nothing for no topic."""
    known = client.list_topics(timeout=_TIMEOUT_S).topics
    return {
        number: kafka_clients.watermarks(
            client, TopicPartition(topic, number), seconds=_TIMEOUT_S
        )
        for number in (known[topic].partitions if topic in known else ())
    }


def scan(
    client: Consumer,
    topic: str,
    known: Mapping[int, tuple[int, int]],
    see: Callable[[Any], None],
) -> None:
    """Show each record of a topic to somebody."""
    for message in messages(client, topic, known):
        see(message)


def messages(
    client: Consumer, topic: str, known: Mapping[int, tuple[int, int]]
) -> Iterator[Any]:
    """Yield the committed records within spans, waiting for undecided ones.

    Raises
    ------
    SystemUnavailable
        Some transaction stays undecided, or Kafka does not answer.
    """
    left = {number: high for number, (low, high) in known.items() if low < high}
    client.assign([TopicPartition(topic, n, known[n][0]) for n in left])
    patience = time.monotonic() + _SILENCE_S
    try:
        while left:
            message: Any
            for message in client.consume(_BATCH, _TURN_S):
                patience = time.monotonic() + _SILENCE_S
                number, offset = message.partition(), message.offset()
                error = message.error()
                if error is None:
                    if number in left and offset < left[number]:
                        yield message
                    # Beyond it there may be nothing but a transaction's marker, which
                    # is never shown: then the end is what is reported.
                    offset += 1
                elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                    if not error.retriable():
                        raise KafkaException(error)
                    continue
                if number in left and offset >= left[number]:
                    del left[number]
            if left and time.monotonic() > patience:
                raise SystemUnavailable(
                    f"the end of {topic} was not reached in {_SILENCE_S:.0f} s: Kafka"
                    " does not answer, or a transaction stays open there",
                    system="kafka",
                )
    finally:
        client.unassign()


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="backslashreplace")
