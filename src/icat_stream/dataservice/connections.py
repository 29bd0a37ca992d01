"""Connections with an end to their number, to what they send, and to idling."""

import logging
import math
import resource
import time
from asyncio import BaseTransport, Protocol, Task, TimerHandle, Transport
from ssl import SSLContext
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .settings import LimitSettings

_log = logging.getLogger(__name__)
# A selection of 100,000 ids stands in the request line; nothing like it in headers.
LONGEST_HEAD = 2**21
_HEADER_LINES = 100
_HEADER_BYTES = 2**16
# What a caller must send or take in its idle time to count as one who is there.
_SIGN_OF_LIFE = 2**16
# A refusal is read before the connection is gone, if its sender looks for it.
_LINGER = 1.0
# Files that are open beside a connection's own: of it, and of the service.
_FILES_A_CONNECTION = 2
_FILES_BESIDE = 200
_ONCE_IN = 60.0
_MESSAGES = 100


def accepting(
    limits: LimitSettings, secure: SSLContext | None, **arguments: Any
) -> Protocol:
    """Return what speaks to who has just connected.

    Parameters
    ----------
    limits
        How long, how many.
    secure
        Whether by TLS.
    arguments
        As uvicorn gives them.
    """
    connection = Connection(limits, **arguments)
    return connection if secure is None else Handshake(connection, secure)


class Connection(H11Protocol):
    """A connection that its caller cannot keep without using it.

    Parameters
    ----------
    limits
        How long, how many.
    arguments
        As uvicorn gives them.
    """

    def __init__(self, limits: LimitSettings, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.limits = limits
        self._timer: TimerHandle | None = None
        self._head = Head()
        self._refused = False
        self._received = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin; refuse what is too many."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self.limits.connections:
            _log.warning(
                "more than %d connections: refused another one",
                self.limits.connections,
            )
            self._refuse(503, "InternalException", "too many connections: try again")
            # Those that linger are connections, too.
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
        if self._refused:
            return
        if self.conn.their_state is h11.IDLE:
            if self._timer is None:
                self._wait_for_head()
            if self._head.is_too_long(data):
                self._refuse(
                    431,
                    "BadRequestException",
                    f"more than {_HEADER_LINES} headers, or {_HEADER_BYTES} bytes of"
                    " them",
                )
                return
        self._received += len(data)
        super().data_received(data)

    def handle_events(self) -> None:
        """Act on what was received."""
        before = self.conn.their_state
        super().handle_events()
        now = self.conn.their_state
        if now is not h11.IDLE:
            self._head = Head()
        if now is h11.SEND_BODY and before is not h11.SEND_BODY:
            self._wait_for_body()
        elif now is not h11.SEND_BODY and now is not h11.IDLE:
            self._stop_waiting()

    def pause_writing(self) -> None:
        """Wait for the caller to take what it asked for."""
        super().pause_writing()
        self._wait(self.limits.idle, "took nothing of its answer")

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self.conn.their_state is h11.SEND_BODY:
            self._wait_for_body()
        else:
            self._stop_waiting()

    def _wait_for_head(self) -> None:
        self._wait(self.limits.head, "sent no whole request")

    def _wait_for_body(self) -> None:
        self._stop_waiting()
        before = self._received

        def look() -> None:
            self._timer = None
            if self.conn.their_state is not h11.SEND_BODY:
                return
            # Not the caller's fault, as long as nothing is read here.
            paused = self.flow.read_paused or self.flow.write_paused
            if paused or self._received - before >= _SIGN_OF_LIFE:
                self._wait_for_body()
            else:
                self._give_up("sent next to nothing of its body")

        self._timer = self.loop.call_later(self.limits.idle, look)

    def _wait(self, seconds: float, otherwise: str) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._give_up, otherwise)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self, reason: str) -> None:
        self._timer = None
        if not self.transport.is_closing():
            _log.info("closed a connection: the caller %s", reason)
            self.transport.abort()

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._refused = True
        body = f'{{"code":"{code}","message":"{message}"}}'.encode()
        self.transport.write(
            b"HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%s"
            % (status, len(body), body)
        )
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._stop_waiting()
        self._timer = self.loop.call_later(_LINGER, self.transport.abort)


class Handshake(Protocol):
    """A connection that does not speak TLS yet: it has a limit and counts, too.

    Parameters
    ----------
    connection
        What it becomes.
    secure
        With certificate and key.
    """

    def __init__(self, connection: Connection, secure: SSLContext) -> None:
        self._connection = connection
        self._secure = secure
        self._early = b""
        self._transport: Transport | None = None
        self._task: Task[None] | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, if these are not too many."""
        assert isinstance(transport, Transport)  # noqa: S101 - it is TCP
        connection = self._connection
        if len(connection.connections) >= connection.limits.connections:
            _log.warning(
                "more than %d connections: refused another one",
                connection.limits.connections,
            )
            transport.abort()
            return
        connection.connections.add(self)  # type: ignore[arg-type]
        self._transport = transport
        # What arrives is for who speaks TLS.
        transport.pause_reading()
        self._task = connection.loop.create_task(self._shake_hands(transport))

    def data_received(self, data: bytes) -> None:
        """Keep what came together with the end of the handshake."""
        self._early += data

    def shutdown(self) -> None:
        """Break it off: the service ends."""
        if self._transport is not None:
            self._transport.abort()

    async def _shake_hands(self, transport: Transport) -> None:
        connection = self._connection
        try:
            secured = await connection.loop.start_tls(
                transport,
                self,
                self._secure,
                server_side=True,
                ssl_handshake_timeout=connection.limits.head,
            )
        except OSError as error:
            # Among them those of TLS, and that it took too long.
            _log.debug("no handshake: %s", error)
            transport.abort()
            return
        finally:
            connection.connections.discard(self)
        if secured is None or secured.is_closing():
            transport.abort()
            return
        secured.set_protocol(connection)
        connection.connection_made(secured)
        if self._early:
            connection.data_received(self._early)


class Head:
    """The head of a request while it arrives: counted before anybody parses it."""

    def __init__(self) -> None:
        self._lines = 0
        self._bytes = 0
        self._end = b""

    def is_too_long(self, data: bytes) -> bool:
        """Return whether with this piece there are more headers than anybody needs."""
        piece = self._end + data
        ends = (piece.find(b"\r\n\r\n"), piece.find(b"\n\n"))
        end = min((at for at in ends if at >= 0), default=len(piece))
        text = piece[len(self._end) : end]
        self._end = piece[-3:]
        if not self._lines:
            # The request line may be as long as a selection.
            _, newline, text = text.partition(b"\n")
            self._lines = len(newline)
        self._lines += text.count(b"\n")
        self._bytes += len(text)
        return self._lines > _HEADER_LINES + 1 or self._bytes > _HEADER_BYTES


class OnceAMinute(logging.Filter):
    """Lets a message through once a minute, however often it is said."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether it was not said lately."""
        now = time.monotonic()
        if self._said.get(str(record.msg), -math.inf) > now - _ONCE_IN:
            return False
        if len(self._said) >= _MESSAGES:
            self._said.clear()
        self._said[str(record.msg)] = now
        return True


def within_open_files(limits: LimitSettings) -> LimitSettings:
    """Return limits that the files which this process may open suffice for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections * _FILES_A_CONNECTION + _FILES_BESIDE
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft >= wanted:
        return limits
    connections = max(1, (soft - _FILES_BESIDE) // _FILES_A_CONNECTION)
    _log.warning(
        "this process may open %d files (ulimit -n): limits.connections is %d",
        soft,
        connections,
    )
    return limits.model_copy(update={"connections": connections})
