"""Objects of the catalogue, whose relations are loaded for all of a result at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from icat.exception import ICATValidationError

from .connection import Connection
from .errors import QueryError
from .queries import IDS, PAGE, ROWS, among, pages_by_id, select, too_many
from .schema import Kind

Tree = dict[str, "Tree"]


class Item:
    """An object of the catalogue.

    Its attributes and relations are those of ICAT's schema: ``dataset.name``,
    ``dataset.investigation.title``, ``dataset.datafiles``. A relation is loaded when
    it is first looked at, for all objects of the same result in one go. A to-one
    relation that leads nowhere, or to what this user may not read, is None.

    What is assigned stays here until :meth:`Catalogue.update` or
    :meth:`Catalogue.create`.

    Parameters
    ----------
    batch
        The objects that it came with.
    entity
        python-icat's object.
    """

    __slots__ = ("_batch", "_changes", "_loaded", "entity")

    entity: Any
    _batch: Batch
    _loaded: dict[str, Any]
    _changes: dict[str, Any]

    def __init__(self, batch: Batch, entity: Any) -> None:
        put = object.__setattr__
        put(self, "entity", entity)
        put(self, "_batch", batch)
        put(self, "_loaded", {})
        put(self, "_changes", {})

    @property
    def BeanName(self) -> str:
        """The name of its kind, such as ``Dataset``."""
        return self._batch.kind.name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            field = self._batch.kind.field(name)
        except QueryError as error:
            raise AttributeError(str(error)) from None
        if field.name in self._changes:
            return self._changes[field.name]
        if field.relation == "ATTRIBUTE":
            return plain(getattr(self.entity, field.name))
        if field.name not in self._loaded:
            self._batch.load(field.name, self)
        return self._loaded[field.name]

    def __setattr__(self, name: str, value: Any) -> None:
        kind = self._batch.kind
        try:
            field = kind.field(name)
        except QueryError as error:
            raise AttributeError(str(error)) from None
        if field.relation == "MANY" and self.id is not None:
            raise AttributeError(
                f"{kind.name}.{field.name} of what is in ICAT cannot be assigned;"
                f" create or delete {field.type} objects"
            )
        self._changes[field.name] = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Item):
            return NotImplemented
        if self.id is None or other.id is None:
            return self is other
        return (self.BeanName, self.id) == (other.BeanName, other.id)

    def __hash__(self) -> int:
        return hash((self.BeanName, self.id)) if self.id is not None else id(self)

    def __repr__(self) -> str:
        kind = self._batch.kind
        shown = [
            f"{name}={getattr(self, name)!r}"
            for name in ("id", *kind.key, "name", "fullReference")
            if name in kind.fields and kind.fields[name].relation == "ATTRIBUTE"
        ]
        return f"<{kind.name} {' '.join(dict.fromkeys(shown))}>"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._batch.kind.fields})


class Batch:
    """Objects of one kind that were read together.

    Parameters
    ----------
    connection
        Where they are from.
    kind
        What they are.
    """

    __slots__ = ("_connection", "items", "kind")

    def __init__(self, connection: Connection, kind: Kind) -> None:
        self._connection = connection
        self.kind = kind
        self.items: list[Item] = []

    def load(self, relation: str, wanted: Item) -> None:
        """Load a relation of all objects that do not have it yet.

        Parameters
        ----------
        relation
            Its name.
        wanted
            The object that is looked at: it has the relation afterwards.
        """
        field = self.kind.fields[relation]
        many = field.relation == "MANY"
        missing: dict[int, list[Item]] = {}
        for item in [wanted, *self.items]:
            if relation in item._loaded:  # noqa: SLF001 - its own objects
                continue
            if item.id is None:
                item._loaded[relation] = [] if many else None  # noqa: SLF001
            else:
                missing.setdefault(item.id, []).append(item)
        load = _related_many if many else _related_one
        found: dict[int, Any] = {}
        if missing:
            found = load(self._connection, self.kind, relation, list(missing))
        for number, items in missing.items():
            for item in items:
                there = found.get(number)
                item._loaded[relation] = list(there or []) if many else there  # noqa: SLF001


def adopt(
    connection: Connection, kind: Kind, entities: Iterable[Any], included: Tree
) -> list[Item]:
    """Wrap what was read together.

    Parameters
    ----------
    connection
        Where it is from.
    kind
        What it is.
    entities
        python-icat's objects.
    included
        The relations that came with them.
    """
    batch = Batch(connection, kind)
    batch.items = [Item(batch, entity) for entity in entities]
    for name, below in included.items():
        field = kind.fields[name]
        target = connection.schema.kind(field.type)
        groups = [_related(item.entity, name, field.relation) for item in batch.items]
        # The same object under two parents is read twice but is one.
        distinct = {entity.id: entity for group in groups for entity in group}
        children = adopt(connection, target, distinct.values(), below)
        by_id = {child.id: child for child in children}
        for item, group in zip(batch.items, groups, strict=True):
            related = [by_id[entity.id] for entity in group]
            one = related[0] if related else None
            item._loaded[name] = related if field.relation == "MANY" else one  # noqa: SLF001
    return batch.items


def _related(entity: Any, name: str, relation: str) -> Sequence[Any]:
    found = getattr(entity, name)
    if relation == "MANY":
        return list(found)
    return [] if found is None else [found]


def tree(paths: Iterable[Sequence[str]]) -> Tree:
    """Return the relations that paths name, as a tree."""
    root: Tree = {}
    for path in paths:
        level = root
        for word in path:
            level = level.setdefault(word, {})
    return root


def include_clause(included: Mapping[str, Tree], variable: str = "o") -> str:
    """Return the clause that makes ICAT send relations along, empty for none."""
    names = sorted(_paths(variable, included))
    return f"INCLUDE {', '.join(names)}" if names else ""


def _paths(prefix: str, included: Mapping[str, Tree]) -> Iterable[str]:
    for name, below in included.items():
        yield f"{prefix}.{name}"
        yield from _paths(f"{prefix}.{name}", below)


def plain(value: Any) -> Any:
    """Return a text as a text, not as suds' own kind of it."""
    return str.__str__(value) if isinstance(value, str) else value


def by_ids(
    connection: Connection,
    kind: Kind,
    ids: Sequence[int],
    included: Tree,
    size: int = PAGE,
) -> Iterator[list[Item]]:
    """Yield objects in the order of their ids as given; gone ones are left out."""
    clause = include_clause(included)
    start = 0
    while start < len(ids):
        some = ids[start : start + size]
        try:
            rows = connection.search(select(kind.name, among("o", some), then=clause))
        except ICATValidationError as error:
            if not too_many(error) or len(some) == 1:
                raise
            size = len(some) // 2
            continue
        start += len(some)
        place = {number: place for place, number in enumerate(some)}
        rows.sort(key=lambda row: place[row.id])
        yield adopt(connection, kind, rows, included)


def _related_one(
    connection: Connection, kind: Kind, relation: str, ids: Sequence[int]
) -> dict[int, Item]:
    """Return what a to-one relation leads to, by the id that it starts from."""
    target = connection.schema.kind(kind.fields[relation].type)
    pairs: dict[int, int] = {}
    for start in range(0, len(ids), IDS):
        some = among("o", ids[start : start + IDS])
        what = f"o.id, o.{relation}.id"
        pairs.update(connection.search(select(kind.name, some, what=what)))
    distinct = list(dict.fromkeys(pairs.values()))
    pages = by_ids(connection, target, distinct, {}, IDS)
    entities = [item.entity for page in pages for item in page]
    found = {item.id: item for item in adopt(connection, target, entities, {})}
    return {start: found[end] for start, end in pairs.items() if end in found}


def _related_many(
    connection: Connection, kind: Kind, relation: str, ids: Sequence[int]
) -> dict[int, list[Item]]:
    """Return what a to-many relation leads to, by the id that it starts from."""
    target = connection.schema.kind(kind.fields[relation].type)
    found: dict[int, list[Any]] = {}
    start, size = 0, PAGE
    while start < len(ids):
        some = ids[start : start + size]
        clause = f"INCLUDE o.{relation}"
        try:
            rows = connection.search(select(kind.name, among("o", some), then=clause))
        except ICATValidationError as error:
            if not too_many(error):
                raise
            if len(some) > 1:
                size = len(some) // 2
                continue
            found[some[0]] = _children(connection, kind, relation, some[0])
        else:
            found.update((row.id, list(getattr(row, relation))) for row in rows)
        start += len(some)
    together = [entity for group in found.values() for entity in group]
    items = iter(adopt(connection, target, together, {}))
    return {number: [next(items) for _ in group] for number, group in found.items()}


def _children(
    connection: Connection, kind: Kind, relation: str, owner: int
) -> list[Any]:
    """Return what is below one object and too much for one answer."""
    pages = pages_by_id(
        connection.search,
        kind.name,
        [among("o", [owner])],
        what="r",
        joins=f"JOIN o.{relation} r",
        size=ROWS,
        variable="r",
    )
    return [entity for page in pages for entity in page]
