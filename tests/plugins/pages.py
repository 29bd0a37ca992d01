"""A web server that keeps documents, as the integration of docs/own-integration.md."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "p4ges-s3cret"
_PAGE = Path(__file__).parents[2] / "docs" / "own-integration.md"


def pages_module() -> str:
    """Return the module that the page shows."""
    (code,) = re.findall(
        r'```python\n("""ourfacility/pages.*?)```', _PAGE.read_text(), re.S
    )
    return str(code)


class PageServer:
    """Keeps what is put, and may be down, refuse, or be slow."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.calls: list[str] = []
        self.status = 200
        self.refused = ""
        # Set to have the next call wait before it writes.
        self.held: threading.Event | None = None
        self.arrived = threading.Event()
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(pages._status(self, ""))

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                name = self.path.strip("/")
                pages.calls.append(f"PUT {name}")
                held, pages.held = pages.held, None
                if held is not None:
                    pages.arrived.set()
                    held.wait(30)
                status = pages._status(self, json.loads(body)["name"])
                if status == 200:
                    pages.documents[name] = json.loads(body)
                self._answer(status)

            def do_DELETE(self) -> None:
                name = self.path.strip("/")
                pages.calls.append(f"DELETE {name}")
                status = pages._status(self, "")
                if status == 200:
                    status = 200 if pages.documents.pop(name, None) else 404
                self._answer(status)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _status(self, request: BaseHTTPRequestHandler, name: str) -> int:
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            return 401
        return 400 if name and name == self.refused else self.status

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
