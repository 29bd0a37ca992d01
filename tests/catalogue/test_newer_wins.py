"""Lanes that bring snapshots of one user at the same time, and crash on the way."""

from itertools import count

import pytest

from icat_stream.config import JournalSettings
from icat_stream.ingest.guard import Guard
from icat_stream.journal import Journal
from icat_stream.records import Coordinates, OutcomeKind, Plan, Record, User

from .plans import FACILITY

_NUMBERS = count(1)


@pytest.fixture
def guard(tmp_path):
    journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db"))
    journal.create()
    yield Guard(journal.newest, FACILITY)
    journal.close()


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def snapshot():
    name = f"contested{next(_NUMBERS)}"

    def make(age):
        at = Coordinates("users", age, 0)
        record = Record(
            at=at,
            timestamp=1000 + age,
            key=None,
            value=b"",
            origin=at,
            origin_timestamp=1000 + age,
        )
        user = User(name=name, full_name=f"Version {age}")
        return Plan(facility=FACILITY, users=(user,)), record

    make.name = name
    return make


@pytest.fixture
def full_name(client, snapshot):
    def look():
        query = f"SELECT u.fullName FROM User u WHERE u.name = '{snapshot.name}'"
        return client.search(query)

    return look


@pytest.fixture
def overtaken(lane_with, guard, snapshot):
    """Let an older snapshot be written after newer ones were."""

    def do(*newer, killed=False):
        slow, quick = lane_with(), lane_with()
        left = list(newer)

        def apply(plan):
            # Between the claim and the write.
            if left:
                guard.bring(*snapshot(left.pop(0)), quick.apply)
            applied = slow.apply(plan)
            if killed:
                raise Killed
            return applied

        return guard.bring(*snapshot(1), apply)

    return do


def test_who_is_overtaken_writes_the_newer_one_again(overtaken, full_name):
    guarded = overtaken(2)
    assert full_name() == ["Version 2"]
    assert guarded.applied.snapshots == ()
    assert list(guarded.superseded.values()) == ["users[2]@0"]


def test_as_often_as_it_takes(overtaken, full_name):
    overtaken(2, 3, 4)
    assert full_name() == ["Version 4"]


def test_who_was_killed_writes_the_newer_one_again_when_it_comes_back(
    lane, guard, snapshot, overtaken, full_name
):
    with pytest.raises(Killed):
        overtaken(2, killed=True)
    assert full_name() == ["Version 1"], "the newer one was written over"
    guarded = guard.bring(*snapshot(1), lane.apply)
    assert guarded.superseded
    assert full_name() == ["Version 2"]


def test_unchanged_is_said_without_a_call(lane, guard, snapshot, full_name):
    first = guard.bring(*snapshot(5), lane.apply).applied
    plan, _ = snapshot(5)
    _, later = snapshot(7)

    def no_call(plan):
        raise AssertionError("an unchanged snapshot costs no call")

    again = guard.bring(plan, later, no_call).applied
    assert again.kind is OutcomeKind.UNCHANGED
    assert [s.id for s in again.snapshots] == [s.id for s in first.snapshots]
    assert guard.bring(*snapshot(6), no_call).superseded
    assert full_name() == ["Version 5"]
