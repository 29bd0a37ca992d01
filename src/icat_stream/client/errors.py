"""What goes wrong in a question to the catalogue, said so that it can be mended."""

from collections.abc import Iterable
from difflib import get_close_matches


class QueryError(ValueError):
    """The question makes no sense: an unknown name, or a value that cannot be."""


class NotFound(LookupError):
    """Exactly one object was asked for, and there is none."""


class SeveralFound(LookupError):
    """Exactly one object was asked for, and there are several."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint for whoever mistyped a name."""
    names = sorted(known)
    by_lower = {item.lower(): item for item in names}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    if close:
        return f"did you mean {by_lower[close[0]]!r}?"
    return f"there are {', '.join(names)}"


def shorten(value: object, limit: int = 80) -> str:
    """Return a value as a person may read it in an error, cut to a limit."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 2]}…{text[-1]}"
