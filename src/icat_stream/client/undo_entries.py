"""What a script did to the catalogue, each with the way to undo it."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from icat.exception import (
    ICATError,
    ICATInternalError,
    ICATNoObjectError,
    ICATSessionError,
)

from .beans import entity_of, make_exact, reference
from .connection import Connection
from .deleted_objects import Snapshot, restore
from .exact_text import as_stored
from .natural_keys import matching
from .objects import Objects
from .queries import IDS, PAGE, ROWS, among, pages_by_id
from .schema import Kind

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# A server that restarts is back within these pauses, in seconds.
PAUSES = (0.2, 1.0, 3.0, 10.0)


@dataclass
class Report:
    """What an undoing did.

    Parameters
    ----------
    undone
        One line for each thing that is as it was before.
    failed
        What could not be undone, and why.
    notes
        What is not quite as it was, such as ids.
    moved
        New ids of what was deleted and is there again, by kind and old id.
    """

    undone: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    moved: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everything could be undone."""
        return not self.failed

    def __str__(self) -> str:
        lines = [f"rollback: {len(self.undone)} undone, {len(self.failed)} not"]
        lines += [f"undone: {line}" for line in self.undone]
        lines += [f"NOT UNDONE: {line}" for line in self.failed]
        lines += [f"note: {line}" for line in self.notes]
        return "\n".join(lines)


class Context:
    """What all undoing of a block shares."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.moved: dict[tuple[str, int], int] = {}
        self.kept: dict[str, set[int]] = {}
        self._user: str | None = None

    @property
    def user(self) -> str:
        """The name under which this client writes."""
        if self._user is None:
            self._user = str(self.connection.icat.getUserName())
        return self._user

    def objects(self, kind: str) -> Objects:
        """Return the objects of a kind, to be narrowed."""
        return Objects(self.connection, self.connection.schema.kind(kind))

    def now(self, kind: str, number: int) -> int:
        """Return the id that something has now."""
        while (kind, number) in self.moved:
            number = self.moved[kind, number]
        return number


def patiently(icat: Any, call: Callable[[], _T]) -> _T:
    """Do something that may be done twice, again while the server is away.

    Parameters
    ----------
    icat
        python-icat's client; its session is renewed if it has expired.
    call
        Raises ICATError for what will not get better.
    """
    for pause in PAUSES:
        try:
            return call()
        except ICATSessionError:
            # ICAT revives a session that has expired, and no other.
            icat.refresh()
        except ICATError as error:
            if not isinstance(error, ICATInternalError):
                raise
            _log.info("undoing: %s; again in %g s", error, pause)
        except Exception as error:  # suds and urllib raise whatever they like
            _log.info("undoing: %s; again in %g s", type(error).__name__, pause)
        time.sleep(pause)
    return call()


class Entry:
    """Something that was done, or may have been."""

    def __init__(self) -> None:
        self.forget: Callable[[], None] = lambda: None

    def refused(self) -> None:
        """ICAT did not do it."""
        self.forget()

    def undo(self, context: Context, report: Report) -> None:
        """Undo it as far as that goes, and report."""
        try:
            self._undo(context, report)
        except Exception as error:
            # The rest is undone all the same.
            report.failed.append(f"{self}: {type(error).__name__}: {error}")

    def _undo(self, context: Context, report: Report) -> None:
        # Each kind of entry has its own way.
        raise NotImplementedError


class Created(Entry):
    """Objects that were created.

    Parameters
    ----------
    entities
        As they were sent.
    before
        Ids of what looked the same before: by kind.
    """

    def __init__(self, entities: list[Any], before: dict[str, set[int]]) -> None:
        super().__init__()
        self._entities = entities
        self._before = before
        self._ids: dict[str, set[int]] | None = None

    def __str__(self) -> str:
        return f"the creation of {_count(self._entities)}"

    def done(self, ids: Sequence[int]) -> None:
        """ICAT said that it created them."""
        self._ids = {}
        for entity, number in zip(self._entities, ids, strict=True):
            self._ids.setdefault(entity.BeanName, set()).add(number)

    def _undo(self, context: Context, report: Report) -> None:
        icat = context.connection.icat
        ids = self._ids
        how = ""
        if ids is None:
            # No answer came: what is there now and was not before is what was made.
            found = patiently(
                icat, lambda: matching(context.connection, self._entities)
            )
            ids = {k: n - self._before.get(k, set()) for k, n in found.items()}
            how = ", whose creation had not been answered"
        for name, numbers in ids.items():
            kind = context.connection.schema.kind(name)
            now = [context.now(name, number) for number in numbers]
            gone, kept = patiently(icat, partial(self._remove, context, kind, now))
            for number, below in kept.items():
                context.kept.setdefault(name, set()).add(number)
                report.failed.append(
                    f"the creation of {name} {number}: by now there are"
                    f" {', '.join(sorted(below))} of others below it"
                )
            if gone:
                what = ", ".join(map(str, gone[:5])) + (", …" if gone[5:] else "")
                report.undone.append(f"created {name} {what}{how}: deleted")

    def _remove(
        self, context: Context, kind: Kind, numbers: list[int]
    ) -> tuple[list[int], dict[int, set[str]]]:
        """Delete what is there; return what is gone then, and what has to stay."""
        connection = context.connection
        present = list(context.objects(kind.name).filter(id__in=numbers).ids())
        kept = _strangers(context, kind, present)
        mine = [number for number in present if number not in kept]
        for start in range(0, len(mine), PAGE):
            some = mine[start : start + PAGE]
            beans = [connection.icat.new(kind.name, id=number) for number in some]
            connection.icat.deleteMany(beans)
        return sorted(set(numbers) - set(kept)), kept


class Changed(Entry):
    """An object that was changed.

    Parameters
    ----------
    kind, number
        Which.
    before, after
        Values by field; for a relation, the id.
    """

    def __init__(
        self,
        kind: Kind,
        number: int,
        before: dict[str, Any],
        after: dict[str, Any],
    ) -> None:
        super().__init__()
        self._kind = kind
        self._number = number
        self._before = before
        self._after = after

    def __str__(self) -> str:
        names = ", ".join(self._before)
        return f"the change of {names} of {self._kind.name} {self._number}"

    def _undo(self, context: Context, report: Report) -> None:
        try:
            others = patiently(context.connection.icat, lambda: self._restore(context))
        except ICATNoObjectError:
            report.failed.append(f"{self}: it is not there any more")
            return
        number = context.now(self._kind.name, self._number)
        for name, value in others.items():
            report.failed.append(
                f"the change of {name} of {self._kind.name} {number}: somebody else"
                f" made it {value!r} since"
            )
        restored = [name for name in self._before if name not in others]
        if restored:
            report.undone.append(
                f"changed {', '.join(restored)} of {self._kind.name} {number}:"
                " as before"
            )

    def _restore(self, context: Context) -> dict[str, Any]:
        """Write the old values; return those that others wrote meanwhile."""
        connection, kind = context.connection, self._kind
        entity = connection.read(kind, context.now(kind.name, self._number))
        others: dict[str, Any] = {}
        back: dict[str, Any] = {}
        for name, before in self._before.items():
            current, after = value_of(kind, entity, name), self._after[name]
            target = kind.fields[name].type
            if kind.fields[name].relation == "ONE":
                before = before and context.now(target, before)
                after = after and context.now(target, after)
            if _same(current, before):
                continue
            if not _same(current, after):
                others[name] = current
            elif kind.fields[name].relation == "ONE" and before is not None:
                found = connection.read(connection.schema.kind(target), before)
                back[name] = reference(connection.schema, found)
            else:
                back[name] = before
        if back:
            for name, value in back.items():
                setattr(entity, name, value)
            make_exact(entity)
            connection.icat.update(entity)
        return others


class Deleted(Entry):
    """Objects that were deleted.

    Parameters
    ----------
    snapshot
        All that there was.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._snapshot = snapshot

    def __str__(self) -> str:
        return f"the deletion of {_count(self._snapshot.entities)}"

    def _undo(self, context: Context, report: Report) -> None:
        connection = context.connection
        there = patiently(
            connection.icat,
            lambda: {
                (kind, number)
                for kind, numbers in self._snapshot.ids().items()
                for number in Objects(connection, connection.schema.kind(kind))
                .filter(id__in=numbers)
                .ids()
            },
        )
        gone = self._snapshot.without(there)
        if not gone.entities:
            return

        def again(call: Callable[[], _T]) -> _T:
            return patiently(connection.icat, call)

        made, failed = restore(connection, gone, context.now, again)
        context.moved.update(made)
        report.moved.update(made)
        report.failed += failed
        if made:
            kinds = [kind for kind, _ in made]
            report.undone.append(f"deleted {_count_names(kinds)}: created again")
            pairs = [f"{kind} {old} is {new} now" for (kind, old), new in made.items()]
            report.notes.append(
                "what was deleted has new ids, and is by this user and of this time: "
                + "; ".join(pairs[:20])
                + ("; …" if len(pairs) > 20 else "")
            )


def _strangers(
    context: Context, kind: Kind, numbers: Sequence[int]
) -> dict[int, set[str]]:
    """Return what is below objects and not this user's: deleting takes it along."""
    found: dict[int, set[str]] = {}
    user = context.user.replace("'", "''")
    for start in range(0, len(numbers), IDS):
        some = among("o", numbers[start : start + IDS])
        for below in kind.of("MANY"):
            theirs = f"r.createId <> '{user}'"
            if kept := context.kept.get(below.type):
                theirs = f"({theirs} OR {among('r', sorted(kept))})"
            pages = pages_by_id(
                context.connection.search,
                kind.name,
                [some, theirs],
                what="DISTINCT o.id",
                joins=f"JOIN o.{below.name} r",
                size=ROWS,
            )
            for number in (number for page in pages for number in page):
                found.setdefault(int(number), set()).add(below.name)
    return found


def value_of(kind: Kind, entity: Any, name: str) -> Any:
    """Return a field of an object as it is; of a to-one relation, the id."""
    value = getattr(entity, name)
    if kind.fields[name].relation == "ONE":
        return None if value is None else int(value.id)
    return as_stored(value)


def id_or_value(value: Any) -> Any:
    """Return the id of an object, and any other value as it is."""
    target = entity_of(value)
    return int(target.id) if hasattr(target, "BeanName") else value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dt.datetime) and isinstance(other, dt.datetime):
        if one.tzinfo is None or other.tzinfo is None:
            one, other = one.replace(tzinfo=None), other.replace(tzinfo=None)
        # ICAT's databases keep whole seconds.
        return bool(abs(one - other) < dt.timedelta(seconds=1))
    return bool(one == other)


def _count(entities: Sequence[Any]) -> str:
    return _count_names([str(entity.BeanName) for entity in entities])


def _count_names(names: Sequence[str]) -> str:
    counts = {name: names.count(name) for name in sorted(set(names))}
    return ", ".join(f"{count} {name}" for name, count in counts.items())
