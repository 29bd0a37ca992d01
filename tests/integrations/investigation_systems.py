"""Systems that hold a document for each investigation, for the contract suite."""

import threading
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from icat_stream.integrations import Visa
from icat_stream.journal import Claim, Entity, Journal
from icat_stream.records import (
    Coordinates,
    Investigation,
    InvestigationKey,
    Member,
    User,
    as_text,
)
from plugins.datacite import ACCOUNT, PASSWORD, PREFIX, DataCiteServer
from plugins.panosc import ScoringServer
from plugins.proxy import Proxy
from plugins.visa import VisaDatabase

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
    instrument = client.search("Instrument [name = 'DREHM']")[0]
    client.new(
        "InvestigationInstrument", investigation=found, instrument=instrument
    ).create()
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


def state(journal: Journal, planned: User | Investigation, at: int) -> None:
    """Say what a user office has stated, and that it is applied.

    Parameters
    ----------
    journal
        Where that is kept.
    planned
        What.
    at
        A higher number is newer.
    """
    is_user = isinstance(planned, User)
    name = planned.name if is_user else Entity.name_of(planned.investigation)
    entity = Entity(
        facility="Muster", kind="user" if is_user else "investigation", name=name
    )
    text = as_text(planned)
    claim = Claim(
        entity=entity,
        at=Coordinates("t", 0, at),
        time=at,
        plan=text,
        sha256=str(hash(text)),
    )
    (decision,) = journal.newest.claim([claim])
    if decision.standing.value == "write":
        journal.newest.finish(claim, claim, 7)


ORCID = "0000-0002-1825-0097"


class VisaSystem:
    """The integration ``visa``, and VISA's tables on a real PostgreSQL."""

    integration = "visa"
    subject = "investigation"
    asked: ClassVar[dict[str, Any]] = {}
    settings: ClassVar[dict[str, Any]] = {}
    forgets = True
    writes_blindly = False
    grown = True

    def __init__(self, patch: Any, postgres: str, journal: Journal, *_: Any) -> None:
        self._journal = journal
        self._folder = parse_qs(urlsplit(postgres).query)["host"][0]
        self.database = VisaDatabase(postgres, grown=self.grown)
        self.proxy = Proxy(str(Path(self._folder) / ".s.PGSQL.5432"))
        self.options = self.options_for("postgres")
        self.wrong_options = self.options_for("nobody") | {"password": "something else"}
        self.secret = "something else"
        self.calls = 0
        self._held: threading.Event | None = None
        self._arrived = threading.Event()
        apply = Visa.apply

        def watched(visa: Visa, documents: Any) -> Any:
            held, self._held = self._held, None
            if held is not None:
                self._arrived.set()
                held.wait(30)
            found = apply(visa, documents)
            self.calls += sum(bool(getattr(each, "written", ())) for each in found)
            return found

        patch.setattr(Visa, "apply", watched)

    def options_for(self, user: str) -> dict[str, Any]:
        return {
            "url": f"postgresql://{user}@127.0.0.1:{self.proxy.port}/postgres",
            "timeout": 10,
        }

    def prepare(self, key: InvestigationKey) -> None:
        """Have a user office state a team of one."""
        members = (Member(user="jdoe", role="Participant"),)
        state(self._journal, Investigation(investigation=key, members=members), 1)

    def names(self) -> list[str]:
        return sorted(title for title, _ in self._open())

    def types(self) -> list[str]:
        return [summary for _, summary in self._open()]

    def _open(self) -> list[tuple[Any, ...]]:
        return self.database.rows(
            "SELECT p.title, p.summary FROM proposal p JOIN experiment e ON"
            " e.proposal_id = p.id JOIN experiment_user u ON u.experiment_id = e.id"
        )

    def hold(self) -> threading.Event:
        self._held = threading.Event()
        return self._held

    def wait_for_call(self) -> None:
        assert self._arrived.wait(30)

    def take_down(self, down: bool) -> None:
        self.proxy.set("refuse" if down else "pass")

    def refuse(self, name: str) -> None:
        self.database.run(f"ALTER TABLE visa.proposal ADD CHECK (title <> '{name}')")

    def close(self) -> None:
        self.proxy.close()
        self.database.drop()


class PlainVisaSystem(VisaSystem):
    """The same on the tables of VISA's scripts alone."""

    grown = False


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

    def __init__(self, patch: Any, *_: Any) -> None:
        self.server = DataCiteServer()
        self.options = datacite_options(self.server)
        self.wrong_options = self.options | {"password": "something else"}
        self.secret = "something else"
        self.close = self.server.close

    def prepare(self, key: InvestigationKey) -> None:
        pass

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


class PanoscSystem:
    """The integration ``panosc``, and a stand-in of the scoring service."""

    integration = "panosc"
    subject = "investigation"
    asked: ClassVar[dict[str, Any]] = {}
    forgets = True
    writes_blindly = False

    def __init__(self, patch: Any, postgres: Any, journal: Any, icat: str) -> None:
        self.server = ScoringServer()
        self.server.login = "Basic bWU6c2VjcjN0"
        self.settings = {"icat": {"url": icat, "username": "root"}}
        self.options = {
            "url": self.server.url,
            "username": "me",
            "password": "secr3t",
        }
        self.wrong_options = self.options | {"password": "something else"}
        self.secret = "something else"
        self.close = self.server.close

    def prepare(self, key: InvestigationKey) -> None:
        pass

    def names(self) -> list[str]:
        return sorted(each["fields"]["title"] for each in self.server.items.values())

    def types(self) -> list[str]:
        return [each["fields"]["keywords"] for each in self.server.items.values()]

    @property
    def calls(self) -> int:
        return len([c for c in self.server.writes if c == "POST /items/"])

    def hold(self) -> threading.Event:
        self.server.held = threading.Event()
        return self.server.held

    def wait_for_call(self) -> None:
        assert self.server.arrived.wait(30)

    def take_down(self, down: bool) -> None:
        self.server.status = 503 if down else 200

    def refuse(self, name: str) -> None:
        self.server.refused = name


def datacite_options(server: DataCiteServer) -> dict[str, Any]:
    return {
        "url": server.url,
        "username": ACCOUNT,
        "password": PASSWORD,
        "prefix": PREFIX,
        "publisher": "Example Neutron Source",
        "datasets": False,
    }
