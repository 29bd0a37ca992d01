"""Spans by the messaging conventions, and nothing at all when nobody listens."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NoOpTracerProvider, ProxyTracerProvider, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from icat_stream.records import Record

from .headers import TRACEPARENT

# More links than this, and exporters begin to drop them.
_LINKS = 128
_propagator = TraceContextTextMapPropagator()


class Tracing:
    """Makes the spans of one loop.

    A record is handled alone, so its own ``traceparent`` is the parent of its span,
    not a link: the conventions allow that for single messages.

    Parameters
    ----------
    group
        Consumer group.
    """

    def __init__(self, group: str) -> None:
        provider = trace.get_tracer_provider()
        self.is_on = not isinstance(provider, ProxyTracerProvider | NoOpTracerProvider)
        self._group = group
        self._tracer = trace.get_tracer("icat_stream.stream")

    @contextmanager
    def process(self, record: Record) -> Iterator[trace.Span]:
        """Show the handling of a record as a span, current while it lasts."""
        at = record.at
        with self._tracer.start_as_current_span(
            f"process {at.topic}",
            context=_context(record),
            kind=SpanKind.CONSUMER,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": at.topic,
                "messaging.destination.partition.id": str(at.partition),
                "messaging.kafka.offset": at.offset,
                "messaging.consumer.group.name": self._group,
                "messaging.kafka.message.tombstone": record.value is None,
            },
            # Reasons are for people; the core sets status and error.type itself.
            record_exception=False,
        ) as span:
            yield span

    @contextmanager
    def transaction(
        self, contexts: Sequence[Any], records: int
    ) -> Iterator[trace.Span | None]:
        """Show a transaction as a span, linked to what it commits."""
        if not self.is_on:
            yield None
            return
        with self._tracer.start_as_current_span(
            f"commit {self._group}",
            context=Context(),
            kind=SpanKind.CLIENT,
            links=[Link(context) for context in contexts[:_LINKS]],
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": "commit",
                "messaging.operation.type": "settle",
                "messaging.consumer.group.name": self._group,
                "messaging.batch.message_count": records,
            },
            record_exception=False,
        ) as span:
            yield span


def traceparent(context: Any) -> bytes | None:
    """Return a span context as the value of a header."""
    if context is None or not context.is_valid:
        return None
    return (
        f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    ).encode()


def trace_id(context: Any, record: Record) -> str | None:
    """Return the trace that a record belongs to, in hexadecimal digits."""
    if context is not None and context.is_valid:
        return format(context.trace_id, "032x")
    if record.header(TRACEPARENT) is None:
        return None
    given = trace.get_current_span(_context(record)).get_span_context()
    return format(given.trace_id, "032x") if given.is_valid else None


def _context(record: Record) -> Context:
    carrier = {
        name: value.decode(errors="replace")
        for name, value in record.headers
        if value is not None and name in (TRACEPARENT, "tracestate")
    }
    return _propagator.extract(carrier, context=Context())
