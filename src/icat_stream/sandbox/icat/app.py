"""The server as a web application."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from icat_stream.sandbox.icat.envelope import BadRequest
from icat_stream.sandbox.icat.errors import IcatError, Kind
from icat_stream.sandbox.icat.faults import Faults
from icat_stream.sandbox.icat.rest import rest_routes
from icat_stream.sandbox.icat.service import Service, Settings
from icat_stream.sandbox.icat.soap import Soap, fault
from icat_stream.sandbox.icat.wsdl import describe, types

from .limited_request import LimitedRequest, TooLong
from .request_threads import work

log = logging.getLogger(__name__)

_SOAP_PATH = "/ICATService/ICAT"
_XML = "text/xml;charset=utf-8"


def create_app(settings: Settings) -> Starlette:
    """Make an ICAT server.

    Parameters
    ----------
    settings
        How it behaves.
    """
    service = Service(settings)
    faults = Faults(service.sessions.expire_all)
    soap = Soap(service)

    async def describe_soap(request: Request) -> Response:
        if "xsd" in request.query_params:
            return Response(types(), media_type=_XML)
        url = str(request.url.replace(query="", fragment=""))
        return Response(describe(url), media_type=_XML)

    async def call_soap(request: Request) -> Response:
        try:
            body = await LimitedRequest(request, settings.max_body).body()
            call = await work(soap.parse, body)
        except TooLong as error:
            return Response(fault(str(error)), 413, media_type=_XML)
        except BadRequest as error:
            return Response(fault(str(error)), 500, media_type=_XML)

        async def answer() -> Response:
            status, content = await work(soap.answer, call)
            return Response(content, status, media_type=_XML)

        return await faults.around(call.operation, answer, _failure)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    app = Starlette(
        routes=[
            Route(_SOAP_PATH, describe_soap, methods=["GET"]),
            Route(_SOAP_PATH, call_soap, methods=["POST"]),
            *rest_routes(service, faults),
        ],
        # As icat.server: a page asks for leave before it deletes a session.
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "POST", "DELETE", "PUT"],
                allow_headers=["Content-Type"],
            )
        ],
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.faults = faults
    return app


def _failure(kind: Kind, message: str) -> Response:
    return Response(fault(message, IcatError(kind, message)), 500, media_type=_XML)
