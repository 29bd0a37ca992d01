"""Calls to ICAT and to the data service are part of the trace that they belong to."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from icat_stream.icat.connection import Connection as IcatConnection
from icat_stream.ids.connection import Connection as IdsConnection
from icat_stream.telemetry import client_span

SESSION = "0f4c2b9e-8f0a-4a51-9a3f-0d6f1b3f9c11"


class Server(ThreadingHTTPServer):
    """Answers everything with 418, and remembers the headers."""

    seen: dict[str, str]


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen = dict(self.headers)
        self.send_response(418)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(
        "icat_stream.telemetry.client_spans._tracer", provider.get_tracer("test")
    )
    yield exporter
    provider.shutdown()


def ask_icat(url: str) -> None:
    connection = IcatConnection(url, 10)
    connection.request("GET", f"/icat/session/{SESSION}")
    connection.close()


def ask_ids(url: str) -> None:
    IdsConnection(url, 10).get("getStatus", sessionId=SESSION)


@pytest.mark.parametrize("ask", [ask_icat, ask_ids])
def test_a_call_says_whom_it_asked_and_hands_the_trace_on(
    ask, server: Server, exporter: InMemorySpanExporter
) -> None:
    port = server.server_address[1]
    with client_span("a call"):
        ask(f"http://127.0.0.1:{port}")
    (span,) = exporter.get_finished_spans()
    assert span.kind is SpanKind.CLIENT
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 418,
    }
    context = span.get_span_context()
    expected = (
        f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    )
    assert server.seen["traceparent"] == expected
    assert SESSION not in span.to_json()
