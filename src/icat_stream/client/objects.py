"""Questions to the catalogue, put together step by step and asked when looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from icat.exception import ICATValidationError

from .conditions import Group, Writer, parse, parts, walk
from .connection import Connection
from .errors import NotFound, QueryError, SeveralFound
from .items import Item, Tree, adopt, by_ids, include_clause, plain, tree
from .queries import PAGE, ROWS, id_of, pages_by_id, select, too_many
from .schema import Kind


@dataclass(frozen=True)
class Objects:
    """The objects of one kind that fulfil some conditions.

    Nothing is asked before it is iterated over, or one of :meth:`get`, :meth:`first`,
    :meth:`count`, :meth:`exists` or :meth:`values` is called; each time it is asked
    anew. Every method that narrows it returns a new one.

    Iteration reads pages by id, so that objects that come, go or change meanwhile
    make it neither skip nor repeat others.
    """

    connection: Connection
    kind: Kind
    groups: tuple[Group, ...] = ()
    order: tuple[tuple[tuple[str, ...], bool], ...] = ()
    included: tuple[tuple[str, ...], ...] = ()
    at_most: int | None = None
    page: int = PAGE

    def filter(self, **conditions: Any) -> Objects:
        """Keep what fulfils all of the conditions.

        Parameters
        ----------
        conditions
            Named ``attribute``, ``attribute__operator`` or
            ``relation__attribute__operator``. Where a relation leads to many objects,
            conditions of one call are about the same one of them.

        Raises
        ------
        QueryError
            An unknown name, or a value that cannot be.
        """
        group = parse(self.connection.schema, self.kind, conditions)
        return replace(self, groups=(*self.groups, group)) if conditions else self

    def exclude(self, **conditions: Any) -> Objects:
        """Keep exactly what :meth:`filter` with the same conditions would not."""
        group = replace(
            parse(self.connection.schema, self.kind, conditions), negated=True
        )
        longest = max((len(c.values) for c in group.conditions), default=0)
        if longest > ROWS:
            raise QueryError(
                f"exclude() takes lists of up to {ROWS:,} values, not {longest:,}:"
                " they cannot be split; leave them out in the script"
            )
        return replace(self, groups=(*self.groups, group)) if conditions else self

    def order_by(self, *names: str) -> Objects:
        """Sort by attributes, also of to-one relations; ``-`` in front: descending.

        Up to a page is sorted by ICAT's database, as it sorts texts and nulls. More
        is sorted here: texts by code point, objects without a value last.
        """
        order = tuple(
            (self._to_one(name.removeprefix("-")), name.startswith("-"))
            for name in names
        )
        return replace(self, order=order)

    def include(self, *paths: str) -> Objects:
        """Read related objects along, in the same calls.

        Parameters
        ----------
        paths
            Such as ``"investigation"``, ``"datafiles"`` or ``"parameters.type"``.
        """
        resolved = [
            tuple(
                field.name
                for field, _ in walk(self.connection.schema, self.kind, _words(path))
            )
            for path in paths
        ]
        return replace(self, included=(*self.included, *resolved))

    def limit(self, count: int) -> Objects:
        """Take the first so many only."""
        if count < 0:
            raise QueryError(f"limit({count}): expected a number from 0")
        return replace(self, at_most=count)

    def in_pages_of(self, count: int) -> Objects:
        """Ask for so many objects in one call; smaller where ICAT wants that."""
        if count < 1:
            raise QueryError(f"in_pages_of({count}): expected a number from 1")
        return replace(self, page=count)

    def __iter__(self) -> Iterator[Item]:
        for items in self.pages():
            yield from items

    def pages(self) -> Iterator[list[Item]]:
        """Yield the objects in the lists in which they are read."""
        included = tree(self.included)
        if self.order:
            yield from self._ordered_pages(included)
            return
        clause = include_clause(included)
        for rows in self._pages("o", "", clause, self.page):
            yield adopt(self.connection, self.kind, rows, included)

    def all(self) -> list[Item]:
        """Return them all, as one result: relations are loaded for all at once."""
        included = tree(self.included)
        found = [item.entity for items in self.pages() for item in items]
        return adopt(self.connection, self.kind, found, included)

    def first(self) -> Item | None:
        """Return the first, None if there is none."""
        return next(iter(self.limit(1)), None)

    def get(self, **conditions: Any) -> Item:
        """Return the only one.

        Parameters
        ----------
        conditions
            Further ones, as for :meth:`filter`.

        Raises
        ------
        NotFound, SeveralFound
            There is none, or there are several.
        """
        asked = self.filter(**conditions)
        found = list(replace(asked, order=(), at_most=2))
        if not found:
            raise NotFound(f"no {asked}")
        if len(found) > 1:
            raise SeveralFound(
                f"several {asked}: {found[0]!r}, {found[1]!r}"
                " and maybe more; add conditions, or take first()"
            )
        return found[0]

    def exists(self) -> bool:
        """Return whether there is any."""
        return next(self.limit(1)._pages("o.id"), None) is not None  # noqa: SLF001

    def count(self) -> int:
        """Return how many there are."""
        asked = self._parts()
        if len(asked) == 1:
            where = self._where(asked[0])
            query = select(self.kind.name, *where, what="COUNT(o)")
            total = int(self.connection.search(query)[0])
        else:
            # A text may match in two of the lists, where case does not count.
            total = sum(len(rows) for rows in self._pages("o.id"))
        return total if self.at_most is None else min(total, self.at_most)

    def ids(self) -> Iterator[int]:
        """Yield the ids alone."""
        return self.values("id")

    def values(self, *paths: str) -> Iterator[Any]:
        """Yield attributes instead of objects: one as it is, several as tuples.

        Parameters
        ----------
        paths
            Such as ``"name"`` or ``"dataset.investigation.name"``.
        """
        if not paths:
            raise QueryError("values() needs the name of an attribute")
        words = [self._to_one(path) for path in paths]
        rows: Iterator[tuple[Any, ...]]
        if self.order:
            rows = iter(self._sorted(words))
        else:
            rows = (row for page in self._value_pages(words) for row in page)
        for row in rows:
            values = tuple(map(plain, row[1:]))
            yield values[0] if len(paths) == 1 else values

    def __str__(self) -> str:
        text = self.kind.name
        for group in self.groups:
            conditions = ", ".join(c.text for c in group.conditions)
            values = ", ".join(f"{c.text}={_brief(c.values)}" for c in group.conditions)
            text += f" {'except' if group.negated else 'with'} {values or conditions}"
        return text

    def __repr__(self) -> str:
        return f"<Objects {self}>"

    def __bool__(self) -> bool:
        raise TypeError("ask exists() or count(), or iterate: this is a question")

    def _to_one(self, text: str) -> tuple[str, ...]:
        """Return the names on a path along to-one relations to an attribute."""
        words = _words(text)
        steps = walk(self.connection.schema, self.kind, words[:-1])
        for step, _ in steps:
            if step.relation == "MANY":
                raise QueryError(
                    f"{text!r} leads to many objects through {step.name!r};"
                    " only to-one relations can be used here"
                )
        field = (steps[-1][1] if steps else self.kind).field(words[-1])
        if field.relation != "ATTRIBUTE":
            raise QueryError(f"{text!r} is a relation; name an attribute of it")
        return (*(step.name for step, _ in steps), field.name)

    def _parts(self) -> list[tuple[Group, ...]]:
        if any(group.never and not group.negated for group in self.groups):
            return []
        wanted = [group for group in self.groups if not group.never]
        return list(parts(wanted))

    def _where(self, groups: Sequence[Group]) -> list[str]:
        writer = Writer(self.connection.clock.wall)
        return [writer.where(self.kind, group) for group in groups]

    def _pages(
        self, what: str, joins: str = "", clause: str = "", size: int = ROWS
    ) -> Iterator[list[Any]]:
        """Yield rows in pages by id, each object once, as many as wanted."""
        left = self.at_most
        asked = self._parts()
        seen: set[int] = set()
        for groups in asked:
            for rows in pages_by_id(
                self.connection.search,
                self.kind.name,
                self._where(groups),
                what=what,
                joins=joins,
                clause=clause,
                size=size,
                most=left if len(asked) == 1 else None,
            ):
                fresh = rows
                if len(asked) > 1:
                    fresh = [row for row in rows if id_of(row) not in seen][:left]
                    seen.update(map(id_of, fresh))
                yield fresh
                if left is not None:
                    left -= len(fresh)
                    if left <= 0:
                        return

    def _value_pages(
        self, paths: Sequence[Sequence[str]]
    ) -> Iterator[list[tuple[Any, ...]]]:
        selected, joins = self._selected(paths)
        for rows in self._pages(", ".join(["o.id", *selected]), joins):
            for row in rows:
                if len(row) != len(paths) + 1:
                    raise QueryError(
                        f"ICAT answered {row!r} where {len(paths) + 1} values were"
                        f" asked for; iterate over the objects instead"
                    )
            yield rows

    def _selected(self, paths: Sequence[Sequence[str]]) -> tuple[list[str], str]:
        """Return names for paths, and the joins that keep what leads nowhere."""
        joined: dict[tuple[str, ...], str] = {(): "o"}
        joins = []
        selected = []
        for path in paths:
            for end in range(1, len(path)):
                key = tuple(path[:end])
                if key not in joined:
                    joined[key] = f"j{len(joined)}"
                    joins.append(
                        f"LEFT JOIN {joined[key[:-1]]}.{key[-1]} {joined[key]}"
                    )
            selected.append(f"{joined[tuple(path[:-1])]}.{path[-1]}")
        return selected, " ".join(joins)

    def _ordered_pages(self, included: Tree) -> Iterator[list[Item]]:
        clause = include_clause(included)
        asked = self._parts()
        if not asked or self.at_most == 0:
            return
        short = self.at_most is not None and self.at_most <= self.page
        if short and len(asked) == 1:
            names, joins = self._selected([path for path, _ in self.order])
            sort = ", ".join(
                f"{name} DESC" if descending else name
                for name, (_, descending) in zip(names, self.order, strict=True)
            )
            then = f"ORDER BY {sort}, o.id {clause} LIMIT 0, {self.at_most}"
            query = select(
                self.kind.name, *self._where(asked[0]), joins=joins, then=then
            )
            try:
                rows = self.connection.search(query)
            except ICATValidationError as error:
                if not too_many(error):
                    raise
            else:
                yield adopt(self.connection, self.kind, rows, included)
                return
        numbers = [row[0] for row in self._sorted([])]
        yield from by_ids(self.connection, self.kind, numbers, included, self.page)

    def _sorted(self, paths: Sequence[Sequence[str]]) -> list[tuple[Any, ...]]:
        """Return ids and values, sorted here, as many as wanted."""
        keys = [path for path, _ in self.order]
        everything = replace(self, at_most=None)
        rows = [
            row
            for page in everything._value_pages([*paths, *keys])  # noqa: SLF001
            for row in page
        ]
        # From the last key to the first: sorting keeps the order of equals.
        for number, (_, descending) in reversed(list(enumerate(self.order))):
            column = 1 + len(paths) + number
            there = [row for row in rows if row[column] is not None]
            there.sort(key=lambda row: row[column], reverse=descending)
            rows = there + [row for row in rows if row[column] is None]
        return [row[: 1 + len(paths)] for row in rows[: self.at_most]]


def _words(path: str) -> tuple[str, ...]:
    return tuple(path.replace("__", ".").split("."))


def _brief(values: Sequence[Any]) -> str:
    if len(values) == 1:
        return repr(values[0])
    shown = ", ".join(repr(value) for value in values[:3])
    return f"[{shown}{', …' if len(values) > 3 else ''}] ({len(values):,} values)"
