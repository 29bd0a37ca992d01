"""Downloads through the data service: its session id stays on the server."""

import http.client
import ssl
from collections.abc import Iterator
from urllib.parse import quote, urlencode, urlsplit

from starlette.responses import Response, StreamingResponse

from icat_stream.icat import select
from icat_stream.records import SystemUnavailable, without_session_ids

from .page import NotThere, PageRequest, Unfit

_CHUNK = 262_144


def dataset(asked: PageRequest) -> Response:
    """Return all files of a dataset, as a ZIP."""
    number = asked.number("id")
    name = _name(asked, "Dataset", number)
    return _data(asked, "datasetIds", number, f"{name}.zip")


def datafile(asked: PageRequest) -> Response:
    """Return one file, as it is."""
    number = asked.number("id")
    return _data(asked, "datafileIds", number, _name(asked, "Datafile", number))


def _name(asked: PageRequest, entity: str, number: int) -> str:
    query = select(entity, f"o.id = {number}", what="o.name")
    found = asked.site.accounts.search(asked.sign_in, query)
    if not found:
        raise NotThere("There is nothing like that which you may see.")
    return str(found[0])


def _data(asked: PageRequest, kind: str, number: int, name: str) -> Response:
    ids = asked.site.settings.ids
    if ids.url is None:
        raise Unfit("There is no data service: ids.url is not configured.")
    parts = urlsplit(ids.url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    try:
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                host,
                port,
                timeout=ids.timeout,
                context=ssl.create_default_context(cafile=ids.ca_file),
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=ids.timeout)
        query = urlencode({"sessionId": asked.sign_in.session_id, kind: number})
        connection.request("GET", f"{parts.path.rstrip('/')}/getData?{query}")
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise SystemUnavailable(
            f"the data service does not answer: {type(error).__name__}", system="ids"
        ) from None
    if answer.status != 200:
        text = answer.read(2000).decode("utf-8", "replace")
        connection.close()
        raise Unfit(
            f"The data service does not deliver it: {without_session_ids(text)}"
        )
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    }
    if length := answer.getheader("Content-Length"):
        headers["Content-Length"] = length
    return StreamingResponse(
        _chunks(connection, answer),
        headers=headers,
        # Never shown by a browser: it may be anything.
        media_type="application/octet-stream",
    )


def _chunks(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
) -> Iterator[bytes]:
    try:
        while chunk := answer.read(_CHUNK):
            yield chunk
    finally:
        connection.close()
