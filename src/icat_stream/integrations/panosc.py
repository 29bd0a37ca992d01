"""What the PaNOSC scoring service knows of investigations: what everybody may see."""

import threading
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from pydantic import Field

from icat_stream.config import Duration
from icat_stream.icat import Session, entities, select
from icat_stream.messages import EventMessage
from icat_stream.records import (
    Failure,
    InvestigationDetails,
    LoginRefused,
    Lookups,
    Outcome,
    OutcomeKind,
    Rejection,
    SystemUnavailable,
    TransientFailure,
    shortened,
)
from icat_stream.telemetry import Periodic

from .integration import DETAILS, Document, Integration
from .json_service import Answer, JsonService, ServiceOptions
from .target_system import IntegrationContext

_INCLUDED = "INCLUDE o.keywords, o.samples, o.investigationInstruments.instrument"
_SHOWN = 200
_ROUNDS = 3


class PanoscOptions(ServiceOptions):
    """Options of the integration ``panosc``."""

    group: str = Field(
        "documents",
        min_length=1,
        description="Of items, as the search API asks for it.",
    )
    anonymous: str = Field(
        "anon",
        min_length=1,
        description="Authenticator of ICAT by which everybody logs in, as the search"
        " API does: what they may not see is not told.",
    )
    compute_after: Duration = Field(
        600.0,
        gt=0,
        description="Weights are computed anew when nothing has changed for so long:"
        " it blocks the service.",
    )
    stuck_after: Duration = Field(
        6 * 3600.0,
        gt=0,
        description="A computation that goes on for so long has died, and blocks all"
        " later ones: an alarm.",
    )


class Panosc(Integration[PanoscOptions]):
    """Keeps an item for each investigation that everybody may see.

    Its text is read from the catalogue as anybody reads it, so nothing that is not
    public can be in it.
    """

    Options = PanoscOptions
    follows = frozenset({"investigation"})
    operations = frozenset({"create-panosc-item", "refresh"})
    rights = MappingProxyType(dict.fromkeys(DETAILS, "R"))

    def __init__(self, context: IntegrationContext) -> None:
        super().__init__(context)
        self._icat = context.settings.icat.model_copy(
            update={
                "auth": self.options.anonymous,
                "username": "",
                "password": None,
                "password_file": None,
            }
        )
        self._service = JsonService(self.options, name=self.name, down=self.down)
        self._weights = Weights(self._service, self.options, self.name, self.down)

    def close(self) -> None:
        """Give connections back; weights that are due are computed first."""
        self._weights.close()
        self._service.close()

    def key(self, event: EventMessage) -> str:
        """Return the investigation."""
        return f"investigation {event.investigation}"

    def wanted(
        self, events: Sequence[EventMessage], lookups: Lookups
    ) -> Sequence[Document | Outcome | Failure]:
        """Return what the service shall know of investigations."""
        keys = [each.investigation for each in events if each.investigation is not None]
        found = {each.key: each for each in lookups.investigation_details(keys)}
        open_to_all = self._as_anybody([each.id for each in found.values()])
        documents: list[Document | Outcome | Failure] = []
        for event in events:
            held = None
            if event.investigation is not None:
                held = found.get(event.investigation)
            seen = None if held is None else open_to_all.get(held.id)
            if held is not None and held.is_stub:
                seen = None
            documents.append(
                Document(key=self.key(event), content=self._content(event, held, seen))
            )
        return documents

    def apply(self, documents: Sequence[Document]) -> Sequence[Outcome | Failure]:
        """Bring the service to documents."""
        results: list[Outcome | Failure] = []
        for document in documents:
            try:
                written = self._apply(document)
            except Failure as failure:
                results.append(failure)
                continue
            kind = OutcomeKind.INGESTED if written else OutcomeKind.UNCHANGED
            results.append(Outcome(kind=kind, written=tuple(written)))
        return results

    def ping(self) -> None:
        """Return if the service answers, and its computation has not died."""
        answer = self._service.call("GET", "/items/count")
        count = answer.body.get("count") if isinstance(answer.body, dict) else None
        if answer.status != 200 or not isinstance(count, int):
            raise self.down(
                f"{self.name}: {self.options.url} is no scoring service: GET"
                f" /items/count: HTTP {answer.status}; see options.url"
            )
        self._weights.look()

    def _content(
        self,
        event: EventMessage,
        held: InvestigationDetails | None,
        seen: Mapping[str, Any] | None,
    ) -> Mapping[str, Any]:
        """Return the item that is to be there, and those that are not.

        The search API calls an investigation by its DOI, or else by its id.
        """
        number = event.investigation_id if held is None else held.id
        names = [] if number is None else [f"pid:{number}"]
        if held is not None and held.doi:
            names.insert(0, held.doi)
        if seen is None:
            return {"item": None, "not": names}
        item = {"id": names[0], "group": self.options.group, "fields": _fields(seen)}
        return {"item": item, "not": names[1:]}

    def _as_anybody(self, numbers: Sequence[int]) -> dict[int, Mapping[str, Any]]:
        """Return investigations as everybody sees them, by id."""
        if not numbers:
            return {}
        listed = ", ".join(str(int(number)) for number in sorted(numbers))
        query = select("Investigation", f"o.id IN ({listed})", then=_INCLUDED)
        session = Session(self._icat)
        try:
            rows = entities(session.search(query, "Investigation"))
        except LoginRefused as refused:
            raise self.down(
                f"{self.name}: nobody can log in by options.anonymous, which says what"
                f" is public: {refused.reason}"
            ) from refused
        finally:
            session.close()
        return {row["id"]: row for row in rows}

    def _apply(self, document: Document) -> list[str]:
        content = document.content or {}
        written = [
            f"{self.name}: item {name} is gone"
            for name in content["not"]
            if self._delete(name)
        ]
        item = content["item"]
        if item is not None and not self._is_there(item):
            written += self._replace(item, document)
        if written:
            self._weights.changed()
        return written

    def _is_there(self, item: Mapping[str, Any]) -> bool:
        answer = self._service.call("GET", f"/items/{quote(item['id'])}")
        if answer.status == 404:
            return False
        body = self._good(f"GET of item {item['id']}", answer)
        return all(body.get(name) == item[name] for name in ("group", "fields"))

    def _delete(self, name: str) -> bool:
        answer = self._service.call("DELETE", f"/items/{quote(name)}")
        return bool(self._good(f"DELETE of item {name}", answer).get("items_deleted"))

    def _replace(self, item: Mapping[str, Any], document: Document) -> list[str]:
        """Write an item; one whose id has a slash cannot be updated."""
        for _ in range(_ROUNDS):
            self._delete(item["id"])
            if not document.is_newest():
                # What has been closed meanwhile is not told again; it is read afresh.
                return []
            answer = self._service.call("POST", "/items/", item)
            if answer.status != 400 or "DuplicateKeyError" not in str(answer.body):
                self._good(f"POST of item {item['id']}", answer)
                return [f"{self.name}: item {item['id']}"]
        raise TransientFailure(
            f"{self.name}: item {item['id']} is made by somebody else again and again"
        )

    def _good(self, what: str, answer: Answer) -> Mapping[str, Any]:
        if answer.status in (200, 201) and isinstance(answer.body, dict):
            return answer.body
        raise Rejection(
            f"{self.name}: {what}: HTTP {answer.status}:"
            f" {shortened(str(answer.body), _SHOWN)}"
        )


class Weights:
    """Has the service compute its weights anew, seldom.

    A computation rebuilds everything and blocks the service; one of an empty collection
    dies, and blocks all later ones.

    Parameters
    ----------
    service
        Where.
    options
        When.
    name
        The consumer's.
    down
        Makes the failure of one that has died.
    """

    def __init__(
        self,
        service: JsonService,
        options: PanoscOptions,
        name: str,
        down: Any,
    ) -> None:
        self._service = service
        self._options = options
        self._name = name
        self._down = down
        self._lock = threading.Lock()
        self._due: float | None = None
        self._running: tuple[str, float] | None = None
        self._periodic: Periodic | None = None

    def changed(self) -> None:
        """Say that an item has changed."""
        with self._lock:
            self._due = time.monotonic() + self._options.compute_after
            if self._periodic is None:
                every = min(self._options.compute_after / 4, 60.0)
                self._periodic = Periodic(f"{self._name}-weights", self._work, every)
                self._periodic.start()

    def look(self) -> None:
        """Return if no computation is known to have died.

        Raises
        ------
        SystemUnavailable
            One has.
        """
        answer = self._service.call("GET", "/compute")
        status = answer.body if isinstance(answer.body, dict) else {}
        if not status.get("inProgress"):
            self._running = None
            return
        started = str(status.get("started"))
        now = time.monotonic()
        if self._running is None or self._running[0] != started:
            self._running = (started, now)
        if now - self._running[1] >= self._options.stuck_after:
            raise self._down(
                f"{self._name}: compute has been at work since {started}: it has died,"
                " and blocks all later ones; remove the row of the collection `compute`"
                " in the service's MongoDB"
            )

    def close(self) -> None:
        """Compute what is due, and end."""
        if self._periodic is not None:
            self._periodic.stop()
            self._compute()

    def _work(self) -> None:
        with self._lock:
            due = self._due is not None and self._due <= time.monotonic()
        if due:
            self._compute()

    def _compute(self) -> None:
        with self._lock:
            due, self._due = self._due, None
        if due is None:
            return
        try:
            count = self._service.call("GET", "/items/count").body
            if not isinstance(count, dict) or not count.get("count"):
                return
            done = self._service.call("POST", "/compute").status == 200
        except SystemUnavailable:
            done = False
        if not done:
            # Another one is at work, or nobody is there: later.
            with self._lock:
                if self._due is None:
                    self._due = time.monotonic() + self._options.compute_after


def _fields(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts by which an investigation is found."""
    instruments = (
        link.get("instrument") or {} for link in row.get("investigationInstruments", ())
    )
    texts = {
        "title": row.get("title"),
        "summary": row.get("summary"),
        "keywords": _listed(row.get("keywords", ())),
        "samples": _listed(row.get("samples", ())),
        "instruments": _listed(instruments),
    }
    return {name: text.replace("\0", "") for name, text in texts.items() if text}


def _listed(rows: Any) -> str:
    return ", ".join(sorted(str(row["name"]) for row in rows if row.get("name")))
