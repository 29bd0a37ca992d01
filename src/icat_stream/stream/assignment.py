"""Partitions come and go: what the callbacks of the consumer do."""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from icat_stream.config import KafkaSettings

from . import kafka_clients
from .in_flight import Partition
from .ledger import Ledger
from .retry_placement import Homes, name_of
from .run_result import CONFIGURATION, UNAVAILABLE, Halt

_log = logging.getLogger(__name__)

# After a crash inside a transaction the committed offsets are unstable until the
# broker has ended it: 10 s, and up to 10 s more until it looks; longer if the broker
# itself comes back.  Less than the 300 s of max.poll.interval.ms in any case.
_COMMITTED_S = 240.0
_CALL_S = 2.0
_SLICE_S = 0.05
_LEAVE_S = 1.0
_AT_ONCE = 1_000
_JOINED = (
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
)


class Assignment:
    """Opens and closes partitions as the group decides.

    The group shares out the source topics; retry partitions come and go with the
    source partitions that they are at home with.  All methods run in the poll thread.

    Parameters
    ----------
    client
        The consumer.
    ledger
        Has the partitions.
    settings
        Of Kafka.
    group
        Consumer group.
    sources
        Topics of the consumer.
    late
        Those of the sources that came while the loop waited for them: with
        ``kafka.start: latest``, nothing of them is skipped.
    homes
        Of the retry partitions.
    until_end
        Note where partitions end.
    budget
        Asked how many seconds a revocation may take.
    opened
        Told of each partition and its committed offset.
    stopping
        Whether a stop was asked for.
    committing
        Whether there still is a committer.
    """

    def __init__(
        self,
        client: Consumer,
        ledger: Ledger,
        *,
        settings: KafkaSettings,
        group: str,
        sources: list[str],
        late: Collection[str],
        homes: Homes,
        until_end: bool,
        budget: Callable[[], float],
        opened: Callable[[Partition, int], None],
        stopping: Callable[[], bool],
        committing: Callable[[], bool],
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._settings = settings
        self._group = group
        self._sources = set(sources)
        self._late = frozenset(late)
        self._homes = homes
        self._until_end = until_end
        self._budget = budget
        self._opened = opened
        self._stopping = stopping
        self._committing = committing
        self._paused: set[Partition] = set()
        self._error: BaseException | None = None
        self._leaving = False
        self.changed_at: float | None = None

    def subscribe(self) -> None:
        """Join the group."""
        if self._settings.start == "latest":
            self._begin_at_the_end()
        self._client.subscribe(
            sorted(self._sources),
            on_assign=self._guarded(self._assigned),
            on_revoke=self._guarded(self._revoked),
            on_lost=self._guarded(self._lost),
        )

    def check(self) -> None:
        """Raise what went wrong in a callback: from there it would not arrive."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def pause(self, wanted: set[Partition]) -> None:
        """Let exactly these partitions rest; only changes reach the client."""
        for partitions, act in (
            (wanted - self._paused, self._client.pause),
            (self._paused - wanted, self._client.resume),
        ):
            if partitions:
                act([TopicPartition(p.topic, p.number) for p in partitions])
        self._paused = wanted

    @property
    def paused(self) -> set[Partition]:
        """What rests."""
        return self._paused

    def serve(self) -> None:
        """Answer the committer, who must not call the consumer itself."""
        if self._ledger.wants_metadata():
            self._ledger.set_metadata(self._client.consumer_group_metadata())
        wanted = self._ledger.wants_committed()
        if wanted:
            found = self._committed([_position(p) for p in wanted], _CALL_S)
            if found is not None:
                self._ledger.set_committed(
                    {p: max(0, found.get((p.topic, p.number), 0)) for p in wanted}
                )

    def give_up(self, partitions: list[Partition], budget: float) -> None:
        """Finish what was started, commit it, and let go, within one deadline.

        Parameters
        ----------
        partitions
            Which.
        budget
            Seconds for all of it.
        """
        if not partitions:
            return
        end = time.monotonic() + budget
        self._ledger.close(partitions, now=False)
        # The generation has moved on if this is a rebalance: an older snapshot would
        # be refused.
        self._ledger.set_metadata(self._client.consumer_group_metadata())
        while self._committing() and not self._ledger.is_settled(partitions):
            if time.monotonic() > end:
                _log.warning(
                    "%s: not all of %s could be finished in %.0f s; it comes again",
                    self._group,
                    _names(partitions),
                    budget,
                )
                break
            self.serve()
            self._ledger.wait_for_change(_SLICE_S)
        self._ledger.close(partitions, now=True)
        self._paused -= set(partitions)

    def leave(self) -> None:
        """Answer the rebalances that came while nobody polled; read nothing more.

        Left for :meth:`Consumer.close`, an assignment can hang it for good where the
        member has an id: librdkafka then ends the group before the revocation that
        follows is answered, and the answer holds Python's lock (librdkafka 4884).
        """
        self._leaving = True
        end = time.monotonic() + _LEAVE_S
        with suppress(KafkaException):
            self._client.pause(self._client.assignment())
            while time.monotonic() < end and self._client.consume(_AT_ONCE, _SLICE_S):
                pass

    def _assigned(self, client: Consumer, given: list[TopicPartition]) -> None:
        self.changed_at = time.monotonic()
        if not given:
            self._ledger.set_metadata(client.consumer_group_metadata())
            return
        given = self._with_retries(given)
        if self._leaving:
            client.incremental_assign(given)
            return
        committed = self._committed(given, _COMMITTED_S)
        if committed is None:
            if not self._stopping():
                raise Halt(
                    UNAVAILABLE,
                    f"{self._group}: Kafka does not tell the committed offsets",
                )
            return
        partitions = []
        for each in given:
            offset = committed[each.topic, each.partition]
            each.offset = offset if offset >= 0 else self._start(each)
            partition = Partition(
                topic=each.topic,
                number=each.partition,
                retry=each.topic not in self._sources,
                position=max(0, each.offset),
                committed=max(0, each.offset),
                home=self._homes.get((each.topic, each.partition), ""),
            )
            if self._until_end:
                _, partition.end = self._watermarks(each)
                partition.reached = each.offset >= partition.end
            partitions.append(partition)
        self._ledger.open(partitions)
        client.incremental_assign(given)
        # A pause outlives rebalances inside librdkafka.
        client.resume(given)
        self._ledger.set_metadata(client.consumer_group_metadata())
        for partition in partitions:
            self._opened(partition, partition.position)
        _log.info("%s: assigned %s", self._group, _names(given))
        for partition in partitions:
            _log.debug("%s: from offset %d", partition, partition.position)

    def _begin_at_the_end(self) -> None:
        """Fix where a group that never was begins, for all partitions at once."""
        known = self._client.list_topics(timeout=_CALL_S).topics
        for topic in self._sources - self._late:
            places = [TopicPartition(topic, n) for n in known[topic].partitions]
            committed = self._committed(places, _COMMITTED_S) or {}
            if not committed or any(offset >= 0 for offset in committed.values()):
                continue
            for place in places:
                _, place.offset = self._watermarks(place)
            try:
                self._client.commit(offsets=places, asynchronous=False)
            except KafkaException as error:
                if error.args[0].code() not in _JOINED:
                    raise
                # Only a group without members takes that from us: another instance
                # was first, and has done it.

    def _start(self, place: TopicPartition) -> int:
        """Return where a group without an offset begins, as an absolute offset."""
        low, _ = self._watermarks(place)
        if place.topic not in self._sources or self._settings.start != "error":
            # With "latest" the group's place was fixed before it was joined: this
            # partition came later, and nothing of it was to be skipped.
            return low
        raise Halt(
            CONFIGURATION,
            f"group {self._group} has no offset for {place.topic}"
            f"[{place.partition}], and kafka.start is error: set its offsets with"
            " kafka-consumer-groups, or kafka.start to earliest or latest",
        )

    def _revoked(self, client: Consumer, taken: list[TopicPartition]) -> None:
        self.changed_at = time.monotonic()
        taken = self._with_retries(taken)
        self.give_up(self._ours(taken), self._budget())
        client.incremental_unassign(taken)
        _log.info("%s: revoked %s", self._group, _names(taken))

    def _lost(self, client: Consumer, taken: list[TopicPartition]) -> None:
        self.changed_at = time.monotonic()
        taken = self._with_retries(taken)
        partitions = self._ours(taken)
        self._ledger.close(partitions, now=True)
        self._paused -= set(partitions)
        client.incremental_unassign(taken)
        _log.warning("%s: lost %s", self._group, _names(taken))

    def _with_retries(self, places: list[TopicPartition]) -> list[TopicPartition]:
        """Return source partitions and the retry partitions that go with them."""
        names = {name_of(place.topic, place.partition) for place in places}
        return places + [
            TopicPartition(topic, number)
            for (topic, number), home in self._homes.items()
            if home in names
        ]

    def _ours(self, taken: list[TopicPartition]) -> list[Partition]:
        found = (self._ledger.find(each.topic, each.partition) for each in taken)
        return [partition for partition in found if partition is not None]

    def _committed(
        self, places: list[TopicPartition], budget: float
    ) -> dict[tuple[str, int], int] | None:
        end = time.monotonic() + budget
        said = False
        while True:
            try:
                found = self._client.committed(places, timeout=_CALL_S)
                for each in found:
                    if each.error is not None:
                        raise KafkaException(each.error)
                return {(each.topic, each.partition): each.offset for each in found}
            except KafkaException as error:
                if time.monotonic() > end or self._stopping():
                    return None
                if not said:
                    reason = error.args[0].str()
                    _log.info("%s: no committed offsets yet: %s", self._group, reason)
                    said = True
                # What is owned already goes on being committed meanwhile.
                if self._ledger.wants_metadata():
                    self._ledger.set_metadata(self._client.consumer_group_metadata())
                time.sleep(_SLICE_S)

    def _watermarks(self, place: TopicPartition) -> tuple[int, int]:
        end = time.monotonic() + _COMMITTED_S
        client = self._client
        while True:
            try:
                low, high = client.get_watermark_offsets(place, timeout=_CALL_S)
                return int(low), int(high)
            except KafkaException as error:
                if self._stopping():
                    raise _StoppingError from None
                if time.monotonic() > end:
                    raise Halt(
                        UNAVAILABLE,
                        f"{place.topic}[{place.partition}]: Kafka does not tell where"
                        f" it ends: {error.args[0].str()}",
                    ) from None
            finally:
                if client is not self._client:
                    client.close()
            # What a client saw of a topic while a broker was away it keeps for
            # minutes, and to look again is not allowed in a callback: ask with another.
            time.sleep(_SLICE_S)
            client = kafka_clients.consumer(
                self._settings, self._group, until_end=False, member=False
            )

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(client: Consumer, places: list[TopicPartition]) -> None:
            # An exception that leaves a callback arrives as a SystemError or not.
            try:
                callback(client, places)
            except _StoppingError:
                _log.info("%s: stopped while it was being assigned", self._group)
            except BaseException as error:
                if isinstance(error, Halt) and self._stopping():
                    # Cut short by the stop; what is not opened is read next time.
                    _log.info("%s: stopped meanwhile: %s", self._group, error)
                else:
                    self._error = self._error or error

        return guarded


class _StoppingError(Exception):
    """A stop does not wait for what is not known yet, and is no failure."""


def out_of_range(error: KafkaError, where: str) -> Halt:
    """Return the end of a loop whose next record is not in the topic any more."""
    return Halt(
        CONFIGURATION,
        f"{where}: the next record to read is gone ({error.str()}): the topic's"
        " retention is shorter than our delay, or the topic was made anew. Set the"
        " group's offsets with kafka-consumer-groups --reset-offsets",
    )


def _position(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)


def _names(partitions: Iterable[Any]) -> str:
    """Return partitions as text, a topic once: ``files[0,1,2], users[0]``."""
    numbers: dict[str, list[int]] = {}
    for each in partitions:
        number = each.number if isinstance(each, Partition) else each.partition
        numbers.setdefault(each.topic, []).append(number)
    return ", ".join(
        f"{topic}[{','.join(map(str, sorted(several)))}]"
        for topic, several in numbers.items()
    )
