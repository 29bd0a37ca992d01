"""One transactional producer, and what its errors mean."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NoReturn

from confluent_kafka import (
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from icat_stream.records import ExitCode
from icat_stream.telemetry import fault_point

from .bounded_call import BoundedCall, HangingError
from .outputs import Output
from .run_result import Halt

_log = logging.getLogger(__name__)

# Deadlines that worked under chaos; the broker's own, for the whole transaction, is
# 10 s from its first request.
_PRODUCE_S = 10.0
_OFFSETS_S = 10.0
_COMMIT_S = 30.0
_ABORT_S = 30.0
# A call that is cut short goes on where it was when called again, so a stop is never
# far away.
_CALL_S = 1.0
_INIT_CALL_S = 2.0
_BETWEEN_S = 0.05
# Beyond its own timeout; then the transaction's own has passed as well.
_HANGS_S = 10.0
_SAY_AGAIN_S = 30.0
# For a first answer: an earlier transaction of ours is over after 10 s.
_PATIENCE_S = 30.0

_FENCED = (
    KafkaError._FENCED,  # noqa: SLF001
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
)
_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
_REFUSED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)


class Aborted(Exception):
    """The transaction was aborted; the producer is fine, nothing was committed."""


class TooLarge(Aborted):
    """Aborted because the broker refuses outputs for their size.

    Parameters
    ----------
    outputs
        Those; of several, which were in one batch, only some may be at fault.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        super().__init__("too large")
        self.outputs = outputs


class NoMember(Aborted):
    """Aborted because the group has put us out: what we had is somebody else's."""


class MetadataTooLarge(Aborted):
    """Aborted because the broker keeps less beside an offset than it was given."""


class Lost(Exception):
    """The producer cannot be used any more, and the transaction may be through.

    Parameters
    ----------
    reason
        Why.
    fenced
        Whether another producer of our transactional id took over.
    """

    def __init__(self, reason: str, *, fenced: bool) -> None:
        super().__init__(reason)
        self.fenced = fenced


class Stopped(Exception):
    """The deadline of a stop has passed in the middle of a call."""


class Transactor:
    """Runs transactions, one after the other, in one thread.

    Parameters
    ----------
    create
        Makes a producer.
    giving_up
        Asked between calls; ``True`` ends them with :class:`Stopped`.
    """

    def __init__(
        self, create: Callable[[], Producer], giving_up: Callable[[], bool]
    ) -> None:
        self._create = create
        self._giving_up = giving_up
        self._producer: Any = None
        self._caller: BoundedCall | None = None
        self._failures: list[tuple[KafkaError, Message]] = []
        self._is_watching = False
        self._known: set[str] = set()

    def connect(self) -> None:
        """Make a new producer; this decides what an earlier one left undecided.

        Raises
        ------
        Halt
            Kafka refuses our credentials.
        Lost
            Try again, also where Kafka does not answer.
        Stopped
            Stopped meanwhile.
        """
        self.close()
        self._failures.clear()
        self._known.clear()
        said, since = 0.0, time.monotonic()
        producer = self._create()
        self._caller = BoundedCall("transactions")
        while True:
            try:
                self._call(producer.init_transactions, _INIT_CALL_S)
                break
            except KafkaException as error:
                reason: KafkaError = error.args[0]
            _check_refused(reason)
            if not reason.retriable():
                raise Lost(reason.str(), fenced=reason.code() in _FENCED) from None
            if self._giving_up():
                raise Stopped
            now = time.monotonic()
            if now - said > _SAY_AGAIN_S:
                _log.warning("no transactions yet (%s); waiting", reason.str())
                said = now
            if now - since > _PATIENCE_S:
                # It may have forgotten all brokers, for good (librdkafka 5301).
                raise Lost(reason.str(), fenced=False)
        self._producer = producer

    def close(self) -> None:
        """Let go of the producer."""
        self._producer = None
        if self._caller is not None:
            self._caller.close()
            self._caller = None

    def commit(
        self,
        outputs: Sequence[Output],
        positions: Sequence[TopicPartition],
        metadata: Any,
        *,
        alone: Collection[Output] = (),
    ) -> None:
        """Produce outputs and commit offsets, whole or not at all.

        Parameters
        ----------
        outputs
            To be produced.
        positions
            Next offsets; none for a tool without a group.
        metadata
            Of the group.
        alone
            Outputs that shall not share a batch with others.

        Raises
        ------
        Aborted
            Nothing happened; it may be tried again.
        Lost
            Nothing, or all of it, happened.
        Halt
            Kafka does not allow it.
        Stopped
            Stopped meanwhile: nothing, or all of it, happened.
        """
        producer = self._producer
        self._failures.clear()
        try:
            self._look_up({output.topic for output in outputs} - self._known)
            fault_point("begin")
            producer.begin_transaction()
            self._produce(outputs, alone)
            fault_point("produced")
            if positions:
                self._again(
                    _OFFSETS_S,
                    lambda s: producer.send_offsets_to_transaction(
                        list(positions), metadata, s
                    ),
                )
            fault_point("offsets")
            self._again(_COMMIT_S, producer.commit_transaction)
            self._is_watching = False
        except KafkaException as error:
            self._abort(error.args[0], outputs)
        except SystemError as error:
            # A callback ran while librdkafka had an error at hand: see what it was.
            cause = error.__context__ or error.__cause__
            reason = cause.args[0] if isinstance(cause, KafkaException) else None
            fenced = reason is not None and reason.code() in _FENCED
            raise Lost(f"{cause or error}", fenced=fenced) from error

    def _look_up(self, topics: set[str]) -> None:
        """Learn a topic's partitions before anything is produced to it.

        librdkafka keeps aside what is produced to a topic that it does not know yet;
        what is produced when it has just learnt of it would go before that.
        """
        producer = self._producer
        for topic in topics:
            self._again(_OFFSETS_S, partial(_ask, producer, topic))
        self._known |= topics

    def _produce(self, outputs: Sequence[Output], alone: Collection[Output]) -> None:
        produce = self._producer.produce
        # A report takes the GIL for every record, also when all is well: they are
        # asked for only to learn what made the transaction before this one fail.
        reports = self._delivered if self._is_watching else None
        end = time.monotonic() + _PRODUCE_S
        for output in outputs:
            apart = bool(alone) and output in alone
            if apart:
                self._producer.flush(_PRODUCE_S)
            while True:
                try:
                    produce(
                        output.topic,
                        output.value,
                        output.key,
                        output.partition,
                        reports,
                        headers=output.headers,
                    )
                    break
                except BufferError:
                    # Its queue is full: let it send some.
                    if time.monotonic() > end:
                        raise KafkaException(
                            KafkaError(
                                KafkaError._TIMED_OUT,  # noqa: SLF001
                                "the producer's queue stays full",
                                txn_requires_abort=True,
                            )
                        ) from None
                    self._producer.poll(_BETWEEN_S)
                except KafkaException as error:
                    if error.args[0].code() in _TOO_LARGE:
                        self._cancel()
                        raise TooLarge([output]) from None
                    if error.args[0].fatal():
                        raise
                    # An earlier output has failed meanwhile: the transaction is over.
                    self._cancel()
                    self._judge(error.args[0], outputs)
            if apart:
                self._producer.flush(_PRODUCE_S)
                if any(error.code() in _TOO_LARGE for error, _ in self._failures):
                    self._cancel()
                    raise TooLarge([output])

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        # Touch nothing here: while librdkafka has an error at hand, any call to one of
        # its objects would become a SystemError.
        if error is not None:
            self._failures.append((error, message))

    def _again(self, budget: float, call: Callable[[float], None]) -> None:
        end = time.monotonic() + budget
        while True:
            try:
                self._call(call, _CALL_S)
                return
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if not reason.retriable():
                    raise
                if time.monotonic() > end:
                    raise Lost(
                        f"{reason.str()}, for {budget:.0f} s", fenced=False
                    ) from None
                if self._giving_up():
                    raise Stopped from None
                time.sleep(_BETWEEN_S)

    def _call(self, call: Callable[[float], None], seconds: float) -> None:
        if self._caller is None:
            raise Lost("there is no producer", fenced=False)
        try:
            self._caller.call(lambda: call(seconds), seconds + _HANGS_S)
        except HangingError as error:
            # librdkafka can lose sight of a coordinator for good (issue 5511).
            raise Lost(f"a call to librdkafka hangs: {error}", fenced=False) from None

    def _abort(self, reason: KafkaError, outputs: Sequence[Output]) -> NoReturn:
        if not reason.txn_requires_abort():
            _check_refused(reason)
            raise Lost(reason.str(), fenced=reason.code() in _FENCED)
        self._cancel()
        self._judge(reason, outputs)

    def _judge(self, reason: KafkaError, outputs: Sequence[Output]) -> NoReturn:
        """Say why a transaction was aborted."""
        if reason.code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
            raise MetadataTooLarge(reason.str())
        if reason.code() == KafkaError.UNKNOWN_MEMBER_ID:
            raise NoMember(f"{reason.name()}: {reason.str()}")
        self._is_watching = True
        refused = [m for e, m in self._failures if e.code() in _TOO_LARGE]
        if refused or reason.code() in _TOO_LARGE:
            raise TooLarge(_matching(refused, outputs))
        for failure, _ in self._failures:
            _check_refused(failure)
        _check_refused(reason)
        raise Aborted(f"{reason.name()}: {reason.str()}")

    def _cancel(self) -> None:
        try:
            self._again(_ABORT_S, self._producer.abort_transaction)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            raise Lost(reason.str(), fenced=reason.code() in _FENCED) from None


def _ask(producer: Producer, topic: str, seconds: float) -> None:
    producer.list_topics(topic, timeout=seconds)


def _matching(refused: Sequence[Message], outputs: Sequence[Output]) -> list[Output]:
    """Return the outputs that a broker refused as too large."""
    known = {(m.topic(), m.key(), m.value()) for m in refused}
    found = [o for o in outputs if (o.topic, o.key, o.value) in known]
    # librdkafka may not tell which: then it could be any of them.
    return found or list(outputs)


def _check_refused(reason: KafkaError) -> None:
    if reason.code() in _REFUSED:
        raise Halt(
            ExitCode.UNAVAILABLE,
            f"Kafka does not allow it: {reason.str()}; grant the right (write to the"
            " topics, read the group, use the transactional id)",
        )
