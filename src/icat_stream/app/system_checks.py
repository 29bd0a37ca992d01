"""Systems that are asked again and again whether they are there."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from icat_stream.records import Failure
from icat_stream.telemetry import Periodic

_log = logging.getLogger(__name__)
# A question that hangs in a socket or in the kernel is an answer, too.
_SILENT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system said last.

    Parameters
    ----------
    up
        Whether it is there; ``None``: not known yet.
    reason
        Why it is not.
    seconds
        How long the answer took.
    age
        Seconds since then.
    """

    up: bool | None
    reason: str = ""
    seconds: float = 0.0
    age: float = 0.0


class Check:
    """Asks one system in a thread of its own.

    Parameters
    ----------
    name
        Of the system.
    ask
        Returns if it is there.
    every
        Seconds between two questions.
    close
        Called in that thread at its end.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[], None],
        every: float,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._ask = ask
        self._asked: float | None = None
        self._last: tuple[bool, str, float, float] | None = None
        self._periodic = Periodic(
            f"check-{name}", self._look, every, at_once=True, close=close
        )
        self.start = self._periodic.start
        self.stop = self._periodic.stop
        self.join = self._periodic.join

    def answer(self) -> Answer:
        """Return what is known now."""
        asked, last = self._asked, self._last
        now = time.monotonic()
        if asked is not None and now - asked > _SILENT_S:
            return Answer(False, f"no answer for {now - asked:.0f} s", now - asked)
        if last is None:
            return Answer(None)
        up, reason, seconds, at = last
        return Answer(up, reason, seconds, now - at)

    def _look(self) -> None:
        self._asked = began = time.monotonic()
        up, reason = False, ""
        try:
            self._ask()
            up = True
        except (Failure, OSError) as error:
            reason = str(error)
        except Exception as error:
            # The one who asks must go on; the daemon's own handling is elsewhere.
            _log.exception("check of %s: a bug", self.name)
            reason = f"{type(error).__name__}: {error}"
        now = time.monotonic()
        self._last, self._asked = (up, reason, now - began, now), None
