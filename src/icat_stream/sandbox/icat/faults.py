"""Faults on demand: what a server, a proxy or a network does on a bad day."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from icat_stream.sandbox.icat.errors import Kind
from icat_stream.telemetry import is_foreign

KINDS = (
    "latency",
    "refuse",
    "drop_before",
    "drop_after",
    "status",
    "html",
    "database",
    "exists",
    "exists_after",
    "expire_sessions",
    "restart",
    "clear",
)

_ANSWERED = 0.05
# Of an object that nobody asked for.
_LIE = "Sample exists with investigation = 'Investigation:1', name = 'something else'"
_PAGE = (
    "<!DOCTYPE html><html><head><title>Service unavailable</title></head>"
    "<body><h1>We are working on it\u2026</h1></body></html>"
)


@dataclass
class Fault:
    """Something that is to go wrong.

    Parameters
    ----------
    kind
        What: ``latency`` answers late by `seconds`; ``refuse`` takes no connections for
        `seconds` (without: until cleared) and breaks those there are; ``drop_before``
        and ``drop_after`` break the connection before or after the operation took
        effect; ``status`` answers with `status`; ``html`` answers with a page;
        ``database`` answers as if the database were down; ``exists`` and
        ``exists_after`` say that something else exists already, instead of or after
        carrying out the operation; ``expire_sessions`` lets all sessions expire;
        ``restart`` ends the server without a word and starts it anew; ``clear`` ends
        all faults.
    seconds
        For how long.
    count
        How many operations it hits; None until cleared.
    match
        Only operations of this name: ``create``, ``POST entityManager``.
    status
        The HTTP status of ``status`` and ``html``.
    """

    kind: str
    seconds: float | None = None
    count: int | None = 1
    match: str | None = None
    status: int | None = None


class Connections(Protocol):
    """What the faults need of the web server."""

    def drop(self, scope: Scope) -> None:
        """Break the connection of a request.

        Parameters
        ----------
        scope
            The request's scope.
        """

    async def refuse(self) -> None:
        """Break all connections and take no new ones."""

    async def accept(self) -> None:
        """Take connections again."""


class _Dropped(Response):
    """No answer at all: the connection breaks."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._connections.drop(scope)
        # The server complains about a request without answer unless it has noticed
        # that the client is gone.
        while (await receive())["type"] != "http.disconnect":
            pass


class Faults:
    """The faults that are in force.

    Parameters
    ----------
    expire_sessions
        Lets all sessions expire.
    """

    def __init__(self, expire_sessions: Callable[[], None]) -> None:
        self._expire_sessions = expire_sessions
        self._active: list[Fault] = []
        self._lock = threading.Lock()
        self._reopening: asyncio.Task[None] | None = None
        self._calls: Counter[str] = Counter()
        self.connections: Connections | None = None
        self.restart: Callable[[], None] | None = None

    def calls(self) -> dict[str, int]:
        """Return how often each operation was asked for."""
        with self._lock:
            return dict(self._calls)

    def active(self) -> list[Fault]:
        """Return the faults that are still to come."""
        with self._lock:
            return list(self._active)

    async def add(self, fault: Fault) -> None:
        """Put a fault in force.

        Parameters
        ----------
        fault
            Which.
        """
        match fault.kind:
            case "clear":
                with self._lock:
                    self._active.clear()
                await self._reopen(0)
            case "expire_sessions":
                await asyncio.to_thread(self._expire_sessions)
            case "refuse":
                await self._refuse(fault.seconds)
            case "restart":
                if self.restart is None:
                    raise ValueError("this server cannot be restarted")
                # After the answer to this order.
                asyncio.get_running_loop().call_later(_ANSWERED, self.restart)
            case _:
                with self._lock:
                    self._active.append(fault)

    async def _refuse(self, seconds: float | None) -> None:
        if self.connections is None:
            raise ValueError("this server cannot refuse connections")
        await self.connections.refuse()
        if self._reopening is not None:
            self._reopening.cancel()
        if seconds is not None:
            self._reopening = asyncio.create_task(self._reopen(seconds))

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.connections is not None:
            await self.connections.accept()

    def _take(self, operation: str) -> list[Fault]:
        """Return the faults that hit an operation now."""
        taken = []
        with self._lock:
            self._calls[operation] += 1
            for fault in list(self._active):
                if fault.match not in (None, operation):
                    continue
                taken.append(fault)
                if fault.count is not None:
                    fault.count -= 1
                    if fault.count <= 0:
                        self._active.remove(fault)
        return taken

    async def around(
        self,
        operation: str,
        answer: Callable[[], Awaitable[Response]],
        failure: Callable[[Kind, str], Response],
    ) -> Response:
        """Answer an operation, or do what the faults in force say.

        Parameters
        ----------
        operation
            Its name.
        answer
            Carries it out.
        failure
            Makes ICAT's own error from its type and a message.
        """
        taken = self._take(operation)
        for fault in taken:
            match fault.kind:
                case "latency":
                    await asyncio.sleep(fault.seconds or 0)
                case "drop_before":
                    return self._dropped()
                case "status":
                    return Response("", fault.status or 503, media_type="text/plain")
                case "html":
                    return Response(_PAGE, fault.status or 200, media_type="text/html")
                case "database":
                    return failure(
                        "INTERNAL",
                        "Unexpected DB response class jakarta.persistence."
                        "PersistenceException Exception [EclipseLink-4002]: "
                        "java.sql.SQLException: Communications link failure",
                    )
                case "exists":
                    return failure("OBJECT_ALREADY_EXISTS", _LIE)
        response = await answer()
        if any(fault.kind == "drop_after" for fault in taken):
            return self._dropped()
        if any(fault.kind == "exists_after" for fault in taken):
            return failure("OBJECT_ALREADY_EXISTS", _LIE)
        return response

    def _dropped(self) -> Response:
        if self.connections is None:
            raise ConnectionAbortedError("the connection is to be dropped")
        return _Dropped(self.connections)


def read_fault(given: Any) -> Fault:
    """Read a fault from the JSON of a request.

    Parameters
    ----------
    given
        The parsed JSON.

    Raises
    ------
    ValueError
        If it is none.
    """
    names = ("kind", "seconds", "count", "match", "status")
    if not isinstance(given, Mapping) or set(given) - set(names):
        raise ValueError(f"expected an object with {', '.join(names)}")
    fault = Fault(**{"kind": "", **given})
    if fault.kind not in KINDS:
        raise ValueError(f"kind: {fault.kind!r} is none of {', '.join(KINDS)}")
    for name, kinds in (("seconds", int | float), ("count", int), ("status", int)):
        value = getattr(fault, name)
        if value is not None and (not isinstance(value, kinds) or value < 0):
            raise ValueError(f"{name}: {value!r} is no number from 0")
    if fault.status is not None and not 200 <= fault.status <= 599:
        raise ValueError(f"status: {fault.status} is not between 200 and 599")
    if not isinstance(fault.match, str | None):
        raise ValueError(f"match: {fault.match!r} is no name of an operation")
    return fault


class _NoPages:
    """Refuses what a page in somebody's browser sends, whatever its name leads to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Request(scope).headers
            here = scope["server"][0]
            if "origin" in headers or is_foreign(headers.get("host"), here):
                refusal = Response("no page may order faults: ask for localhost\n", 403)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def create_admin_app(
    faults: Faults, sessions: Callable[[], Mapping[str, Mapping[str, int]]]
) -> Starlette:
    """Make the application that takes orders for faults, and counts calls.

    Parameters
    ----------
    faults
        Where they go.
    sessions
        Counts sessions by user.
    """

    async def show(_: Request) -> Response:
        return JSONResponse([asdict(fault) for fault in faults.active()])

    async def add(request: Request) -> Response:
        try:
            fault = read_fault(json.loads(await request.body()))
            await faults.add(fault)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse([asdict(fault) for fault in faults.active()])

    async def calls(_: Request) -> Response:
        return JSONResponse(faults.calls())

    async def count(_: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(sessions))

    async def clear(_: Request) -> Response:
        await faults.add(Fault("clear"))
        return JSONResponse([])

    return Starlette(
        middleware=[Middleware(_NoPages)],
        routes=[
            Route("/calls", calls, methods=["GET"]),
            Route("/sessions", count, methods=["GET"]),
            Route("/faults", show, methods=["GET"]),
            Route("/faults", add, methods=["POST"]),
            Route("/faults", clear, methods=["DELETE"]),
        ],
    )
