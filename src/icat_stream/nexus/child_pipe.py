"""What the reading processes and their parent say to each other over pipes.

A frame is its length and JSON.  JSON and not pickle, because a child that has read a
hostile file is not to be believed.  The content of a file goes in frames of its bytes,
up to an empty one.
"""

import json
import os
import select
import struct
import time
from typing import Any

_LENGTH = struct.Struct("!Q")

# Twice what the limits on values let through, as JSON can double a text's size.
_LARGEST_FRAME = 128 * 1024**2
# Linux never takes or gives more of a pipe at once than its buffer holds.
_PIECE = 64 * 1024


class PipeClosed(Exception):
    """The other side is gone."""


class DeadlinePassed(Exception):
    """The other side did not answer in time."""


def pack(message: dict[str, Any]) -> bytes:
    """Make a frame of a message."""
    payload = json.dumps(message, separators=(",", ":")).encode("ascii")
    return pack_bytes(payload)


def pack_bytes(content: bytes | memoryview) -> bytes:
    """Make a frame of bytes."""
    return _LENGTH.pack(len(content)) + content


def send(fd: int, frame: bytes, *, until: float | None = None) -> None:
    """Write a frame.

    Parameters
    ----------
    fd
        A pipe; non-blocking when there is a deadline.
    frame
        Of :func:`pack`.
    until
        Deadline by the monotonic clock.
    """
    rest = memoryview(frame)
    while rest:
        if until is not None:
            _wait(fd, select.POLLOUT, until)
        try:
            rest = rest[os.write(fd, rest[:_PIECE]) :]
        except BlockingIOError:
            continue
        except BrokenPipeError as error:
            raise PipeClosed from error


def receive(fd: int, *, until: float | None = None) -> dict[str, Any]:
    """Read a frame and return its message.

    Parameters
    ----------
    fd
        A pipe.
    until
        Deadline by the monotonic clock.
    """
    try:
        message = json.loads(receive_bytes(fd, until=until))
    except ValueError as error:
        raise PipeClosed("a frame that is no JSON") from error
    if not isinstance(message, dict):
        raise PipeClosed("a frame that is no object")
    return message


def receive_bytes(fd: int, *, until: float | None = None) -> bytes:
    """Read a frame; parameters as for :func:`receive`."""
    (size,) = _LENGTH.unpack(_read(fd, _LENGTH.size, until))
    if size > _LARGEST_FRAME:
        raise PipeClosed(f"a frame of {size} bytes")
    return _read(fd, size, until)


def _read(fd: int, size: int, until: float | None) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        if until is not None:
            _wait(fd, select.POLLIN, until)
        piece = os.read(fd, min(_PIECE, size - len(pieces)))
        if not piece:
            raise PipeClosed
        pieces += piece
    return bytes(pieces)


def _wait(fd: int, event: int, until: float) -> None:
    poll = select.poll()
    poll.register(fd, event)
    left = until - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise DeadlinePassed
