"""Lanes that bring snapshots of one user at the same time, and crash on the way."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from icat_stream.config import JournalSettings
from icat_stream.ingest.newest_wins import NewestWins
from icat_stream.journal import Journal
from icat_stream.records import (
    Coordinates,
    DependencyMissing,
    Investigation,
    InvestigationKey,
    Member,
    OutcomeKind,
    Plan,
    Record,
    User,
)

from .plans import FACILITY

_NUMBERS = count(1)


@pytest.fixture
def guard(tmp_path):
    journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db"))
    journal.create()
    yield NewestWins(journal.newest, FACILITY)
    journal.close()


class RecreatedTopic:
    """A topic that was deleted and made anew since it was asked about."""

    def __init__(self):
        self.id = "old"

    def __call__(self, topic, *, renewed=False):
        self.id = "new" if renewed else self.id
        return self.id


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


FIRST = datetime(2026, 3, 1, 8, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def bring(guard, lane):
    """Bring a statement about one investigation that was made at an age."""
    key = InvestigationKey(name=f"moved{next(_NUMBERS)}", visit_id="1")

    def bring(age, topic="investigations", apply=lane.apply, **said):
        at = Coordinates(topic, age, 0)
        record = Record(
            at=at,
            timestamp=1000 + age,
            key=None,
            value=b"",
            origin=at,
            origin_timestamp=1000 + age,
        )
        planned = Investigation(investigation=key, **said)
        plan = Plan(facility=FACILITY, investigations=(planned,))
        return guard.bring(plan, record, apply)

    bring.name = key.name
    return bring


@pytest.fixture
def snapshot_of(bring):
    def snapshot_of(age, title="Old", start=FIRST, **changes):
        said = {"title": title, "type": "experiment", "start": start}
        return bring(age, **(said | {"end": FIRST + 2 * DAY} | changes))

    return snapshot_of


@pytest.fixture
def held(client, bring):
    def held():
        query = f"SELECT i FROM Investigation i WHERE i.name = '{bring.name}'"
        (found,) = client.search(query)
        return found.title, found.startDate, found.endDate

    return held


def test_new_dates_change_nothing_else(bring, snapshot_of, held):
    snapshot_of(1)
    moved = bring(2, topic="datasets", start=FIRST + DAY)
    assert moved.applied.kind is OutcomeKind.INGESTED
    assert held() == ("Old", FIRST + DAY, FIRST + 2 * DAY)
    again = bring(3, topic="datasets", start=FIRST + DAY)
    assert again.applied.kind is OutcomeKind.UNCHANGED


def test_a_late_snapshot_counts_but_for_the_dates_that_are_newer(
    bring, snapshot_of, held
):
    snapshot_of(1)
    bring(5, topic="datasets", start=FIRST + DAY)
    late = snapshot_of(3, title="New", end=FIRST + 4 * DAY)
    assert held() == ("New", FIRST + DAY, FIRST + 4 * DAY)
    assert late.applied.kind is OutcomeKind.INGESTED
    assert late.superseded == {
        f"start of investigation {bring.name}/1": "datasets[5]@0"
    }


def test_late_dates_do_not_win_over_a_snapshot(bring, snapshot_of, held):
    snapshot_of(5)
    late = bring(3, topic="datasets", start=FIRST + DAY)
    assert late.applied.snapshots == ()
    assert held() == ("Old", FIRST, FIRST + 2 * DAY)


def test_the_same_snapshot_again_brings_its_dates_back(bring, snapshot_of, held):
    snapshot_of(1)
    bring(2, topic="datasets", start=FIRST + DAY)
    assert snapshot_of(3).applied.kind is OutcomeKind.INGESTED
    assert held() == ("Old", FIRST, FIRST + 2 * DAY)


def test_an_investigation_that_was_removed_comes_back_with_its_newest_dates(
    client, bring, snapshot_of, held
):
    snapshot_of(1)
    bring(2, topic="datasets", start=FIRST + DAY)
    query = f"SELECT i FROM Investigation i WHERE i.name = '{bring.name}'"
    client.deleteMany(client.search(query))
    snapshot_of(1, title="New")
    assert held() == ("New", FIRST + DAY, FIRST + 2 * DAY)


def test_new_dates_that_come_while_a_snapshot_is_written(
    lane, lane_with, bring, snapshot_of, held
):
    quick = lane_with()

    def apply(plan):
        if plan.investigations[0].title == "New":
            bring(5, topic="datasets", apply=quick.apply, start=FIRST + DAY)
        return lane.apply(plan)

    snapshot_of(1)
    written = snapshot_of(3, title="New", end=FIRST + 4 * DAY, apply=apply)
    assert held() == ("New", FIRST + DAY, FIRST + 4 * DAY)
    assert list(written.superseded.values()) == ["datasets[5]@0"]


def test_a_snapshot_that_was_killed_leaves_newer_dates_when_it_comes_back(
    lane, lane_with, bring, snapshot_of, held
):
    quick = lane_with()

    def apply(plan):
        bring(5, topic="datasets", apply=quick.apply, start=FIRST + DAY)
        lane.apply(plan)
        raise Killed

    snapshot_of(1)
    with pytest.raises(Killed):
        snapshot_of(3, title="New", start=FIRST - DAY, apply=apply)
    assert held()[1] == FIRST - DAY, "the newer one was written over"
    snapshot_of(3, title="New", start=FIRST - DAY)
    assert held() == ("New", FIRST + DAY, FIRST + 2 * DAY)


def test_who_is_overtaken_and_has_to_wait_leaves_the_newer_one(
    lane, lane_with, bring, snapshot_of, held
):
    quick = lane_with()

    def apply(plan):
        if plan.investigations[0].title == "Late":
            snapshot_of(5, title="New", apply=quick.apply)
        return lane.apply(plan)

    snapshot_of(1)
    nobody = (Member(user="nobody yet", role="Participant"),)
    passed = snapshot_of(3, title="Late", members=nobody, apply=apply)
    assert passed.applied.snapshots == ()
    assert held() == ("New", FIRST, FIRST + 2 * DAY)


def test_who_is_overtaken_in_its_dates_alone_still_waits(
    lane, lane_with, bring, snapshot_of, held
):
    quick = lane_with()

    def apply(plan):
        if plan.investigations[0].title == "New":
            bring(5, topic="datasets", apply=quick.apply, start=FIRST + DAY)
        return lane.apply(plan)

    snapshot_of(1)
    nobody = (Member(user="nobody yet", role="Participant"),)
    with pytest.raises(DependencyMissing, match="nobody yet"):
        snapshot_of(3, title="New", members=nobody, apply=apply)
    assert held() == ("New", FIRST + DAY, FIRST + 2 * DAY)


def test_slashes_in_names_make_no_two_investigations_one(guard, lane):
    number = next(_NUMBERS)
    for age, key in enumerate([(f"s{number}/a", "b"), (f"s{number}", "a/b")]):
        at = Coordinates("investigations", 0, 9 - age)
        record = Record(
            at=at,
            timestamp=1000,
            key=None,
            value=b"",
            origin=at,
            origin_timestamp=1000,
        )
        name, visit_id = key
        planned = Investigation(
            investigation=InvestigationKey(name=name, visit_id=visit_id),
            title="Any",
            type="experiment",
        )
        plan = Plan(facility=FACILITY, investigations=(planned,))
        assert not guard.bring(plan, record, lane.apply).superseded


def test_a_topic_made_anew_while_the_daemon_runs(lane, tmp_path):
    journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db"))
    journal.create()
    guard = NewestWins(journal.newest, FACILITY, RecreatedTopic())

    def bring(offset, time):
        at = Coordinates("users", 0, offset)
        record = Record(
            at=at,
            timestamp=time,
            key=None,
            value=b"",
            origin=at,
            origin_timestamp=time,
        )
        user = User(name="recreated", full_name=f"At {time}")
        return guard.bring(
            Plan(facility=FACILITY, users=(user,)), record, lane.apply
        ).applied.snapshots

    assert bring(100_000, 1000)
    assert bring(5, 2000)
    assert not bring(4, 3000)
    journal.close()
