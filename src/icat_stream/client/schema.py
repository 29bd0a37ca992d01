"""What the server's entities are, as it tells them itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import QueryError, nearest

PLAIN_TYPES = frozenset({"String", "Integer", "Long", "Double", "boolean", "Date"})
META = ("createId", "createTime", "modId", "modTime")


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute or a relation.

    Parameters
    ----------
    name
        Its name.
    type
        ``String``, ``Long``, …, the name of an enumeration, or for a relation the
        kind that it leads to.
    relation
        ``ATTRIBUTE``, ``ONE`` or ``MANY``.
    nullable
        Whether it may have no value.
    """

    name: str
    type: str
    relation: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """An entity of the schema: Dataset, Datafile, ….

    Parameters
    ----------
    name
        Its name.
    fields
        By name.
    key
        The fields that tell one object from another; empty if nothing does.
    aliases
        Other names that python-icat has for some fields.
    """

    name: str
    fields: Mapping[str, Field]
    key: tuple[str, ...]
    aliases: Mapping[str, str]

    def field(self, name: str) -> Field:
        """Return a field.

        Raises
        ------
        QueryError
            There is none of this name.
        """
        try:
            return self.fields[self.aliases.get(name, name)]
        except KeyError:
            raise QueryError(
                f"{self.name} has no attribute or relation {name!r}:"
                f" {nearest(name, self.fields)}"
            ) from None

    def of(self, relation: str) -> list[Field]:
        """Return the fields that are ``ATTRIBUTE``, ``ONE`` or ``MANY``."""
        return [field for field in self.fields.values() if field.relation == relation]


class Schema:
    """The kinds of one server; each is asked for once, when it is first needed."""

    def __init__(self, icat: Any) -> None:
        self._icat = icat
        self._kinds: dict[str, Kind] = {}
        self._enums: dict[str, frozenset[str]] = {}

    def kind(self, name: str) -> Kind:
        """Return a kind by its name; upper and lower case do not matter.

        Raises
        ------
        QueryError
            The server has none of this name.
        """
        if name not in self._kinds:
            self._kinds[name] = self._read(name)
        return self._kinds[name]

    def values_of(self, enum: str) -> frozenset[str]:
        """Return the values of an enumeration."""
        if enum not in self._enums:
            listed = self._icat.factory.create(enum[0].lower() + enum[1:])
            self._enums[enum] = frozenset(str(name) for name, _ in listed)
        return self._enums[enum]

    def _read(self, name: str) -> Kind:
        # The type map has each class under two spellings of its name.
        classes = {
            cls.BeanName: cls for cls in self._icat.typemap.values() if cls.BeanName
        }
        by_lower = {str(bean).lower(): cls for bean, cls in classes.items()}
        cls = by_lower.get(str(name).lower())
        if cls is None:
            raise QueryError(f"ICAT has no entity {name!r}: {nearest(name, classes)}")
        fields = {
            str(field.name): Field(
                name=str(field.name),
                type=str(field.type),
                relation=str(field.relType),
                nullable=not field.notNullable,
            )
            for field in self._icat.getEntityInfo(cls.BeanName).fields
        }
        for meta in META:
            date = meta.endswith("Time")
            fields.setdefault(
                meta, Field(meta, "Date" if date else "String", "ATTRIBUTE", False)
            )
        fields.setdefault("id", Field("id", "Long", "ATTRIBUTE", False))
        key = tuple(name for name in cls.Constraint if name != "id")
        return Kind(str(cls.BeanName), fields, key, dict(cls.AttrAlias))
