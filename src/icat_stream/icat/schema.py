"""What this server's schema is: entities, attributes, their limits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icat_stream.telemetry import client_span

from . import soap
from .connection import Connection
from .faults import IcatFault, ResultUnknown, unavailable
from .xml_text import escape

_META = frozenset({"id", "createId", "createTime", "modId", "modTime"})


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute or a relation of an entity.

    Parameters
    ----------
    type
        ``String``, ``Double``, ``Long`` … or the entity a relation leads to.
    relation
        ``ATTRIBUTE``, ``ONE`` or ``MANY``.
    length
        Of a string, at most.
    """

    type: str
    relation: str
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """A server's version and its entities.

    Parameters
    ----------
    version
        Of icat.server.
    entities
        Fields by name, by entity.
    """

    version: str
    entities: Mapping[str, Mapping[str, Field]]

    def has(self, entity: str, field: str) -> bool:
        """Whether an entity has a field."""
        return field in self.entities.get(entity, {})

    def length(self, entity: str, field: str) -> int | None:
        """Return how long a string may be, ``None`` for no limit."""
        return self.entities[entity][field].length

    def attributes(self, entity: str) -> list[str]:
        """Return the names of the attributes that a client may set, sorted."""
        fields = self.entities[entity].items()
        return sorted(
            name
            for name, field in fields
            if field.relation == "ATTRIBUTE" and name not in _META
        )

    def to_one(self, entity: str) -> dict[str, str]:
        """Return the to-one relations and where they lead."""
        fields = self.entities[entity].items()
        return {n: f.type for n, f in fields if f.relation == "ONE"}


def from_info(version: str, infos: Mapping[str, Iterable[Mapping[str, str]]]) -> Schema:
    """Return a schema made of the answers to ``getEntityInfo``.

    Parameters
    ----------
    version
        Of the server.
    infos
        The fields by entity; each has ``name``, ``type``, ``relType`` and maybe
        ``stringLength``.
    """
    entities = {}
    for entity, fields in infos.items():
        entities[entity] = {
            field["name"]: Field(
                type=field["type"],
                relation=field["relType"],
                length=_number(field.get("stringLength")),
            )
            for field in fields
        }
    return Schema(version, entities)


def discover(url: str, timeout: float, ca_file: Path | None = None) -> Schema:
    """Ask a server for its schema.

    Parameters
    ----------
    url
        Of ICAT.
    timeout
        Of each call, in seconds.
    ca_file
        As for :class:`Connection`.

    Raises
    ------
    SystemUnavailable
        It did not answer, or not as an ICAT does.
    """
    # Not through python-icat: to import it, to read the WSDL and to make a class of
    # each entity costs a quarter of a daemon's start, for the same answers.
    connection = Connection(url, timeout, ca_file)

    def ask(operation: str, arguments: str = "") -> list[Any]:
        body = soap.question(operation, arguments)
        with client_span(f"icat.{operation}"):
            answer = connection.request(
                "POST", soap.PATH, body, soap.CONTENT_TYPE, repeatable=True
            )
        return soap.values(answer, operation)

    try:
        (version,) = ask("getApiVersion")
        infos = {}
        for name in ask("getEntityNames"):
            (info,) = ask("getEntityInfo", f"<beanName>{escape(name)}</beanName>")
            infos[name] = info["fields"]
        return from_info(version, infos)
    except (IcatFault, ResultUnknown, KeyError, TypeError, ValueError) as error:
        raise unavailable(
            f"ICAT at {url} did not tell its schema: {type(error).__name__} {error}"
        ) from error
    finally:
        connection.close()


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
