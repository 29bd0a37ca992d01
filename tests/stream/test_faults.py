"""A broker that goes away, an instance that was frozen."""

import signal

import pytest

pytestmark = pytest.mark.kafka

SHORT = {"client": {"session.timeout.ms": 2000, "heartbeat.interval.ms": 500}}


def message(name, key="k", *steps):
    return {"id": str(name), "key": key, "do": list(steps) or ["ok"]}


def numbers(stage):
    return sorted(map(int, stage.events()))


def test_a_broker_that_is_killed_and_comes_back_costs_nothing(lone_stage):
    stage, broker = lone_stage, lone_stage.broker
    stage.create(partitions=2)
    stage.switch("slow", "0.01")
    stage.send(*(message(n, f"k{n}") for n in range(150)))
    loop = stage.start()
    stage.wait(lambda: len(stage.outcomes) > 20)
    broker.kill()
    broker.start()
    stage.send(*(message(n, f"k{n}") for n in range(150, 300)))
    # Not by the outcomes told: a commit that went through while the partitions were
    # lost is told by nobody.
    stage.wait(lambda: sum(stage.committed().values()) == 300)
    assert stage.stop(loop).exit_code == 0
    assert numbers(stage) == list(range(300))
    assert {row["state"] for row in stage.rows()} == {"committed"}


def test_what_is_parked_is_let_go_once_though_the_broker_dies_meanwhile(lone_stage):
    stage, broker = lone_stage, lone_stage.broker
    stage.create(partitions=2)
    stage.switch("slow", "0.01")
    stage.send(*(message(n, f"k{n}", "need:inv") for n in range(200)))
    loop = stage.start(retries={"delays": ["1h"]})
    stage.wait(lambda: loop.status().parked == 200)
    stage.switch("have-inv")
    stage.wait(lambda: len(stage.events()) > 20)
    broker.kill()
    broker.start()
    stage.wait(lambda: len(stage.events()) >= 200)
    stage.wait(lambda: loop.status().parked == loop.status().in_flight == 0)
    assert stage.stop(loop).exit_code == 0
    assert numbers(stage) == list(range(200))
    assert {row["state"] for row in stage.rows()} == {"committed"}


def test_a_stop_is_bounded_while_the_broker_does_not_answer(lone_stage):
    stage, broker = lone_stage, lone_stage.broker
    stage.create(partitions=1)
    stage.send(message(1))
    process = stage.spawn(limits={"stop": "1s"})
    stage.wait(lambda: stage.events() == ["1"])
    stage.send(message(2))
    broker.freeze()
    try:
        process.send_signal(signal.SIGTERM)
        code, _ = stage.ended(process)
    finally:
        broker.thaw()
    assert code == 0
    # What was not committed comes again.
    assert stage.run().exit_code == 0
    assert sorted(stage.events()) == ["1", "2"]


def test_an_instance_that_was_frozen_does_no_harm_when_it_wakes_up(stage):
    stage.create(partitions=4)
    stage.switch("slow", "0.005")
    stage.send(*(message(n, f"k{n}") for n in range(400)))
    # A frozen process may hold SQLite's lock: that is another matter.
    zombie = stage.spawn(
        kafka=SHORT, journal={"url": f"sqlite:///{stage.folder}/zombie.db"}
    )
    stage.wait(lambda: len(stage.lines("done")) > 30)
    zombie.send_signal(signal.SIGSTOP)
    other = stage.spawn(kafka=SHORT)
    stage.wait(lambda: sum(stage.committed().values()) == 400)
    zombie.send_signal(signal.SIGCONT)
    stage.send(*(message(n, f"k{n}") for n in range(400, 600)))
    stage.wait(lambda: sum(stage.committed().values()) == 600)
    for process in (zombie, other):
        process.send_signal(signal.SIGTERM)
        assert stage.ended(process)[0] == 0
    assert numbers(stage) == list(range(600))
