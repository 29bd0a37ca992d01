"""Newer wins: who may write a snapshot, and who has to write a newer one again."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import update

from icat_stream.journal import Claim, Entity, Repeat, Standing, tables
from icat_stream.records import Coordinates


@pytest.fixture
def newest(journal):
    return journal.newest


def claim(offset, time, *, partition=0, plan=None, name="jdoe", topic_id=""):
    plan = json.dumps({"name": plan or f"plan {partition}/{offset}"})
    return Claim(
        entity=Entity(facility="F", kind="user", name=name),
        at=Coordinates("users", partition, offset),
        time=time,
        plan=plan,
        sha256=plan,
        topic_id=topic_id,
    )


def standing(newest, one):
    (decision,) = newest.claim([one])
    return decision.standing


def write(newest, one):
    assert standing(newest, one) is Standing.WRITE
    assert newest.finish(one, one, 7) is None


def test_older_by_offset_within_a_partition_by_time_across(newest):
    write(newest, claim(5, 1000))
    assert standing(newest, claim(4, 2000)) is Standing.SUPERSEDED
    assert standing(newest, claim(9, 999, partition=1)) is Standing.SUPERSEDED
    write(newest, claim(6, 900))
    write(newest, claim(1, 900, partition=1))
    assert standing(newest, claim(1, 1, name="other")) is Standing.WRITE


def test_what_is_applied_already_is_not_written_again(newest):
    write(newest, claim(1, 1000, plan="same"))
    (decision,) = newest.claim([claim(2, 2000, plan="same")])
    assert (decision.standing, decision.object_id) == (Standing.UNCHANGED, 7)
    # It is the newest all the same.
    late = claim(1, 1500, partition=1)
    assert standing(newest, late) is Standing.SUPERSEDED
    assert standing(newest, claim(3, 3000)) is Standing.WRITE


def test_a_topic_made_anew_begins_at_offset_0(newest):
    write(newest, claim(100_000, 1000, topic_id="old"))
    write(newest, claim(5, 2000, topic_id="new"))
    assert standing(newest, claim(4, 3000, topic_id="new")) is Standing.SUPERSEDED
    # What was left of the old one is older by its time.
    assert standing(newest, claim(100_001, 1500, topic_id="old")) is Standing.SUPERSEDED
    assert standing(newest, claim(100_002, 1600)) is Standing.SUPERSEDED
    write(newest, claim(6, 1900, topic_id="new"))


@pytest.mark.parametrize("applied", [False, True])
def test_what_comes_by_a_retry_topic_is_of_the_topic_it_was_read_from(newest, applied):
    one = claim(10, 1000, topic_id="its")
    assert standing(newest, one) is Standing.WRITE
    if applied:
        assert newest.finish(one, one, 7) is None
    again = claim(10, 1000)
    expected = Standing.UNCHANGED if applied else Standing.WRITE
    assert standing(newest, again) is expected
    # By offset, whatever the clock of who sent it said.
    assert standing(newest, claim(9, 5000, topic_id="its")) is Standing.SUPERSEDED
    assert standing(newest, claim(11, 500, topic_id="its")) is Standing.WRITE


def test_what_is_applied_is_listed_page_by_page(newest):
    names = [f"user {number}" for number in range(5)]
    for number, name in enumerate(names):
        one = claim(number, 1000, name=name)
        assert standing(newest, one) is Standing.WRITE
        if number:
            assert newest.finish(one, one, number) is None
    found, after = [], ""
    while some := newest.applied("F", after, 3):
        found += some
        after = some[-1][0].digest
    assert sorted((one.name, number) for one, number in found) == [
        (name, number) for number, name in enumerate(names) if number
    ]
    assert newest.applied("another facility") == []


def test_a_redelivered_record_goes_on_where_it_was(newest):
    one = claim(1, 1000)
    assert standing(newest, one) is Standing.WRITE
    assert standing(newest, one) is Standing.WRITE
    assert newest.finish(one, one, 7) is None
    assert standing(newest, one) is Standing.UNCHANGED


def test_who_is_overtaken_writes_the_newer_one_again(newest):
    old, new, newer = claim(1, 1000), claim(2, 2000), claim(3, 3000)
    assert standing(newest, old) is Standing.WRITE
    write(newest, new)
    found = newest.finish(old, old, 7)
    assert found == new
    write(newest, newer)
    assert newest.finish(old, found, 7) == newer
    assert newest.finish(old, newer, 7) is None
    assert standing(newest, old) is Standing.SUPERSEDED
    assert standing(newest, claim(4, 4000, plan="plan 0/3")) is Standing.UNCHANGED


def test_who_crashed_after_writing_repairs(newest):
    old, new = claim(1, 1000), claim(2, 2000)
    assert standing(newest, old) is Standing.WRITE
    write(newest, new)
    # The process of the old one is killed here, perhaps after its last call.
    (decision,) = newest.claim([old])
    assert (decision.standing, decision.newest) == (Standing.REPAIR, new)
    assert newest.finish(old, new, 7) is None
    assert standing(newest, old) is Standing.SUPERSEDED


def test_several_at_once_keep_their_order(newest):
    write(newest, claim(5, 1000, name="b"))
    names = ["c", "b", "a"]
    found = newest.claim([claim(4, 900, name=name) for name in names])
    assert [each.standing for each in found] == [
        Standing.WRITE,
        Standing.SUPERSEDED,
        Standing.WRITE,
    ]
    assert [each.newest.entity.name for each in found] == names


def test_names_of_any_length_and_kind(newest):
    for name in ("x" * 5000, "a\0b", "\ud800", "ä/'\""):
        write(newest, claim(1, 1, name=name))


def whole(offset, time, fingerprint, *parts, partition=0):
    """Return the claims of a record with several parts."""
    return [
        replace(
            claim(offset, time, partition=partition, plan=plan, name=name),
            fingerprint=fingerprint,
            parts=len(parts),
            told="told" if index == 0 else None,
        )
        for index, (name, plan) in enumerate(parts)
    ]


def bring(newest, claims):
    for one, decision in zip(claims, newest.claim(claims), strict=True):
        if decision.standing is Standing.WRITE:
            assert newest.finish(one, one, 7) is None


def recalled(newest, offset, time, fingerprint, partition=0):
    at = Coordinates("users", partition, offset)
    (found,) = newest.recall(
        [Repeat(at=at, time=time, topic_id="", fingerprint=fingerprint)]
    )
    return found and found.told


PARTS = (("jdoe", "a"), ("nbour", "b"))


def test_a_record_that_is_applied_is_recalled_and_is_the_newest_then(newest):
    claims = whole(1, 1000, "h", *PARTS)
    decisions = newest.claim(claims)
    assert recalled(newest, 2, 2000, "h") is None
    for one, decision in zip(claims, decisions, strict=True):
        assert decision.standing is Standing.WRITE
        newest.finish(one, one, 7)
    at = Coordinates("users", 0, 2)
    one, other = newest.recall(
        [
            Repeat(at=at, time=2000, topic_id="", fingerprint="h"),
            Repeat(at=at, time=2000, topic_id="", fingerprint="other"),
        ]
    )
    assert other is None
    assert one.told == "told"
    assert one.ids == {each.entity.digest: 7 for each in claims}
    assert standing(newest, claim(9, 1500, partition=1)) is Standing.SUPERSEDED


def test_an_older_record_is_not_recalled(newest):
    bring(newest, whole(5, 1000, "h", *PARTS))
    assert recalled(newest, 4, 2000, "h") is None
    assert recalled(newest, 0, 999, "h", partition=1) is None
    assert recalled(newest, 5, 1000, "h") == "told"


@pytest.mark.parametrize(
    "change",
    [
        lambda newest: write(newest, claim(2, 1500)),
        lambda newest: newest.claim([claim(2, 1500)]),
        lambda newest: newest.missing([claim(1, 1).entity]),
        lambda newest: bring(newest, whole(2, 1500, "new", ("nbour", "c"))),
    ],
    ids=["written", "claimed", "deleted", "a part"],
)
def test_what_changed_since_is_not_recalled(newest, change):
    bring(newest, whole(1, 1000, "h", *PARTS))
    change(newest)
    assert recalled(newest, 3, 3000, "h") is None
    bring(newest, whole(4, 4000, "h", *PARTS))
    assert recalled(newest, 5, 5000, "h") == "told"


def test_what_an_older_version_has_written_since_is_not_recalled(newest, journal):
    bring(newest, whole(1, 1000, "h", *PARTS))
    # It knows nothing of fingerprints, and leaves them.
    with journal._engine.begin() as connection:
        connection.execute(
            update(tables.newest)
            .where(tables.newest.c.entity == claim(1, 1).entity.digest)
            .values(sha256="other", plan="other", offset=2, time=2000)
        )
    assert recalled(newest, 3, 3000, "h") is None


def test_of_many_repeats_each_is_told(newest):
    for number in range(3):
        bring(newest, whole(number, 1000, f"h{number}", (f"user {number}", "a")))
    repeats = [
        Repeat(
            at=Coordinates("users", 0, 10 + n),
            time=2000,
            topic_id="",
            fingerprint=f"h{n % 4}",
        )
        for n in range(2_500)
    ]
    found = newest.recall(repeats)
    assert [each is None for each in found] == [n % 4 == 3 for n in range(2_500)]
