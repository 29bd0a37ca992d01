"""Logs, traces, metrics, health: what an operator sees of the program at work."""

from .health import Page, health_endpoint
from .logs import configure_logging, current_record
from .metrics import METRICS, Sample, export_metrics, render, sample
from .traces import configure_traces, step

__all__ = [
    "METRICS",
    "Page",
    "Sample",
    "configure_logging",
    "configure_traces",
    "current_record",
    "export_metrics",
    "health_endpoint",
    "render",
    "sample",
    "step",
]
