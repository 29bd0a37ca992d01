"""What is finished is committed wherever it stands, and nothing else is."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.stream.offset_metadata import SPAN
from icat_stream.stream.offsets import OffsetTracker, ParkedRows, Place, SlotState


@dataclass(eq=False)
class Slot:
    offset: int
    state: SlotState = SlotState.READY
    row: bytes = b""
    output_size: int = 1


def tracker_of(*offsets, place=None):
    tracker = OffsetTracker(place or Place(offsets[0]))
    slots = {offset: Slot(offset) for offset in offsets}
    for slot in slots.values():
        tracker.add(slot)
    return tracker, slots


def bits(*offsets):
    return sum(1 << offset for offset in offsets)


def test_the_oldest_unfinished_is_where_the_next_one_begins():
    tracker, slots = tracker_of(3, 4, 5, 6)
    tracker.finish(slots[4])
    tracker.finish(slots[6])
    assert tracker.take(10)[0] == [slots[4], slots[6]]
    assert tracker.place() == Place(3, bits(1, 3))
    tracker.finish(slots[3])
    assert tracker.take(10)[0] == [slots[3]]
    assert tracker.place() == Place(5, bits(1))
    tracker.finish(slots[5])
    tracker.take(10)
    assert tracker.place() == Place(7)


def test_what_finishes_later_goes_into_the_next_map():
    tracker, slots = tracker_of(0, 1, 2)
    tracker.finish(slots[1])
    tracker.take(10)
    place = tracker.place()
    tracker.finish(slots[2])
    assert place == tracker.place() == Place(0, bits(1))


def test_what_was_finished_before_is_no_news_below_and_beyond_the_offset():
    tracker = OffsetTracker(Place(5, bits(2, 3)))
    assert [n for n in range(12) if tracker.is_news(n)] == [5, 6, 9, 10, 11]


def test_the_offset_may_pass_the_position():
    tracker, slots = tracker_of(5, place=Place(5, bits(1, 2, 3)))
    tracker.finish(slots[5])
    tracker.take(1)
    # 6 to 8 will still be delivered.
    assert tracker.place() == Place(9)
    assert [n for n in range(5, 11) if tracker.is_news(n)] == [9, 10]


def test_what_was_loaded_beyond_the_position_is_carried_on():
    tracker, slots = tracker_of(5, 6, place=Place(5, bits(4, 5, 9)))
    tracker.finish(slots[6])
    tracker.take(1)
    assert tracker.place() == Place(5, bits(1, 4, 5, 9))


def test_what_is_never_delivered_is_finished():
    tracker, slots = tracker_of(5, 6, 9)
    tracker.finish(slots[9])
    tracker.take(1)
    assert tracker.place() == Place(5, bits(2, 3, 4))
    for n in (5, 6):
        tracker.finish(slots[n])
    tracker.take(2)
    assert tracker.place() == Place(10)


def test_a_gap_of_any_size_takes_no_memory():
    tracker, slots = tracker_of(1, 10**12)
    tracker.finish(slots[10**12])
    assert tracker.take(1)[0] == []
    assert tracker.place().finished < 1 << 20_000
    tracker.finish(slots[1])
    assert tracker.take(9)[0] == [slots[1]]
    assert tracker.take(9)[0] == [slots[10**12]]
    assert tracker.place() == Place(10**12 + 1)


def test_beyond_the_span_nothing_is_taken_until_the_oldest_is_finished():
    tracker, slots = tracker_of(*range(30))
    for n in range(1, 30):
        tracker.finish(slots[n])
    assert len(tracker.take(100, span=10)[0]) == 9
    assert not tracker.is_takeable(10)
    assert tracker.width == 30
    tracker.finish(slots[0])
    left = []
    while taken := tracker.take(100, span=10)[0]:
        left += taken
    assert len(left) == 21
    assert tracker.place() == Place(30)


def test_a_whole_span_is_one_number_whatever_the_order():
    """A set of so many offsets would take milliseconds for every transaction."""
    tracker, slots = tracker_of(*range(SPAN))
    order = list(range(1, SPAN))
    random.Random(1).shuffle(order)
    for begin in range(0, len(order), 997):
        for n in order[begin : begin + 997]:
            tracker.finish(slots[n])
        while tracker.take(256)[0]:
            pass
        done = bits(*order[: begin + 997])
        assert tracker.place() == Place(0, done)
    assert tracker.place().finished == (1 << SPAN) - 2


def test_a_record_read_twice_is_refused():
    tracker, _ = tracker_of(5)
    with pytest.raises(ValueError, match="offset 5 was read after 5"):
        tracker.add(Slot(5))


@pytest.mark.parametrize(
    ("place", "low", "lost"),
    [
        (Place(5), 5, 0),
        (Place(5), 9, 4),
        (Place(5, bits(1, 2, 9)), 9, 2),
        (Place(5, bits(1)), 10**15, 10**15 - 6),
    ],
)
def test_what_retention_took_is_counted(place, low, lost):
    tracker = OffsetTracker(place)
    assert tracker.jump(low) == lost
    assert tracker.position == low
    assert tracker.place().offset == low


def test_where_much_ahead_is_finished_the_next_news_is_told():
    tracker, _ = tracker_of(5, place=Place(5, bits(*range(1, 2000))))
    assert tracker.next_news() == 2005
    tracker.jump(2005)
    tracker.add(Slot(2005))
    assert tracker.place() == Place(5, bits(*range(1, 2000)))


@given(
    place=st.builds(
        Place, st.integers(0, 50), st.integers(0, 2**30).map(lambda n: n & ~1)
    ),
    missing=st.sets(st.integers(0, 80)),
    seed=st.integers(0, 2**32),
)
def test_whatever_happens_each_is_taken_once_and_the_map_says_so(place, missing, seed):
    chance = random.Random(seed)
    end = place.offset + 40
    there = [n for n in range(place.offset, end) if n not in missing]
    tracker, finished, slots = OffsetTracker(place), set(), {}
    finished.update(n for n in there if place.has(n))
    unread = list(there)
    taken = []
    while unread or slots or taken:
        step = chance.choice(["read", "finish", "take", "undo", "commit"])
        if step == "read" and unread:
            offset = unread.pop(0)
            assert tracker.is_news(offset) == (offset not in finished)
            if offset not in finished:
                slots[offset] = Slot(offset)
                tracker.add(slots[offset])
        elif step == "finish":
            open_ = [s for s in slots.values() if s.state is not SlotState.DONE]
            if open_:
                tracker.finish(chance.choice(open_))
        elif step == "take" and not taken:
            could = tracker.is_takeable(25)
            taken, _ = tracker.take(chance.randint(1, 5), 25)
            assert bool(taken) == could
        elif step == "undo" and taken:
            tracker.give_back(taken)
            taken = []
        elif step == "commit" and taken:
            finished.update(slot.offset for slot in taken)
            for slot in taken:
                assert slots.pop(slot.offset).state is SlotState.DONE
            taken = []
        under_way = finished | {slot.offset for slot in taken}
        now = tracker.place()
        # Nobody who takes over handles a finished one again, or leaves one out.
        assert [n for n in there if now.has(n)] == sorted(under_way)
        assert not now.finished & 1
    assert tracker.place().offset >= max(there, default=0)


def test_a_row_is_replaced_by_the_next_one_of_its_key():
    rows = ParkedRows()
    first, second, other = (
        Slot(0, row=b"a"),
        Slot(5, row=b"a"),
        Slot(6, row=b"b"),
    )
    assert rows.put(first) is None
    assert rows.put(other) is None
    assert rows.put(second) is first
    assert rows.rows() == [other, second]
    assert rows.remove(b"b") is other
    assert rows.remove(b"b") is None


def test_a_row_that_was_read_before_its_predecessor_was_committed_stays():
    rows = ParkedRows()
    first, second = Slot(0, row=b"a"), Slot(5, row=b"a")
    rows.put(first)
    rows.finish(first)
    rows.put(second)
    assert rows.take(9)[0] == [first]
    assert rows.rows() == [second]


def test_no_more_is_taken_than_fits_into_a_transaction_and_one_always():
    tracker, slots = tracker_of(0, 1, 2, 3)
    for offset, size in enumerate((40, 50, 30, 500)):
        slots[offset].output_size = size
        tracker.finish(slots[offset])
    assert tracker.take(9, size=100) == ([slots[0], slots[1], slots[2]], 120)
    assert tracker.take(9, size=100) == ([slots[3]], 500)
    assert tracker.take(9, size=0) == ([], 0)
