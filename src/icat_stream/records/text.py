"""Text that others wrote, as a terminal or a log may show it."""

import json
from typing import Any


def printable(text: str) -> str:
    """Return a text with everything escaped that is not seen, but may act.

    Line breaks are escaped, too: in a name they would forge a line of a log.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in text
    )


def json_line(value: Any) -> str:
    """Return a value as JSON in one line, of which a terminal shows every letter."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if text.isprintable():
        return text
    # What is not printable stands in a string, where it may be escaped.
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
