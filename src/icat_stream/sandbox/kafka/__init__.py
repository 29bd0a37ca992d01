"""Kafka brokers for trying and testing: a real one, and librdkafka's mock cluster.

Both listen on loopback, on free ports, and offer ``start``, ``stop`` and ``bootstrap``.
"""

from .embedded import EmbeddedBroker
from .errors import BrokerError
from .java import JavaBroker

__all__ = ["BrokerError", "EmbeddedBroker", "JavaBroker"]
