"""Connections to brokers: encrypted, and found dead where they are silent."""

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugins.stomp import StompBroker, eventually

from .conftest import arrived, bridged, settings_of

# Of an authority of its own, which is the server's, too.
TLS = Path(__file__).parents[1] / "ids" / "tls"


class SilentBroker:
    """Lets a client in, and is never heard of again."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.said = b""
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            while True:
                try:
                    heard = connection.recv(4096)
                except OSError:
                    return
                if not heard:
                    return
                if heard.startswith(b"CONNECT") or heard.startswith(b"STOMP"):
                    connection.sendall(
                        b"CONNECTED\nversion:1.1\nheart-beat:200,200\n\n\0"
                    )
                self.said += heard

    def end(self) -> None:
        self._listening.close()


@pytest.fixture
def encrypted_broker() -> Iterator[StompBroker]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "ca.pem", TLS / "server.key")
    broker = StompBroker(encryption=context)
    yield broker
    broker.end()


def test_an_encrypted_broker(kafka, encrypted_broker):
    bootstrap, topic = kafka
    encrypted_broker.send("secret")
    settings = settings_of(
        *kafka, encrypted_broker.address, tls=True, ca_file=TLS / "ca.pem"
    )
    with bridged(settings) as bridge:
        eventually(lambda: bridge.count == 1)
    (record,) = arrived(bootstrap, topic, 1)
    assert record.value() == b"secret"


def test_a_broker_of_an_unknown_authority(kafka, encrypted_broker, caplog):
    encrypted_broker.send("secret")
    settings = settings_of(*kafka, encrypted_broker.address, tls=True)
    with caplog.at_level(logging.WARNING), bridged(settings) as bridge:
        eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
    assert (bridge.count, encrypted_broker.left) == (0, 1)


def test_a_silent_broker_is_left(kafka, stomp_broker, caplog):
    silent = SilentBroker()
    stomp_broker.send("spoken")
    settings = settings_of(*kafka, silent.address, stomp_broker.address, heartbeat=0.2)
    try:
        with bridged(settings) as bridge:
            # A slow machine may leave the other one, too, and find it again.
            eventually(lambda: bridge.count >= 1)
        assert "heart-beat:200,200" in silent.said.decode()
        # After its frames, the bridge is heard of by line ends.
        assert b"\0\n" in silent.said
        assert f"{silent.address} has been silent" in caplog.text
    finally:
        silent.end()
