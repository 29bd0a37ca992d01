"""What all pages are made from."""

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from icat_stream.config import Settings
from icat_stream.journal import Journal, journal_exists
from icat_stream.records import SystemUnavailable

from .accounts import Accounts
from .login_attempts import LoginAttempts
from .problem_groups import ProblemReader
from .sign_ins import SIGN_ON_PATH, SignIns
from .unread_records import UnreadRecords

if TYPE_CHECKING:
    from .single_sign_on import SingleSignOn

_HEALTH_S = 3.0


class Site:
    """The systems that pages ask, and who is logged in.

    Parameters
    ----------
    settings
        All of them.
    public_url
        Where people reach it.
    """

    def __init__(self, settings: Settings, public_url: str) -> None:
        self.settings = settings
        self.public_url = public_url
        parts = urlsplit(public_url)
        self.secure = parts.scheme == "https"
        self.path = parts.path.rstrip("/")
        """Of the public address: what links begin with."""
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.host = parts.netloc
        self.accounts = Accounts(settings)
        self.sign_ins = SignIns(settings.web.idle, settings.web.longest)
        self.attempts = LoginAttempts()
        self.single_sign_on = self._single_sign_on()
        self.problems = ProblemReader(settings)
        self.lag = UnreadRecords(settings)
        self.acting = threading.Lock()
        """Held by who replays or discards: two would fence each other."""
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._open = ExitStack()

    def close(self) -> None:
        """Log everybody out, and let go of all systems."""
        for sign_in in self.sign_ins.clear():
            self.accounts.leave(sign_in)
        self.accounts.close()
        self.lag.close()
        self._open.close()

    @property
    def journal(self) -> Journal:
        """The journal.

        Raises
        ------
        SystemUnavailable
            It is not there, or not yet.
        """
        with self._lock:
            if self._journal is None:
                self._journal = self._opened()
            return self._journal

    def health(self) -> dict[str, Any]:
        """Return what the daemon says of itself.

        Raises
        ------
        SystemUnavailable
            It does not answer.
        """
        listen = self.settings.health.listen
        if listen is None:
            raise SystemUnavailable(
                "health.listen is not configured, so the daemon cannot be asked",
                system="daemon",
            )
        try:
            found = json.loads(_fetched(f"http://{listen}/health"))
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise SystemUnavailable(
                f"no daemon answers at {listen} ({reason}): does it run?",
                system="daemon",
            ) from None
        if not isinstance(found, dict) or "healthy" not in found:
            raise SystemUnavailable(
                f"something else answers at {listen}", system="daemon"
            )
        return cast("dict[str, Any]", found)

    def _single_sign_on(self) -> "SingleSignOn | None":
        oidc = self.settings.web.oidc
        if oidc is None:
            return None
        # Its cryptography is half of what a start takes.
        from .single_sign_on import SingleSignOn

        return SingleSignOn(oidc, f"{self.public_url}{SIGN_ON_PATH}/answer")

    def _opened(self) -> Journal:
        settings = self.settings.journal
        if not journal_exists(settings):
            raise SystemUnavailable(
                "there is no journal yet: the daemon makes it when it starts",
                system="journal",
            )
        journal = Journal(settings)
        if not journal.is_current():
            journal.close()
            raise SystemUnavailable(
                "its tables are not yet those of this version: the daemon makes them"
                " so when it starts",
                system="journal",
            )
        self._open.callback(journal.close)
        return journal


def now_ms() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _fetched(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_HEALTH_S) as answer:  # noqa: S310
            return cast(bytes, answer.read())
    except urllib.error.HTTPError as error:
        # 503 with a reason is an answer.
        return error.read()
