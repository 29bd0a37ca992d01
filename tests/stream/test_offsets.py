"""The contiguous prefix, whatever the order in which records finish."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.stream.offsets import OffsetTracker, SlotState


@dataclass(eq=False)
class Slot:
    offset: int
    key: str
    state: SlotState = SlotState.READY
    must_move: bool = False


def test_nothing_beyond_a_gap_is_taken():
    tracker = OffsetTracker()
    slots = [Slot(offset, "k") for offset in (3, 4, 7, 9)]
    for slot in slots:
        tracker.add(slot)
    tracker.finish(slots[1])
    tracker.finish(slots[3])
    assert tracker.take(10) == []
    tracker.finish(slots[0])
    assert tracker.take(10) == slots[:2]
    tracker.finish(slots[2])
    assert tracker.take(1) == [slots[2]]
    assert tracker.take(1) == [slots[3]]
    assert len(tracker) == 0


def test_offsets_that_do_not_rise_are_refused():
    tracker = OffsetTracker()
    tracker.add(Slot(5, "k"))
    with pytest.raises(ValueError, match="offset 5 was read after 5"):
        tracker.add(Slot(5, "k"))


def test_a_waiting_record_moves_only_for_a_finished_one_behind_it():
    tracker = OffsetTracker()
    slots = [Slot(n, key) for n, key in enumerate("abacb")]
    for slot in slots:
        slot.state = SlotState.WAITING
        tracker.add(slot)
    assert tracker.take(10) == []
    assert not tracker.is_takeable()
    tracker.finish(slots[1])
    assert tracker.is_takeable()
    # The first a moves, so the second one has to as well, and is next.
    assert tracker.take(10) == slots[:2]
    assert slots[2].must_move
    assert tracker.take(10) == [slots[2]]
    assert tracker.take(10) == []
    assert tracker.waiting() == slots[3:]


@st.composite
def histories(draw):
    """Keys of records, which of them wait, and the order of what happens."""
    size = draw(st.integers(1, 25))
    keys = draw(st.lists(st.sampled_from("abc"), min_size=size, max_size=size))
    waits = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    order = draw(st.permutations(range(size)))
    takes = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    return keys, waits, order, takes


@given(histories())
def test_whatever_happens_each_is_taken_once_and_in_order(history):
    keys, waits, order, takes = history
    tracker = OffsetTracker()
    slots = [Slot(2 * n, key) for n, key in enumerate(keys)]
    for slot, waiting in zip(slots, waits, strict=True):
        slot.state = SlotState.WAITING if waiting else SlotState.WORKING
        tracker.add(slot)
    taken = []

    def take(limit):
        could = tracker.is_takeable()
        some = tracker.take(limit)
        assert bool(some) == could
        left = [slot for slot in slots if slot not in taken]
        # A prefix of what was left, and in it nothing that is still in work.
        assert some == left[: len(some)]
        assert all(s.state in (SlotState.DONE, SlotState.WAITING) for s in some)
        # What waits is moved only if something finished needs it, or its key does.
        assert not some or some[-1].state is SlotState.DONE or some[-1].must_move
        taken.extend(some)

    for index, count in zip(order, takes, strict=True):
        slot = slots[index]
        if slot in taken or slot.must_move:
            continue
        tracker.finish(slot)
        for _ in range(count):
            take(3)
    for _ in slots:
        take(100)
    assert tracker.take(100) == []
    # All that was not moved has been finished: nothing is left behind.
    assert all(
        slot.state is SlotState.DONE or slot.must_move or slot in taken
        for slot in slots
    )
    moved = [slot for slot in taken if slot.state is SlotState.WAITING]
    for slot in slots:
        if slot not in taken:
            # It must not be overtaken by one of its key that was sent to the tail.
            assert not any(m.key == slot.key and m.offset < slot.offset for m in moved)
