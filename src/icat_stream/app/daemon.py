"""The daemon: the configured consumers, each in its loop, until told to stop."""

import faulthandler
import logging
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from icat_stream.config import Settings, load
from icat_stream.ingest import RunningConsumer
from icat_stream.records import ExitCode, Outcome, Record
from icat_stream.stream import (
    Loop,
    RunResult,
    TopicIds,
    dry_run,
    relax_collector,
)
from icat_stream.telemetry import (
    configure_logging,
    configure_traces,
    export_metrics,
    health_endpoint,
)

from .alerts import Alerts
from .claim_check import daily_claim_check, forget_deleted
from .end_patience import EndPatience
from .health_report import HealthReport, Meter
from .journal_writer import JournalWriter
from .outcome_output import outcome_line, outcome_text, summary_line
from .pipeline import Pipeline
from .schedule import periodic_schedule
from .sqlite_host import SqliteHost
from .stop_flag import StopFlag
from .terminal_report import TerminalReport
from .upkeep import journal_upkeep

_log = logging.getLogger(__name__)
OutcomeCallback = Callable[[Record, Outcome], None]
_MINUTE_S = 60.0
# Beyond the deadline that a loop has for its stop: to leave the group.
_LEAVING_S = 5.0
# For the rows of the last outcomes.
_LAST_ROWS_S = 2.0
# And for all: leaving the group, and a machine that is busy.
_HANGS_S = 15.0


def run_daemon(
    config: Path,
    *,
    only: Sequence[str] | None,
    dry_run: bool,
    until_end: bool,
    wait: float,
    refresh: bool,
    json_output: bool,
    verbose: bool,
) -> int:
    """Run the daemon.

    Parameters
    ----------
    config
        The configuration's file.
    only
        Names of the consumers to run; all that are enabled if empty.
    dry_run
        Print plans beside what the catalogue holds; move and write nothing.
    until_end
        Stop at the ends that the partitions have at start.
    wait
        Seconds that a run until the end waits for a system that is down.
    refresh
        First look for what was deleted in ICAT since it was applied.
    json_output
        A line of JSON a record on standard output.
    verbose
        Log details.

    Returns
    -------
    :
        The exit code.
    """
    settings = load(config)
    telemetry = settings.telemetry
    at_terminal = sys.stdout.isatty() and not json_output
    configure_logging(
        "debug" if verbose else telemetry.log_level,
        telemetry.log_file,
        as_json=telemetry.log_format == "json",
        brief=at_terminal and not verbose,
    )
    flush = configure_traces(
        telemetry.otlp_endpoint,
        console=telemetry.console,
        sample_ratio=telemetry.sample_ratio,
    )
    stopping = StopFlag()
    # Before anything that takes time: a signal during start-up is a stop as well.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    lines = LinePrinter(stopping)
    report: TerminalReport | None = None
    text = outcome_line if json_output else outcome_text
    patience = wait if until_end or dry_run else None
    try:
        ids = TopicIds(settings.kafka)
        with Pipeline(settings, dry_run=dry_run, topic_ids=ids) as pipeline:
            consumers = pipeline.consumers(only)
            if at_terminal:
                report = TerminalReport(settings, [named.name for named in consumers])
                lines(report.greeting)
                text = text if dry_run else report.outcome
            printed = json_output or until_end or report is not None
            if dry_run:
                if not pipeline.open(stopping, patience):
                    return ExitCode.UNAVAILABLE
                results = _look(settings, consumers, lines.each(text), stopping)
            else:
                with _watched(settings, consumers, pipeline) as monitor:
                    # Watched already: it may wait for ICAT for hours.
                    if not pipeline.open(stopping, patience):
                        return ExitCode.UNAVAILABLE if until_end else ExitCode.DONE
                    if refresh:
                        _refresh(settings, pipeline)
                    host = SqliteHost(settings, [named.name for named in consumers])
                    host.check(stopping)
                    relax_collector()
                    results = _run(
                        settings,
                        consumers,
                        pipeline,
                        JournalWriter(settings, pipeline.journal, ids),
                        host,
                        wait=wait,
                        patience=EndPatience(wait) if until_end else None,
                        told=OutcomeLog(lines.each(text) if printed else None),
                        stopping=stopping,
                        monitor=monitor,
                    )
    finally:
        flush()
    counts = sum((Counter(dict(result.counts)) for result in results), Counter())
    if report is not None:
        lines(report.totals if not dry_run else lambda: summary_line(counts))
    elif until_end or dry_run:
        lines(lambda: summary_line(counts))
    code = max((result.exit_code for result in results), default=0)
    if lines.closed and code in (ExitCode.DONE, ExitCode.UNAVAILABLE):
        # Who reads no more does not want the end.
        raise BrokenPipeError
    for result in results:
        if result.exit_code:
            sys.stderr.write(f"{result.name}: {result.reason}\n")
    return code


class LinePrinter:
    """Prints whole lines from any thread, until nobody reads them any more.

    A reader that goes away is a wish to stop, as it is for other programs; no record is
    lost by it, and none is blamed.

    Parameters
    ----------
    stopping
        Set when that happens.
    """

    def __init__(self, stopping: StopFlag) -> None:
        self._stopping = stopping
        self._lock = threading.Lock()
        self.closed = False

    def __call__(self, text: Callable[[], str]) -> None:
        """Print a text, made while nobody else prints."""
        with self._lock:
            if self.closed:
                return
            try:
                sys.stdout.write(text() + "\n")
                sys.stdout.flush()
            except BrokenPipeError:
                self.closed = True
                self._stopping.set()

    def each(self, text: Callable[[Record, Outcome], str]) -> OutcomeCallback:
        """Return what prints each outcome as that text."""
        return lambda record, outcome: self(lambda: text(record, outcome))


class OutcomeLog:
    """Told of each outcome: logs it, counts it for a line a minute, prints it."""

    def __init__(self, printer: OutcomeCallback | None) -> None:
        self._printer = printer
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._said = time.monotonic()

    def __call__(self, record: Record, outcome: Outcome) -> None:
        """Take note of one."""
        _log.debug(
            "%s: %s %s%s",
            record.origin,
            outcome.kind.value,
            ", ".join(f"{name} {value}" for name, value in outcome.objects.items()),
            f" ({outcome.reason})" if outcome.reason else "",
        )
        with self._lock:
            self._counts[outcome.kind.value] += 1
        if self._printer is not None:
            self._printer(record, outcome)

    def say_each_minute(self) -> None:
        """Log how many became what, if there were any."""
        if time.monotonic() - self._said < _MINUTE_S:
            return
        self._said = time.monotonic()
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if counts:
            _log.info(
                "in the last minute: %s",
                ", ".join(f"{count} {kind}" for kind, count in counts.items()),
            )


def _run(
    settings: Settings,
    consumers: Sequence[RunningConsumer],
    pipeline: Pipeline,
    writer: JournalWriter,
    host: SqliteHost,
    *,
    wait: float,
    patience: EndPatience | None,
    told: "OutcomeLog",
    stopping: StopFlag,
    monitor: HealthReport,
) -> list[RunResult]:
    meters = {named.name: Meter(told) for named in consumers}
    loops = [
        Loop(
            named.name,
            named.consumer,
            settings,
            until_end=patience is not None,
            on_outcome=meters[named.name],
        )
        for named in consumers
    ]
    results: list[RunResult] = []

    def run(loop: Loop) -> None:
        result = loop.run()
        results.append(result)
        if result.exit_code:
            # What is wrong for one is for a person to see; half a daemon is none.
            stopping.set()

    threads = [
        # As daemons they cannot keep a process alive whose stop has a deadline.
        threading.Thread(
            target=run, args=(loop,), name=f"loop {named.name}", daemon=True
        )
        for loop, named in zip(loops, consumers, strict=True)
    ]
    monitor.attach(loops, meters, writer)

    def leave(reason: str) -> None:
        results.append(
            RunResult(name="journal", exit_code=ExitCode.USAGE, reason=reason)
        )
        stopping.set()

    beside = [
        host.watch(leave),
        journal_upkeep(pipeline.journal),
        daily_claim_check(pipeline.journal, pipeline.catalogue, settings.facility),
    ]
    if settings.schedule and patience is None:
        beside.append(periodic_schedule(settings, pipeline))
    for periodic in beside:
        periodic.start()
    writer.start()
    for thread in threads:
        thread.start()
    vain: dict[str, str] = {}
    while any(thread.is_alive() for thread in threads):
        # Signals are handled in this thread, between two waits.
        if stopping.wait(0.2):
            break
        told.say_each_minute()
        if patience and (vain := patience.exhausted([x.status() for x in loops])):
            stopping.set()
    if patience is not None and stopping.is_set():
        alive = [
            x.name
            for x, thread in zip(loops, threads, strict=True)
            if thread.is_alive()
        ]
        vain = dict.fromkeys(alive, "stopped before the end was reached") | vain
    elif patience is not None:
        results.append(_journalled(writer, wait, stopping))
    with _bounded(settings.limits.stop):
        for periodic in beside:
            periodic.stop()
        for loop in loops:
            loop.stop()
        end = time.monotonic() + settings.limits.stop + _LEAVING_S
        for loop, thread in zip(loops, threads, strict=True):
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                # A handler's key() that never returns: nothing more is to be had of it.
                status = loop.status()
                results.append(
                    RunResult(
                        name=loop.name,
                        exit_code=ExitCode.BUG,
                        reason=f"it does not stop: {status.turning or 'it hangs'}",
                    )
                )
        # What was committed last is seen by who looks now; the rest comes later.
        writer.catch_up(0.0 if writer.status().down else _LAST_ROWS_S)
        writer.stop(_LAST_ROWS_S)
    return [
        result
        if result.exit_code or result.name not in vain
        else replace(result, exit_code=ExitCode.UNAVAILABLE, reason=vain[result.name])
        for result in results
    ]


def _journalled(writer: JournalWriter, seconds: float, stopping: StopFlag) -> RunResult:
    """Wait for the rows of what was committed: a run to the end ends with them."""
    reason = writer.catch_up(seconds, stopping.is_set)
    if not reason:
        return RunResult(name="journal", exit_code=ExitCode.DONE, reason="", counts={})
    return RunResult(
        name="journal",
        exit_code=ExitCode.UNAVAILABLE,
        reason=f"it has not all outcomes: {reason} (waited {seconds:g} s, see --wait);"
        " they are in Kafka, and the next run writes them",
    )


def _refresh(settings: Settings, pipeline: Pipeline) -> None:
    count = forget_deleted(pipeline.journal, pipeline.catalogue, settings.facility)
    _log.info("--refresh: %d users and investigations were deleted in ICAT", count)


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """End the process, exit code 1, if what should end within seconds hangs.

    A call into librdkafka was seen that never returned and kept Python's lock, so no
    thread of ours could do anything about it.  What was begun is committed or aborted
    by then.
    """
    faulthandler.dump_traceback_later(seconds + _HANGS_S, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def _watched(
    settings: Settings, consumers: Sequence[RunningConsumer], pipeline: Pipeline
) -> Iterator[HealthReport]:
    """Serve health and metrics and send alerts, as far as that is configured."""
    monitor = HealthReport(settings)
    alerter = Alerts(settings.alerts, settings.kafka.instance_id, monitor.problems)
    listen, otlp = settings.health.listen, settings.telemetry.otlp_endpoint
    with health_endpoint(listen, monitor.pages()) as url:
        if url is not None:
            _log.info("health: %s/health", url)
        if url is not None or otlp is not None or settings.alerts.has_webhook:
            monitor.watch(pipeline, [named.name for named in consumers])
        flush = None if otlp is None else export_metrics(otlp, monitor.samples)
        alerter.start()
        try:
            yield monitor
        finally:
            alerter.stop()
            if flush is not None:
                flush()
            monitor.close()


def _look(
    settings: Settings,
    consumers: Sequence[RunningConsumer],
    printer: OutcomeCallback,
    stopping: StopFlag,
) -> list[RunResult]:
    return [
        dry_run(
            named.name,
            named.consumer,
            settings,
            on_outcome=printer,
            stopping=stopping.is_set,
        )
        for named in consumers
    ]
