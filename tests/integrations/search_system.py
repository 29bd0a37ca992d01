"""The search index and the message log on a real OpenSearch, for the contract suite."""

import threading
import time
import uuid
from itertools import count
from typing import Any, ClassVar

from icat_stream.integrations.search_server import SearchServer, SearchServerOptions
from icat_stream.records import JournalRow, RowKey
from icat_stream.stream.outcome_messages import OutcomeMessage, outcome_message

from .search_proxy import LOGIN, SearchProxy


class SearchSystem:
    """The integration ``search_index``, and a server behind a proxy."""

    integration = "search_index"
    topics: ClassVar[list[str]] = ["t"]
    subject = "dataset"
    asked: ClassVar[dict[str, Any]] = {}
    settings: ClassVar[dict[str, Any]] = {}
    forgets = True
    writes_blindly = True

    def __init__(self, server: str) -> None:
        self.proxy = SearchProxy(server)
        self.alias = f"t{uuid.uuid4().hex[:8]}"
        self.options = {
            "urls": [self.proxy.url],
            "alias": self.alias,
            "username": LOGIN[0],
            "password": LOGIN[1],
            "replicas": 0,
        }
        self.wrong_options = {**self.options, "password": "something else"}
        self.secret = "something else"
        self.close = self.proxy.close
        # Past the proxy.
        self.server = SearchServer("test", SearchServerOptions(urls=[server]))

    def names(self) -> list[str]:
        return self._values("name")

    def types(self) -> list[str]:
        return self._values("type")

    @property
    def calls(self) -> int:
        return len(self.proxy.writes)

    def hold(self) -> threading.Event:
        self.proxy.held = threading.Event()
        return self.proxy.held

    def wait_for_call(self) -> None:
        assert self.proxy.arrived.wait(30)

    def take_down(self, down: bool) -> None:
        self.proxy.answer = (503, "Service Unavailable") if down else None

    def refuse(self, name: str) -> None:
        self.proxy.spoiled = name

    def _values(self, field: str) -> list[str]:
        self.server.call("POST", f"/{self.alias}/_refresh", missing={})
        found = self.server.call("GET", f"/{self.alias}/_search", missing={})
        hits = found.get("hits", {}).get("hits", [])
        return sorted(hit["_source"][field] for hit in hits)


class MessageLogSystem(SearchSystem):
    """The integration ``message_log``, behind the same proxy."""

    integration = "message_log"
    topics: ClassVar[list[str]] = ["icat-stream.outcomes"]
    subject = "outcome"

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self.told: list[JournalRow] = []

    def tell(self, name: str) -> int:
        """Have a dataset of that name ingested; return the number of the outcome."""
        self.told.append(told(objects={"dataset": name}))
        return len(self.told) - 1

    def record(self, number: int, **changes: Any) -> OutcomeMessage:
        """Return what tells an outcome."""
        return outcome_message(self.told[number])

    def names(self) -> list[str]:
        return sorted(name for (name,) in self._values("dataset"))


_OFFSETS = count(1)


def told(**changes: Any) -> JournalRow:
    """Return what became of a record of just now."""
    offset = next(_OFFSETS)
    now = time.time_ns() // 1_000_000
    topic, time_ = changes.pop("topic", "files"), changes.pop("time", now)
    group = changes.pop("group", "icat-stream.file_written")
    values: dict[str, Any] = {
        "at": RowKey(group, topic, 0, offset, time_),
        "origin_topic": topic,
        "origin_partition": 0,
        "origin_offset": offset,
        "origin_time": time_,
        "outcome": "ingested",
        "size": 7,
        "sha256": "",
        "version": "1.0",
    }
    return JournalRow(**values | changes)
