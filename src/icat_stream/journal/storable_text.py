"""Text as the journal's databases take it."""

from typing import TypeVar

_Text = TypeVar("_Text", str, str | None)


def storable(text: _Text) -> _Text:
    """Return a text without what no row can hold; ``None`` stays what it is."""
    # PostgreSQL stores no NUL, and no driver encodes half a surrogate pair.
    if text is None:
        return text
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
