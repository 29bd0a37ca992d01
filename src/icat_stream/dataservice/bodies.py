"""Bodies that are streamed, and that let go of everything when the caller is gone."""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping

import anyio
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .errors import IdsError
from .metrics import Metrics
from .service import Content
from .threads import Threads
from .zips import SizeDiffers

_log = logging.getLogger(__name__)


# What is refused is read so far, or its sender never gets to read the refusal.
_DRAINED = 2**25


class Refusal(Response):
    """An answer that comes before the body, which is read after it and thrown away.

    Parameters
    ----------
    answer
        To send.
    body
        What is left of the caller's.
    """

    def __init__(self, answer: Response, body: AsyncIterator[bytes]) -> None:
        super().__init__(answer.body, answer.status_code, dict(answer.headers))
        self._rest = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI wants it."""
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        # It has its length, so the caller has it whole; the connection stays open.
        part = {"type": "http.response.body", "body": self.body}
        await send({**part, "more_body": True})
        drained = 0
        try:
            async for piece in self._rest:
                drained += len(piece)
                if drained > _DRAINED:
                    break
        except (ClientDisconnect, RuntimeError):
            # Gone, or read to its end before the refusal.
            _log.debug("nobody waits for the refusal")
        await send({**part, "body": b"", "more_body": False})


class Bodiless(Response):
    """The head of an answer, whose body is not counted here.

    Parameters
    ----------
    status
        HTTP status.
    headers
        With a Content-Length, if it is known.
    """

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(None, status, headers, "application/octet-stream")
        if "Content-Length" not in headers:
            # Response counts an empty body; here it is not known.
            self.raw_headers = [
                h for h in self.raw_headers if h[0] != b"content-length"
            ]


class StreamedBody(Bodiless):
    """Sends content block by block.

    Parameters
    ----------
    content
        What it is of; its lease ends with this response, however it ends.
    blocks
        What to send.
    status
        HTTP status.
    headers
        With a Content-Length, if it is known.
    threads
        Where blocks are read.
    metrics
        Count the bytes.
    """

    def __init__(
        self,
        content: Content,
        blocks: Iterator[bytes],
        status: int,
        headers: Mapping[str, str],
        threads: Threads,
        metrics: Metrics,
    ) -> None:
        super().__init__(status, headers)
        self._content = content
        self._blocks = blocks
        self._threads = threads
        self._metrics = metrics

    def let_go(self) -> None:
        """Give up what would have been sent."""
        self._content.let_go()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI wants it."""
        self._metrics.add("ids_streams", 1)
        try:
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                await self._send(send)
                tasks.cancel_scope.cancel()
        finally:
            self._metrics.add("ids_streams", -1)
            self._content.lease.release()

    async def _send(self, send: Send) -> None:
        expected = self.headers.get("content-length")
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        sent = 0
        blocks = self._blocks
        try:
            while (
                block := await self._threads.block(lambda: next(blocks, None))
            ) is not None:
                if block:
                    part = {"type": "http.response.body", "body": block}
                    await send({**part, "more_body": True})
                sent += len(block)
        except (IdsError, OSError, SizeDiffers) as error:
            # The caller has the beginning: only a broken connection tells now.
            _log.error(
                "%s broke off after %d bytes: %s", self._content.name, sent, error
            )
            return
        finally:
            self._metrics.add("ids_bytes_total", sent, direction="out")
        if expected is not None and sent != int(expected):
            _log.error(
                "%s broke off after %d of %s bytes: the storage had no more",
                self._content.name,
                sent,
                expected,
            )
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
