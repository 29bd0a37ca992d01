"""Which messages came and what became of them, in OpenSearch: an index a month."""

import hashlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from icat_stream.config import Duration
from icat_stream.records import (
    Failure,
    JournalRow,
    Outcome,
    OutcomeKind,
    Rejection,
    SystemUnavailable,
    shortened,
)

from .integration import Document
from .outcome_follower import OutcomeFollower
from .search_server import (
    TIME,
    WORD,
    Action,
    Answer,
    Conflict,
    SearchServer,
    SearchServerOptions,
)
from .target_system import IntegrationContext

_log = logging.getLogger(__name__)

MAPPING: Mapping[str, Any] = {
    # A field that is not foreseen is an error, not a guess.
    "dynamic": "strict",
    "properties": {
        "facility": WORD,
        "consumer": WORD,
        "topic": WORD,
        "partition": {"type": "integer"},
        "offset": {"type": "long"},
        "published": TIME,
        "told": TIME,
        "outcome": WORD,
        "error_class": WORD,
        "reason": {"type": "text", "fields": {"word": WORD}},
        "message_type": WORD,
        "message_format": WORD,
        "size": {"type": "long"},
        "attempts": {"type": "integer"},
        "seconds": {"type": "double"},
        "trace_id": WORD,
        "program": WORD,
        "investigation": WORD,
        "investigation_id": {"type": "long"},
        "dataset": WORD,
        "dataset_id": {"type": "long"},
        "file": WORD,
        "location": WORD,
        "operation": WORD,
    },
}
_NAMES = ("investigation", "dataset", "file", "location", "operation")
_IDS = ("investigation_id", "dataset_id")
# Their messages are about data; what others have to say may quote a person.
_ABOUT_DATA = frozenset(
    "checksums datasets file_written gallery lineage operations panosc search_index"
    " statistics".split()
)
_LONGEST_ID = 512
_LONGEST_REASON = 4_000
_DROP_EVERY_S = 3600.0


class MessageLogOptions(SearchServerOptions):
    """Options of the integration ``message_log``."""

    alias: str = Field(
        "icat-messages",
        pattern=r"^[a-z][a-z0-9_.-]{0,99}$",
        description="What is searched; the indices behind it are <alias>-<year>.<month>"
        " of the messages' own times.",
    )
    keep: Duration = Field(
        365 * 86400.0,
        ge=86400,
        description="Months that ended so long ago are deleted.",
        json_schema_extra={"sample": "365d"},
    )
    reasons_of: list[str] = Field(
        default=[],
        description="Consumers of your own whose reasons are kept. Those of the"
        " built-in ones are, but not of those whose messages are about people.",
    )


class MessageLog(OutcomeFollower[MessageLogOptions]):
    """Keeps a document of each outcome: where it was, what it is about, what became.

    No payload, and no people: whoever sees the log need not know them.
    """

    Options = MessageLogOptions
    batch = 500

    def __init__(self, context: IntegrationContext) -> None:
        super().__init__(context)
        settings = context.settings
        self._prefix = f"{settings.kafka.group_id}."
        self._with_reasons = set(self.options.reasons_of) | {
            name
            for name, each in settings.consumers.items()
            if (each.handler or each.integration) in _ABOUT_DATA
        }
        self._server = SearchServer(context.name, self.options)
        self._lock = threading.Lock()
        self._ready: set[str] = set()
        self._dropped_at = float("-inf")

    def wanted(self, row: JournalRow) -> Document | Outcome:
        """Return the document of an outcome, unless its month is dropped already."""
        if _end_of_month(_moment(row.origin_time)) < self._oldest():
            reason = "its month is older than options.keep"
            return Outcome(kind=OutcomeKind.IGNORED, reason=reason)
        consumer = row.at.group.removeprefix(self._prefix)
        content: dict[str, Any] = {
            "facility": self.facility,
            "consumer": consumer,
            "topic": row.origin_topic,
            "partition": row.origin_partition,
            "offset": row.origin_offset,
            "published": _text(row.origin_time),
            "told": _text(row.written_at),
            "outcome": row.outcome,
            "error_class": row.error_class,
            "message_type": row.message_type,
            "message_format": row.message_format,
            "size": row.size,
            "attempts": row.attempts,
            "seconds": round(sum(row.steps.values()), 6),
            "trace_id": row.trace_id,
            "program": row.version,
            **{name: _names(row.objects.get(name)) for name in _NAMES},
            **{name: _number(row.objects.get(name)) for name in _IDS},
        }
        if consumer in self._with_reasons:
            content["reason"] = shortened(row.text, _LONGEST_REASON)
        content = {n: v for n, v in content.items() if v not in (None, "", [])}
        return Document(key=_key(row), content=content)

    def apply(self, documents: Sequence[Document]) -> Sequence[Outcome | Failure]:
        """Write documents, each to the index of its month."""
        self._drop()
        months: dict[str, list[int]] = {}
        for number, each in enumerate(documents):
            months.setdefault(self._index(each), []).append(number)
        found: dict[int, Outcome | Failure] = {}
        for index, numbers in months.items():
            actions = [
                Action(kind="create", id=documents[n].key, source=documents[n].content)
                for n in numbers
            ]
            try:
                self._prepare(index)
                answers = self._server.bulk(actions, index, is_alias=False)
            except SystemUnavailable:
                # Whatever happened to the index, it is looked at again.
                self._ready.discard(index)
                raise
            for number, action, answer in zip(numbers, actions, answers, strict=True):
                found[number] = self._result(action, answer, index)
        return [found[number] for number in range(len(documents))]

    def ping(self) -> None:
        """Ask for this month's index; it may not be there yet."""
        index = f"{self.options.alias}-{datetime.now(UTC):%Y.%m}"
        found = self._server.call("GET", f"/{index}", missing={})
        if not found:
            self._server.call("GET", "/")
            return
        if not _has_fields(found[index].get("mappings", {})):
            raise self._server.down(
                f"the fields of {index} are not those of this program:"
                f" {self._remedy(index)}"
            )
        self._server.require_writable(index, found[index])

    def warnings(self) -> Sequence[str]:
        """Say so if everybody may read the log."""
        if self._server.answers_strangers():
            return [
                f"{self.options.urls[0]} answers without credentials: whoever reaches"
                " it reads which messages came"
            ]
        return []

    def close(self) -> None:
        """Give connections back."""
        self._server.close()

    def _index(self, document: Document) -> str:
        published = (document.content or {})["published"]
        return f"{self.options.alias}-{published[:4]}.{published[5:7]}"

    def _prepare(self, index: str) -> None:
        """Have the index of a month, with the fields of this version."""
        with self._lock:
            if index in self._ready:
                return
            alias, server = self.options.alias, self._server
            server.put_template(alias, MAPPING, aliases={alias: {}})
            if not server.call("GET", f"/{index}", missing={}):
                server.make_index(index)
            try:
                # An earlier version may have made it, with fewer fields.
                server.call("PUT", f"/{index}/_mapping", MAPPING)
            except Rejection as failure:
                raise server.down(
                    f"{failure.reason}; {self._remedy(index)}"
                ) from failure
            self._ready.add(index)

    def _drop(self) -> None:
        """Delete the months that are too old, now and then."""
        with self._lock:
            now = time.monotonic()
            if now - self._dropped_at < _DROP_EVERY_S:
                return
            self._dropped_at = now
        try:
            held = self._server.call("GET", f"/_alias/{self.options.alias}", missing={})
            for index in held:
                if self._is_over(index):
                    self._server.call("DELETE", f"/{index}", missing={})
                    _log.info("%s: %s is deleted, for its age", self.name, index)
        except Failure as failure:
            # Of a system that is down, writing tells.
            _log.warning("%s: old months are not deleted: %s", self.name, failure)

    def _is_over(self, index: str) -> bool:
        try:
            month = datetime.strptime(
                f"{index} +0000", f"{self.options.alias}-%Y.%m %z"
            )
        except ValueError:
            # Somebody else's.
            return False
        return _end_of_month(month) < self._oldest()

    def _oldest(self) -> datetime:
        return datetime.fromtimestamp(time.time() - self.options.keep, UTC)

    def _result(self, action: Action, answer: Answer, index: str) -> Outcome | Failure:
        if isinstance(answer, Conflict):
            # Told before: by another process, or its answer was lost.
            return Outcome(kind=OutcomeKind.UNCHANGED)
        if isinstance(answer, Rejection):
            answer = self._server.refused(answer, self._remedy(index), self.ping)
        if isinstance(answer, SystemUnavailable):
            self._ready.discard(index)
        if isinstance(answer, Failure):
            return answer
        written = f"{self.name}: {action.kind} {action.id} in {index}"
        return Outcome(kind=OutcomeKind.INGESTED, written=(written,))

    def _remedy(self, index: str) -> str:
        return (
            f"delete {index}, whose outcomes are in the journal, too, or give another"
            " options.alias"
        )


def _key(row: JournalRow) -> str:
    at = row.at
    key = f"{at.group} {at.topic}[{at.partition}]@{at.offset}@{at.time}"
    if len(key.encode()) > _LONGEST_ID:
        return hashlib.sha256(key.encode()).hexdigest()
    return key


def _moment(milliseconds: int) -> datetime:
    # Kafka says -1 where it does not know.
    return datetime.fromtimestamp(max(0, milliseconds) / 1000, UTC)


def _text(milliseconds: int) -> str:
    return _moment(milliseconds).isoformat(timespec="milliseconds")


def _has_fields(mapping: Mapping[str, Any]) -> bool:
    """Return whether an index has all of ours; a later version adds some."""
    there = mapping.get("properties", {})
    return mapping.get("dynamic") == "strict" and all(
        there.get(name) == kind for name, kind in MAPPING["properties"].items()
    )


def _end_of_month(moment: datetime) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def _names(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str) and each]


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
