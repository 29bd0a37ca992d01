"""Messages that the journal knows are handled again."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
import scripted

from icat_stream.config import Settings
from icat_stream.journal import Search, reading
from icat_stream.records import Coordinates, OutcomeKind
from icat_stream.repair.reingest import Reingest, again

pytestmark = pytest.mark.kafka


# The tool in a process of its own, to be killed.
PERSON = """
import json, sys
from contextlib import closing
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import scripted
from icat_stream.config import Settings
from icat_stream.repair.reingest import Reingest, again
from icat_stream.journal import Search, reading
settings = Settings(**json.loads(sys.argv[2]))
consumer = lambda name: scripted.Scripted(Path(sys.argv[3]))
with reading(settings.journal) as journal, closing(Reingest(
    settings, journal, consumer_of=consumer, on_done=print, on_problem=print
)) as tool:
    tool.run(again(journal, Search(since=0)))
"""


def message(name, do="ok", **more):
    return {"id": name, "key": f"k {name}", "do": do.split(), **more}


class Desk:
    """Where a person has messages handled again."""

    def __init__(self, stage):
        self.stage = stage
        self.sent = 0
        self.problems = []

    def send(self, consumer=scripted.Scripted, consumers=None, **search):
        def note(number):
            self.sent += number

        self.stage.catch_up()
        values = self.stage.settings()
        settings = Settings(**values | ({"consumers": consumers} if consumers else {}))
        with (
            reading(settings.journal) as journal,
            closing(
                Reingest(
                    settings,
                    journal,
                    consumer_of=lambda _: consumer(self.stage.folder),
                    on_done=note,
                    on_problem=lambda e, text: self.problems.append((e.origin, text)),
                )
            ) as tool,
        ):
            tool.run(again(journal, Search(**search)))

    def way(self, offset):
        self.stage.catch_up()
        place = Coordinates(self.stage.source, 0, offset)
        with reading(Settings(**self.stage.settings()).journal) as journal:
            return [entry.row.outcome for entry in journal.entries.way(place)]


@pytest.fixture
def desk(stage):
    stage.create(1)
    return Desk(stage)


def test_what_was_rejected_is_handled_again_and_its_way_is_one(desk, stage):
    stage.send(message("a", "reject ok"), message("b"), message("c", "reject"))
    stage.run()
    desk.send(outcomes=["rejected"])
    assert (desk.sent, desk.problems) == (2, [])
    counts = stage.run().counts
    assert counts[OutcomeKind.INGESTED] == 1
    assert desk.way(0) == ["rejected", "ingested"]
    assert desk.way(1) == ["ingested"]
    assert desk.way(2) == ["rejected", "rejected"]
    (once_more,) = stage.rows("origin_topic <> topic and outcome = 'ingested'")
    assert once_more["attempts"] == 1
    # What was put right since then is left alone.
    desk.send(outcomes=["rejected"])
    assert desk.sent == 3


def test_all_that_match_are_sent_but_not_what_waits(desk, stage):
    stage.send(*(message(f"m{n}") for n in range(30)), message("w", "need:x"))
    stage.run()
    desk.send(since=0)
    assert desk.sent == 30
    stage.run()
    assert all(desk.way(n) == ["ingested"] * 2 for n in range(30))
    desk.send(outcomes=["deferred"])
    assert desk.sent == 31


@pytest.mark.parametrize("step", ["begin", "produced", "offsets"])
def test_a_person_who_is_killed_begins_anew_and_nothing_is_left_out(stage, step):
    """Of 600 messages 500 are in the first transaction; the second one is not made."""
    stage.create(1)
    names = [f"m{n}" for n in range(600)]
    stage.send(*(message(name) for name in names))
    stage.run()
    stage.catch_up()
    command = [sys.executable, "-c", PERSON, str(Path(__file__).parent)]
    command += [json.dumps(stage.settings()), str(stage.folder)]

    def sent():
        records = stage.read(f"{stage.group}.retry.0")
        return Counter(json.loads(record.value())["id"] for record in records)

    killed = subprocess.run(
        command, env={**os.environ, "ICAT_STREAM_FAULT": f"{step}:2"}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    first = sent()
    assert set(first.values()) == {1}
    assert len(first) == 500
    subprocess.run(command, check=True)
    assert sent() == first + Counter(names)
    stage.run()
    handled = stage.rows("topic <> origin_topic")
    assert Counter(row["origin_offset"] for row in handled).total() == 1100
    assert len({row["origin_offset"] for row in handled}) == 600
    assert {row["outcome"] for row in handled} == {"ingested"}


def test_one_message_is_named_by_any_of_its_places(desk, stage):
    stage.send(message("a", "reject"), message("b"))
    stage.run()
    place = Coordinates(stage.source, 0, 0)
    desk.send(message=place)
    stage.run()
    (retried,) = stage.rows("origin_topic <> topic")
    retry = Coordinates(retried["topic"], retried["partition"], retried["offset"])
    for at in (place, retry):
        desk.send(message=at)
    assert desk.sent == 3


def test_headers_key_and_origin_go_with_it(desk, stage):
    stage.send(message("a"), headers=[("event", b"\xff")])
    stage.run()
    desk.send(since=0)
    (sent,) = stage.read(f"{stage.group}.retry.0")
    (source,) = stage.read(stage.source)
    headers = dict(sent.headers())
    assert (sent.key(), sent.value()) == (source.key(), source.value())
    assert headers["event"] == b"\xff"
    assert headers["icat-stream.topic"] == stage.source.encode()
    assert headers["icat-stream.timestamp"] == b"%d" % source.timestamp()[1]


def test_a_secret_is_not_sent(desk, stage):
    stage.send(message("a", "reject ok", token="s3cret"))
    stage.send(b"no JSON, s3cret")
    stage.run(secret=True)
    desk.send(scripted.Secret, since=0)
    sent = stage.read(f"{stage.group}.retry.0")
    assert len(sent) == desk.sent == 1
    assert b"s3cret" not in sent[0].value()
    assert "secrets" in desk.problems[0][1]


def test_the_journal_has_what_kafka_has_no_more(desk, stage):
    stage.send(message("a"), headers=[("event", b"\xff")])
    stage.run()
    (source,) = stage.read(stage.source)
    stage.delete_records(1)
    desk.send(since=0)
    (sent,) = stage.read(f"{stage.group}.retry.0")
    assert (sent.key(), sent.value()) == (source.key(), source.value())
    assert dict(sent.headers())["event"] == b"\xff"


def test_what_nobody_has_is_named_and_the_rest_goes_out(desk, stage):
    stage.send(message("a"), message("b"), message("c"))
    stage.run(journal={"payload": False})
    stage.delete_records(2)
    desk.send(since=0)
    assert desk.sent == 1
    assert [origin.offset for origin, _ in desk.problems] == [0, 1]
    assert all("retention" in text for _, text in desk.problems)


def test_a_group_that_is_not_configured_is_named(desk, stage):
    stage.send(message("a"))
    stage.run()
    desk.send(
        consumers={"other": {"handler": "x", "topics": [stage.source]}},
        since=0,
    )
    assert stage.group in desk.problems[0][1]
