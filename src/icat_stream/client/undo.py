"""Undoing what a block of a script did to the catalogue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from .connection import Connection
from .deleted_objects import take
from .natural_keys import matching
from .schema import Kind
from .undo_entries import (
    Changed,
    Context,
    Created,
    Deleted,
    Entry,
    Report,
    id_or_value,
    value_of,
)

_log = logging.getLogger(__name__)
_E = TypeVar("_E", bound=Entry)


class Undo:
    """The context of :meth:`Catalogue.rollback`.

    Parameters
    ----------
    connection
        What is written through it is noted here.
    outer
        The block around this one.
    use
        Has writes noted in an undo from then on, or in none.
    """

    def __init__(
        self,
        connection: Connection,
        outer: Undo | None,
        use: Callable[[Undo | None], None],
    ) -> None:
        self._connection = connection
        self._use = use
        self._outer = outer
        self._entries: list[Entry] = []
        self._points: dict[str, int] = {}
        self._context: Context = (
            outer._context if outer else Context(connection)  # noqa: SLF001
        )

    def __enter__(self) -> Self:
        self._use(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                self._fail(error)
            elif self._outer is not None:
                self._outer._entries += self._entries  # noqa: SLF001 - of its own kind
        finally:
            self._use(self._outer)

    def point(self, name: str) -> None:
        """Name this moment, for :meth:`to`."""
        if name in self._points:
            raise ValueError(f"there is a point {name!r} already")
        self._points[name] = len(self._entries)

    def to(self, name: str) -> Report:
        """Undo what was done since a point, which stays.

        Raises
        ------
        ValueError
            There is no such point.
        """
        if name not in self._points:
            known = ", ".join(self._points) or "none"
            raise ValueError(f"there is no point {name!r}; there are: {known}")
        return self._back_to(self._points[name])

    def rollback(self) -> Report:
        """Undo everything since the block began; it may go on after that."""
        return self._back_to(0)

    # What the catalogue notes, each time before it writes

    def creating(self, entities: Sequence[Any]) -> Created:
        """Note that objects are about to be created."""
        before = matching(self._connection, entities)
        return self._note(Created(list(entities), before))

    def changing(self, kind: Kind, entity: Any, changes: Mapping[str, Any]) -> Changed:
        """Note that an object, as it was just read, is about to be changed."""
        before = {name: value_of(kind, entity, name) for name in changes}
        after = {name: id_or_value(value) for name, value in changes.items()}
        return self._note(Changed(kind, int(entity.id), before, after))

    def deleting(self, entities: Sequence[Any]) -> Deleted:
        """Note that objects are about to be deleted, with all that is below them."""
        return self._note(Deleted(take(self._connection, entities)))

    def _note(self, entry: _E) -> _E:
        entry.forget = lambda: self._entries.remove(entry)
        self._entries.append(entry)
        return entry

    def _back_to(self, start: int) -> Report:
        report = Report()
        # What is created again now is not part of the block.
        self._use(None)
        try:
            while len(self._entries) > start:
                self._entries.pop().undo(self._context, report)
        finally:
            self._use(self)
        self._points = {n: at for n, at in self._points.items() if at <= start}
        return report

    def _fail(self, error: BaseException) -> None:
        count = len(self._entries)
        report = self._back_to(0)
        if count:
            error.add_note(str(report))
        if not report.complete:
            _log.warning("%s", report)
