"""A small HTTP server on which others look at the program."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, NamedTuple

_log = logging.getLogger(__name__)
# Each has a thread and an open file of the program that is looked at.
_CONNECTIONS = 64
# For a request and its answer, however slowly its caller speaks.
_SECONDS = 30.0


class Page(NamedTuple):
    """An answer: HTTP status, type and content."""

    status: int
    content_type: str
    content: bytes


Pages = Mapping[str, Callable[[], Page]]


@contextmanager
def health_endpoint(listen: str | None, pages: Pages) -> Iterator[str | None]:
    """Answer GET as long as the block runs.

    Parameters
    ----------
    listen
        ``host:port`` or ``[address]:port``; port 0 is any free one.  ``None``: no
        endpoint.
    pages
        By path; asked at each request, in any thread.

    Yields
    ------
    :
        The base URL, if there is one.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """
    if listen is None:
        yield None
        return
    host, _, port = listen.rpartition(":")
    address = host.removeprefix("[").removesuffix("]")
    kind = _Server6 if ":" in address else _Server
    server = kind((address, int(port)), _handler(pages, host))
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def is_foreign(host: str | None, address: str, listen: str = "localhost") -> bool:
    """Return whether a page of somebody else's asks, in a browser on this machine.

    A browser lets a page read what its own name leads to, and whose name it is says
    where it leads to: here, if he likes.  Monitoring asks for ``localhost``, for an
    address, or for this machine's name.

    Parameters
    ----------
    host
        The ``Host`` that is asked for.
    address
        Of this side of the connection: only who asks over loopback is looked at.
    listen
        A name that is ours, too.
    """
    if host is None or not _is_loopback(address):
        return False
    name = host.rpartition(":")[0] if host[-1:].isdigit() else host
    name = (name or host).removeprefix("[").removesuffix("]").lower()
    ours = ("localhost", listen.lower())
    return name not in ours and not _is_address(name) and name not in _own_names()


@cache
def _own_names() -> frozenset[str]:
    # Asked for when somebody uses a name: a name server may take its time.
    return frozenset(n.lower() for n in (socket.gethostname(), socket.getfqdn()))


def _is_loopback(address: str) -> bool:
    return _is_address(address) and ip_address(address).is_loopback


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class _Server(ThreadingHTTPServer):
    # A client that is slow to go must not hold up the end of the program.
    daemon_threads = True
    block_on_close = False
    request_queue_size = _CONNECTIONS

    def __init__(self, *arguments: Any) -> None:
        # Since when; the oldest is the first.
        self._open: dict[socket.socket, float] = {}
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= _CONNECTIONS:
            # Who asks for a page is done in milliseconds: it is none of those.
            self._break_off(next(iter(self._open)))
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        # Called every half second.
        begun = time.monotonic() - _SECONDS
        for request, since in list(self._open.items()):
            if since < begun:
                self._break_off(request)

    def _break_off(self, request: socket.socket) -> None:
        self._open.pop(request, None)
        with suppress(OSError):
            # Its thread finds the end of it.
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        # Mostly a client that went away before it had its answer.
        _log.debug("health: no answer to %s", client_address, exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


def _handler(pages: Pages, host: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # A client that says nothing must not hold a thread for ever.
        timeout = 10

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            here = self.connection.getsockname()[0]
            if is_foreign(self.headers["Host"], here, host):
                self._answer(Page(403, "text/plain", b"ask for localhost\n"))
            elif page is None:
                there = ", ".join(pages)
                self._answer(Page(404, "text/plain", f"there is {there}\n".encode()))
            else:
                self._answer(page())

        def log_message(self, format: str, *args: Any) -> None:
            # Asked every few seconds, for years.
            pass

        def _answer(self, page: Page) -> None:
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.content)))
            self.end_headers()
            self.wfile.write(page.content)

    return Handler
