"""Handling one record in a lane: call the consumer, decide what follows."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from opentelemetry.trace import Span, Status, StatusCode

from icat_stream.config import RetrySettings
from icat_stream.records import (
    Failure,
    LoginRefused,
    NotReady,
    Outcome,
    OutcomeKind,
    Record,
    SystemUnavailable,
    failed_outcome,
)
from icat_stream.telemetry import current_record, fault_point

from .consumer import Consumer
from .headers import Delay
from .in_flight import Destination, Finished, Slot
from .ledger import Ledger
from .policy import (
    Decision,
    GiveUp,
    Park,
    Pause,
    RetryInLane,
    RetryLater,
    Stop,
    decide,
)
from .record_slots import now_ms, wall_ms
from .spans import Tracing

_log = logging.getLogger(__name__)

# A source's retention is not ours: what waits for longer waits elsewhere.
_LONGEST_S = 300.0
# How long after a payload could not be had it is tried again.
_AGAIN_S = 1.0
_RETURNED = (OutcomeKind.INGESTED, OutcomeKind.UNCHANGED, OutcomeKind.IGNORED)
_SAID = {Destination.RETRY: "put off", Destination.PARKED: "parked"}


class LaneWork:
    """What a lane does with a record.

    Parameters
    ----------
    consumer
        Handles records.
    ledger
        Told of what became of them.
    settings
        Delays and limits.
    tracing
        Makes spans.
    payload
        Returns a parked record whole again; ``None``: not now.
    keeps_value
        Whether a record's value can be sent to a topic of ours.
    unavailable
        Told of systems that are down.
    refused
        Told of a system that refuses our credentials.
    counted
        Told of every outcome.
    """

    def __init__(
        self,
        *,
        consumer: Consumer,
        ledger: Ledger,
        settings: RetrySettings,
        tracing: Tracing,
        payload: Callable[[Slot], Record | None],
        keeps_value: Callable[[Record], bool],
        unavailable: Callable[[SystemUnavailable], None],
        refused: Callable[[LoginRefused], None],
        counted: Callable[[Outcome], None],
    ) -> None:
        self._consumer = consumer
        self._ledger = ledger
        self._settings = settings
        self._tracing = tracing
        self._payload = payload
        self._keeps_value = keeps_value
        self._unavailable = unavailable
        self._refused = refused
        self._counted = counted

    def __call__(self, slot: Slot) -> float | None:
        """Handle a record; return after how many seconds it comes again, if it does."""
        if not self._ledger.start(slot):
            return None
        if slot.is_elsewhere:
            record = self._payload(slot)
            if record is None:
                self._ledger.put_back(slot)
                return _AGAIN_S
            slot.record, slot.is_elsewhere = record, False
        if not slot.first_handled:
            slot.first_handled = time.monotonic()
        token = current_record.set(slot.record.origin)
        try:
            if not self._tracing.is_on:
                return self._handle(slot, None)
            with self._tracing.process(slot.record) as span:
                return self._handle(slot, span)
        finally:
            current_record.reset(token)

    def settle(self, slot: Slot, outcome: Outcome) -> None:
        """Finish a record that was started and need not be handled."""
        trace = None
        if self._tracing.is_on:
            with self._tracing.process(slot.record) as span:
                trace = span.get_span_context()
        fault_point("handled")
        self._finish(slot, outcome, trace=trace)

    def _handle(self, slot: Slot, span: Span | None) -> float | None:
        trace = None if span is None else span.get_span_context()
        try:
            outcome = self._consumer.handle(slot.record)
            if not isinstance(outcome, Outcome) or outcome.kind not in _RETURNED:
                raise TypeError(
                    "handle() must return an Outcome of kind ingested, unchanged or"
                    f" ignored, not {outcome!r:.200}"
                )
        except Exception as error:
            if span is not None:
                span.set_status(Status(StatusCode.ERROR, str(error)[:500]))
                span.set_attribute("error.type", type(error).__name__)
            return self._failed(slot, error, trace)
        fault_point("handled")
        slot.tries += 1
        self._finish(slot, outcome, trace=trace)
        return None

    def _failed(self, slot: Slot, error: Exception, trace: Any) -> float | None:
        system = error.system if isinstance(error, SystemUnavailable) else ""
        paused_before = (
            isinstance(error, SystemUnavailable)
            and error.probe_tells
            and system in slot.paused_for
        )
        if not isinstance(error, NotReady | SystemUnavailable) or paused_before:
            slot.tries += 1
        decision = decide(
            error,
            tries=slot.tries,
            waited=_waited(slot),
            paused_before=paused_before,
            wait=slot.wait,
            now=wall_ms(),
            settings=self._settings,
        )
        if isinstance(decision, RetryInLane) and self._holds_up(slot, error):
            decision = self._elsewhere(slot, decision.after)
        if not isinstance(error, Failure):
            # Loudly: this is ours to mend.
            _log.error("%s: a bug while handling it", slot.record.at, exc_info=error)
        match decision:
            case RetryInLane(after):
                _log.info("%s: again in %.1f s: %s", slot.record.at, after, error)
                self._ledger.put_back(slot)
                return after
            case Pause() | Stop():
                # First the news, so that the lanes are blocked when it is ready again.
                if isinstance(error, LoginRefused):
                    self._refused(error)
                elif isinstance(error, SystemUnavailable):
                    slot.paused_for |= {system}
                    self._unavailable(error)
                self._ledger.put_back(slot)
                return 0.0
            case RetryLater(stage, wait) if self._keeps_value(slot.record):
                self._put_off(slot, error, trace, Destination.RETRY, wait, stage)
            case Park(wait) if self._keeps_value(slot.record):
                self._put_off(slot, error, trace, Destination.PARKED, wait)
            case RetryLater() | Park():
                reason = f"{error} (not put off: its secrets cannot be removed)"
                self._bury(slot, error, reason, trace)
            case GiveUp(reason):
                self._bury(slot, error, reason, trace)
        return None

    def _holds_up(self, slot: Slot, error: Exception) -> bool:
        """Whether a record shall not wait where it stands."""
        waited = time.monotonic() - slot.first_handled
        too_long = isinstance(error, NotReady) and waited > _LONGEST_S
        return too_long or self._ledger.holds_up(slot)

    def _elsewhere(self, slot: Slot, after: float) -> Decision:
        wait = slot.wait
        stage = min(wait.retries, len(self._settings.delays) - 1)
        due = wall_ms() + int(max(after, self._settings.delays[stage]) * 1000)
        # It was not put off for a failure: that is not counted.
        return RetryLater(
            stage,
            Delay(not_before=due, retries=wait.retries, parked_since=wait.parked_since),
        )

    def _put_off(
        self,
        slot: Slot,
        error: Exception,
        trace: Any,
        destination: Destination,
        wait: Delay,
        stage: int = 0,
    ) -> None:
        _log.info("%s: %s: %s", slot.record.at, _SAID[destination], error)
        self._finish(
            slot,
            failed_outcome(OutcomeKind.DEFERRED, error, str(error)),
            destination=destination,
            stage=stage,
            wait=wait,
            trace=trace,
        )

    def _bury(self, slot: Slot, error: Exception, reason: str, trace: Any) -> None:
        _log.warning("%s: rejected: %s", slot.record.at, reason)
        outcome = failed_outcome(OutcomeKind.REJECTED, error, reason)
        self._finish(slot, outcome, destination=Destination.DEAD_LETTER, trace=trace)

    def _finish(self, slot: Slot, outcome: Outcome, **extra: Any) -> None:
        attempts = slot.record.attempts + max(1, slot.tries)
        self._ledger.finish(slot, Finished(outcome=outcome, attempts=attempts, **extra))
        self._counted(outcome)


def _waited(slot: Slot) -> float:
    """Return for how long a record has been waited with: not while it was put off."""
    due = time.monotonic() + (slot.wait.not_before - now_ms()) / 1000
    since = max(slot.read_at, min(slot.first_handled, due))
    return time.monotonic() - since


def too_large(finished: Finished, what: str) -> Finished:
    """Return the end of a record whose output the broker refuses for its size.

    Parameters
    ----------
    finished
        Its end until now.
    what
        The output: topic and size.
    """
    return finished._replace(
        outcome=replace(
            finished.outcome,
            kind=OutcomeKind.REJECTED,
            reason=f"{what} is too large for the broker; the outcome was"
            f" {finished.outcome.kind.value}"
            + (f": {finished.outcome.reason}" if finished.outcome.reason else ""),
            events=(),
            error_class=finished.outcome.error_class or "permanent",
        ),
        destination=Destination.DEAD_LETTER,
        omitted=True,
    )
