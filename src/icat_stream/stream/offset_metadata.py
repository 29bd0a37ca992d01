"""What stands beside a committed offset: which records beyond it are finished.

A text, as Kafka keeps no other: ``~1<home>;<kind><base64>``.  Kind ``b`` is a bitset,
least significant bit first, whose bit *n* stands for the offset and *n* more; ``z`` is
such a one, deflated.  Where nothing beyond is finished, it is the home alone.
"""

import base64
import binascii
import zlib

SPAN = 20_000
"""Offsets that a bitset reaches over, at most: it then fits whatever is in it."""

_MARK = "~"
_VERSION = "1"
# A broker keeps 4,096 by default, and counts a NUL.
_CHARACTERS = 4_095
# To deflate fewer saves next to nothing.
_SHORT = 64
_LARGEST = 16 * SPAN


class NewerVersion(Exception):
    """Written by a later version of this program."""


def encode(home: str, finished: int) -> str:
    """Return the text.

    Parameters
    ----------
    home
        Of a partition that goes with another one; nothing otherwise.
    finished
        Bits of the offsets beyond.
    """
    if not finished:
        return home
    data = finished.to_bytes((finished.bit_length() + 7) // 8, "little")
    kind = "b"
    if len(data) > _SHORT:
        deflated = zlib.compress(data, 1)
        if len(deflated) < len(data):
            kind, data = "z", deflated
    text = f"{_MARK}{_VERSION}{home};{kind}{base64.b64encode(data).decode()}"
    if len(text) > _CHARACTERS:
        raise ValueError(f"{len(text)} characters do not fit an offset's metadata")
    return text


def home_of(text: str) -> str:
    """Return the home, of a text of any version."""
    if not text.startswith(_MARK):
        return text
    return text[2:].partition(";")[0]


def decode(text: str) -> int:
    """Return the bits of what is finished beyond the offset.

    Raises
    ------
    NewerVersion
        Another version's.
    ValueError
        It cannot be read.
    """
    if not text.startswith(_MARK):
        return 0
    if text[1:2] != _VERSION:
        raise NewerVersion(text[:2])
    _, _, bits = text.partition(";")
    try:
        data = base64.b64decode(bits[1:], validate=True)
        if bits[:1] == "z":
            inflating = zlib.decompressobj()
            data = inflating.decompress(data, _LARGEST)
            if not inflating.eof:
                raise ValueError("its end is missing")
        elif bits[:1] != "b":
            raise ValueError("of no known kind")
    except (binascii.Error, zlib.error) as error:
        raise ValueError(str(error)) from None
    finished = int.from_bytes(data, "little")
    if finished & 1:
        raise ValueError("the offset itself would be finished")
    return finished
