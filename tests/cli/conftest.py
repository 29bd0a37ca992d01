"""The commands as their users start them, on a facility of their own."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition

from icat_stream.sandbox import facility as sandbox
from icat_stream.sandbox.announcer import Announcer
from icat_stream.sandbox.folder import Folder
from icat_stream.sandbox.samples import SampleFile, write_ess_like
from plugins.commands import BIN, Commands, Done

if TYPE_CHECKING:
    from .dashboard import Site, Visitor

_runs = count(100)
# What most commands import before their first record.
MODULES = (
    "icat_stream.app.daemon",
    "icat_stream.app.one_shot",
    "icat_stream.handlers.datasets",
    "icat_stream.handlers.file_written",
    "icat_stream.handlers.users",
    "alembic.command",
)


@dataclass
class Facility:
    folder: Folder
    path: Path
    endpoints: dict[str, str] = field(default_factory=dict)
    clients: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.endpoints = self.folder.read_endpoints()
        self.config = self.path / "config.yaml"

    def variant(self, name: str, **sections: Any) -> Path:
        """Write another configuration beside the facility's own.

        Consumers take the place of the facility's: theirs would read what other tests
        have announced.
        """
        values = yaml.safe_load(self.config.read_text())
        # Of several daemons only one could have the facility's address.
        del values["health"]
        for key, section in sections.items():
            if isinstance(section, dict) and key != "consumers":
                section = {**values.get(key, {}), **section}
            values[key] = section
        file = self.path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(values))
        return file

    def write(self, proposal: str = "240815", **details: Any) -> SampleFile:
        """Write a file that has not been there before."""
        run = next(_runs)
        path = self.path / "data" / proposal / f"run_{run}.nxs"
        path.parent.mkdir(exist_ok=True)
        return write_ess_like(path, proposal=proposal, run=run, **details)

    def announce(self, *files: SampleFile, **details: Any) -> None:
        announcer = Announcer(self.endpoints["kafka"])
        for file in files:
            announcer.announce(file, **details)
        announcer.flush()

    def client(self) -> Any:
        """Return a client logged in as root; who has done with it logs it out.

        A client takes half a second to make, a login next to nothing.
        """
        for client in self.clients:
            if client.sessionId is None:
                password = (self.folder.secrets / "root").read_text().strip()
                client.login("simple", {"username": "root", "password": password})
                return client
        icat = self.endpoints["icat"]
        self.clients.append(sandbox.connect(icat, "simple", "root", self.folder))
        return self.clients[-1]

    def datasets(self, file: SampleFile) -> list[Any]:
        """Return the datasets that hold a file, read back through python-icat."""
        client = self.client()
        try:
            return client.search(
                "SELECT d FROM Dataset d JOIN d.datafiles f"
                f" WHERE f.name = '{file.path.name}'"
                " INCLUDE d.datafiles, d.parameters AS p, p.type, d.sample"
            )
        finally:
            client.logout()

    def events(self) -> list[tuple[bytes, dict[str, Any], dict[str, bytes]]]:
        """Read the events topic from its beginning: key, body, headers."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.endpoints["kafka"],
                "group.id": "reader",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
            }
        )
        topic = "icat-stream.events"
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        found, left = [], set(partitions)
        deadline = time.monotonic() + 120
        while left:
            assert time.monotonic() < deadline
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                left.discard(message.partition())
            else:
                body = json.loads(message.value())
                found.append((message.key(), body, dict(message.headers() or [])))
        consumer.close()
        return found

    def told(self, dataset) -> list[tuple[dict[str, Any], dict[str, bytes]]]:
        """Read the events of one dataset: body, headers.

        The topic is shared with other tests, whose events may be of users.
        """
        return [
            (body, headers)
            for _, body, headers in self.events()
            if body["kind"] == "dataset" and body["dataset"]["id"] == dataset.id
        ]


@pytest.fixture(scope="session")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    path = tmp_path_factory.mktemp("facility")
    tool = [BIN / "icat_stream", "sandbox"]
    up = [*tool, "up", "--dir", path, "--kafka", "java", "--detach"]
    done = subprocess.run(up, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    try:
        yield Facility(Folder(path), path)
    finally:
        subprocess.run([*tool, "down", "--dir", path], check=True, timeout=60)


@pytest.fixture(scope="session")
def site(facility: Facility) -> Iterator["Site"]:
    """A dashboard, shared: what a test changes there, others see."""
    from .dashboard import serving

    with serving(facility) as site:
        yield site


@pytest.fixture(scope="session")
def operator(site: "Site") -> "Visitor":
    return site.enter("simple", "useroffice")


@pytest.fixture(scope="session")
def scientist(site: "Site") -> "Visitor":
    return site.enter("db", "acord")


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """The commands, imported once; who tries a start itself uses `start`."""
    commands = Commands(*MODULES)
    yield commands
    commands.close()


@pytest.fixture
def run(commands: Commands) -> Callable[..., Done]:
    def command(name: str, *arguments: Any, timeout: float = 240, **extra: str) -> Done:
        return commands.run(name, *map(str, arguments), timeout=timeout, **extra)

    return command


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command and end it with the test."""
    running: list[subprocess.Popen[str]] = []

    def command(name: str, *arguments: Any, log: Path) -> subprocess.Popen[str]:
        with log.open("w") as err:
            process = subprocess.Popen(
                [BIN / name, *map(str, arguments)],
                stdout=subprocess.DEVNULL,
                stderr=err,
                text=True,
            )
        running.append(process)
        return process

    yield command
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.wait(240)


def eventually(check: Callable[[], Any], seconds: float = 240) -> Any:
    """Return what a check gives once it is true; a busy machine takes its time."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.1)
    return found
