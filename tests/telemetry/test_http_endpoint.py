import socket
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest

from icat_stream.telemetry import Page, health_endpoint, http_endpoint, is_foreign

PAGES = {"/health": lambda: Page(200, "text/plain", b"well")}


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def test_many_who_say_nothing_keep_nobody_away():
    with health_endpoint("127.0.0.1:0", PAGES) as url, ExitStack() as stack:
        silent = [stack.enter_context(connect(url)) for _ in range(200)]
        with urllib.request.urlopen(f"{url}/health") as answer:
            assert answer.read() == b"well"
        # The oldest had to go.
        for connection in silent[:100]:
            assert connection.recv(1) == b""


def test_who_speaks_slowly_goes_in_the_end(monkeypatch):
    monkeypatch.setattr(http_endpoint, "_SECONDS", 0.5)
    with health_endpoint("127.0.0.1:0", PAGES) as url, connect(url) as slow:
        with suppress(ConnectionError):
            while True:
                slow.sendall(b"G")
                time.sleep(0.1)
        with urllib.request.urlopen(f"{url}/health") as answer:
            assert answer.read() == b"well"


@pytest.mark.parametrize(
    ("host", "address", "foreign"),
    [
        ("evil.example", "127.0.0.1", True),
        ("evil.example:8081", "127.0.0.1", True),
        ("localhost.evil.example:8081", "::1", True),
        ("127.0.0.1.evil.example", "127.0.0.1", True),
        ("", "127.0.0.1", True),
        ("localhost", "127.0.0.1", False),
        ("LOCALHOST:8081", "::1", False),
        ("127.0.0.1:8081", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("[::1]:8081", "::1", False),
        ("[::1]", "::1", False),
        (socket.gethostname(), "127.0.1.1", False),
        (f"{socket.getfqdn()}:8081", "127.0.1.1", False),
        (None, "127.0.0.1", False),
        # Who comes over the network may, whatever it calls this machine.
        ("icat.example.org:8081", "192.0.2.1", False),
    ],
)
def test_a_name_that_leads_here_is_foreign(host, address, foreign):
    assert is_foreign(host, address) is foreign


def test_the_name_that_it_listens_on_is_its_own():
    assert not is_foreign("monitor:8081", "127.0.0.1", "monitor")


def test_a_page_of_somebody_elses_does_not_see_how_it_is():
    with health_endpoint("127.0.0.1:0", PAGES) as url:
        headers = {"Host": "evil.example"}
        request = urllib.request.Request(f"{url}/health", headers=headers)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)
