"""Accounts of the service's own in ICAT."""

import json
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from .errors import BadSession, IdsError
from .settings import AccountSettings
from .wire import Wire

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Account:
    """Logs in when it is needed, and again when its session is over.

    Parameters
    ----------
    wire
        Speaks to ICAT.
    settings
        Who it is.
    """

    def __init__(self, wire: Wire, settings: AccountSettings) -> None:
        self._wire = wire
        self._settings = settings
        self._session: str | None = None
        self._lock = threading.Lock()

    def call(self, call: Callable[[str], T]) -> T:
        """Call with a session, with a new one if the old one is over.

        Raises
        ------
        InsufficientPrivileges
            The account is refused.
        """
        session = self._session or self.log_in()
        try:
            return call(session)
        except BadSession:
            return call(self.log_in(instead_of=session))

    def log_in(self, *, instead_of: str | None = None) -> str:
        """Return a session that is not this one."""
        with self._lock:
            # Of many who find it over, one logs in.
            if self._session in (None, instead_of):
                login = {
                    "plugin": self._settings.auth,
                    "credentials": [
                        {"username": self._settings.username},
                        {"password": self._settings.secret()},
                    ],
                }
                form = {"json": json.dumps(login, separators=(",", ":"))}
                answer = self._wire.rest("POST", "/icat/session", form, name="login")
                self._session = str(answer["sessionId"])
            return self._session

    def log_out(self) -> None:
        """Log out, if that works."""
        if self._session is not None:
            try:
                path = f"/icat/session/{self._session}"
                self._wire.rest("DELETE", path, name="logout")
            except IdsError as error:
                _log.info("%s was not logged out: %s", self._settings.username, error)
