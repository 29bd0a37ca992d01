"""Logs and traces: what an operator sees of the program at work."""

from .health import health_endpoint
from .logs import configure_logging, current_record
from .traces import configure_traces, step

__all__ = [
    "configure_logging",
    "configure_traces",
    "current_record",
    "health_endpoint",
    "step",
]
