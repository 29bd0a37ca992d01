"""Versions as people write them, in their order."""

import re

# Longer numbers are no versions, and Python reads none of thousands of digits.
_PART = re.compile(r"\d{1,1000}|[^\W\d_]+")


def is_higher(version: object, than: object) -> bool:
    """Return whether a version is higher than another.

    Parameters
    ----------
    version, than
        Numbers, or texts such as ``1.10`` (higher than ``1.9``) or ``2-beta`` (lower
        than ``2``); ``None`` is lower than all.
    """
    if isinstance(version, int | float) and isinstance(than, int | float):
        return version > than
    return _order(version) > _order(than)


def _order(value: object) -> tuple[tuple[int, int, str], ...]:
    if value is None:
        return ()
    text = str(value).strip().lower()
    # ``10.0`` is what a catalogue makes of a ``10``.
    text = re.sub(r"^v?([0-9]+)\.0$|^v(?=\d)", r"\1", text)
    parts = [
        (2, int(part), "") if part.isdecimal() else (0, 0, part)
        for part in _PART.findall(text)
    ]
    # What goes on with a number is later than what ends, with a word earlier.
    return (*parts, (1, 0, ""))
