"""What a group has committed, once that is decided, and where its topics end."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from icat_stream.config import KafkaSettings

from . import kafka_clients

_log = logging.getLogger(__name__)

# While an earlier owner's transaction is not decided, no answer comes; one such
# partition holds up the answer for all that are asked for together.
_TOGETHER_S = 1.0
_ALONE_S = 0.25
_BETWEEN_S = 0.05
_LONGEST_S = 1.0
_CALL_S = 2.0
# librdkafka can lose sight of a coordinator for good (issue 5511): who has got no
# answer for so long is replaced.
_SILENT_S = 5.0


class Committed(NamedTuple):
    """What is known of a partition.

    Parameters
    ----------
    offset
        Committed; negative for none.
    metadata
        Beside it.
    low, high
        Where the partition begins and ends.
    stable
        Up to where no transaction is under way; the end, where nobody asked for it.
    """

    offset: int
    metadata: str
    low: int
    high: int
    stable: int


@dataclass(eq=False)
class Wanted:
    """A partition that was given and is not open yet.

    Parameters
    ----------
    topic, number
        Which.
    stable
        Whether it matters up to where no transaction is under way.
    """

    topic: str
    number: int
    stable: bool = False
    since: float = field(default_factory=time.monotonic)
    committed: Committed | None = None
    reason: str = "no answer yet"

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


class CommittedOffsets:
    """A thread that asks Kafka, so that nobody who polls has to wait for it.

    Only answers that no transaction under way can change any more are given.

    Parameters
    ----------
    settings
        Of Kafka.
    group
        Whose offsets.
    crashed
        Told of what ends the thread.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._group = group
        self._crashed = crashed
        self._answered_at = time.monotonic()
        self._lock = threading.Condition()
        self._wanted: list[Wanted] = []
        self._closed = False
        self._clients: dict[bool, Consumer] = {}
        self._thread = threading.Thread(
            target=self._run, name=f"{group}-offsets", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, deadline: float) -> None:
        """End the thread.

        Parameters
        ----------
        deadline
            Monotonic seconds.
        """
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def want(self, wanted: Wanted) -> None:
        """Ask for a partition, from now on."""
        with self._lock:
            self._wanted.append(wanted)
            self._lock.notify_all()

    def forget(self, wanted: Iterable[Wanted]) -> None:
        """Ask no more for some."""
        with self._lock:
            for each in wanted:
                if each in self._wanted:
                    self._wanted.remove(each)

    def read(
        self,
        places: Sequence[TopicPartition],
        stopping: Callable[[], bool],
        *,
        stable: bool = False,
    ) -> dict[tuple[str, int], Committed] | None:
        """Return what is known of partitions, however long it takes.

        Parameters
        ----------
        places
            Topics and partitions.
        stopping
            Asked in between; ``None`` is returned when it says yes.
        stable
            Whether it matters up to where no transaction is under way.
        """
        wanted = [Wanted(place.topic, place.partition, stable) for place in places]
        for each in wanted:
            self.want(each)
        while any(each.committed is None for each in wanted):
            if stopping():
                self.forget(wanted)
                return None
            with self._lock:
                self._lock.wait(_BETWEEN_S)
        return {(w.topic, w.number): w.committed for w in wanted if w.committed}

    def _run(self) -> None:
        try:
            pause = _BETWEEN_S
            while True:
                with self._lock:
                    while not self._wanted and not self._closed:
                        self._lock.wait()
                    if self._closed:
                        break
                    wanted = list(self._wanted)
                begun = time.monotonic()
                if self._ask(wanted):
                    pause, self._answered_at = _BETWEEN_S, begun
                else:
                    since = max(self._answered_at, min(w.since for w in wanted))
                    if begun - since > _SILENT_S:
                        self._answered_at = begun
                        self._let_clients_go()
                    # What is refused at once would be asked thousands of times.
                    quick = time.monotonic() - begun < _BETWEEN_S
                    pause = min(2 * pause, _LONGEST_S) if quick else _BETWEEN_S
                    with self._lock:
                        self._lock.wait_for(lambda: self._closed, pause)
        except BaseException as error:
            self._crashed(error)
        finally:
            self._let_clients_go()

    def _let_clients_go(self) -> None:
        while self._clients:
            self._clients.popitem()[1].close()

    def _ask(self, wanted: list[Wanted]) -> bool:
        """Ask for all, then for each alone; return whether there was any answer."""
        try:
            self._answer(wanted, _TOGETHER_S)
        except KafkaException as error:
            for each in wanted:
                each.reason = error.args[0].str()
        else:
            return True
        answered = False
        for each in wanted if len(wanted) > 1 else ():
            if self._closed or each not in self._wanted:
                continue
            try:
                self._answer([each], _ALONE_S)
                answered = True
            except KafkaException as error:
                each.reason = error.args[0].str()
        return answered

    def _answer(self, wanted: list[Wanted], seconds: float) -> None:
        places = [TopicPartition(each.topic, each.number) for each in wanted]
        found = self._client(stable=True).committed(places, timeout=seconds)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        for each, place in zip(wanted, found, strict=True):
            # After the offset: what was committed may be at the very end.
            low, high = self._watermarks(place, stable=False)
            stable = high
            if each.stable:
                stable = min(high, self._watermarks(place, stable=True)[1])
            committed = Committed(place.offset, place.metadata or "", low, high, stable)
            with self._lock:
                if each in self._wanted:
                    self._wanted.remove(each)
                    each.committed = committed
                    self._lock.notify_all()

    def _watermarks(self, place: TopicPartition, *, stable: bool) -> tuple[int, int]:
        try:
            low, high = self._client(stable=stable).get_watermark_offsets(
                place, timeout=_CALL_S
            )
        except KafkaException:
            # What a client saw of a topic while a broker was away it keeps for
            # minutes: ask with another one.
            self._clients.pop(stable).close()
            raise
        return int(low), int(high)

    def _client(self, *, stable: bool) -> Consumer:
        client = self._clients.get(stable)
        if client is None:
            client = self._clients[stable] = kafka_clients.consumer(
                self._settings, self._group, member=False, committed_only=stable
            )
        return client
