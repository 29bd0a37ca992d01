"""Kafka's own ids of topics: a topic made anew has its name, but another id."""

import logging
import threading
import time

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from icat_stream.config import KafkaSettings
from icat_stream.records import TransientFailure

from . import kafka_clients

_log = logging.getLogger(__name__)
_REQUEST_S = 10.0
# Who reads a topic once more asks about each of its records.
_KNOWN_S = 1.0
# Of a broker that has just answered; one that knows no ids does not answer at all.
_ANSWER_S = 1.0


class TopicIds:
    """Asks Kafka for the ids of topics, and remembers them; thread-safe.

    Parameters
    ----------
    settings
        Of Kafka.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._ids: dict[str, tuple[str, float]] = {}

    def __call__(self, topic: str, *, renewed: bool = False) -> str:
        """Return the id of a topic; empty where the cluster does not tell ids.

        Parameters
        ----------
        topic
            Its name.
        renewed
            Ask again, unless that was done just now.

        Raises
        ------
        TransientFailure
            Kafka did not answer.
        """
        with self._lock:
            known = self._ids.get(topic)
            now = time.monotonic()
            if known is None or (renewed and now - known[1] > _KNOWN_S):
                known = self._ids[topic] = (self._ask(topic), now)
            return known[0]

    def _ask(self, topic: str) -> str:
        if self._admin is None:
            self._admin = kafka_clients.admin(self._settings)
        try:
            self._admin.list_topics(topic, timeout=_REQUEST_S)
        except KafkaException as error:
            raise TransientFailure(
                f"Kafka does not tell the id of topic {topic}: {error.args[0].str()}"
            ) from error
        answers = self._admin.describe_topics(
            TopicCollection([topic]), request_timeout=_ANSWER_S
        )
        try:
            return str(answers[topic].result().topic_id)
        except KafkaException as error:
            # As from the embedded broker, which knows no ids.
            _log.info("no id of topic %s: %s", topic, error.args[0].str())
            return ""
