"""Real Kafka brokers for the tests: one for all, and one for who disturbs it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from icat_stream.sandbox.kafka import BrokerError, JavaBroker

from .sharing import shared

# What a killed broker or instance leaves behind is noticed in seconds.
_HASTE = {
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}


@dataclass(frozen=True)
class SharedBroker:
    """A broker that others use at the same time: only what is said is one's own."""

    bootstrap: str


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedBroker]:
    """A broker of Apache's jars; its `bootstrap` is what clients need."""

    @contextmanager
    def start(folder: Path) -> Iterator[str]:
        with started(folder / "broker") as broker:
            yield broker.bootstrap

    with shared(tmp_path_factory, "kafka", start) as bootstrap:
        yield SharedBroker(bootstrap)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[JavaBroker]:
    """A broker of the test's own, to be frozen and killed."""
    with started(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def topic_prefix() -> str:
    """What the names of a test's topics and groups begin with: they outlive it."""
    return f"t{uuid.uuid4().hex[:8]}"


@contextmanager
def started(folder: Path) -> Iterator[JavaBroker]:
    """Give a broker that is killed at the end."""
    broker = JavaBroker(folder, properties=_HASTE, tied=True)
    try:
        broker.start()
    except BrokerError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Kafka: {error}")
    try:
        yield broker
    finally:
        broker.kill()
