"""Single HTTP calls to the data service, with timeouts."""

import http
import http.client
import ssl
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from icat_stream.records import TransientFailure
from icat_stream.telemetry import received, sent

from .answers import IdsAnswer, Unanswered, unavailable

_FORM = "application/x-www-form-urlencoded"


class Connection:
    """Makes a connection for each call: uploads are long, other calls rare.

    Parameters
    ----------
    url
        Of the data service.
    timeout
        Seconds without any byte after which a call is given up.
    ca_file
        Certificates of the authorities that are trusted; ``None`` for the system's.
    """

    def __init__(self, url: str, timeout: float, ca_file: Path | None = None) -> None:
        self._parts = urlsplit(url)
        self._timeout = timeout
        self._ca_file = ca_file

    def get(self, call: str, **parameters: str | int) -> IdsAnswer:
        """Return the answer to a GET; failures as :meth:`put`."""
        return self._call("GET", f"{call}?{urlencode(parameters)}", None, {})

    def begin(self, call: str, **parameters: str | int) -> IdsAnswer:
        """Return the answer to a GET with no more than its first byte.

        Failures as :meth:`put`; of a refusal there is all.
        """
        return self._call("GET", f"{call}?{urlencode(parameters)}", None, {}, most=1)

    def post(self, call: str, **parameters: str | int) -> IdsAnswer:
        """Return the answer to a POST; failures as :meth:`put`."""
        body = [urlencode(parameters).encode()]
        headers = {"Content-Type": _FORM, "Content-Length": str(len(body[0]))}
        return self._call("POST", call, body, headers)

    def delete(self, call: str, **parameters: str | int) -> IdsAnswer:
        """Return the answer to a DELETE; failures as :meth:`put`."""
        return self._call("DELETE", f"{call}?{urlencode(parameters)}", None, {})

    def put(
        self, call: str, body: Iterable[bytes], size: int, **parameters: str | int
    ) -> IdsAnswer:
        """Return the answer to a PUT.

        Parameters
        ----------
        call
            Name of the operation.
        body
            Is streamed.
        size
            Bytes in it.
        **parameters
            Of the operation.

        Raises
        ------
        SystemUnavailable
            The service cannot be reached.
        TransientFailure
            No complete answer came: it may have been carried out.
        """
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
        }
        return self._call("PUT", f"{call}?{urlencode(parameters)}", body, headers)

    def _call(
        self,
        method: str,
        call: str,
        body: Iterable[bytes] | None,
        headers: dict[str, str],
        most: int | None = None,
    ) -> IdsAnswer:
        connection = self._connect()
        headers |= sent(method, self._parts.hostname or "", self._parts.port)
        path = f"{self._parts.path.rstrip('/')}/{call}"
        name = call.partition("?")[0]
        try:
            try:
                connection.request(method, path, body, headers)
            except ConnectionError:
                # It may have answered, say "no rights", before all was sent.
                pass
            response = connection.getresponse()
            received(response.status)
            refused = response.status >= http.HTTPStatus.MULTIPLE_CHOICES
            return IdsAnswer(response.status, response.read(None if refused else most))
        except TimeoutError as error:
            raise Unanswered(
                f"the data service did not answer {name} in time"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise TransientFailure(
                f"the connection to the data service broke during {name}:"
                f" {type(error).__name__}"
            ) from error
        finally:
            connection.close()

    def _trusting(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise unavailable(
                f"{self._ca_file}: cannot be read as certificates (PEM): {error}"
            ) from error

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        connection: http.client.HTTPConnection
        if self._parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                host,
                port,
                timeout=self._timeout,
                context=self._trusting(),
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        try:
            connection.connect()
        except OSError as error:
            raise unavailable(
                f"the data service at {host}:{port or self._parts.scheme} cannot be"
                f" reached: {type(error).__name__} {error}"
            ) from error
        return connection
