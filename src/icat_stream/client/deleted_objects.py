"""What a deletion takes away, read before, and made again after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from icat.exception import ICATError, ICATInternalError

from .beans import make_exact, reference
from .connection import Connection
from .natural_keys import condition
from .queries import IDS, among, pages_by_id, select
from .schema import META, Kind

_T = TypeVar("_T")
_Ref = tuple[str, int]
_AT_ONCE = 500
_TOTALS = ("fileCount", "fileSize")


@dataclass(frozen=True)
class Snapshot:
    """Objects with all that is below them.

    Parameters
    ----------
    objects
        By kind and id, each with its to-one relations.
    """

    objects: dict[_Ref, Any]

    @property
    def entities(self) -> list[Any]:
        """The objects."""
        return list(self.objects.values())

    def ids(self) -> dict[str, list[int]]:
        """Return the ids by kind."""
        found: dict[str, list[int]] = {}
        for kind, number in self.objects:
            found.setdefault(kind, []).append(number)
        return found

    def without(self, some: set[_Ref]) -> Snapshot:
        """Return what remains without some of them."""
        return Snapshot({k: v for k, v in self.objects.items() if k not in some})


def take(connection: Connection, roots: Sequence[Any]) -> Snapshot:
    """Read objects and all that ICAT deletes with them."""
    objects: dict[_Ref, Any] = {}
    waiting: dict[str, list[int]] = {}
    for root in roots:
        waiting.setdefault(root.BeanName, []).append(int(root.id))
    for name, numbers in waiting.items():
        for entity in _read(connection, connection.schema.kind(name), "", numbers):
            objects[name, int(entity.id)] = entity
    while waiting:
        name, numbers = waiting.popitem()
        kind = connection.schema.kind(name)
        for below in kind.of("MANY"):
            for entity in _read(connection, kind, below.name, numbers):
                ref = (str(entity.BeanName), int(entity.id))
                if ref not in objects:
                    objects[ref] = entity
                    waiting.setdefault(ref[0], []).append(ref[1])
    return Snapshot(objects)


def _read(
    connection: Connection, kind: Kind, relation: str, numbers: Sequence[int]
) -> list[Any]:
    """Read objects, or what a relation of theirs leads to, with to-one relations."""
    what, join = ("r", f"JOIN o.{relation} r") if relation else ("o", "")
    found: list[Any] = []
    for start in range(0, len(numbers), IDS):
        pages = pages_by_id(
            connection.search,
            kind.name,
            [among("o", numbers[start : start + IDS])],
            what=what,
            joins=join,
            clause="INCLUDE 1",
            variable=what,
        )
        found += [entity for page in pages for entity in page]
    return found


def restore(
    connection: Connection,
    snapshot: Snapshot,
    now: Callable[[str, int], int],
    patiently: Callable[[Callable[[], Any]], Any],
) -> tuple[dict[_Ref, int], list[str]]:
    """Create what was deleted again, what others refer to first.

    Parameters
    ----------
    connection
        Where.
    snapshot
        What.
    now
        Gives the id that something outside has by now.
    patiently
        Repeats a call while the server is away.

    Returns
    -------
    tuple
        New ids by kind and old id, and what could not be created and why.
    """
    made: dict[_Ref, int] = {}
    failed: list[str] = []
    lost: set[_Ref] = set()
    waiting = dict(snapshot.objects)
    while waiting:
        ready: dict[_Ref, Any] = {}
        for ref, entity in waiting.items():
            needs = _needs(connection, entity)
            inside = [r for r in needs if r in snapshot.objects]
            if any(r in lost for r in inside):
                lost.add(ref)
                failed.append(f"the deletion of {ref[0]} {ref[1]}: what it is part of")
            elif all(r in made for r in inside):
                ready[ref] = entity
        waiting = {r: e for r, e in waiting.items() if r not in ready and r not in lost}
        if not ready:
            continue
        refs = list(ready)
        for start in range(0, len(refs), _AT_ONCE):
            some = refs[start : start + _AT_ONCE]
            beans = {r: _again(connection, ready[r], made, now) for r in some}
            done, errors = _create(connection, beans, patiently)
            made.update(done)
            for ref, reason in errors.items():
                lost.add(ref)
                failed.append(f"the deletion of {ref[0]} {ref[1]}: {reason}")
    failed += _keep_totals(connection, snapshot, made, patiently)
    return made, failed


def _keep_totals(
    connection: Connection,
    snapshot: Snapshot,
    made: dict[_Ref, int],
    patiently: Callable[[Callable[[], Any]], Any],
) -> list[str]:
    """Give objects the totals of files that they had; return what could not be done.

    Where ICAT's database keeps them, the files that were made below count on top of
    what the object said.
    """
    failed: list[str] = []
    for name in snapshot.ids():
        kind = connection.schema.kind(name)
        if not kind.fields.keys() >= set(_TOTALS):
            continue
        had = {n: snapshot.objects[ref] for ref, n in made.items() if ref[0] == name}
        for entity in patiently(partial(_read, connection, kind, "", list(had))):
            before = had[int(entity.id)]
            totals = {each: getattr(before, each) for each in _TOTALS}
            if all(getattr(entity, each) == totals[each] for each in _TOTALS):
                continue
            for each, value in totals.items():
                setattr(entity, each, value)
            make_exact(entity)
            try:
                patiently(partial(connection.icat.update, entity))
            except ICATError as error:
                failed.append(f"the totals of {name} {entity.id}: {error}")
    return failed


def _needs(connection: Connection, entity: Any) -> list[_Ref]:
    kind = connection.schema.kind(entity.BeanName)
    targets = [getattr(entity, field.name) for field in kind.of("ONE")]
    return [(str(t.BeanName), int(t.id)) for t in targets if t is not None]


def _again(
    connection: Connection,
    entity: Any,
    made: dict[_Ref, int],
    now: Callable[[str, int], int],
) -> Any:
    """Return a new object with the values of one that was deleted."""
    kind = connection.schema.kind(entity.BeanName)
    targets = {field.name: getattr(entity, field.name) for field in kind.of("ONE")}
    fresh = reference(connection.schema, entity)
    for name in ("id", *META):
        if name in fresh.instance:
            delattr(fresh.instance, name)
    for name, target in targets.items():
        if target is None:
            continue
        old = (str(target.BeanName), int(target.id))
        link = reference(connection.schema, target)
        link.id = made.get(old, now(*old))
        setattr(fresh, name, link)
    make_exact(fresh)
    return fresh


def _create(
    connection: Connection,
    beans: dict[_Ref, Any],
    patiently: Callable[[Callable[[], Any]], Any],
) -> tuple[dict[_Ref, int], dict[_Ref, str]]:
    """Create objects in one call; one by one where ICAT refuses some of them."""
    try:
        return patiently(lambda: _attempt(connection, beans)), {}
    except Exception as error:  # the rest is created all the same
        if len(beans) == 1 or not isinstance(error, ICATError):
            return {}, dict.fromkeys(beans, f"{type(error).__name__}: {error}")
    done: dict[_Ref, int] = {}
    errors: dict[_Ref, str] = {}
    for ref, bean in beans.items():
        some, wrong = _create(connection, {ref: bean}, patiently)
        done.update(some)
        errors.update(wrong)
    return done, errors


def _attempt(connection: Connection, beans: dict[_Ref, Any]) -> dict[_Ref, int]:
    """Create objects, or find that an attempt before this one did."""
    try:
        ids = connection.icat.createMany(list(beans.values()))
        return {ref: int(n) for ref, n in zip(beans, ids, strict=True)}
    except Exception as error:
        if isinstance(error, ICATError) and not isinstance(error, ICATInternalError):
            raise
        there = {ref: _find(connection, bean) for ref, bean in beans.items()}
        if all(number is not None for number in there.values()):
            return {ref: n for ref, n in there.items() if n is not None}
        raise


def _find(connection: Connection, bean: Any) -> int | None:
    kind = connection.schema.kind(bean.BeanName)
    where = condition(connection, kind, bean)
    rows = connection.search(select(kind.name, where, what="o.id"))
    return int(rows[0]) if rows else None
