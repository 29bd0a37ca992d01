"""Numbers written as text, and what a catalogue's number can hold of them."""

import math
import re

# Python's float takes 1_000, digits of any script, and 1e-400 for 0.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")


def number_of(text: str) -> float | None:
    """Return the number that a text is.

    Returns
    -------
    :
        ``None`` if it is none, or one that is too large, or too near to zero, for a
        float.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    number = float(text)
    if not math.isfinite(number) or (number == 0 and match[1].strip("0.")):
        return None
    return number


def rounding(value: float | str) -> str | None:
    """Say what becomes of a whole number that no float is equal to.

    Parameters
    ----------
    value
        A number, or its text.

    Returns
    -------
    :
        ``None`` where it stays what it is.
    """
    if isinstance(value, float) or not str(value).strip().lstrip("+-").isdigit():
        return None
    whole, kept = int(value), int(float(value))
    if kept == whole:
        return None
    return (
        f"{whole} becomes {kept}, the nearest that a NUMERIC parameter can be; one of"
        " type STRING keeps all digits"
    )
