"""Sending records to a group once more: what a person asks for by hand."""

import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from confluent_kafka import Consumer

from icat_stream.config import Settings
from icat_stream.records import ExitCode, Record, SystemUnavailable
from icat_stream.stream import headers as h
from icat_stream.stream import kafka_clients, topics
from icat_stream.stream.consumer import Consumer as Handling
from icat_stream.stream.consumer import Secretive
from icat_stream.stream.outputs import Output, retry_partition, without_secrets
from icat_stream.stream.producer import Aborted, Lost, TooLarge, Transactor
from icat_stream.stream.record_slots import ordering_key
from icat_stream.stream.run_result import Halt

_TIMEOUT_S = 10.0
_CREATION_S = 30.0
_TRIES = 5


class Fenced(Exception):
    """Somebody else has taken our place."""


class Undecided(Exception):
    """Whether the last transaction went through has to be looked at again."""


def prepare(
    settings: Settings,
    client: Consumer,
    wanted: Collection[str],
    markers: str | None = None,
) -> Mapping[str, int]:
    """Return the partitions of all topics, those of ours that are wanted included.

    Parameters
    ----------
    settings
        All of them.
    client
        Any client of the cluster.
    wanted
        Retry topics; created if missing.
    markers
        A topic that keeps the last record of each key; created if missing.

    Raises
    ------
    Halt
        They may not be created.
    SystemUnavailable
        They are not there in time.
    """
    ours = [*wanted, *([markers] if markers else [])]
    deadline = time.monotonic() + _CREATION_S
    asked = False
    while True:
        known = client.list_topics(timeout=_TIMEOUT_S).topics
        present = {name: len(topic.partitions) for name, topic in known.items()}
        missing = [topic for topic in ours if not present.get(topic)]
        if not missing:
            return present
        if not settings.kafka.create_topics:
            raise Halt(
                ExitCode.USAGE,
                f"Kafka has no topic {', '.join(missing)}, and kafka.create_topics is"
                " off: create them (markers with cleanup.policy=compact), or turn it"
                " on",
            )
        if time.monotonic() > deadline:
            raise SystemUnavailable(
                f"Kafka did not create {', '.join(missing)} in {_CREATION_S:.0f} s",
                system="kafka",
            )
        if not asked:
            tables = [markers] if markers else []
            topics.create(settings, missing, present, list(wanted), tables)
            asked = True
        time.sleep(0.1)


def retry_output(
    settings: Settings,
    name: str,
    consumer: Handling,
    record: Record,
    partitions: Mapping[str, int],
) -> Output | None:
    """Return what lets a group handle a record once more, at once.

    It goes to the first retry topic, never to the source, which others read as well;
    with its origin, and attempts counted anew.

    Parameters
    ----------
    settings
        All of them.
    name
        Of the consumer.
    consumer
        It; asked for the ordering key, and to remove secrets.
    record
        With its value and origin.
    partitions
        By topic.

    Returns
    -------
    :
        ``None`` if the record's secrets cannot be removed.
    """
    redact = consumer.redact if isinstance(consumer, Secretive) else None
    value = without_secrets(record, redact)
    if value is None and record.value is not None:
        return None
    topic = topics.retry_topics(settings, name)[0]
    group = topics.group_of(settings, name)
    return Output(
        topic,
        record.key,
        value,
        [
            *h.foreign(record.headers),
            *h.of_origin(record, group, 0),
            *h.of_delay(h.NO_DELAY),
        ],
        retry_partition(ordering_key(consumer.key, record), partitions[topic]),
    )


class Sender:
    """Runs transactions under a name of which there is one at a time.

    Parameters
    ----------
    settings
        Of Kafka.
    transactional_id
        Whoever connects under it later fences this one.
    """

    def __init__(self, settings: Settings, transactional_id: str) -> None:
        self._transactor = Transactor(
            partial(kafka_clients.producer, settings.kafka, transactional_id),
            lambda: False,
        )

    def connect(self) -> None:
        """Take the name; what an earlier one left open is decided when it returns.

        Only what is read after that, committed, may be relied on.

        Raises
        ------
        Halt
            Kafka refuses us.
        SystemUnavailable
            It does not work.
        """
        for _ in range(_TRIES):
            try:
                self._transactor.connect()
                return
            except Lost as error:
                reason = str(error)
        raise SystemUnavailable(f"no transactions: {reason}", system="kafka")

    def close(self) -> None:
        """Let go of Kafka."""
        self._transactor.close()

    def send(self, items: Sequence[Sequence[Output]]) -> set[int]:
        """Produce items in one transaction.

        Parameters
        ----------
        items
            Outputs of each; all of an item go out, or none.

        Returns
        -------
        :
            Indices of the items that were left out, because a broker refuses one of
            their outputs for its size.

        Raises
        ------
        Fenced
            Nothing or all was done: somebody else has connected under our name.
        Undecided
            Nothing or all was done: connect again, and read what was committed.
        SystemUnavailable
            Nothing was done, again and again.
        """
        left = dict(enumerate(items))
        alone: list[Output] = []
        tries = 0
        while left:
            outputs = [output for item in left.values() for output in item]
            try:
                self._transactor.commit(outputs, (), None, alone=alone)
                break
            except TooLarge as error:
                alone = list(error.outputs)
                if len(alone) == 1:
                    left = {n: item for n, item in left.items() if alone[0] not in item}
            except Aborted as error:
                tries += 1
                if tries == _TRIES:
                    raise SystemUnavailable(
                        f"the transaction does not go through: {error}", system="kafka"
                    ) from None
                time.sleep(0.2 * tries)
            except Lost as error:
                if error.fenced:
                    raise Fenced from None
                raise Undecided(str(error)) from None
        return set(range(len(items))) - set(left)
