"""Tokens for scripts: made, listed, withdrawn, and what asks by one."""

import threading
from dataclasses import asdict

from starlette.requests import Request

from icat_stream.journal import ScriptToken

from .page import Elsewhere, NotThere, Page, PageRequest, Unfit
from .sign_ins import SignIn
from .site import Site, now_ms

_DAY_S = 86_400
_LONGEST_DAYS = 365
_LONGEST_NAME = 200


class Scripts:
    """Those who ask by tokens; safe for threads.

    Whoever made a token has to be an operator still, which ICAT is not asked each time.
    """

    def __init__(self) -> None:
        self._known: dict[int, SignIn] = {}
        self._lock = threading.Lock()

    def find(self, site: Site, secret: str) -> SignIn | None:
        """Return who asks; ``None``: the token is not good (any more).

        Raises
        ------
        SystemUnavailable
            The journal, which has the tokens, does not answer.
        """
        token = site.journal.script_tokens.find(secret)
        if token is None:
            return None
        with self._lock:
            return self._known.setdefault(token.number, _sign_in(token))


def token_of(request: Request) -> str | None:
    """Return the token that a request has; ``None``: it comes without one.

    A proxy may have its own use for the header, with another scheme.
    """
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def _sign_in(token: ScriptToken) -> SignIn:
    # Nobody has been asked yet whether it is an operator's.
    return SignIn(
        token.user,
        session_id="",
        operator=False,
        checked=float("-inf"),
        token=token.name,
        acts=token.acts,
    )


def tokens(asked: PageRequest) -> Page:
    """Return all tokens, or make one."""
    _people_only(asked)
    kept = asked.site.journal.script_tokens
    if asked.request.method != "POST":
        now = now_ms()
        values = {
            "tokens": [
                {
                    **asdict(each),
                    "good": not each.withdrawn_at and each.expires_at > now,
                }
                for each in kept.newest()
            ],
            "longest_days": _LONGEST_DAYS,
        }
        return Page(
            template="tokens.html",
            title="Tokens for scripts",
            values=values,
            table="tokens",
        )
    name = asked.form.get("name", "").strip()
    days = asked.form.get("days", "")
    if not 0 < len(name) <= _LONGEST_NAME:
        raise Unfit(f"Say what it is for, in at most {_LONGEST_NAME} characters.")
    if not (days.isascii() and days.isdigit() and 0 < int(days[:5]) <= _LONGEST_DAYS):
        raise Unfit(f"A token lives for 1 to {_LONGEST_DAYS} days, not “{days[:20]}”.")
    acts = asked.form.get("acts") == "yes"
    may = "reads and acts" if acts else "only reads"
    trail = asked.site.journal.audit
    act = trail.begin(
        user=asked.sign_in.name,
        action="make token",
        subject=f"token “{name}” for {days} days; {may}",
        records=1,
        reason=name,
    )
    number, secret = kept.make(
        name=name, user=asked.sign_in.user, acts=acts, life=int(days) * _DAY_S
    )
    trail.end(act, f"token {number}")
    values = {
        "number": number,
        "name": name,
        "days": int(days),
        "acts": acts,
        "token": secret,
        "url": asked.site.public_url.rstrip("/"),
    }
    return Page(template="token_made.html", title="The token", values=values)


def withdrawal(asked: PageRequest) -> Elsewhere:
    """Have a token be good no more."""
    _people_only(asked)
    number = asked.number("number")
    if asked.request.method == "POST":
        trail = asked.site.journal.audit
        act = trail.begin(
            user=asked.sign_in.name,
            action="withdraw token",
            subject=f"token {number}",
            records=1,
            reason="it is not needed any more",
        )
        gone = asked.site.journal.script_tokens.withdraw(number)
        trail.end(act, "withdrawn" if gone else "it was good no more, or never was")
        if not gone:
            raise NotThere("There is no such token, or it is good no more.")
    return Elsewhere("/tokens")


def _people_only(asked: PageRequest) -> None:
    if asked.sign_in.token:
        raise Unfit("Tokens are made and withdrawn by people, not by scripts.")
