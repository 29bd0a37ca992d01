"""Tokens by which scripts ask the dashboard: only their hashes are kept."""

import hashlib
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    insert,
    select,
    update,
)

from .storable_text import storable
from .tables import metadata

# By which one that was left somewhere is recognised.
_PREFIX = "icat-stream-"
_LISTED = 200

script_tokens = Table(
    "script_tokens",
    metadata,
    # SQLite gives numbers to its own type alone.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("acts", Boolean, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("withdrawn_at", BigInteger),
)
Index("script_tokens_sha256", script_tokens.c.sha256, unique=True)


@dataclass(frozen=True, slots=True)
class ScriptToken:
    """What is known of a token.

    Parameters
    ----------
    number
        Its own.
    name
        What it is for.
    user
        ICAT's name of who made it, for whom it asks.
    acts
        Whether it may do more than read.
    made_at, expires_at, withdrawn_at
        Milliseconds; ``None``: nobody has withdrawn it.
    """

    number: int
    name: str
    user: str
    acts: bool
    made_at: int
    expires_at: int
    withdrawn_at: int | None


class ScriptTokens:
    """All tokens; its methods raise as those of the journal.

    Parameters
    ----------
    write, read
        Begin a transaction.
    """

    def __init__(
        self,
        write: Callable[[], AbstractContextManager[Connection]],
        read: Callable[[], AbstractContextManager[Connection]],
    ) -> None:
        self._write = write
        self._read = read

    def make(self, *, name: str, user: str, acts: bool, life: float) -> tuple[int, str]:
        """Make a token; return its number and, this once, what it is.

        Parameters
        ----------
        name, user, acts
            As of :class:`ScriptToken`.
        life
            Seconds.
        """
        secret = f"{_PREFIX}{secrets.token_urlsafe(32)}"
        values = {
            "sha256": _digest(secret),
            "name": storable(name),
            "user": user,
            "acts": acts,
            "made_at": _now(),
            "expires_at": _now() + int(life * 1000),
        }
        with self._write() as connection:
            key = connection.execute(
                insert(script_tokens).values(values)
            ).inserted_primary_key
        return (0 if key is None else int(key[0])), secret

    def find(self, secret: str) -> ScriptToken | None:
        """Return the token that is good now."""
        c = script_tokens.c
        query = _known().where(
            c.sha256 == _digest(secret),
            c.withdrawn_at.is_(None),
            c.expires_at > _now(),
        )
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else ScriptToken(*row)

    def withdraw(self, number: int) -> bool:
        """Have a token be good no more; return whether it was."""
        c = script_tokens.c
        statement = (
            update(script_tokens)
            .where(c.number == number, c.withdrawn_at.is_(None), c.expires_at > _now())
            .values(withdrawn_at=_now())
        )
        with self._write() as connection:
            return connection.execute(statement).rowcount == 1

    def newest(self) -> list[ScriptToken]:
        """Return the newest tokens, those included that are good no more."""
        query = _known().order_by(script_tokens.c.number.desc()).limit(_LISTED)
        with self._read() as connection:
            return [ScriptToken(*row) for row in connection.execute(query)]


def _known() -> Any:
    c = script_tokens.c
    return select(
        c.number, c.name, c.user, c.acts, c.made_at, c.expires_at, c.withdrawn_at
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _now() -> int:
    return time.time_ns() // 1_000_000
