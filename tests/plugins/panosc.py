"""A stand-in of the PaNOSC scoring service, with its traps.

What has a slash in its id cannot be updated; an update that changes nothing fails; a
computation of nothing dies, and none can be started after it.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class ScoringServer:
    """Keeps items, and may be down, refuse, or lose its answers."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.status = 200
        self.login: str | None = None
        self.refused = ""
        self.lost_answers = 0
        self.computing: dict[str, Any] | None = None
        self.computations = 0
        # Whether one that was started is over at once.
        self.quick = True
        self.held: threading.Event | None = None
        self.arrived = threading.Event()
        self.lock = threading.RLock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._do()

            def do_POST(self) -> None:
                self._do()

            def do_PUT(self) -> None:
                self._do()

            def do_DELETE(self) -> None:
                self._do()

            def _do(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                text = self.rfile.read(size)
                path = unquote(urlsplit(self.path).path)
                fake.calls.append(f"{self.command} {path}")
                if fake.login and self.headers["Authorization"] != fake.login:
                    self._say(401, {"detail": "Not authenticated"})
                    return
                if fake.status != 200:
                    self._say(fake.status, {"detail": "busy"})
                    return
                if self.command == "POST" and path == "/items/":
                    held, fake.held = fake.held, None
                    if held is not None:
                        fake.arrived.set()
                        held.wait(30)
                kind = self.headers.get("Content-Type", "application/json")
                if kind != "application/json":
                    self._say(422, {"detail": "no JSON"})
                    return
                with fake.lock:
                    body = json.loads(text) if text else None
                    status, answer = fake.answer(self.command, path, body)
                    lost = self.command != "GET" and fake.lost_answers > 0
                    fake.lost_answers -= lost
                if lost:
                    self.close_connection = True
                    self.connection.close()
                    return
                self._say(status, answer)

            def _say(self, status: int, answer: Any) -> None:
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def writes(self) -> list[str]:
        return [c for c in self.calls if c.split()[0] in ("POST", "PUT")]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/items":
            return 307, None
        if path == "/items/count":
            return 200, {"count": len(self.items)}
        if path == "/compute":
            return self._compute(method)
        if method == "POST" and path == "/items/":
            return self._post(body if isinstance(body, list) else [body])
        if not path.startswith("/items/"):
            return 404, {"detail": "Not Found"}
        name = path.removeprefix("/items/")
        if method == "GET":
            return (200, self.items[name]) if name in self.items else (404, None)
        if method == "DELETE":
            gone = self.items.pop(name, None) is not None
            return 200, {"successful": gone, "items_deleted": int(gone)}
        if "/" in name:
            return 405, {"detail": "Method Not Allowed"}
        if not isinstance(body, dict) or not {"group", "fields"} <= set(body):
            return 422, {"detail": "field required"}
        new = {"id": name, **body}
        changed = name in self.items and self.items[name] != new
        if changed:
            self.items[name] = new
        return 200, {"successful": changed, "items_updated": int(changed)}

    def _post(self, items: list[Any]) -> tuple[int, Any]:
        made = []
        for item in items:
            if not isinstance(item, dict) or set(item) != {"id", "group", "fields"}:
                return 422, {"detail": "field required"}
            if self.refused and item["fields"].get("title") == self.refused:
                return 422, {"detail": "refused"}
            if item["id"] in self.items:
                return 400, {"detail": "pymongo DuplicateKeyError: E11000"}
            self.items[item["id"]] = item
            made.append(item["id"])
        return 201, {"success": True, "items_created": len(made), "items_ids": made}

    def _compute(self, method: str) -> tuple[int, Any]:
        if method == "GET":
            if self.computing is None:
                return 404, {"inProgress": False}
            return 200, self.computing
        if self.computing is not None and self.computing["inProgress"]:
            return 409, self.computing
        self.computations += 1
        started = f"2026-01-01T00:00:{self.computations:02}"
        # Of nothing it dies in the background.
        goes_on = not self.items or not self.quick
        self.computing = {"started": started, "inProgress": goes_on}
        return 200, {"started": started, "inProgress": True}
