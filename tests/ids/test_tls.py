"""Servers whose certificates an authority of the facility's own has signed."""

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from icat_stream.icat.connection import Connection as IcatConnection
from icat_stream.ids.connection import Connection as IdsConnection
from icat_stream.records import SystemUnavailable

TLS = Path(__file__).parent / "tls"
CA = TLS / "ca.pem"


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CA, TLS / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def ask_icat(url: str, ca_file: Path | None) -> bytes:
    return IcatConnection(url, 5.0, ca_file).request("GET", "/").body


def ask_ids(url: str, ca_file: Path | None) -> bytes:
    return IdsConnection(url, 5.0, ca_file).get("ping").body


@pytest.mark.enable_socket
@pytest.mark.parametrize("ask", [ask_icat, ask_ids])
def test_only_a_trusted_authority_is_believed(
    url: str, tmp_path: Path, ask: Callable[[str, Path | None], bytes]
) -> None:
    assert ask(url, CA) == b"hello"
    with pytest.raises(SystemUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        ask(url, None)
    for other in (tmp_path / "missing.pem", TLS / "server.key"):
        with pytest.raises(SystemUnavailable, match=f"{other}: cannot be read as cert"):
            ask(url, other)
