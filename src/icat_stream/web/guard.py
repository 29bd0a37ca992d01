"""What every answer says to a browser, and which requests are not answered at all."""

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .site import Site

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src"
    " 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Stands in front of all pages.

    Parameters
    ----------
    app
        What answers.
    site
        Knows by which names it is reached.
    """

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        scheme = site.origin.partition(":")[0]
        name, _, port = site.host.rpartition(":")
        self._hosts = {site.host.lower()}
        if name in _LOOPBACK:
            self._hosts |= {f"{each}:{port}" for each in _LOOPBACK}
        self._origins = {f"{scheme}://{host}" for host in self._hosts}
        self._always = dict(_HEADERS)
        if site.secure:
            self._always["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._always.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is not None:
            status, text = refusal
            await PlainTextResponse(f"{text}\n", status)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _refusal(
        self, method: str, headers: Mapping[str, str]
    ) -> tuple[int, str] | None:
        # Another name that leads here may be an attacker's, who then reads answers.
        if headers.get("host", "").lower() not in self._hosts:
            return 421, "this dashboard is not known by that name: see web.public_url"
        if method in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins:
            return 403, "this form was sent by another site"
        site = headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none"):
            return 403, "this form was sent by another site"
        return None
