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
from icat_stream.records import ExitCode

from . import kafka_clients, offset_metadata
from .committed_offsets import CommittedOffsets, Wanted
from .in_flight import Partition, PartitionKind
from .ledger import Ledger
from .offsets import Place
from .retry_placement import Homes, name_of
from .run_result import Halt

_log = logging.getLogger(__name__)

_CALL_S = 2.0
_SLICE_S = 0.05
_LEAVE_S = 1.0
_AT_ONCE = 1_000
# After a crash inside a transaction the committed offsets are unstable until the
# broker has ended it: 10 s, and up to 10 s more until it looks; longer if the broker
# itself comes back.
_LONG_S = 60.0
_JOINED = (
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
)
# To seek past fewer takes longer than to read them.
_SEEK = 1_000


class Assignment:
    """Opens and closes partitions as the group decides.

    The group shares out the source topics; retry partitions and those of parked records
    come and go with the source partitions that they are at home with.  A partition that
    was given is opened once Kafka tells what is committed and cannot change any more; a
    callback never waits for that.  All methods run in the poll thread.

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
    offsets
        Tells what is committed.
    sources
        Topics of the consumer.
    parked
        Topic of parked records.
    late
        Those of the sources that came while the loop waited for them: with
        ``kafka.start: latest``, nothing of them is skipped.
    homes
        Of the partitions that are none of a source.
    until_end
        Note where partitions end.
    budget
        Asked how many seconds a revocation may take.
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
        offsets: CommittedOffsets,
        sources: list[str],
        parked: str,
        late: Collection[str],
        homes: Homes,
        until_end: bool,
        budget: Callable[[], float],
        stopping: Callable[[], bool],
        committing: Callable[[], bool],
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._settings = settings
        self._group = group
        self._offsets = offsets
        self._sources = set(sources)
        self._parked = parked
        self._late = frozenset(late)
        self._homes = homes
        self._until_end = until_end
        self._budget = budget
        self._stopping = stopping
        self._committing = committing
        self._paused: set[Partition] = set()
        self._error: BaseException | None = None
        self._leaving = False
        self._wanted: dict[tuple[str, int], Wanted] = {}
        # What librdkafka was told to read.
        self._read: set[tuple[str, int]] = set()
        self._complained_at = 0.0
        self.changed_at: float | None = None
        self.lost = 0

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
        """Open what Kafka has told of; answer the committer, who must not do it."""
        self._reload()
        known = [w for w in self._wanted.values() if w.committed is not None]
        for wanted in known:
            del self._wanted[wanted.topic, wanted.number]
        if known:
            for wanted in known:
                self._open(wanted)
            _log.info("%s: assigned %s", self._group, _names(known))
        self._complain()
        self._answer()

    def seek(self) -> None:
        """Go past what is finished, where that is much."""
        for partition, offset in self._ledger.far_ahead(_SEEK):
            # Where it cannot be done just now, all of it is read.
            with suppress(KafkaException):
                self._client.seek(
                    TopicPartition(partition.topic, partition.number, offset)
                )
                self._ledger.jump(partition, offset)

    @property
    def unopened(self) -> float:
        """Seconds since the first partition was given that is not open yet."""
        since = min((w.since for w in self._wanted.values()), default=None)
        return 0.0 if since is None else time.monotonic() - since

    @property
    def is_complete(self) -> bool:
        """Whether all that was given is open."""
        return not self._wanted

    def go_on(self, partition: Partition, low: int) -> None:
        """Read on where a topic begins by now; what was before it is lost.

        Parameters
        ----------
        partition
            That was overtaken by its topic's retention.
        low
            Where it begins.
        """
        self._count_lost(str(partition), low, self._ledger.jump(partition, low))
        place = TopicPartition(partition.topic, partition.number, low)
        self._client.incremental_unassign([place])
        self._client.incremental_assign([place])

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
        self._take_metadata()
        while self._committing() and not self._ledger.is_settled(partitions):
            if time.monotonic() > end:
                _log.warning(
                    "%s: not all of %s could be finished in %.0f s; it comes again",
                    self._group,
                    _names(partitions),
                    budget,
                )
                break
            self._answer()
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
        client.incremental_assign([])
        if not self._leaving:
            self._want(self._with_retries(given))
        self._take_metadata()

    def _answer(self) -> None:
        if self._ledger.wants_metadata():
            self._take_metadata()

    def _want(self, places: list[TopicPartition]) -> None:
        for place in places:
            wanted = Wanted(place.topic, place.partition)
            self._wanted[place.topic, place.partition] = wanted
            self._offsets.want(wanted)

    def _take_metadata(self) -> None:
        # In a callback during close there is no group any more.
        with suppress(RuntimeError):
            metadata = self._client.consumer_group_metadata()
            if kafka_clients.is_of_member(metadata):
                self._ledger.set_metadata(metadata)

    def _open(self, wanted: Wanted) -> None:
        committed = wanted.committed
        if committed is None:
            raise ValueError(f"{wanted} is not known yet")
        name = str(wanted)
        kind = self._kind(wanted.topic)
        if kind is PartitionKind.PARKED:
            # There is nothing to be committed of it: it is read from its beginning.
            place, begin, end = Place(0), committed.low, committed.high
        else:
            place = self._place(name, kind, committed)
            begin, end = max(place.offset, committed.low), committed.high
        partition = Partition(
            topic=wanted.topic,
            number=wanted.number,
            kind=kind,
            place=place,
            home=self._homes.get((wanted.topic, wanted.number), ""),
        )
        if begin > place.offset and kind is not PartitionKind.PARKED:
            self._count_lost(name, begin, partition.tracker.jump(begin))
        if self._until_end or kind is PartitionKind.PARKED:
            partition.end = end
        self._ledger.open([partition])
        if partition.end is not None and begin >= partition.end:
            self._ledger.let_go(partition)
        at = TopicPartition(wanted.topic, wanted.number, begin)
        self._client.incremental_assign([at])
        self._read.add((wanted.topic, wanted.number))
        # A pause outlives rebalances inside librdkafka.
        self._client.resume([at])
        self._take_metadata()
        _log.debug("%s: from offset %d", name, begin)

    def _kind(self, topic: str) -> PartitionKind:
        if topic in self._sources:
            return PartitionKind.SOURCE
        return PartitionKind.PARKED if topic == self._parked else PartitionKind.RETRY

    def _place(self, name: str, kind: PartitionKind, committed: Any) -> Place:
        offset, low, high = committed.offset, committed.low, committed.high
        if offset < 0:
            # With "latest" the group's place was fixed before it was joined: this
            # partition came later, and nothing of it was to be skipped.
            if kind is PartitionKind.SOURCE and self._settings.start == "error":
                raise Halt(
                    ExitCode.USAGE,
                    f"group {self._group} has no offset for {name}, and kafka.start is"
                    " error: set its offsets with kafka-consumer-groups, or"
                    " kafka.start to earliest or latest",
                )
            return Place(low)
        try:
            finished = offset_metadata.decode(committed.metadata)
        except offset_metadata.NewerVersion:
            raise Halt(
                ExitCode.USAGE,
                f"{self._group}: a newer version of this program has noted what is"
                f" finished of {name} ({committed.metadata[:20]}…): run that one",
            ) from None
        except ValueError as error:
            _log.error(
                "%s: what is noted as finished of %s cannot be read (%s): all from"
                " %d on is handled again, and its events come again",
                self._group,
                name,
                error,
                offset,
            )
            finished = 0
        if offset + finished.bit_length() > high:
            raise out_of_range(f"it would be {offset}, the last is {high - 1}", name)
        return Place(offset, finished)

    def _count_lost(self, name: str, low: int, lost: int) -> None:
        self.lost += lost
        if lost:
            _log.error(
                "%s: %d records of %s are LOST: its retention removed them before they"
                " were read; going on from %d. Make its retention longer, and have"
                " them announced again",
                self._group,
                lost,
                name,
                low,
            )

    def _complain(self) -> None:
        now = time.monotonic()
        late = [w for w in self._wanted.values() if now - w.since > _LONG_S]
        if late and now - self._complained_at > _LONG_S:
            self._complained_at = now
            _log.error(
                "%s: %s cannot be read yet: for %.0f s Kafka has not told what is"
                " committed (%s). A transaction that hangs in Kafka may be the cause",
                self._group,
                _names(late),
                self.unopened,
                late[0].reason,
            )

    def _begin_at_the_end(self) -> None:
        """Fix where a group that never was begins, for all partitions at once."""
        known = self._client.list_topics(timeout=_CALL_S).topics
        for topic in self._sources - self._late:
            places = [TopicPartition(topic, n) for n in known[topic].partitions]
            found = self._offsets.read(places, self._stopping, stable=True)
            if not found or any(each.offset >= 0 for each in found.values()):
                continue
            for place in places:
                place.offset = found[place.topic, place.partition].stable
            try:
                self._client.commit(offsets=places, asynchronous=False)
            except KafkaException as error:
                if error.args[0].code() not in _JOINED:
                    raise
                # Only a group without members takes that from us: another instance
                # was first, and has done it.

    def _revoked(self, _: Consumer, taken: list[TopicPartition]) -> None:
        self.changed_at = time.monotonic()
        places = self._forget(taken)
        self.give_up(self._ours(places), self._budget())
        self._unread(places)
        _log.info("%s: revoked %s", self._group, _names(places))

    def _lost(self, _: Consumer, taken: list[TopicPartition]) -> None:
        # It is no member any more, until it is given partitions, or none, again.
        self.changed_at = None
        places = self._forget(taken)
        partitions = self._ours(places)
        self._ledger.close(partitions, now=True)
        self._paused -= set(partitions)
        self._unread(places)
        _log.warning("%s: lost %s", self._group, _names(places))

    def _forget(self, taken: list[TopicPartition]) -> list[TopicPartition]:
        """Return what of it is open; the rest is not waited for any more."""
        self._reload()
        places = self._with_retries(taken)
        waited = [self._wanted.pop((p.topic, p.partition), None) for p in places]
        self._offsets.forget([w for w in waited if w is not None])
        return [p for p in places if (p.topic, p.partition) in self._read]

    def _unread(self, places: list[TopicPartition]) -> None:
        self._client.incremental_unassign(places)
        self._read -= {(place.topic, place.partition) for place in places}

    def _reload(self) -> None:
        for partition in self._ledger.wants_reload():
            place = TopicPartition(partition.topic, partition.number)
            self._paused.discard(partition)
            self._unread([place])
            self._want([place])

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

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(client: Consumer, places: list[TopicPartition]) -> None:
            # An exception that leaves a callback arrives as a SystemError or not.
            try:
                callback(client, places)
            except BaseException as error:
                if isinstance(error, Halt) and self._stopping():
                    # Cut short by the stop; what is not opened is read next time.
                    _log.info("%s: stopped meanwhile: %s", self._group, error)
                else:
                    self._error = self._error or error

        return guarded


def out_of_range(reason: str, where: str) -> Halt:
    """Return the end of a loop whose next record is not in the topic any more."""
    return Halt(
        ExitCode.USAGE,
        f"{where}: the next record to read is not there ({reason}): the topic was made"
        " anew, or has lost its end. Set the group's offsets with"
        " kafka-consumer-groups --reset-offsets",
    )


def _names(partitions: Iterable[Any]) -> str:
    """Return partitions as text, a topic once: ``files[0,1,2], users[0]``."""
    numbers: dict[str, list[int]] = {}
    for each in partitions:
        number = each.partition if isinstance(each, TopicPartition) else each.number
        numbers.setdefault(each.topic, []).append(number)
    return ", ".join(
        f"{topic}[{','.join(map(str, sorted(several)))}]"
        for topic, several in numbers.items()
    )
