"""What becomes of records: events, retries, dead letters, counts."""

import json
import re
import time
from collections import defaultdict
from pathlib import Path

import pytest

from icat_stream.records import OutcomeKind

pytestmark = pytest.mark.kafka


def message(name, key="k", *steps, **extra):
    return {"id": str(name), "key": key, "do": list(steps) or ["ok"], **extra}


def by_key(lines):
    found = defaultdict(list)
    for line in lines:
        key, name = line.split()
        found[key].append(name)
    return found


def test_each_record_becomes_one_event_in_the_order_of_its_key(stage):
    stage.create(partitions=3)
    sent = [message(n, f"k{n % 7}") for n in range(300)]
    stage.send(*sent)
    result = stage.run(
        consumers={"c": stage.settings()["consumers"]["c"] | {"lanes": 8}}
    )
    assert (result.exit_code, result.announced) == (0, 300)
    assert sorted(stage.events(), key=int) == [str(n) for n in range(300)]
    for key, names in by_key(stage.lines("done")).items():
        assert names == [str(n) for n in range(300) if f"k{n % 7}" == key]
    rows = stage.rows()
    assert len(rows) == 300
    assert {row["state"] for row in rows} == {"committed"}
    assert sum(stage.committed().values()) == 300
    assert len(stage.lines("left")) == 9, "eight lanes and the assistant left"
    assert len(stage.outcomes) == 300


def test_a_second_run_finds_nothing_to_do(stage):
    stage.create()
    stage.send(*(message(n) for n in range(10)))
    stage.run()
    assert stage.run().announced == 0
    assert len(stage.events()) == 10


def test_a_rejected_record_is_a_dead_letter_with_all_that_the_contract_says(stage):
    stage.create(partitions=1)
    stage.send(message(0), message(1, "the key", "reject"), headers=[("h", b"\xff")])
    stage.send(message(2))
    result = stage.run()
    assert result.counts[OutcomeKind.REJECTED] == 1
    assert result.counts[OutcomeKind.INGESTED] == 2
    [letter] = stage.dead_letters()
    assert letter.key() == b"the key"
    assert json.loads(letter.value())["id"] == "1"
    headers = dict(letter.headers())
    assert headers["h"] == b"\xff"
    assert headers["icat-stream.topic"] == stage.source.encode()
    assert headers["icat-stream.partition"] == b"0"
    assert headers["icat-stream.offset"] == b"1"
    assert int(headers["icat-stream.timestamp"]) > 1_600_000_000_000
    assert headers["icat-stream.group"] == stage.group.encode()
    assert headers["icat-stream.error-class"] == b"permanent"
    assert headers["icat-stream.error-message"] == b"1 is wrong"
    assert headers["icat-stream.attempts"] == b"1"
    assert headers["icat-stream.version"]


@pytest.mark.parametrize(
    "poison", [b"", b"\xff\xfe", b"[]", b"null", b"x" * 900_000], ids=len
)
def test_poison_never_blocks_its_partition(stage, poison):
    stage.create(partitions=1)
    stage.send(poison, message(1))
    result = stage.run()
    assert result.exit_code == 0
    assert stage.events() == ["1"]
    [letter] = stage.dead_letters()
    assert letter.value() == poison


def test_a_tombstone_is_told_from_an_empty_record(stage):
    stage.create(partitions=1)
    stage.send(b"")
    stage.run()
    [row] = stage.rows()
    assert row["size"] == 0


def test_a_bug_is_tried_three_times_and_then_a_dead_letter_of_its_own_class(stage):
    stage.create()
    stage.send(message(1, "k", "bug"))
    stage.run()
    assert len(stage.lines("calls")) == 3
    [letter] = stage.dead_letters()
    headers = dict(letter.headers())
    assert headers["icat-stream.error-class"] == b"bug"
    assert b"ZeroDivisionError" in headers["icat-stream.error-message"]
    assert headers["icat-stream.attempts"] == b"3"


def test_a_failure_that_passes_is_over_in_the_lane(stage):
    stage.create(partitions=1)
    stage.send(message(1, "k", "transient", "transient", "ok"), message(2))
    result = stage.run()
    assert result.counts[OutcomeKind.INGESTED] == 2
    assert [line.split()[1] for line in stage.lines("done")] == ["1", "2"]
    assert [row["attempts"] for row in stage.rows()] == [3, 1]


def test_what_goes_on_failing_passes_all_retry_topics_and_is_given_up(stage):
    stage.create(partitions=1)
    stage.send(message(1, "k", "transient"), message(2, "k"))
    first = stage.run()
    assert first.counts[OutcomeKind.DEFERRED] == 1
    assert stage.events() == ["2"], "the later one is not held back"
    [retry] = stage.read(f"{stage.group}.retry.0")
    headers = dict(retry.headers())
    assert headers["icat-stream.offset"] == b"0"
    assert headers["icat-stream.error-class"] == b"transient"
    assert json.loads(retry.value())["id"] == "1"
    loop = stage.start()
    stage.wait(stage.dead_letters)
    stage.stop(loop)
    [letter] = stage.dead_letters()
    headers = dict(letter.headers())
    assert headers["icat-stream.topic"] == stage.source.encode()
    assert headers["icat-stream.offset"] == b"0"
    assert headers["icat-stream.attempts"] == b"9"
    assert "icat-stream.not-before" not in headers
    assert len(stage.lines("calls")) == 10
    rows = stage.rows("origin_offset = 0")
    assert [row["outcome"] for row in rows] == ["deferred", "deferred", "rejected"] or {
        row["outcome"] for row in rows
    } == {"deferred", "rejected"}
    assert len(rows) == 3


def test_an_unsettled_file_waits_on_a_timer_and_is_put_off_in_the_end(stage):
    stage.create(partitions=1)
    stage.send(
        message(1, "a", "settle:30", "settle:30", "ok"),
        message(2, "b", "settle:0.2"),
        message(3, "b"),
    )
    one_lane = stage.settings()["consumers"]["c"] | {"lanes": 1}
    result = stage.run(consumers={"c": one_lane})
    assert result.counts[OutcomeKind.INGESTED] == 2
    assert result.counts[OutcomeKind.DEFERRED] == 1
    [retry] = stage.read(f"{stage.group}.retry.0")
    assert dict(retry.headers())["icat-stream.error-class"] == b"not-ready"


def test_each_original_record_counts_once_by_its_last_outcome(stage):
    stage.create(partitions=1)
    stage.send(
        message(1, "a", "transient", "transient", "transient", "ok"),
        message(2, "b", "reject"),
        message(3, "c", "ignore"),
        message(4, "d", "transient"),
    )
    assert {k.value: n for k, n in stage.run().counts.items()} == {
        "ingested": 0,
        "unchanged": 0,
        "ignored": 1,
        "deferred": 2,
        "rejected": 1,
    }
    retries = {"delays": ["1ms", "1h"]}
    # Both are due: one works now, the other waits for an hour from now on.
    stage.wait(lambda: len(stage.read(f"{stage.group}.retry.0")) == 2)
    again = stage.run(retries=retries)
    assert (again.counts[OutcomeKind.INGESTED], again.counts[OutcomeKind.DEFERRED]) in {
        (1, 1),
        (0, 2),
    }


def test_what_is_not_due_is_counted_deferred_and_left_where_it_is(stage):
    stage.create(partitions=1)
    stage.send(message(1, "k", "transient"))
    hours = {"delays": ["1h"]}
    stage.run(retries=hours)
    stage.outcomes.clear()
    result = stage.run(retries=hours)
    assert result.exit_code == 0
    assert (result.announced, result.counts[OutcomeKind.DEFERRED]) == (1, 1)
    assert len(stage.read(f"{stage.group}.retry.0")) == 1
    assert max(stage.committed(f"{stage.group}.retry.0").values()) <= 0
    [(record, outcome)] = stage.outcomes
    assert record.origin.topic == stage.source
    assert outcome.kind is OutcomeKind.DEFERRED


def test_an_output_too_large_for_the_broker_is_a_dead_letter_without_payload(stage):
    stage.create_topic(stage.events_topic, **{"max.message.bytes": "20000"})
    stage.create(partitions=1)
    stage.send(*(message(n, "k", "ok:10000") for n in range(5)))
    stage.send(message("big", "k", "ok:30000", note="n"))
    stage.send(*(message(n, "k") for n in range(5, 8)))
    result = stage.run()
    assert result.exit_code == 0
    assert sorted(stage.events()) == [str(n) for n in range(8)]
    [letter] = stage.dead_letters()
    headers = dict(letter.headers())
    assert letter.value() is None
    assert headers["icat-stream.payload"] == b"omitted"
    assert int(headers["icat-stream.size"]) > 0
    assert len(headers["icat-stream.sha256"]) == 64
    assert b"too large" in headers["icat-stream.error-message"]
    assert [row["outcome"] for row in stage.rows()].count("rejected") == 1


def test_secrets_leave_neither_in_retries_nor_in_dead_letters(stage):
    stage.create(partitions=1)
    stage.send(
        message(1, "a", "reject", token="s3cret"),
        message(2, "b", "transient", token="s3cret"),
        b"{ no JSON s3cret",
    )
    stage.run(secret=True)
    letters = stage.dead_letters()
    assert len(letters) == 2
    everything = [*letters, *stage.read(f"{stage.group}.retry.0")]
    assert len(everything) == 3
    assert not any(b"s3cret" in (each.value() or b"") for each in everything)
    [unreadable] = [each for each in letters if each.value() is None]
    assert dict(unreadable.headers())["icat-stream.size"] == b"16"


def test_large_records_fill_the_memory_no_further_than_their_bound(stage):
    stage.create(partitions=1)
    stage.send(*(message(n, "k", pad="x" * 900_000) for n in range(150)))
    (stage.folder / "slow").write_text("0.2")
    process = stage.spawn(until_end=True, limits={"in_flight_bytes": "8MiB"})
    done = stage.folder / "done"
    # By then it would have read all of them.
    stage.wait(lambda: done.exists() and len(done.read_text().splitlines()) > 12)
    (stage.folder / "slow").unlink()
    peaks = []
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peaks += [int(kib) for kib in re.findall(r"VmHWM:\s+(\d+)", status)]
        time.sleep(0.05)
    code, _ = stage.ended(process)
    assert (code, len(stage.events())) == (0, 150)
    assert max(peaks) < 180 * 1024
