"""The pool of lanes."""

import threading
import time

import pytest

from icat_stream.records import Coordinates, OutcomeKind, Record
from icat_stream.stream.in_flight import Partition, PartitionKind, Slot
from icat_stream.stream.lanes import Lanes
from icat_stream.stream.offsets import Place
from icat_stream.stream.outcome_counts import Counts

PARTITION = Partition("t", 0, PartitionKind.SOURCE, Place(0))


def slot(offset, key):
    at = Coordinates("t", 0, offset)
    record = Record(
        at=at, timestamp=0, key=None, value=None, origin=at, origin_timestamp=0
    )
    return Slot(record, key, PARTITION)


@pytest.fixture
def pool():
    made = []

    def make(size, work):
        troubles = []
        left = []
        lanes = Lanes(
            "test",
            size,
            work=work,
            leave=lambda: left.append(threading.current_thread().name),
            crashed=troubles.append,
        )
        lanes.start()
        made.append((lanes, troubles, left, size))
        return lanes

    yield make
    for lanes, troubles, left, size in made:
        lanes.unblock()
        lanes.close()
        assert lanes.join(time.monotonic() + 120) == []
        assert troubles == []
        assert len(left) == size, "each thread left its lane"


def until(condition, lanes=None):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        if lanes is not None:
            lanes.tick()
        time.sleep(0.005)


def test_keys_run_beside_each_other_and_records_of_one_in_turn(pool):
    done, running, together = [], set(), []
    lock = threading.Lock()

    def work(slot):
        with lock:
            assert slot.key not in running, "two of one key at a time"
            running.add(slot.key)
            together.append(len(running))
        time.sleep(0.001)
        with lock:
            running.discard(slot.key)
            done.append((slot.key, slot.offset))

    lanes = pool(4, work)
    lanes.submit(slot(n, f"k{n % 5}") for n in range(200))
    until(lambda: len(done) == 200)
    assert max(together) > 1
    for k in range(5):
        mine = [offset for key, offset in done if key == f"k{k}"]
        assert mine == [n for n in range(200) if n % 5 == k]


def test_a_key_on_a_timer_occupies_no_lane_and_loses_no_order(pool):
    done = []
    tried = []

    def work(slot):
        if slot.offset == 0 and len(tried) < 3:
            tried.append(slot.offset)
            return 0.02
        done.append(slot.offset)
        return None

    lanes = pool(1, work)
    lanes.submit([slot(0, "slow"), slot(1, "slow"), slot(2, "other")])
    until(lambda: len(done) == 3, lanes)
    assert done == [2, 0, 1]


def test_blocked_lanes_begin_nothing(pool):
    done = []
    lanes = pool(2, lambda slot: done.append(slot.offset))
    lanes.block()
    lanes.submit([slot(0, "a"), slot(1, "b")])
    lanes.tick()
    assert done == []
    lanes.unblock()
    until(lambda: len(done) == 2)


def test_an_exception_of_the_core_itself_is_told():
    troubles = []

    def work(slot):
        raise RuntimeError("broken")

    lanes = Lanes("test", 1, work=work, leave=lambda: None, crashed=troubles.append)
    lanes.start()
    lanes.submit([slot(0, "a")])
    until(lambda: troubles)
    lanes.close()
    assert lanes.join(time.monotonic() + 120) == []
    assert str(troubles[0]) == "broken"


def test_each_original_counts_once_by_its_last_outcome():
    counts = Counts()
    first, second = Coordinates("t", 0, 1), Coordinates("t", 0, 2)
    counts.add(first, OutcomeKind.DEFERRED)
    counts.add(first, OutcomeKind.DEFERRED)
    counts.add(second, OutcomeKind.DEFERRED)
    counts.add(first, OutcomeKind.INGESTED)
    assert not counts.left(second)
    result = counts.result()
    assert result[OutcomeKind.INGESTED] == 1
    assert result[OutcomeKind.DEFERRED] == 1
    assert sum(result.values()) == 2
    assert counts.left(Coordinates("t", 0, 3))
    assert counts.result()[OutcomeKind.DEFERRED] == 2
