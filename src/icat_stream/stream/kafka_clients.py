"""Kafka clients as the core needs them: their options, their logs."""

import logging
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from icat_stream.config import KafkaSettings
from icat_stream.records import ExitCode

from .run_result import Halt

_C = TypeVar("_C", Consumer, Producer)
_T = TypeVar("_T")

MARK = "icat-stream@"
CLIENT_ID = MARK + socket.gethostname()
"""What a member of a group calls itself, unless ``kafka.client`` says otherwise."""

_SESSION_MS = 6_000
# librdkafka's own is five minutes.
_REBALANCE_MS = 20_000
TRANSACTION_TIMEOUT_MS = 10_000
"""What a dead instance's open transaction may stall its partitions, about."""
# A broker is not away for longer than it is because we wait up to 10 s.
_RECONNECTING = {"reconnect.backoff.max.ms": 2000}
# When all brokers were away, librdkafka forgets them and asks the bootstrap servers
# anew; a transaction under way is then never finished, and holds up the group until
# its producer is gone (librdkafka 2.16, issue 5511). A producer that has no answer is
# replaced instead.
_STEADY = _RECONNECTING | {"metadata.recovery.strategy": "none"}
_LOG_INTERVAL_S = 10.0
_MARK = b"CGMDv2:"
# Of a topic that was made a moment ago, or whose leader is being elected.
_NO_LEADER_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
)
# A coordinator that moves, or that a new cluster has not made yet, is no outage.
_NO_COORDINATOR_YET = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
_AGAIN_S = 0.05
# librdkafka warns of options that only the other kind of client knows.
_HARMLESS = ("is a producer property", "is a consumer property")
# And of what is part of every good start: a person wants it only with -v.
_STARTING = ("Coordinator load in progress", "COORDINATOR_LOAD_IN_PROGRESS")


def consumer(
    settings: KafkaSettings,
    group: str,
    *,
    member: bool = True,
    committed_only: bool = True,
    rebalance: float = 0.0,
) -> Consumer:
    """Return a consumer of a group.

    Parameters
    ----------
    settings
        Of Kafka.
    group
        Full name of the group.
    member
        Whether it will join the group.
    committed_only
        Wait for transactions that are under way.
    rebalance
        Seconds that letting go of partitions may take.
    """
    options: dict[str, Any] = {
        **_RECONNECTING,
        # Low rates are what latency is about, and they never fill a fetch.
        "fetch.wait.max.ms": 100,
        # Per partition 64 MiB by default: far more than is ever in flight.
        "queued.max.messages.kbytes": 8192,
    }
    if settings.group_protocol == "classic":
        options["session.timeout.ms"] = _SESSION_MS
        options["heartbeat.interval.ms"] = _SESSION_MS // 4
    elif member:
        # The broker's default evens out the sum of all topics: of several source topics
        # an instance might get those only that are idle.
        options["group.remote.assignor"] = "range"
    if member:
        options["client.id"] = CLIENT_ID
    options |= _given(settings)
    if settings.group_protocol == "classic":
        # So long all wait for a member that neither lets go nor is gone for good. After
        # a broker's crash in a rebalance there may be one that nobody is any more.
        session = str(options["session.timeout.ms"])
        least = max(_REBALANCE_MS, int(session) if session.isdecimal() else 0)
        options.setdefault("max.poll.interval.ms", max(least, int(2000 * rebalance)))
    options |= {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # A lost offset must be seen; where a group begins is decided by us.
        "auto.offset.reset": "error",
        "isolation.level": "read_committed" if committed_only else "read_uncommitted",
        "enable.partition.eof": True,
    }
    if member:
        options["group.protocol"] = settings.group_protocol
        if settings.group_protocol == "classic":
            options["partition.assignment.strategy"] = "cooperative-sticky"
        if settings.static_membership:
            options["group.instance.id"] = settings.instance_id
    return _made(Consumer, options, _logger("consumer"))


def producer(settings: KafkaSettings, transactional_id: str) -> Producer:
    """Return a producer for transactions, not yet initialised.

    Parameters
    ----------
    settings
        Of Kafka.
    transactional_id
        A second producer of that name fences the first.
    """
    options: dict[str, Any] = {
        **_STEADY,
        # After each commit the coordinator is busy for a few milliseconds, and
        # librdkafka asks again after this: its 100 would be most of a transaction.
        "retry.backoff.ms": 5,
        # Java's way: other clients find the same key in the same partition.
        "partitioner": "murmur2_random",
        # The broker refuses a batch as a whole: a large record shall be alone in one.
        "batch.size": 65_536,
        # Outcomes repeat their names, and hold what the records say.
        "compression.type": "zstd",
        # The broker's limit counts, not the client's.
        "message.max.bytes": 256 * 2**20,
    }
    options |= _given(settings)
    options |= {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "linger.ms": 0,
        "delivery.report.only.error": True,
    }
    return _made(Producer, options, _logger("producer"))


def watermarks(
    client: Consumer, place: TopicPartition, *, seconds: float
) -> tuple[int, int]:
    """Return first and next offset of a partition, waiting for it to have a leader.

    A topic is listed before its partitions can be asked for anything.

    Parameters
    ----------
    client
        Any; whether it reads only what is committed decides what the next offset is.
    place
        The partition.
    seconds
        How long an answer may take, and how long there may be no leader.

    Raises
    ------
    KafkaException
        There is no answer.
    """

    def ask() -> tuple[int, int]:
        low, high = client.get_watermark_offsets(place, timeout=seconds)
        return int(low), int(high)

    return _answer(ask, _NO_LEADER_YET, seconds)


def committed(
    client: Consumer, places: list[TopicPartition], *, seconds: float
) -> list[TopicPartition]:
    """Return what a group has committed, waiting for it to have a coordinator.

    Parameters
    ----------
    client
        Of the group.
    places
        Partitions.
    seconds
        How long an answer may take, and how long there may be no coordinator.

    Raises
    ------
    KafkaException
        There is no answer, or none for one of them.
    """

    def ask() -> list[TopicPartition]:
        found: list[TopicPartition] = client.committed(places, timeout=seconds)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        return found

    return _answer(ask, _NO_COORDINATOR_YET, seconds)


def _answer(ask: Callable[[], _T], passing: Sequence[int], seconds: float) -> _T:
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in passing or time.monotonic() > end:
                raise
        time.sleep(_AGAIN_S)


def is_of_member(metadata: bytes) -> bool:
    """Whether a consumer's group metadata say of which generation it is.

    Who was put out of the group and is about to join again has none, and may have no
    member id either.  Without both, Kafka takes offsets in a transaction from anybody,
    as if a tool outside the group had sent them.

    Parameters
    ----------
    metadata
        As librdkafka writes them: a mark, then the generation.
    """
    mark, generation = metadata[: len(_MARK)], metadata[len(_MARK) :][:4]
    return mark != _MARK or int.from_bytes(generation, sys.byteorder, signed=True) >= 0


def admin(settings: KafkaSettings) -> AdminClient:
    """Return a client that asks for and changes topics; what fails is its answer."""
    return AdminClient({**settings.client_options(), "log_level": 0})


def _given(settings: KafkaSettings) -> dict[str, Any]:
    try:
        return settings.client_options()
    except OSError as error:
        raise Halt(ExitCode.USAGE, f"kafka.client: a secret's file: {error}") from None


def _made(kind: type[_C], options: dict[str, Any], logger: logging.Logger) -> _C:
    try:
        return kind(options, logger=logger)
    except (KafkaException, TypeError, ValueError) as error:
        # Ours are right, so it is one of those that were given.
        reason = error.args[0] if error.args else error
        text = reason.str() if isinstance(reason, KafkaError) else str(reason)
        raise Halt(ExitCode.USAGE, f"kafka.client: {text}") from None


class _Limited(logging.Filter):
    """Let a complaint pass once in a while: a broker that is down causes dozens."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if any(text in message for text in _HARMLESS):
            return False
        if any(text in message for text in _STARTING):
            return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
        kind = message.partition(" ")[0]
        now = time.monotonic()
        if now - self._last.get(kind, -_LOG_INTERVAL_S) < _LOG_INTERVAL_S:
            return False
        self._last[kind] = now
        return True


def _logger(kind: str) -> logging.Logger:
    logger = logging.getLogger(f"icat_stream.stream.librdkafka.{kind}")
    if not any(isinstance(each, _Limited) for each in logger.filters):
        logger.addFilter(_Limited())
    return logger
