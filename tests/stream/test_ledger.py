"""The ledger of records in work and waiting: each is released once, room comes back."""

import time

import pytest

from icat_stream.records import Coordinates, Outcome, OutcomeKind, Record
from icat_stream.stream import ledger as ledger_module
from icat_stream.stream import waiting_room
from icat_stream.stream.headers import Delay
from icat_stream.stream.in_flight import Finished, Partition, PartitionKind, Slot
from icat_stream.stream.ledger import Ledger
from icat_stream.stream.offsets import Place

FINISHED = Finished(outcome=Outcome(kind=OutcomeKind.INGESTED))
FAR = 10**15


@pytest.fixture
def partition():
    return Partition("retry", 0, PartitionKind.RETRY, Place(0))


@pytest.fixture
def table():
    return Partition("parked", 0, PartitionKind.PARKED, Place(0), end=10)


@pytest.fixture
def ledger(partition, table):
    ledger = Ledger(100, 1, 10_000)
    ledger.open([partition, table])
    ledger.set_metadata(object())
    return ledger


def slot(partition, offset, wait=None, size=1, row=b"", origin=None):
    at = Coordinates(partition.topic, partition.number, offset)
    record = Record(
        at=at,
        timestamp=0,
        key=None,
        value=b"x" * size,
        origin=at if origin is None else Coordinates("source", 0, origin),
        origin_timestamp=0,
    )
    return Slot(record, f"k{offset}", partition, wait or Delay(), row)


def handle(ledger, slots):
    for each in slots:
        assert ledger.start(each)
        ledger.finish(each, FINISHED)


def commit_all(ledger):
    committed = []
    while (batch := ledger.collect(0)) and batch.slots:
        committed += batch.slots
        ledger.committed(batch.slots, batch.places)
    return committed


def missing(*names):
    return Delay(not_before=FAR, missing=names)


def test_what_waits_holds_up_nobody(ledger, partition):
    waiting = slot(partition, 0, Delay(not_before=1000))
    ready = ledger.accept([waiting, slot(partition, 1)], now=0)
    handle(ledger, ready)
    batch = ledger.collect(0)
    assert batch.slots == ready
    assert batch.places[partition] == Place(0, 0b10)
    ledger.committed(batch.slots, batch.places)
    assert ledger.space() == 100
    assert ledger.due(2000) == [waiting]
    handle(ledger, [waiting])
    assert commit_all(ledger) == [waiting]
    assert ledger.is_idle()


def test_what_was_parked_in_a_retry_topic_is_looked_at_at_once(ledger, partition):
    old = slot(partition, 0, missing("x"))
    assert ledger.accept([old], now=0) == [old]


def test_parked_records_are_let_go_only_when_all_rows_are_read(ledger, table):
    first = slot(table, 0, missing("x"), row=b"a")
    ledger.park(first)
    ledger.found(["x"])
    assert (ledger.missing(9), ledger.due(2 * FAR)) == ([], [])
    ledger.park(slot(table, 1, missing("y"), row=b"b"))
    # What is behind it says that it was let go.
    ledger.unpark(table, b"a")
    ledger.let_go(table)
    assert ledger.missing(9) == ["y"]
    ledger.found(["y"])
    assert [each.row for each in ledger.due(0)] == [b"b"]


def test_a_row_that_is_read_later_replaces_the_one_before(ledger, table):
    ledger.let_go(table)
    ledger.park(slot(table, 11, missing("x"), row=b"a"))
    ledger.park(slot(table, 12, missing("y"), row=b"a"))
    assert (ledger.missing(9), ledger.sizes().waiting) == (["y"], 1)
    ledger.unpark(table, b"a")
    assert (ledger.missing(9), ledger.sizes().waiting) == ([], 0)


def test_found_and_due_at_once_is_released_once(ledger, table):
    ledger.let_go(table)
    ledger.park(slot(table, 0, Delay(not_before=1000, missing=("x",)), row=b"a"))
    ledger.found(["x"])
    released = ledger.due(2000)
    handle(ledger, released)
    assert commit_all(ledger) == released
    assert ledger.is_idle()


def test_what_misses_several_waits_for_all_of_them(ledger, table):
    ledger.let_go(table)
    ledger.park(slot(table, 0, missing("x", "y"), row=b"a"))
    ledger.found(["x"])
    assert ledger.due(0) == []
    ledger.found(["y"])
    assert len(ledger.due(0)) == 1


def test_what_is_found_goes_in_the_order_of_its_origins(ledger, table):
    ledger.let_go(table)
    for offset, origin in enumerate((7, 3, 5)):
        ledger.park(
            slot(table, offset, missing("x"), row=b"%d" % offset, origin=origin)
        )
    ledger.found(["x"])
    assert [s.record.origin.offset for s in ledger.due(0)] == [3, 5, 7]


def test_payloads_beyond_the_bound_stay_in_kafka(ledger, table, monkeypatch):
    monkeypatch.setattr(waiting_room, "PARKED_BYTES", 250)
    rows = [slot(table, n, missing("x"), 100, row=b"%d" % n) for n in range(5)]
    for row in rows[:3]:
        ledger.park(row)
    ledger.let_go(table)
    for row in rows[3:]:
        ledger.park(row)
    assert [row.is_elsewhere for row in rows] == [False, False, True, True, True]
    assert rows[4].record.value is None
    ledger.unpark(table, b"0")
    ledger.park(last := slot(table, 9, missing("x"), 100, row=b"9"))
    assert not last.is_elsewhere


@pytest.mark.parametrize(("count", "size"), [(5000, 1), (64, 2**20)])
def test_a_retry_partition_is_read_no_further_than_there_is_room(
    ledger, partition, table, count, size
):
    waits = [Delay(not_before=n + 1) for n in range(count)]
    ledger.accept([slot(partition, n, w, size) for n, w in enumerate(waits)], 0)
    assert ledger.congested(0) == {partition}
    now = count
    while ledger.is_congested(partition):
        due = ledger.due(now)
        assert due
        handle(ledger, due)
        commit_all(ledger)
    assert ledger.congested(0) == set()


def test_one_who_holds_up_too_much_gives_way(ledger, partition):
    source = Partition("source", 0, PartitionKind.SOURCE, Place(0))
    ledger.open([source])
    slow, *others = ledger.accept([slot(source, n) for n in range(60)], 0)
    assert ledger.start(slow)
    handle(ledger, others)
    commit_all(ledger)
    assert not ledger.holds_up(slow)
    ledger.accept([slot(source, 10_001)], 0)
    assert ledger.holds_up(slow)
    assert ledger.congested(0) == set()
    ledger.accept([slot(source, 20_000)], 0)
    assert ledger.congested(0) == {source}
    ledger.finish(slow, FINISHED)
    commit_all(ledger)
    assert not ledger.is_congested(source)


def test_what_a_broker_keeps_no_room_for_is_committed_later(ledger, partition):
    slots = ledger.accept([slot(partition, n) for n in range(12_000)], 0)
    assert ledger.start(slots[0])
    handle(ledger, slots[1:])
    batches = []
    while (batch := ledger.collect(0)) and batch.slots:
        if max(place.finished.bit_length() for place in batch.places.values()) > 6000:
            assert ledger.shrink(batch)
        else:
            batches.append(batch)
            ledger.committed(batch.slots, batch.places)
    assert sum(len(batch.slots) for batch in batches) < 6000
    ledger.finish(slots[0], FINISHED)
    assert len(commit_all(ledger)) > 6000
    assert ledger.is_idle()
    assert partition.tracker.place() == Place(12_000)


def test_what_is_given_up_is_not_started(ledger, table):
    ledger.let_go(table)
    ledger.park(slot(table, 0, missing("x"), row=b"a"))
    ledger.found(["x"])
    (released,) = ledger.due(0)
    ledger.reload([table])
    assert not ledger.start(released)
    assert ledger.wants_reload() == [table]
    assert ledger.space() == 100


def test_with_whatever_is_finished_its_partitions_offset_goes_out(ledger, partition):
    table = Partition("parked", 1, PartitionKind.PARKED, Place(0), end=0)
    source = Partition("source", 3, PartitionKind.SOURCE, Place(0))
    ledger.open([table, source])
    ledger.let_go(table)
    row = slot(table, 4, missing("a"), row=b"4", origin=4)
    ledger.park(row)
    ledger.found(["a"])
    handle(ledger, ledger.due(0))
    handle(ledger, ledger.accept([slot(source, 0), slot(partition, 0)], now=0))
    batch = ledger.collect(0)
    assert len(batch.slots) == 3
    assert {each.partition for each in batch.slots} <= batch.places.keys()


def test_what_was_given_up_since_is_dropped_from_what_is_under_way(ledger, partition):
    other = Partition("retry", 1, PartitionKind.RETRY, Place(0))
    ledger.open([other])
    handle(ledger, ledger.accept([slot(partition, 0), slot(other, 0)], now=0))
    batch = ledger.collect(0)
    ledger.close([other], now=True)
    left = ledger.ours(batch)
    assert [each.partition for each in left.slots] == [partition]
    assert other not in left.places


def test_a_few_large_records_take_as_much_room_as_many_small_ones(ledger, partition):
    large = ledger.accept([slot(partition, n, size=4_000) for n in range(3)], now=0)
    assert ledger.space() == 0
    assert (ledger.sizes().in_flight, ledger.sizes().in_flight_bytes) == (3, 12_000)
    handle(ledger, large[:1])
    ledger.committed(ledger.collect(0).slots)
    assert ledger.space() > 0
    assert not ledger.is_half_free()
    handle(ledger, large[1:])
    commit_all(ledger)
    assert (ledger.is_half_free(), ledger.sizes().in_flight_bytes) == (True, 0)


def test_large_records_that_are_due_come_back_by_and_by(ledger, partition):
    waiting = [slot(partition, n, Delay(not_before=1), size=6_000) for n in range(3)]
    ledger.accept(waiting, now=0)
    assert ledger.due(9) == waiting[:2]
    assert ledger.due(9) == []
    handle(ledger, waiting[:2])
    commit_all(ledger)
    assert ledger.due(9) == waiting[2:]


def test_large_records_of_one_partition_leave_room_for_others(ledger, partition):
    ledger.accept([slot(partition, 0, size=5_000)], now=0)
    assert ledger.congested(time.monotonic() + 60) == {partition}
    assert ledger.is_congested(partition)
    ledger.close([partition], now=True)
    assert ledger.space() == 100


def test_a_transaction_is_bounded_in_bytes(ledger, partition, monkeypatch):
    monkeypatch.setattr(ledger_module, "GROUP_BYTES", 2_500)
    records = [slot(partition, n, size=1_000) for n in range(4)]
    handle(ledger, ledger.accept(records, now=0))
    assert ledger.collect(0).slots == records[:3]
    assert ledger.collect(0).slots == records[3:]


def test_one_partition_does_not_keep_the_others_from_being_committed(
    ledger, partition, monkeypatch
):
    monkeypatch.setattr(ledger_module, "GROUP_BYTES", 2_000)
    other = Partition("source", 0, PartitionKind.SOURCE, Place(0))
    ledger.open([other])
    handle(ledger, ledger.accept([slot(other, 0)], now=0))
    for number in range(3):
        offsets = range(3 * number, 3 * number + 3)
        large = [slot(partition, n, size=1_000) for n in offsets]
        handle(ledger, ledger.accept(large, now=0))
        batch = ledger.collect(0)
        ledger.committed(batch.slots, batch.places)
    assert other.tracker.place() == Place(1)


def test_headers_take_room_too(ledger, partition):
    one = slot(partition, 0)
    headers = (("h", b"x" * 12_000), ("none", None))
    ledger.accept([Slot(one.record._replace(headers=headers), "k", partition)], now=0)
    assert ledger.space() == 0
