"""Metrics reach a collector."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from icat_stream.telemetry import export_metrics, sample


def test_a_collector_gets_what_prometheus_gets():
    got = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            got.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    looks = []

    def measure():
        looks.append(1)
        return [sample("records_total", 3, consumer="c", outcome="ingested")]

    try:
        flush = export_metrics(f"http://127.0.0.1:{server.server_port}", measure)
        flush()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    # All metrics of an export are of one look.
    assert len(looks) == len(got)
    path, body = got[-1]
    assert path == "/v1/metrics"
    request = ExportMetricsServiceRequest.FromString(body)
    (metric,) = (
        metric
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "icat_stream_records_total"
    )
    (point,) = metric.sum.data_points
    assert metric.sum.is_monotonic
    assert point.as_int == 3
    assert {a.key: a.value.string_value for a in point.attributes} == {
        "consumer": "c",
        "outcome": "ingested",
    }
