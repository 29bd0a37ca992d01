"""Reading the outcomes topic, from where one wants to."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from icat_stream.config import Settings
from icat_stream.records import JournalRow, SystemUnavailable

from . import kafka_clients
from .dead_letters import answering, spans
from .outcome_messages import outcome_row

_AT_A_TIME = 100
_ROWS = 5_000
_BYTES = 16 * 2**20


class ReadOutcome(NamedTuple):
    """An outcome where it stands.

    Parameters
    ----------
    partition, offset
        Of the outcomes topic.
    row
        What it says; ``None`` where it is not to be kept.
    problem
        Why it cannot be read.
    """

    partition: int
    offset: int
    row: JournalRow | None
    problem: str = ""


class OutcomeReader:
    """Reads committed outcomes of one program's groups; for one thread, to be closed.

    Its methods raise :class:`~icat_stream.records.SystemUnavailable` where Kafka does
    not answer, and where an offset is not there any more: then look again where the
    topic begins.

    Parameters
    ----------
    settings
        All of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.outcomes.topic
        self._groups = f"{settings.kafka.group_id}."
        self._client = _client(settings, committed_only=True)
        self.places: dict[int, int] = {}
        """The next offset to read of each partition; transaction markers are passed."""

    def close(self) -> None:
        """Let go of Kafka."""
        self._client.close()

    def spans(self) -> dict[int, tuple[int, int]]:
        """Return first and next offset of each partition; nothing for no topic."""
        with answering(self._settings):
            return spans(self._client, self._topic)

    def begin(self, places: Mapping[int, int]) -> None:
        """Read from other offsets now.

        Parameters
        ----------
        places
            By partition, all of them.
        """
        self.places = dict(places)
        self._client.assign(
            [TopicPartition(self._topic, n, offset) for n, offset in places.items()]
        )

    def read(self, seconds: float) -> list[ReadOutcome]:
        """Return what comes next, waiting for the first of it.

        Parameters
        ----------
        seconds
            At most.
        """
        found: list[ReadOutcome] = []
        size = 0
        with answering(self._settings):
            messages: list[Any] = self._client.consume(1, seconds)
            while messages:
                for message in messages:
                    self._take(message, found)
                    if message.error() is None:
                        size += _size(found[-1])
                if len(found) >= _ROWS or size >= _BYTES:
                    break
                messages = self._client.consume(_AT_A_TIME, 0)
        return found

    def _take(self, message: Any, found: list[ReadOutcome]) -> None:
        error = message.error()
        if error is None:
            found.append(self._outcome(message))
            self.places[message.partition()] = message.offset() + 1
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            # Before it may be a transaction's marker, which is no record.
            self.places[message.partition()] = message.offset()
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            raise SystemUnavailable(
                f"{self._topic}[{message.partition()}]: the next outcome is not there"
                f" any more: {error.str()}",
                system="kafka",
            )
        elif not error.retriable():
            raise KafkaException(error)

    def _outcome(self, message: Any) -> ReadOutcome:
        place = message.partition(), message.offset()
        try:
            row = outcome_row(
                message.value(),
                tuple(message.headers() or ()),
                max(0, message.timestamp()[1]),
            )
        except ValueError as error:
            return ReadOutcome(*place, None, f"it cannot be read: {error}")
        # Of another group_id, which has a journal of its own.
        ours = row.at.group.startswith(self._groups)
        return ReadOutcome(*place, row if ours else None)


def outcome_ends(settings: Settings) -> dict[int, int]:
    """Return where partitions of the outcomes topic end, open transactions included.

    Parameters
    ----------
    settings
        All of them.

    Raises
    ------
    SystemUnavailable
        Kafka does not answer.
    """
    client = _client(settings, committed_only=False)
    try:
        with answering(settings):
            found = spans(client, settings.outcomes.topic)
        return {number: high for number, (_, high) in found.items()}
    finally:
        client.close()


def _client(settings: Settings, *, committed_only: bool) -> Any:
    return kafka_clients.consumer(
        settings.kafka,
        f"{settings.kafka.group_id}.journal",
        member=False,
        committed_only=committed_only,
    )


def _size(outcome: ReadOutcome) -> int:
    row = outcome.row
    return 0 if row is None or row.payload is None else len(row.payload)
