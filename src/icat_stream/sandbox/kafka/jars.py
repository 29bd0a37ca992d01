"""Apache Kafka's jars, fetched once by Maven."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icat_stream.sandbox import jars

from .errors import BrokerError

_POM = Path(__file__).with_name("pom.xml")
_NAMESPACE = {"m": "http://maven.apache.org/POM/4.0.0"}


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
    return _jars().default_folder()


def java() -> str:
    """Return the ``java`` to use.

    Raises
    ------
    BrokerError
        There is none.
    """
    with _of_the_broker():
        return jars.java("a real Kafka broker")


def kafka_jars(folder: Path | None = None) -> Path:
    """Return a folder with the broker's jars, fetched if they are not there yet.

    Parameters
    ----------
    folder
        Where to keep them, :func:`default_folder` by default.

    Raises
    ------
    BrokerError
        Maven is missing or could not fetch them.
    """
    with _of_the_broker():
        return _jars().fetched(folder)


def _jars() -> jars.Jars:
    return jars.Jars(
        server="Kafka",
        pom=_POM,
        folder=f"kafka-{kafka_version()}",
        variable="ICAT_STREAM_KAFKA_JARS",
        proof="kafka-server-*.jar",
    )


@contextmanager
def _of_the_broker() -> Iterator[None]:
    try:
        yield
    except jars.JarsError as error:
        raise BrokerError(f"{error}, or use the embedded broker") from error
