"""A thread that asks whether systems are up again and missing things there."""

import logging
import random
import threading
import time
from collections.abc import Callable

from icat_stream.records import ExitCode, Failure, LoginRefused, SystemUnavailable

from .consumer import Consumer, LaneScoped, Parking, Probing
from .ledger import Ledger
from .run_result import Halt

_log = logging.getLogger(__name__)

_ASK_EVERY_S = 2.0
# One query, and for how long one follows the other; the rest is asked for next time.
_NAMES = 1_000
_ASKING_S = 1.0
_FIRST_PROBE_S = 0.5
_LAST_PROBE_S = 30.0
_SAY_AGAIN_S = 60.0


class Probes:
    """Knows what is down, probes it, and asks for what parked records miss.

    Parameters
    ----------
    name
        For the thread's name and log lines.
    consumer
        Asked if it can tell.
    ledger
        Has the parked records.
    down, up
        Called when the first system goes down, when the last one is up again.
    crashed
        Told of what ends the loop.
    """

    def __init__(
        self,
        name: str,
        *,
        consumer: Consumer,
        ledger: Ledger,
        down: Callable[[], None],
        up: Callable[[], None],
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._name = name
        self._consumer = consumer
        self._ledger = ledger
        self._pause = down
        self._go_on = up
        self._crashed = crashed
        self._wake = threading.Condition()
        self._down: dict[str, str] = {}
        self._closed = False
        self._wanted = 0
        self._answered = 0
        self._in_vain = False
        self._thread = threading.Thread(
            target=self._run, name=f"{name}-assistant", daemon=True
        )

    @property
    def is_down(self) -> bool:
        """Whether some system is known to be down."""
        return bool(self._down)

    @property
    def down(self) -> dict[str, str]:
        """Why it is paused, by system."""
        return dict(self._down)

    def hurry(self) -> int:
        """Ask for what is missing at once; return a ticket for :meth:`has_asked`."""
        with self._wake:
            self._wanted += 1
            self._wake.notify_all()
            return self._wanted

    def has_asked(self, ticket: int) -> bool:
        """Whether that was done."""
        return self._answered >= ticket

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, deadline: float) -> None:
        """End the thread.

        Parameters
        ----------
        deadline
            Monotonic seconds.
        """
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def unavailable(self, error: SystemUnavailable) -> None:
        """Note that a system is down, and pause."""
        with self._wake:
            known = error.system in self._down
            self._down[error.system] = error.reason
            # Under the lock: it cannot be found up again before it is paused.
            if not known:
                self._pause()
                self._wake.notify_all()
        if not known:
            _log.warning(
                "%s: pausing, %s is unavailable: %s",
                self._name,
                error.system,
                error.reason,
            )

    def _run(self) -> None:
        try:
            self._watch()
        except BaseException as error:
            self._crashed(error)
        try:
            if isinstance(self._consumer, LaneScoped):
                self._consumer.leave_lane()
        except BaseException as error:
            self._crashed(error)

    def _watch(self) -> None:
        ask_at = time.monotonic() + _ASK_EVERY_S
        probe_at = 0.0
        began = said = 0.0
        up_at = -_LAST_PROBE_S
        delay = _FIRST_PROBE_S
        while True:
            with self._wake:
                now = time.monotonic()
                if not self._down:
                    probe_at = 0.0
                elif not probe_at:
                    began = said = now
                    # Down again at once: it was not really up, or cannot be probed.
                    again = now - up_at < 2 * delay
                    delay = min(delay * 2, _LAST_PROBE_S) if again else _FIRST_PROBE_S
                    probe_at = now + delay
                if self._wanted > self._answered and not self._down:
                    ask_at = now
                until = min(ask_at, probe_at) if self._down else ask_at
                if not self._closed and until > now:
                    self._wake.wait(until - now)
                if self._closed:
                    return
                systems = list(self._down)
            now = time.monotonic()
            if systems and probe_at and now >= probe_at:
                if self._probe(systems):
                    _log.info("%s: going on after %.0f s", self._name, now - began)
                    up_at = time.monotonic()
                    continue
                if now - said > _SAY_AGAIN_S:
                    said = now
                    _log.warning(
                        "%s: still paused after %.0f s: %s",
                        self._name,
                        now - began,
                        "; ".join(self._down.values()),
                    )
                delay = min(delay * 2, _LAST_PROBE_S)
                jitter = random.uniform(0.75, 1.0)  # noqa: S311
                probe_at = time.monotonic() + delay * jitter
            elif now >= ask_at:
                if not systems:
                    self._ask()
                ask_at = time.monotonic() + _ASK_EVERY_S

    def _probe(self, systems: list[str]) -> bool:
        for system in systems:
            try:
                if isinstance(self._consumer, Probing):
                    self._consumer.probe(system)
            except LoginRefused as error:
                self._refused(error)
                return False
            except Failure as error:
                self._down[system] = error.reason
                return False
            except Exception:
                _log.exception("%s: a bug while probing %s", self._name, system)
                return False
        with self._wake:
            for system in systems:
                self._down.pop(system, None)
            if self._down:
                return False
            self._go_on()
        return True

    def _ask(self) -> None:
        ticket = self._wanted
        # Who hurries wants to know of all of them, not of the next ones in turn.
        hurry = ticket != self._answered
        end = time.monotonic() + _ASKING_S
        asked: set[str] = set()
        while isinstance(self._consumer, Parking):
            names = [n for n in self._ledger.missing(_NAMES) if n not in asked]
            if names:
                self._ask_for(self._consumer, names)
                asked.update(names)
            if len(names) < _NAMES or not (hurry or time.monotonic() < end):
                break
        self._answered = ticket

    def _ask_for(self, consumer: Parking, names: list[str]) -> None:
        try:
            self._ledger.found(consumer.present(names))
            self._in_vain = False
        except LoginRefused as error:
            self._refused(error)
        except SystemUnavailable as error:
            # Its probe was answered since: this question is what it does not answer.
            if self._in_vain:
                _log.info("%s: cannot tell what is there: %s", self._name, error)
            else:
                self.unavailable(error)
            self._in_vain = True
        except Failure as error:
            _log.info("%s: cannot tell what is there: %s", self._name, error)
        except Exception:
            _log.exception("%s: a bug while asking what is there", self._name)

    def _refused(self, error: LoginRefused) -> None:
        self._crashed(refusal(error))


def refusal(error: LoginRefused) -> Halt:
    """Return the end of a loop whose credentials are refused."""
    reason = f"{error.system} refuses our credentials: {error.reason}"
    return Halt(ExitCode.UNAVAILABLE, reason)
