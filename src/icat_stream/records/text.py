"""Text that others wrote, as a terminal or a log may show it."""

import json
import re
from typing import Any

_SESSION_ID = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE
)


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


def shortened(text: str, most: int = 80) -> str:
    """Return a text of at most so many characters, the last one an ellipsis if cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def without_session_ids(text: str) -> str:
    """Return a text with ICAT's session ids masked: whoever reads one may use it."""
    return _SESSION_ID.sub("…", text)


def json_line(value: Any) -> str:
    """Return a value as JSON in one line, of which a terminal shows every letter."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if text.isprintable():
        return text
    # What is not printable stands in a string, where it may be escaped.
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
