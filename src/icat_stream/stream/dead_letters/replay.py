"""Replaying and discarding dead letters, each exactly once, whoever else does it."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    ConfigResource,
    ResourceType,
)

from icat_stream.config import Settings
from icat_stream.records import Coordinates, ExitCode, Record, SystemUnavailable
from icat_stream.stream import kafka_clients, topics
from icat_stream.stream.consumer import Consumer
from icat_stream.stream.outputs import Output
from icat_stream.stream.run_result import Halt
from icat_stream.telemetry import fault_point

from .group_sender import Fenced, Sender, Undecided, prepare, retry_output
from .letters import DeadLetter, DeadLetters, Ends, Selection, answering, reader
from .markers import Action, marker, state_topic

_log = logging.getLogger(__name__)

# A transaction has 10 s; a person who looks on wants to see it move.
_RECORDS = 500
_BYTES = 4 * 2**20
_TRIES = 5
_TIMEOUT_S = 10.0
# No right to ask, or a broker that cannot answer, such as the embedded one.
_NOT_TOLD = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001
    KafkaError.UNSUPPORTED_VERSION,
)


@dataclass(frozen=True, slots=True)
class _Item:
    letter: DeadLetter
    outputs: tuple[Output, ...]


class _NotReplayable(Exception):
    """One dead letter cannot be replayed, and why."""


class Replay:
    """Deals with dead letters; to be closed.

    Parameters
    ----------
    settings
        All of them.
    consumer_of
        Returns a consumer by its name: its ordering key and its secrets matter.
    on_done
        Told how many were dealt with, now and then.
    on_problem
        Told of each that cannot be replayed, and why.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        consumer_of: Callable[[str], Consumer],
        on_done: Callable[[int], None],
        on_problem: Callable[[DeadLetter, str], None],
    ) -> None:
        self._settings = settings
        self._consumer_of = consumer_of
        self._on_done = on_done
        self._on_problem = on_problem
        self._told: set[Coordinates] = set()
        self._state = state_topic(settings)
        self._partitions: dict[str, int] = {}
        self._letters = DeadLetters(settings)
        self._sources = reader(settings)
        # One name a topic of dead letters, so that one tool at a time deals with it.
        self._sender = Sender(settings, f"{settings.dead_letters.topic}.tool")

    def close(self) -> None:
        """Let go of Kafka."""
        self._letters.close()
        self._sources.close()
        self._sender.close()

    def run(self, action: Action, selection: Selection, ends: Ends) -> None:
        """Replay or discard all that is selected and waits.

        A replayed record goes to the first retry topic of the group that rejected it;
        in the same transaction a marker says that the dead letter is done.

        Parameters
        ----------
        action
            Which of the two.
        selection
            Of dead letters.
        ends
            Only those before, by partition: what a person has seen.

        Raises
        ------
        Halt
            Somebody else began to do the same, or Kafka does not allow it.
        SystemUnavailable
            Kafka does not answer.
        """
        with answering(self._settings):
            self._require_markers()
            for _ in range(_TRIES):
                # Whoever else was at it is fenced, and what they did is decided, from
                # here on: markers read now are all there will be, but ours.
                self._sender.connect()
                fault_point("connected")
                if self._deal(action, selection, ends):
                    return
        raise SystemUnavailable("no transaction goes through", system="kafka")

    def _deal(self, action: Action, selection: Selection, ends: Ends) -> bool:
        """Deal with all; return whether every transaction was decided."""
        for batch in self._batches(action, self._letters.read(selection, ends)):
            try:
                refused = self._sender.send([item.outputs for item in batch])
            except Fenced:
                raise Halt(
                    ExitCode.UNAVAILABLE,
                    "somebody else has begun to replay or discard dead letters of"
                    f" {self._settings.dead_letters.topic} meanwhile: stopped. What"
                    " was done is marked; list them to see what is left",
                ) from None
            except Undecided as error:
                _log.warning("looking again at what was done: %s", error)
                self._sender.connect()
                places = frozenset(item.letter.at for item in batch)
                seen = self._letters.read(Selection(places=places, done=True), ends)
                self._on_done(sum(letter.done is action for letter in seen))
                return False
            fault_point("committed")
            for index in refused:
                topic = batch[index].outputs[0].topic
                self._tell(
                    batch[index].letter,
                    f"topic {topic} refuses a record of its size: raise that topic's"
                    " max.message.bytes, or discard it",
                )
            self._on_done(len(batch) - len(refused))
        return True

    def _batches(
        self, action: Action, letters: Iterator[DeadLetter]
    ) -> Iterator[list[_Item]]:
        batch: list[_Item] = []
        size = 0
        for letter in letters:
            try:
                outputs = self._outputs(action, letter)
            except _NotReplayable as error:
                self._tell(letter, str(error))
                continue
            batch.append(_Item(letter, outputs))
            size += sum(len(output.value or b"") for output in outputs)
            if len(batch) >= _RECORDS or size >= _BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _outputs(self, action: Action, letter: DeadLetter) -> tuple[Output, ...]:
        key, value = marker(letter.at, letter.record.timestamp, action)
        done = Output(self._state, key, value, [])
        if action is Action.DISCARDED:
            return (done,)
        name = letter.consumer or ""
        retry = topics.retry_topics(self._settings, name)[0]
        if retry not in self._partitions:
            self._partitions |= prepare(self._settings, self._sources, [retry])
        record = self._from_source(letter) if letter.omitted else letter.record
        again = retry_output(
            self._settings, name, self._consumer_of(name), record, self._partitions
        )
        if again is None:
            raise _NotReplayable(
                "its secrets cannot be removed from its payload, which therefore may"
                " not be sent anywhere: correct the handler, or discard it"
            )
        return again, done

    def _from_source(self, letter: DeadLetter) -> Record:
        """Return a record with the payload that was not kept."""
        origin = letter.record.origin
        if origin.topic not in self._settings.consumers[letter.consumer or ""].topics:
            raise _NotReplayable(
                f"its payload was not kept, and {origin.topic} is no topic of"
                f" consumers.{letter.consumer} any more: discard it, or configure that"
            )
        message = fetch(self._sources, origin)
        if message is None:
            raise _NotReplayable(
                f"its payload was not kept, and Kafka has {origin} no more (the"
                " topic's retention): all that is left is to discard it"
            )
        value = message.value()
        found = hashlib.sha256(value or b"").hexdigest()
        if letter.sha256 not in (None, found):
            raise _NotReplayable(
                f"its payload was not kept, and {origin} is another record by now"
                f" (sha256 {found[:12]}…, not {(letter.sha256 or '')[:12]}…): all that"
                " is left is to discard it"
            )
        return letter.record._replace(
            key=message.key(), value=value, headers=tuple(message.headers() or ())
        )

    def _tell(self, letter: DeadLetter, problem: str) -> None:
        if letter.at not in self._told:
            self._told.add(letter.at)
            self._on_problem(letter, problem)

    def _require_markers(self) -> None:
        prepare(self._settings, self._sources, (), self._state)
        policy = _policy(self._settings, self._state)
        if policy not in (None, "compact"):
            raise Halt(
                ExitCode.USAGE,
                f"topic {self._state} has cleanup.policy={policy}, so that it would be"
                " forgotten what was replayed: set it to compact",
            )


def fetch(client: KafkaConsumer, at: Coordinates) -> Any:
    """Return the record at some coordinates; ``None`` if Kafka has it no more.

    Parameters
    ----------
    client
        Of :func:`~icat_stream.stream.dead_letters.letters.reader`.
    at
        Where it is.

    Raises
    ------
    SystemUnavailable
        Kafka does not answer.
    """
    place = TopicPartition(at.topic, at.partition, at.offset)
    known = client.list_topics(timeout=_TIMEOUT_S).topics
    if at.topic not in known or at.partition not in known[at.topic].partitions:
        return None
    low, high = kafka_clients.watermarks(client, place, seconds=_TIMEOUT_S)
    if not low <= at.offset < high:
        return None
    client.assign([place])
    try:
        end = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < end:
            message: Any = client.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                return message if message.offset() == at.offset else None
            if error.code() in (
                KafkaError._PARTITION_EOF,  # noqa: SLF001
                KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001
            ):
                return None
            if not error.retriable():
                raise KafkaException(error)
    finally:
        client.unassign()
    raise SystemUnavailable(f"{at} could not be read", system="kafka")


def _policy(settings: Settings, topic: str) -> str | None:
    """Return a topic's cleanup policy; ``None`` if we may not know it.

    Whoever denies us that has made the topic, and was told how.

    Raises
    ------
    SystemUnavailable
        It could not be asked: nothing is replayed on the strength of a guess.
    """
    admin = kafka_clients.admin(settings.kafka)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    [future] = admin.describe_configs([resource]).values()
    try:
        return str(future.result(timeout=_TIMEOUT_S)["cleanup.policy"].value)
    except KafkaException as error:
        if error.args[0].code() not in _NOT_TOLD:
            raise
        _log.warning(
            "Kafka does not tell us the cleanup.policy of %s (%s): it must be compact,"
            " or what was replayed is forgotten some day",
            topic,
            error.args[0].str(),
        )
        return None
    except TimeoutError:
        raise SystemUnavailable(
            f"Kafka does not tell the cleanup.policy of {topic} within"
            f" {_TIMEOUT_S:.0f} s",
            system="kafka",
        ) from None
