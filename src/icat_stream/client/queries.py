"""Text of queries, and running them in pages that survive a changing result."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from icat.exception import ICATValidationError

# Objects in one answer, rows of plain values in one answer, ids in one list.
PAGE = 500
ROWS = 5000
IDS = 1000

Search = Callable[[str], list[Any]]


def select(
    source: str, *where: str, what: str = "o", joins: str = "", then: str = ""
) -> str:
    """Return a query.

    Parameters
    ----------
    source
        The name of an entity and, unless it is ``o``, of a variable.
    where
        Conditions that all hold; values in them are literals.
    what
        What is selected.
    joins
        After the source.
    then
        ``ORDER BY``, ``INCLUDE``, ``LIMIT``.
    """
    parts = ["SELECT", what, "FROM", source if " " in source else f"{source} o"]
    if joins:
        parts.append(joins)
    if where:
        parts += ["WHERE", " AND ".join(where)]
    return " ".join([*parts, then] if then else parts)


def among(variable: str, ids: Sequence[int]) -> str:
    """Return the condition that an id is one of some."""
    return f"{variable}.id IN ({', '.join(map(str, ids))})"


def id_of(row: Any) -> int:
    """Return the id of an object, of a row that starts with it, or the id itself."""
    if isinstance(row, int):
        return int(row)
    return int(row[0] if isinstance(row, tuple) else row.id)


def pages_by_id(
    search: Search,
    source: str,
    where: Sequence[str],
    *,
    what: str = "o",
    joins: str = "",
    clause: str = "",
    size: int = PAGE,
    most: int | None = None,
    variable: str = "o",
) -> Iterator[list[Any]]:
    """Yield what a query finds in pages, each going on after the last id.

    Parameters
    ----------
    search
        Runs a query.
    source, where, what, joins
        As for :func:`select`.
    clause
        An ``INCLUDE`` clause.
    size
        Of a page; it is halved where ICAT says that it is too much.
    most
        How many rows are wanted at most.
    variable
        Whose ids order the pages.
    """
    last: int | None = None
    while most is None or most > 0:
        after = [] if last is None else [f"{variable}.id > {last}"]
        wanted = size if most is None else min(size, most)
        then = f"ORDER BY {variable}.id {clause} LIMIT 0, {wanted}"
        query = select(source, *where, *after, what=what, joins=joins, then=then)
        try:
            rows = search(query)
        except ICATValidationError as error:
            if not too_many(error) or wanted == 1:
                raise
            size = wanted // 2
            continue
        if rows:
            last = id_of(rows[-1])
            yield rows
        if len(rows) < wanted:
            return
        if most is not None:
            most -= len(rows)


def too_many(error: ICATValidationError) -> bool:
    """Whether ICAT refused because a result would be larger than it allows."""
    return "more than" in error.message and "entities" in error.message
