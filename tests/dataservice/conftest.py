"""A data service beside an embedded ICAT, both in processes of their own."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import icat
import pytest
import yaml

from icat_stream.sandbox.children import Child
from icat_stream.sandbox.folder import Folder
from icat_stream.sandbox.icat.launch import Running, running
from plugins.commands import Commands, Done

ACCOUNTS = {"simple": {"root": "r", "idsreader": "i"}, "db": {"jdoe": "j"}}


@dataclass
class Site:
    """Where everything is, and a client logged in as root."""

    folder: Folder
    server: Running
    ids_url: str
    client: Any = None
    clients: list[Any] = field(default_factory=list)

    @property
    def icat_url(self) -> str:
        return self.server.url

    @property
    def data(self) -> Path:
        return self.folder.data

    def login(self, auth: str, user: str) -> Any:
        client = icat.Client(self.icat_url + "/ICATService/ICAT?wsdl", self.ids_url)
        password = ACCOUNTS[auth][user]
        client.login(auth, {"username": user, "password": password})
        self.clients.append(client)
        return client


def start_service(where: Folder, name: str, /, **settings: Any) -> tuple[Child, str]:
    config = where.run / f"{name}.yaml"
    config.write_text(yaml.safe_dump(settings))
    child = Child(
        name, ["-m", "icat_stream.dataservice", "--config", str(config)], where
    )
    return child, child.ready()["url"]


@pytest.fixture(scope="session", autouse=True)
def _plugins_of_the_tests() -> Iterator[None]:
    """Let services import what stands beside this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = Folder(tmp_path_factory.mktemp("site"))
    folder.make()
    with running(ACCOUNTS) as server:
        ids, ids_url = start_service(
            folder,
            "ids",
            icat={"url": server.url},
            listen="127.0.0.1:0",
            main_storage={"root": str(folder.data)},
            reader={"auth": "simple", "username": "idsreader", "password": "i"},
        )
        site = Site(folder, server, ids_url)
        site.client = site.login("simple", "root")
        _fill(site.client)
        yield site
        for client in site.clients:
            client.logout()
        ids.stop()


def _fill(client: Any) -> None:
    facility = client.new("Facility", name="EXAMPLE")
    facility.create()
    kind = client.new("InvestigationType", name="experiment", facility=facility)
    kind.create()
    client.new("DatasetType", name="raw", facility=facility).create()
    client.new(
        "DatafileFormat", name="NeXus", version="HDF5", facility=facility
    ).create()
    client.new(
        "Investigation",
        name="240815",
        visitId="1",
        title="t",
        facility=facility,
        type=kind,
    ).create()
    client.new("User", name="db/jdoe").create()


@pytest.fixture
def dataset(site: Site, request: pytest.FixtureRequest) -> Any:
    client = site.client
    dataset = client.new(
        "Dataset",
        name=request.node.name[:200],
        type=client.search("DatasetType")[0],
        investigation=client.search("Investigation")[0],
    )
    dataset.create()
    return dataset


@pytest.fixture
def nexus(site: Site) -> Any:
    return site.client.search("DatafileFormat")[0]


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    commands = Commands("icat_stream.dataservice")
    yield commands
    commands.close()


@pytest.fixture
def start(commands: Commands) -> Callable[[Path], Done]:
    """Start the service with a configuration that it cannot use."""

    def start(config: Path) -> Done:
        name = "icat_stream.dataservice"
        return commands.run(name, "--config", str(config), timeout=60)

    return start
