"""Logs, traces, metrics, health: what an operator sees of the program at work."""

from .client_spans import client_span, quiet_span, received, sent
from .fault_points import fault_point
from .http_endpoint import Page, health_endpoint, is_foreign
from .logs import configure_logging, current_record
from .metrics import METRICS, export_metrics, render, sample
from .periodic import Periodic
from .prometheus import Sample, prometheus_text
from .traces import configure_traces, step

__all__ = [
    "METRICS",
    "Page",
    "Periodic",
    "Sample",
    "client_span",
    "configure_logging",
    "configure_traces",
    "current_record",
    "export_metrics",
    "fault_point",
    "health_endpoint",
    "is_foreign",
    "prometheus_text",
    "quiet_span",
    "received",
    "render",
    "sample",
    "sent",
    "step",
]
