"""The less usual calls of the REST interface: copies, files, search, JPQL."""

import re
from collections.abc import Callable, Iterator
from typing import Any, cast, get_args

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.importer import Duplicate
from icat_stream.sandbox.icat.json_reader import loads
from icat_stream.sandbox.icat.search import EnumValue, Loaded
from icat_stream.sandbox.icat.service import Service

Parameters = dict[str, str]
Handler = Callable[[Parameters], Any]

# Where the content of an uploaded file is found among a call's parameters.
FILE = "\0file"

_TARGETS = ("Investigation", "Dataset", "Datafile")
_ATTRIBUTES = ("USER", "ALL")


class RestMore:
    """Answers the less usual requests.

    Parameters
    ----------
    service
        The server.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def handlers(self) -> dict[str, dict[str, Handler]]:
        """Return what answers which method on which path."""
        done = {"POST": self._nothing, "DELETE": self._nothing}
        return {
            "/icat/cloner": {"POST": self._clone},
            "/icat/port": {"GET": self._export, "POST": self._import},
            "/icat/jpql": {"GET": self._jpql},
            "/icat/search/documents": {"GET": self._documents},
            "/icat/facet/documents": {"GET": self._facets},
            "/icat/lucene/data": {"GET": self._lucene},
            "/icat/lucene/db": {**done, "GET": self._populating},
            "/icat/lucene/db/{entity}": {"POST": self._nothing},
            "/icat/lucene/db/{entity}/{minid}": {"POST": self._nothing},
        }

    def _clone(self, given: Parameters) -> Any:
        self._service.sessions.user(given.get("sessionId"))
        for name in ("name", "id", "keys"):
            if name not in given:
                raise IcatError("BAD_PARAMETER", f"{name} is not set")
        if not re.fullmatch("-?[0-9]{1,18}|[0-8][0-9]{18}", given["id"]):
            raise IcatError("BAD_PARAMETER", f"id {given['id']} is not a number")
        number = int(given["id"])
        keys = _object("keys", given)
        copy = self._service.clone(given.get("sessionId"), given["name"], number, keys)
        return {"id": copy}

    def _export(self, given: Parameters) -> Any:
        order = _order(given, "sessionId", "query", "attributes")
        pieces = self._service.export(
            order.get("sessionId"), order.get("query"), stamps=_stamps(order)
        )
        headers = {
            "Content-Disposition": 'attachment; filename="icat.export"',
            "Accept-Ranges": "bytes",
        }
        content = _encoded(pieces)
        return StreamingResponse(content, headers=headers, media_type="text/plain")

    def _import(self, given: Parameters) -> None:
        order = _order(given, "sessionId", "duplicate", "attributes")
        duplicate = order.get("duplicate", "THROW").upper()
        if duplicate not in get_args(Duplicate):
            raise _no_value(order, "duplicate")
        stamps = _stamps(order)
        self._service.sessions.user(order.get("sessionId"))
        if FILE not in given:
            raise IcatError("BAD_PARAMETER", "No file was sent after the json")
        lines = given[FILE].splitlines()
        self._service.load(
            order.get("sessionId"), lines, cast(Duplicate, duplicate), stamps=stamps
        )

    def _jpql(self, given: Parameters) -> Response:
        query = given.get("query")
        if query is None:
            raise IcatError("BAD_PARAMETER", "query is not set")
        most = given.get("max", "5")
        found = self._service.query_all(given.get("sessionId"), query)
        shown = [_line(one) for one in found[: int(most) if most.isdigit() else 5]]
        return PlainTextResponse("\n".join([f"Count {len(found)}", *shown]))

    # There is no search engine: calls to it find nothing.

    def _documents(self, given: Parameters) -> Any:
        self._target(given)
        return {"results": []}

    def _facets(self, given: Parameters) -> Any:
        self._target(given)
        return {"dimensions": {}}

    def _target(self, given: Parameters) -> None:
        self._service.sessions.user(given.get("sessionId"))
        if "query" not in given:
            raise IcatError("BAD_PARAMETER", "query is not set")
        target = _object("query", given).get("target")
        if target is None:
            raise IcatError(
                "INTERNAL",
                'class java.lang.NullPointerException Cannot invoke "String.equals'
                '(Object)" because "target" is null',
            )
        if target not in _TARGETS:
            raise IcatError("BAD_PARAMETER", f"target: {target} is not expected")

    def _lucene(self, given: Parameters) -> Any:
        self._service.sessions.user(given.get("sessionId"))
        return []

    def _populating(self, given: Parameters) -> Any:
        self._root(given)
        return []

    def _nothing(self, given: Parameters) -> None:
        self._root(given)

    def _root(self, given: Parameters) -> None:
        user = self._service.sessions.user(given.get("sessionId"))
        self._service.gate.require_root(user)


def _object(name: str, given: Parameters) -> dict[str, Any]:
    try:
        content = loads(given[name])
    except ValueError as error:
        raise IcatError("BAD_PARAMETER", f"{error} in json {given[name]}") from error
    if not isinstance(content, dict):
        raise IcatError("BAD_PARAMETER", f"{name} must be a JSON object")
    return content


def _order(given: Parameters, *allowed: str) -> dict[str, str]:
    if "json" not in given:
        raise IcatError("BAD_PARAMETER", "json must not be null")
    order = {}
    for name, value in _object("json", given).items():
        if name not in allowed:
            raise IcatError(
                "BAD_PARAMETER", f"{name} is not an expected key in the json"
            )
        if value is not None:
            order[name] = str(value)
    return order


def _stamps(order: dict[str, str]) -> bool:
    attributes = order.get("attributes", "USER").upper()
    if attributes not in _ATTRIBUTES:
        raise _no_value(order, "attributes")
    return attributes == "ALL"


def _no_value(order: dict[str, str], name: str) -> IcatError:
    return IcatError(
        "BAD_PARAMETER", f"{order[name]} is not a valid value for '{name}'"
    )


def _encoded(pieces: Iterator[str]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece.encode("utf-8", "replace")


def _line(value: Any) -> str:
    if isinstance(value, Loaded):
        return f"{value.entity.name}:{value.id}"
    if isinstance(value, EnumValue):
        return value.value
    if isinstance(value, tuple):
        return ", ".join(map(_line, value))
    return str(value)
