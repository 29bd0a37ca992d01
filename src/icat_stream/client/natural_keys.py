"""Finding objects by what tells them from others, whatever their ids are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .beans import as_stored
from .literals import check, literal
from .queries import select
from .schema import META, Field, Kind

if TYPE_CHECKING:
    from .catalogue import Catalogue

_AT_ONCE = 50


def matching(catalogue: Catalogue, entities: Sequence[Any]) -> dict[str, set[int]]:
    """Return the ids, by kind, of what in ICAT has the keys of some objects.

    What has no key in ICAT matches if it has all of an object's values.

    Parameters
    ----------
    catalogue
        Where to look.
    entities
        python-icat's objects; what they refer to has ids.
    """
    by_kind: dict[str, list[str]] = {}
    for entity in entities:
        kind = catalogue.schema.kind(entity.BeanName)
        by_kind.setdefault(kind.name, []).append(condition(catalogue, kind, entity))
    found: dict[str, set[int]] = {}
    for name, conditions in by_kind.items():
        numbers = found.setdefault(name, set())
        for start in range(0, len(conditions), _AT_ONCE):
            either = " OR ".join(conditions[start : start + _AT_ONCE])
            rows = catalogue.search(select(name, either, what="o.id"))
            numbers.update(int(number) for number in rows)
    return found


def condition(catalogue: Catalogue, kind: Kind, entity: Any) -> str:
    """Return the condition that an object's key makes."""
    fields = [kind.fields[name] for name in kind.key] or [
        field
        for field in kind.fields.values()
        if field.relation != "MANY" and field.name not in (*META, "id")
    ]
    texts = [_equal(catalogue, kind, field, entity) for field in fields]
    return f"({' AND '.join(texts)})"


def _equal(catalogue: Catalogue, kind: Kind, field: Field, entity: Any) -> str:
    value = as_stored(getattr(entity, field.name))
    if value is None:
        return f"o.{field.name} IS NULL"
    if field.relation == "ONE":
        return f"o.{field.name}.id = {int(value.id)}"
    value = check(catalogue.schema, field, value, f"{kind.name}.{field.name}")
    if isinstance(value, dt.datetime):
        value = catalogue.clock.wall(kind, field, value.replace(microsecond=0))
    return f"o.{field.name} = {literal(field, value)}"
