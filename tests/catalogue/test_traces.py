"""What a trace tells of calls to the catalogue, and what it must not."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from icat_stream.catalogue import Lane
from icat_stream.records import InvestigationKey, TransientFailure

from .conftest import Server
from .plans import full, plan


def test_a_failure_is_a_status_without_its_causes(
    lane: Lane,
    server: Server,
    investigation: InvestigationKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    monkeypatch.setattr("icat_stream.catalogue.tracing._tracer", tracer)
    lane.apply(plan(full(investigation, name="before")))
    server.fault("database", match="create")
    with pytest.raises(TransientFailure):
        lane.apply(plan(full(investigation)))
    spans = exporter.get_finished_spans()
    failed = [span for span in spans if span.status.status_code is StatusCode.ERROR]
    assert {"icat.create", "icat.apply"} <= {span.name for span in failed}
    assert [event for span in failed for event in span.events] == []


def test_calls_are_spans_without_secrets_or_payloads(
    lane: Lane, investigation: InvestigationKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    monkeypatch.setattr("icat_stream.catalogue.tracing._tracer", tracer)
    lane.apply(plan(full(investigation)))
    spans = exporter.get_finished_spans()
    names = {span.name for span in spans}
    assert {"icat.apply", "icat.login", "icat.search", "icat.create"} <= names
    (tree,) = (
        span
        for span in spans
        if span.name == "icat.create" and span.attributes["icat.entity"] == "Dataset"
    )
    assert tree.attributes["icat.count"] == 6
    told = "".join(span.to_json() for span in spans)
    for secret in ("secret", lane.session_id, "run7.nxs", "SELECT"):
        assert secret not in told
