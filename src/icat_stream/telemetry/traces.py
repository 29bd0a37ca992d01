"""Spans: one trace from the announcement to the transaction."""

import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace

from .client_spans import quiet_span


def configure_traces(
    otlp_endpoint: str | None, *, console: bool, sample_ratio: float
) -> Callable[[], None]:
    """Send spans somewhere; without a destination they are ids and nothing more.

    Parameters
    ----------
    otlp_endpoint
        Base URL of an OTLP collector over HTTP, ``http://127.0.0.1:4318``.
    console
        Print finished spans to standard error, one JSON object each.
    sample_ratio
        Of the traces that begin here; a record's own ``traceparent`` decides for
        itself.

    Returns
    -------
    :
        Call it at the end: it sends what is left.
    """
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBasedTraceIdRatio

    if otlp_endpoint is None and not console:
        # Nothing is recorded, but logs, journal and events still have trace ids.
        trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF))
        return lambda: None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    from icat_stream import __version__

    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(sample_ratio),
        resource=Resource.create(
            {"service.name": "icat-stream", "service.version": __version__}
        ),
        shutdown_on_exit=False,
    )
    if otlp_endpoint is not None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )

        url = otlp_endpoint.rstrip("/")
        url = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    if console:
        provider.add_span_processor(
            SimpleSpanProcessor(
                ConsoleSpanExporter(
                    out=sys.stderr,
                    formatter=lambda span: span.to_json(indent=None) + "\n",
                )
            )
        )
    trace.set_tracer_provider(provider)
    return provider.shutdown


@contextmanager
def step(
    name: str, durations: MutableMapping[str, float], **attributes: Any
) -> Iterator[trace.Span]:
    """Time one step of a record's way and show it as a span.

    Parameters
    ----------
    name
        Of the step; also the key under which its seconds are added up.
    durations
        Seconds by step.
    attributes
        Of the span: never payloads, never secrets.
    """
    begin = time.perf_counter()
    try:
        with quiet_span(name, attributes) as span:
            yield span
    finally:
        durations[name] = durations.get(name, 0.0) + time.perf_counter() - begin
