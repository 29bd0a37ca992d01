"""What others wrote cannot take over a terminal or forge a line of a log."""

import json
import logging

import pytest
from typer.testing import CliRunner

from icat_stream.app.outcome_output import outcome_text
from icat_stream.cli.tools import app
from icat_stream.records import Coordinates, Outcome, OutcomeKind, Record
from icat_stream.telemetry import Page, configure_logging, health_endpoint

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


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
def test_health_shows_what_the_network_says_as_what_it_is(listen):
    report = {
        "healthy": False,
        "started": True,
        "version": HOSTILE,
        "problems": [{"text": HOSTILE, "page": HOSTILE}],
        "loops": {},
        "systems": {HOSTILE: {"up": False, "reason": HOSTILE, "age": 1.0}},
        "dead_letters": 0,
        "disk_free": {HOSTILE: 0.5},
    }
    page = Page(503, "application/json", json.dumps(report).encode())
    with health_endpoint(listen, {"/health": lambda: page}) as url:
        assert url.startswith(f"http://{listen.removesuffix('0')}")
        done = CliRunner().invoke(app, ["health", "--url", url])
    assert done.exit_code == 5, done.output
    lines = done.stdout.splitlines()
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 6


@pytest.mark.parametrize(
    "command",
    [
        ["journal", "list"],
        ["journal", "show"],
        ["journal", "stats"],
        ["journal", "reingest"],
        ["dead-letters", "list"],
        ["dead-letters", "replay"],
        ["reconcile"],
        ["health"],
    ],
)
def test_all_tools_print_text_or_json(command):
    done = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "text|json" in done.output
