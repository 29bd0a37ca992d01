"""A kept-alive HTTP connection that tells "not sent" from "result unknown"."""

import contextlib
import http.client
import select
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from icat_stream.telemetry import received, sent

from .faults import ResultUnknown, unavailable

_AGENT = "icat-stream"
_SOAP_PATH = "/ICATService"


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the system's authorities, or only others.

    Raises
    ------
    SystemUnavailable
        The file of the others cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise unavailable(
            f"{ca_file}: cannot be read as certificates (PEM): {error}"
        ) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response, read to its end."""

    status: int
    content_type: str
    body: bytes


class Connection:
    """One connection to ICAT's server, used by one thread at a time.

    Parameters
    ----------
    url
        As configured; the path of the SOAP service may be there or not.
    timeout
        Seconds without any byte after which a call is given up.
    trusted
        A file with the certificates of the authorities that are trusted, or what
        :func:`trusting` made of one; ``None`` for the system's.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        trusted: Path | ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        self._where = parts.netloc.rpartition("@")[2]
        self._host, self._port = host, port
        self.prefix = parts.path.partition(_SOAP_PATH)[0].rstrip("/")
        self._http: http.client.HTTPConnection
        if parts.scheme == "https":
            tls = trusted if isinstance(trusted, ssl.SSLContext) else trusting(trusted)
            self._http = http.client.HTTPSConnection(
                host, port, timeout=timeout, context=tls
            )
        else:
            self._http = http.client.HTTPConnection(host, port, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = None,
        *,
        repeatable: bool = False,
    ) -> Answer:
        """Send a request and return the answer, whatever its status.

        Parameters
        ----------
        method, path, body, content_type
            Of the request; the path begins below the server's root.
        repeatable
            Whether it may be sent again where a kept connection turned out closed.

        Raises
        ------
        SystemUnavailable
            The server cannot be reached; the request was not sent.
        ResultUnknown
            It was sent, at least in part, and no complete answer came.
        """
        headers = {"User-Agent": _AGENT, "Accept": "*/*"}
        headers |= sent(method, self._host, self._port)
        if content_type is not None:
            headers["Content-Type"] = content_type
        if content_type is not None and content_type.startswith("text/xml"):
            headers["SOAPAction"] = '""'
        reused = self._ready()
        try:
            # It may have answered, say "too large", before all was sent.
            with contextlib.suppress(ConnectionError):
                self._http.request(method, self.prefix + path, body, headers)
            self._acknowledge_at_once()
            response = self._http.getresponse()
            received(response.status)
            return Answer(
                response.status,
                response.headers.get_content_type(),
                response.read(),
            )
        except TimeoutError as error:
            self.close()
            raise ResultUnknown(
                f"no answer from {self._where} in time", pending=True
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if reused and repeatable:
                return self.request(method, path, body, content_type)
            raise ResultUnknown(
                f"the connection to {self._where} broke: {_text(error)}"
            ) from error

    def _ready(self) -> bool:
        """Connect, unless an open connection is there: then return true."""
        kept = self._http.sock
        if kept is not None:
            # Readable without a request means that the server closed it meanwhile.
            poll = select.poll()
            poll.register(kept, select.POLLIN)
            if not poll.poll(0):
                return True
            self.close()
        try:
            self._http.connect()
        except OSError as error:
            self.close()
            raise unavailable(
                f"ICAT at {self._where} cannot be reached: {_text(error)}"
            ) from error
        return False

    def _acknowledge_at_once(self) -> None:
        """Spare a server that sends head and body apart the 40 ms until our ACK.

        Kept connections only; the kernel forgets the wish with every exchange.
        """
        if hasattr(socket, "TCP_QUICKACK") and self._http.sock is not None:
            self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        self._http.close()


def _text(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
