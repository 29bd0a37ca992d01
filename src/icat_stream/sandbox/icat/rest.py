"""ICAT's REST interface, below ``/icat``."""

import datetime as dt
import json
import logging
import re
from collections.abc import Callable
from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.errors import HTTP_STATUS, IcatError
from icat_stream.sandbox.icat.faults import Faults
from icat_stream.sandbox.icat.json_reader import loads
from icat_stream.sandbox.icat.rest_more import FILE, RestMore
from icat_stream.sandbox.icat.search import EnumValue, Loaded
from icat_stream.sandbox.icat.service import Service

from .limited_request import LimitedRequest, TooLong
from .request_threads import work

log = logging.getLogger(__name__)

_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, DELETE, PUT",
    "Access-Control-Allow-Headers": "Content-Type",
}
_KEY = re.compile(r"-?[0-9]{1,18}")
_METHODS = ["GET", "POST", "PUT", "DELETE"]
_FORM = ("application/x-www-form-urlencoded", "multipart/form-data")

# What a call is given: the parts of its path, and its parameters.
Parameters = dict[str, str]
Handler = Callable[[Parameters], Any]


class JsonWriter:
    """Writes results as JSON.

    Parameters
    ----------
    clock
        The server's time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def result(self, value: Any) -> Any:
        """Return what JSON is made of, for a result of any kind.

        Parameters
        ----------
        value
            An entity, a value, or a tuple of them.
        """
        if isinstance(value, Loaded):
            return {value.entity.name: self._content(value)}
        if isinstance(value, tuple | list):
            return [self.result(entry) for entry in value]
        if isinstance(value, EnumValue):
            return value.value
        return self._scalar(value)

    def _scalar(self, value: Any) -> Any:
        if isinstance(value, dt.datetime):
            shown = self._clock.show(value).isoformat(timespec="milliseconds")
            return shown.replace("+00:00", "Z")
        return value

    def _content(self, loaded: Loaded) -> dict[str, Any]:
        content: dict[str, Any] = {}
        values = iter(loaded.values)
        for field in loaded.entity.fields.values():
            name = field.name
            if field.relation == "MANY":
                related = loaded.related.get(name) or []
                if isinstance(related, list):
                    content[name] = [self._content(one) for one in related]
                continue
            value = next(values)
            if field.relation == "ONE":
                one = loaded.related.get(name)
                if isinstance(one, Loaded):
                    content[name] = self._content(one)
            elif value is not None:
                content[name] = self._scalar(value)
        return content


class Rest:
    """Answers REST requests.

    Parameters
    ----------
    service
        The server.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._json = JsonWriter(service.clock)

    def handlers(self) -> dict[str, dict[str, Handler]]:
        """Return what answers which method on which path."""
        return {
            "/icat/version": {"GET": self._version},
            "/icat/properties": {"GET": self._properties},
            "/icat/session": {"POST": self._login},
            "/icat/session/{session}": {
                "GET": self._session,
                "PUT": self._refresh,
                "DELETE": self._logout,
            },
            "/icat/user/{user}": {"GET": self._user},
            "/icat/user/{mnemonic}/{user}": {"GET": self._user},
            "/icat/entityManager": {
                "GET": self._search,
                "POST": self._write,
                "DELETE": self._delete,
            },
        }

    def _version(self, _: Parameters) -> Any:
        return {"version": self._service.version}

    def _properties(self, _: Parameters) -> Any:
        settings = self._service.settings
        return {
            "maxEntities": settings.max_entities,
            "lifetimeMinutes": int(settings.lifetime),
            "authenticators": [
                {
                    "mnemonic": name,
                    "keys": [
                        {"name": key, "hide": True} if hide else {"name": key}
                        for key, hide in keys
                    ],
                }
                for name, keys in self._service.authenticators()
            ],
            "containerType": "Glassfish",
        }

    def _login(self, given: Parameters) -> Any:
        text = given.get("json")
        if text is None:
            raise IcatError("BAD_PARAMETER", "json must not be null")
        try:
            login = loads(text)
        except ValueError as error:
            raise IcatError(
                "INTERNAL", f"class jakarta.json.stream.JsonParsingException {error}"
            ) from error
        if not isinstance(login, dict):
            raise IcatError("BAD_PARAMETER", "json must be an object")
        credentials: dict[str, str] = {}
        for entry in login.get("credentials") or []:
            if not isinstance(entry, dict):
                raise IcatError("BAD_PARAMETER", "credentials must be objects")
            credentials |= {str(name): str(value) for name, value in entry.items()}
        session = self._service.sessions.login(login.get("plugin"), credentials)
        return {"sessionId": session}

    def _session(self, given: Parameters) -> Any:
        sessions, session = self._service.sessions, given["session"]
        return {
            "userName": sessions.user(session),
            "remainingMinutes": sessions.remaining(session),
        }

    def _refresh(self, given: Parameters) -> None:
        self._service.sessions.refresh(given["session"])

    def _logout(self, given: Parameters) -> None:
        self._service.sessions.logout(given["session"])

    def _user(self, given: Parameters) -> Any:
        mnemonic, user = given.get("mnemonic"), given["user"]
        name = f"{mnemonic}/{user}" if mnemonic else user
        return {"loggedIn": self._service.sessions.logged_in(name)}

    def _search(self, given: Parameters) -> Any:
        session, query = given.get("sessionId"), given.get("query")
        self._service.sessions.user(session)
        if query is None:
            raise IcatError("BAD_PARAMETER", "query is not set")
        key = given.get("id")
        if key is None:
            return self._json.result(self._service.search(session, query))
        if not _KEY.fullmatch(key):
            raise IcatError("BAD_PARAMETER", f"id {key} is not a number")
        return self._json.result(self._service.get(session, query, int(key)))

    def _write(self, given: Parameters) -> Any:
        session = given.get("sessionId")
        return self._service.write_json(session, _entities(given))

    def _delete(self, given: Parameters) -> None:
        self._service.delete_json(given.get("sessionId"), _entities(given))


def _entities(given: Parameters) -> str:
    try:
        return given["entities"]
    except KeyError:
        raise IcatError("BAD_PARAMETER", "entities is not set") from None


def rest_routes(service: Service, faults: Faults) -> list[BaseRoute]:
    """Return the routes of the REST interface.

    Parameters
    ----------
    service
        The server.
    faults
        What is to go wrong.
    """
    all_handlers = Rest(service).handlers() | RestMore(service).handlers()
    routes: list[BaseRoute] = [
        Route(path, _endpoint(service, handlers, faults), methods=_METHODS)
        for path, handlers in all_handlers.items()
    ]
    routes.append(Route("/icat/{rest:path}", _unknown, methods=_METHODS))
    return routes


def _endpoint(
    service: Service, handlers: dict[str, Handler], faults: Faults
) -> Callable[..., Any]:
    limit = service.settings.max_body

    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        handler = handlers.get(method)
        if handler is None:
            return _error(_jersey("NotAllowedException HTTP 405 Method Not Allowed"))
        given = {str(k): str(v) for k, v in request.path_params.items()}
        given |= dict(request.query_params)
        if method == "POST":
            if not request.headers.get("content-type", "").startswith(_FORM):
                return _error(
                    _jersey("NotSupportedException HTTP 415 Unsupported Media Type")
                )
            limited = LimitedRequest(request, limit)
            try:
                async with limited.form(max_part_size=limit) as form:
                    given |= await _read_form(form)
            except TooLong as error:
                return _error(IcatError("BAD_PARAMETER", str(error)), 413)
            except (HTTPException, MultiPartException) as error:
                return _error(IcatError("BAD_PARAMETER", f"No form: {error}"))

        async def answer() -> Response:
            return await work(_call, handler, given)

        name = f"{method} {request.url.path.split('/')[2]}"
        return await faults.around(
            name, answer, lambda kind, message: _error(IcatError(kind, message))
        )

    return endpoint


async def _read_form(form: FormData) -> Parameters:
    given: Parameters = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            given[name] = value
        elif given:
            # A file counts only after what says what to do with it.
            given[FILE] = (await value.read()).decode("utf-8", "replace")
    return given


async def _unknown(_: Request) -> Response:
    return _error(
        IcatError("NOT_IMPLEMENTED", "Operation not implemented by this ICAT server.")
    )


def _call(handler: Handler, given: Parameters) -> Response:
    try:
        result = handler(given)
    except IcatError as error:
        return _error(error)
    except Exception as error:
        # A mistake of this server; the client still gets an answer it understands.
        log.exception("a request failed")
        return _error(IcatError("INTERNAL", f"class {type(error).__name__} {error}"))
    if isinstance(result, Response):
        result.headers.update(_HEADERS)
        return result
    if result is None:
        return Response(status_code=204, headers=_HEADERS)
    return _json_response(result, 200)


def _json_response(content: Any, status: int) -> Response:
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    # A lone surrogate can come in by JSON, but not leave as UTF-8.
    body = text.encode("utf-8", "replace")
    return Response(body, status, media_type="application/json", headers=_HEADERS)


def _error(error: IcatError, status: int | None = None) -> Response:
    content: dict[str, Any] = {"code": error.kind, "message": error.message}
    if error.offset >= 0:
        content["offset"] = error.offset
    return _json_response(content, status or HTTP_STATUS[error.kind])


def _jersey(text: str) -> IcatError:
    return IcatError("INTERNAL", f"class jakarta.ws.rs.{text}")
