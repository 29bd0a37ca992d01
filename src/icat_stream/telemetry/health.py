"""Health over HTTP: whether the loop of each consumer turns."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_STUCK_AFTER_S = 30.0


@contextmanager
def health_endpoint(
    listen: str | None, ages: Callable[[], Mapping[str, float]]
) -> Iterator[str | None]:
    """Serve ``GET /health`` as long as the block runs.

    200 and ``{"healthy": true, "loops": {name: seconds since its last turn}}``, or 503
    when a loop has not turned for 30 s.

    Parameters
    ----------
    listen
        ``host:port``; port 0 is any free one.  ``None``: no endpoint.
    ages
        Asked at each request.

    Yields
    ------
    :
        The URL, if there is one.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """
    if listen is None:
        yield None
        return
    host, _, port = listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), _handler(ages))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}/health"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(ages: Callable[[], Mapping[str, float]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # A client that says nothing must not hold a thread for ever.
        timeout = 10

        def do_GET(self) -> None:
            if self.path != "/health":
                self._answer(404, {"message": "there is /health"})
                return
            loops = {name: round(age, 3) for name, age in ages().items()}
            healthy = all(age < _STUCK_AFTER_S for age in loops.values())
            self._answer(200 if healthy else 503, {"healthy": healthy, "loops": loops})

        def log_message(self, format: str, *args: Any) -> None:
            # Asked every few seconds, for years.
            pass

        def _answer(self, status: int, body: Mapping[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler
