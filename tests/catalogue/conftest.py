"""An ICAT in a process of its own, python-icat to look into it, and a lane."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import icat.client
import pytest

from icat_stream.catalogue import Catalogue, CatalogueSession
from icat_stream.config import IcatSettings, PolicySettings
from icat_stream.records import InvestigationKey
from plugins.icat import Server, start_icat

from .plans import FACILITY

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from start_icat(tmp_path_factory.mktemp("icat"))


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[Any]:
    yield from logged_in(server)


def logged_in(server: Server) -> Iterator[Any]:
    """An unmodified python-icat, logged in, on a server with reference data."""
    client = icat.client.Client(server.url)
    client.login("simple", {"username": "root", "password": "secret"})
    fill(client)
    yield client
    client.logout()


def fill(client: Any) -> None:
    """Create what a facility has."""
    facility = client.new("Facility", name=FACILITY)
    facility.create()
    new = client.new
    kinds = {"facility": facility, "applicableToDataset": True}
    for thing in (
        new("InvestigationType", name="experiment", facility=facility),
        new("DatasetType", name="raw", facility=facility),
        new("DatasetType", name="other", facility=facility),
        new("DatafileFormat", name="NeXus", version="1.0", facility=facility),
        new("Instrument", name="DREHM", facility=facility),
        new("Instrument", name="ÄTHER'S <1>", facility=facility),
        new("Technique", name="diffraction"),
        new("SampleType", name="powder", molecularFormula="NaCl", facility=facility),
        new("ParameterType", name="title", units="", valueType="STRING", **kinds),
        new("ParameterType", name="when", units="", valueType="DATE_AND_TIME", **kinds),
        new(
            "ParameterType",
            name="wavelength",
            units="angstrom",
            valueType="NUMERIC",
            applicableToDatafile=True,
            **kinds,
        ),
        new(
            "ParameterType",
            name="temperature",
            units="K",
            valueType="NUMERIC",
            enforced=True,
            minimumNumericValue=0.0,
            maximumNumericValue=300.0,
            **kinds,
        ),
        new(
            "ParameterType",
            name="mode",
            units="",
            valueType="STRING",
            enforced=True,
            permissibleStringValues=[
                new("PermissibleStringValue", value="fast"),
                new("PermissibleStringValue", value="slow"),
            ],
            **kinds,
        ),
        new(
            "ParameterType",
            name="humidity",
            units="%",
            valueType="NUMERIC",
            facility=facility,
            applicableToSample=True,
        ),
    ):
        thing.create()


@pytest.fixture
def investigation(client: Any) -> InvestigationKey:
    """An investigation of this test alone."""
    return new_investigation(client)


def new_investigation(client: Any) -> InvestigationKey:
    """Create an investigation."""
    name = f"2024-{next(_NUMBERS):04}"
    facility = client.assertedSearch("SELECT f FROM Facility f")[0]
    kind = client.assertedSearch("SELECT t FROM InvestigationType t")[0]
    client.new(
        "Investigation",
        name=name,
        visitId="1",
        title="A test",
        facility=facility,
        type=kind,
    ).create()
    return InvestigationKey(name=name, visit_id="1")


@pytest.fixture
def settings(server: Server) -> IcatSettings:
    return IcatSettings(
        url=server.url, username="root", password="secret", timeout=10.0
    )


@pytest.fixture(scope="session")
def catalogues() -> dict[Any, Catalogue]:
    """Catalogues by settings: each one's discovery takes half a second."""
    return {}


@pytest.fixture
def lane_with(
    client: Any, settings: IcatSettings, catalogues: dict[Any, Catalogue]
) -> Iterator[Callable[..., CatalogueSession]]:
    """Make lanes with some policies."""
    lanes = []

    def make(settings: IcatSettings = settings, **policies: Any) -> CatalogueSession:
        key = (settings.timeout, *sorted(policies.items()))
        if key not in catalogues:
            chosen = PolicySettings(**policies)
            catalogues[key] = Catalogue(settings, FACILITY, chosen)
        lanes.append(catalogues[key].new_session())
        return lanes[-1]

    yield make
    for lane in lanes:
        lane.close()


@pytest.fixture
def lane(lane_with: Callable[..., CatalogueSession]) -> CatalogueSession:
    return lane_with()
