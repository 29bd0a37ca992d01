"""A proxy before OpenSearch, as who guards one has it: with a login, and with moods."""

import base64
import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOGIN = ("indexer", "s3arch-s3cret")


class SearchProxy:
    """Passes requests on to a server, counts those that write, and may disturb them."""

    def __init__(self, server: str) -> None:
        self.writes: list[str] = []
        # Answered instead of asking the server: status and error.
        self.answer: tuple[int, Any] | None = None
        # Documents of this name get a value that their field cannot have.
        self.spoiled = ""
        self.lose_answers = 0
        self.held: threading.Event | None = None
        self.arrived = threading.Event()
        self.guarded = True
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                status, answer = proxy._passed(self, server, body)
                if status == 0:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _pass

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

    def _passed(
        self, request: BaseHTTPRequestHandler, server: str, body: bytes
    ) -> tuple[int, bytes]:
        token = base64.b64encode(":".join(LOGIN).encode()).decode()
        if self.guarded and request.headers["Authorization"] != f"Basic {token}":
            return 401, b"Unauthorized"
        is_write = "_bulk" in request.path
        if is_write:
            self.writes.append(request.path)
            held, self.held = self.held, None
            if held is not None:
                self.arrived.set()
                held.wait(30)
        if self.answer is not None:
            status, error = self.answer
            return status, json.dumps({"error": error, "status": status}).encode()
        if is_write and self.spoiled:
            body = self._spoil(body)
        found = urllib.request.Request(
            server + request.path,
            data=body or None,
            method=request.command,
            headers={"Content-Type": request.headers["Content-Type"] or "text/plain"},
        )
        try:
            with urllib.request.urlopen(found, timeout=60) as answer:
                text = answer.read()
                status = answer.status
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        if is_write and self.lose_answers:
            self.lose_answers -= 1
            return 0, b""
        return status, text

    def _spoil(self, body: bytes) -> bytes:
        lines = []
        for line in body.splitlines():
            value = json.loads(line)
            if value.get("name") == self.spoiled:
                value["start"] = "no time"
            if self.spoiled in value.get("dataset", ()):
                value["published"] = "no time"
            lines.append(json.dumps(value))
        return "".join(f"{line}\n" for line in lines).encode()
