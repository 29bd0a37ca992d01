"""A real Kafka broker for the tests, one a session."""

import os
import uuid
from collections.abc import Iterator

import pytest

from icat_stream.sandbox.kafka import BrokerError, JavaBroker

# What a killed broker or instance leaves behind is noticed in seconds.
_HASTE = {
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JavaBroker]:
    """A broker of Apache's jars; its `bootstrap` is what clients need."""
    broker = JavaBroker(tmp_path_factory.mktemp("kafka"), properties=_HASTE, tied=True)
    try:
        broker.start()
    except BrokerError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Kafka: {error}")
    yield broker
    broker.kill()


@pytest.fixture
def topic_prefix() -> str:
    """What the names of a test's topics and groups begin with: they outlive it."""
    return f"t{uuid.uuid4().hex[:8]}"
