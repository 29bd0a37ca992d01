"""Spans around calls to other systems, by OpenTelemetry's conventions for HTTP."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_tracer = trace.get_tracer("icat_stream")
_propagator = TraceContextTextMapPropagator()


def quiet_span(
    name: str,
    attributes: Mapping[str, str | int] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
) -> AbstractContextManager[Span]:
    """Open a span that tells of a failure in one line.

    Parameters
    ----------
    name
        Of the work.
    attributes
        What it is about; never values of the catalogue.
    kind
        Whose time it is.
    """
    # A recorded exception brings its causes along, and with them SQL and bodies.
    return _tracer.start_as_current_span(
        name,
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=True,
    )


def client_span(
    name: str, attributes: Mapping[str, str | int] | None = None
) -> AbstractContextManager[Span]:
    """Open the span of a call to another system; else as :func:`quiet_span`."""
    return quiet_span(name, attributes, kind=SpanKind.CLIENT)


def sent(method: str, host: str, port: int | None) -> dict[str, str]:
    """Note on the call's span what is sent where, and return the trace's headers.

    Parameters
    ----------
    method
        Of HTTP.
    host, port
        Without what else a URL may hold: a path may name a session.

    Returns
    -------
    :
        ``traceparent``, where there is a trace that is recorded.
    """
    headers: dict[str, str] = {}
    span = trace.get_current_span()
    # One that is not recorded says so, and servers would not record theirs either.
    if span.is_recording():
        _propagator.inject(headers)
        if _is_of_a_call(span):
            span.set_attribute("http.request.method", method)
            span.set_attribute("server.address", host)
            if port is not None:
                span.set_attribute("server.port", port)
    return headers


def received(status: int) -> None:
    """Note an answer's status on the call's span."""
    span = trace.get_current_span()
    if _is_of_a_call(span):
        span.set_attribute("http.response.status_code", status)


def _is_of_a_call(span: Span) -> bool:
    """Whether it is a call's own; a probe has none, and may stand in any other."""
    return getattr(span, "kind", None) is SpanKind.CLIENT
