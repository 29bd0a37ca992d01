"""Forwards records until told to stop, whatever happens to either cluster."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from icat_stream.config import ConfigError, Problem, Settings
from icat_stream.records import Coordinates, SystemUnavailable

from .positions import Positions, Source
from .rules import Forwarded, Rules
from .source_topics import SourceTopics, all_there, assign, pass_end, place_of
from .transfer import Transfer

_log = logging.getLogger(__name__)

_WAITS_S = (1.0, 2.0, 5.0, 10.0, 30.0)
# Waiting does not help.
_REFUSED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    # Such as one without a key in a topic that is compacted.
    KafkaError.INVALID_RECORD,
)
_OVERTAKEN = (
    KafkaError._FENCED,  # noqa: SLF001
    KafkaError.INVALID_PRODUCER_EPOCH,
)


class Forwarder:
    """Brings what the rules choose to another cluster: once, in order by key.

    One at a time works for a name of the source cluster; a second one takes over, and
    the first one ends.

    Parameters
    ----------
    settings
        Of which it takes ``forward`` and ``kafka``.
    stopped
        Whether the end was asked for; asked all the time.

    Raises
    ------
    ConfigError
        Nothing says what goes where.
    """

    def __init__(self, settings: Settings, stopped: Callable[[], bool]) -> None:
        given = settings.forward
        self._stopped = stopped
        self._rules = Rules(given)
        if given.target is None or given.source_name is None or not self._rules.topics:
            raise ConfigError(
                [
                    Problem(
                        source="configuration",
                        field="forward",
                        expected="expected source_name, target and at least one"
                        " enabled rule",
                    )
                ]
            )
        self._name = given.source_name
        self._replication = given.target.replication_factor
        self._options = given.target.client_options()
        self._positions = Positions(self._options, given.positions, self._name)
        self._topics = SourceTopics(
            settings.kafka,
            self._rules.topics,
            from_earliest=given.start == "earliest",
        )
        self._refused: set[Coordinates] = set()
        self._vain = 0
        self.counts: Counter[str] = Counter()
        """Records that the target has, by rule."""

    def run(
        self, *, until_end: bool = False, begin: Mapping[Source, int] | None = None
    ) -> None:
        """Forward until told to stop.

        Parameters
        ----------
        until_end
            Or until the ends that the source partitions have now.
        begin
            Positions to begin at, whatever was forwarded before.

        Raises
        ------
        SystemUnavailable
            A cluster refuses us, or lacks a topic; another one has taken over; or what
            comes next is not there any more.
        """
        ends = self._topics.ends() if until_end else None
        self._positions.ensure_topic(self._replication)
        places = dict(begin or {})
        while not self._stopped():
            transfer = self._transfer()
            with closing(transfer):
                try:
                    transfer.begin(places)
                    places.clear()
                    _log.info("forward: goes on")
                    transfer.run(ends, self._forwarded)
                    return
                except KafkaException as error:
                    self._judge([*transfer.failures, error.args[0]])
                    if transfer.too_large:
                        self._leave_out(transfer.too_large)
                        continue
                    reason = error.args[0].str()
            wait = _WAITS_S[min(self._vain, len(_WAITS_S) - 1)]
            _log.warning("forward: %s; again in %g s", reason, wait)
            self._pause(wait)
            self._vain += 1

    def look(self) -> list[tuple[Coordinates, Forwarded]]:
        """Return what would be forwarded by now; write nothing anywhere."""
        found: list[tuple[Coordinates, Forwarded]] = []
        ends = self._topics.ends()
        try:
            positions = self._positions.read(self._stopped)
            with closing(self._topics.consumer()) as consumer:
                places = self._topics.places(consumer, positions, self._topics.ids())
                assign(consumer, places)
                while not self._stopped() and not all_there(places, ends):
                    for message in consumer.consume(1_000, 0.5):
                        if message.error() is not None:
                            pass_end(message, places)
                            continue
                        at = place_of(message)
                        places[Source(at.topic, at.partition)] = at.offset + 1
                        found += [(at, each) for each in self._made(message)]
        except KafkaException as error:
            raise SystemUnavailable(error.args[0].str(), system="target") from error
        return found

    def _transfer(self) -> Transfer:
        return Transfer(
            topics=self._topics,
            positions=self._positions,
            options=self._options,
            name=self._name,
            made=self._made,
            stopped=self._stopped,
        )

    def _made(self, message: Any) -> list[Forwarded]:
        """Return what becomes of a record; say what is left out."""
        at = place_of(message)
        if at in self._refused:
            return []
        found = []
        for each in self._rules.apply(
            at.topic, message.value(), message.headers() or ()
        ):
            if isinstance(each, Forwarded):
                found.append(each)
            else:
                _log.error("forward: %s: %s: left out: %s", each.rule, at, each.reason)
        return found

    def _forwarded(self, counts: Counter[str], seconds: float) -> None:
        self.counts += counts
        self._vain = 0
        rates = {rule: self._rules.rate(rule) for rule in counts}
        wanted = [counts[rule] / rate for rule, rate in rates.items() if rate]
        self._pause(max(wanted, default=0.0) - seconds)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopped() and (left := until - time.monotonic()) > 0:
            time.sleep(min(0.1, left))

    def _judge(self, errors: list[KafkaError]) -> None:
        """Raise ``SystemUnavailable`` where another try gives the same answer."""
        for each in errors:
            if each.code() in _REFUSED:
                raise SystemUnavailable(
                    f"{each.str()}: see forward.target, forward.rules and the rights"
                    " of its user",
                    system="target",
                )
            if each.code() in _OVERTAKEN:
                raise SystemUnavailable(
                    "another one has taken over, or this one was silent for too long:"
                    f" {each.str()}",
                    system="target",
                )

    def _leave_out(self, records: list[Coordinates]) -> None:
        for at in records:
            _log.error("forward: %s: left out: the target finds it too large", at)
        self._refused.update(records)
