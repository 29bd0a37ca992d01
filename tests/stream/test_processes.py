"""Several processes: killed, stopped, fenced, rebalanced."""

import json
import signal
from collections import Counter

import pytest

pytestmark = pytest.mark.kafka

FAULTS = (
    "handled:5",
    "begin:3",
    "produced:2",
    "offsets:2",
    "committed:2",
    "outcomes-read:2",
    "journalled:2",
    "projected:2",
)


def message(name, key="k", *steps):
    return {"id": str(name), "key": key, "do": list(steps) or ["ok"]}


def numbers(stage):
    return sorted(map(int, stage.events()))


def test_killed_at_every_step_it_loses_nothing_and_sends_nothing_twice(stage):
    stage.create(partitions=2)
    stage.switch("slow", "0.01")
    mine = {"instance_id": "here"}
    total = 0
    for fault in FAULTS:
        kinds = ("ok", "ok", "ok", "reject", "transient")
        more = range(total, total + 40)
        stage.send(*(message(n, f"k{n}", kinds[n % 5]) for n in more))
        total += 40
        code, _ = stage.ended(stage.spawn(fault=fault, kafka=mine))
        assert code == -signal.SIGKILL, fault
    code, _ = stage.ended(stage.spawn(until_end=True, kafka=mine))
    assert code == 0
    fine = [n for n in range(total) if n % 5 < 3]
    assert numbers(stage) == fine, "one event each"
    rejected = Counter(
        json.loads(letter.value())["id"]
        for letter in stage.dead_letters()
        if dict(letter.headers())["icat-stream.error-class"] == b"permanent"
    )
    assert sorted(map(int, rejected)) == [n for n in range(total) if n % 5 == 3]
    assert set(rejected.values()) == {1}
    rows = stage.rows(f"topic = '{stage.source}'")
    assert len(rows) == total
    assert {row["state"] for row in rows} == {"committed"}


def test_asked_to_stop_it_finishes_what_it_began(stage):
    stage.create(partitions=1)
    stage.switch("slow", "0.3")
    stage.send(*(message(n, f"k{n}") for n in range(100)))
    process = stage.spawn()
    stage.wait(lambda: len(stage.lines("done")) > 3)
    process.send_signal(signal.SIGTERM)
    code, said = stage.ended(process)
    assert code == 0
    assert len(stage.lines("calls")) == len(stage.lines("done"))
    assert said["counts"]["ingested"] == len(stage.events()) == stage.committed()[0]
    assert len(stage.events()) < 100


def test_a_stop_does_not_wait_longer_than_its_deadline(stage):
    stage.create(partitions=1)
    stage.switch("slow", "600")
    stage.send(message(1))
    process = stage.spawn(limits={"stop": "1s"})
    stage.wait(lambda: stage.lines("calls"))
    process.send_signal(signal.SIGTERM)
    code, _ = stage.ended(process)
    assert code == 0
    assert stage.events() == []


def test_two_instances_share_the_work_and_one_takes_over_from_the_other(stage):
    stage.create(partitions=4)
    stage.switch("slow", "0.005")
    first, second = stage.spawn(), stage.spawn()
    sent = 0
    stage.wait(lambda: all("assigned" in _log(stage, n) for n in range(2)))
    for _ in range(3):
        stage.send(*(message(n, f"k{n % 20}") for n in range(sent, sent + 200)))
        sent += 200
    stage.wait(lambda: len(stage.lines("done")) > 150)
    first.send_signal(signal.SIGTERM)
    assert stage.ended(first)[0] == 0
    stage.send(*(message(n, f"k{n % 20}") for n in range(sent, sent + 200)))
    sent += 200
    stage.wait(lambda: sum(stage.committed().values()) == sent)
    second.send_signal(signal.SIGTERM)
    assert stage.ended(second)[0] == 0
    assert numbers(stage) == list(range(sent))
    assert {row["state"] for row in stage.rows()} == {"committed"}


@pytest.mark.parametrize("static", [False, True])
def test_the_id_that_two_instances_share_is_named(stage, static):
    stage.create()
    stage.switch("slow", "0.05")
    # By their transactions; static members by the group already.
    stage.send(*(message(n, f"k{n}") for n in range(0 if static else 4000)))
    mine = {"instance_id": "twin", "static_membership": static}
    processes = [stage.spawn(kafka=mine)]
    stage.wait(lambda: "assigned" in _log(stage, 0))
    processes.append(stage.spawn(kafka=mine))
    stage.wait(lambda: any(p.poll() is not None for p in processes))
    [loser] = [p for p in processes if p.poll() is not None]
    code, said = stage.ended(loser)
    assert code == 2
    assert "twin" in said["reason"]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_both_group_protocols_do(stage, protocol):
    stage.create(partitions=2)
    stage.send(*(message(n, f"k{n}") for n in range(50)))
    code, said = stage.ended(
        stage.spawn(until_end=True, kafka={"group_protocol": protocol})
    )
    assert (code, said["counts"]["ingested"]) == (0, 50)
    assert numbers(stage) == list(range(50))


def _log(stage, number):
    return (stage.folder / f"stderr-{number}").read_text()


def test_what_the_group_gives_to_one_that_is_stopping_does_not_hold_it_up(stage):
    """librdkafka hangs where a member with an id is closed before it has answered."""
    stage.create(partitions=2)
    stage.switch("slow", "6")
    short = {"client": {"session.timeout.ms": 2000, "heartbeat.interval.ms": 500}}
    stopping = stage.spawn(kafka={"instance_id": "stopping", **short})
    stage.wait(lambda: f"{stage.group}.parked[" in _log(stage, 0))
    stage.send(*(message(n, f"k{n}") for n in range(4)))
    stage.wait(lambda: stage.lines("calls"))
    stopping.send_signal(signal.SIGSTOP)
    other = stage.spawn(kafka={"instance_id": "other", **short})
    stage.wait(lambda: "assigned" in _log(stage, 1))
    other.kill()
    stopping.send_signal(signal.SIGCONT)
    stage.wait(lambda: "lost" in _log(stage, 0))
    # It waits for the record that it is at, and meanwhile is given partitions again.
    stopping.send_signal(signal.SIGTERM)
    assert stage.ended(stopping)[0] == 0
    assert "without a farewell" not in _log(stage, 0)


def test_who_has_lost_its_partitions_is_not_at_the_end(stage):
    stage.create(partitions=2)
    stage.switch("slow", "2")
    stage.send(*(message(n, f"k{n}") for n in range(4)))
    short = {"client": {"session.timeout.ms": 8000, "heartbeat.interval.ms": 500}}
    first = stage.spawn(until_end=True, kafka=short)
    stage.wait(lambda: stage.lines("calls"))
    first.send_signal(signal.SIGSTOP)
    other = stage.spawn(kafka=short)
    stage.wait(lambda: "assigned" in stage.log(1))
    other.kill()
    # Until the group misses the other one, this one has nothing.
    first.send_signal(signal.SIGCONT)
    code, _ = stage.ended(first)
    assert "lost" in stage.log(0)
    assert (code, numbers(stage)) == (0, list(range(4)))
