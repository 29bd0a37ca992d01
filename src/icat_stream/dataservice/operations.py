"""What operators see of the service: health, metrics, and a trace of each call."""

import json
import logging
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

from opentelemetry import propagate, trace
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icat_stream.telemetry import current_record

from . import parameters
from .catalogue import Catalogue
from .errors import IdsError
from .levels import Levels
from .metrics import Labels, Metrics
from .state import State

_log = logging.getLogger(__name__)
_tracer = trace.get_tracer("icat_stream.dataservice")
_LENGTHS = {b"content-length", b"transfer-encoding"}
_CALLS = frozenset(
    (
        "archive delete getApiVersion getData getDatafileIds getIcatUrl getLink"
        " getServiceStatus getSize getStatus isPrepared isReadOnly isTwoLevel ping"
        " prepareData put reset restore version write"
    ).split()
)


def _refusal(scope: Scope) -> Response | None:
    """Return the answer to what nobody sends who means well."""
    lengths = {k for k, _ in scope["headers"]} & _LENGTHS
    if len(lengths) > 1:
        # A proxy may have taken the other one for the body's end.
        message = "Content-Length and Transfer-Encoding contradict each other"
    elif scope["query_string"].count(b"&") > parameters.MOST:
        # A million of them would take seconds to be told apart.
        message = f"more than {parameters.MOST} parameters"
    else:
        return None
    body = json.dumps({"code": "BadRequestException", "message": message})
    return Response(body, 400, {"Connection": "close"}, "application/json")


def _peer(scope: Scope) -> str:
    """Return whose call it is, which a proxy may have said, or a caller in its name."""
    try:
        return str(ip_address((scope.get("client") or ("",))[0]))
    except ValueError:
        return "-"


class Observed:
    """Counts, times and traces every call of an application.

    Parameters
    ----------
    app
        The application.
    metrics
        Where it is counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI wants it."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith("/ids/"):
            await self._app(scope, receive, send)
            return
        refusal = _refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        name = path.removeprefix("/ids/")
        # Whatever else somebody asks for must not become a metric of its own.
        name = name if name in _CALLS else "other"
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begin = time.perf_counter()
        # Not starlette's Headers: as a dict they take time with the square of theirs.
        headers = {k.decode("latin-1"): v for k, v in scope["headers"]}
        context = propagate.extract(
            {k: v.decode("latin-1") for k, v in headers.items()}
        )
        token = current_record.set(name)
        try:
            with _tracer.start_as_current_span(
                f"ids.{name}", context=context, kind=trace.SpanKind.SERVER
            ) as span:
                await self._app(scope, receive, noting)
                span.set_attribute("http.response.status_code", status)
        finally:
            seconds = time.perf_counter() - begin
            self._metrics.call(name, status, seconds)
            _log.info(
                "call=%s status=%d seconds=%.4f peer=%s",
                name,
                status,
                seconds,
                _peer(scope),
            )
            current_record.reset(token)


class Operations:
    """Answers monitoring.

    Parameters
    ----------
    metrics
        Of the service.
    state, levels
        Are measured.
    catalogue
        Must answer for the service to be of use.
    root
        Folder whose file system's room is told, if there is one.
    """

    def __init__(
        self,
        metrics: Metrics,
        state: State,
        levels: Levels,
        catalogue: Catalogue,
        root: str | None,
    ) -> None:
        self._metrics = metrics
        self._state = state
        self._levels = levels
        self._catalogue = catalogue
        self._root = root

    def health(self, request: Request) -> Response:
        """Say whether calls can be served; 503 if not."""
        checks: dict[str, Callable[[], object]] = {
            "state": self._state.ping,
            "icat": self._catalogue.ping,
        }
        if self._root is not None:
            root = self._root
            checks["main_storage"] = lambda: shutil.disk_usage(root)
        found = {}
        for name, check in checks.items():
            try:
                check()
            except (IdsError, OSError) as error:
                found[name] = str(error)
            else:
                found[name] = "ok"
        status = self._levels.service_status()
        body = {
            "healthy": all(text == "ok" for text in found.values()),
            "checks": found,
            "queue": len(status["opsQueue"]),
            "failures": len(status["failures"]),
        }
        return Response(
            json.dumps(body),
            200 if body["healthy"] else 503,
            media_type="application/json",
        )

    def _overdue(self) -> float:
        first = min((u.due for u in self._state.wanted()), default=math.inf)
        return max(0.0, time.time() - first)

    def metrics(self, request: Request) -> Response:
        """Return the metrics."""
        status = self._levels.service_status()
        gauges: dict[tuple[str, Labels], float] = {
            ("ids_failures", ()): len(status["failures"]),
            ("ids_locks", ()): status["lockCount"],
            ("ids_possible_orphans", ()): self._state.count_doubts(),
            ("ids_queue_overdue_seconds", ()): self._overdue(),
        }
        kinds = Counter(entry["request"] for entry in status["opsQueue"])
        for kind, count in kinds.items():
            gauges["ids_queue", (("request", str(kind)),)] = count
        if self._root is not None:
            room = shutil.disk_usage(self._root)
            gauges["ids_main_storage_free_bytes", ()] = room.free
        return Response(
            self._metrics.render(gauges), media_type="text/plain; version=0.0.4"
        )
