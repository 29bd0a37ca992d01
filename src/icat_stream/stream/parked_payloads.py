"""Payloads of parked records that are not kept in memory: read again when needed."""

import logging
import threading
from typing import Any

from confluent_kafka import KafkaException

from icat_stream.config import Settings
from icat_stream.records import Record, SystemUnavailable

from .dead_letters import fetch, reader
from .in_flight import Slot
from .record_slots import record_of

_log = logging.getLogger(__name__)


class ParkedPayloads:
    """Reads single rows, one at a time, for any thread.

    Parameters
    ----------
    settings
        All of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Any = None

    def fetch(self, slot: Slot) -> Record | None:
        """Return a parked record whole; ``None`` if that does not work now."""
        at = slot.record.at
        try:
            with self._lock:
                if self._client is None:
                    self._client = reader(self._settings)
                message = fetch(self._client, at)
        except (KafkaException, SystemUnavailable) as error:
            _log.warning("%s: its payload cannot be read: %s", at, error)
            return None
        if message is None:
            _log.error("%s: its payload is not there", at)
            return None
        return record_of(message, at, slot.partition.kind)

    def close(self) -> None:
        """Let go of Kafka."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None
