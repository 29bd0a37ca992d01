"""Calls to ICAT over HTTP: REST and SOAP, on connections that are kept."""

import http.client
import json
import select
import threading
from collections import deque
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from opentelemetry import propagate, trace

from .errors import IdsError, Unanswered, from_icat
from .metrics import Metrics
from .settings import IcatAccess

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_ICAT = "http://icatproject.org"
_IDLE = 32
_tracer = trace.get_tracer("icat_stream.dataservice")


class Wire:
    """Speaks to one ICAT; may be used by any number of threads.

    Parameters
    ----------
    access
        Where it is.
    metrics
        Count the calls.
    """

    def __init__(self, access: IcatAccess, metrics: Metrics) -> None:
        self.url = access.url.rstrip("/")
        parts = urlsplit(self.url)
        self._host = parts.netloc
        self._path = parts.path
        self._kind = (
            http.client.HTTPSConnection
            if parts.scheme == "https"
            else http.client.HTTPConnection
        )
        self._timeout = access.timeout
        self._metrics = metrics
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._lock = threading.Lock()

    def search(self, session: str, query: str) -> list[Any]:
        """Return what a query finds."""
        parameters = {"sessionId": session, "query": query}
        path = "/icat/entityManager?" + urlencode(parameters)
        return list(self.rest("GET", path, name="search"))

    def rest(
        self, method: str, path: str, form: dict[str, str] | None = None, *, name: str
    ) -> Any:
        """Make a REST call and return its answer, ``None`` where there is none."""
        headers = {}
        body = None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form).encode()
        status, content = self._call(name, method, path, body, headers)
        if status == 204:
            return None
        try:
            answer = json.loads(content)
            if status == 200:
                return answer
            error = from_icat(answer["code"], answer["message"])
        except (ValueError, KeyError, TypeError):
            raise self._senseless(status) from None
        raise error

    def soap(self, call: str, session: str, body: str = "") -> ElementTree.Element:
        """Make a SOAP call and return its answer."""
        envelope = (
            f'<e:Envelope xmlns:e="{_SOAP}" xmlns:icat="{_ICAT}" xmlns:xsi="{_XSI}">'
            f"<e:Body><icat:{call}><sessionId>{escape(session)}</sessionId>{body}"
            f"</icat:{call}></e:Body></e:Envelope>"
        )
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
        status, content = self._call(
            call, "POST", "/ICATService/ICAT", envelope.encode(), headers
        )
        try:
            # The catalogue is trusted not to send entity bombs.
            answer = ElementTree.fromstring(content)  # noqa: S314
        except ElementTree.ParseError:
            raise self._senseless(status) from None
        if status == 200:
            return answer
        kind = answer.findtext(".//{*}IcatException/type")
        message = answer.findtext(".//{*}IcatException/message")
        if kind is None:
            raise self._senseless(status)
        raise from_icat(kind, message or "")

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _call(
        self,
        name: str,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        attributes = {"server.address": self._host, "http.request.method": method}
        with (
            self._metrics.icat_call(name),
            _tracer.start_as_current_span(
                f"icat.{name}", kind=trace.SpanKind.CLIENT, attributes=attributes
            ) as span,
        ):
            propagate.inject(headers)
            status, content = self._exchange(method, path, body, headers)
            span.set_attribute("http.response.status_code", status)
            return status, content

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        connection = self._take()
        try:
            connection.request(method, self._path + path, body, headers)
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unanswered(
                f"ICAT at {self.url} does not answer: {type(error).__name__}: {error}"
            ) from None
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
                return status, content
        connection.close()
        return status, content

    def _take(self) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            # Readable without a question means closed by the other end.
            if connection.sock and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()
        return self._kind(self._host, timeout=self._timeout)

    def _senseless(self, status: int) -> IdsError:
        return Unanswered(
            f"ICAT at {self.url} answered HTTP {status} with something that is no"
            " answer of ICAT's"
        )
