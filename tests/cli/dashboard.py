"""A dashboard over what one consumer of its own made of some messages."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from icat_stream.sandbox.announcer import Announcer
from plugins.commands import BIN

from .conftest import Facility, eventually
from .dataset_messages import create_topic

GROUP = "dashboard"
MARKUP = "<script>alert(1)</script>"
PAGE = {"Accept": "text/html"}


@dataclass
class Site:
    url: str
    facility: Facility
    config: Path

    def password(self, user: str) -> str:
        return (self.facility.folder.secrets / user).read_text().strip()

    def enter(self, authenticator: str, user: str) -> "Visitor":
        visitor = Visitor(self.url)
        answer = visitor.post(
            "/login",
            authenticator=authenticator,
            username=user,
            password=self.password(user),
        )
        assert answer.status_code == 200, answer.text
        return visitor

    def ingest(self) -> None:
        command = [BIN / "icat_ingestor", "-c", self.config, "--until-end"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr


class Visitor:
    """A person with a browser."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.http.get(self.url + path, headers=PAGE | headers, timeout=60)

    def json(self, path: str) -> Any:
        return self.get(path, Accept="application/json").json()

    def post(self, path: str, **form: str) -> requests.Response:
        return self.http.post(self.url + path, data=form, headers=PAGE, timeout=60)

    def csrf(self) -> str:
        found = re.search('name="csrf" value="([^"]+)"', self.get("/audit").text)
        assert found
        return found[1]


@contextmanager
def serving(facility: Facility) -> Iterator[Site]:
    """Let messages of all kinds come in, and serve what became of them."""
    name = GROUP
    config = facility.variant(
        name,
        kafka={"group_id": name},
        journal={"url": f"sqlite:///{name}.db"},
        dead_letters={"topic": f"{name}-letters"},
        outcomes={"topic": f"{name}-outcomes"},
        consumers={"scans": {"handler": "file_written", "topics": [f"{name}-scans"]}},
    )
    create_topic(facility.endpoints["kafka"], f"{name}-scans")
    announcer = Announcer(facility.endpoints["kafka"], f"{name}-scans")
    announcer.announce(facility.write())
    for _ in range(2):
        announcer.announce(facility.write("999999"))
    spoilt = [facility.write(), facility.write()]
    for file in spoilt:
        file.path.write_bytes(b"no HDF5")
        announcer.announce(file)
    hostile = facility.write()
    hostile.path.rename(hostile.path.with_name('a"><script>.nxs'))
    announcer.send(f'{{"{MARKUP}": "{MARKUP}"}}'.encode(), [(MARKUP, MARKUP.encode())])
    announcer.flush()
    with running(facility, config) as made:
        made.ingest()
        yield made


@contextmanager
def running(facility: Facility, config: Path) -> Iterator[Site]:
    """Run a dashboard; whatever it meets, it must not stumble."""
    log = config.with_suffix(".log")
    command = [BIN / "icat_stream", "web", "-c", config, "--listen", "127.0.0.1:0"]
    with log.open("w") as err:
        process = subprocess.Popen(command, stderr=err)
    try:
        at = eventually(lambda: re.search(r"dashboard is at (\S+)", log.read_text()))
        yield Site(at[1], facility, config)
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert "Traceback" not in log.read_text()
