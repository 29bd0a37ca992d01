"""What the daemon knows of itself: health, metrics, and what is wrong."""

import json
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from icat_stream import __version__
from icat_stream.config import Settings
from icat_stream.journal import reason_kind
from icat_stream.records import Outcome, OutcomeKind, Record
from icat_stream.stream import (
    ConsumerLag,
    Depths,
    Loop,
    LoopStatus,
    PartitionStatus,
)
from icat_stream.telemetry import Page, Sample, render, sample

from .journal_writer import JournalWriter, WriterStatus
from .pipeline import Pipeline
from .system_checks import Check

# It turns several times a second.
_LOOP_S = 30.0
# Takes milliseconds; a single call of it may take somewhat longer than that before it
# is given up.
_COMMIT_S = 30.0
# An earlier owner that died inside a transaction keeps its partitions for 20 s at most.
_UNOPENED_S = 60.0
_STOP_S = 2.0
_MOST_REJECTIONS = 10_000
_LONGEST = 200
# The page to read about the most frequent reason, by words in it.
_PAGES = {
    " is not in the catalogue": "instrument-renamed",
    "No space left": "disk-full",
}
_ANY_REASON = "poison-message"


def page_about(reason: str) -> str:
    """Return the night page to read about the reason of a rejection."""
    pages = (page for words, page in _PAGES.items() if words in reason)
    return next(pages, _ANY_REASON)


class Meter:
    """Told of each outcome of one consumer: adds them up, and tells on."""

    def __init__(self, told: Callable[[Record, Outcome], None]) -> None:
        self._told = told
        self.outcomes: dict[str, int] = {kind.value: 0 for kind in OutcomeKind}
        # How many, and their seconds.
        self.steps: dict[str, list[float]] = {}
        # When, and why; the newest so many.
        self.rejections: deque[tuple[float, str]] = deque(maxlen=_MOST_REJECTIONS)

    def __call__(self, record: Record, outcome: Outcome) -> None:
        """Count an outcome."""
        # Once a record: what is added here costs each of them.
        self.outcomes[outcome.kind.value] += 1
        if outcome.kind is OutcomeKind.REJECTED:
            self.rejections.append((time.monotonic(), outcome.reason))
        for name, seconds in outcome.steps.items():
            step = self.steps.get(name)
            if step is None:
                step = self.steps[name] = [0, 0.0]
            step[0] += 1
            step[1] += seconds
        self._told(record, outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that a person should know.

    Parameters
    ----------
    what
        Its kind, and what it is of: the same as long as it lasts.
    text
        What was found.
    page
        Of the documentation's night pages.
    stuck
        Whether the process does not get on: a restart may help.
    """

    what: str
    text: str
    page: str
    stuck: bool = False

    def url(self, docs: str | None) -> str:
        """Return where the page is.

        Parameters
        ----------
        docs
            Where the documentation is; ``None``: the command that shows the page.
        """
        if docs is None:
            return f"icat_stream docs {self.page}"
        return f"{docs.rstrip('/')}/night/{self.page}.html"


class HealthReport:
    """Looks at loops and systems; safe for threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loops: Sequence[Loop] = ()
        self._writer: JournalWriter | None = None
        self._meters: dict[str, Meter] = {}
        self._checks: list[Check] = []
        self._depths = Depths()
        self._disks: dict[str, float] = {}
        self._rejects: list[tuple[float, int]] = []
        self._lock = threading.Lock()

    def watch(self, pipeline: Pipeline, names: Sequence[str]) -> None:
        """Begin to ask the systems.

        Parameters
        ----------
        pipeline
            Has them.
        names
            Of the consumers that run.
        """
        every = self._settings.health.every
        kafka = ConsumerLag(self._settings, names)

        def measure() -> None:
            self._depths = kafka.measure()

        self._checks = [
            Check("kafka", measure, every, kafka.close),
            Check("disk", self._look_at_disks, every),
            *(
                Check(name, ping, every, pipeline.catalogue.leave)
                for name, ping in pipeline.systems.items()
                # They are asked by the processes that read: not when nobody needs
                # them, and never in the way of those who do.
                if name != "files"
            ),
        ]
        for check in self._checks:
            check.start()

    def attach(
        self,
        loops: Sequence[Loop],
        meters: Mapping[str, Meter],
        writer: JournalWriter | None = None,
    ) -> None:
        """Look at loops, and who writes the journal, from now on.

        Parameters
        ----------
        loops
            Of this process.
        meters
            Of each, by name.
        writer
            Of the journal.
        """
        self._meters = dict(meters)
        self._writer = writer
        self._loops = loops

    def close(self) -> None:
        """Ask nothing any more."""
        for check in self._checks:
            check.stop()
        end = time.monotonic() + _STOP_S
        for check in self._checks:
            check.join(max(0.0, end - time.monotonic()))

    def problems(self) -> list[Problem]:
        """Return what is wrong now."""
        statuses = [loop.status() for loop in self._loops]
        return [*self._hanging(statuses), *self._down(statuses), *self._waiting()]

    def pages(self) -> dict[str, Any]:
        """Return what the health endpoint answers, by path."""
        return {
            "/health": lambda: _json(self.report(), "healthy"),
            "/health/live": lambda: _json(self.report(), "live", brief=True),
            "/health/ready": lambda: _json(self.report(), "ready", brief=True),
            "/health/startup": lambda: _json(self.report(), "started", brief=True),
            "/metrics": lambda: Page(
                200, "text/plain; version=0.0.4", render(self.samples()).encode()
            ),
        }

    def report(self) -> dict[str, Any]:
        """Return health as JSON has it."""
        statuses = [loop.status() for loop in self._loops]
        bad = [*self._hanging(statuses), *self._down(statuses)]
        problems = [*bad, *self._waiting()]
        docs = self._settings.alerts.docs
        started = bool(statuses) and all(s.joined or s.missing for s in statuses)
        return {
            "healthy": started and not bad,
            "live": not any(problem.stuck for problem in bad),
            "ready": started and not bad,
            "started": started,
            "version": __version__,
            "problems": [
                {"what": p.what, "text": p.text, "page": p.url(docs)} for p in problems
            ],
            "loops": {s.name: self._loop(s) for s in statuses},
            "systems": {
                check.name: _rounded(asdict(check.answer())) for check in self._checks
            },
            "journal": asdict(self._written()),
            "dead_letters": self._depths.dead_letters,
            "disk_free": {k: round(v, 4) for k, v in self._disks.items()},
        }

    def samples(self) -> Iterator[Sample]:
        """Yield all metrics."""
        healthy = True
        for loop in self._loops:
            status = loop.status()
            yield from self._samples(status)
            healthy = healthy and not status.down
        for (name, topic), lag in self._depths.lag.items():
            yield sample("lag_records", lag, consumer=name, topic=topic)
        for check in self._checks:
            answer = check.answer()
            if answer.up is not None and check.name != "disk":
                yield sample("system_up", answer.up, system=check.name)
        for name, free in self._disks.items():
            yield sample("disk_free_ratio", free, disk=name)
        written = self._written()
        yield sample("journal_lag_outcomes", written.lag)
        yield sample("journal_rows_total", written.rows)
        yield sample("journal_lost_outcomes_total", written.lost)
        yield sample("journal_refused_outcomes_total", written.refused)
        yield sample("dead_letters_waiting", self._depths.dead_letters)
        yield sample("healthy", self.report()["healthy"])

    def _written(self) -> WriterStatus:
        return WriterStatus() if self._writer is None else self._writer.status()

    def _samples(self, status: LoopStatus) -> Iterator[Sample]:
        name = status.name
        busy = [lane.seconds for lane in status.lanes if lane.record is not None]
        values = {
            "lanes": len(status.lanes),
            "lanes_busy": len(busy),
            "lane_oldest_seconds": max(busy, default=0.0),
            "loop_turn_age_seconds": status.turned,
            "partitions": status.partitions,
            "in_flight_records": status.in_flight,
            "in_flight_bytes": status.in_flight_bytes,
            "waiting_records": status.waiting,
            "parked_records": status.parked,
            "oldest_unfinished_seconds": status.oldest,
            "unfinished_span": status.span,
            "unopened_seconds": status.unopened,
            "records_lost_total": status.lost,
            "transactions_total": status.transactions,
            "transaction_seconds_total": status.transaction_seconds,
            "paused": bool(status.down),
            "topics_missing": status.missing is not None,
        }
        for metric, value in values.items():
            yield sample(metric, value, consumer=name)
        for each in status.each_partition:
            yield from self._partition_samples(name, each)
        for part, seconds in status.time.items():
            yield sample("loop_seconds_total", seconds, consumer=name, part=part)
        meter = self._meters[name]
        for kind, count in meter.outcomes.items():
            yield sample("records_total", count, consumer=name, outcome=kind)
        for step, (times, seconds) in list(meter.steps.items()):
            yield sample("step_seconds_total", seconds, consumer=name, step=step)
            yield sample("steps_total", times, consumer=name, step=step)

    def _partition_samples(self, name: str, each: PartitionStatus) -> Iterator[Sample]:
        labels = {"consumer": name, "topic": each.topic, "partition": str(each.number)}
        values = {
            "unfinished_records": each.unfinished,
            "oldest_unfinished_seconds": each.oldest,
            "unfinished_span": each.span,
            "map_characters": each.characters,
        }
        end = self._depths.ends.get((each.topic, each.number))
        if end is not None and each.position is not None:
            values["unread_records"] = max(0, end - each.position)
            place = (each.topic, each.number)
            seconds, _ = self._depths.undecided.get(place, (0.0, 0))
            values["undecided_seconds"] = seconds
        for metric, value in values.items():
            yield sample(f"partition_{metric}", value, **labels)
        for reason, value in (("delay", each.delayed), ("missing", each.parked)):
            metric = "partition_waiting_records"
            yield sample(metric, value, **labels, reason=reason)

    def _loop(self, status: LoopStatus) -> dict[str, Any]:
        found = _rounded(asdict(status))
        found.pop("name")
        found["each_partition"] = {
            f"{each.topic}[{each.number}]": _rounded(asdict(each))
            for each in status.each_partition
        }
        found["lanes"] = [_rounded(asdict(lane)) for lane in status.lanes]
        found["time"] = _rounded(dict(status.time))
        found["lag"] = {
            topic: lag
            for (name, topic), lag in self._depths.lag.items()
            if name == status.name
        }
        outcomes = self._meters[status.name].outcomes
        found["outcomes"] = {kind: count for kind, count in outcomes.items() if count}
        return found

    def _hanging(self, statuses: Sequence[LoopStatus]) -> list[Problem]:
        limit = self._settings.health.stuck
        found: list[Problem] = []
        for status in statuses:
            name = status.name
            if status.ended == "":
                continue
            if status.ended is not None:
                text = f"{name}: the loop has ended: {status.ended}"
                found.append(_stuck(f"ended {name}", text))
            elif status.turned > _LOOP_S:
                text = f"{name}: the loop has not turned for {status.turned:.0f} s"
                if status.turning:
                    text += f": {status.turning}"
                found.append(_stuck(f"loop {name}", text))
            elif not status.joined and status.missing is None:
                found.append(_no_member(name))
            if status.unopened > _UNOPENED_S:
                found.append(_unopened(status))
            for lane in status.lanes:
                if lane.record is not None and lane.seconds > limit:
                    text = f"{lane.name} is at {lane.record} for {lane.seconds:.0f} s"
                    if lane.place:
                        text += f" (at {lane.place})"
                    found.append(_stuck(f"lane {lane.name}", text))
            if status.committing is not None and status.committing > _COMMIT_S:
                found.append(self._not_committing(status, status.committing))
        return found

    def _undecided(self) -> list[Problem]:
        return [
            Problem(
                what=f"undecided {topic}[{number}]",
                text=f"records of {topic}[{number}] from {offset} on cannot be read for"
                f" {seconds:.0f} s: a transaction there is not decided",
                page="hanging-transaction",
            )
            for (topic, number), (seconds, offset) in self._depths.undecided.items()
            if seconds > _UNOPENED_S
        ]

    def _not_committing(self, status: LoopStatus, seconds: float) -> Problem:
        """Return what is to be said of a committer that does not get on."""
        limit = self._settings.health.stuck
        # A restart does not help where it tries again and again what cannot be yet.
        waits = bool(status.down) or any(
            check.name == "kafka" and check.answer().up is False
            for check in self._checks
        )
        return Problem(
            what=f"transaction {status.name}",
            text=f"{status.name}: nothing was committed for {seconds:.0f} s: the"
            f" committer {status.committer}",
            page="stuck-daemon",
            stuck=status.silent > limit or (seconds > limit and not waits),
        )

    def _down(self, statuses: Sequence[LoopStatus]) -> list[Problem]:
        down: dict[str, str] = {}
        for check in self._checks:
            answer = check.answer()
            if answer.up is False and check.name != "disk":
                down[check.name] = answer.reason
        for status in statuses:
            for system, reason in status.down.items():
                down[system] = f"{reason} ({status.name} is paused)"
        written = self._written()
        if written.down:
            down.setdefault("journal", written.down)
        if "journal" in down:
            down["journal"] += f"; {written.lag} outcomes wait in Kafka for their rows"
        missing = [
            Problem(
                what=f"topics {s.name}",
                text=f"{s.name} waits: {s.missing}",
                page="topic-missing",
            )
            for s in statuses
            if s.missing is not None
        ]
        if written.ended:
            missing.append(
                Problem(
                    what="journal ended",
                    text=f"the journal is not written any more: {written.ended}",
                    page="journal-gone",
                )
            )
        limit = self._settings.alerts.disk_free
        full = {name for name, free in self._disks.items() if free < limit}
        return missing + [
            Problem(
                what=f"{system} down",
                text=f"{system}: {text}",
                # A full disk still answers, and then takes nothing.
                page="disk-full" if system in full else self._page_of(system),
            )
            for system, text in down.items()
        ]

    def _page_of(self, system: str) -> str:
        consumer = self._settings.consumers.get(system)
        if consumer is not None and consumer.integration is not None:
            return "integration-stopped"
        return "icat-down"

    def _waiting(self) -> list[Problem]:
        limits = self._settings.alerts
        found = [
            Problem(
                what=f"lag {name} {topic}",
                text=f"{name}: {lag} records of {topic} wait (limit {limits.lag})",
                page="lag-growing",
            )
            for (name, topic), lag in self._depths.lag.items()
            if lag > limits.lag
        ]
        found += self._undecided()
        if (letters := self._depths.dead_letters) > limits.dead_letters:
            found.append(
                Problem(
                    what="dead letters",
                    text=f"{letters} dead letters wait (limit {limits.dead_letters})",
                    page="dead-letters-filling",
                )
            )
        if (rejects := self._rejected_lately()) > limits.rejects:
            most, page = self._most_rejected()
            found.append(
                Problem(
                    what="rejects",
                    text=f"{rejects} records were rejected in the last"
                    f" {limits.rejects_window:.0f} s (limit {limits.rejects}){most}",
                    page=page,
                )
            )
        for name, free in self._disks.items():
            if free < limits.disk_free:
                text = f"the disk of {name} has {free:.1%} free"
                found.append(
                    Problem(
                        what=f"disk {name}",
                        text=f"{text} (limit {limits.disk_free:.0%})",
                        page="disk-full",
                    )
                )
        return found

    def _most_rejected(self) -> tuple[str, str]:
        """Return the most frequent reason of late, and the page about it."""
        begin = time.monotonic() - self._settings.alerts.rejects_window
        kinds = Counter(
            reason_kind(reason)
            for meter in self._meters.values()
            for when, reason in list(meter.rejections)
            if when >= begin
        )
        if not kinds:
            return "", _ANY_REASON
        [(kind, count)] = kinds.most_common(1)
        return f"; {count} of them: {kind[:_LONGEST]}", page_about(kind)

    def _rejected_lately(self) -> int:
        total = sum(meter.outcomes["rejected"] for meter in self._meters.values())
        now = time.monotonic()
        with self._lock:
            if not self._rejects or self._rejects[-1][1] != total:
                self._rejects.append((now, total))
            begin = now - self._settings.alerts.rejects_window
            # The last one before the window is what the window began with.
            while len(self._rejects) > 1 and self._rejects[1][0] <= begin:
                del self._rejects[0]
            base = self._rejects[0]
            return total - (base[1] if base[0] <= begin else 0)

    def _look_at_disks(self) -> None:
        settings = self._settings
        places: dict[str, Path] = {}
        url = make_url(settings.journal.url)
        if url.drivername.startswith("sqlite") and url.database:
            places["journal"] = Path(url.database).absolute().parent
        if settings.telemetry.log_file is not None:
            places["logs"] = settings.telemetry.log_file.absolute().parent
        for name, place in places.items():
            usage = shutil.disk_usage(place)
            self._disks[name] = usage.free / usage.total


def _unopened(status: LoopStatus) -> Problem:
    return Problem(
        what=f"unopened {status.name}",
        text=f"{status.name}: some partitions cannot be read for"
        f" {status.unopened:.0f} s: a transaction on their offsets is not decided",
        page="hanging-transaction",
    )


def _no_member(name: str) -> Problem:
    return Problem(
        what=f"membership {name}",
        text=f"{name}: Kafka has given it no share of the partitions (any more):"
        " it is no member of its group",
        page="stuck-daemon",
    )


def _stuck(what: str, text: str) -> Problem:
    return Problem(what=what, text=text, page="stuck-daemon", stuck=True)


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _json(report: dict[str, Any], verdict: str, *, brief: bool = False) -> Page:
    good = bool(report[verdict])
    if brief:
        report = {verdict: good, "problems": report["problems"]}
    return Page(200 if good else 503, "application/json", json.dumps(report).encode())
