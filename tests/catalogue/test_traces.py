"""What a trace tells of calls to the catalogue, and what it must not."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from icat_stream.catalogue import CatalogueSession
from icat_stream.records import InvestigationKey, OutcomeKind, TransientFailure

from .conftest import Server
from .plans import full, plan


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    monkeypatch.setattr("icat_stream.telemetry.client_spans._tracer", tracer)
    yield exporter
    provider.shutdown()


def test_a_failure_is_a_status_without_its_causes(
    lane: CatalogueSession,
    server: Server,
    investigation: InvestigationKey,
    exporter: InMemorySpanExporter,
) -> None:
    lane.apply(plan(full(investigation, name="before")))
    server.fault("database", match="create")
    with pytest.raises(TransientFailure):
        lane.apply(plan(full(investigation)))
    spans = exporter.get_finished_spans()
    failed = [span for span in spans if span.status.status_code is StatusCode.ERROR]
    assert {"icat.create", "icat.apply"} <= {span.name for span in failed}
    assert [event for span in failed for event in span.events] == []


def test_calls_are_spans_without_secrets_or_payloads(
    lane: CatalogueSession,
    investigation: InvestigationKey,
    exporter: InMemorySpanExporter,
) -> None:
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


def _about_datasets(exporter: InMemorySpanExporter) -> list[str]:
    found = [
        span.name
        for span in exporter.get_finished_spans()
        if (span.attributes or {}).get("icat.entity") == "Dataset"
    ]
    exporter.clear()
    return found


def test_a_dataset_is_looked_for_only_where_the_last_one_was_there(
    lane: CatalogueSession,
    investigation: InvestigationKey,
    exporter: InMemorySpanExporter,
) -> None:
    first, second, third = (
        plan(full(investigation, name=name)) for name in ("first", "second", "third")
    )
    assert lane.apply(first).kind is OutcomeKind.INGESTED
    assert _about_datasets(exporter) == ["icat.create"]
    assert lane.apply(first).kind is OutcomeKind.UNCHANGED
    assert _about_datasets(exporter) == ["icat.create", "icat.search"]
    assert lane.apply(first).kind is OutcomeKind.UNCHANGED
    assert _about_datasets(exporter) == ["icat.search"]
    assert lane.apply(second).kind is OutcomeKind.INGESTED
    assert _about_datasets(exporter) == ["icat.search", "icat.create"]
    assert lane.apply(third).kind is OutcomeKind.INGESTED
    assert _about_datasets(exporter) == ["icat.create"]


def test_after_an_internal_error_a_dataset_is_looked_for(
    lane: CatalogueSession,
    server: Server,
    investigation: InvestigationKey,
    exporter: InMemorySpanExporter,
) -> None:
    wanted = plan(full(investigation))
    lane.apply(wanted)
    server.fault("database", match="create")
    with pytest.raises(TransientFailure):
        lane.apply(wanted)
    exporter.clear()
    assert lane.apply(wanted).kind is OutcomeKind.UNCHANGED
    assert _about_datasets(exporter) == ["icat.search"]
