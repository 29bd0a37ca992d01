"""One file or one message by hand: the daemon's line without the topic."""

import os
import sys
import time
from pathlib import Path

import stamina

from icat_stream.config import ConfigError, Problem, Settings, load
from icat_stream.ingest import RunningConsumer
from icat_stream.records import (
    ONE_SHOT,
    Coordinates,
    ExitCode,
    Failure,
    NotReady,
    Outcome,
    OutcomeKind,
    Record,
    Rejection,
    SystemUnavailable,
    TransientFailure,
    failed_outcome,
    journal_row,
)
from icat_stream.stream import send_events
from icat_stream.telemetry import configure_logging, configure_traces, quiet_span

from .outcome_output import outcome_line, outcome_text
from .pipeline import Pipeline

_EXIT = {
    OutcomeKind.REJECTED: ExitCode.REJECTED,
    OutcomeKind.DEFERRED: ExitCode.DEFERRED,
}


def run_one_shot(
    config: Path,
    *,
    file: Path | None,
    message: Path | None,
    consumer: str | None,
    dry_run: bool,
    event: bool,
    json_output: bool,
    verbose: bool,
) -> int:
    """Do for one file or message what the daemon does.

    Parameters
    ----------
    config
        The configuration's file.
    file
        The data file.
    message
        A record's raw value, or the JSON kept beside a data file.
    consumer
        Whose handler to use; may be left out where only one can be meant.
    dry_run
        Print the plan beside what the catalogue holds; write nothing.
    event
        Tell the events topic afterwards.
    json_output
        One line of JSON.
    verbose
        Log details.

    Returns
    -------
    :
        The exit code.
    """
    settings = load(config)
    telemetry = settings.telemetry
    configure_logging("debug" if verbose else "warning", telemetry.log_file)
    flush = configure_traces(
        telemetry.otlp_endpoint,
        console=telemetry.console,
        sample_ratio=telemetry.sample_ratio,
    )
    try:
        with Pipeline(settings, dry_run=dry_run, show_plans=True) as pipeline:
            (named,) = pipeline.consumers([consumer or _meant(settings, file)])
            record = _record(named, file, message)
            pipeline.open()
            with quiet_span("one-shot") as span:
                try:
                    outcome = _outcome(named, record, settings)
                finally:
                    named.consumer.leave_lane()
            trace_id = format(span.get_span_context().trace_id, "032x")
            try:
                if not dry_run:
                    row = journal_row(
                        record,
                        outcome,
                        group=ONE_SHOT,
                        trace_id=trace_id,
                        payload=named.consumer.redact(record),
                    )
                    pipeline.journal.write([row])
                    if event and outcome.events:
                        _tell(settings, outcome)
            finally:
                # Last: whoever reads may have gone, and the event must go out.
                text = outcome_line if json_output else outcome_text
                sys.stdout.write(text(record, outcome) + "\n")
                sys.stdout.flush()
    finally:
        flush()
    return _EXIT.get(outcome.kind, ExitCode.DONE)


def only_consumer(settings: Settings) -> str:
    """Return the consumer that can only be meant, where none is named.

    With several, it is the one of files.

    Raises
    ------
    ConfigError
        Several could be.
    """
    names = [name for name, s in settings.consumers.items() if s.enabled]
    if len(names) == 1:
        return names[0]
    files = [n for n in names if settings.consumers[n].handler == "file_written"]
    if len(files) == 1:
        return files[0]
    raise _several(settings)


def _meant(settings: Settings, file: Path | None) -> str:
    # A message alone does not say whose it is.
    enabled = [name for name, s in settings.consumers.items() if s.enabled]
    if file is None and len(enabled) > 1:
        raise _several(settings)
    return only_consumer(settings)


def _several(settings: Settings) -> ConfigError:
    return ConfigError(
        [
            Problem(
                source="--consumer",
                field="-",
                expected=f"say which one is meant: {', '.join(settings.consumers)}",
            )
        ]
    )


def _record(named: RunningConsumer, file: Path | None, message: Path | None) -> Record:
    try:
        given = None if message is None else message.read_bytes()
    except OSError as error:
        raise ConfigError(
            [Problem(source=str(message), field="--message", expected=str(error))]
        ) from error
    # The path as it was typed: links are the reader's to judge.
    path = None if file is None else os.path.abspath(file)
    consumer = named.consumer
    if path is not None and not consumer.takes_files:
        raise ConfigError(
            [
                Problem(
                    source="--file",
                    field=named.name,
                    expected="its handler takes messages only: give --message",
                )
            ]
        )
    value = consumer.compose(path, given)
    now = time.time_ns()
    at = Coordinates(ONE_SHOT, 0, now)
    return Record(
        at=at,
        timestamp=now // 10**6,
        key=None,
        value=value,
        origin=at,
        origin_timestamp=now // 10**6,
    )


def _outcome(named: RunningConsumer, record: Record, settings: Settings) -> Outcome:
    # A file that was written a moment ago is worth waiting for; a person is there.
    patience = time.monotonic() + 2 * settings.files.settle + 1
    while True:
        try:
            for attempt in stamina.retry_context(on=TransientFailure, attempts=3):
                with attempt:
                    return named.consumer.handle(record)
        except NotReady as failure:
            if time.monotonic() + failure.retry_in > patience:
                return _failed(failure)
            time.sleep(failure.retry_in)
        except SystemUnavailable:
            raise
        except Failure as failure:
            return _failed(failure)


def _failed(failure: Failure) -> Outcome:
    rejected = isinstance(failure, Rejection)
    kind = OutcomeKind.REJECTED if rejected else OutcomeKind.DEFERRED
    return failed_outcome(kind, failure, failure.reason)


def _tell(settings: Settings, outcome: Outcome) -> None:
    try:
        send_events(settings, outcome.events)
    except SystemUnavailable as failure:
        raise SystemUnavailable(
            f"{failure}, though the catalogue is written: run the same command again,"
            " or use --no-event",
            system=failure.system,
        ) from failure
