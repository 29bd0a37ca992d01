"""Accounts and sessions."""

import hmac
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

import sqlalchemy as sa

from icat_stream.sandbox.icat.database import Database
from icat_stream.sandbox.icat.errors import IcatError

if TYPE_CHECKING:
    from icat_stream.sandbox.icat.oidc import OidcSettings

Accounts = Mapping[str, Mapping[str, str]]

# Needs no password and has one user, of its own name.
ANONYMOUS = "anon"
# Asks for a token of another server.
OIDC = "oidc"


class Sessions:
    """Lets people in and knows who is in.

    Parameters
    ----------
    database
        Where sessions are kept: they outlive the server.
    accounts
        Passwords by user by authenticator.
    lifetime
        Minutes that a session lasts.
    oidc
        Of the authenticator ``oidc``.
    """

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        lifetime: float = 120,
        oidc: "OidcSettings | None" = None,
    ) -> None:
        self._database = database
        self._table = database.sessions
        self.accounts = accounts
        self.lifetime = lifetime
        self._oidc = None
        if oidc is not None:
            # Its libraries are for who has such a server.
            from icat_stream.sandbox.icat.oidc import OidcAuthenticator

            self._oidc = OidcAuthenticator(oidc)

    def login(self, plugin: str | None, credentials: Mapping[str, str]) -> str:
        """Begin a session and return its id.

        Parameters
        ----------
        plugin
            The authenticator.
        credentials
            What it asks for.
        """
        if plugin == ANONYMOUS and plugin in self.accounts:
            return self._begin(f"{ANONYMOUS}/{ANONYMOUS}")
        if plugin == OIDC and self._oidc is not None:
            return self._begin(self._oidc.user(credentials.get("token")))
        if plugin is None or plugin not in self.accounts:
            raise IcatError(
                "SESSION", f"Authenticator mnemonic {plugin} not recognised"
            )
        user = credentials.get("username")
        if not user:
            raise IcatError("SESSION", "username cannot be null or empty.")
        password = credentials.get("password")
        if not password:
            raise IcatError("SESSION", "password cannot be null or empty.")
        expected = self.accounts[plugin].get(user, "")
        same = hmac.compare_digest(expected.encode(), password.encode())
        if user not in self.accounts[plugin] or not same:
            raise IcatError("SESSION", "The username and password do not match ")
        return self._begin(f"{plugin}/{user}")

    def _begin(self, user: str) -> str:
        number = str(uuid.uuid4())
        now = time.time()
        with self._database.write() as connection:
            # Long after they expired, sessions are forgotten.
            old = self._table.c.expires < now - 86_400
            connection.execute(self._table.delete().where(old))
            connection.execute(
                self._table.insert().values(
                    id=number, user=user, expires=self._end(now)
                )
            )
        return number

    def _end(self, now: float) -> float:
        return now + self.lifetime * 60

    def user(self, session: str | None) -> str:
        """Return whose a session is.

        Parameters
        ----------
        session
            Its id.
        """
        user, expires = self._find(session)
        if expires < time.time():
            raise IcatError("SESSION", f"Session id:{session} has expired")
        return user

    def remaining(self, session: str | None) -> float:
        """Return the minutes that a session still lasts.

        Parameters
        ----------
        session
            Its id.
        """
        self.user(session)
        return (self._find(session)[1] - time.time()) / 60

    def refresh(self, session: str | None) -> None:
        """Make a session last its full time again, even an expired one.

        Parameters
        ----------
        session
            Its id.
        """
        self._find(session)
        with self._database.write() as connection:
            connection.execute(
                self._table.update()
                .where(self._table.c.id == session)
                .values(expires=self._end(time.time()))
            )

    def logout(self, session: str | None) -> None:
        """End a session.

        Parameters
        ----------
        session
            Its id.
        """
        self._find(session)
        with self._database.write() as connection:
            connection.execute(self._table.delete().where(self._table.c.id == session))

    def logged_in(self, user: str) -> bool:
        """Tell whether a user has a session, be it expired.

        Parameters
        ----------
        user
            The user's full name.
        """
        with self._database.read() as connection:
            found = (
                sa.select(self._table.c.id).where(self._table.c.user == user).limit(1)
            )
            return connection.execute(found).first() is not None

    def count(self) -> dict[str, dict[str, int]]:
        """Count sessions by user, those that are valid and those that expired."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(self._table.c.user, self._table.c.expires)
            ).all()
        found: dict[str, dict[str, int]] = {}
        for user, expires in rows:
            counts = found.setdefault(user, {"valid": 0, "expired": 0})
            counts["expired" if expires < time.time() else "valid"] += 1
        return found

    def expire_all(self) -> None:
        """Let all sessions expire now."""
        with self._database.write() as connection:
            connection.execute(self._table.update().values(expires=time.time() - 1))

    def _find(self, session: str | None) -> tuple[str, float]:
        if not session:
            raise IcatError("SESSION", "Session Id cannot be null or empty.")
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(self._table.c.user, self._table.c.expires).where(
                    self._table.c.id == session
                )
            ).first()
        if row is None:
            raise IcatError("SESSION", f"Unable to find user by sessionid: {session}")
        return row.user, row.expires
