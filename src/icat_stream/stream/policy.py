"""What follows from a failure: the one place where that is decided."""

import random
import threading
import time
from collections import deque
from dataclasses import dataclass

from icat_stream.config import RejectLimit, RetrySettings
from icat_stream.records import (
    DependencyMissing,
    Failure,
    LoginRefused,
    NotReady,
    SystemUnavailable,
    TransientFailure,
    bug_reason,
)

from .headers import Delay

BUG_ATTEMPTS = 3
# Waits within a lane double from here and add up to at most 10 s: what takes longer
# is not worth delaying the later records of the key.
_FIRST_WAIT_S = 0.25
_WAITS_S = 10.0
_SHORTEST_LOOK_S = 0.05
_BUCKETS = 60


@dataclass(frozen=True, slots=True)
class RetryInLane:
    """Handle it again in the lane, after some seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Send it to a retry topic."""

    stage: int
    wait: Delay


@dataclass(frozen=True, slots=True)
class Park:
    """Keep it until what it misses is there."""

    wait: Delay


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Give it up."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for a system; the attempt does not count."""

    system: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End the loop: waiting does not help."""


Decision = RetryInLane | RetryLater | Park | GiveUp | Pause | Stop


def decide(
    error: Exception,
    *,
    tries: int,
    waited: float,
    paused_before: bool,
    wait: Delay,
    now: int,
    settings: RetrySettings,
) -> Decision:
    """Decide what follows from a failure.

    Parameters
    ----------
    error
        What the consumer raised.
    tries
        How often it was handled in the lane since it was read, this time included;
        waiting for a file or a system does not count.
    waited
        Seconds since it was read, or due.
    paused_before
        Whether it failed by the same system before, which has answered its probe
        since.
    wait
        Of the record, from earlier times it was put off.
    now
        Milliseconds since the epoch.
    settings
        Delays and limits.
    """
    match error:
        case LoginRefused():
            return Stop()
        case SystemUnavailable() if not paused_before:
            return Pause(error.system)
        case NotReady():
            if waited < error.deadline:
                return RetryInLane(max(error.retry_in, _SHORTEST_LOOK_S))
            return _put_off(error.reason, wait, now, settings)
        case TransientFailure() | SystemUnavailable():
            if tries < settings.lane_attempts:
                return RetryInLane(lane_wait(tries, settings.lane_attempts))
            return _put_off(error.reason, wait, now, settings)
        case DependencyMissing():
            return _park(error, wait, now, settings)
        case Failure():
            return GiveUp(error.reason)
        case _:
            if tries < BUG_ATTEMPTS:
                return RetryInLane(lane_wait(tries, BUG_ATTEMPTS))
            return GiveUp(bug_reason(error))


def lane_wait(tries: int, attempts: int) -> float:
    """Return the seconds to wait in the lane after so many tries, with jitter.

    Parameters
    ----------
    tries
        So far, at least 1.
    attempts
        Tries in all.
    """
    whole = _FIRST_WAIT_S * (2 ** (attempts - 1) - 1)
    scale = min(1.0, _WAITS_S / whole) if whole else 1.0
    # Half of it is random, lest many lanes come back together.
    jitter = random.uniform(0.5, 1.0)  # noqa: S311
    return float(_FIRST_WAIT_S * 2 ** (tries - 1) * scale * jitter)


def _put_off(reason: str, wait: Delay, now: int, settings: RetrySettings) -> Decision:
    stage = wait.retries
    if stage >= len(settings.delays):
        return GiveUp(f"{reason} (given up after {stage} retries)")
    return RetryLater(
        stage,
        Delay(
            not_before=now + int(settings.delays[stage] * 1000),
            retries=stage + 1,
            parked_since=wait.parked_since,
        ),
    )


def _park(
    error: DependencyMissing, wait: Delay, now: int, settings: RetrySettings
) -> Decision:
    since = wait.parked_since or now
    ends = since + int(settings.park_for * 1000)
    if now >= ends:
        missing = ", ".join(error.missing) or "nothing by name"
        return GiveUp(
            f"{error.reason} (waited {(now - since) / 1000:.0f} s for: {missing})"
        )
    # What is there by name may still not be what the record needs, and not every
    # consumer can be asked: looked at again after the longest delay in any case.
    look = now + int(max(settings.delays) * 1000)
    return Park(
        Delay(
            not_before=min(look, ends),
            retries=wait.retries,
            parked_since=since,
            missing=error.missing,
        )
    )


class RejectWindow:
    """Rejected records of the last while, to stop before a topic is drained.

    Parameters
    ----------
    limit
        When it is too much.
    """

    def __init__(self, limit: RejectLimit) -> None:
        self._limit = limit
        self._width = limit.window / _BUCKETS
        self._buckets: deque[list[float]] = deque()
        self._lock = threading.Lock()

    def add(self, rejected: bool, now: float | None = None) -> bool:
        """Count a record; return whether the limit is passed.

        Parameters
        ----------
        rejected
            Whether it was rejected.
        now
            Monotonic seconds, for tests.
        """
        now = time.monotonic() if now is None else now
        with self._lock:
            return self._add(rejected, now)

    def _add(self, rejected: bool, now: float) -> bool:
        buckets = self._buckets
        if not buckets or now - buckets[-1][0] >= self._width:
            buckets.append([now, 0, 0])
            while now - buckets[0][0] > self._limit.window:
                buckets.popleft()
        buckets[-1][1] += 1
        if not rejected:
            return False
        buckets[-1][2] += 1
        total = sum(bucket[1] for bucket in buckets)
        bad = sum(bucket[2] for bucket in buckets)
        ratio = self._limit.ratio
        return ratio < 1 and bad >= self._limit.minimum and bad >= ratio * total
