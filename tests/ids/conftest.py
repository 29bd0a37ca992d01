"""An ICAT and a data service in processes of their own, and a proxy to break things."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import icat.client
import pytest
import yaml

from icat_stream.catalogue import Catalogue, CatalogueSession
from icat_stream.config import IcatSettings, IdsSettings, PolicySettings
from icat_stream.ids import Ids
from icat_stream.nexus import NexusReader
from icat_stream.records import InvestigationKey
from icat_stream.sandbox.children import Child
from icat_stream.sandbox.folder import Folder

FACILITY = "Muster"
_ACCOUNTS = {"simple": {"root": "secret", "idsreader": "reads"}}
_NUMBERS = count(1)


@dataclass(frozen=True)
class Site:
    """Where the servers are, and a python-icat logged in."""

    icat: str
    ids: str
    client: Any


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = Folder(tmp_path_factory.mktemp("site"))
    folder.make()
    accounts = folder.secrets / "accounts.json"
    accounts.write_text(json.dumps(_ACCOUNTS))
    command = ["-m", "icat_stream.sandbox.icat", "--database", str(folder.catalogue)]
    server = Child("icat", [*command, "--accounts", str(accounts)], folder)
    icat_url = server.ready()["url"]
    config = folder.run / "ids.yaml"
    reader = {"auth": "simple", "username": "idsreader", "password": "reads"}
    config.write_text(
        yaml.safe_dump(
            {
                "icat": {"url": icat_url},
                "listen": "127.0.0.1:0",
                "main_storage": {"root": str(folder.data)},
                "reader": reader,
            }
        )
    )
    command = ["-m", "icat_stream.dataservice", "--config", str(config)]
    ids = Child("ids", command, folder)
    ids_url = ids.ready()["url"]
    client = icat.client.Client(icat_url, ids_url)
    client.login("simple", {"username": "root", "password": "secret"})
    facility = client.new("Facility", name=FACILITY)
    facility.create()
    client.new("InvestigationType", name="experiment", facility=facility).create()
    client.new("DatasetType", name="raw", facility=facility).create()
    version = {"version": "1.0", "facility": facility}
    client.new("DatafileFormat", name="NeXus", **version).create()
    yield Site(icat_url, ids_url, client)
    client.logout()
    ids.stop()
    server.stop()


@pytest.fixture
def investigation(site: Site) -> InvestigationKey:
    """An investigation of this test alone."""
    client, name = site.client, f"2024-{next(_NUMBERS):04}"
    client.new(
        "Investigation",
        name=name,
        visitId="1",
        title="A test",
        facility=client.assertedSearch("SELECT f FROM Facility f")[0],
        type=client.assertedSearch("SELECT t FROM InvestigationType t")[0],
    ).create()
    return InvestigationKey(name=name, visit_id="1")


@pytest.fixture(scope="session")
def catalogue(site: Site) -> Catalogue:
    settings = IcatSettings(url=site.icat, username="root", password="secret")
    return Catalogue(settings, FACILITY, PolicySettings())


@pytest.fixture
def lane(catalogue: Catalogue) -> Iterator[CatalogueSession]:
    lane = catalogue.new_session()
    yield lane
    lane.close()


class Proxy(BaseHTTPRequestHandler):
    """Passes calls on to the data service, unless told otherwise.

    ``plans`` has lists of what to do with the next calls, by call: ``drop_before``,
    ``drop_after``, ``damage``, ``damage_and_drop``, or a status and a body; all
    others are passed on.
    """

    target = ""
    plans: dict[str, list[Any]]
    seen: list[str]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._handle(None)

    def do_DELETE(self) -> None:
        self._handle(None)

    def do_POST(self) -> None:
        self._handle(self.rfile.read(int(self.headers["Content-Length"])))

    do_PUT = do_POST

    def _handle(self, body: bytes | None) -> None:
        call = self.path.rpartition("/")[2].partition("?")[0]
        self.seen.append(call)
        planned = self.plans.get(call)
        todo = planned.pop(0) if planned else None
        if isinstance(todo, tuple):
            self._answer(*todo)
            return
        if todo == "drop_before":
            self.close_connection = True
            return
        if todo in ("damage", "damage_and_drop"):
            body = bytes([body[0] ^ 1]) + body[1:]
        path = self.path.removeprefix("/ids")
        request = Request(self.target + path, body, method=self.command)
        for name in ("Content-Type",):
            if name in self.headers:
                request.add_header(name, self.headers[name])
        try:
            with urlopen(request, timeout=10) as found:
                status, content = found.status, found.read()
        except HTTPError as error:
            status, content = error.code, error.read()
            error.close()
        if todo in ("drop_after", "damage_and_drop"):
            self.close_connection = True
            return
        self._answer(status, content)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def proxy(site: Site) -> Iterator[Any]:
    members = {"target": site.ids, "plans": {}, "seen": []}
    handler: Any = type("Handler", (Proxy,), members)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.url = f"http://127.0.0.1:{server.server_port}/ids"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield handler
        server.shutdown()
        thread.join()


@pytest.fixture
def storage_at(tmp_path: Path) -> Iterator[Callable[..., Ids]]:
    with NexusReader([tmp_path], settle=0) as files:

        def make(url: str | None, mode: str = "put") -> Ids:
            return Ids(IdsSettings(url=url, mode=mode, timeout=5.0), files)

        yield make
