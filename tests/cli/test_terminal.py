"""What the daemon shows at a terminal, in a pipe, and when nobody reads on."""

import re
import subprocess

import pytest

from icat_stream.sandbox.announcer import Announcer
from plugins.commands import BIN

from .terminal import on_a_terminal, seen

DAEMON = BIN / "icat_ingestor"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def config(facility, name):
    return facility.variant(
        name,
        kafka={"group_id": name, "start": "latest"},
        journal={"url": f"sqlite:///{name}.db"},
    )


@pytest.fixture
def announced(facility, run):
    """Return a function that has a group begin here, and announces to it."""

    def announce(name, count):
        file = config(facility, name)
        assert run("icat_ingestor", "-c", file, "--until-end").code == 0
        files = [facility.write() for _ in range(count)]
        facility.announce(*files)
        return file, files

    return announce


def test_a_person_at_a_terminal_sees_who_it_is_and_a_line_a_dataset(
    facility, announced
):
    file, files = announced("at-a-terminal", 2)
    announcer = Announcer(facility.endpoints["kafka"])
    announcer.send(b"\x00\x01 no message \x1b[2J of any kind \xff")
    announcer.flush()
    shown = on_a_terminal(80, DAEMON, "-c", file, "--until-end")
    assert b"\x1b[32mingested" in shown
    assert b"\x1b[31mrejected" in shown
    assert b"\x1b[2J" not in shown
    lines = seen(shown)
    text = "\n".join(lines)
    assert re.match(r"icat-stream \S+, facility EXAMPLE, until Ctrl-C", lines[0])
    assert f"  Kafka {facility.endpoints['kafka']}" in lines
    assert (
        "  file_written reads filewriter as group at-a-terminal.file_written" in lines
    )
    ingested = [line for line in lines if re.match(f"{TIME} ingested ", line)]
    assert len(ingested) == len(files)
    assert all("240815/1 " in line and len(line) <= 80 for line in ingested)
    [rejected] = [n for n, line in enumerate(lines) if " rejected " in line]
    assert "expected a schema identifier" in lines[rejected + 1]
    # Said once: no log line of the record beside it.
    assert text.count("expected a schema identifier") == 1
    assert "trace=" not in text
    assert re.match(r"3 records in \d+ s, .* a second: .*2 ingested", lines[-1])


def test_elsewhere_it_logs_plain_lines_with_iso_times(facility, announced, run):
    file, _ = announced("plain-lines", 1)
    done = run("icat_ingestor", "-c", file, "--until-end")
    assert done.code == 0
    assert "\x1b" not in done.out + done.err
    assert '"ingested": 1' in done.out.splitlines()[-1]
    logged = [line for line in done.err.splitlines() if " INFO " in line]
    assert logged
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z ", line) for line in logged)
    # What every good start says is for -v.
    assert "Coordinator load in progress" not in done.err


def test_a_reader_that_goes_away_is_a_wish_to_stop(facility, announced, run):
    file, files = announced("closed-pipe", 30)
    with subprocess.Popen(
        [DAEMON, "-c", file, "--until-end", "--output", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline()
        daemon.stdout.close()
        _, errors = daemon.communicate(timeout=60)
    assert daemon.returncode == 141
    assert "Traceback" not in errors
    assert "Broken pipe" not in errors
    # Nothing is lost by it, and nothing twice.
    done = run("icat_ingestor", "-c", file, "--until-end", "--output", "json")
    assert done.code == 0
    assert done.lines[-1]["rejected"] == 0
    client = facility.client()
    names = ", ".join(f"'{each.path.name}'" for each in files)
    assert client.search(
        f"SELECT COUNT(f) FROM Datafile f WHERE f.name IN ({names})"
    ) == [len(files)]
    client.logout()


@pytest.mark.parametrize(
    "words",
    [
        ("icat_stream", "config", "sample"),
        ("icat_stream", "journal", "list", "-c", "CONFIG"),
        ("icat_stream", "journal", "export", "-c", "CONFIG"),
        ("icat_stream", "dead-letters", "list", "-c", "CONFIG"),
        ("icat_stream", "reconcile", "-c", "CONFIG"),
        ("icat_validate_config", "CONFIG"),
        ("icat_background_ingestor", "-c", "CONFIG", "--file", "FILE", "--dry-run"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_nobody_who_reads_is_silence(facility, announced, tmp_path, words):
    file, [written] = announced("nobody-reads", 1)
    given = {"CONFIG": str(file), "FILE": str(written.path)}
    # As a shell does it: a pipe whose reader has ended already.
    command = [BIN / words[0], *(given.get(word, word) for word in words[1:])]
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait(10)
    done = subprocess.run(
        command, stdout=reader.stdin, stderr=subprocess.PIPE, text=True, timeout=60
    )
    reader.stdin.close()
    assert done.returncode in (0, 3, 141), done.stderr
    for noise in ("Traceback", "Broken pipe", "BrokenPipe", "Exception ignored"):
        assert noise not in done.stderr
