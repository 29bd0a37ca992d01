"""The dashboard as a process."""

import ipaddress
import json
import logging
import os
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from icat_stream.config import (
    ConfigError,
    Problem,
    Settings,
    WebSettings,
    is_loopback,
)
from icat_stream.telemetry import configure_logging

from .application import application
from .site import Site

_log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Tells where it listens, once it does."""

    def __init__(self, config: uvicorn.Config, url: str, ready: Path | None) -> None:
        super().__init__(config)
        self._where = url
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _log.info("the dashboard is at %s", self._where)
        if self._ready is not None:
            text = json.dumps({"url": self._where, "pid": os.getpid()})
            new = self._ready.with_name(self._ready.name + ".new")
            new.write_text(text, encoding="utf-8")
            new.replace(self._ready)


def serve(
    settings: Settings, *, listen: str | None = None, ready: Path | None = None
) -> None:
    """Run the dashboard until SIGINT or SIGTERM.

    Parameters
    ----------
    settings
        All of them.
    listen
        Instead of ``web.listen``; a port of 0 is a free one.
    ready
        Written once pages are answered: ``{"url", "pid"}``.

    Raises
    ------
    ConfigError
        It would be unsafe, or cannot run, as configured.
    """
    telemetry = settings.telemetry
    configure_logging(telemetry.log_level, telemetry.log_file)
    web = settings.web
    address = listen or web.listen
    _check(web, address)
    listener = _listener(address)
    host, port = listener.getsockname()[:2]
    scheme = "http" if web.tls is None else "https"
    shown = f"[{host}]" if ":" in host else host
    here = f"{scheme}://{shown}:{port}"
    site = Site(settings, (web.public_url or here).rstrip("/"))
    config = uvicorn.Config(
        application(site),
        ssl_certfile=None if web.tls is None else web.tls.certificate,
        ssl_keyfile=None if web.tls is None else web.tls.key,
        access_log=False,
        log_config=None,
        lifespan="off",
        server_header=False,
        # Only those who are named may say who somebody is.
        proxy_headers=bool(web.trusted_proxies),
        forwarded_allow_ips=web.trusted_proxies,
        timeout_graceful_shutdown=5,
    )
    try:
        config.load()
    except OSError as error:
        raise _wrong(
            "web.tls", f"a certificate and its key that can be used: {error}"
        ) from None
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal again when it is done, which would end the process
        # with it instead of in order.
        signal.signal(number, lambda *_: None)
    try:
        _Server(config, site.public_url, ready).run([listener])
    finally:
        listener.close()
        site.close()


def _check(web: WebSettings, address: str) -> None:
    """Refuse to carry passwords in the clear."""
    host = address.rpartition(":")[0].strip("[]")
    inside = is_loopback(host)
    secure = web.public_url is not None and urlsplit(web.public_url).scheme == "https"
    if not inside and web.tls is None and not (web.trusted_proxies and secure):
        raise _wrong(
            "web.listen",
            "an address of loopback, such as 127.0.0.1:8082; or web.tls; or"
            " web.trusted_proxies with a web.public_url of https: passwords would go"
            " over the network in the clear",
            address,
        )
    for each in web.trusted_proxies:
        try:
            ipaddress.ip_address(each)
        except ValueError:
            raise _wrong("web.trusted_proxies", "IP addresses", each) from None


def _listener(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends answers at once (TCP_NODELAY).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
    except (OSError, OverflowError, ValueError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise _wrong(
            "web.listen", f"host:port to listen at: {reason}", address
        ) from None
    return listener


def _wrong(field: str, expected: str, found: str | None = None) -> ConfigError:
    problem = Problem(
        source="the configuration",
        field=field,
        expected=f"expected {expected}",
        found=found,
    )
    return ConfigError([problem])
