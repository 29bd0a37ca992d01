"""A small HTTP server on which others look at the program."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

_log = logging.getLogger(__name__)


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
    server = kind((address, int(port)), _handler(pages))
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    # A client that is slow to go must not hold up the end of the program.
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        # Mostly a client that went away before it had its answer.
        _log.debug("health: no answer to %s", client_address, exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # A client that says nothing must not hold a thread for ever.
        timeout = 10

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            if page is None:
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
