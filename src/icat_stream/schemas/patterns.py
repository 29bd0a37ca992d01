r"""Regular expressions that no text can slow down.

They are written as for Python's :mod:`re`, and matched by RE2, whose time grows with
the text and not, as that of :mod:`re`, with the ways in which a part of it could match:
``^(\w+\s?)+$`` on a name of forty letters would hold up the program for hours.  What
RE2 cannot do (look-around, back-references, possessive and conditional parts, verbose
mode) is refused when the schema is read.  ``\d``, ``\s`` and ``\w`` stand for digits,
blanks and letters of every script, as they do in Python; ``\b`` knows letters of ASCII
only, and ``$`` is the very end of the text.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any

from .values import Mismatch, shorten

# `replace` looks for the next match again and again.
_LONGEST = 65_536
_WORD = r"\p{L}\p{N}_"
_BLANKS: tuple[tuple[int, int], ...] = (
    *((0x09, 0x0D), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680)),
    *((0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F)),
    (0x3000, 0x3000),
)
_LAST = 0x10FFFF


def _ranges(ranges: tuple[tuple[int, int], ...]) -> str:
    return "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in ranges)


_BLANK = _ranges(_BLANKS)
_NO_BLANK = _ranges(
    tuple(
        (before + 1, after - 1)
        for (_, before), (after, _) in zip(
            ((0, -1), *_BLANKS), (*_BLANKS, (_LAST + 1, 0)), strict=True
        )
    )
)
# What stands for these escapes, in a set and elsewhere.
_IN_SET = {"d": r"\p{Nd}", "D": r"\P{Nd}", "w": _WORD, "s": _BLANK, "S": _NO_BLANK}
_ELSEWHERE = {
    "d": r"\p{Nd}",
    "D": r"\P{Nd}",
    "w": f"[{_WORD}]",
    "W": f"[^{_WORD}]",
    "s": f"[{_BLANK}]",
    "S": f"[^{_BLANK}]",
    "Z": r"\z",
}
_PIECES = re.compile(
    r"\\u(?P<u>[0-9A-Fa-f]{4})|\\U(?P<U>[0-9A-Fa-f]{8})|\\(?P<escaped>.)"
    r"|(?P<set>\[\^?\]?)|(?P<end>\])|(?P<up_to>\{,(?=\d+\}))|(?P<other>.)",
    re.DOTALL,
)
_GROUP = re.compile(r"\\(?:(?P<number>[1-9]\d?)|g<(?P<name>\w+)>|(?P<escaped>.?))")
_ESCAPED = {"\\": "\\", "n": "\n", "t": "\t", "r": "\r"}


class UnfitPattern(ValueError):
    """A regular expression is none, or asks for what RE2 cannot do."""


class Pattern:
    """A regular expression.

    Parameters
    ----------
    pattern
        As for :mod:`re`.

    Raises
    ------
    UnfitPattern
        It cannot be used.
    """

    def __init__(self, pattern: str) -> None:
        # Loaded only where there are metadata schemas.
        import re2

        try:
            with warnings.catch_warnings():
                # What may mean something else in a later Python is translated below.
                warnings.simplefilter("ignore", FutureWarning)
                re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise UnfitPattern(f"is no regular expression: {error}") from None
        options = re2.Options()
        options.log_errors = False
        try:
            self._compiled = re2.compile(_as_re2(pattern), options)
        except (re2.error, UnicodeEncodeError) as error:
            detail = error.args[0] if error.args else error
            detail = detail.decode() if isinstance(detail, bytes) else detail
            raise UnfitPattern(
                "asks for what is not to be had in a time that no text can stretch: "
                f"{detail}; look-around, back-references, possessive and conditional "
                "parts, comments and the flags a, u, x are none of RE2's"
            ) from None
        self.groups: int = self._compiled.groups

    def matches(self, text: str) -> bool:
        """Whether there is a match somewhere in a text."""
        # A path may hold bytes that are no text; no pattern is meant for them.
        text = text.encode("utf-8", "replace").decode()
        return self._compiled.search(text) is not None

    def extracted(self, text: str) -> str | None:
        """Return the first group of the first match, all of it without groups.

        Raises
        ------
        Mismatch
            The text has characters that are none.
        """
        match = self._compiled.search(_encodable(text))
        found: str | None = match and match[1 if self.groups else 0]
        return found

    def replacer(self, replacement: str) -> Callable[[str], str]:
        r"""Return what replaces all matches in a text.

        Parameters
        ----------
        replacement
            ``\1`` and ``\g<name>`` are groups.

        Raises
        ------
        UnfitPattern
            It names a group that is not there, or an escape that stands for nothing.
        """
        parts = self._parts(replacement)

        def expanded(match: Any) -> str:
            return "".join(
                part if isinstance(part, str) else match[part] or "" for part in parts
            )

        def replaced(text: str) -> str:
            if len(text) > _LONGEST:
                raise Mismatch(
                    f"replace is for texts of up to {_LONGEST:,} characters, found "
                    f"{len(text):,}: {shorten(text)}"
                )
            pieces: list[str] = []
            before = (0, 0)
            for match in self._compiled.finditer(_encodable(text)):
                span = match.span()
                # An empty match is given twice.
                if span != before or not pieces:
                    pieces += [text[before[1] : span[0]], expanded(match)]
                    before = span
            return "".join([*pieces, text[before[1] :]])

        return replaced

    def _parts(self, replacement: str) -> list[str | int]:
        """Return texts, and numbers of groups."""
        parts: list[str | int] = []
        end = 0
        for piece in _GROUP.finditer(replacement):
            parts.append(replacement[end : piece.start()])
            end = piece.end()
            number, name, escaped = piece["number"], piece["name"], piece["escaped"]
            if name is not None and not name.isdecimal():
                number = self._compiled.groupindex.get(name)
            elif name is not None:
                number = name
            if escaped in _ESCAPED:
                parts.append(_ESCAPED[escaped])
            elif number is not None and int(number) <= self.groups:
                parts.append(int(number))
            else:
                raise UnfitPattern(
                    f"replacement {replacement!r}: {piece[0]} is no group of the "
                    f"pattern, which has {self.groups}; a backslash itself is \\\\"
                )
        return [*parts, replacement[end:]]


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Mismatch(f"expected text, found half characters: {text!a}") from None
    return text


def _as_re2(pattern: str) -> str:
    """Write an expression of Python's as one of RE2's with the same meaning."""
    written = []
    in_set = False
    for piece in _PIECES.finditer(pattern):
        escaped, found = piece["escaped"], piece[0]
        if number := piece["u"] or piece["U"]:
            found = rf"\x{{{number}}}"
        elif escaped is not None and in_set:
            if escaped == "W":
                raise UnfitPattern(
                    r"\W inside [ ] cannot be had: name what belongs to the set, or "
                    r"use [^ ] with \w"
                )
            found = _IN_SET.get(escaped, found)
        elif escaped is not None:
            found = _ELSEWHERE.get(escaped, found)
        elif piece["set"] and in_set:
            # RE2 would take [: as the begin of a named set.
            found = found.replace("[", r"\[")
            in_set = not found.endswith("]")
        elif piece["set"]:
            in_set = True
        elif piece["end"]:
            in_set = False
        elif piece["up_to"] and not in_set:
            found = "{0,"
        written.append(found)
    return "".join(written)
