"""Finding objects by what tells them from others, whatever their ids are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from .connection import Connection
from .exact_text import as_stored
from .literals import check, literal
from .queries import select
from .schema import META, Field, Kind

_AT_ONCE = 50


def matching(connection: Connection, entities: Sequence[Any]) -> dict[str, set[int]]:
    """Return the ids, by kind, of what in ICAT has the keys of some objects.

    What has no key in ICAT matches if it has all of an object's values.

    Parameters
    ----------
    connection
        Where to look.
    entities
        python-icat's objects; what they refer to has ids.
    """
    by_kind: dict[str, list[str]] = {}
    for entity in entities:
        kind = connection.schema.kind(entity.BeanName)
        by_kind.setdefault(kind.name, []).append(condition(connection, kind, entity))
    found: dict[str, set[int]] = {}
    for name, conditions in by_kind.items():
        numbers = found.setdefault(name, set())
        for start in range(0, len(conditions), _AT_ONCE):
            either = " OR ".join(conditions[start : start + _AT_ONCE])
            rows = connection.search(select(name, either, what="o.id"))
            numbers.update(int(number) for number in rows)
    return found


def condition(connection: Connection, kind: Kind, entity: Any) -> str:
    """Return the condition that an object's key makes."""
    fields = [kind.fields[name] for name in kind.key] or [
        field
        for field in kind.fields.values()
        if field.relation != "MANY" and field.name not in (*META, "id")
    ]
    texts = [_equal(connection, kind, field, entity) for field in fields]
    return f"({' AND '.join(texts)})"


def _equal(connection: Connection, kind: Kind, field: Field, entity: Any) -> str:
    value = as_stored(getattr(entity, field.name))
    if value is None:
        return f"o.{field.name} IS NULL"
    if field.relation == "ONE":
        return f"o.{field.name}.id = {int(value.id)}"
    value = check(connection.schema, field, value, f"{kind.name}.{field.name}")
    if isinstance(value, dt.datetime):
        value = connection.clock.wall(kind, field, value.replace(microsecond=0))
    return f"o.{field.name} = {literal(field, value)}"
