"""Metrics: measured when they are asked for, for Prometheus and for OTLP."""

from collections.abc import Callable, Iterable
from typing import Any

from .prometheus import Sample, prometheus_text

PREFIX = "icat_stream_"

METRICS = {
    "records_total": ("counter", "Records whose outcome is committed, by outcome."),
    "step_seconds_total": ("counter", "Seconds spent in a step of records' handling."),
    "steps_total": ("counter", "Records that went through a step."),
    "lag_records": ("gauge", "Records not yet finished, by consumer and topic."),
    "lanes": ("gauge", "Lanes of a consumer."),
    "lanes_busy": ("gauge", "Lanes at work."),
    "lane_oldest_seconds": ("gauge", "For how long the slowest lane is at its record."),
    "loop_turn_age_seconds": ("gauge", "Seconds since the last turn of the loop."),
    "loop_seconds_total": ("counter", "Time of the loop's thread; all parts add up."),
    "partitions": ("gauge", "Partitions that this instance owns."),
    "in_flight_records": ("gauge", "Records handed out and not committed."),
    "in_flight_bytes": ("gauge", "Bytes of records handed out and not committed."),
    "waiting_records": ("gauge", "Records put off or parked, in this instance."),
    "parked_records": ("gauge", "Records in the table of parked records."),
    "oldest_unfinished_seconds": (
        "gauge",
        "Seconds since the oldest unfinished record was read.",
    ),
    "unfinished_span": (
        "gauge",
        "Offsets from the oldest unfinished record to the last one read.",
    ),
    "partition_unread_records": ("gauge", "Records of a source that are not read yet."),
    "partition_undecided_seconds": (
        "gauge",
        "Seconds for which a writer's open transaction has held up a source.",
    ),
    "partition_unfinished_records": ("gauge", "Records read and not committed."),
    "partition_waiting_records": ("gauge", "Records put off or parked, by reason."),
    "partition_oldest_unfinished_seconds": (
        "gauge",
        "Seconds since a partition's oldest unfinished record was read.",
    ),
    "partition_unfinished_span": (
        "gauge",
        "Offsets from a partition's oldest unfinished record to the last one read.",
    ),
    "partition_map_characters": (
        "gauge",
        "Characters beside a committed offset, of which Kafka keeps 4095.",
    ),
    "unopened_seconds": (
        "gauge",
        "Seconds since a partition was given that is not open yet.",
    ),
    "records_lost_total": (
        "counter",
        "Records that retention removed before they were read.",
    ),
    "transactions_total": ("counter", "Committed transactions."),
    "transaction_seconds_total": (
        "counter",
        "Seconds from the begin of transactions until they were committed.",
    ),
    "topics_missing": (
        "gauge",
        "1 while a topic is missing and the consumer waits for it.",
    ),
    "paused": ("gauge", "1 while a system is down and the consumer waits for it."),
    "journal_lag_outcomes": ("gauge", "Outcomes that are not in the journal yet."),
    "journal_rows_total": ("counter", "Rows that this process wrote to the journal."),
    "journal_lost_outcomes_total": ("counter", "Removed before the journal had them."),
    "journal_refused_outcomes_total": ("counter", "That got no row: see the log."),
    "dead_letters_waiting": ("gauge", "Dead letters neither replayed nor discarded."),
    "system_up": ("gauge", "1 if the system answers."),
    "disk_free_ratio": ("gauge", "Free part of the disk that something is kept on."),
    "healthy": ("gauge", "1 if nothing is wrong."),
}
"""Kind and help by name, without the prefix."""


Measure = Callable[[], Iterable[Sample]]


def sample(name: str, value: float, **labels: str) -> Sample:
    """Return a sample.

    Parameters
    ----------
    name
        One of :data:`METRICS`.
    value
        Measured.
    labels
        What it was measured of; never anything that a message says.
    """
    return Sample(name, tuple(labels.items()), value)


def render(samples: Iterable[Sample]) -> str:
    """Return samples in Prometheus' text format."""
    return prometheus_text(METRICS, samples, PREFIX)


def export_metrics(endpoint: str, measure: Measure) -> Callable[[], None]:
    """Send metrics to an OTLP collector over HTTP, every minute.

    Parameters
    ----------
    endpoint
        Its base URL.
    measure
        Called for each export, in another thread.

    Returns
    -------
    :
        Call it at the end: it sends the last ones.
    """
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
        OTLPMetricExporter,
    )
    from opentelemetry.metrics import Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    from icat_stream import __version__

    url = endpoint.rstrip("/").removesuffix("/v1/traces") + "/v1/metrics"
    measured: list[list[Sample]] = []

    class Exporter(OTLPMetricExporter):
        def export(self, *args: Any, **kwargs: Any) -> Any:
            # All metrics of an export are of one look; the next needs another.
            measured.clear()
            return super().export(*args, **kwargs)

    provider = MeterProvider(
        [PeriodicExportingMetricReader(Exporter(endpoint=url))],
        resource=Resource.create(
            {"service.name": "icat-stream", "service.version": __version__}
        ),
        shutdown_on_exit=False,
    )
    meter = provider.get_meter("icat_stream")

    def observed(name: str) -> Callable[[Any], list[Observation]]:
        def observe(_: Any) -> list[Observation]:
            if not measured:
                measured.append(list(measure()))
            samples = measured[0]
            return [
                Observation(s.value, dict(s.labels)) for s in samples if s.name == name
            ]

        return observe

    for name, (kind, text) in METRICS.items():
        create = (
            meter.create_observable_counter
            if kind == "counter"
            else meter.create_observable_gauge
        )
        create(PREFIX + name, callbacks=[observed(name)], description=text)
    return provider.shutdown
