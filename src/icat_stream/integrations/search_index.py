"""Documents of datasets and investigations in OpenSearch, to be searched."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from icat_stream.messages import EventMessage
from icat_stream.records import (
    DatasetDetails,
    Failure,
    InvestigationDetails,
    Lookups,
    Outcome,
    OutcomeKind,
    Rejection,
)

from .integration import Document, Integration
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

Kind = Literal["dataset", "investigation"]
_TEXT = {"type": "text", "fields": {"word": WORD}}
MAPPING: Mapping[str, Any] = {
    # A field that is not foreseen is an error, not a guess.
    "dynamic": "strict",
    "properties": {
        "kind": WORD,
        "id": {"type": "long"},
        "facility": WORD,
        "investigation": {
            "properties": {"name": _TEXT, "visit_id": WORD},
        },
        "name": _TEXT,
        "type": WORD,
        "title": _TEXT,
        "description": _TEXT,
        "location": WORD,
        "doi": WORD,
        "start": TIME,
        "end": TIME,
        "released": TIME,
        "complete": {"type": "boolean"},
        "instruments": _TEXT,
        "techniques": _TEXT,
        "samples": _TEXT,
        "keywords": _TEXT,
        # One field for each name would be thousands, and of several types.
        "parameters": {
            "type": "nested",
            "properties": {
                "name": WORD,
                "units": WORD,
                "number": {"type": "double"},
                "text": _TEXT,
                "time": TIME,
            },
        },
    },
}
_SEARCHED = (
    *("name^3", "title^3", "investigation.name^3", "samples^2", "keywords^2"),
    *("description", "instruments", "techniques", "type", "doi", "location"),
    *("investigation.visit_id",),
)


class SearchIndexOptions(SearchServerOptions):
    """Options of the integration ``search_index``."""

    alias: str = Field(
        "icat-catalogue",
        pattern=r"^[a-z][a-z0-9_.-]{0,99}$",
        description="What is searched; the index behind it is <alias>-<number>.",
    )


class SearchIndex(Integration[SearchIndexOptions]):
    """Keeps a document of each dataset and each investigation.

    It writes to the alias.  The index behind it is made when there is none, and made
    anew, while it is in use, by :class:`~.index_rebuild.IndexRebuild`.
    """

    Options = SearchIndexOptions
    follows = frozenset({"dataset", "investigation"})
    batch = 500

    def __init__(self, context: IntegrationContext) -> None:
        super().__init__(context)
        self._server = SearchServer(context.name, self.options)
        self._lock = threading.Lock()
        self._is_there = False

    def key(self, event: EventMessage) -> str:
        """Return the id of the document."""
        number = event.dataset_id
        if event.kind == "investigation":
            number = event.investigation_id
        return f"{event.kind}-{number}"

    def wanted(
        self, events: Sequence[EventMessage], lookups: Lookups
    ) -> Sequence[Document | Outcome | Failure]:
        """Return what the catalogue says of them; what it does not have goes."""
        ids: dict[str, list[int]] = {"dataset": [], "investigation": []}
        for event in events:
            ids[event.kind].append(_id(event))
        datasets = lookups.dataset_details(ids["dataset"])
        found = lookups.investigation_details(ids=ids["investigation"])
        investigations = {each.id: each for each in found}
        return [
            self._wanted(event, datasets, investigations.get(_id(event)))
            for event in events
        ]

    def apply(self, documents: Sequence[Document]) -> Sequence[Outcome | Failure]:
        """Write documents to the alias."""
        self._make_index()
        return self.write(documents)

    def write(
        self, documents: Sequence[Document], index: str | None = None
    ) -> Sequence[Outcome | Failure]:
        """Write documents.

        Parameters
        ----------
        documents
            With versions: an older one never overwrites a newer one.
        index
            Where to; ``None``: to the one in use.
        """
        actions = [
            Action(
                kind="delete" if each.content is None else "index",
                id=each.key,
                version=each.version,
                source=each.content,
            )
            for each in documents
        ]
        name = index or self.options.alias
        answers = self._server.bulk(actions, name, is_alias=index is None)
        return [
            self._result(action, answer, name)
            for action, answer in zip(actions, answers, strict=True)
        ]

    def ping(self) -> None:
        """Ask for the index; it may not be there yet, but not be another's."""
        alias = self.options.alias
        found = self._server.call("GET", f"/{alias}", missing={})
        if not found:
            self._server.call("GET", "/")
            return
        self._require_ours(found)

    def warnings(self) -> Sequence[str]:
        """Say so if everybody may read the index: not all of it is public."""
        if self._server.answers_strangers():
            return [
                f"{self.options.urls[0]} answers without credentials: whoever reaches"
                " it reads what is under embargo, too"
            ]
        return []

    def search(
        self, query: str, kind: Kind | None = None, most: int = 20
    ) -> tuple[int, list[dict[str, Any]]]:
        """Return how many documents there are for a query, and the best of them.

        Parameters
        ----------
        query
            Words that all have to be in it; ``"a phrase"``, ``-not``, ``a | b``,
            ``begin*``.
        kind
            Only those.
        most
            Documents.
        """
        words = {
            "query": query,
            "fields": _SEARCHED,
            "default_operator": "and",
            "lenient": True,
        }
        of_parameters = {**words, "fields": ["parameters.text", "parameters.name"]}
        either = [
            {"simple_query_string": words},
            {
                "nested": {
                    "path": "parameters",
                    "query": {"simple_query_string": of_parameters},
                }
            },
        ]
        chosen = [{"term": {"kind": kind}}] if kind else []
        body = {
            "size": most,
            "track_total_hits": True,
            "query": {
                "bool": {
                    "should": either,
                    "minimum_should_match": 1,
                    "filter": [{"term": {"facility": self.facility}}, *chosen],
                }
            },
            # Those that fit equally well: the newest first.
            "sort": ["_score", {"start": {"order": "desc", "missing": "_last"}}, "id"],
        }
        found = self._server.call("POST", f"/{self.options.alias}/_search", body)
        hits = found["hits"]
        return hits["total"]["value"], [hit["_source"] for hit in hits["hits"]]

    def new_index(self) -> str:
        """Make an empty index beside the one in use, and return its name.

        Those that were begun before and never came into use are deleted.
        """
        alias = self.options.alias
        self._server.put_template(self.options.alias, MAPPING)
        used = set(self._server.call("GET", f"/_alias/{alias}", missing={}))
        there = self._server.call("GET", f"/{alias}-*", missing={})
        numbers = [self._number(name) for name in there]
        for name in there:
            if name not in used and self._number(name):
                self._server.call("DELETE", f"/{name}", missing={})
        name = f"{alias}-{max(numbers, default=0) + 1:06d}"
        self._server.call("PUT", f"/{name}")
        return name

    def switch(self, index: str) -> Sequence[str]:
        """Let the alias mean another index from now on, and return those before."""
        alias = self.options.alias
        before = sorted(self._server.call("GET", f"/_alias/{alias}", missing={}))
        actions = [{"remove": {"index": name, "alias": alias}} for name in before]
        actions.append({"add": {"index": index, "alias": alias}})
        self._server.call("POST", "/_aliases", {"actions": actions})
        return before

    def delete_index(self, index: str) -> None:
        """Delete an index that is in use no more."""
        self._server.call("DELETE", f"/{index}", missing={})

    def refresh(self) -> None:
        """Let what was written be found by searches."""
        self._server.call("POST", f"/{self.options.alias}/_refresh")

    def versions(self, keys: Sequence[str], index: str) -> dict[str, int]:
        """Return the versions of those documents that an index has."""
        body = {"ids": list(keys)}
        found = self._server.call("POST", f"/{index}/_mget", body, _source="false")
        return {
            each["_id"]: each["_version"] for each in found["docs"] if each.get("found")
        }

    def close(self) -> None:
        """Give connections back."""
        self._server.close()

    def _wanted(
        self,
        event: EventMessage,
        datasets: Mapping[int, DatasetDetails],
        investigation: InvestigationDetails | None,
    ) -> Document | Outcome:
        if event.kind == "investigation" and event.investigation_id is None:
            reason = "an event of an earlier version, without the investigation's id"
            return self.nothing(event, OutcomeKind.IGNORED, reason)
        content: dict[str, Any] | None = None
        if event.kind == "dataset":
            dataset = datasets.get(_id(event))
            content = None if dataset is None else _of_dataset(dataset)
        elif investigation is not None:
            content = _of_investigation(investigation)
        if content is not None:
            content = {"kind": event.kind, "facility": self.facility, **content}
        return Document(key=self.key(event), content=content)

    def _result(self, action: Action, answer: Answer, index: str) -> Outcome | Failure:
        if isinstance(answer, Rejection):
            return self._server.refused(answer, self._remedy, self.ping)
        if isinstance(answer, Conflict) and not self._holds(action, index):
            return self._server.down(
                f"{action.id} is there with a version that the journal's database has"
                f" not given yet ({answer.reason}): was that restored? {self._remedy}"
            )
        if isinstance(answer, Failure):
            return answer
        written = f"{self.name}: {action.kind} {action.id}"
        return Outcome(kind=OutcomeKind.INGESTED, written=(written,))

    def _holds(self, action: Action, index: str) -> bool:
        """Return whether our own answer was lost, and the document is there."""
        found = self._server.call("GET", f"/{index}/_doc/{action.id}", missing={})
        return bool(found.get("_source") == _as_json(action.source))

    @property
    def _remedy(self) -> str:
        return f"make the index anew: icat_stream integrations reindex {self.name}"

    def _make_index(self) -> None:
        with self._lock:
            if self._is_there:
                return
            alias = self.options.alias
            found = self._server.call("GET", f"/{alias}", missing={})
            if found:
                self._require_ours(found)
            else:
                self._server.put_template(self.options.alias, MAPPING)
                self._make_first()
            self._is_there = True

    def _make_first(self) -> None:
        alias = self.options.alias
        self._server.make_index(f"{alias}-000001", {"aliases": {alias: {}}})
        found = self._server.call("GET", f"/{alias}", missing={})
        if not found:
            raise self._server.down(
                f"{alias}-000001 is there, but is not what {alias} means: delete it"
            )
        self._require_ours(found)

    def _require_ours(self, found: Mapping[str, Any]) -> None:
        """Raise unless the alias means one index, made by us, that may be written."""
        alias = self.options.alias
        if len(found) > 1 or alias in found:
            what = "an index" if alias in found else f"{len(found)} indices"
            raise self._server.down(
                f"{alias} is {what}, expected an alias of one: delete or rename it, or"
                " give another options.alias"
            )
        ((name, index),) = found.items()
        if index.get("mappings") != MAPPING:
            raise self._server.down(
                f"the fields of {name} are not those of this program: {self._remedy}"
            )
        self._server.require_writable(name, index)

    def _number(self, name: str) -> int:
        number = name.removeprefix(f"{self.options.alias}-")
        return int(number) if number.isdigit() and len(number) == 6 else 0


def _id(event: EventMessage) -> int:
    if event.kind == "dataset":
        return event.dataset_id or 0
    return event.investigation_id or 0


def _of_dataset(dataset: DatasetDetails) -> dict[str, Any]:
    values = asdict(dataset) | {
        "samples": [] if dataset.sample is None else [dataset.sample],
        "parameters": [
            {"name": each.name, "units": each.units, **_value(each.value)}
            for each in dataset.parameters
        ],
    }
    del values["sample"]
    return _without_blanks(values)


def _of_investigation(investigation: InvestigationDetails) -> dict[str, Any]:
    # Its people are left out: who sees the index need not know them.
    return _without_blanks(
        {
            "id": investigation.id,
            "investigation": asdict(investigation.key),
            "name": investigation.key.name,
            "type": investigation.type,
            "title": investigation.title,
            "description": investigation.summary,
            "doi": investigation.doi,
            "start": investigation.start,
            "end": investigation.end,
            "released": investigation.release,
            "instruments": [each.name for each in investigation.instruments],
            "keywords": investigation.keywords,
            "samples": investigation.samples,
        }
    )


def _without_blanks(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _time(value) if isinstance(value, datetime) else value
        for name, value in values.items()
        if value not in (None, "", (), [])
    }


def _value(value: float | str | datetime) -> dict[str, Any]:
    if isinstance(value, datetime):
        return {"time": _time(value)}
    return {"text": value} if isinstance(value, str) else {"number": value}


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds")


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
