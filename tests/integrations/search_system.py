"""The search index on a real OpenSearch, for the contract suite."""

import threading
import uuid
from typing import Any, ClassVar

from icat_stream.integrations.search_server import SearchServer, SearchServerOptions

from .search_proxy import LOGIN, SearchProxy


class SearchSystem:
    """The integration ``search_index``, and a server behind a proxy."""

    integration = "search_index"
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
