"""A STOMP broker, and what arrives in Kafka."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from icat_stream.bridge import Bridge
from icat_stream.config import Settings
from plugins.stomp import QUEUE, StompBroker


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
