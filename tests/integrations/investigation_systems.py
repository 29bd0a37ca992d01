"""Systems that hold a document for each investigation, for the contract suite."""

import threading
from datetime import UTC, datetime
from itertools import count
from typing import Any, ClassVar

from icat_stream.records import InvestigationKey
from plugins.datacite import ACCOUNT, PASSWORD, PREFIX, DataCiteServer

_NUMBERS = count(1)


def investigation_of(
    client: Any, *, title: str = "Salt", keyword: str | None = None, **changes: Any
) -> tuple[int, InvestigationKey]:
    """Create an investigation that may be published; return its id and its key."""
    number = next(_NUMBERS)
    facility = client.assertedSearch("SELECT f FROM Facility f")[0]
    values = {
        "name": f"2025-{number:05}",
        "visitId": "1",
        "title": title,
        "summary": "What we did",
        "startDate": datetime(2020, 5, 6, tzinfo=UTC),
        "endDate": datetime(2020, 5, 8, tzinfo=UTC),
        "releaseDate": datetime(2023, 5, 8, tzinfo=UTC),
        "facility": facility,
        "type": client.assertedSearch("SELECT t FROM InvestigationType t")[0],
    }
    found = client.new("Investigation", **(values | changes))
    found.create()
    if keyword is not None:
        client.new("Keyword", investigation=found, name=keyword).create()
    user = client.new(
        "User", name=f"author-{number}", fullName="Jane Doe", orcidId=ORCID
    )
    user.create()
    client.new(
        "InvestigationUser", investigation=found, user=user, role="Participant"
    ).create()
    return found.id, InvestigationKey(name=found.name, visit_id=found.visitId)


ORCID = "0000-0002-1825-0097"


class DataCiteSystem:
    """The integration ``datacite``, and a stand-in of DataCite."""

    integration = "datacite"
    subject = "investigation"
    asked: ClassVar[dict[str, Any]] = {
        "kind": "operation",
        "operation": "mint-proposal",
    }
    settings: ClassVar[dict[str, Any]] = {
        "web": {"public_url": "https://example.org/data"}
    }
    forgets = False
    writes_blindly = False

    def __init__(self, patch: Any) -> None:
        self.server = DataCiteServer()
        self.options = datacite_options(self.server)
        self.wrong_options = self.options | {"password": "something else"}
        self.secret = "something else"
        self.close = self.server.close

    def names(self) -> list[str]:
        return sorted(one["titles"][0]["title"] for one in self._findable())

    def types(self) -> list[str]:
        return [s["subject"] for one in self._findable() for s in one["subjects"]]

    def _findable(self) -> list[Any]:
        dois = self.server.dois.values()
        return [one for one in dois if one["state"] == "findable"]

    @property
    def calls(self) -> int:
        return len(self.server.writes)

    def hold(self) -> threading.Event:
        self.server.held = threading.Event()
        return self.server.held

    def wait_for_call(self) -> None:
        assert self.server.arrived.wait(30)

    def take_down(self, down: bool) -> None:
        self.server.status = 503 if down else 200

    def refuse(self, name: str) -> None:
        self.server.refused = f'"title": "{name}"'


def datacite_options(server: DataCiteServer) -> dict[str, Any]:
    return {
        "url": server.url,
        "username": ACCOUNT,
        "password": PASSWORD,
        "prefix": PREFIX,
        "publisher": "Example Neutron Source",
        "datasets": False,
    }
