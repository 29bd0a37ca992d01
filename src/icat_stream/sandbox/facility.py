"""The embedded facility: Kafka, ICAT and data service, started and ended together."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from icat_stream.schemas import load_schemas

from . import contract, reference_data
from .children import Child, Register, has_ended, log_end
from .contract import Endpoints
from .folder import Folder, SandboxError

_log = logging.getLogger(__name__)
_SILENT = logging.getLogger(f"{__name__}.librdkafka")
_SILENT.disabled = True
_KAFKAS = ("embedded", "java")
_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}")
_POLL = 0.05
_START = 240.0
_STOP = 40.0


class Facility:
    """Everything a facility needs, on loopback and free ports.

    Parameters
    ----------
    path
        Its folder.
    kafka
        ``embedded``, ``java`` or ``host:port`` of a cluster that runs already.
    timezone
        Of the ICAT server.
    two_level
        Give the data service an archive.
    triggers
        Have ICAT's database keep fileCount and fileSize, if it is made anew.
    """

    def __init__(
        self,
        path: Path,
        *,
        kafka: str = "embedded",
        timezone: str = "UTC",
        two_level: bool = False,
        triggers: bool = True,
    ) -> None:
        self.folder = Folder(path)
        self._kafka = kafka
        self._timezone = timezone
        self._two_level = two_level
        self._triggers = triggers
        self._register = Register(self.folder)
        self._lock = threading.Lock()
        self._running: list[tuple[str, int, Path | None]] = []

    def run(self, tell: Callable[[str], None]) -> None:
        """Start everything, and end it on SIGINT or SIGTERM.

        Parameters
        ----------
        tell
            Is given lines for people.

        Raises
        ------
        SandboxError
            Something did not start, or ended by itself.
        """
        self._check()
        stopping: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda n, _: stopping.append(n))
        self.folder.make()
        with self.folder.held(), ExitStack() as stack:
            orphans = self._register.end_orphans()
            if orphans:
                tell(f"ended {orphans} processes that a crash had left behind")
            stack.callback(self._register.clear)
            stack.callback(self.folder.endpoints.unlink, missing_ok=True)
            self.folder.endpoints.unlink(missing_ok=True)
            begin = time.monotonic()
            endpoints = self._start(stack)
            contract.write_contract(self.folder, endpoints)
            tell(
                f"Kafka {endpoints.kafka}, ICAT {endpoints.icat}, IDS {endpoints.ids},"
                f" dashboard {endpoints.web}: up after {time.monotonic() - begin:.1f} s"
                f" in {self.folder.path}"
            )
            while not stopping:
                self._watch()
                time.sleep(_POLL)

    def _check(self) -> None:
        if self._kafka not in _KAFKAS and _ADDRESS.fullmatch(self._kafka) is None:
            raise SandboxError(
                f"--kafka {self._kafka}: expected embedded, java or HOST:PORT"
            )
        if self._kafka not in _KAFKAS:
            _topics_at(self._kafka)
        try:
            ZoneInfo(self._timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise SandboxError(
                f"--timezone {self._timezone}: expected a name such as Europe/Berlin"
            ) from None

    def _start(self, stack: ExitStack) -> Endpoints:
        folder = self.folder
        if not folder.loaded.exists():
            # What an interrupted first start left is neither empty nor complete.
            for rest in folder.path.glob(f"{folder.catalogue.name}*"):
                rest.unlink()
        contract.write_accounts(folder)
        # The slowest first; what needs no server is done while servers start.
        icat = self._child(stack, "icat", self._icat_command())
        contract.copy_schemas(folder)
        with ThreadPoolExecutor(1) as pool:
            kafka = pool.submit(self._broker, stack)
            parameter_types = load_schemas(folder.schemas).parameter_keys()
            icat_url = icat.ready()["url"]
            contract.write_data_service(folder, icat_url, two_level=self._two_level)
            config = str(folder.run / "ids.yaml")
            command = ["-m", "icat_stream.dataservice", "--config", config]
            ids = self._child(stack, "ids", command)
            self._load(icat_url, parameter_types)
            endpoints = Endpoints(kafka.result(), icat_url, ids.ready()["url"])
        contract.write_config(folder, endpoints)
        command = ["-m", "icat_stream.web", "--config", str(folder.config)]
        web = self._child(stack, "web", command)
        return replace(endpoints, web=web.ready()["url"])

    def _icat_command(self) -> list[str]:
        folder = self.folder
        command = ["-m", "icat_stream.sandbox.icat", "--port", "0"]
        command += ["--database", str(folder.catalogue)]
        command += ["--accounts", str(folder.secrets / "accounts.json")]
        command += ["--timezone", self._timezone]
        # For faults on demand; its address is in the folder's run/icat.json.
        command += ["--admin-port", "0"]
        command += [] if self._triggers else ["--no-triggers"]
        for root in contract.ROOTS:
            command += ["--root", root]
        return command

    def _child(self, stack: ExitStack, name: str, command: list[str]) -> Child:
        child = Child(name, command, self.folder)
        stack.callback(child.stop)
        self._remember(name, child.pid, child.log)
        return child

    def _broker(self, stack: ExitStack) -> str:
        if self._kafka not in _KAFKAS:
            _create_topics(self._kafka)
            return self._kafka
        from .kafka import BrokerError, EmbeddedBroker, JavaBroker

        folder = self.folder.kafka
        broker = (
            JavaBroker(folder)
            if self._kafka == "java"
            else EmbeddedBroker(contract.topics(), folder=folder)
        )
        stack.callback(broker.stop)
        try:
            broker.start()
        except BrokerError as error:
            raise SandboxError(str(error)) from error
        if broker.pid is not None:
            self._remember("kafka", broker.pid, None)
        if self._kafka == "java":
            _create_topics(broker.bootstrap)
        return broker.bootstrap

    def _load(
        self, url: str, parameter_types: tuple[reference_data.ParameterKey, ...]
    ) -> None:
        client = connect(url, "simple", "root", self.folder)
        try:
            reference_data.load(client, parameter_types)
        finally:
            client.logout()
        self.folder.loaded.touch()

    def _remember(self, name: str, pid: int, log: Path | None) -> None:
        # Kafka is started beside the others.
        with self._lock:
            self._register.add(pid)
        self._running.append((name, pid, log))

    def _watch(self) -> None:
        for name, pid, log in self._running:
            if has_ended(pid):
                text = "" if log is None else f"; the end of {log}:\n{log_end(log)}"
                raise SandboxError(f"{name} (pid {pid}) ended by itself{text}")


def connect(url: str, authenticator: str, user: str, folder: Folder) -> Any:
    """Return a client of python-icat, logged in as one of the facility's users."""
    import icat

    client = icat.Client(f"{url}/ICATService/ICAT?wsdl")
    password = (folder.secrets / user).read_text("utf-8").strip()
    client.login(authenticator, {"username": user, "password": password})
    return client


def up_detached(
    path: Path,
    *,
    kafka: str,
    timezone: str,
    two_level: bool = False,
    triggers: bool = True,
) -> dict[str, str]:
    """Start a facility that stays when this process ends.

    Parameters
    ----------
    path, kafka, timezone, two_level, triggers
        As for :class:`Facility`.

    Returns
    -------
    :
        Its endpoints.

    Raises
    ------
    SandboxError
        It did not come up.
    """
    folder = Folder(path)
    folder.make()
    if folder.holder() is not None:
        raise folder.taken()
    if kafka == "java":
        _fetch_jars()
    elif _ADDRESS.fullmatch(kafka):
        # Before anything is started that would have to be ended again.
        _topics_at(kafka)
    folder.endpoints.unlink(missing_ok=True)
    log = folder.log / "supervisor.log"
    command = [sys.executable, "-m", "icat_stream.sandbox", "--dir", str(folder.path)]
    command += ["--kafka", kafka, "--timezone", timezone]
    command += ["--two-level"] if two_level else []
    command += [] if triggers else ["--no-triggers"]
    with log.open("wb") as output:
        supervisor = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START
    while not folder.endpoints.exists():
        if supervisor.poll() is not None:
            raise SandboxError(
                f"the facility in {folder.path} did not come up:\n{log_end(log, 5000)}"
            )
        if time.monotonic() > deadline:
            supervisor.terminate()
            supervisor.wait()
            raise SandboxError(
                f"the facility in {folder.path} did not come up within"
                f" {_START:.0f} s:\n{log_end(log)}"
            )
        time.sleep(_POLL)
    return folder.read_endpoints()


def down(path: Path) -> bool:
    """End the facility in a folder, and say whether there was one.

    Parameters
    ----------
    path
        Its folder.

    Raises
    ------
    SandboxError
        It does not end.
    """
    folder = Folder(path)
    pid = folder.holder()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP
        while folder.holder() == pid:
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"the facility in {folder.path} (pid {pid}) did not end within"
                    f" {_STOP:.0f} s: see {folder.log}"
                )
            time.sleep(_POLL)
    orphans = Register(folder).end_orphans() if folder.run.exists() else 0
    folder.endpoints.unlink(missing_ok=True)
    return pid is not None or orphans > 0


def _fetch_jars() -> None:
    """Fetch what a real broker needs, which can take minutes the first time."""
    from .kafka import BrokerError
    from .kafka.jars import kafka_jars

    try:
        kafka_jars()
    except BrokerError as error:
        raise SandboxError(str(error)) from error


def _create_topics(bootstrap: str) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    name = contract.SOURCE_TOPIC
    if name in _topics_at(bootstrap):
        return
    topic = NewTopic(name, contract.PARTITIONS)
    # It has to be there until the answer is.
    admin = _admin(bootstrap)
    try:
        admin.create_topics([topic])[name].result(30)
    except KafkaException as error:
        raise SandboxError(
            f"Kafka at {bootstrap} does not make the topic {name}:"
            f" {error.args[0].str()}"
        ) from error


def _topics_at(bootstrap: str) -> Container[str]:
    """Return the topics of a cluster.

    Raises
    ------
    SandboxError
        None is there.
    """
    from confluent_kafka import KafkaException

    try:
        found: Container[str] = _admin(bootstrap).list_topics(timeout=3).topics
    except KafkaException:
        raise SandboxError(
            f"no Kafka answers at {bootstrap}: start it, or leave --kafka out for an"
            " embedded one"
        ) from None
    return found


def _admin(bootstrap: str) -> Any:
    from confluent_kafka.admin import AdminClient

    # What librdkafka says of a broker that is not there, twenty times a second, is said
    # once by us.
    return AdminClient({"bootstrap.servers": bootstrap}, logger=_SILENT)


def reset(path: Path) -> bool:
    """Make a facility as if it had just been made; return whether it was running.

    Its configuration, metadata schemas and passwords stay.

    Parameters
    ----------
    path
        Its folder.

    Raises
    ------
    SandboxError
        There is none, or it does not end.
    """
    folder = Folder(path)
    if not folder.run.is_dir():
        raise SandboxError(f"{folder.path} is no facility's folder")
    was_running = down(path)
    for made in (folder.data, folder.kafka, folder.log, folder.archive, folder.ids):
        shutil.rmtree(made, ignore_errors=True)
    for database in (folder.catalogue, folder.journal):
        # With what SQLite keeps beside it.
        for file in folder.path.glob(f"{database.name}*"):
            file.unlink()
    folder.loaded.unlink(missing_ok=True)
    return was_running
