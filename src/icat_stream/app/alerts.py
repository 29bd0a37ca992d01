"""Telling people what is wrong, and when it is over, by a webhook."""

import http.client
import json
import logging
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from icat_stream.config import AlertSettings, read_secret
from icat_stream.telemetry import Periodic

from .health_report import Problem

_log = logging.getLogger(__name__)
_TIMEOUT_S = 10.0
_SAY_AGAIN_S = 600.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Followed, a redirect makes a GET of the alert, which delivers nothing."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


@dataclass(slots=True)
class _State:
    problem: Problem
    since: float
    seen: float
    told: float | None = None


class Alerts:
    """Sends what is wrong to a webhook, from a thread that nobody waits for.

    A problem is told when it lasts longer than `hold`, again every `repeat`, and once
    more when it has been away for `hold`.  What cannot be delivered is tried again
    with the next look, as it is then.

    Parameters
    ----------
    settings
        Where to, and how often.
    instance
        Who says so.
    problems
        Asked what is wrong.
    """

    def __init__(
        self,
        settings: AlertSettings,
        instance: str | None,
        problems: Callable[[], list[Problem]],
    ) -> None:
        self._settings = settings
        self._instance = instance or socket.gethostname()
        self._problems = problems
        self._states: dict[str, _State] = {}
        self._complained: float | None = None
        self._periodic = Periodic("alerts", self._look, settings.every)

    def start(self) -> None:
        """Begin, if there is a webhook."""
        if self._settings.has_webhook:
            self._periodic.start()

    def stop(self) -> None:
        """End; a delivery that hangs is left behind."""
        self._periodic.stop()
        self._periodic.join(1.0)

    def _look(self) -> None:
        now = time.monotonic()
        for problem in self._problems():
            state = self._states.get(problem.what)
            if state is None:
                self._states[problem.what] = _State(problem, now, now)
            else:
                state.problem, state.seen = problem, now
        for what, state in list(self._states.items()):
            if self._periodic.is_stopping:
                return
            self._judge(what, state, now)

    def _judge(self, what: str, state: _State, now: float) -> None:
        settings = self._settings
        if state.seen < now:
            # A system that comes and goes is one problem, not many short ones.
            gone = now - state.seen >= settings.hold
            if gone and (state.told is None or self._send(state, "resolved")):
                del self._states[what]
            return
        due = (
            now - state.since >= settings.hold
            if state.told is None
            else now - state.told >= settings.repeat
        )
        if due and self._send(state, "firing"):
            state.told = now

    def _send(self, state: _State, status: str) -> bool:
        try:
            url = read_secret(self._settings.webhook, self._settings.webhook_file) or ""
            request = urllib.request.Request(  # noqa: S310
                url,
                json.dumps(self._body(state, status)).encode(),
                {"Content-Type": "application/json", "User-Agent": "icat-stream"},
            )
            with _opener.open(request, timeout=_TIMEOUT_S) as answer:
                answer.read(1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._complain(error)
            return False
        _log.info("alert sent: %s: %s", status, state.problem.text)
        return True

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if self._complained is None or now - self._complained > _SAY_AGAIN_S:
            self._complained = now
            # Neither the URL nor what quotes it: it is a secret.
            words = f"{type(error).__name__}"
            if isinstance(error, urllib.error.HTTPError):
                words = f"HTTP {error.code}"
            elif isinstance(error, urllib.error.URLError):
                words = f"{error.reason}"
            elif isinstance(error, OSError) and error.strerror:
                words = error.strerror
            _log.warning("alerts cannot be delivered to alerts.webhook: %s", words)

    def _body(self, state: _State, status: str) -> dict[str, Any]:
        problem = state.problem
        page = problem.url(self._settings.docs)
        if self._settings.format == "chat":
            sign = "Resolved" if status == "resolved" else "Alert"
            text = f"{sign}: icat-stream on {self._instance}: {problem.text}"
            return {"text": text if status == "resolved" else f"{text}\n{page}"}
        return {
            "status": status,
            "alert": problem.what,
            "instance": self._instance,
            "text": problem.text,
            "docs": page,
            "since": round(time.time() - (time.monotonic() - state.since), 3),
        }
