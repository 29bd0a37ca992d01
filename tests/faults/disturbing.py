"""All that can go wrong around the instances, one thing after the other."""

import os
import random
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewPartitions

from faults.announcing import SOURCE
from faults.fleet import Fleet
from faults.outside import Facility
from icat_stream.sandbox.kafka import JavaBroker

# Longer than a reading process may take; by then it was given up.
STALLED_S = 15.0
FULL_S = 3.0
_MOST_PARTITIONS = 4


class Disturber:
    """Does one bad thing after the other, and keeps count.

    First each thing once, then all of them by their weights, again and again.
    """

    def __init__(
        self, facility: Facility, fleet: Fleet, broker: JavaBroker, seed: int
    ) -> None:
        self._facility = facility
        self._fleet = fleet
        self._broker = broker
        self._chance = random.Random(seed)
        self._partitions = 0
        self._aside_threads: list[threading.Thread] = []
        self._stalled: list[tuple[float, int]] = []
        self.trouble: list[BaseException] = []
        self.done: Counter[str] = Counter()
        icat = facility.icat_fault
        self._ways: dict[str, tuple[int, Callable[[], bool | None]]] = {
            "frozen": (3, self._freeze),
            "partitions added": (1, self._add_partitions),
            "SIGTERM": (4, self._terminate),
            "identity taken over": (2, self._double),
            "another instance joins and leaves": (3, self._join),
            "broker killed": (1, self._kill_broker),
            "ICAT slow": (4, partial(icat, "latency", seconds=0.5, count=20)),
            "ICAT refuses": (3, partial(icat, "refuse", seconds=2.0)),
            "ICAT drops before": (4, partial(icat, "drop_before", count=2)),
            "ICAT drops after the write": (
                6,
                partial(icat, "drop_after", count=3, match="create"),
            ),
            "ICAT 503": (3, partial(icat, "status", status=503, count=2)),
            "ICAT HTML": (3, partial(icat, "html", count=2)),
            "ICAT database down": (2, partial(icat, "database", count=2)),
            "ICAT forgets sessions": (4, partial(icat, "expire_sessions")),
            "ICAT restarted": (2, partial(icat, "restart")),
            "ICAT lies: exists": (3, partial(icat, "exists", count=3, match="create")),
            "ICAT lies after the write": (
                3,
                partial(icat, "exists_after", count=3, match="create"),
            ),
            "journal locked": (3, self._lock_journal),
            "disk full": (3, self._fill_disk),
            "reading stalls": (3, self._stall),
        }
        self._order = self._shuffled()

    @property
    def missing(self) -> list[str]:
        """What has not been done yet."""
        return [name for name in self._ways if not self.done[name]]

    def _shuffled(self) -> Iterator[str]:
        # The two that take longest to have an effect come first.
        first, rest = list(self._ways)[:2], list(self._ways)[2:]
        yield from (*first, *self._chance.sample(rest, len(rest)))
        while True:
            bag = [name for name, (n, _) in self._ways.items() for _ in range(n)]
            yield from self._chance.sample(bag, len(bag))

    def disturb(self) -> None:
        """Do one bad thing, if there is somebody to do it to."""
        name = next(iter(self.missing), "") if self._late() else next(self._order)
        if self._ways[name][1]() is not False:
            self.done[name] += 1

    def _late(self) -> bool:
        """Whether the first round is over and something could not be done in it."""
        return self.done.total() >= len(self._ways) - 2 and bool(self.missing)

    def turn(self) -> None:
        """Let those that were stalled go on."""
        now = time.monotonic()
        for due, handle in self._stalled[:]:
            if due <= now:
                self._stalled.remove((due, handle))
                _resume(handle)

    def end(self) -> None:
        """Let all be well again."""
        for thread in self._aside_threads:
            thread.join(60)
        for _, handle in self._stalled:
            _resume(handle)
        self._broker.start()
        self._facility.icat_fault("clear")
        if self.trouble:
            raise self.trouble[0]

    def _terminate(self) -> bool:
        instance = self._fleet.anybody()
        if instance is not None:
            instance.process.terminate()
        return instance is not None

    def _freeze(self) -> bool:
        instance = self._fleet.anybody(worked=True)
        if instance is None:
            return False
        instance.process.send_signal(signal.SIGSTOP)
        instance.frozen = time.monotonic()
        return True

    def _double(self) -> None:
        """Start another one under the identity of one that runs."""
        self._aside(partial(self._passing, self._fleet.anywhere(), signal.SIGKILL))

    def _join(self) -> None:
        place = f"guest-{self._chance.randint(0, 10**6)}"
        self._aside(partial(self._passing, place, signal.SIGTERM))

    def _passing(self, place: str, number: signal.Signals) -> None:
        guest = self._fleet.start(place)
        time.sleep(6)
        guest.send_signal(number)
        guest.wait(60)

    def _kill_broker(self) -> None:
        self._broker.kill()
        time.sleep(1)
        self._broker.start()

    def _add_partitions(self) -> bool | None:
        if self._partitions >= _MOST_PARTITIONS:
            return False
        self._partitions += 1
        admin = AdminClient({"bootstrap.servers": self._broker.bootstrap})
        known = admin.list_topics(SOURCE, timeout=30).topics[SOURCE].partitions
        wanted = NewPartitions(SOURCE, len(known) + 1)
        for future in admin.create_partitions([wanted]).values():
            future.result(30)
        return None

    def _lock_journal(self) -> None:
        # The last is longer than anybody waits for the lock.
        seconds = self._chance.choice((1.0, 3.0, 13.0))
        self._aside(partial(self._facility.hold_journal, seconds))

    def _fill_disk(self) -> bool:
        """Let an instance's writes to files fail: journal and log."""
        instance = self._fleet.anybody(worked=True)
        if instance is None:
            return False
        pid = instance.process.pid

        def fill() -> None:
            limit_files(pid, 1)
            time.sleep(FULL_S)
            limit_files(pid, None)

        self._aside(fill)
        return True

    def _stall(self) -> bool:
        """Let a reading process get no answer, as from a mount that is gone."""
        instance = self._fleet.anybody(worked=True)
        children = [] if instance is None else children_of(instance.process.pid)
        if not children:
            return False
        try:
            # It may be another's by the time it goes on: not by its number.
            handle = os.pidfd_open(self._chance.choice(children))
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
        except ProcessLookupError:
            return False
        self._stalled.append((time.monotonic() + STALLED_S, handle))
        return True

    def _aside(self, act: Callable[[], object]) -> None:
        def run() -> None:
            try:
                act()
            except BaseException as error:
                self.trouble.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._aside_threads = [t for t in self._aside_threads if t.is_alive()]
        self._aside_threads.append(thread)


def limit_files(pid: int, size: int | None) -> None:
    """Let a process write to no file beyond a size; ``None``: as far as it likes.

    A write beyond fails with EFBIG, as one to a full disk with ENOSPC.
    """
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        soft = hard if size is None else size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    except ProcessLookupError:
        # It was killed meanwhile.
        return


def children_of(pid: int) -> list[int]:
    """Return the children of a process."""
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, tasks.read_text().split())
        except OSError:
            continue
    return found


def _resume(handle: int) -> None:
    try:
        signal.pidfd_send_signal(handle, signal.SIGCONT)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
