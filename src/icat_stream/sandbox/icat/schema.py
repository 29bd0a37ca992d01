"""ICAT's entities as a table of facts, read from a data file.

Everything else in this package (database tables, WSDL, queries, checks) is derived
from it; no entity is known by name anywhere but where ICAT itself makes an exception.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

ID = "id"
STAMPS = ("createId", "createTime", "modId", "modTime")


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute or a relation of an entity.

    Parameters
    ----------
    name
        Its name.
    type
        ``String``, ``Long``, ``Integer``, ``Double``, ``boolean``, ``Date``, the name
        of an enumeration, or for a relation the name of the entity it leads to.
    relation
        ``ATTRIBUTE``, ``ONE`` or ``MANY``.
    required
        Must not be null.
    length
        Longest string allowed, if there is a limit.
    by
        For a to-many relation: the to-one field of the other entity that makes it.
    default
        Value of an attribute that was not given.
    """

    name: str
    type: str
    relation: str = "ATTRIBUTE"
    required: bool = False
    length: int | None = None
    by: str | None = None
    default: Any = None

    @property
    def column(self) -> str:
        """Name of the database column."""
        return f"{self.name}_id" if self.relation == "ONE" else self.name


@dataclass(frozen=True)
class Entity:
    """One of ICAT's entities.

    Parameters
    ----------
    name
        Its name, ``Dataset``.
    key
        Fields that together are unique; empty if there is no such constraint.
    fields
        All fields by name, ``id`` and the stamps included.
    comment
        What it is, in a sentence.
    """

    name: str
    key: tuple[str, ...]
    fields: dict[str, Field]
    comment: str = ""

    @cached_property
    def element(self) -> str:
        """Name of its type in the web service, ``dataset``."""
        return self.name[0].lower() + self.name[1:]

    @cached_property
    def attributes(self) -> tuple[Field, ...]:
        """Plain attributes, without id and stamps."""
        return tuple(
            field
            for field in self.fields.values()
            if field.relation == "ATTRIBUTE"
            and field.name != ID
            and field.name not in STAMPS
        )

    @cached_property
    def ones(self) -> tuple[Field, ...]:
        """To-one relations."""
        return tuple(f for f in self.fields.values() if f.relation == "ONE")

    @cached_property
    def manys(self) -> tuple[Field, ...]:
        """To-many relations."""
        return tuple(f for f in self.fields.values() if f.relation == "MANY")

    @cached_property
    def owner(self) -> Field | None:
        """For an entity that holds a parameter's value: what the parameter is of."""
        if self.name.endswith("Parameter"):
            return next(field for field in self.ones if field.type != "ParameterType")
        return None


class Schema:
    """All entities of a version of ICAT.

    Parameters
    ----------
    facts
        The content of the data file.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.version: str = facts["apiVersion"]
        self.enums: dict[str, tuple[str, ...]] = {
            name: tuple(values) for name, values in facts["enums"].items()
        }
        self.entities: dict[str, Entity] = {
            name: _entity(name, entry) for name, entry in facts["entities"].items()
        }
        self.by_element = {entity.element: entity for entity in self}

    def __iter__(self) -> Iterator[Entity]:
        return iter(self.entities.values())

    def __getitem__(self, name: str) -> Entity:
        return self.entities[name]

    def target(self, field: Field) -> Entity:
        """Return the entity that a relation leads to.

        Parameters
        ----------
        field
            A to-one or to-many field.
        """
        return self.entities[field.type]


def _entity(name: str, entry: dict[str, Any]) -> Entity:
    stamps = [
        Field(ID, "Long"),
        Field("createId", "String"),
        Field("createTime", "Date"),
        Field("modId", "String"),
        Field("modTime", "Date"),
    ]
    own = [Field(**field) for field in entry["fields"]]
    fields = {f.name: f for f in (*stamps, *own)}
    return Entity(name, tuple(entry["key"]), fields, entry["comment"])


@lru_cache(maxsize=1)
def load_schema() -> Schema:
    """Read the schema that this package ships."""
    text = resources.files(__package__).joinpath("schema-6.2.json").read_text("utf-8")
    return Schema(json.loads(text))
