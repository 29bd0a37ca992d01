"""The ledger of records in work and waiting: each is released once, room comes back."""

import pytest

from icat_stream.records import Coordinates, Outcome, OutcomeKind, Record
from icat_stream.stream.headers import Delay
from icat_stream.stream.in_flight import Destination, Finished, Partition, Slot
from icat_stream.stream.ledger import Ledger

FINISHED = Finished(outcome=Outcome(kind=OutcomeKind.INGESTED))
FAR = 10**15


@pytest.fixture
def partition():
    return Partition(topic="retry", number=0, retry=True, position=0)


@pytest.fixture
def ledger(partition):
    ledger = Ledger(100, 1)
    ledger.open([partition])
    ledger.set_metadata(object())
    return ledger


def slot(partition, offset, wait=None, size=1, key=None, origin=None):
    at = Coordinates(partition.topic, partition.number, offset)
    record = Record(
        at=at,
        timestamp=0,
        key=None,
        value=b"x" * size,
        origin=at if origin is None else Coordinates("source", 0, origin),
        origin_timestamp=0,
    )
    return Slot(record, key or f"k{offset}", partition, wait or Delay())


def commit_all(ledger):
    moved = 0
    while batch := ledger.collect(0):
        moved += len(batch.slots)
        ledger.committed(batch.slots)
    return moved


def test_what_moved_to_the_tail_does_not_rise_again(ledger, partition):
    waiting = slot(partition, 0, Delay(not_before=1000))
    (ready,) = ledger.accept([waiting, slot(partition, 1)], now=0)
    ledger.start(ready)
    ledger.finish(ready, FINISHED)
    assert commit_all(ledger) == 2
    assert ledger.due(2000) == []
    assert (ledger.space(), partition.waiting) == (100, 0)
    assert ledger.is_idle()


def test_what_is_buried_on_its_way_to_the_tail_frees_no_room(ledger, partition):
    waiting = slot(partition, 0, Delay(not_before=1000))
    (ready,) = ledger.accept([waiting, slot(partition, 1)], now=0)
    ledger.start(ready)
    ledger.finish(ready, FINISHED)
    batch = ledger.collect(0)
    # The broker refused it for its size.
    batch.slots[0].finished = FINISHED._replace(destination=Destination.DEAD_LETTER)
    ledger.committed(batch.slots)
    assert ledger.space() == 100


def test_found_and_due_at_once_is_released_once(ledger, partition):
    ledger.accept([slot(partition, 0, Delay(not_before=1000, missing=("X",)))], 0)
    ledger.found(["X"])
    (released,) = ledger.due(2000)
    ledger.start(released)
    ledger.finish(released, FINISHED)
    assert commit_all(ledger) == 1
    assert ledger.is_idle()


@pytest.mark.parametrize(("count", "size"), [(5999, 1), (65, 2**20)])
def test_a_full_index_turns_over_until_there_is_room(ledger, partition, count, size):
    wait = Delay(not_before=FAR)
    ledger.accept([slot(partition, n, wait, size) for n in range(count)], 0)
    for turn in range(10):
        ledger.congested(100.0 * turn, hurry=True)
        commit_all(ledger)
        if not ledger.is_congested(partition):
            break
    assert not ledger.is_congested(partition)


def test_what_is_found_waits_for_those_of_its_key_that_move(ledger, partition):
    x, y = (Delay(not_before=FAR, missing=(name,)) for name in "XY")
    first, other, last = (
        slot(partition, 0, x, key="x", origin=1),
        slot(partition, 1, y, key="y", origin=2),
        slot(partition, 2, x, key="x", origin=3),
    )
    ledger.accept([first, other, last], 0)
    ledger.found(["Y"])
    (released,) = ledger.due(0)
    ledger.start(released)
    ledger.finish(released, FINISHED)
    # The first moves behind the last: until both are read again, neither goes.
    commit_all(ledger)
    ledger.found(["X"])
    assert ledger.due(0) == []
    again = [
        slot(partition, 4, x, key="x", origin=3),
        slot(partition, 5, x, key="x", origin=1),
    ]
    ledger.accept(again[:1], 0)
    ledger.found(["X"])
    assert ledger.due(0) == []
    ledger.accept(again[1:], 0)
    ledger.found(["X"])
    assert [s.record.origin.offset for s in ledger.due(0)] == [1, 3]
