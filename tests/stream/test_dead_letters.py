"""Dead letters are listed, replayed and discarded, each exactly once."""

import json
import random
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
import scripted
from confluent_kafka import Producer

from icat_stream.config import Settings
from icat_stream.records import Coordinates
from icat_stream.stream import Action, DeadLetters, Halt, Replay, Selection

PATIENCE = 240
DEALER = Path(__file__).with_name("dealer.py")


def message(number, do="reject", **more):
    return {"id": number, "key": f"k{hash(number) % 5}", "do": do.split(), **more}


class Desk:
    """Where a person deals with the dead letters of a stage."""

    def __init__(self, stage):
        self.stage = stage
        self.problems = []
        self.done = 0
        self.processes = []

    @property
    def settings(self):
        return Settings(**self.stage.settings())

    def letters(self, **selection):
        with DeadLetters(self.settings) as letters:
            return list(letters.read(Selection(**selection)))

    def deal(self, action=Action.REPLAYED, consumer=scripted.Scripted, **selection):
        def note(number):
            self.done += number

        with DeadLetters(self.settings) as letters:
            ends = letters.ends()
        with closing(
            Replay(
                self.settings,
                consumer_of=lambda _: consumer(self.stage.folder),
                on_done=note,
                on_problem=lambda letter, text: self.problems.append((letter.at, text)),
            )
        ) as tool:
            tool.run(action, Selection(**selection), ends)

    def spawn(self, action=Action.REPLAYED, *, fault="", signals=False):
        options = {
            "settings": self.stage.settings(),
            "folder": str(self.stage.folder),
            "consumer": "Scripted",
            "action": action,
            "signals": signals,
        }
        process = subprocess.Popen(
            [sys.executable, str(DEALER), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"ICAT_STREAM_FAULT": fault, "PATH": "/usr/bin:/bin"},
        )
        self.processes.append(process)
        return process

    def said(self, process):
        """What a spawned one says at its end, and its exit code."""
        out, _ = process.communicate("\n" * 1000, timeout=PATIENCE)
        return json.loads(out.splitlines()[-1]), process.returncode

    def retried(self):
        """Origins in the retry topic, as a reader of what is committed sees them."""
        return Counter(
            int(dict(each.headers())["icat-stream.offset"])
            for each in self.stage.read(f"{self.stage.group}.retry.0")
        )

    def markers(self):
        return Counter(
            each.key() for each in self.stage.read(f"{self.stage.dead_topic}.state")
        )

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def desk(stage):
    desk = Desk(stage)
    yield desk
    desk.close()


def reject(stage, *messages, **kwargs):
    """Let a loop reject all that is sent."""
    stage.create(partitions=1)
    stage.send(*messages)
    assert stage.run(**kwargs).exit_code == 0


def fill(stage, count):
    """Write many dead letters as a loop does."""
    stage.create_topic(stage.dead_topic, 2)
    producer = Producer({"bootstrap.servers": stage.broker.bootstrap, "linger.ms": 50})
    for n in range(count):
        headers = {
            "icat-stream.topic": stage.source,
            "icat-stream.partition": "0",
            "icat-stream.offset": str(n),
            "icat-stream.timestamp": "1",
            "icat-stream.group": stage.group,
            "icat-stream.error-class": "permanent",
            "icat-stream.error-message": "wrong " * 20,
        }
        value = json.dumps(message(n)).encode()
        producer.produce(stage.dead_topic, value, headers=headers)
    assert producer.flush(PATIENCE) == 0


def test_a_replayed_record_is_handled_anew_as_the_record_that_it_was(desk, stage):
    reject(stage, *(message(n, "reject ok") for n in range(4)))
    assert len(desk.letters()) == 4
    [letter] = desk.letters(places=frozenset([Coordinates(stage.source, 0, 2)]))
    desk.deal(places=frozenset([letter.at]))
    assert desk.done == 1
    assert len(desk.letters()) == 3
    [done] = [each for each in desk.letters(done=True) if each.done]
    assert (done.at, done.done) == (letter.at, Action.REPLAYED)
    stage.outcomes.clear()
    assert stage.run().exit_code == 0
    assert stage.events() == ["2"]
    [(record, _)] = stage.outcomes
    assert record.origin == Coordinates(stage.source, 0, 2)
    assert record.attempts == 0
    [row] = stage.rows("topic LIKE '%retry.0'")
    assert row["origin_time"] == letter.record.origin_timestamp
    # It is done once and for all, also for who asks for it by name.
    desk.deal(places=frozenset([letter.at]))
    assert desk.retried() == {2: 1}


def test_what_is_rejected_again_is_another_dead_letter(desk, stage):
    reject(stage, message(1))
    [first] = desk.letters()
    desk.deal()
    assert stage.run().exit_code == 0
    [second] = desk.letters()
    assert second.at != first.at
    assert second.record.origin == first.record.origin


def test_a_discarded_one_is_not_handled_again(desk, stage):
    reject(stage, message(1), message(2))
    desk.deal(Action.DISCARDED, text="1 IS WRONG")
    assert desk.done == 1
    assert [each.message for each in desk.letters()] == ["2 is wrong"]
    assert desk.retried() == {}
    desk.deal()
    assert desk.retried() == {1: 1}


def test_selections(desk, stage):
    reject(stage, message(1), message("X 2026-0815 Y", "bug"), message("2026-08150"))
    assert len(desk.letters()) == 3
    assert [each.error_class for each in desk.letters(error_class="bug")] == ["bug"]
    # As a word of what the letter holds, where its headers name none.
    assert len(desk.letters(investigation="2026-0815")) == 1
    assert len(desk.letters(consumer="c")) == 3
    assert len(desk.letters(consumer="other")) == 0
    times = sorted(each.record.timestamp for each in desk.letters())
    assert len(desk.letters(since=times[0])) == 3
    assert len(desk.letters(since=times[-1] + 1)) == 0
    assert len(desk.letters(until=times[0])) == 0
    assert len(desk.letters(text="mistake of ours")) == 1


def test_killed_before_its_commit_it_has_done_nothing(desk, stage):
    reject(stage, *(message(n) for n in range(20)))
    for fault in ("connected", "begin", "produced", "offsets"):
        process = desk.spawn(fault=fault)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert desk.retried() == {}
    assert len(desk.letters()) == 20
    desk.deal()
    assert desk.done == 20
    assert desk.retried() == dict.fromkeys(range(20), 1)
    assert set(desk.markers().values()) == {1}
    assert desk.letters() == []


def test_killed_after_its_commit_it_has_done_all_of_it(desk, stage):
    reject(stage, *(message(n) for n in range(20)))
    process = desk.spawn(fault="committed")
    assert process.wait(PATIENCE) == -signal.SIGKILL
    desk.deal()
    assert desk.done == 0
    assert desk.retried() == dict.fromkeys(range(20), 1)


def test_killed_between_transactions_and_anywhere(desk, stage):
    count = 2_300
    fill(stage, count)
    for fault in ("committed:2", "produced:2", "begin:2"):
        process = desk.spawn(fault=fault)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert 0 < len(desk.letters()) < count
    desk.deal()
    assert desk.retried() == dict.fromkeys(range(count), 1)
    assert len(desk.markers()) == count
    assert set(desk.markers().values()) == {1}


def test_two_people_at_once(desk, stage):
    count = 1_700
    fill(stage, count)
    one, other = desk.spawn(signals=True), desk.spawn(signals=True)
    for process in (one, other):
        assert process.stdout.readline() == "ready\n"
    # One is in the middle of it when the other begins, and then goes on.
    one.stdin.write("\n")
    one.stdin.flush()
    assert one.stdout.readline() == "some\n"
    other.stdin.write("\n")
    other.stdin.flush()
    assert other.stdout.readline() == "some\n"
    (first, code), (second, good) = desk.said(one), desk.said(other)
    assert (code, good) == (5, 0)
    assert "somebody else has begun" in first["problems"][0]
    assert first["done"] + second["done"] == count
    assert desk.retried() == dict.fromkeys(range(count), 1)
    assert len(desk.markers()) == count
    assert desk.letters() == []


def test_two_who_begin_together(desk, stage):
    count = 600
    fill(stage, count)
    both = [desk.spawn(), desk.spawn(Action.DISCARDED)]
    codes = [desk.said(process)[1] for process in both]
    # Whoever came too late may have found all done.
    assert 0 in codes
    assert set(codes) <= {0, 5}
    assert len(desk.markers()) == count
    assert set(desk.markers().values()) == {1}
    done = Counter(each.done for each in desk.letters(done=True))
    assert sum(done.values()) == count
    assert sum(desk.retried().values()) == done[Action.REPLAYED]


def test_what_was_not_kept_is_read_from_its_topic_again(desk, stage):
    stage.create_topic(stage.events_topic, **{"max.message.bytes": "20000"})
    reject(stage, message(1, "ok:30000 ok", note="n"))
    [letter] = desk.letters()
    assert letter.omitted
    assert letter.record.value is None
    desk.deal()
    [retried] = stage.read(f"{stage.group}.retry.0")
    assert json.loads(retried.value())["note"] == "n"
    assert retried.key() == b"k1"
    assert stage.run().exit_code == 0
    assert stage.events() == ["1"]


def test_what_retention_took_can_only_be_discarded(desk, stage):
    stage.create_topic(stage.events_topic, **{"max.message.bytes": "20000"})
    reject(stage, message(1, "ok:30000"), message(2))
    stage.delete_records(2)
    desk.deal()
    assert desk.done == 1
    [(_, problem)] = desk.problems
    assert f"{stage.source}[0]@0" in problem
    assert "retention" in problem
    assert desk.retried() == {1: 1}
    [left] = desk.letters()
    assert left.omitted
    desk.deal(Action.DISCARDED)
    assert desk.letters() == []


def test_secrets_are_removed_from_what_is_read_again(desk, stage):
    # A better handler than that which rejected it can remove them by now.
    class Worse(scripted.Secret):
        def redact(self, record):
            return None

    stage.create(partitions=1)
    stage.send(message(1, "reject ok", token="s3cret"), b"{ no JSON s3cret")
    loop = stage.loop()
    loop._consumer = Worse(stage.folder)
    assert loop.run().exit_code == 0
    assert [each.omitted for each in desk.letters()] == [True, True]
    desk.deal(consumer=scripted.Secret)
    [retried] = stage.read(f"{stage.group}.retry.0")
    assert json.loads(retried.value())["id"] == 1
    assert b"s3cret" not in retried.value()
    [(_, problem)] = desk.problems
    assert "secrets" in problem
    assert "s3cret" not in problem


def test_one_too_large_for_the_retry_topic_does_not_hold_up_the_others(desk, stage):
    large = random.randbytes(20_000).hex()
    reject(stage, message(1), message(2, pad=large), message(3))
    stage.configure(f"{stage.group}.retry.0", **{"max.message.bytes": "20000"})
    desk.deal()
    assert desk.done == 2
    [(at, problem)] = desk.problems
    assert "max.message.bytes" in problem
    assert desk.retried() == {0: 1, 2: 1}
    assert [each.at for each in desk.letters()] == [at]


def test_markers_that_would_be_forgotten_are_refused(desk, stage):
    reject(stage, message(1))
    stage.create_topic(f"{stage.dead_topic}.state")
    with pytest.raises(Halt, match=r"cleanup\.policy=delete"):
        desk.deal()
    assert desk.retried() == {}


def test_what_others_wrote_there_is_not_ours(desk, stage):
    reject(stage, message(1))
    stage.send(b"rubbish", topic=stage.dead_topic)
    stage.send(
        b"{}",
        topic=stage.dead_topic,
        headers={
            "icat-stream.topic": "t",
            "icat-stream.partition": "0",
            "icat-stream.offset": "0",
            "icat-stream.timestamp": "1",
            "icat-stream.group": "__consumer_offsets",
        },
    )
    with DeadLetters(desk.settings) as letters:
        assert len(list(letters.read(Selection()))) == 1
        assert letters.foreign == 2


def test_many_are_read_in_little_memory(desk, stage):
    count = 20_000
    fill(stage, count)
    tracemalloc.start()
    try:
        with DeadLetters(desk.settings) as letters:
            assert sum(1 for _ in letters.read(Selection())) == count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Some batches of messages; all of them would be over 20 MB.
    assert peak < 5 * 2**20
