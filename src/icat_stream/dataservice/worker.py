"""What runs in the background: the queue between the levels, and tidying up."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from opentelemetry import trace

from icat_stream.telemetry import fault_point

from .catalogue import Catalogue
from .errors import BadSession, DataNotOnline, IdsError, NotFound, Unanswered
from .links import Links
from .locks import Lease, Locks
from .metrics import Metrics
from .mover import MoveFailed, Mover, Parked
from .settings import DataServiceSettings
from .state import State
from .tables import Failure, Request, Unit
from .two_levels import TwoLevels

_log = logging.getLogger(__name__)
_tracer = trace.get_tracer("icat_stream.dataservice")
_AGAIN_AFTER = 30.0
_TIDY_EVERY = 60.0


class Worker:
    """Does what the queue says, and forgets what is over.

    Parameters
    ----------
    settings
        Intervals.
    state
        The queue.
    links
        Are removed when their time is over.
    """

    def __init__(
        self, settings: DataServiceSettings, state: State, links: Links
    ) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        tidy = min(_TIDY_EVERY, max(1.0, settings.links.lifetime / 4))
        self.every(tidy, links.tidy)
        self.every(_TIDY_EVERY, state.forget_expired)

    def every(
        self, seconds: float, task: Callable[[], None], *, at_once: bool = True
    ) -> None:
        """Have something done again and again, whatever else takes its time."""

        def work() -> None:
            if not at_once and self._stop.wait(seconds):
                return
            while True:
                _guarded(task)
                if self._stop.wait(seconds):
                    return

        name = f"worker-{len(self._threads)}"
        self._threads.append(threading.Thread(target=work, name=name, daemon=True))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, within: float) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._stop.set()
        end = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))


class Queue:
    """Takes requests that are due and has them done.

    Parameters
    ----------
    settings
        How many at once.
    state
        With the requests.
    levels
        Whose units they are of.
    locks
        Who is at which unit.
    mover
        Does it.
    catalogue
        Is asked what became of files in doubt.
    metrics
        Count the work.
    """

    def __init__(
        self,
        settings: DataServiceSettings,
        state: State,
        levels: TwoLevels,
        locks: Locks,
        mover: Mover,
        catalogue: Catalogue,
        metrics: Metrics,
    ) -> None:
        self._workers = settings.queue.workers
        self._interval = settings.queue.interval
        self._write_delay = settings.queue.write_delay
        self._by_dataset = settings.storage_unit == "dataset"
        self._state = state
        self._levels = levels
        self._locks = locks
        self._mover = mover
        self._catalogue = catalogue
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="mover")
        self._running: set[int] = set()
        self._mutex = threading.Lock()
        self._doubts_resolved = False
        self._closed = False

    def tick(self) -> None:
        """Begin what is due, as far as there is room."""
        if not self._doubts_resolved and not self._by_dataset:
            self._resolve_doubts()
        self._doubts_resolved = True
        self._fill()

    def _fill(self) -> None:
        with self._mutex:
            room = self._workers - len(self._running)
            if room <= 0 or self._closed:
                return
            # Those that run are due, too, until they are done.
            for unit in self._state.due(self._workers):
                if unit.unit not in self._running and room:
                    room -= 1
                    self._running.add(unit.unit)
                    self._pool.submit(_guarded, partial(self._do, unit))

    def close(self, within: float) -> None:
        """Wait for what is under way, but not for ever: a storage may hang."""
        with self._mutex:
            self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + within
        while self._running and time.monotonic() < deadline:
            time.sleep(0.01)

    def _do(self, unit: Unit) -> None:
        assert unit.request is not None  # noqa: S101 - by selection
        kind = unit.request.removesuffix("_REQUESTED").lower()
        result = "done"
        try:
            with _tracer.start_as_current_span(f"ids.{kind}"):
                self._dispatch(unit)
        except Parked:
            result = "parked"
            self._closed = True
        except DataNotOnline:
            # Somebody is at it; others must not wait for that.
            result = "waits"
            self._state.postpone(unit, time.time() + self._interval)
        except NotFound:
            _log.warning("%s (id %d) is not in ICAT any more", unit.label, unit.unit)
            self._state.finish(unit)
        except (Unanswered, BadSession) as error:
            result = "postponed"
            _log.warning("%s of %s is tried again: %s", kind, unit.label, error)
            self._state.postpone(unit, time.time() + _AGAIN_AFTER)
        except Exception as error:
            # Whatever a storage raises: the unit is flagged, and the reason kept.
            result = "failed"
            expected = isinstance(error, MoveFailed | IdsError | OSError)
            _log.error(
                "%s of %s failed: %s", kind, unit.label, error, exc_info=not expected
            )
            self._flag(unit, error)
        finally:
            self._metrics.add("ids_operations_total", kind=kind, result=result)
            with self._mutex:
                self._running.discard(unit.unit)
        # Not where that was noted nowhere: it would be begun again at once, for ever.
        self._fill()

    def _flag(self, unit: Unit, error: Exception) -> None:
        if unit.request is Request.DELETE:
            # ICAT knows it no more, so nobody could take the flag away.
            self._state.postpone(unit, time.time() + _AGAIN_AFTER)
            return
        failure = Failure.RESTORE if unit.request is Request.RESTORE else Failure.WRITE
        self._state.fail(unit, failure, f"{type(error).__name__}: {error}")

    def _dispatch(self, unit: Unit) -> None:
        match unit.request:
            case Request.WRITE:
                self._write(unit, None)
            case Request.WRITE_THEN_ARCHIVE:
                self._write(unit, Request.ARCHIVE)
            case Request.ARCHIVE:
                self._archive(unit)
            case Request.RESTORE:
                self._restore(unit)
            case Request.DELETE:
                with self._alone(unit):
                    self._mover.delete(unit.unit, unit.label)
                    fault_point("delete.before-finish")
                    self._state.forget_copy(unit.unit)
                    self._state.finish(unit)

    def _write(self, unit: Unit, then: Request | None) -> None:
        with (
            self._locks.share([unit.unit]),
            self._levels.changes.watched(unit.unit) as changed,
        ):
            if self._now(unit) != unit.request:
                return
            if changed():
                # What is copied now would be out of date before it is there.
                self._state.postpone(unit, time.time() + self._write_delay)
                return
            files = self._mover.files(unit.unit)
            fault_point("write.begin")
            copy = self._mover.write(unit.unit, files)
            if copy is None:
                self._state.forget_copy(unit.unit)
            fault_point("write.before-finish")
            if changed():
                # A file came that this copy has not: the request stays.
                self._state.postpone(unit, time.time() + self._write_delay)
                return
            self._state.finish(unit, then=then, clears=Failure.WRITE, copy=copy)

    def _archive(self, unit: Unit) -> None:
        with self._alone(unit):
            if self._now(unit) != unit.request:
                return
            files = self._mover.files(unit.unit)
            copy = self._state.copy(unit.unit)
            if not self._mover.is_current(unit.unit, files, copy):
                self._state.finish(unit, then=Request.WRITE_THEN_ARCHIVE)
                return
            fault_point("archive.begin")
            self._mover.archive(files)
            fault_point("archive.before-finish")
            self._state.finish(unit)
            self._state.forget_reads(file.location or "" for file in files)

    def _restore(self, unit: Unit) -> None:
        with self._alone(unit):
            if self._now(unit) != unit.request:
                return
            files = self._mover.files(unit.unit)
            fault_point("restore.begin")
            self._mover.restore(unit.unit, files, self._state.copy(unit.unit))
            fault_point("restore.before-finish")
            self._state.finish(unit, clears=Failure.RESTORE)

    def _alone(self, unit: Unit) -> Lease:
        return self._locks.take([unit.unit])

    def _now(self, unit: Unit) -> Request | None:
        """Return what is wanted now that the unit is held."""
        found = self._state.units([unit.unit]).get(unit.unit)
        return found.request if found else None

    def _resolve_doubts(self) -> None:
        """Have files written that were catalogued when the process was killed."""
        doubts = {doubt.location: doubt for doubt in self._state.doubts()}
        if not doubts:
            return
        for location, (id_, _) in self._catalogue.at(doubts).items():
            self._levels.request({id_: location}, Request.WRITE)
            self._state.settle(location)


def note_reads(levels: TwoLevels, state: State) -> None:
    """Remember what was read: it is archived later than what nobody reads."""
    reads, levels.reads = levels.reads, {}
    # A copy: who got hold of it before may still add to it.
    state.note_reads(dict(reads))


def _guarded(task: Callable[[], None]) -> None:
    try:
        task()
    except (IdsError, OSError) as error:
        _log.warning("background work is tried again: %s", error)
    except Exception:
        _log.exception("background work failed; it is tried again")
