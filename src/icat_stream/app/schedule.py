"""The schedule: integrations are asked for operations on chosen investigations."""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from icat_stream.catalogue import InvestigationSelection, Period
from icat_stream.config import (
    AgeSettings,
    CheckSettings,
    ConfigError,
    Problem,
    Settings,
)
from icat_stream.journal import ONE_SHOT, ScheduledRun, journal_exists
from icat_stream.messages import operation_event
from icat_stream.records import (
    Coordinates,
    Event,
    Failure,
    InvestigationKey,
    Outcome,
    OutcomeKind,
    Record,
    journal_row,
)
from icat_stream.stream import send_events
from icat_stream.telemetry import Periodic

from .event_followers import offered_operations
from .pipeline import Pipeline

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 60.0
_AT_ONCE = 1_000
# Of the investigations that a row of the journal names.
_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check of the schedule.

    Parameters
    ----------
    name
        Of the check.
    settings
        What is asked for, of which investigations.
    last, next
        When it ran, and is due; ``None``: it has not run, or it is disabled.
    undone
        Those of its operations that no enabled consumer does.
    """

    name: str
    settings: CheckSettings
    last: datetime | None
    next: datetime | None
    undone: Sequence[str]


class Schedule:
    """Runs the checks that are due; of all processes, one runs each.

    Parameters
    ----------
    settings
        The configuration.
    pipeline
        The way to ICAT and to the journal.
    now
        Milliseconds, for tests.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._now = now
        self._told: set[str] = set()

    def checks(self) -> list[Check]:
        """Return all of them, by name."""
        last = self._last()
        offered = offered_operations(self._settings)
        found = []
        for name, each in sorted(self._settings.schedule.items()):
            ran = None if name not in last else _time(last[name])
            due = ran and ran + timedelta(seconds=each.every)
            found.append(
                Check(
                    name=name,
                    settings=each,
                    last=ran,
                    next=(due or _time(self._now())) if each.enabled else None,
                    undone=_undone(each, offered),
                )
            )
        return found

    def run_due(self) -> None:
        """Run the checks that are due, unless another process does.

        One that would ask nobody does not run: what it is about would never be asked
        for, once it looks at what has come since it ran last.
        """
        offered = offered_operations(self._settings)
        for name, each in sorted(self._settings.schedule.items()):
            if not each.enabled:
                continue
            if undone := _undone(each, offered):
                if name not in self._told:
                    _log.warning("schedule: %s", _waits(name, undone))
                self._told.add(name)
                continue
            every = int(each.every * 1000)
            run = self._pipeline.journal.scheduled.claim(name, self._now(), every)
            if run is not None:
                count = self._run(run, each)
                _log.info("schedule: %s: %d investigations", name, count)

    def run(self, name: str) -> int:
        """Run a check whether or not it is due; return of how many investigations.

        Raises
        ------
        ConfigError
            No enabled consumer does what it asks for.
        """
        offered = offered_operations(self._settings)
        if undone := _undone(self._settings.schedule[name], offered):
            problem = Problem(
                source="configuration",
                field=f"schedule.{name}.operations",
                expected=_waits(name, undone),
            )
            raise ConfigError([problem])
        run = self._pipeline.journal.scheduled.claim(name, self._now(), 0)
        if run is None:
            return 0
        return self._run(run, self._settings.schedule[name])

    def preview(self, name: str) -> Iterator[InvestigationKey]:
        """Yield the investigations that a run of a check would be about."""
        last = self._last().get(name)
        run = ScheduledRun(name=name, at=self._now(), last=last)
        yield from self._chosen(run, self._settings.schedule[name])

    def _last(self) -> dict[str, int]:
        # Who only looks makes no journal.
        if not journal_exists(self._settings.journal):
            return {}
        return self._pipeline.journal.scheduled.last()

    def _run(self, run: ScheduledRun, check: CheckSettings) -> int:
        chosen = self._chosen(run, check)
        count = 0
        named: list[str] = []
        while some := list(islice(chosen, _AT_ONCE)):
            send_events(self._settings, [*self._events(some, check.operations)])
            count += len(some)
            named += map(str, some[: max(0, _NAMED - len(named))])
        self._pipeline.journal.scheduled.finish(run)
        text = f"schedule {run.name}: asked for {', '.join(check.operations)}"
        self._tell(run, f"{text} of {count} investigations", named)
        return count

    def _chosen(
        self, run: ScheduledRun, check: CheckSettings
    ) -> Iterator[InvestigationKey]:
        with closing(self._pipeline.catalogue.new_session()) as session:
            yield from session.inventory().selected(_selection(run, check))

    def _events(
        self, keys: Sequence[InvestigationKey], operations: Sequence[str]
    ) -> Iterator[Event]:
        for key in keys:
            for operation in operations:
                yield operation_event(
                    operation,
                    key,
                    facility=self._settings.facility,
                    origin=Coordinates(ONE_SHOT, 0, time.time_ns()),
                )

    def _tell(self, run: ScheduledRun, text: str, named: Sequence[str]) -> None:
        """Write what was done to the journal."""
        at = Coordinates(ONE_SHOT, 0, time.time_ns())
        record = Record(
            at=at,
            timestamp=run.at,
            key=None,
            value=None,
            origin=at,
            origin_timestamp=run.at,
        )
        outcome = Outcome(
            kind=OutcomeKind.INGESTED if named else OutcomeKind.UNCHANGED,
            reason=text,
            message_type="schedule",
            objects={"schedule": run.name}
            | ({"investigation": list(named)} if named else {}),
        )
        row = journal_row(record, outcome, group=ONE_SHOT, key=run.name)
        self._pipeline.journal.write([row])


def waiting_checks(settings: Settings) -> list[str]:
    """Return which enabled checks wait for a consumer, and of which operations."""
    offered = offered_operations(settings)
    return [
        _waits(name, undone)
        for name, each in settings.schedule.items()
        if each.enabled and (undone := _undone(each, offered))
    ]


def _undone(check: CheckSettings, offered: Collection[str]) -> list[str]:
    return [each for each in check.operations if each not in offered]


def _waits(name: str, undone: Sequence[str]) -> str:
    return (
        f"{name} waits, as no enabled consumer does {', '.join(undone)}: enable or"
        " configure one, or take it out of operations"
    )


def periodic_schedule(settings: Settings, pipeline: Pipeline) -> Periodic:
    """Return what runs the checks that are due, once a minute."""
    schedule = Schedule(settings, pipeline)

    def work() -> None:
        try:
            schedule.run_due()
        except Failure as error:
            _log.warning("the schedule: %s; again in a minute", error)

    return Periodic("schedule", work, _LOOK_EVERY_S, at_once=True)


def _selection(run: ScheduledRun, check: CheckSettings) -> InvestigationSelection:
    return InvestigationSelection(
        start=_period(check.start, run),
        end=_period(check.end, run),
        release=_period(check.release, run),
        types=check.types,
        instruments=check.instruments,
        doi=None if check.doi == "any" else check.doi == "present",
    )


def _period(age: AgeSettings | None, run: ScheduledRun) -> Period | None:
    if age is None:
        return None
    now = _time(run.at)
    since: datetime | None = None
    if age.at_most == "last_run":
        # What passed the limit since the last run, however long ago that was.
        if run.last is not None:
            since = _time(run.last) - timedelta(seconds=age.at_least)
    elif age.at_most is not None:
        since = now - timedelta(seconds=age.at_most)
    return Period(since=since, until=now - timedelta(seconds=age.at_least))


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
