"""A real broker: Apache Kafka's own jars, one node, KRaft."""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from .errors import BrokerError
from .jars import java, kafka_jars

# 512 MB are ample for tests (360 MB resident); C1 alone halves the CPU of a start.
_JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
# Below those that Linux and others give to outgoing connections.
_PORTS = range(20_000, 32_000)
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    # One node holds everything.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Nobody waits for members that are not coming.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    # A misspelt topic shall be an error.
    "auto.create.topics.enable": "false",
    "log.retention.ms": "-1",
}


class JavaBroker:
    """A Kafka broker of Apache's jars in a process of its own.

    Parameters
    ----------
    folder
        For its data, configuration and log; a broker started again on the same
        folder has the same ports and the same data.
    properties
        Beyond, or instead of, our own ``server.properties``.
    jars
        Folder with the jars; by default they are fetched once by Maven.
    tied
        Kill the broker when the thread that starts it ends, however it ends: for
        tests, which may be killed themselves.
    """

    def __init__(
        self,
        folder: Path,
        *,
        properties: Mapping[str, str] | None = None,
        jars: Path | None = None,
        tied: bool = False,
    ) -> None:
        self._folder = folder.absolute()
        self._given = dict(properties or {})
        self._jars = jars
        self._tied = tied
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""
        if not self._port:
            raise BrokerError("the broker was never started: call start() first")
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Of the broker's process, ``None`` while it is not running."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> Path:
        """What the broker printed."""
        return self._folder / "broker.log"

    def start(self, timeout: float = 60.0) -> None:
        """Start the broker and wait until it answers.

        Parameters
        ----------
        timeout
            Seconds to wait; usually about 4 are needed.

        Raises
        ------
        BrokerError
            It did not come up; the text has the end of its log.
        """
        if self._process is not None:
            return
        classes = str(kafka_jars(self._jars) / "*")
        configuration = self._folder / "server.properties"
        if configuration.exists():
            self._port = _port_of(configuration)
        else:
            self._configure(configuration, classes)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [
                    java(),
                    *_JVM,
                    "-Dlog4j2.level=WARN",
                    "-cp",
                    classes,
                    "kafka.Kafka",
                    str(configuration),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
                # Ctrl-C ends what uses the broker first; then stop() is called.
                start_new_session=True,
                preexec_fn=_tie if self._tied else None,
            )
        self._wait(time.monotonic() + timeout)

    def stop(self, timeout: float = 20.0) -> None:
        """End the broker; its data stay.

        Parameters
        ----------
        timeout
            Seconds that it has for a clean end before it is killed.
        """
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """End the broker at once, as a power cut would."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Let the broker do nothing until :meth:`thaw`."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen broker go on."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> "JavaBroker":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _configure(self, configuration: Path, classes: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._port, controller = _free_ports(2)
        properties = {
            **_PROPERTIES,
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self._port},"
            f"CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._port}",
            "log.dir": str(self._folder / "data"),
            **self._given,
        }
        partial = configuration.with_suffix(".partial")
        partial.write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(  # noqa: S603
            [
                java(),
                *_JVM,
                "-cp",
                classes,
                "kafka.tools.StorageTool",
                "format",
                "--standalone",
                "--ignore-formatted",
                "-t",
                # A leading dash would be taken for an option.
                cluster.replace("-", "x", 1) if cluster.startswith("-") else cluster,
                "-c",
                str(partial),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            text = (done.stdout + done.stderr).strip()[-2000:]
            raise BrokerError(f"{self._folder}: could not be formatted:\n{text}")
        partial.rename(configuration)

    def _wait(self, deadline: float) -> None:
        process = self._process
        if process is None:
            raise BrokerError("the broker is not running")
        while time.monotonic() < deadline:
            if process.poll() is not None:
                self._process = None
                raise BrokerError(
                    f"the broker ended with {process.returncode} while starting;"
                    f" the end of {self.log}:\n{self._log_end()}"
                )
            if _answers(self._port):
                return
            time.sleep(0.1)
        self.kill()
        raise BrokerError(
            f"the broker did not answer on 127.0.0.1:{self._port} in time;"
            f" the end of {self.log}:\n{self._log_end()}"
        )

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


def _tie() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    # The broker binds them seconds later, and again after a restart: a port that the
    # system gives away by itself could be somebody's connection by then.
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise BrokerError(f"no free port from {_PORTS.start} to {_PORTS.stop - 1}")


def _port_of(configuration: Path) -> int:
    for line in configuration.read_text().splitlines():
        if line.startswith("advertised.listeners="):
            return int(line.rpartition(":")[2])
    raise BrokerError(f"{configuration}: names no advertised.listeners")


def _answers(port: int) -> bool:
    # Only once the port is open: librdkafka complains aloud of refused connections.
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return False
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
    try:
        return bool(client.list_topics(timeout=2).brokers)
    except KafkaException:
        return False
