"""Logging in."""

import math
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request

from icat_stream.icat import IcatFault
from icat_stream.records import Failure, SystemUnavailable

from .accounts import Authenticator, LoginWrong
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
        ways = _offered(site)
        if request.method != "POST":
            return _page(site, ways)
        way = next((w for w in ways if w.mnemonic == form.get("authenticator")), None)
        if way is None:
            return _page(site, ways, "Choose how to log in.", 400)
        credentials = {name: form.get(name, "") for name, _ in way.keys}
        name = f"{way.mnemonic}/{credentials.get('username', '')}"[:300]
        address = request.client.host if request.client else ""
        wait = site.attempts.wait(name, address)
        if wait:
            seconds = math.ceil(wait)
            return _page(
                site,
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
                site,
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
        return _page(site, [], text, 503)


def begin_sign_on(site: Site, goal: str) -> tuple[str, str] | Page:
    """Return the provider's address, and the cookie to come back with; or a page."""
    if site.single_sign_on is None or not _sign_on(site):
        return refused(site, "There is no single sign-on here.", 404)
    try:
        return site.single_sign_on.begin(goal)
    except (LoginWrong, SystemUnavailable) as error:
        return refused(site, _why(error), 503)


def finish_sign_on(
    site: Site, cookie: str | None, answer: Mapping[str, str]
) -> tuple[SignIn, str] | Page:
    """Return who has logged in at the provider, and where to go on; or a page."""
    oidc = site.settings.web.oidc
    if site.single_sign_on is None or oidc is None:
        return refused(site, "There is no single sign-on here.", 404)
    try:
        token, goal = site.single_sign_on.finish(cookie, answer)
        return site.accounts.enter(oidc.authenticator, {"token": token}), goal
    except LoginWrong as error:
        text = str(error) or "ICAT does not know who you are at the provider."
        return refused(site, text, 403)
    except (SystemUnavailable, Failure, IcatFault) as error:
        return refused(site, _why(error), 503)


def refused(site: Site, text: str, status: int) -> Page:
    """Return the page to log in, which says why one did not."""
    try:
        ways = _offered(site)
    except (Failure, IcatFault):
        ways = []
    return _page(site, ways, text, status)


def _offered(site: Site) -> list[Authenticator]:
    """Return the ways to log in with a form.

    Whoever has a token of the provider may have it from another application: it is no
    login, unless it was made for us, which only single sign-on can tell.
    """
    return [
        way
        for way in site.accounts.authenticators()
        if [name for name, _ in way.keys] != ["token"]
    ]


def _sign_on(site: Site) -> bool:
    oidc = site.settings.web.oidc
    if oidc is None:
        return False
    try:
        known = site.accounts.authenticators()
    except (Failure, IcatFault):
        return False
    return any(way.mnemonic == oidc.authenticator for way in known)


def _why(error: Exception) -> str:
    if isinstance(error, SystemUnavailable):
        return f"Nobody can log in this way now: {error.system}: {error}"
    return str(error)


def goal(address: str) -> str:
    """Return where to go after the login: a page of this site, whatever was asked."""
    # Browsers take a backslash for a slash, and forget about tabs and line ends.
    inside = re.match(r"/(?![/\\])", address) and "\\" not in address
    if not inside or not address.isprintable():
        return "/"
    path = urlsplit(address).path
    return "/" if path == "/logout" or f"{path}/".startswith("/login/") else address


def _page(
    site: Site,
    ways: list[Authenticator],
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
        "single_sign_on": site.settings.web.oidc.title
        if site.settings.web.oidc is not None and _sign_on(site)
        else None,
        "error": text,
        "wait": wait,
        "chosen": chosen or (ways[0].mnemonic if ways else ""),
        "username": username,
    }
    return Page(template="login.html", title="Log in", values=values, status=status)
