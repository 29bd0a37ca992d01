"""Logging in."""

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from icat_stream.icat import IcatFault
from icat_stream.records import Failure

from .accounts import LoginWrong
from .page import Page
from .sign_ins import SignIn
from .site import Site


def login(site: Site, request: Request, form: Mapping[str, str]) -> Page | SignIn:
    """Return who logged in, or the page to do so.

    Parameters
    ----------
    site, request
        As of any page.
    form
        Empty at first: ``authenticator``, and what that asks for.
    """
    try:
        ways = site.accounts.authenticators()
        if request.method != "POST":
            return _page(ways)
        way = next((w for w in ways if w.mnemonic == form.get("authenticator")), None)
        if way is None:
            return _page(ways, "Choose how to log in.", 400)
        credentials = {name: form.get(name, "") for name, _ in way.keys}
        name = f"{way.mnemonic}/{credentials.get('username', '')}"[:300]
        address = request.client.host if request.client else ""
        wait = site.attempts.wait(name, address)
        if wait:
            seconds = math.ceil(wait)
            return _page(
                ways,
                f"There were too many failed logins. Try again in {seconds} s.",
                429,
                wait=seconds,
                chosen=way.mnemonic,
            )
        try:
            found = site.accounts.enter(way.mnemonic, credentials)
        except LoginWrong:
            site.attempts.failed(name, address)
            return _page(
                ways,
                "ICAT does not know this name with this password.",
                403,
                chosen=way.mnemonic,
                username=credentials.get("username", "")[:100],
            )
        site.attempts.succeeded(name)
        return found
    except (Failure, IcatFault) as error:
        text = f"Nobody can log in now, because ICAT does not answer: {error}"
        return _page([], text, 503)


def goal(address: str) -> str:
    """Return where to go after the login: a page of this site, whatever was asked."""
    # Browsers take a backslash for a slash, and forget about tabs and line ends.
    inside = re.match(r"/(?![/\\])", address) and "\\" not in address
    if not inside or not address.isprintable():
        return "/"
    return "/" if urlsplit(address).path in ("/login", "/logout") else address


def _page(
    ways: list[Any],
    text: str = "",
    status: int = 200,
    *,
    wait: int = 0,
    chosen: str = "",
    username: str = "",
) -> Page:
    values = {
        "authenticators": [
            {
                "mnemonic": way.mnemonic,
                "title": way.title,
                "asks": [{"name": name, "hide": hide} for name, hide in way.keys],
            }
            for way in ways
        ],
        "error": text,
        "wait": wait,
        "chosen": chosen or (ways[0].mnemonic if ways else ""),
        "username": username,
    }
    return Page(template="login.html", title="Log in", values=values, status=status)
