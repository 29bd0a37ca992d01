"""Text that reaches ICAT as it is, through suds, which guesses what is escaped."""

import re
from typing import Any
from xml.sax.saxutils import escape, unescape

from suds.sax.text import Raw

from .errors import QueryError, shorten
from .literals import FORBIDDEN

# suds takes these for escaped already, and ICAT would store another text.
_LOOKS_ESCAPED = re.compile("&(amp|lt|gt|quot|apos);")


def exact(text: str) -> str:
    """Return a text that suds sends as it is.

    Raises
    ------
    QueryError
        It has a character that XML cannot carry.
    """
    if isinstance(text, Raw):
        return raw(text)
    if FORBIDDEN.search(text):
        raise QueryError(f"{shorten(text)} has a character that ICAT cannot store")
    if _LOOKS_ESCAPED.search(text) or "\r" in text:
        return raw(escape(text, {"\r": "&#13;"}))
    return text


def as_stored(value: Any) -> Any:
    """Return a value as ICAT has it, whether or not it was made exact for suds."""
    if isinstance(value, Raw):
        return unescape(str.__str__(value), {"&#13;": "\r"})
    return str.__str__(value) if isinstance(value, str) else value


def raw(text: str) -> str:
    """Return a text that suds sends as it is."""
    found: str = Raw(text)
    return found
