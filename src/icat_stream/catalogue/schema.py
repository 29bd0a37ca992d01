"""What this server's schema is: entities, attributes, their limits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .faults import unavailable

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


def from_info(version: str, infos: Mapping[str, Iterable[Any]]) -> Schema:
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
        entities[str(entity)] = {
            str(field["name"]): Field(
                type=str(field["type"]),
                relation=str(field["relType"]),
                length=_number(_get(field, "stringLength")),
            )
            for field in fields
        }
    return Schema(version, entities)


def discover(url: str, timeout: float) -> Schema:
    """Ask a server for its schema.

    Parameters
    ----------
    url
        Of ICAT.
    timeout
        Of each call, in seconds.

    Raises
    ------
    SystemUnavailable
        It did not answer, or not as an ICAT does.
    """
    # Half a second to import and construct: only where it is needed.
    import icat
    import icat.client

    try:
        client = icat.client.Client(url, cache=None)
        client.set_options(timeout=timeout)
        # It read all of them when it was made, but keeps the fields for itself.
        infos = {
            str(name): client.getEntityInfo(name).fields
            for name in client.getEntityNames()
        }
        return from_info(str(client.apiversion), infos)
    except Exception as error:  # suds and python-icat raise Exception itself
        raise unavailable(
            f"ICAT at {url} did not tell its schema: {type(error).__name__} {error}"
        ) from error


def _get(field: Any, name: str) -> Any:
    # suds objects have no get.
    return field[name] if name in field else None


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
