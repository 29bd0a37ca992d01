"""The calls over HTTP: parameters in, answers and errors out."""

import errno
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from anyio import CancelScope
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from icat_stream.telemetry import is_foreign

from . import delivery, parameters
from .bodies import Bodiless, Refusal, StreamedBody
from .catalogue import Session
from .errors import (
    BadRequest,
    IdsError,
    InsufficientPrivileges,
    InsufficientStorage,
    Internal,
    NotFound,
    NotImplementedHere,
    UnknownCall,
)
from .levels import Selected
from .metrics import Metrics
from .multipart import FormUpload
from .operations import Observed, Operations
from .parameters import Parameters, Range, Selection
from .puts import Put, Wanted
from .service import Content, DataService, Resolved
from .threads import Threads

VERSION = "2.1.1"
"""Of the interface that is spoken here, which is what callers ask for."""

_log = logging.getLogger(__name__)
# A body is written in pieces that are worth changing threads for.
_PIECE = 2**20
# As long as a selection in a request line may be, and some more.
_LONGEST_FORM = 2**22
_ANY = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]

Handler = Callable[[Request], Awaitable[Response]]


class FromAnyPage(CORSMiddleware):
    """Lets pages of others make calls, which say whose they are; no page looks on."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI wants it."""
        shared = scope.get("path", "").startswith("/ids/")
        await (super().__call__ if shared else self.app)(scope, receive, send)


class Calls:
    """Answers the calls.

    Parameters
    ----------
    service
        Does what they ask for.
    operations
        Answers monitoring.
    threads
        Where that is done.
    metrics
        Count.
    """

    def __init__(
        self,
        service: DataService,
        operations: Operations,
        threads: Threads,
        metrics: Metrics,
    ) -> None:
        self._service = service
        self._operations = operations
        self._threads = threads
        self._metrics = metrics

    def application(self) -> Starlette:
        """Return the service as an ASGI application."""
        service = self._service
        known: dict[str, Callable[[], Response]] = {
            "ping": lambda: _text("IdsOK"),
            "version": lambda: _answer({"version": VERSION}),
            "getApiVersion": lambda: _text(VERSION),
            "getIcatUrl": lambda: _text(service.catalogue.url),
            "isReadOnly": lambda: _text(_word(service.read_only)),
            "isTwoLevel": lambda: _text(_word(service.levels.two)),
        }
        get = {
            "getServiceStatus": self._get_service_status,
            "getStatus": self._get_status,
            "getSize": self._get_size,
            "getDatafileIds": self._get_datafile_ids,
            "isPrepared": self._is_prepared,
        }
        routes = [Route(f"/ids/{n}", _at_once(made)) for n, made in known.items()]
        routes += [Route(f"/ids/{n}", self._threaded(c)) for n, c in get.items()]
        routes += [
            Route("/ids/getData", self._get_data),
            Route("/ids/put", self._put, methods=["PUT"]),
            Route("/ids/put", self._post, methods=["POST"]),
            Route(
                "/ids/prepareData", self._threaded(self._withdraw), methods=["DELETE"]
            ),
            Route("/ids/delete", self._threaded(self._delete), methods=["DELETE"]),
        ]
        post: dict[str, Callable[[Parameters], Response]] = {
            "prepareData": self._prepare_data,
            "getLink": self._get_link,
            "reset": self._reset,
            "archive": lambda asked: self._moved(asked, service.levels.archive),
            "restore": lambda asked: self._moved(asked, service.levels.restore),
            "write": lambda asked: self._moved(asked, service.levels.write),
        }
        routes += [
            Route(f"/ids/{n}", self._form(c), methods=["POST"]) for n, c in post.items()
        ]
        routes += [
            Route("/health", self._watched(self._operations.health)),
            Route("/metrics", self._watched(self._operations.metrics)),
            Route("/{path:path}", _unknown, methods=_ANY),
        ]
        return Starlette(
            routes=routes,
            middleware=[
                Middleware(Observed, metrics=self._metrics),
                Middleware(
                    FromAnyPage,
                    allow_origins=["*"],
                    allow_methods=["GET", "POST", "DELETE", "PUT"],
                    allow_headers=["Content-Type"],
                ),
            ],
            exception_handlers={
                IdsError: _refusal,
                HTTPException: _http_refusal,
                ClientDisconnect: _gone,
                OSError: _storage_trouble,
                Exception: _bug,
            },
        )

    def _get_service_status(self, request: Request) -> Response:
        session = parameters.text(request.query_params, "sessionId")
        return _answer(self._service.service_status(session))

    def _get_status(self, request: Request) -> Response:
        found = self._found(request.query_params, session_needed=False)
        return _text(self._service.levels.status(found.selected))

    def _get_size(self, request: Request) -> Response:
        asked = request.query_params
        try:
            found = self._found(asked)
        except NotFound as error:
            one = parameters.selection(asked, prepared=True).is_one_file
            if one and error.message.startswith("Datafile "):
                raise NotFound("Datafile not found") from None
            raise
        except InsufficientPrivileges as error:
            # Callers know a refusal of this one call by other codes than elsewhere.
            if error.message.startswith("READ access"):
                raise NotFound(error.message) from None
            raise Internal(
                f"class org.icatproject.IcatException_Exception {error.message}"
            ) from None
        return _text(str(sum(file.size for file in found.selected.files)))

    def _get_datafile_ids(self, request: Request) -> Response:
        found = self._found(request.query_params)
        ids = [file.id for file in found.selected.files]
        if "preparedId" in request.query_params:
            return _answer({"zip": found.zip, "compress": found.compress, "ids": ids})
        return _answer({"ids": ids})

    def _is_prepared(self, request: Request) -> Response:
        id_ = parameters.prepared_id(request.query_params)
        found = self._service.resolve(None, Selection({}, id_))
        return _text(_word(self._service.levels.is_prepared(found.selected)))

    async def _get_data(self, request: Request) -> Response:
        asked = request.query_params
        wanted = parameters.range_(request.headers.get("range"))
        before = request.headers.get("if-range")

        def content() -> Response:
            found = self._found(asked, with_names=True)
            zip_ = found.zip or parameters.flag(asked, "zip")
            made = self._service.content(
                found,
                zip_=zip_,
                compress=found.compress or parameters.flag(asked, "compress"),
                outname=asked.get("outname"),
            )
            # What was begun before is another one: the caller gets all of this.
            part = wanted if before in (None, made.etag) else None
            try:
                return self._content(made, part, head=request.method == "HEAD")
            except BaseException:
                made.let_go()
                raise

        return await self._threads.call(content, _let_go)

    def _content(self, made: Content, wanted: Range | None, *, head: bool) -> Response:
        headers = {
            "Accept-Ranges": "none" if made.size is None else "bytes",
            "Content-Disposition": delivery.disposition(made.name),
            "ETag": made.etag,
        }
        begin, end = 0, made.size
        if wanted is not None:
            if made.size is None:
                raise BadRequest(
                    "the length of a compressed zip is not known, so that no part of"
                    " it can be sent: leave out the range, or compress"
                )
            found = wanted.within(made.size)
            if found is None:
                made.let_go()
                headers = {"Content-Range": f"bytes */{made.size}"}
                return Response(None, 416, headers)
            begin, end = found
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{made.size}"
        if end is not None:
            headers["Content-Length"] = str(end - begin)
        status = 200 if wanted is None else 206
        if head:
            made.let_go()
            return Bodiless(status, headers)
        length = None if end is None else end - begin
        blocks = made.blocks(begin)
        if length is not None:
            blocks = delivery.limited(length, blocks)
        return StreamedBody(made, blocks, status, headers, self._threads, self._metrics)

    def _delete(self, request: Request) -> Response:
        self._must_be_writable()
        session = parameters.session_id(request.query_params)
        selection = parameters.selection(request.query_params)
        self._service.delete(session, self._service.resolve(session, selection))
        return Response(status_code=204)

    def _prepare_data(self, asked: Parameters) -> Response:
        session = parameters.session_id(asked)
        selection = parameters.selection(asked)
        found = self._service.resolve(session, selection, with_names=True)
        id_ = self._service.prepare(
            session,
            found,
            zip_=found.zip or parameters.flag(asked, "zip"),
            compress=parameters.flag(asked, "compress"),
        )
        return _text(id_)

    def _withdraw(self, request: Request) -> Response:
        asked = request.query_params
        session = parameters.session_id(asked)
        self._service.withdraw(session, parameters.prepared_id(asked))
        return Response(status_code=204)

    def _get_link(self, asked: Parameters) -> Response:
        session = parameters.session_id(asked)
        datafile = parameters.number(asked, "datafileId")
        user = parameters.text(asked, "username", needed=True) or ""
        return _text(self._service.link(session, datafile, user))

    def _reset(self, asked: Parameters) -> Response:
        self._service.levels.reset(self._found(asked).selected)
        return Response(status_code=204)

    def _moved(self, asked: Parameters, move: Callable[[Selected], None]) -> Response:
        session = parameters.session_id(asked)
        selection = parameters.selection(asked)
        move(self._service.resolve(session, selection).selected)
        return Response(status_code=204)

    async def _put(self, request: Request) -> Response:
        body = request.stream()
        announced = parameters.length(request.headers.get("content-length"))
        store = self._store(request.query_params, body, announced)
        return await self._drained(request, body, store)

    async def _post(self, request: Request) -> Response:
        body = request.stream()

        async def store() -> Response:
            self._must_be_writable()
            form = FormUpload(request.headers.get("content-type", ""), body)
            asked = await form.read_fields()
            answer = await self._store(asked, form.read_file())
            if not parameters.flag(asked, "wrap"):
                return answer
            # A page in a hidden frame hands this to the page around it.
            text = bytes(answer.body).decode()
            # A location may be of a storage that took parts of it from people.
            text = text.replace("'", "\\u0027").replace("<", "\\u003c")
            page = f"<html><script>window.name='{text}';</script></html>"
            return Response(page, 201, media_type="text/html")

        return await self._drained(request, body, store())

    async def _drained(
        self,
        request: Request,
        body: AsyncIterator[bytes],
        answer: Awaitable[Response],
    ) -> Response:
        try:
            return await answer
        except IdsError as error:
            return Refusal(_refused(error), body)
        except OSError as error:
            return Refusal(_in_trouble(request, error), body)

    async def _store(
        self,
        asked: Parameters,
        body: AsyncIterator[bytes],
        announced: int | None = None,
    ) -> Response:
        self._must_be_writable()
        session = parameters.session_id(asked)
        wanted = Wanted(
            name=parameters.text(asked, "name", needed=True) or "",
            dataset_id=parameters.number(asked, "datasetId"),
            format_id=parameters.number(asked, "datafileFormatId"),
            description=parameters.text(asked, "description"),
            doi=parameters.text(asked, "doi"),
            create_time=parameters.time(asked, "datafileCreateTime"),
            mod_time=parameters.time(asked, "datafileModTime"),
        )
        put = await self._threads.call(
            lambda: self._service.begin_put(session, wanted, announced), Put.abort
        )
        try:
            rest = await self._receive(body, put)
        except BaseException:
            await self._abort(put)
            raise
        return _answer(await self._threads.call(lambda: put.finish(rest)), 201)

    async def _abort(self, put: Put) -> None:
        # In a thread and whoever is gone: a storage may hang here, too.
        with CancelScope(shield=True):
            try:
                await self._threads.call(put.abort)
            except Exception:
                _log.exception("an upload that broke off may have left something")

    async def _receive(self, body: AsyncIterator[bytes], put: Put) -> bytes:
        """Write a body but for its end, which is returned."""
        pieces: list[bytes] = []
        size = total = 0
        async for piece in body:
            pieces.append(piece)
            size += len(piece)
            if size >= _PIECE:
                block = b"".join(pieces)
                await self._threads.block(lambda block=block: put.write(block))  # type: ignore[misc]
                total += size
                pieces, size = [], 0
        self._metrics.add("ids_bytes_total", total + size, direction="in")
        # Most files are small: one change of thread less for them.
        return b"".join(pieces)

    def _found(
        self,
        asked: Parameters,
        *,
        session_needed: bool = True,
        with_names: bool = False,
    ) -> Resolved:
        selection = parameters.selection(asked, prepared=True)
        session: Session = None
        if selection.prepared is None and (session_needed or "sessionId" in asked):
            session = parameters.session_id(asked)
        return self._service.resolve(session, selection, with_names=with_names)

    def _must_be_writable(self) -> None:
        if self._service.read_only:
            raise NotImplementedHere(
                "This operation has been configured to be unavailable"
            )

    def _threaded(self, call: Callable[[Request], Response]) -> Handler:
        async def handler(request: Request) -> Response:
            return await self._threads.call(lambda: call(request))

        return handler

    def _watched(self, look: Callable[[Request], Response]) -> Handler:
        def seen(request: Request) -> Response:
            here = (request.scope.get("server") or ("",))[0]
            if is_foreign(request.headers.get("host"), here):
                raise InsufficientPrivileges("ask for localhost")
            return look(request)

        async def handler(request: Request) -> Response:
            return await self._threads.look(lambda: seen(request))

        return handler

    def _form(self, call: Callable[[Parameters], Response]) -> Handler:
        async def answer(body: AsyncIterator[bytes]) -> Response:
            text = bytearray()
            async for piece in body:
                text += piece
                if len(text) > _LONGEST_FORM:
                    raise BadRequest(f"the form is longer than {_LONGEST_FORM} bytes")
            asked = parameters.form(text.decode("utf-8", "replace"))
            return await self._threads.call(lambda: call(asked))

        async def handler(request: Request) -> Response:
            body = request.stream()
            return await self._drained(request, body, answer(body))

        return handler


def _let_go(response: Response) -> None:
    if isinstance(response, StreamedBody):
        response.let_go()


def _word(value: bool) -> str:
    return "true" if value else "false"


def _text(value: str) -> Response:
    return Response(value, media_type="text/plain")


def _answer(value: object, status: int = 200) -> Response:
    # Plain ASCII: clients are known that expect nothing else.
    return Response(
        json.dumps(value, separators=(",", ":")), status, media_type="application/json"
    )


def _at_once(answer: Callable[[], Response]) -> Handler:
    # Without a thread: whether the service is there is told however many calls hang.
    async def handler(request: Request) -> Response:
        return answer()

    return handler


async def _unknown(request: Request) -> Response:
    raise UnknownCall("Operation not implemented by this IDS server.")


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, IdsError)  # noqa: S101 - by registration
    return _refused(error)


async def _storage_trouble(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)  # noqa: S101 - by registration
    return _in_trouble(request, error)


def _refused(error: IdsError) -> Response:
    return _answer({"code": error.code, "message": error.message}, error.status)


def _in_trouble(request: Request, error: OSError) -> Response:
    _log.error("%s: %s", request.url.path, error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _refused(InsufficientStorage(f"{error.strerror}"))
    return _refused(Internal(f"the storage: {error}"))


async def _http_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - by registration
    message = f"HTTP {error.status_code} {error.detail}"
    body = {"code": "BadRequestException", "message": message}
    return _answer(body, error.status_code)


async def _gone(request: Request, error: Exception) -> Response:
    _log.info("%s: the caller went away", request.url.path)
    return Response(status_code=400)


async def _bug(request: Request, error: Exception) -> Response:
    message = f"{type(error).__name__}: {error}"
    return _answer({"code": "InternalException", "message": message}, 500)
