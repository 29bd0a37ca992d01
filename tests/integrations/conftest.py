"""Integrations are tried on the files of handlers, and on an embedded ICAT.

Those that write elsewhere are made by the fixture ``make`` for a fixture ``system``, as
the classes of the contract suite's ``SYSTEMS`` are.
"""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from catalogue.conftest import (
    catalogues,
    client,
    investigation,
    lane,
    lane_with,
    server,
    settings,
)
from catalogue.plans import FACILITY
from handlers.conftest import catalogue, data, reader, record
from icat_stream.app import load_integration
from icat_stream.catalogue import Catalogue
from icat_stream.config import JournalSettings, PolicySettings, Settings
from icat_stream.integrations import (
    ExportConsumer,
    IntegrationContext,
    OutcomeConsumer,
    OutcomeFollower,
)
from icat_stream.journal import Journal
from icat_stream.records import Dataset, InvestigationKey, Plan, Record

from .investigation_systems import investigation_of

__all__ = [
    "catalogue",
    "catalogues",
    "client",
    "data",
    "investigation",
    "lane",
    "lane_with",
    "reader",
    "record",
    "server",
    "settings",
]

NAME = "target"
_OFFSETS = count(1)


@pytest.fixture
def journal(tmp_path) -> Iterator[Journal]:
    journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db"))
    journal.create()
    yield journal
    journal.close()


@pytest.fixture
def make(system, journal, client, settings) -> Iterator[Any]:
    catalogue = Catalogue(settings, FACILITY, PolicySettings())
    made = []

    def make(options=None, dry_run=False, exports=journal.exports):
        topics = getattr(system, "topics", ["t"])
        settings = Settings(
            facility=FACILITY,
            consumers={
                NAME: {"integration": system.integration, "topics": topics},
                "file_written": {"handler": "file_written", "topics": ["files"]},
            },
            **system.settings,
        )
        context = IntegrationContext(
            name=NAME,
            settings=settings,
            stated=journal.stated(FACILITY),
            options=system.options if options is None else options,
        )
        integration = load_integration(system.integration)(context)
        if isinstance(integration, OutcomeFollower):
            consumer = OutcomeConsumer(integration, settings, dry_run=dry_run)
        else:
            consumer = ExportConsumer(
                integration=integration,
                catalogue=catalogue,
                exports=exports,
                systems={},
                facility=FACILITY,
                max_bytes=1_000_000,
                dry_run=dry_run,
            )
        made.append(consumer)
        return consumer

    yield make
    for consumer in made:
        consumer.leave_lane()
        consumer.integration.close()


@pytest.fixture
def keys() -> dict[int, InvestigationKey]:
    """Investigations, by what :func:`ingest` returned."""
    return {}


@pytest.fixture
def ingest(system, lane, client, investigation, keys):
    """Bring something of a name and of a type in, as the system will show them."""

    def ingest(name: str, type: str = "raw") -> int:
        if system.subject == "outcome":
            return system.tell(name)
        if system.subject == "investigation":
            number, key = investigation_of(
                client, title=name, keyword=type, summary=type
            )
            keys[number] = key
            system.prepare(key)
            return number
        dataset = Dataset(
            investigation=investigation, name=name, type=type, existing="update"
        )
        applied = lane.apply(Plan(facility=FACILITY, datasets=(dataset,)))
        keys[applied.datasets[0].id] = investigation
        return applied.datasets[0].id

    return ingest


@pytest.fixture
def event(system, investigation, record, keys):
    def event(number: int, **changes: Any) -> Record:
        if system.subject == "outcome":
            return record(system.record(number).value, offset=next(_OFFSETS))
        key = keys.get(number, investigation)
        body = {
            "version": 1,
            "kind": system.subject,
            "outcome": "ingested",
            "facility": FACILITY,
            "investigation": {
                "name": key.name,
                "visit_id": key.visit_id,
                "id": number,
            },
            "dataset": {"name": "d", "id": number},
            "origin": {"topic": "t", "partition": 0, "offset": 7},
            "time": "2026-11-21T08:00:00.000+00:00",
        }
        said = json.dumps(body | system.asked | changes).encode()
        return record(said, offset=next(_OFFSETS))

    return event


@pytest.fixture
def retype(system, client):
    """Give something another type."""

    def retype(number: int, name: str) -> None:
        if system.subject == "investigation":
            found = client.get("Investigation i INCLUDE 1, i.keywords", number)
            client.deleteMany(found.keywords)
            client.new("Keyword", investigation=found, name=name).create()
            found.summary = name
            found.update()
            return
        found = client.get("Dataset d INCLUDE d.type, d.investigation", number)
        found.type = client.search(f"DatasetType [name = '{name}']")[0]
        found.update()

    return retype


@pytest.fixture
def delete(system, client):
    def delete(number: int) -> None:
        client.delete(client.get(system.subject.capitalize(), number))

    return delete


@pytest.fixture
def new(client, keys):
    """Create an investigation; return its id."""

    def new(**changes):
        number, key = investigation_of(client, **changes)
        keys[number] = key
        return number

    return new


@pytest.fixture
def change(client):
    def change(number, **values):
        found = client.get("Investigation i INCLUDE i.type, i.facility", number)
        for name, value in values.items():
            setattr(found, name, value)
        found.update()

    return change


@pytest.fixture(scope="session")
def open_to_all(client):
    """What everybody sees without a login: what is released."""
    released = "SELECT i FROM Investigation i WHERE i.releaseDate < CURRENT_TIMESTAMP"
    for what in (
        released,
        "SELECT k FROM Keyword k JOIN k.investigation i WHERE i.releaseDate <"
        " CURRENT_TIMESTAMP",
    ):
        client.new("Rule", what=what, crudFlags="R").create()
