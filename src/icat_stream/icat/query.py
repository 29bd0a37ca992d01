"""Text of queries: the one place where a value gets into one."""

from collections.abc import Iterable, Iterator
from itertools import islice
from urllib.parse import quote as percent

from icat_stream.records import Rejection

# No attribute that is searched by is longer in any ICAT.
_LONGEST = 255
# Servers give a request's first line and headers 8 KiB in all.
_LIST_BYTES = 3000
# So many ids are as short.
_IDS = 200


def select(entity: str, *where: str, what: str = "o", then: str = "") -> str:
    """Return a query for an entity, called ``o`` in it.

    Parameters
    ----------
    entity
        Its name.
    where
        Conditions that all hold; values in them are numbers or quoted.
    what
        What is selected.
    then
        ``ORDER BY``, ``INCLUDE``, ``LIMIT``.
    """
    parts = ["SELECT", what, "FROM", entity, "o"]
    if where:
        parts += ["WHERE", " AND ".join(where)]
    return " ".join([*parts, then] if then else parts)


def quote(text: str) -> str:
    """Return a value as a literal of the query language.

    Raises
    ------
    Rejection
        It cannot be the value of any searchable attribute.
    """
    if len(text) > _LONGEST:
        raise Rejection(
            f"{shorten(text)} has {len(text)} characters; no name in ICAT has more"
            f" than {_LONGEST}"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Rejection(
            f"{shorten(text)} is no valid Unicode: character {error.start}"
        ) from error
    if "\0" in text:
        raise Rejection(f"{shorten(text)} contains a NUL character")
    return literal(text)


def literal(text: str) -> str:
    """Return any text as a literal of a query, even one too long to match."""
    return "'" + text.replace("'", "''") + "'"


def searchable(text: str) -> bool:
    """Whether a text can be the value of a searchable attribute at all."""
    try:
        quote(text)
    except Rejection:
        return False
    return True


def in_lists(texts: Iterable[str]) -> Iterator[str]:
    """Yield lists for ``IN (…)``, each short enough for a URL."""
    batch: list[str] = []
    size = 0
    for text in dict.fromkeys(texts):
        quoted = quote(text)
        length = len(percent(quoted)) + 3
        if batch and size + length > _LIST_BYTES:
            yield f"({', '.join(batch)})"
            batch, size = [], 0
        batch.append(quoted)
        size += length
    if batch:
        yield f"({', '.join(batch)})"


def id_lists(ids: Iterable[int]) -> Iterator[str]:
    """Yield lists of ids for ``IN (…)``, each short enough for a URL."""
    left = iter(ids)
    while some := list(islice(left, _IDS)):
        yield f"({', '.join(str(int(each)) for each in some)})"


def shorten(value: object, limit: int = 60) -> str:
    """Return a value as a person may read it in an error, cut to a limit."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 2]}…{text[-1]}"
