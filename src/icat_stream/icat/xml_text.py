"""Values as XML text."""

import re
from datetime import UTC, datetime

# What XML 1.0 cannot carry, not even as a character reference.
FORBIDDEN = re.compile(
    "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # noqa: RUF100
)
_SPECIAL = re.compile("[&<>\r]")
# A bare carriage return would be read as a line feed.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}


def escape(text: str) -> str:
    """Return text as XML content; it is known to hold nothing forbidden."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda match: _ENTITIES[match[0]], text)


def time_text(when: datetime) -> str:
    """Return an aware time, in UTC, to the millisecond."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds")


def value_text(value: object) -> str:
    """Return any attribute's value as XML content.

    Times may also come as text, as a search returned them.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, float):
        return repr(value)
    return escape(str(value))
