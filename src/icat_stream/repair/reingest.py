"""Having messages handled again that the journal knows."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from tempfile import TemporaryFile

from confluent_kafka import KafkaException

from icat_stream.config import Settings
from icat_stream.journal import Entry, Journal, JournalRow, RowKey, Search
from icat_stream.records import OutcomeKind, Record, SystemUnavailable
from icat_stream.stream import (
    Consumer,
    Fenced,
    Output,
    Sender,
    Undecided,
    fetch,
    group_of,
    prepare,
    reader,
    retry_output,
    retry_topics,
)

_log = logging.getLogger(__name__)

# A transaction has 10 s; a person who looks on wants to see it move.
_RECORDS = 500
_BYTES = 4 * 2**20
_TRIES = 5
_TIMEOUT_S = 10.0


class _NotPossible(Exception):
    """One message cannot be handled again, and why."""


def again(journal: Journal, search: Search) -> Search:
    """Return a search for the messages to handle again, each once for each group.

    Those whose last row is found: what was put right since then is left alone, and
    so is what still waits, unless it is asked for.

    Parameters
    ----------
    journal
        Tells the origin of a retry.
    search
        What a person asks for.
    """
    message = search.message
    if message is not None:
        origins = {entry.origin for entry in journal.entries.way(message)}
        if len(origins) == 1:
            (message,) = origins
    now = time.time_ns() // 1_000_000 + 1
    waiting = OutcomeKind.DEFERRED
    return replace(
        search,
        message=message,
        # What comes in while we are at it was not seen in the preview.
        until=now if search.until is None else min(search.until, now),
        outcomes=search.outcomes or [k.value for k in OutcomeKind if k is not waiting],
        last=True,
    )


class Reingest:
    """Sends messages to the groups that handled them, for once more; to be closed.

    They go where a dead letter's replay goes, with their origins.  A message that is
    sent twice, because nobody knows whether a transaction went through, is found
    ``unchanged`` the second time.

    Parameters
    ----------
    settings
        All of them.
    journal
        Knows what there was.
    consumer_of
        Returns a consumer by its name: its ordering key and its secrets matter.
    on_done
        Told how many were sent, now and then.
    on_problem
        Told of each that cannot be sent, and why.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        *,
        consumer_of: Callable[[str], Consumer],
        on_done: Callable[[int], None],
        on_problem: Callable[[Entry, str], None],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._consumer_of = consumer_of
        self._on_done = on_done
        self._on_problem = on_problem
        self._names = {group_of(settings, name): name for name in settings.consumers}
        self._partitions: dict[str, int] = {}
        self._sources = reader(settings)
        self._sender = Sender(settings, f"{settings.kafka.group_id}.reingest")

    def close(self) -> None:
        """Let go of Kafka."""
        self._sources.close()
        self._sender.close()

    def run(self, search: Search) -> None:
        """Send all that match.

        Parameters
        ----------
        search
            As :func:`again` returns it.

        Raises
        ------
        Halt
            Kafka does not allow it.
        SystemUnavailable
            Kafka or the journal does not answer, or somebody else began to do the same.
        """
        try:
            # Transactions are waited for as long as it takes, a person is not there
            # for as long.
            self._sources.list_topics(timeout=_TIMEOUT_S)
            self._sender.connect()
            for batch in self._batches(search):
                refused = self._send([output for _, output in batch])
                for index in refused:
                    entry, output = batch[index]
                    self._on_problem(
                        entry,
                        f"topic {output.topic} refuses a record of its size: raise"
                        " that topic's max.message.bytes",
                    )
                self._on_done(len(batch) - len(refused))
        except KafkaException as error:
            raise SystemUnavailable(error.args[0].str(), system="kafka") from error

    def _send(self, outputs: list[Output]) -> set[int]:
        for _ in range(_TRIES):
            try:
                return self._sender.send([[output] for output in outputs])
            except Fenced:
                raise SystemUnavailable(
                    "somebody else has begun to reingest meanwhile: stopped. Begin"
                    " again later; what is sent twice changes nothing",
                    system="kafka",
                ) from None
            except Undecided as error:
                _log.warning("sending again: %s", error)
                self._sender.connect()
        raise SystemUnavailable("no transaction goes through", system="kafka")

    def _batches(self, search: Search) -> Iterator[list[tuple[Entry, Output]]]:
        batch: list[tuple[Entry, Output]] = []
        size = 0
        # All are noted before the first is sent: the rows that come of what was sent
        # match as well.
        with TemporaryFile("w+", encoding="utf-8", prefix="icat-stream-") as notes:
            for entry in self._journal.entries.find(search):
                notes.write(json.dumps(asdict(entry)) + "\n")
            notes.seek(0)
            for entry in map(_noted, notes):
                try:
                    output = self._output(entry)
                except _NotPossible as error:
                    self._on_problem(entry, str(error))
                    continue
                batch.append((entry, output))
                size += len(output.value or b"")
                if len(batch) >= _RECORDS or size >= _BYTES:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch

    def _output(self, entry: Entry) -> Output:
        group = entry.row.at.group
        name = self._names.get(group)
        if name is None:
            raise _NotPossible(
                f"the configuration has no consumer of group {group}; what was done by"
                " hand is done again by hand"
            )
        record = self._record(entry, name)
        retry = retry_topics(self._settings, name)[0]
        if retry not in self._partitions:
            self._partitions |= prepare(self._settings, self._sources, [retry])
        output = retry_output(
            self._settings, name, self._consumer_of(name), record, self._partitions
        )
        if output is None:
            raise _NotPossible(
                "its secrets cannot be removed from it, and it may not be sent with"
                " them"
            )
        return output

    def _record(self, entry: Entry, name: str) -> Record:
        origin = entry.origin
        if origin.topic not in self._settings.consumers[name].topics:
            raise _NotPossible(f"{origin.topic} is no topic of consumers.{name}")
        kept = self._journal.entries.kept(entry)
        if kept is not None:
            return _origin_record(entry, kept.key, kept.value, kept.headers)
        message = fetch(self._sources, origin)
        if message is None:
            raise _NotPossible(
                "the journal has not kept it, and neither has Kafka (the topic's"
                " retention)"
            )
        value = message.value()
        same = message.timestamp()[1] == entry.row.origin_time
        if entry.at == origin:
            found = hashlib.sha256(value or b"").hexdigest()
            same = same and found == entry.row.sha256
        if not same:
            raise _NotPossible(
                "the journal has not kept it, and there is another record in its place"
                " by now: the topic was made anew"
            )
        headers = tuple(message.headers() or ())
        return _origin_record(entry, message.key(), value, headers)


def _noted(line: str) -> Entry:
    values = json.loads(line)
    row = values.pop("row")
    return Entry(row=JournalRow(**row | {"at": RowKey(*row["at"])}), **values)


def _origin_record(
    entry: Entry,
    key: bytes | None,
    value: bytes | None,
    headers: tuple[tuple[str, bytes | None], ...],
) -> Record:
    return Record(
        at=entry.origin,
        timestamp=entry.row.origin_time,
        key=key,
        value=value,
        headers=headers,
        origin=entry.origin,
        origin_timestamp=entry.row.origin_time,
    )
