"""Records that wait for something: parking, systems that are down."""

import json
import signal

import pytest

from icat_stream.records import OutcomeKind
from icat_stream.stream import waiting_room

pytestmark = pytest.mark.kafka


def table(stage):
    """Return what is parked: the last row of each key."""
    rows = {m.key(): m.value() for m in stage.read(f"{stage.group}.parked")}
    return [json.loads(value)["id"] for value in rows.values() if value is not None]


def message(name, key="k", *steps):
    return {"id": str(name), "key": key, "do": list(steps) or ["ok"]}


def test_a_parked_record_goes_in_when_what_it_misses_is_there(stage):
    stage.create(partitions=1)
    stage.send(message(1, "k", "need:inv"), message(2, "k"))
    hours = {"delays": ["1h"]}
    loop = stage.start(retries=hours)
    stage.wait(lambda: stage.events() == ["2"])
    [parked] = stage.read(f"{stage.group}.parked")
    assert parked.key().startswith(f"{stage.source}[0]@0@".encode())
    headers = dict(parked.headers())
    assert headers["icat-stream.key"] == b"k"
    assert headers["icat-stream.error-class"] == b"dependency"
    assert json.loads(headers["icat-stream.missing"]) == ["inv"]
    stage.switch("have-inv")
    stage.wait(lambda: stage.events() == ["2", "1"])
    result = stage.stop(loop)
    assert result.counts[OutcomeKind.INGESTED] == 2
    assert result.counts[OutcomeKind.DEFERRED] == 0
    assert stage.dead_letters() == []


def test_what_waits_holds_up_nobody_and_is_written_once(stage):
    stage.create(partitions=1)
    hours = {"delays": ["1h"]}
    stage.send(
        message("a1", "a", "need:never"),
        message("b1", "b", "need:inv"),
        message("a2", "a", "need:never"),
        message("c1", "c", "need:never"),
    )
    loop = stage.start(retries=hours)
    stage.wait(lambda: len(table(stage)) == 4)
    stage.switch("have-inv")
    stage.wait(lambda: stage.events() == ["b1"])
    stage.send(*(message(n, f"k{n}") for n in range(50)))
    stage.wait(lambda: len(stage.events()) == 51)
    stage.stop(loop)
    # One row each, and one that says that b1 was let go.
    rows = stage.read(f"{stage.group}.parked")
    assert (len(rows), [m.value() for m in rows].count(None)) == (5, 1)
    assert sorted(table(stage)) == ["a1", "a2", "c1"]
    assert stage.committed()[0] == 54
    # Nothing is lost: another run finds those that wait.
    assert stage.run(retries=hours).counts[OutcomeKind.DEFERRED] == 3
    assert len(stage.read(f"{stage.group}.parked")) == 5


def test_a_slow_record_holds_up_no_events_and_no_offsets_beyond(stage):
    stage.create(partitions=1)
    stage.send(message("slow", "s", "settle:600"))
    stage.send(*(message(n, f"k{n}") for n in range(100)))
    process = stage.spawn()
    stage.wait(lambda: len(stage.events()) == 100)
    assert stage.committed()[0] == 0
    process.kill()
    stage.ended(process)
    (stage.folder / "calls").unlink()
    # Whoever comes next handles nothing of it again, and has it in its place.
    second = stage.spawn()
    stage.wait(lambda: stage.lines("calls"))
    stage.send(message("last", "l"))
    stage.wait(lambda: "last" in stage.events())
    second.send_signal(signal.SIGTERM)
    assert stage.ended(second)[0] == 0
    assert set(stage.lines("calls")) == {"s slow", "l last"}
    assert len(stage.events()) == 101
    rows = stage.rows()
    assert {row["offset"] for row in rows} == set(range(1, 102))
    assert {row["state"] for row in rows} == {"committed"}


def test_what_is_parked_is_let_go_once_by_whoever_has_it_then(stage):
    stage.create(partitions=2)
    hours = {"retries": {"delays": ["1h"]}}
    stage.send(*(message(n, f"k{n % 9}", f"need:i{n % 3}") for n in range(60)))
    first = stage.spawn(**hours)
    stage.wait(lambda: len(table(stage)) == 60)
    stage.switch("have-i0")
    stage.wait(lambda: len(stage.events()) == 20)
    first.kill()
    stage.ended(first)
    stage.switch("have-i1")
    second = stage.spawn(**hours)
    stage.wait(lambda: len(stage.events()) == 40)
    third = stage.spawn(**hours)
    stage.wait(lambda: stage.is_assigned(2))
    stage.switch("have-i2")
    stage.wait(lambda: len(stage.events()) == 60)
    for process in (second, third):
        process.send_signal(signal.SIGTERM)
        assert stage.ended(process)[0] == 0
    assert sorted(map(int, stage.events())) == list(range(60))
    assert table(stage) == []
    assert {row["state"] for row in stage.rows()} == {"committed"}


def test_a_payload_that_is_not_kept_is_read_again(stage, monkeypatch):
    monkeypatch.setattr(waiting_room, "PARKED_BYTES", 1000)
    stage.create(partitions=1)
    pads = [{**message(n, "k", "need:inv"), "pad": "x" * 500} for n in range(9)]
    stage.send(*pads)
    loop = stage.start(retries={"delays": ["1h"]})
    stage.wait(lambda: len(table(stage)) == 9)
    stage.switch("have-inv")
    stage.wait(lambda: len(stage.events()) == 9)
    stage.stop(loop)
    assert stage.events() == [str(n) for n in range(9)]


def test_what_was_released_keeps_the_order_of_its_key(stage):
    stage.create(partitions=1)
    stage.send(*(message(n, f"k{n % 3}", f"need:i{n % 3}") for n in range(60)))
    loop = stage.start(retries={"delays": ["1h"]})
    stage.wait(lambda: len(stage.outcomes) == 60)
    for n in range(3):
        stage.switch(f"have-i{n}")
    stage.wait(lambda: len(stage.events()) == 60)
    stage.stop(loop)
    for k in range(3):
        names = [x.split()[1] for x in stage.lines("done") if x.startswith(f"k{k} ")]
        assert names == [str(n) for n in range(60) if n % 3 == k]


def test_waiting_ends_with_a_dead_letter_that_says_what_was_missing(stage):
    stage.create(partitions=1)
    stage.send(message(1, "k", "need:inv"))
    loop = stage.start(retries={"delays": ["1h"], "park_for": "500ms"})
    stage.wait(stage.dead_letters)
    stage.stop(loop)
    [letter] = stage.dead_letters()
    text = dict(letter.headers())["icat-stream.error-message"].decode()
    assert "inv" in text
    assert "waited" in text


def test_a_run_until_the_end_asks_for_what_is_missing_before_it_ends(stage):
    stage.create(partitions=1)
    stage.send(message(1, "k", "need:inv"))
    hours = {"delays": ["1h"]}
    assert stage.run(retries=hours).counts[OutcomeKind.DEFERRED] == 1
    stage.switch("have-inv")
    assert stage.run(retries=hours).counts[OutcomeKind.INGESTED] == 1
    assert stage.events() == ["1"]


def test_a_system_that_is_down_costs_no_attempts_and_the_loop_goes_on_by_itself(stage):
    stage.create()
    stage.switch("down")
    stage.send(*(message(n, f"k{n}") for n in range(20)))
    loop = stage.start()
    stage.wait(lambda: stage.lines("calls"))
    stage.switch("down", on=False)
    stage.wait(lambda: len(stage.events()) == 20)
    result = stage.stop(loop)
    assert (result.exit_code, result.announced) == (0, 20)
    assert {row["attempts"] for row in stage.rows()} == {1}
    # Once down, no lane tries the next record on it: each of four at most once.
    assert len(stage.lines("calls")) <= 20 + 4
    assert stage.read(f"{stage.group}.retry.0") == []


def test_one_request_that_a_gateway_does_not_let_through_stops_no_others(stage):
    stage.create(partitions=1)
    stage.send(message("poison", "p", "gateway"), *(message(n, n) for n in range(13)))
    result = stage.run(retries={"delays": [0.1]})
    assert result.exit_code == 0
    assert result.counts[OutcomeKind.INGESTED] == 13
    assert result.counts[OutcomeKind.DEFERRED] == 1, "it waits in a retry topic"
    stage.wait(
        lambda: stage.run(retries={"delays": [0.1]}).counts[OutcomeKind.REJECTED]
    )
    [letter] = stage.dead_letters()
    assert "HTTP 504" in dict(letter.headers())["icat-stream.error-message"].decode()


def test_what_no_probe_tells_burns_no_attempts(stage):
    stage.create(partitions=1)
    stage.send(message("upload", "k", "full", "full", "full", "full", "ok"))
    result = stage.run(retries={"delays": [0.1]})
    assert result.counts[OutcomeKind.INGESTED] == 1
    assert {row["attempts"] for row in stage.rows()} == {1}


def test_waits_for_files_of_one_key_do_not_add_up(stage):
    stage.create(partitions=1)
    stage.send(*(message(n, "k", "settle:2") for n in range(5)))
    result = stage.run(retries={"delays": ["1h"]})
    assert result.counts[OutcomeKind.DEFERRED] == 5
    # While the first one was waited for, the time of the others ran, too.
    calls = stage.lines("calls")
    assert [calls.count(f"k {n}") for n in range(1, 5)] == [1, 1, 1, 1]


def test_a_run_until_the_end_asks_for_all_that_is_missing(stage):
    stage.create()
    count = 1_100
    stage.send(*(message(n, f"k{n}", f"need:x{n}") for n in range(count)))
    settings = {"retries": {"delays": ["1h"]}}
    assert stage.run(**settings).counts[OutcomeKind.DEFERRED] == count
    for n in range(count):
        stage.switch(f"have-x{n}")
    result = stage.run(**settings)
    assert result.counts[OutcomeKind.INGESTED] == count


def test_what_waits_for_a_delay_that_is_configured_no_more_is_handled(stage, caplog):
    caplog.set_level("INFO")
    stage.create(partitions=2)
    dropped = f"{stage.group}.retry.2"
    stage.create_topic(dropped, 2)
    headers = {
        "icat-stream.topic": stage.source,
        "icat-stream.partition": "0",
        "icat-stream.offset": "7",
        "icat-stream.timestamp": "1700000000000",
        "icat-stream.group": stage.group,
        "icat-stream.not-before": "32503680000000",
    }
    for partition in range(2):
        stage.send(
            message(partition), topic=dropped, headers=headers, partition=partition
        )
    loop = stage.start(retries={"delays": ["100ms"]})
    stage.wait(lambda: sorted(stage.events()) == ["0", "1"])
    assert stage.stop(loop).exit_code == 0
    assert stage.committed(dropped) == {0: 1, 1: 1}
    assert f"{dropped}: of delays that retries.delays does not have" in caplog.text
