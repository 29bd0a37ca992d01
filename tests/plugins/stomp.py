"""A STOMP broker for the tests: coilmq, which gives one message at a time."""

import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import stomp
from coilmq.queue import QueueManager
from coilmq.server.socket_server import StompRequestHandler, ThreadedStompServer
from coilmq.store.memory import MemoryQueue
from coilmq.topic import TopicManager
from coilmq.util.frames import Frame

QUEUE = "/queue/icatIngest"


class Accounts:
    """Whom the broker lets in."""

    def authenticate(self, login: str, passcode: str) -> bool:
        return (login, passcode) == ("beamline", "a secret")


class Reliable(StompRequestHandler):
    """Takes ``client-individual`` for ``client``: it gives one message at a time.

    coilmq's own buffer loses what comes behind a frame that is not all there.
    """

    reliable_subscriber = property(lambda self: True, lambda self, said: None)

    def iter_frames(self) -> Iterator[Frame]:
        rest = b""
        while not self.server.shutdown_requested.is_set():
            try:
                data = self.request.recv(65536)
            except TimeoutError:
                continue
            if not data:
                break
            frames, end, rest = (rest + data).rpartition(b"\0")
            self.buffer.append(frames + end)
            yield from self.buffer


class StompBroker:
    """A broker of which every message is kept until somebody acknowledges it."""

    def __init__(
        self, authenticator: Any = None, encryption: ssl.SSLContext | None = None
    ) -> None:
        self.store = MemoryQueue()
        self._encryption = encryption
        self._authenticator = authenticator
        self.port = 0
        self.start()

    def start(self) -> None:
        self.server = ThreadedStompServer(
            ("127.0.0.1", self.port),
            queue_manager=QueueManager(store=self.store),
            topic_manager=TopicManager(),
            authenticator=self._authenticator,
            timeout=0.1,
            RequestHandlerClass=Reliable,
        )
        self.server.daemon_threads = True
        if self._encryption is not None:
            self.server.socket = self._encryption.wrap_socket(
                self.server.socket, server_side=True
            )
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self.server.shutdown_requested.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def send(self, *bodies: str, queue: str = QUEUE, **login: str) -> None:
        """Send as pyicat-plus does: STOMP 1.1, and no receipt."""
        place = ("127.0.0.1", self.port)
        connection = stomp.Connection11([place])
        if self._encryption is not None:
            connection.set_ssl([place], verify=False)
        connection.connect(wait=True, **login)
        for body in bodies:
            connection.send(queue, body, headers={"persistent": "true"})
        connection.disconnect(receipt="all")
        eventually(lambda: not connection.is_connected())

    def hold(self, *bodies: str) -> None:
        """Have messages from before, without a sender."""
        for body in bodies:
            headers = {"destination": QUEUE, "message-id": str(uuid.uuid4())}
            self.store.enqueue(QUEUE, Frame("MESSAGE", headers, body))

    @property
    def left(self) -> int:
        """How many messages nobody has acknowledged."""
        manager = self.server.queue_manager
        waiting = sum(self.store.size(name) for name in self.store.destinations())
        return waiting + len(manager._pending)


def eventually(check: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
    return found
