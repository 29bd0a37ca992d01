"""The loop of one consumer: its poll thread, which owns the Kafka consumer."""

import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, TopicPartition

from icat_stream.config import Settings
from icat_stream.records import (
    Coordinates,
    ExitCode,
    LoginRefused,
    Outcome,
    OutcomeKind,
)

from . import kafka_clients, retry_placement, topic_settings, topics
from .assignment import Assignment, out_of_range
from .bounded_call import BoundedCall, HangingError
from .committed_offsets import CommittedOffsets
from .committer import Committer, OnOutcome, shared_identity
from .consumer import Consumer, LaneScoped, OutcomeTelling, Recalling, Secretive
from .in_flight import Partition, Slot
from .lane_work import LaneWork
from .lanes import Lanes
from .ledger import Ledger
from .outcome_counts import Counts
from .outputs import Outputs
from .parked_payloads import ParkedPayloads
from .policy import RejectWindow
from .probes import Probes, refusal
from .recall import Recall
from .record_slots import now_ms, record_of, slot_of
from .retry_placement import Homes
from .run_result import Halt, RunResult
from .spans import Tracing
from .status import LoopStatus, TimeAccount, place_of

_log = logging.getLogger(__name__)

_POLL_S = 0.1
# While somebody waits for the answer that lets a partition be opened.
_OPENING_S = 0.02
_LEAVE_S = 1.0
# It turns several times a second.
_LONG_S = 5.0
# A person makes a missing topic, and looks whether that helps.
_LOOK_AGAIN_S = 2.0
_SAY_AGAIN_S = 300.0
_READ = 1_000
# A pause throws away what was fetched ahead: short lacks of space are waited out.
_STALL_S = 1.0
# With more instances than partitions one may get none; that is known when the group
# has been quiet for so long.
_EMPTY_S = 3.0

_LOST_MEMBERSHIP = (
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.UNRELEASED_INSTANCE_ID,
)
_NOT_ALLOWED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)


class Loop:
    """Runs one consumer: reads its topics, handles, commits, until it is stopped.

    Parameters
    ----------
    name
        Of the consumer in ``settings.consumers``.
    consumer
        Handles its records.
    settings
        All of them.
    until_end
        Stop at the ends that the assigned partitions, those of retry topics
        included, had when they were assigned.
    on_outcome
        Called in another thread for each committed outcome, and at the end of a run
        until the end for each record that still waits and was not told before.
    """

    def __init__(
        self,
        name: str,
        consumer: Consumer,
        settings: Settings,
        *,
        until_end: bool = False,
        on_outcome: OnOutcome | None = None,
    ) -> None:
        self.name = name
        self._consumer = consumer
        self._settings = settings
        self._own = settings.consumers[name]
        self._until_end = until_end
        self._on_outcome = on_outcome
        self._group = topics.group_of(settings, name)
        self._stopping = False
        self._trouble: BaseException | None = None
        self._counts = Counts()
        self._rejects = RejectWindow(settings.limits.rejects)
        self._longest_ms = int(max(settings.retries.delays) * 1000)
        self._paused_for_space = False
        self._full_since: float | None = None
        self._ticket: int | None = None
        self._deadline: float | None = None
        self._turned = time.monotonic()
        self._thread: int | None = None
        self._keying: Coordinates | None = None
        self._time = TimeAccount("starting", "poll", "wait", "work", "stopping")
        self._is_built = False
        self._ended: str | None = None
        self._missing: str | None = None
        self._late: set[str] = set()

    def status(self) -> LoopStatus:
        """Return how it is just now; for any thread."""
        turned = time.monotonic() - self._turned
        turning = self._turning() if turned > _LONG_S else ""
        if not self._is_built:
            return LoopStatus(
                name=self.name,
                turned=turned,
                turning=turning,
                missing=self._missing,
                ended=self._ended,
            )
        sizes = self._ledger.sizes()
        doing = self._committer.doing
        return LoopStatus(
            name=self.name,
            turned=turned,
            turning=turning,
            joined=self._assignment.changed_at is not None,
            ended=self._ended,
            lanes=self._lanes.status(),
            committing=doing.seconds,
            silent=doing.silent,
            committer=doing.what,
            down=self._assistant.down,
            each_partition=self._ledger.each_partition(),
            partitions=sizes.partitions,
            in_flight=sizes.in_flight,
            in_flight_bytes=sizes.in_flight_bytes,
            waiting=sizes.waiting,
            parked=sizes.parked,
            oldest=sizes.oldest,
            span=sizes.span,
            unopened=self._assignment.unopened,
            held_up=tuple(
                f"{p} from {p.decided} on"
                for p in self._ledger.partitions()
                if p.end is not None and p.is_held_up
            ),
            lost=self._assignment.lost,
            transactions=self._committer.transactions,
            transaction_seconds=self._committer.transaction_seconds,
            time=self._time.seconds(),
        )

    def _turning(self) -> str:
        place, at = place_of(self._thread), self._keying
        if at is None:
            return place
        return f"it asks the handler for the key of {at} (at {place})"

    def stop(self) -> None:
        """Ask the loop to end; safe in signal handlers and from any thread."""
        # No lock: it could be held by the very thread that is interrupted.
        self._end_by(self._settings.limits.stop)
        self._stopping = True

    def run(self) -> RunResult:
        """Run until stopped, until the end, or until it cannot go on.

        Blocks.  Install signal handlers before, and call :meth:`stop` in them.
        """
        code, reason = ExitCode.DONE, ""
        self._thread = threading.get_ident()
        try:
            self._run()
        except Halt as halt:
            code, reason = halt.code, halt.reason
            _log.error("%s: stopping: %s", self.name, reason)
        except Exception as error:
            _log.exception("%s: the core is broken", self.name)
            code, reason = ExitCode.BUG, f"{type(error).__name__}: {error}"
        self._ended = reason
        return RunResult(
            name=self.name, exit_code=code, reason=reason, counts=self._counts.result()
        )

    def _run(self) -> None:
        client = kafka_clients.consumer(
            self._settings.kafka, self._group, rebalance=self._settings.limits.stop
        )
        try:
            partitions = self._topics(client)
            if partitions is None:
                return
            topic_settings.mend(self._settings, self.name, partitions)
            places = retry_placement.read(
                self._settings, self.name, partitions, self._is_stopping
            )
            if places is not None:
                self._consume(client, partitions, places)
        finally:
            self._close(client)

    def _topics(self, client: KafkaConsumer) -> Mapping[str, int] | None:
        """Return partitions by topic, once all topics are there; ``None``: stopped.

        A run until the end does not wait: there would be no end.
        """
        said = 0.0
        while not self._stopping:
            try:
                found = topics.ensure(
                    client, self._settings, self.name, self._is_stopping
                )
            except topics.Missing as missing:
                if self._until_end:
                    raise
                now = time.monotonic()
                if missing.reason != self._missing or now - said > _SAY_AGAIN_S:
                    _log.error("%s: waiting: %s", self.name, missing.reason)
                    said = now
                self._missing = missing.reason
                self._late.update(missing.topics)
                topics.sleep(_LOOK_AGAIN_S, self._is_stopping)
            else:
                if self._missing is not None and found is not None:
                    _log.info("%s: all topics are there: going on", self.name)
                    self._missing = None
                return found
        return None

    def _consume(
        self, client: KafkaConsumer, partitions: Mapping[str, int], places: Homes
    ) -> None:
        settings = self._settings
        retries = topics.retry_topics(settings, self.name)
        ledger = self._ledger = Ledger(
            settings.limits.in_flight,
            self._own.lanes,
            settings.limits.in_flight_bytes,
        )
        tracing = Tracing(self._group)
        secretive, kept = self._consumer, settings.journal
        outputs = Outputs(
            group=self._group,
            events=settings.events.topic,
            outcomes=settings.outcomes.topic,
            dead_letters=settings.dead_letters.topic,
            retries=retries,
            parked=topics.parked_topic(settings, self.name),
            partitions=partitions,
            redact=secretive.redact if isinstance(secretive, Secretive) else None,
            payload_limit=kept.payload_limit if kept.payload else None,
            tells=not isinstance(secretive, OutcomeTelling) or secretive.tells_outcomes,
        )
        assistant = self._assistant = Probes(
            self.name,
            consumer=self._consumer,
            ledger=ledger,
            down=lambda: self._lanes.block(),
            up=lambda: self._lanes.unblock(),
            crashed=self._crashed,
        )
        payloads = self._payloads = ParkedPayloads(settings)
        offsets = self._offsets = CommittedOffsets(
            settings.kafka, self._group, self._crashed
        )
        work = LaneWork(
            consumer=self._consumer,
            ledger=ledger,
            settings=settings.retries,
            tracing=tracing,
            payload=payloads.fetch,
            keeps_value=lambda r: r.value is None or outputs.redacted(r) is not None,
            unavailable=assistant.unavailable,
            refused=self._refused,
            counted=self._counted,
        )
        lanes = self._lanes = Lanes(
            self.name,
            self._own.lanes,
            work=work,
            leave=self._leave_lane,
            crashed=self._crashed,
        )
        self._recall = (
            Recall(
                self.name,
                self._consumer,
                ledger,
                settled=work.settle,
                submit=lanes.submit,
                crashed=self._crashed,
            )
            if isinstance(self._consumer, Recalling) and self._consumer.recalls
            else None
        )
        identity = settings.kafka.instance_id or f"{os.getpid()}-{uuid.uuid4().hex}"
        self._transactional_id = topics.transactional_id(settings, self.name, identity)
        committer = self._committer = Committer(
            group=self._group,
            identity=self._identity(),
            create=partial(
                kafka_clients.producer, settings.kafka, self._transactional_id
            ),
            ledger=ledger,
            offsets=offsets,
            outputs=outputs,
            tracing=tracing,
            counts=self._counts,
            on_outcome=self._on_outcome,
            crashed=self._crashed,
        )
        assignment = self._assignment = Assignment(
            client,
            ledger,
            settings=settings.kafka,
            group=self._group,
            offsets=offsets,
            sources=self._own.topics,
            parked=topics.parked_topic(settings, self.name),
            late=self._late,
            homes=places,
            until_end=self._until_end,
            budget=self._patience,
            stopping=self._is_stopping,
            committing=committer.is_alive,
        )
        self._is_built = True
        offsets.start()
        committer.start()
        lanes.start()
        if self._recall is not None:
            self._recall.start()
        assistant.start()
        assignment.subscribe()
        try:
            while not self._stopping and not self._is_at_end():
                self._turn(client)
        finally:
            self._wind_down()
        self._check()

    def _turn(self, client: KafkaConsumer) -> None:
        self._turned = time.monotonic()
        self._time.switch("work")
        self._check()
        self._lanes.tick()
        self._lanes.submit(self._ledger.due(now_ms()))
        self._assignment.serve()
        room = self._make_room()
        if room is None:
            return
        self._time.switch("poll")
        opening = not self._assignment.is_complete
        message = client.poll(_OPENING_S if opening else _POLL_S)
        self._assignment.check()
        if message is None:
            return
        messages: list[Any] = [message]
        if room > 1:
            messages += client.consume(min(room - 1, _READ), 0)
            self._assignment.check()
        self._time.switch("work")
        self._accept(messages)

    def _check(self) -> None:
        if isinstance(self._trouble, Exception):
            raise self._trouble
        if self._trouble is not None:
            # Somebody's sys.exit() in a thread shall not end this one silently.
            raise RuntimeError("a thread was ended") from self._trouble
        self._assignment.check()

    def _make_room(self) -> int | None:
        """Return how many records to read; ``None``: none, do not even poll."""
        ledger, assignment = self._ledger, self._assignment
        now = time.monotonic()
        room = ledger.space()
        if self._paused_for_space and ledger.is_half_free():
            self._paused_for_space = False
        if room > 0:
            self._full_since = None
        elif not self._paused_for_space:
            self._full_since = self._full_since or now
            if now - self._full_since < _STALL_S:
                self._time.switch("wait")
                ledger.wait_for_space(_POLL_S)
                return None
            self._paused_for_space = True
        owned = ledger.partitions()
        if self._paused_for_space or self._assistant.is_down:
            assignment.pause(set(owned))
        else:
            wanted = ledger.congested(now)
            for partition in assignment.paused:
                if ledger.is_congested(partition):
                    wanted.add(partition)
            if self._until_end:
                wanted.update(p for p in owned if p.reached)
            assignment.pause(wanted & set(owned))
        return max(room, 1)

    def _accept(self, messages: list[Any]) -> None:
        slots: list[Slot] = []
        read, errors = [], []
        for message in messages:
            error = message.error()
            if error is None:
                read.append(message)
            else:
                errors.append((message, error))
        for message, partition in self._ledger.news(read):
            at = Coordinates(message.topic(), message.partition(), message.offset())
            end = partition.end
            if end is None or at.offset < end or not self._until_end:
                self._keying = at
                self._enter(message, at, partition, slots)
            if end is not None:
                self._reached(partition, at.offset + 1)
        self._keying = None
        if slots:
            ready = self._ledger.accept(slots, now_ms())
            (self._recall or self._lanes).submit(ready)
        # The end of a partition comes after its records.
        for message, error in errors:
            self._notice(message, error)
        self._assignment.seek()

    def _enter(
        self, message: Any, at: Coordinates, partition: Partition, slots: list[Slot]
    ) -> None:
        row = b"" if partition.parked is None else message.key() or b""
        if partition.parked is not None and message.value() is None:
            self._ledger.unpark(partition, row)
            return
        record = record_of(message, at, partition.kind)
        slot = slot_of(record, partition, self._consumer.key, self._longest_ms, row)
        if partition.parked is None:
            slots.append(slot)
        else:
            self._ledger.park(slot)

    def _reached(self, partition: Partition, offset: int) -> None:
        """Note up to where a partition was read."""
        if partition.end is None or partition.reached or offset < partition.end:
            return
        self._ledger.let_go(partition)

    def _notice(self, message: Any, error: KafkaError) -> None:
        code = error.code()
        where = f"{message.topic()}[{message.partition()}]"
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001
            partition = self._ledger.find(message.topic(), message.partition())
            if partition is not None:
                # Behind the last record may be a transaction's marker, so the last
                # record does not tell that this is the end.
                partition.decided = message.offset()
                self._reached(partition, message.offset())
        elif code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            self._overtaken(message, error, where)
        elif code in _LOST_MEMBERSHIP or (
            # A fatal error hides its code; librdkafka's text names the cause.
            code == KafkaError._FATAL  # noqa: SLF001
            and "group.instance.id" in error.str()
        ):
            raise Halt(ExitCode.USAGE, shared_identity(self._identity()))
        elif code in _NOT_ALLOWED:
            raise Halt(
                ExitCode.UNAVAILABLE,
                f"Kafka does not allow it: {error.str()}; grant the right (read the"
                " topics and the group)",
            )
        elif error.fatal() or code == KafkaError._FATAL:  # noqa: SLF001
            raise Halt(ExitCode.BUG, f"the Kafka consumer is broken: {error.str()}")
        else:
            _log.warning("%s: %s", self.name, error.str())

    def _overtaken(self, message: Any, error: KafkaError, where: str) -> None:
        partition = self._ledger.find(message.topic(), message.partition())
        if partition is None or partition.parked is not None:
            return
        place = TopicPartition(message.topic(), message.partition())
        found = self._offsets.read([place], self._is_stopping)
        if found is None:
            return
        [at] = found.values()
        if partition.tracker.position > at.high:
            raise out_of_range(error.str(), where)
        self._assignment.go_on(partition, max(at.low, partition.tracker.position))

    def _is_at_end(self) -> bool:
        """Whether a run until the end is through."""
        changed_at = self._assignment.changed_at
        if not self._until_end or changed_at is None:
            return False
        if not self._assignment.is_complete:
            return False
        partitions = self._ledger.partitions()
        if not partitions and time.monotonic() - changed_at < _EMPTY_S:
            return False
        if not all(p.reached for p in partitions) or not self._ledger.is_idle():
            self._ticket = None
            return False
        if self._assistant.is_down or self._ledger.has_due(now_ms()):
            return False
        if not self._ledger.missing(1):
            return True
        # What parked records wait for may have come meanwhile.
        if self._ticket is None:
            self._ticket = self._assistant.hurry()
        if not self._assistant.has_asked(self._ticket):
            return False
        # What it found is due now; that is seen in the next turn.
        return not self._ledger.has_due(now_ms())

    def _wind_down(self) -> None:
        """Finish what was started, commit it, end the threads, in one deadline."""
        self._time.switch("stopping")
        deadline = self._end_by(self._settings.limits.stop)
        if self._until_end and self._trouble is None and not self._stopping:
            self._tell_waiting()
        self._lanes.close()
        if self._recall is not None:
            self._recall.close()
        self._assignment.give_up(self._ledger.partitions(), deadline - time.monotonic())
        if not self._committer.stop(deadline):
            _log.warning("%s: the last transaction was not finished", self.name)
        self._assistant.stop(deadline)
        self._offsets.stop(deadline)
        if self._recall is not None:
            self._recall.join(deadline)
        stuck = self._lanes.join(deadline)
        if stuck:
            _log.warning("%s: still at work, left alone: %s", self.name, stuck)
        self._payloads.close()
        self._assignment.leave()

    def _close(self, client: KafkaConsumer) -> None:
        """Leave the group; a broker that does not answer may take it as it likes."""
        seconds = max(_LEAVE_S, self._end_by(0.0) - time.monotonic())
        caller = BoundedCall(f"{self.name}-leaving")
        try:
            caller.call(client.close, seconds)
        except HangingError:
            _log.warning("%s: left without a farewell to the group", self.name)
        caller.close()

    def _end_by(self, seconds: float) -> float:
        """Return by when all has to be finished: so long from the first question on."""
        if self._deadline is None:
            self._deadline = time.monotonic() + seconds
        return self._deadline

    def _patience(self) -> float:
        """Return the seconds that giving up partitions may take."""
        if self._deadline is None:
            return self._settings.limits.stop
        return max(0.0, self._deadline - time.monotonic())

    def _tell_waiting(self) -> None:
        for slot in self._ledger.waiting():
            if self._counts.left(slot.record.origin) and self._on_outcome is not None:
                missing = ", ".join(slot.wait.missing)
                self._on_outcome(
                    slot.record,
                    Outcome(
                        kind=OutcomeKind.DEFERRED,
                        reason=f"waits for {missing}" if missing else "waits its time",
                        missing=slot.wait.missing,
                    ),
                )

    def _is_stopping(self) -> bool:
        # Asked by everything that waits: waiting for Kafka is not being stuck.
        self._turned = time.monotonic()
        return self._stopping

    def _identity(self) -> str:
        instance = self._settings.kafka.instance_id
        if instance is None:
            return f"transactional.id {self._transactional_id}"
        return f"kafka.instance_id {instance} (in group {self._group})"

    def _leave_lane(self) -> None:
        if isinstance(self._consumer, LaneScoped):
            self._consumer.leave_lane()

    def _refused(self, error: LoginRefused) -> None:
        self._lanes.block()
        self._crashed(refusal(error))

    def _counted(self, outcome: Outcome) -> None:
        if outcome.kind is OutcomeKind.DEFERRED:
            # Neither good nor bad yet; as good, it would hide what becomes of it.
            return
        if self._rejects.add(outcome.kind is OutcomeKind.REJECTED):
            limit = self._settings.limits.rejects
            self._lanes.close()
            self._crashed(
                Halt(
                    ExitCode.REJECTED,
                    f"more than {limit.ratio:.0%} of the records of the last"
                    f" {limit.window:.0f} s, at least {limit.minimum}, were rejected;"
                    f" the last: {outcome.reason}",
                )
            )

    def _crashed(self, error: BaseException) -> None:
        # The poll thread raises it in its next turn; the first trouble is the cause
        # of those that follow.
        self._trouble = self._trouble or error
