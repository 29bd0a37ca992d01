"""The ledger of records in work and waiting: each is released once, room comes back."""

import pytest

from icat_stream.records import Coordinates, Outcome, OutcomeKind, Record
from icat_stream.stream.headers import Delay
from icat_stream.stream.ledger import Ledger
from icat_stream.stream.slots import Finished, Partition, Slot

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


def slot(partition, offset, wait=None, size=1):
    at = Coordinates(partition.topic, partition.number, offset)
    record = Record(
        at=at,
        timestamp=0,
        key=None,
        value=b"x" * size,
        origin=at,
        origin_timestamp=0,
    )
    return Slot(record, f"k{offset}", partition, wait or Delay())


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
