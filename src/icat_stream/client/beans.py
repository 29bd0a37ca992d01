"""What is sent to ICAT: python-icat's objects, cut down to what belongs there."""

import copy
from collections.abc import Mapping
from typing import Any

from .errors import QueryError, shorten
from .exact_text import exact
from .items import Item
from .schema import META, Field, Kind, Schema


def make_exact(entity: Any) -> None:
    """Make suds send the texts that an object was read with as they are."""
    instance = entity.instance
    for name in list(instance.__keylist__):
        value = getattr(instance, name)
        if isinstance(value, str):
            setattr(instance, name, exact(value))


def entity_of(thing: Any) -> Any:
    """Return python-icat's object of an item, or the object itself."""
    return thing.entity if isinstance(thing, Item) else thing


def reference(schema: Schema, entity: Any) -> Any:
    """Return an object for others to refer to: its attributes, no relations.

    The attributes go along because ICAT checks a parameter against its type as it is
    sent, not as it is stored.
    """
    kind = schema.kind(entity.BeanName)
    instance = bare(entity.instance)
    for field in kind.fields.values():
        if field.relation != "ATTRIBUTE" and field.name in instance:
            delattr(instance, field.name)
    made = entity.client.new(instance)
    make_exact(made)
    return made


def bare(instance: Any) -> Any:
    """Return a copy of one of suds' objects that can be cut without harm."""
    made = copy.copy(instance)
    # The copy would share the list of what it has.
    made.__keylist__ = list(instance.__keylist__)
    return made


def fill(schema: Schema, kind: Kind, entity: Any, values: Mapping[str, Any]) -> None:
    """Give one of python-icat's objects its values.

    Parameters
    ----------
    schema
        Of the server.
    kind
        What it is.
    entity
        The object.
    values
        By field; items, python-icat's objects or lists of them for relations.
    """
    for name, value in values.items():
        field = kind.field(name)
        if field.name in META or field.name == "id":
            raise QueryError(f"{kind.name}.{field.name} is set by ICAT alone")
        setattr(entity, field.name, _sendable(schema, field, value))


def _sendable(schema: Schema, field: Field, value: Any) -> Any:
    if field.relation == "MANY":
        return [entity_of(child) for child in value]
    if value is None:
        return None
    if field.relation == "ONE":
        target = entity_of(value)
        if getattr(target, "BeanName", None) != field.type or target.id is None:
            raise QueryError(
                f"{field.name}: expected a {field.type} that is in ICAT, not"
                f" {shorten(value)}"
            )
        return reference(schema, target)
    return exact(value) if isinstance(value, str) else value
