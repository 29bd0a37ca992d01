"""Who is logged in: known by a random cookie, with all else kept on the server."""

import hmac
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

SIGN_ON_PATH = "/login/single-sign-on"
"""Where a login at a provider begins; people come back to what is below."""
SIGN_ON_S = 600
"""Who does not come back within this time begins anew."""
# Beyond so many, those who were idle longest have to log in again.
_MOST = 5_000


@dataclass(slots=True)
class SignIn:
    """A person who is logged in, or a script that asks for one.

    Parameters
    ----------
    user
        ICAT's name of the person, such as ``db/jdoe``.
    session_id
        Of ICAT: a secret that never leaves the server.
    operator
        Whether the person is one of the operators, as of ``checked``.
    began, seen, checked, renewed
        Monotonic times: of the login, of the last request, of the last look at the
        operators, of the last renewal of ICAT's session.
    key
        What the cookie says.
    csrf
        What forms have to say.
    token
        What the script's token is for; empty: a person.
    acts
        Whether it may do more than read.
    """

    user: str
    session_id: str
    operator: bool
    began: float = field(default_factory=time.monotonic)
    seen: float = field(default_factory=time.monotonic)
    checked: float = field(default_factory=time.monotonic)
    renewed: float = field(default_factory=time.monotonic)
    key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    token: str = ""
    acts: bool = True

    @property
    def name(self) -> str:
        """Who it is, for the audit."""
        return f"{self.user}, by token “{self.token}”" if self.token else self.user

    def owns(self, csrf: str) -> bool:
        """Whether a form came from a page that was made for this person.

        No browser sends a token by itself, so nobody else can have a script send it.
        """
        if self.token:
            return True
        return hmac.compare_digest(self.csrf.encode(), csrf.encode())


class SignIns:
    """All who are logged in; safe for threads.

    Parameters
    ----------
    idle, longest
        Seconds without a request, and in all, after which a person is logged out.
    """

    def __init__(self, idle: float, longest: float) -> None:
        self._idle = idle
        self._longest = longest
        self._known: dict[str, SignIn] = {}
        self._lock = threading.Lock()

    def add(self, sign_in: SignIn) -> list[SignIn]:
        """Let a person in; return those who had to go."""
        with self._lock:
            gone = list(self._expired())
            if len(self._known) - len(gone) >= _MOST:
                gone.append(min(self._known.values(), key=lambda each: each.seen))
            for each in gone:
                self._known.pop(each.key, None)
            self._known[sign_in.key] = sign_in
        return gone

    def find(self, key: str | None, *, active: bool = True) -> SignIn | None:
        """Return who has a cookie.

        Parameters
        ----------
        key
            What it says.
        active
            Whether the person does something, rather than a page that is open.
        """
        if key is None:
            return None
        with self._lock:
            found = self._known.get(key)
            if found is None or self._is_over(found, time.monotonic()):
                return None
            if active:
                found.seen = time.monotonic()
            return found

    def remove(self, sign_in: SignIn) -> None:
        """Let a person go."""
        with self._lock:
            self._known.pop(sign_in.key, None)

    def clear(self) -> list[SignIn]:
        """Let all go; return them."""
        with self._lock:
            gone = list(self._known.values())
            self._known.clear()
        return gone

    def _expired(self) -> Iterator[SignIn]:
        now = time.monotonic()
        return (each for each in self._known.values() if self._is_over(each, now))

    def _is_over(self, sign_in: SignIn, now: float) -> bool:
        return now - sign_in.seen > self._idle or now - sign_in.began > self._longest
