"""A STOMP broker, and what arrives in Kafka."""

import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import stomp
from coilmq.queue import QueueManager
from coilmq.server.socket_server import StompRequestHandler, ThreadedStompServer
from coilmq.store.memory import MemoryQueue
from coilmq.topic import TopicManager
from coilmq.util.frames import Frame
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from icat_stream.bridge import Bridge
from icat_stream.config import Settings

QUEUE = "/queue/icatIngest"


class Accounts:
    """Whom the broker lets in."""

    def authenticate(self, login: str, passcode: str) -> bool:
        return (login, passcode) == ("beamline", "a secret")


class Reliable(StompRequestHandler):
    """Takes ``client-individual`` for ``client``: it gives one message at a time."""

    reliable_subscriber = property(lambda self: True, lambda self, said: None)


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
        """Have messages from before: coilmq loses some of those sent in a row."""
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


def make_topic(kafka: str, name: str, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, 1, 1, config=config)])[name].result(30)


@pytest.fixture
def kafka(kafka_broker: Any, topic_prefix: str) -> tuple[str, str]:
    """Its address, and a topic of the test's own."""
    topic = f"{topic_prefix}.datasets"
    make_topic(kafka_broker.bootstrap, topic, **{"max.message.bytes": "5000"})
    return kafka_broker.bootstrap, topic


@pytest.fixture
def stomp_broker() -> Iterator[StompBroker]:
    broker = StompBroker()
    yield broker
    broker.end()


def settings_of(kafka: str, topic: str, *brokers: str, **more: Any) -> Settings:
    return Settings(
        facility="EXAMPLE",
        kafka={"bootstrap_servers": kafka},
        consumers={"a": {"handler": "datasets", "topics": [topic]}},
        bridge={"brokers": list(brokers), "topics": {QUEUE: topic}, **more},
    )


@contextmanager
def bridged(settings: Settings) -> Iterator[Bridge]:
    """Run a bridge in a thread."""
    stop = threading.Event()
    bridge = Bridge(settings, stop.is_set)
    thread = threading.Thread(target=bridge.run)
    thread.start()
    try:
        yield bridge
    finally:
        stop.set()
        thread.join()


def arrived(kafka: str, topic: str, count: int) -> list[Any]:
    """Return the records of a topic, once there are so many."""
    consumer = Consumer(
        {"bootstrap.servers": kafka, "group.id": "none", "enable.auto.commit": False}
    )
    try:
        known = consumer.list_topics(topic, timeout=30).topics[topic]
        consumer.assign([TopicPartition(topic, n, 0) for n in known.partitions])
        found: list[Any] = []
        end = time.monotonic() + 120
        while len(found) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} records"
            found += [m for m in consumer.consume(100, 0.2) if m.error() is None]
        # Some may be there twice.
        while more := consumer.consume(100, 1):
            found += [m for m in more if m.error() is None]
        return found
    finally:
        consumer.close()
