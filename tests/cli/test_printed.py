"""What others wrote cannot take over a terminal or forge a line of a log."""

import logging

from icat_stream.ingest.output import outcome_text
from icat_stream.records import Coordinates, Outcome, OutcomeKind, Record
from icat_stream.telemetry import configure_logging

HOSTILE = "run\x1b[2J\n2026-01-01 forged"


def test_an_outcome_is_printed_as_what_it_is():
    at = Coordinates("files", 0, 7)
    record = Record(
        at=at, timestamp=0, key=None, value=b"", origin=at, origin_timestamp=0
    )
    outcome = Outcome(
        kind=OutcomeKind.REJECTED, reason=HOSTILE, objects={"file": HOSTILE}
    )
    [line] = outcome_text(record, outcome).splitlines()
    assert line.isprintable()
    assert line.count("forged") == 2


def test_a_log_line_stays_one(tmp_path):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    file = tmp_path / "log"
    try:
        configure_logging("info", file)
        logging.getLogger("icat_stream.test").warning("a file %s", HOSTILE)
    finally:
        for handler in root.handlers[:]:
            handler.close()
        root.handlers[:] = before
        root.setLevel(level)
    [line] = file.read_text().splitlines()
    assert line.isprintable()
    assert line.endswith(r"a file run\x1b[2J\n2026-01-01 forged")
