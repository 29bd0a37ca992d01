"""Takes messages of STOMP destinations, and gives them back as acknowledgements.

Kafka's client holds at most ``bridge.prefetch`` messages: that is all that is ever in
flight, and what has to be sent again when either side goes away.
"""

import logging
import ssl
import threading
from collections.abc import Callable
from itertools import cycle
from typing import Any

import stomp
from confluent_kafka import KafkaError, KafkaException, Producer

from icat_stream.config import BridgeSettings, ConfigError, Problem, Settings
from icat_stream.records import SystemUnavailable, printable

_log = logging.getLogger(__name__)

_ANSWER_S = 10.0
_POLL_S = 0.1
_WAIT_S = 1.0
_LONGEST_WAIT_S = 30.0
# These are of the message: another try gives the same answer.
_OF_THE_MESSAGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD)
REFUSED = ".refused"
"""What is added to a destination's name for what Kafka never takes."""
_HEADERS = {"stomp-destination": "destination", "stomp-message-id": "message-id"}

Stop = Callable[[], bool]
"""Whether the end was asked for."""


class Refused(Exception):
    """The broker does not let us in."""


class Bridge:
    """Brings what a STOMP broker has to Kafka.

    Parameters
    ----------
    settings
        Of which it takes ``bridge`` and ``kafka``.
    stop
        Asked all the time.

    Raises
    ------
    ConfigError
        Nothing says what goes where.
    """

    def __init__(self, settings: Settings, stop: Stop) -> None:
        self._settings = settings.bridge
        self._kafka = settings.kafka
        self._stop = stop
        if not self._settings.brokers or not self._settings.topics:
            raise ConfigError(
                [
                    Problem(
                        source="configuration",
                        field="bridge",
                        expected="expected brokers and topics, such as brokers:"
                        " ['127.0.0.1:61613'], topics: {/queue/icatIngest: datasets}",
                    )
                ]
            )
        self.count = 0
        """Messages that Kafka has."""

    def run(self) -> None:
        """Bring messages until told to stop.

        Raises
        ------
        SystemUnavailable
            Kafka is not there at the start or lacks a topic, or the first broker that
            answers refuses the login.
        """
        producer = self._producer()
        wait = _WAIT_S
        was_let_in = False
        for broker in cycle(self._settings.brokers):
            if self._stop():
                break
            link = Link(broker, self._settings, producer, self._kept)
            try:
                link.open()
                wait, was_let_in = _WAIT_S, True
                _log.info("bridge: takes messages from %s", broker)
                while not self._stop() and link.is_open:
                    producer.poll(_POLL_S)
            except (OSError, stomp.exception.StompException, Refused) as error:
                # Brokers that are about to end refuse, too.
                if isinstance(error, Refused) and not was_let_in:
                    raise SystemUnavailable(str(error), system="stomp") from error
                _log.warning(
                    "bridge: %s is not to be had (%s); %s",
                    broker,
                    printable(str(error) or type(error).__name__),
                    "the next one is asked"
                    if len(self._settings.brokers) > 1
                    else "it is asked again",
                )
            finally:
                link.close(self._stop)
            self._pause(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _kept(self) -> None:
        self.count += 1

    def _pause(self, seconds: float) -> None:
        for _ in range(int(seconds / _POLL_S)):
            if self._stop():
                return
            threading.Event().wait(_POLL_S)

    def _producer(self) -> Producer:
        try:
            producer = Producer(
                {
                    **self._kafka.client_options(),
                    "enable.idempotence": True,
                    "queue.buffering.max.messages": self._settings.prefetch,
                    # Kafka refuses a batch as a whole: each shall be judged by itself.
                    "batch.num.messages": 1,
                    # The broker's limit counts, not the client's.
                    "message.max.bytes": 256 * 2**20,
                },
                logger=_log,
            )
            known = producer.list_topics(timeout=_ANSWER_S).topics
        except KafkaException as error:
            raise SystemUnavailable(error.args[0].str(), system="kafka") from error
        for topic in dict.fromkeys(self._settings.topics.values()):
            # Asked for by name, so that a broker may create it where it does so.
            if topic not in known:
                found = producer.list_topics(topic, timeout=_ANSWER_S).topics[topic]
                if found.error is not None:
                    raise SystemUnavailable(
                        f"topic {topic} of bridge.topics: {found.error.str()}",
                        system="kafka",
                    )
        return producer


class Link(stomp.ConnectionListener):  # type: ignore[misc]  # untyped
    """One connection to one broker, and what of it Kafka does not have yet.

    Parameters
    ----------
    broker
        Host and port.
    settings
        Of the bridge.
    producer
        To Kafka.
    kept
        Told of each message that Kafka has.
    """

    def __init__(
        self,
        broker: str,
        settings: BridgeSettings,
        producer: Producer,
        kept: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._producer = producer
        self._kept = kept
        self._refusal: str | None = None
        self._failed = threading.Event()
        host, _, port = broker.rpartition(":")
        place = (host.strip("[]"), int(port))
        beat = int(settings.heartbeat * 1000)
        self._connection = stomp.Connection11(
            [place],
            heartbeats=(beat, beat),
            reconnect_attempts_max=1,
            timeout=_ANSWER_S,
            auto_decode=False,
        )
        if settings.tls:
            self._connection.set_ssl(
                for_hosts=[place],
                ca_certs=None if settings.ca_file is None else str(settings.ca_file),
                ssl_version=ssl.PROTOCOL_TLS_CLIENT,
            )
        self._connection.set_listener("bridge", self)

    @property
    def is_open(self) -> bool:
        """Whether messages may still come, and be acknowledged."""
        return not self._failed.is_set() and bool(self._connection.is_connected())

    def open(self) -> None:
        """Log in and ask for the messages.

        Raises
        ------
        Refused
            The broker does not let us in.
        """
        try:
            self._connection.connect(
                self._settings.username, self._settings.secret(), wait=True
            )
        except stomp.exception.ConnectFailedException:
            if self._refusal is None:
                raise
            raise Refused(
                f"{self._broker} refuses {self._settings.username or 'a guest'}:"
                f" {self._refusal} (bridge.username, bridge.password_file)"
            ) from None
        for number, destination in enumerate(self._settings.topics):
            self._connection.subscribe(
                destination,
                str(number),
                ack="client-individual",
                # ActiveMQ's name of it, and RabbitMQ's.
                headers={
                    "activemq.prefetchSize": str(self._settings.prefetch),
                    "prefetch-count": str(self._settings.prefetch),
                },
            )

    def close(self, stop: Stop) -> None:
        """Wait for what Kafka is being given, and leave.

        Parameters
        ----------
        stop
            At the end, what is on its way is worth waiting for: else it comes twice.
        """
        if stop() and self.is_open:
            self._producer.flush(_ANSWER_S)
        self._failed.set()
        try:
            self._connection.disconnect()
        except (OSError, stomp.exception.StompException):
            _log.debug("bridge: %s was gone before", self._broker)

    def on_message(self, frame: Any) -> None:
        """Give a message to Kafka; wait where it has no room."""
        headers = frame.headers
        destination = headers["destination"]
        topic = self._topic(headers)
        body = frame.body
        while self.is_open:
            try:
                self._producer.produce(
                    topic,
                    key=destination.encode(),
                    value=body if isinstance(body, bytes) else body.encode(),
                    headers=[
                        (name, headers[there].encode())
                        for name, there in _HEADERS.items()
                        if there in headers
                    ],
                    on_delivery=lambda error, _: self._answer(headers, body, error),
                )
                return
            except BufferError:
                self._producer.poll(_POLL_S)
            except KafkaException as error:
                self._answer(headers, body, error.args[0])
                return

    def on_error(self, frame: Any) -> None:
        """Take down why the broker refuses something."""
        body = frame.body
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        said = frame.headers.get("message") or text or "no reason"
        self._refusal = printable(said.strip().splitlines()[0])[:200]
        _log.warning("bridge: %s says: %s", self._broker, self._refusal)
        self._failed.set()

    def on_heartbeat_timeout(self) -> None:
        """Notice that nothing is heard of the broker any more."""
        _log.warning(
            "bridge: %s has been silent for longer than bridge.heartbeat; it is left",
            self._broker,
        )
        self._failed.set()

    def on_disconnected(self) -> None:
        """Notice that the broker is gone."""
        if not self._failed.is_set():
            _log.warning("bridge: %s is gone", self._broker)
        self._failed.set()

    def _topic(self, headers: dict[str, str]) -> str:
        # A broker may show another name of the destination than was asked for.
        names = list(self._settings.topics.values())
        return names[int(headers["subscription"])]

    def _answer(
        self, headers: dict[str, str], body: bytes | str, error: KafkaError | None
    ) -> None:
        """Acknowledge a message, put one aside that Kafka never takes, or give up."""
        if not self.is_open:
            return
        message, subscription = headers["message-id"], headers["subscription"]
        try:
            if error is None:
                self._connection.ack(message, subscription)
                self._kept()
            elif error.code() in _OF_THE_MESSAGE:
                _log.error(
                    "bridge: message %s of %s is refused by Kafka (%s); it is in %s of"
                    " %s",
                    printable(message),
                    printable(headers["destination"]),
                    error.str(),
                    printable(headers["destination"] + REFUSED),
                    self._broker,
                )
                # A broker takes frames in their order: never neither, perhaps both.
                self._connection.send(
                    headers["destination"] + REFUSED,
                    body,
                    headers={"persistent": "true"},
                )
                self._connection.ack(message, subscription)
            else:
                # It comes again over the next connection.
                _log.warning("bridge: Kafka has not taken a message: %s", error.str())
                self._failed.set()
        except (OSError, stomp.exception.StompException):
            self._failed.set()
