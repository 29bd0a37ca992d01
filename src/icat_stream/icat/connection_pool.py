"""Kept connections to one server, shared by any number of threads."""

import threading
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

from .connection import Answer, Connection, trusting

_KEPT = 32


class ConnectionPool:
    """Sends each request over a connection that nobody else is using.

    Parameters
    ----------
    url, timeout, trusted
        As for :class:`Connection`.
    """

    def __init__(self, url: str, timeout: float, trusted: Path | None = None) -> None:
        self._url = url
        self._timeout = timeout
        # Of all connections: to read the authorities takes longer than a call.
        self._tls = trusting(trusted) if urlsplit(url).scheme == "https" else None
        self._idle: deque[Connection] = deque()
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = None,
        *,
        repeatable: bool = False,
    ) -> Answer:
        """Send a request and return the answer, as :meth:`Connection.request`."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = Connection(self._url, self._timeout, self._tls)
        try:
            answer = connection.request(
                method, path, body, content_type, repeatable=repeatable
            )
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append(connection)
                return answer
        connection.close()
        return answer

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()
