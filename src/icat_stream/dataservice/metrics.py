"""What the service counts, and how monitoring reads it."""

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from icat_stream.telemetry import Sample, prometheus_text

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_METRICS = {
    "ids_calls_total": ("counter", "Calls answered, by name and HTTP status."),
    "ids_call_seconds": ("histogram", "From a call to its last byte."),
    "ids_icat_calls_total": ("counter", "Calls to ICAT."),
    "ids_icat_failures_total": (
        "counter",
        "Calls to ICAT that failed.",
    ),
    "ids_icat_seconds_total": ("counter", "Seconds spent in calls to ICAT."),
    "ids_bytes_total": ("counter", "Content of files, in and out."),
    "ids_operations_total": ("counter", "Finished writes, archivings and restores."),
    "ids_queue": ("gauge", "Requests that wait or run, by kind."),
    "ids_queue_overdue_seconds": (
        "gauge",
        "For how long the request has been due that waits longest.",
    ),
    "ids_failures": ("gauge", "Units flagged as failed."),
    "ids_locks": ("gauge", "Units in use."),
    "ids_possible_orphans": ("gauge", "Files whose catalogue entry is not certain."),
    "ids_main_storage_free_bytes": ("gauge", "Room in main storage's file system."),
    "ids_streams": ("gauge", "Bodies under way."),
}

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and histograms; may be used by any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, Labels], float] = defaultdict(float)
        self._times: dict[Labels, list[float]] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count."""
        with self._lock:
            self._values[name, tuple(labels.items())] += amount

    def call(self, name: str, status: int, seconds: float) -> None:
        """Count an answered call."""
        labels = (("call", name),)
        with self._lock:
            key = ("ids_calls_total", (*labels, ("status", str(status))))
            self._values[key] += 1
            times = self._times.setdefault(labels, [0.0] * (len(_BOUNDS) + 2))
            times[bisect_left(_BOUNDS, seconds)] += 1
            times[-1] += seconds

    @contextmanager
    def icat_call(self, name: str) -> Iterator[None]:
        """Count a call to ICAT and its time."""
        begin = time.perf_counter()
        try:
            yield
        except BaseException:
            self.add("ids_icat_failures_total", call=name)
            raise
        finally:
            self.add("ids_icat_calls_total", call=name)
            seconds = time.perf_counter() - begin
            self.add("ids_icat_seconds_total", seconds, call=name)

    def render(self, gauges: Mapping[tuple[str, Labels], float]) -> str:
        """Return everything as Prometheus reads it.

        Parameters
        ----------
        gauges
            What is measured just now.
        """
        with self._lock:
            values = {**self._values, **gauges}
            times = {labels: list(t) for labels, t in self._times.items()}
        samples = [Sample(*key, value) for key, value in values.items()]
        for labels, counts in times.items():
            samples += _histogram("ids_call_seconds", labels, counts)
        return prometheus_text(_METRICS, samples)


def _histogram(name: str, labels: Labels, counts: list[float]) -> Iterator[Sample]:
    total = 0.0
    for bound, count in zip((*map(str, _BOUNDS), "+Inf"), counts, strict=False):
        total += count
        yield Sample(name, (*labels, ("le", bound)), total, "_bucket")
    yield Sample(name, labels, counts[-1], "_sum")
    yield Sample(name, labels, total, "_count")
