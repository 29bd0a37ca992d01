"""OpenSearch of its own jars: one node on 127.0.0.1, as Apache's Kafka is started."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from icat_stream.sandbox.jars import Jars, JarsError, java
from icat_stream.sandbox.kafka.java import _tie

_VERSION = "2.19.6"
_JARS = Jars(
    server="OpenSearch",
    pom=Path(__file__).with_name("pom.xml"),
    folder=f"opensearch-{_VERSION}",
    variable="ICAT_STREAM_OPENSEARCH_JARS",
    proof="opensearch-2.*.jar",
)
_JVM = (
    *("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    # Without its native library it cannot tell that it is run by root, who runs the
    # tests in a container; it refuses to be.
    *("-Djna.nosys=true", "-Djna.nounpack=true"),
    *("-Djava.security.manager=allow", "-Dopensearch.distribution.type=tar"),
    "-Dopensearch.bundled_jdk=false",
)
# As a distribution has them under modules/: class, and what its jars are called.
_MODULES = {
    "transport-netty4": (
        "org.opensearch.transport.Netty4Plugin",
        ("transport-netty4-client-", "netty-"),
    ),
    "analysis-common": (
        "org.opensearch.analysis.common.CommonAnalysisPlugin",
        ("analysis-common-",),
    ),
}
_DESCRIPTOR = """\
name={name}
description={name}
version={version}
opensearch.version={version}
java.version=11
classname={java_class}
"""
_SETTINGS = """\
cluster.name: tests
node.name: tests
discovery.type: single-node
network.host: 127.0.0.1
http.port: {port}
transport.port: {transport}
path.data: {folder}/data
path.logs: {folder}/logs
bootstrap.system_call_filter: false
# The disk of a machine that builds is often fuller than a server's should be.
cluster.routing.allocation.disk.threshold_enabled: false
"""
_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1.} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""
_PORTS = range(20_000, 32_000)


class OpenSearchServer:
    """A server in a process of its own, which ends with the thread that starts it.

    Parameters
    ----------
    folder
        For all that it writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        return self._folder / "server.log"

    def start(self, timeout: float = 120.0) -> None:
        """Start it and wait until it answers; usually 10 s are needed.

        Raises
        ------
        JarsError
            It did not come up; the text has the end of its log.
        """
        classes = self._lay_out(_JARS.fetched())
        home = f"-Dopensearch.path.home={self._folder}"
        config = f"-Dopensearch.path.conf={self._folder}/config"
        command = [java("OpenSearch"), *_JVM, home, config, "-cp", classes]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "org.opensearch.bootstrap.OpenSearch"],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
                start_new_session=True,
                preexec_fn=_tie,
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                end = self.log.read_text(errors="replace")[-2000:]
                raise JarsError(f"OpenSearch does not answer on {self.url}:\n{end}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _lay_out(self, jars: Path) -> str:
        """Make the folders of a distribution; return the class path."""
        if not self._port:
            self._port, transport = _free_ports()
            config = self._folder / "config"
            config.mkdir(parents=True)
            (self._folder / "plugins").mkdir()
            text = _SETTINGS.format(
                port=self._port, transport=transport, folder=self._folder
            )
            (config / "opensearch.yml").write_text(text)
            (config / "log4j2.properties").write_text(_LOGGING)
            for name, (java_class, prefixes) in _MODULES.items():
                module = self._folder / "modules" / name
                module.mkdir(parents=True)
                text = _DESCRIPTOR.format(
                    name=name, version=_VERSION, java_class=java_class
                )
                (module / "plugin-descriptor.properties").write_text(text)
                (module / "plugin-security.policy").write_text(
                    "grant { permission java.security.AllPermission; };\n"
                )
                for jar in jars.glob("*.jar"):
                    if jar.name.startswith(prefixes):
                        shutil.copy(jar, module)
        of_modules = tuple(p for _, each in _MODULES.values() for p in each)
        return ":".join(
            str(jar)
            for jar in sorted(jars.glob("*.jar"))
            if not jar.name.startswith(of_modules)
        )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=2) as answer:
                return bool(json.load(answer)["version"]["number"] == _VERSION)
        except (OSError, ValueError):
            return False


def _free_ports() -> tuple[int, int]:
    found = []
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == 2:
            break
    return found[0], found[1]
