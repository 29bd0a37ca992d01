"""Health says why most of the rejected records were, and which page is about it."""

from icat_stream.app.health_report import HealthReport, Meter
from icat_stream.config import load
from icat_stream.records import Coordinates, Outcome, OutcomeKind, Record


def test_the_most_frequent_reason_is_named_with_its_page(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "facility: EXAMPLE\nalerts: {rejects: 2}\n"
        "consumers: {files: {handler: users, topics: [a]}}\n"
    )
    report = HealthReport(load(file, {}))
    meter = Meter(lambda record, outcome: None)
    report.attach([], {"files": meter})
    at = Coordinates("files", 0, 7)
    record = Record(
        at=at, timestamp=0, key=None, value=b"", origin=at, origin_timestamp=0
    )

    def reject(reason):
        meter(record, Outcome(kind=OutcomeKind.REJECTED, reason=reason))

    assert report.report()["problems"] == []
    for run in range(3):
        reject(f"/data/run_{run}.nxs: is no HDF5 file")
    [problem] = report.report()["problems"]
    assert problem["text"].endswith("; 3 of them: /…: is no … file")
    assert problem["page"] == "icat_stream docs poison-message"
    for _ in range(4):
        reject("instrument 'SIRIUS' is not in the catalogue")
    [problem] = report.report()["problems"]
    assert "7 records were rejected" in problem["text"]
    assert "; 4 of them: instrument 'SIRIUS' is not in the catalogue" in problem["text"]
    assert problem["page"] == "icat_stream docs instrument-renamed"
