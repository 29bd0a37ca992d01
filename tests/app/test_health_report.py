"""Health names what is wrong, why, and the page about it."""

import pytest

from icat_stream.app.health_report import HealthReport, Meter
from icat_stream.config import load
from icat_stream.records import Coordinates, Outcome, OutcomeKind, Record
from icat_stream.stream import LoopStatus


class Told:
    """A loop, as far as health asks it."""

    def __init__(self, **status):
        self._status = LoopStatus(name="files", turned=0.0, **status)

    def status(self):
        return self._status


@pytest.mark.parametrize(
    ("status", "page", "words"),
    [
        ({}, "stuck-daemon", "files: Kafka has given it no share"),
        ({"missing": "no topic a"}, "topic-missing", "files waits: no topic a"),
        ({"ended": "a bug"}, "stuck-daemon", "files: the loop has ended: a bug"),
        (
            {"joined": True, "down": {"ids": "HTTP 503"}},
            "icat-down",
            "ids: HTTP 503 (files is paused)",
        ),
    ],
)
def test_who_is_unhealthy_says_why(tmp_path, status, page, words):
    report = HealthReport(_settings(tmp_path))
    meter = Meter(lambda record, outcome: None)
    report.attach([Told(**status)], {"files": meter})
    found = report.report()
    assert not found["healthy"]
    [problem] = found["problems"]
    assert problem["text"].startswith(words)
    assert problem["page"] == f"icat_stream docs {page}"


def _settings(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "facility: EXAMPLE\nalerts: {rejects: 2}\n"
        "consumers: {files: {handler: users, topics: [a]}}\n"
    )
    return load(file, {})


def test_the_most_frequent_reason_is_named_with_its_page(tmp_path):
    report = HealthReport(_settings(tmp_path))
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
    assert problem["text"].endswith("; 3 of them: /…: is no HDF5 file")
    assert problem["page"] == "icat_stream docs poison-message"
    for _ in range(4):
        reject("instrument 'SIRIUS' is not in the catalogue")
    [problem] = report.report()["problems"]
    assert "7 records were rejected" in problem["text"]
    assert "; 4 of them: instrument 'SIRIUS' is not in the catalogue" in problem["text"]
    assert problem["page"] == "icat_stream docs instrument-renamed"
