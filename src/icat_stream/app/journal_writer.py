"""The journal's writer: outcomes from Kafka become rows, whoever had the records."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from icat_stream.config import ConfigError, Settings
from icat_stream.journal import Fenced, Journal, Move
from icat_stream.records import Rejection, SystemUnavailable, TransientFailure
from icat_stream.stream import (
    Halt,
    OutcomeReader,
    ReadOutcome,
    TopicIds,
    outcome_ends,
)
from icat_stream.telemetry import fault_point

_log = logging.getLogger(__name__)

_READ_S = 0.2
# Somebody else writes: there is nothing to do but to be there when they are gone.
_STANDBY_S = (0.5, 1.0, 2.0, 5.0)
_AGAIN_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_HURRIED_S = 0.1
_SAY_AGAIN_S = 300.0
# A topic that is made anew, or gets more partitions, is noticed within that.
_LOOK_AGAIN_S = 60.0
_MEASURE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStatus:
    """How the journal's writer is just now.

    Parameters
    ----------
    lag
        Outcomes that are not in the journal, about.
    down
        Why it waits; empty: it does not.
    ended
        Why it has given up; empty: it has not.
    rows
        Written by this process.
    lost
        Outcomes that the topic's retention removed before they were read.
    refused
        Outcomes that could not be read, or that the database does not take.
    """

    lag: int = 0
    down: str = ""
    ended: str = ""
    rows: int = 0
    lost: int = 0
    refused: int = 0


class _Impossible(Exception):
    """The topic ends before what was read of it: a person has to look."""


class JournalWriter:
    """A thread that writes outcomes to the journal, and up to where it is.

    Any number of processes may have one: who writes first has written, and the others
    look again.  Nothing waits for it.

    Parameters
    ----------
    settings
        All of them.
    journal
        Where they go.
    ids
        Tells the topic from one made anew.
    """

    def __init__(self, settings: Settings, journal: Journal, ids: TopicIds) -> None:
        self._settings = settings
        self._journal = journal
        self._ids = ids
        self._whose = settings.kafka.group_id, settings.outcomes.topic
        self._topic = settings.outcomes.topic
        self._topic_id = ""
        self._has_tables = self._has_begun = False
        # What the journal says of each partition; nothing: it does not know it.
        self._known: dict[int, int] = {}
        # Up to where all is in the journal, what is no outcome included.
        self._through: dict[int, int] = {}
        self._status = WriterStatus()
        self._said = float("-inf")
        self._measured = float("-inf")
        self._stopping = threading.Event()
        self._hurried = False
        # It may hang in a call to the database; nobody waits for that.
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End it; what is not written is written by the next one.

        Parameters
        ----------
        seconds
            That it may take.
        """
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def status(self) -> WriterStatus:
        """Return how it is; for any thread."""
        return self._status

    def catch_up(
        self, seconds: float, stopping: Callable[[], bool] = lambda: False
    ) -> str:
        """Wait until the journal has all that is committed by now.

        Parameters
        ----------
        seconds
            At most.
        stopping
            Asked in between.

        Returns
        -------
        :
            Why it has not; nothing if it has.
        """
        self._hurried = True
        end = time.monotonic() + seconds
        ends: dict[int, int] | None = None
        reason = ""
        while time.monotonic() < end and not stopping() and not self._status.ended:
            try:
                ends = outcome_ends(self._settings) if ends is None else ends
            except SystemUnavailable as error:
                reason = error.reason
                ends = None
            through = self._through
            if ends is not None and all(
                through.get(n, 0) >= high for n, high in ends.items()
            ):
                return ""
            time.sleep(0.02)
        status = self._status
        return status.ended or status.down or reason or "it takes longer"

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                with closing(OutcomeReader(self._settings)) as reader:
                    self._follow(reader)
        except (_Impossible, ConfigError, Halt) as error:
            self._end(str(error))
        except Exception as error:
            _log.exception("the journal's writer: a bug")
            self._end(f"{type(error).__name__}: {error}")

    def _follow(self, reader: OutcomeReader) -> None:
        """Write what comes, until Kafka fails or a stop."""
        look_at = float("-inf")
        fenced = failed = 0
        while not self._stopping.is_set():
            try:
                if time.monotonic() > look_at:
                    look_at = time.monotonic() + self._begin(reader)
                self._write(reader.read(_READ_S))
                self._through = dict(reader.places)
                fenced, failed = max(0, fenced - 1), 0
                self._is_well()
                self._measure(reader)
            except Fenced:
                look_at = float("-inf")
                self._wait(_STANDBY_S[min(fenced, len(_STANDBY_S) - 1)])
                fenced += 2
            except (SystemUnavailable, TransientFailure) as error:
                look_at = float("-inf")
                self._say(error.reason)
                self._wait(_AGAIN_S[min(failed, len(_AGAIN_S) - 1)])
                failed += 1
                if not isinstance(error, SystemUnavailable) or error.system == "kafka":
                    return
                # An empty database in its place is as good.
                self._has_tables = False
                self._measure(reader)

    def _begin(self, reader: OutcomeReader) -> float:
        """Read from where the journal is; return for how many seconds that holds."""
        if not self._has_tables:
            self._journal.create()
            self._has_tables = True
        # First, as others write meanwhile: they do not get beyond the ends seen later.
        stored = self._journal.positions(*self._whose)
        spans = reader.spans()
        if not spans:
            # It is made when the first consumer begins.
            return 0.0
        topic_id = self._ids(self._topic, renewed=True)
        self._known = {n: at for (i, n), at in stored.items() if i == topic_id}
        if stored and not self._known:
            _log.warning(
                "topic %s was made anew: the journal reads it from its beginning",
                self._topic,
            )
        places = {n: self._place(n, topic_id, *span) for n, span in spans.items()}
        reader.begin(places)
        self._topic_id, self._has_begun = topic_id, True
        return _LOOK_AGAIN_S

    def _place(self, number: int, topic_id: str, low: int, high: int) -> int:
        """Return from where to read a partition."""
        known = self._known.get(number)
        if known is None or (not topic_id and not self._has_begun):
            # Without ids it may be another topic, with other outcomes at these places;
            # what is there already is not written again.
            return low
        where = f"{self._topic}[{number}]"
        if known < low:
            self._set(lost=self._status.lost + low - known)
            _log.error(
                "%s: %d outcomes were removed by the topic's retention before the"
                " journal had them: it has no rows of them",
                where,
                low - known,
            )
            return low
        if known > high:
            raise _Impossible(
                f"{where} ends at {high}, and the journal has read it up to {known}:"
                " Kafka has lost what it had; see the night page journal-gone"
            )
        return known

    def _write(self, outcomes: Sequence[ReadOutcome]) -> None:
        if not outcomes:
            return
        fault_point("outcomes-read")
        for each in outcomes:
            if each.problem:
                self._refuse(each, each.problem)
        self._keep(outcomes)
        fault_point("projected")

    def _keep(self, outcomes: Sequence[ReadOutcome]) -> None:
        after = {each.partition: each.offset + 1 for each in outcomes}
        moves = [Move(n, self._known.get(n), at) for n, at in after.items()]
        rows = [each.row for each in outcomes if each.row is not None]
        whose = *self._whose, self._topic_id
        try:
            self._journal.project(*whose, moves, rows)
        except Rejection as error:
            if len(outcomes) > 1:
                half = len(outcomes) // 2
                self._keep(outcomes[:half])
                self._keep(outcomes[half:])
                return
            self._refuse(outcomes[0], error.reason)
            self._journal.project(*whose, moves, [])
            rows = []
        self._known |= after
        self._set(rows=self._status.rows + len(rows))

    def _refuse(self, outcome: ReadOutcome, reason: str) -> None:
        self._set(refused=self._status.refused + 1)
        _log.error(
            "%s[%d]@%d: an outcome gets no row in the journal: %s",
            self._topic,
            outcome.partition,
            outcome.offset,
            reason,
        )

    def _measure(self, reader: OutcomeReader) -> None:
        now = time.monotonic()
        if now - self._measured < _MEASURE_S:
            return
        self._measured = now
        try:
            spans = reader.spans()
        except SystemUnavailable:
            # That is found out by reading.
            return
        through = self._through
        behind = (
            max(0, high - max(low, through.get(n, low)))
            for n, (low, high) in spans.items()
        )
        self._set(lag=sum(behind))

    def _is_well(self) -> None:
        if self._status.down:
            _log.info("the journal is written again")
            self._set(down="")
            self._said = float("-inf")

    def _say(self, reason: str) -> None:
        self._set(down=reason)
        now = time.monotonic()
        if now - self._said > _SAY_AGAIN_S:
            self._said = now
            _log.warning(
                "the journal is not written for now, outcomes wait in Kafka: %s", reason
            )

    def _end(self, reason: str) -> None:
        self._set(ended=reason)
        _log.error("the journal is not written any more: %s", reason)

    def _set(self, **changes: Any) -> None:
        self._status = replace(self._status, **changes)

    def _wait(self, seconds: float) -> None:
        self._stopping.wait(_HURRIED_S if self._hurried else seconds)
