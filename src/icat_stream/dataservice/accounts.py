"""Accounts of the service's own in ICAT."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from .catalogue_calls import CatalogueCalls
from .errors import BadSession, IdsError
from .settings import AccountSettings

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Account:
    """Logs in when it is needed, and again when its session is over."""

    def __init__(self, calls: CatalogueCalls, settings: AccountSettings) -> None:
        self._calls = calls
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
                self._session = self._calls.login(
                    self._settings.auth,
                    self._settings.username,
                    self._settings.secret(),
                )
            return self._session

    def log_out(self) -> None:
        """Log out, if that works."""
        if self._session is not None:
            try:
                self._calls.logout(self._session)
            except IdsError as error:
                _log.info("%s was not logged out: %s", self._settings.username, error)
