"""Texts of user offices, as the catalogue can hold them."""

import re
from collections.abc import Iterable

from icat_stream.records import Rejection

_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>.]+")
_ORCID = re.compile(
    r"(?:https?://(?:www\.)?orcid\.org/)?"
    r"([0-9]{4})-?([0-9]{4})-?([0-9]{4})-?([0-9]{3}[0-9Xx])/?"
)
_LONGEST = 80


def cut(text: str, limit: int, field: str, notes: list[str]) -> str:
    """Return a text that is short enough, cut between two words.

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
    if not text[limit - 1].isspace():
        head, blank, _ = kept.rpartition(" ")
        # A text without blanks has no better place.
        kept = head if blank and head.strip() else kept
    notes.append(f"{field}: cut from {len(text)} to {limit} characters at a word")
    return kept.rstrip(" ,;") + "…"


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


def one_line(parts: Iterable[str | None]) -> str:
    """Return parts of an address as one line, each of them once."""
    found = [text.strip() for text in parts if text and text.strip()]
    return ", ".join(dict.fromkeys(found))


def _shown(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
