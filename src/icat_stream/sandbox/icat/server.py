"""Serving: one process, one loop, the public port and the one for faults."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from icat_stream.sandbox.icat.app import create_app
from icat_stream.sandbox.icat.faults import create_admin_app
from icat_stream.sandbox.icat.service import Settings


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that takes connections.

    Parameters
    ----------
    host
        The address.
    port
        The port; 0 for any that is free.
    """
    # With the protocol named, asyncio sends answers at once (TCP_NODELAY).
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


class Server:
    """An ICAT server on its sockets.

    Parameters
    ----------
    settings
        How it behaves.
    public
        Where clients come.
    admin
        Where orders for faults come, if they may.
    restart
        Replaces this process by a new one, if it may be.
    """

    def __init__(
        self,
        settings: Settings,
        public: socket.socket,
        admin: socket.socket | None,
        restart: Callable[[], None] | None = None,
    ) -> None:
        self._address: tuple[str, int] = public.getsockname()
        self._sockets = [public] if admin is None else [public, admin]
        app = create_app(settings)
        app.state.faults.connections = self
        app.state.faults.restart = restart
        target: ASGIApp = app
        if admin is not None:
            sessions = app.state.service.sessions
            orders = create_admin_app(app.state.faults, sessions.count)
            target = _by_port(app, orders, admin.getsockname()[1])
        self._config = uvicorn.Config(
            target,
            log_level="warning",
            access_log=False,
            http="h11",
            loop="asyncio",
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(self._config)
        self._listening = True

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until the process is told to stop.

        Parameters
        ----------
        ready
            Called once it serves.
        """
        serving = asyncio.create_task(self._server.serve(sockets=self._sockets))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.005)
        if self._server.started:
            ready()
        await serving

    def drop(self, scope: Scope) -> None:
        """Break the connection of a request.

        Parameters
        ----------
        scope
            The request's scope.
        """
        for connection in list(self._server.server_state.connections):
            if getattr(connection, "client", None) == scope["client"]:
                _abort(connection)

    async def refuse(self) -> None:
        """Break the clients' connections and take no new ones."""
        if self._listening:
            self._listening = False
            # Sockets and servers are in the same order.
            self._server.servers.pop(0).close()
        for connection in list(self._server.server_state.connections):
            if getattr(connection, "server", None) == self._address:
                _abort(connection)

    async def accept(self) -> None:
        """Take connections again, on the same port."""
        if self._listening:
            return
        self._listening = True
        loop = asyncio.get_running_loop()
        listener = listen(*self._address)

        def protocol() -> Any:
            return self._config.http_protocol_class(  # type: ignore[call-arg]
                config=self._config,
                server_state=self._server.server_state,
                app_state=self._server.lifespan.state,
                _loop=loop,
            )

        server = await loop.create_server(
            protocol, sock=listener, backlog=self._config.backlog
        )
        self._server.servers.insert(0, server)


def _abort(connection: Any) -> None:
    connection.transport.abort()


def _by_port(public: ASGIApp, admin: ASGIApp, port: int) -> ASGIApp:
    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("server")
        app = admin if server is not None and server[1] == port else public
        await app(scope, receive, send)

    return dispatch
