"""Apache Kafka's jars, fetched once by Maven."""

import fcntl
import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from .errors import BrokerError

_POM = Path(__file__).with_name("pom.xml")
_NAMESPACE = {"m": "http://maven.apache.org/POM/4.0.0"}
# A first download takes 5 to 60 s; a proxy that hangs should not hang us for good.
_TIMEOUT = 600.0


def kafka_version() -> str:
    """Return the broker's version that ``pom.xml`` asks for."""
    # The file is our own package data.
    version = ElementTree.parse(_POM).find(  # noqa: S314
        "m:dependencies/m:dependency/m:version", _NAMESPACE
    )
    if version is None or not version.text:
        raise BrokerError(f"{_POM}: names no version of Kafka")
    return version.text


def default_folder() -> Path:
    """Return where the jars are kept: ``ICAT_STREAM_KAFKA_JARS``, or the user's cache.

    They are fetched once, wherever a facility is started.
    """
    given = os.environ.get("ICAT_STREAM_KAFKA_JARS")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "icat-stream" / f"kafka-{kafka_version()}"


def java() -> str:
    """Return the ``java`` to use.

    Raises
    ------
    BrokerError
        There is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else None
    found = found or shutil.which("java")
    if found is None:
        raise BrokerError(
            "a real Kafka broker needs Java 17 or newer, and there is no `java` in PATH"
            " or JAVA_HOME: install a JRE, or use the embedded broker"
        )
    return found


def kafka_jars(folder: Path | None = None) -> Path:
    """Return a folder with the broker's jars, fetched if they are not there yet.

    Any number of processes may ask at the same time: one fetches, the others wait.

    Parameters
    ----------
    folder
        Where to keep them, :func:`default_folder` by default.

    Raises
    ------
    BrokerError
        Maven is missing or could not fetch them.
    """
    folder = (folder or default_folder()).absolute()
    if _complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _complete(folder):
            _fetch(folder)
    return folder


def _complete(folder: Path) -> bool:
    # Only whole downloads are renamed to this name; a folder given by hand may lack it.
    return any(folder.glob("kafka-server-*.jar"))


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError(
            f"no Kafka jars in {folder}, and no `mvn` in PATH to fetch them: install"
            " Maven, or let ICAT_STREAM_KAFKA_JARS name a folder with the jars"
        )
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    shutil.copy(_POM, partial / "pom.xml")
    command = [maven, "-q", "-B", "-f", str(partial / "pom.xml")]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise BrokerError(
            f"`{' '.join(command)}` did not end within {_TIMEOUT:.0f} s: is Maven's"
            " repository reachable?"
        ) from None
    if done.returncode != 0 or not _complete(partial):
        text = (done.stdout + done.stderr).strip()[-2000:]
        raise BrokerError(f"`{' '.join(command)}` could not fetch the jars:\n{text}")
    if folder.exists():
        # Something incomplete of that name; ours is whole.
        shutil.rmtree(folder)
    partial.rename(folder)
