"""Data services with an archive, beside the site's ICAT."""

import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import icat
from icat.ids import DataSelection, IDSClient

from icat_stream.sandbox.children import Child

from .conftest import Site, start_service


class Service:
    """A data service with an archive, and ways to look at it from all sides."""

    def __init__(self, site: Site, name: str, **settings: Any) -> None:
        self.site = site
        self.name = name
        self.path = site.folder.path / name
        self.main = self.path / "main"
        self.archived = self.path / "archive"
        for folder in (self.main, self.archived):
            folder.mkdir(parents=True, exist_ok=True)
        self.settings = {
            "icat": {"url": site.icat_url},
            "listen": "127.0.0.1:0",
            "folder": str(self.path / "state"),
            "main_storage": {"root": str(self.main)},
            "archive_storage": {"root": str(self.archived)},
            "reader": {"auth": "simple", "username": "idsreader", "password": "i"},
            "root_users": ["simple/root"],
            "queue": {"interval": 0.05, "write_delay": 0.2},
            **settings,
        }
        self.child: Child | None = None
        self.url = ""

    def start(self, **settings: Any) -> None:
        self.settings |= settings
        self.child, self.url = start_service(
            self.site.folder, self.name, **self.settings
        )
        self.ids = IDSClient(self.url, self.site.client.sessionId)

    def stop(self) -> None:
        assert self.child is not None
        self.child.stop()

    def call(self, method: str, call: str, **parameters: Any) -> tuple[int, Any]:
        parameters.setdefault("sessionId", self.site.client.sessionId)
        parameters = {k: v for k, v in parameters.items() if v is not None}
        body = parameters.pop("body", None)
        url = f"{self.url}/{call}"
        if method == "POST":
            body = urllib.parse.urlencode(parameters).encode()
        else:
            url += "?" + urllib.parse.urlencode(parameters)
        request = urllib.request.Request(url, body, method=method)
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    @contextmanager
    def investigation(self) -> Iterator[Any]:
        """Make an investigation in which no other test has a dataset."""
        client = self.site.client
        made = client.search("Investigation INCLUDE 1")[0].copy()
        made.id, made.visitId = None, f"{self.name} {time.monotonic_ns()}"
        made.create()
        try:
            yield made
        finally:
            client.delete(made)

    def dataset(self, name: str, investigation: Any = None) -> Any:
        client = self.site.client
        dataset = client.new(
            "Dataset",
            name=f"{self.name} {name}"[:200],
            type=client.search("DatasetType")[0],
            investigation=investigation or client.search("Investigation")[0],
        )
        dataset.create()
        return dataset

    def put(self, dataset: Any, name: str, content: bytes = b"x") -> int:
        nexus = self.site.client.search("DatafileFormat")[0]
        return int(self.ids.put(io.BytesIO(content), name, dataset.id, nexus.id))

    def registered(self, name: str, **contents: bytes) -> tuple[Any, list[int]]:
        """Return a dataset with files that no put brought, and their ids."""
        dataset = self.dataset(name)
        files = []
        for file, content in contents.items():
            location = f"by-hand/{dataset.id}/{file}"
            path = self.main / location
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            entry = self.site.client.new(
                "Datafile",
                name=file,
                dataset=dataset,
                location=location,
                fileSize=len(content),
            )
            entry.create()
            files.append(entry.id)
        return dataset, files

    def get(self, **selection: Any) -> bytes:
        status, content = self.call("GET", "getData", **selection)
        assert status == 200, content
        return content

    def status(self, *datasets: Any) -> str:
        return self.ids.getStatus(DataSelection(list(datasets)))

    def files(self) -> set[str]:
        return {
            str(p.relative_to(self.main)) for p in self.main.rglob("*") if p.is_file()
        }

    def location(self, datafile: int) -> str:
        return self.site.client.get("Datafile", datafile).location

    def here(self, *datafiles: int) -> bool:
        return all((self.main / self.location(d)).exists() for d in datafiles)

    def zip(self, dataset: Any) -> Path:
        investigation = self.site.client.search("Investigation")[0]
        return self.archived / str(investigation.id) / str(dataset.id)

    def entries(self, dataset: Any) -> dict[str, bytes]:
        with zipfile.ZipFile(self.zip(dataset)) as archive:
            return {i.filename: archive.read(i) for i in archive.infolist()}

    def queue(self) -> list[str]:
        return [entry["request"] for entry in self.service_status()["opsQueue"]]

    def service_status(self) -> dict[str, Any]:
        status, answer = self.call("GET", "getServiceStatus")
        assert status == 200, answer
        found: dict[str, Any] = json.loads(answer)
        return found

    def queued(self, dataset: Any) -> list[str]:
        return [
            entry["request"]
            for entry in self.service_status()["opsQueue"]
            if f"/{dataset.id} (" in entry["data"]
        ]

    def idle(self) -> None:
        until(lambda: not self.queue())

    def archive(self, *datasets: Any) -> None:
        self.ids.archive(DataSelection(list(datasets)))
        self.idle()

    def offline(
        self, name: str, investigation: Any = None, **contents: bytes
    ) -> tuple[Any, list[int]]:
        """Return a dataset that is in the archive only, and its datafiles."""
        dataset = self.dataset(name, investigation)
        files = [self.put(dataset, n, c) for n, c in (contents or {"a": b"a"}).items()]
        self.archive(dataset)
        assert not any(self.here(file) for file in files)
        return dataset, files


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError("it did not happen")
        time.sleep(0.02)
    return found


@contextmanager
def service(site: Site, name: str, **settings: Any) -> Iterator[Service]:
    made = Service(site, name, **settings)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def refused(call: Callable[[], Any]) -> str:
    """Return the message with which data that is not online is refused."""
    try:
        call()
    except icat.IDSDataNotOnlineError as error:
        return str(error.message)
    raise AssertionError("it was not refused")
