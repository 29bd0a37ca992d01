"""Bodies that are too long: read to their end, but not kept."""

from starlette.requests import Request
from starlette.types import Message


class TooLong(Exception):
    """The body of a request is longer than allowed."""


class LimitedRequest(Request):
    """A request whose body has a limit.

    Parameters
    ----------
    request
        The request.
    limit
        The longest body that is allowed, in bytes.
    """

    def __init__(self, request: Request, limit: int) -> None:
        super().__init__(request.scope, self._limited)
        self._inner = request
        self._limit = limit
        self._taken = 0

    async def _limited(self) -> Message:
        message = await self._inner.receive()
        self._taken += len(message.get("body", b""))
        if self._taken > self._limit:
            # A client that still writes would not see an answer.
            while message.get("more_body"):
                message = await self._inner.receive()
            raise TooLong(f"The request is longer than {self._limit} bytes")
        return message
