"""The one error that an ICAT server answers with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Kind = Literal[
    "BAD_PARAMETER",
    "INTERNAL",
    "INSUFFICIENT_PRIVILEGES",
    "NO_SUCH_OBJECT_FOUND",
    "OBJECT_ALREADY_EXISTS",
    "SESSION",
    "VALIDATION",
    "NOT_IMPLEMENTED",
]

HTTP_STATUS: dict[str, int] = {
    "BAD_PARAMETER": 400,
    "INTERNAL": 500,
    "INSUFFICIENT_PRIVILEGES": 403,
    "NO_SUCH_OBJECT_FOUND": 404,
    "OBJECT_ALREADY_EXISTS": 412,
    "SESSION": 403,
    "VALIDATION": 412,
    "NOT_IMPLEMENTED": 501,
}


class IcatError(Exception):
    """What the server refuses, in ICAT's own terms.

    Parameters
    ----------
    kind
        ICAT's error type.
    message
        The text that the client sees.
    offset
        Position of the offending object in a call with several, or -1.
    """

    def __init__(self, kind: Kind, message: str, offset: int = -1) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.offset = offset

    def at(self, offset: int) -> "IcatError":
        """Return the same error with a position.

        Parameters
        ----------
        offset
            Position of the offending object.
        """
        return IcatError(self.kind, self.message, offset)


@contextmanager
def at_position(offset: int) -> Iterator[None]:
    """Add a position to the errors that are raised inside and have none.

    Parameters
    ----------
    offset
        The position; negative if there is none to tell.
    """
    try:
        yield
    except IcatError as error:
        if offset < 0 or error.offset >= 0:
            raise
        raise error.at(offset) from error
