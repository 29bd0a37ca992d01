"""What the alerter does with a webhook that will not do."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from icat_stream.app.alerts import Alerts
from icat_stream.app.health_report import Problem
from icat_stream.config import AlertSettings


@pytest.mark.parametrize("hook", ["http://me:S3CRET@127.0.0.1/", "http://[::1]:1/S3 C"])
def test_an_url_that_cannot_be_called_is_not_shown(hook, caplog, tmp_path):
    (tmp_path / "hook").write_text(hook)
    settings = AlertSettings(webhook_file=tmp_path / "hook", every=0.1, hold=0)
    problem = Problem(what="disk", text="full", page="disk-full")
    alerter = Alerts(settings, "here", lambda: [problem])
    alerter.start()
    end = time.monotonic() + 60
    while "alerts" not in caplog.text and time.monotonic() < end:
        time.sleep(0.01)
    alerter.stop()
    assert "cannot be delivered to alerts.webhook: InvalidURL" in caplog.text
    assert "S3" not in caplog.text


class _Redirects(BaseHTTPRequestHandler):
    methods: ClassVar[list[str]] = []
    code = 302

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.code)

    def do_GET(self):
        self._answer(200)

    def _answer(self, code):
        self.methods.append(self.command)
        self.send_response(code)
        self.send_header("Location", "/elsewhere?S3CRET")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_delivers_nothing(code, caplog, tmp_path):
    handler = type("Handler", (_Redirects,), {"code": code, "methods": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        (tmp_path / "hook").write_text(f"http://127.0.0.1:{server.server_port}/S3CRET")
        settings = AlertSettings(webhook_file=tmp_path / "hook", every=0.1, hold=0)
        problem = Problem(what="disk", text="full", page="disk-full")
        alerter = Alerts(settings, "here", lambda: [problem])
        alerter.start()
        end = time.monotonic() + 60
        while len(handler.methods) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        alerter.stop()
        server.shutdown()
        thread.join()
    # It is tried again, and nothing else is called.
    assert set(handler.methods) == {"POST"}
    assert f"cannot be delivered to alerts.webhook: HTTP {code}" in caplog.text
    assert "S3CRET" not in caplog.text
