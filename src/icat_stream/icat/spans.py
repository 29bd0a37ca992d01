"""Spans of the catalogue's calls, which tell of failures in one line."""

from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.trace import Span

_tracer = trace.get_tracer("icat_stream.catalogue")


def span(
    name: str, attributes: dict[str, str | int] | None = None
) -> AbstractContextManager[Span]:
    """Open a span around a call.

    Parameters
    ----------
    name
        Of the call.
    attributes
        What it is about; never values of the catalogue.
    """
    # A recorded exception brings its causes along, and with them SQL and bodies.
    return _tracer.start_as_current_span(
        name,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=True,
    )
