"""The operators' tool for dead letters, as they use it."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from icat_stream.sandbox.announcer import Announcer

from .terminal import on_a_terminal, seen

EVIL = b"\x1b]0;owned\x07\x1b[2J\xe2\x80\xae\xff"
TOOL = Path(sys.executable).parent / "icat_stream"


def test_from_a_rejection_to_a_dataset(facility, run, tmp_path):
    name = "deadly"
    config = facility.variant(
        name,
        kafka={"group_id": name},
        journal={"url": f"sqlite:///{name}.db"},
        dead_letters={"topic": name},
    )

    def tool(command, *arguments, code=0):
        done = run("icat_stream", "dead-letters", command, "-c", config, *arguments)
        assert done.code == code, done.err
        return done

    def ingest():
        done = run("icat_ingestor", "-c", config, "--until-end", "--output", "json")
        assert done.code == 0, done.err
        return done.lines[-1]

    assert tool("list").lines == []
    # What others announced is none of this test's.
    ingest()
    file = facility.write()
    content = file.path.read_bytes()
    file.path.write_bytes(b"no HDF5")
    facility.announce(file)
    announcer = Announcer(facility.endpoints["kafka"])
    announcer.send(b"\x1c\0\0\0wrdn" + EVIL * 3, [("x-evil", EVIL)])
    announcer.flush()
    ingest()
    ours = [each for each in tool("list").lines if each["consumer"] == "file_written"]
    [broken] = [each for each in ours if file.path.name in each["reason"]]
    [evil] = [each for each in ours if "vtable" in each["reason"]][-1:]
    place = f"{broken['at']['partition']}@{broken['at']['offset']}"

    # Nothing that is shown can act on a terminal.
    at = f"{evil['at']['partition']}@{evil['at']['offset']}"
    for output in ("text", "json"):
        shown = tool("show", at, "--output", output).out
        assert "x-evil" in shown
        assert all(c.isprintable() or c == "\n" for c in shown)
    saved = tmp_path / "payload"
    tool("show", at, "--save", saved)
    assert saved.read_bytes().endswith(EVIL)

    file.path.write_bytes(content)
    assert "say --yes" in tool("replay", place, code=2).err
    assert tool("replay", place, "--yes").lines == [{"replayed": 1, "problems": 0}]
    assert tool("replay", place, "--yes").lines == [{"replayed": 0, "problems": 0}]
    assert ingest()["ingested"] == 1
    assert len(facility.datasets(file)) == 1
    assert "Discard 1 dead letters?" in _declined("discard", "-c", config, at)
    assert tool("list", at).lines != []
    assert tool("discard", "--reason", "vtable", "--yes").lines[-1]["discarded"] >= 1
    assert at not in tool("list", "--output", "text").out
    assert "discarded" in tool("list", at, "--all", "--output", "text").out


def _declined(*arguments):
    """What a person is shown who then says no."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [TOOL, "dead-letters", *arguments],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.close(slave)
    os.write(master, b"n\n")
    said, _ = process.communicate(timeout=60)
    os.close(master)
    assert process.returncode == 1
    return said


def test_usage(facility, run):
    for arguments, said in (
        (("list", "x@y"), "partition"),
        (("list", "--since", "yesterday"), "12h"),
        (("list", "--consumer", "nobody"), "file_written"),
        (("show", "999@0"), "no dead letter"),
    ):
        done = run("icat_stream", "dead-letters", *arguments, "-c", facility.config)
        assert done.code == 2
        assert said in done.err
        assert "Traceback" not in done.err


def test_a_list_is_the_newest_first_and_fits_80_columns(facility, run):
    name = "many-dead"
    config = facility.variant(
        name,
        kafka={"group_id": name, "start": "latest"},
        journal={"url": f"sqlite:///{name}.db"},
        dead_letters={"topic": name},
    )
    assert run("icat_ingestor", "-c", config, "--until-end").code == 0
    announcer = Announcer(facility.endpoints["kafka"])
    for _ in range(3):
        announcer.send(b"\x1c\0\0\0wrdn" + EVIL * 30)
    announcer.flush()
    assert run("icat_ingestor", "-c", config, "--until-end").code == 0
    listing = ("dead-letters", "list", "-c", config)
    letters = run("icat_stream", *listing).lines
    times = [letter["at"]["time"] for letter in letters]
    assert times == sorted(times, reverse=True)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z", time) for time in times)
    assert {letter["error_class"] for letter in letters} == {"permanent"}
    limited = run("icat_stream", *listing, "--limit", "2")
    assert limited.lines == letters[:2]
    assert "only the newest 2 of 3" in limited.err
    lines = seen(on_a_terminal(80, TOOL, *listing))
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) == 1 + 2 * 3 + 1
    # A pipe has no width: a line each, whole.
    heading, *rows, total = run("icat_stream", *listing, "--output", "text").out.split(
        "\n"
    )[:-1]
    assert heading.split()[:2] == ["rejected", "letter"]
    assert [letters[0]["reason"] in row for row in rows] == [True] * 3
    assert total == "dead letters: 3"
    shown = run("icat_stream", *listing, "--output", "text").out
    assert "None" not in shown
