"""Stands between a client and a server, and does what networks do."""

import json
import socket
import threading
import time
from contextlib import suppress
from typing import Literal

Mode = Literal["pass", "refuse", "slow", "cut", "no answer", "full"]

_BLOCK = 4096
_FULL = json.dumps(
    {"code": "InsufficientStorageException", "message": "No space left on device"}
).encode()


class Proxy:
    """Passes connections on, in the way that its mode says.

    ``slow`` lets 4 kB through every 50 ms; ``cut`` breaks a connection after 8 kB of a
    request; ``no answer`` lets requests through and breaks instead of answering;
    ``full`` answers uploads itself, as a data service with a full disk does.

    Parameters
    ----------
    target
        Host and port, or the path of a socket.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._mode: Mode = "pass"
        self._flows = threading.Event()
        self._flows.set()
        self._open: set[socket.socket] = set()
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.hits = 0

    def set(self, mode: Mode) -> None:
        """Change the mode; connections that are open go on as they were."""
        if mode == "refuse":
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        elif self._mode == "refuse":
            self._listener = self._listen(self.port)
        self.hits = 0
        self._mode = mode

    def hold(self) -> None:
        """Let nothing through from now on, as a dead firewall: nobody gets an error."""
        self._flows.clear()

    def release(self) -> None:
        """Let everything through again, also what was held."""
        self._flows.set()

    def close(self) -> None:
        """End it, and all connections."""
        if self._mode != "refuse":
            self.set("refuse")
        self._flows.set()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        mode = self._mode
        self.hits += 1
        with client, suppress(OSError):
            self._open.add(client)
            if mode == "full" and client.recv(4, socket.MSG_PEEK) == b"PUT ":
                self._refuse_upload(client)
            else:
                with self._connect() as server:
                    self._open.add(server)
                    self._exchange(client, server, mode)
                    self._open.discard(server)
        self._open.discard(client)

    def _connect(self) -> socket.socket:
        if not isinstance(self._target, str):
            return socket.create_connection(self._target)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._target)
        except OSError:
            server.close()
            raise
        return server

    def _refuse_upload(self, client: socket.socket) -> None:
        head = b"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: %d\r\n\r\n"
        client.sendall(head % len(_FULL) + _FULL)
        client.shutdown(socket.SHUT_WR)
        while client.recv(_BLOCK):
            pass

    def _exchange(self, client: socket.socket, server: socket.socket, mode: Mode):
        def back() -> None:
            with suppress(OSError):
                while block := server.recv(_BLOCK):
                    self._flows.wait()
                    if mode == "no answer":
                        break
                    client.sendall(block)
            # A server that died has reset the connection.
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

        answers = threading.Thread(target=back, daemon=True)
        answers.start()
        sent = 0
        with suppress(OSError):
            while block := client.recv(_BLOCK):
                self._flows.wait()
                server.sendall(block)
                sent += len(block)
                if mode == "slow":
                    time.sleep(0.05)
                if mode == "cut" and sent > 2 * _BLOCK:
                    server.shutdown(socket.SHUT_RDWR)
                    return
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)
        answers.join(60)
