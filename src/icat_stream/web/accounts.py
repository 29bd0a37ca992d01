"""Logging in by way of ICAT, and asking it as the person who looks."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from icat_stream.config import Settings
from icat_stream.icat import (
    ConnectionPool,
    IcatCalls,
    IcatFault,
    ResultUnknown,
    Session,
    entities,
)
from icat_stream.records import SystemUnavailable

from .sign_ins import SignIn

_T = TypeVar("_T")
_PROPERTIES_S = 60.0
_OPERATORS_S = 60.0
_RENEW_S = 600.0


class LoginWrong(Exception):
    """ICAT lets nobody in with that name and password, or the text says why."""


class SessionOver(Exception):
    """ICAT's session of a person has ended: log in again."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """A way to log in.

    Parameters
    ----------
    mnemonic, title
        What ICAT calls it, and what people do.
    keys
        What it asks for, each with whether it is to be hidden.
    """

    mnemonic: str
    title: str
    keys: tuple[tuple[str, bool], ...]


class Accounts:
    """Asks ICAT about persons and for persons; safe for threads.

    Parameters
    ----------
    settings
        All of them.
    """

    def __init__(self, settings: Settings) -> None:
        icat = settings.icat
        pool = ConnectionPool(icat.url, icat.timeout, icat.ca_file)
        self._calls = IcatCalls(pool)
        self._operators = settings.web.operators
        self._own = Session(icat)
        self._lock = threading.Lock()
        self._known: tuple[float, list[Authenticator]] = (0.0, [])

    def close(self) -> None:
        """Log our own account out."""
        with self._lock:
            self._own.close()
        self._calls.close()

    def authenticators(self) -> list[Authenticator]:
        """Return the ways to log in, in ICAT's order.

        Raises
        ------
        SystemUnavailable
            ICAT does not say.
        """
        at, known = self._known
        if known and time.monotonic() - at < _PROPERTIES_S:
            return known
        found = self._asked(self._calls.properties)
        known = [
            Authenticator(
                each["mnemonic"],
                each.get("friendly") or each["mnemonic"],
                tuple((k["name"], bool(k.get("hide"))) for k in each.get("keys", ())),
            )
            for each in found.get("authenticators", ())
            if not each.get("admin")
        ]
        self._known = time.monotonic(), known
        return known

    def enter(self, mnemonic: str, credentials: Mapping[str, str]) -> SignIn:
        """Return a person who has logged in.

        Raises
        ------
        LoginWrong
            ICAT says so.
        SystemUnavailable
            It cannot be asked.
        """
        try:
            session = self._asked(lambda: self._calls.enter(mnemonic, credentials))
        except (IcatFault, SessionOver):
            raise LoginWrong from None
        user = self._asked(lambda: self._calls.user_name(session))
        return SignIn(user, session, self._is_operator(user))

    def leave(self, sign_in: SignIn) -> None:
        """End ICAT's session of a person; it ends by itself where ICAT is down."""
        try:
            self._asked(lambda: self._calls.logout(sign_in.session_id))
        except (IcatFault, SessionOver, SystemUnavailable):
            return

    def is_operator(self, sign_in: SignIn, *, now: bool = False) -> bool:
        """Whether a person is an operator, as of a minute ago, or as of now."""
        if now or time.monotonic() - sign_in.checked > _OPERATORS_S:
            sign_in.operator = self._is_operator(sign_in.user)
            sign_in.checked = time.monotonic()
        return sign_in.operator

    def search(self, sign_in: SignIn, query: str) -> list[Any]:
        """Return what a person may see of what a query finds.

        Raises
        ------
        SessionOver
            The person has to log in again.
        IcatFault
            ICAT refuses the question.
        SystemUnavailable
            It cannot be asked.
        """
        if time.monotonic() - sign_in.renewed > _RENEW_S:
            self._asked(lambda: self._calls.refresh(sign_in.session_id))
            sign_in.renewed = time.monotonic()
        return self._asked(lambda: self._calls.search(sign_in.session_id, query))

    def objects(self, sign_in: SignIn, query: str) -> list[dict[str, Any]]:
        """Return the objects that a query finds; else as :meth:`search`."""
        return entities(self.search(sign_in, query))

    def own_objects(self, query: str, entity: str) -> list[dict[str, Any]]:
        """Return what our own account finds: for what everybody may see.

        Raises
        ------
        SystemUnavailable, TransientFailure, Rejection
            ICAT cannot be asked.
        """
        with self._lock:
            return entities(self._own.search(query, entity))

    def _is_operator(self, user: str) -> bool:
        with self._lock:
            return self._own.is_member(user, self._operators)

    def _asked(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except IcatFault as fault:
            if fault.kind == "SESSION":
                raise SessionOver from fault
            raise
        except ResultUnknown as unknown:
            raise SystemUnavailable(f"ICAT: {unknown.reason}", system="icat") from None
