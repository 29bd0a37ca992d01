"""An ICAT in a process of its own, python-icat to look into it, and a lane."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import icat.client
import pytest

from icat_stream.catalogue import Catalogue, Lane
from icat_stream.config import IcatSettings, PolicySettings
from icat_stream.records import InvestigationKey

from .plans import FACILITY

_NUMBERS = count(1)


@dataclass(frozen=True)
class Server:
    """The embedded ICAT, and how to break it."""

    url: str
    admin: str

    def fault(self, kind: str, **details: Any) -> None:
        """Order a fault."""
        body = json.dumps({"kind": kind, **details}).encode()
        request = urllib.request.Request(
            f"{self.admin}/faults", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()

    def mend(self) -> None:
        """End all faults."""
        self.fault("clear")


def start_icat(folder: Path, *options: str) -> Iterator[Server]:
    """Start an embedded ICAT, yield it, and end it."""
    accounts, ready = folder / "accounts.json", folder / "ready.json"
    accounts.write_text(json.dumps({"simple": {"root": "secret"}}))
    command = [sys.executable, "-m", "icat_stream.sandbox.icat", "--port", "0"]
    command += ["--admin-port", "0", "--database", str(folder / "icat.db")]
    command += ["--accounts", str(accounts), "--ready", str(ready), *options]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None, "the embedded ICAT ended"
            assert time.monotonic() < deadline, "the embedded ICAT does not start"
            time.sleep(0.02)
        facts = json.loads(ready.read_text())
        yield Server(facts["url"], facts["admin"])
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from start_icat(tmp_path_factory.mktemp("icat"))


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[Any]:
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
) -> Iterator[Callable[..., Lane]]:
    """Make lanes with some policies."""
    lanes = []

    def make(settings: IcatSettings = settings, **policies: Any) -> Lane:
        key = (settings.timeout, *sorted(policies.items()))
        if key not in catalogues:
            chosen = PolicySettings(**policies)
            catalogues[key] = Catalogue(settings, FACILITY, chosen)
        lanes.append(catalogues[key].lane())
        return lanes[-1]

    yield make
    for lane in lanes:
        lane.close()


@pytest.fixture
def lane(lane_with: Callable[..., Lane]) -> Lane:
    return lane_with()
