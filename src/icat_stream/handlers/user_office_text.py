"""Texts of user offices, as the catalogue can hold them."""

import re
import unicodedata
import urllib.parse
from collections.abc import Iterable

from icat_stream.records import Rejection, shortened

_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>.]+")
_ORCID = re.compile(
    r"(?:https?://(?:www\.)?orcid\.org/)?"
    r"([0-9]{4})-?([0-9]{4})-?([0-9]{4})-?([0-9]{3}[0-9Xx])/?"
)
_DOI = re.compile(
    r"(?:https?://(?:www\.|dx\.)?doi\.org/|doi:\s*)(10\.[0-9.]{4,}(?:/|%2F)\S+)",
    re.IGNORECASE,
)
_LONGEST = 80


_LAST_WORD = re.compile(r"\s+\S*\Z")


def cut(text: str, limit: int, field: str, notes: list[str]) -> str:
    """Return a text that is short enough, cut between two words where it has some.

    Parameters
    ----------
    text
        Of any length.
    limit
        Characters that there is room for.
    field
        Its name.
    notes
        Gets a line if it was cut.
    """
    text = text.strip()
    if len(text) <= limit:
        return text
    kept = text[: limit - 1]
    at_word = text[limit - 1].isspace()
    if not at_word:
        words = _LAST_WORD.sub("", kept)
        # Many languages know no blanks: one that would cost most of a text is no place.
        at_word = words != kept and len(words) >= limit // 2
        kept = words if at_word else kept
    while kept and not at_word and unicodedata.combining(text[len(kept)]):
        # An accent stays with its letter.
        kept = kept[:-1]
    notes.append(
        f"{field}: cut from {len(text)} to {limit} characters" + " at a word" * at_word
    )
    return kept.rstrip(" ,;\u3000、") + "…"


def email(text: str) -> str:
    """Return an email address.

    Raises
    ------
    Rejection
        It is none.
    """
    if _EMAIL.fullmatch(text) is None:
        raise Rejection(f"email: expected name@domain (found: {_shown(text)})")
    return text


def orcid(text: str) -> str:
    """Return an ORCID as four groups of four.

    Raises
    ------
    Rejection
        It is none, or a digit is wrong.
    """
    match = _ORCID.fullmatch(text.strip())
    if match is None:
        raise Rejection(f"orcid: expected 0000-0000-0000-000X (found: {_shown(text)})")
    groups = [group.upper() for group in match.groups()]
    digits = "".join(groups)
    total = 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    if digits[-1] != ("X" if check == 10 else str(check)):
        raise Rejection(f"orcid: its check digit is wrong (found: {_shown(text)})")
    return "-".join(groups)


def doi(text: str) -> str:
    """Return a DOI without the address of a resolver around it."""
    match = _DOI.fullmatch(text.strip())
    return urllib.parse.unquote(match[1]) if match else text


def one_line(parts: Iterable[str | None]) -> str:
    """Return parts of an address as one line, each of them once."""
    found = [text.strip() for text in parts if text and text.strip()]
    return ", ".join(dict.fromkeys(found))


def _shown(text: str) -> str:
    shown = repr(text)
    return shortened(shown, _LONGEST)
