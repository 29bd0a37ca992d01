"""A way to a server on which nothing may get through, as with a dead firewall."""

import contextlib
import socket
import threading

_BUFFER = 65_536


class Proxy:
    """Passes bytes on to a server, until it is told to hold them.

    Connections stay open and are accepted all the same: nobody gets an error.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._flows = threading.Event()
        self._flows.set()
        self._closed = False
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Let nothing through from now on."""
        self._flows.clear()

    def release(self) -> None:
        """Let everything through again, also what was held."""
        self._flows.set()

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._flows.set()
        for each in (self._server, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                family = (
                    socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
                )
                server = socket.socket(family)
                server.connect(self._target)
                self._sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._pump, args=(source, sink), daemon=True
                    ).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BUFFER):
                self._flows.wait()
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
