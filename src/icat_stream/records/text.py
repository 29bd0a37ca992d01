"""Text that others wrote, as a terminal or a log may show it."""


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
