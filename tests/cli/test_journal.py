"""``icat_stream journal``, as operators type it."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from icat_stream.cli.tools import app
from icat_stream.config import JournalSettings
from icat_stream.journal import Journal, JournalRow, RowKey

from .terminal import on_a_terminal, seen

BIN = Path(sys.executable).parent / "icat_stream"


def row(offset, *, topic="filewriter", origin=None, **fields):
    place = origin or (topic, 0, offset, 1_700_000_000_000 + offset)
    names = ("origin_topic", "origin_partition", "origin_offset", "origin_time")
    values = dict(zip(names, place, strict=True))
    values |= {"outcome": "ingested", "size": 3, "sha256": "0" * 64}
    at = RowKey("g.files", topic, 0, offset, 1_700_000_000_000 + offset)
    return JournalRow(at=at, **(values | fields))


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "facility": "TEST",
                "journal": {"url": "sqlite:///journal.db"},
                "files": {"roots": [str(tmp_path)]},
                "consumers": {"files": {"handler": "x", "topics": ["filewriter"]}},
            }
        )
    )
    journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db"))
    journal.create()
    rows = [
        row(1, objects={"investigation": "A/1", "dataset": "d 1"}),
        row(2, outcome="deferred", error_class="dependency", text="no B/1"),
        row(3, text="\x1b[31mred\x07 \ud800", objects={"dataset": "[bold]x"}),
        row(
            9,
            topic="g.files.retry.0",
            origin=("filewriter", 0, 2, 1_700_000_000_002),
            objects={"investigation": "B/1"},
        ),
    ]
    journal.write(rows)
    journal.close()
    return file


def run(*words, code=0):
    done = CliRunner().invoke(app, ["journal", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def lines(*words):
    return [json.loads(line) for line in run(*words)[0].splitlines()]


def test_rows_are_json_where_no_person_looks(config):
    newest, *_ = lines("list", "-c", config, "--limit", "1")
    assert newest["origin"]["offset"] == 2
    assert (newest["topic"], newest["offset"]) == ("g.files.retry.0", 9)
    (first,) = lines("export", "-c", config, "--investigation", "A")
    assert first["objects"]["dataset"] == "d 1"
    assert first["time"] == "2023-11-14T22:13:20.001Z"
    assert first["state"] == "committed"


def test_more_than_the_limit_is_said(config):
    assert "--limit" in run("list", "-c", config, "--limit", "2")[1]
    assert run("list", "-c", config)[1] == ""
    assert "nothing" in run("list", "-c", config, "--dataset", "none")[1]


def test_the_way_of_a_message(config):
    for place in ("filewriter[0]@2", "g.files.retry.0:0:9"):
        found = lines("show", "-c", config, place)
        assert [each["outcome"] for each in found] == ["deferred", "ingested"]
    assert (
        "filewriter[0]@77" in run("show", "-c", config, "filewriter[0]@77", code=2)[1]
    )


def test_counts(config):
    found = lines("stats", "-c", config, "--by", "outcome", "--by", "day")
    assert {(each["outcome"], each["day"]): each["rows"] for each in found} == {
        ("ingested", "2023-11-14"): 3,
        ("deferred", "2023-11-14"): 1,
    }
    ends = lines("stats", "-c", config, "--last")
    assert [(each["outcome"], each["rows"]) for each in ends] == [("ingested", 3)]


def test_reasons_are_counted_whatever_file_they_are_about(config, tmp_path):
    journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db"))
    reasons = [
        "/data/240815/run_1.nxs: instrument SIRIUS is not in the catalogue",
        "/data/240816/run_22.nxs: instrument SIRIUS is not in the catalogue",
        "/data/240815/run_3.nxs: is no HDF5 file (7 bytes)",
        "bytes 4 to 8 are b'o me', expected a schema identifier such as b'wrdn'",
        r"bytes 4 to 8 are b'\x00\'x', expected a schema identifier such as b'wrdn'",
    ]
    for number, reason in enumerate(reasons):
        rejected = row(900 + number, outcome="rejected", text=reason)
        journal.write([rejected])
    journal.close()
    found = lines("stats", "-c", config, "--outcome", "rejected", "--by", "reason")
    counted = {each["reason"]: each["rows"] for each in found}
    assert counted["/…: instrument SIRIUS is not in the catalogue"] == 2
    assert sorted(counted.values()) == [1, 2, 2]


def test_a_terminal_of_80_columns_has_a_line_for_each_row(config, tmp_path):
    journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db"))
    long = row(
        1234567,
        topic="facility.instrument.filewriter-announcements",
        outcome="rejected",
        error_class="permanent",
        text="begins here " + "x" * 200 + " ends here",
        objects={
            "investigation": "B/1",
            "dataset": "a-dataset-with-quite-a-long-name",
            "file": "run_00001234.nxs",
        },
    )
    journal.write([long])
    journal.close()
    found = seen(on_a_terminal(80, BIN, "journal", "list", "-c", config))
    assert all(len(line) <= 80 for line in found)
    heading, line, reason, *rest = found
    assert heading.split() == ["published", "message", "outcome", "about"]
    assert line.startswith(
        "2023-11-14T22:33:54Z facility.ins…ts[0]@1234567 rejected  B/1"
    )
    assert line.endswith("1234.nxs")
    assert reason.startswith("  permanent: begins here xxx")
    assert reason.endswith("xxx ends here")
    # The other rows: one line each, and one more for each reason.
    assert len(rest) == 6
    wide = seen(on_a_terminal(200, BIN, "journal", "list", "-c", config))
    assert wide[0].split() == ["published", "message", "outcome", "about", "reason"]
    (whole,) = lines("list", "-c", config, "--limit", "1", "--output", "json")
    assert whole["reason"] == long.text
    assert whole["objects"] == long.objects


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_gets_a_table_that_no_message_can_disturb(config, columns):
    shown = on_a_terminal(columns, BIN, "journal", "list", "-c", config)
    assert b"published" in shown
    assert b"[bold]x" in shown
    assert b"\x07" not in shown
    assert b"\x1b[31mred" not in shown
    table = run("show", "-c", config, "filewriter[0]@3", "--output", "text")[0]
    assert "\x07" not in table


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "--since", "yesterday"], "yesterday"),
        (["list", "--sha256", "xyz"], "hexadecimal"),
        (["list", "--message", "filewriter"], "topic:partition:offset"),
        (["show", "x[1]"], "topic:partition:offset"),
    ],
)
def test_what_makes_no_sense_is_bad_usage(config, words, said):
    command, *rest = words
    assert said in run(command, "-c", config, *rest, code=2)[1]


def test_a_journal_that_is_not_there_is_not_made(config, tmp_path):
    (tmp_path / "journal.db").rename(tmp_path / "other.db")
    assert "journal.url" in run("list", "-c", config, code=2)[1]
    assert not (tmp_path / "journal.db").exists()


def test_tables_of_another_version_are_left_to_the_daemon(config, tmp_path):
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.commit()
    connection.close()
    assert "daemon" in run("list", "-c", config, code=2)[1]


def test_who_has_seen_enough_may_leave(config):
    command = f"{BIN} journal export -c {config} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (141, b"")


def test_nothing_is_handled_again_unless_it_was_said_which_and_yes(config):
    assert "which" in run("reingest", "-c", config, "--yes", code=2)[1]
    said = run("reingest", "-c", config, "--investigation", "A", code=2)[1]
    assert "1 messages" in said
    assert "--yes" in said
    assert "d 1" in said
    nothing = run("reingest", "-c", config, "--dataset", "none", "--yes")
    assert "nothing" in nothing[1]
    # What waits is left alone; of the others, what came of them in the end counts.
    waits = run("reingest", "-c", config, "--error-class", "dependency")
    assert "nothing" in waits[1]
