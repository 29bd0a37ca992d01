"""Users and investigations, brought to their newest snapshot."""

from dataclasses import replace
from datetime import UTC, timedelta
from itertools import count

import pytest

from icat_stream.records import (
    DependencyMissing,
    Investigation,
    InvestigationKey,
    Member,
    OutcomeKind,
    Parameter,
    Plan,
    Rejection,
    Sample,
    Shift,
    User,
)

from .plans import FACILITY, START

_NUMBERS = count(1)
DAY = timedelta(days=1)


@pytest.fixture(scope="session")
def reference_data(client):
    """What investigations refer to, beyond what datasets do."""
    facility = client.assertedSearch("SELECT f FROM Facility f")[0]
    client.new("FacilityCycle", name="2024-1", facility=facility).create()
    client.new(
        "ParameterType",
        name="proposal_code",
        units="",
        valueType="STRING",
        facility=facility,
        applicableToInvestigation=True,
        applicableToSample=True,
    ).create()
    for name in ("ahau", "jbotu", "nbour"):
        client.new("User", name=name).create()
    return facility


@pytest.fixture
def planned(reference_data):
    return Investigation(
        investigation=InvestigationKey(name=f"24{next(_NUMBERS):04}", visit_id="1"),
        title="Salt & <water>",
        type="experiment",
        summary="it's about 'salt'",
        start=START,
        end=START + 2 * DAY,
        release=START + 1000 * DAY,
        instruments=("DREHM",),
        members=(
            Member(user="ahau", role="Principal investigator"),
            Member(user="jbotu", role="Participant"),
        ),
        samples=(
            Sample(
                name="S1",
                type="powder",
                parameters=(Parameter(name="proposal_code", units="", value="x"),),
            ),
            Sample(name="S2"),
        ),
        keywords=("salt", "water"),
        parameters=(Parameter(name="proposal_code", units="", value="24-1"),),
        shifts=(Shift(start=START, end=START + DAY, instrument="DREHM"),),
        cycles=("2024-1",),
    )


def plan(*things):
    return Plan(
        facility=FACILITY,
        users=tuple(t for t in things if isinstance(t, User)),
        investigations=tuple(t for t in things if isinstance(t, Investigation)),
    )


def held(client, planned):
    (found,) = client.search(
        "SELECT i FROM Investigation i WHERE i.name ="
        f" '{planned.investigation.name}' INCLUDE i.type, i.samples.type,"
        " i.samples.parameters.type, i.keywords, i.shifts.instrument,"
        " i.parameters.type, i.investigationUsers.user,"
        " i.investigationInstruments.instrument,"
        " i.investigationFacilityCycles.facilityCycle"
    )
    return found


def members(found):
    return {(m.user.name, m.role) for m in found.investigationUsers}


def test_a_new_investigation_is_there_with_all_that_is_planned(lane, client, planned):
    applied = lane.apply(plan(planned))
    assert applied.kind is OutcomeKind.INGESTED
    found = held(client, planned)
    assert [found.id] == [s.id for s in applied.snapshots]
    assert (found.title, found.summary) == (planned.title, planned.summary)
    assert found.type.name == "experiment"
    assert found.releaseDate.astimezone(UTC) == planned.release.replace(microsecond=0)
    assert members(found) == {
        ("ahau", "Principal investigator"),
        ("jbotu", "Participant"),
    }
    assert [i.instrument.name for i in found.investigationInstruments] == ["DREHM"]
    assert {k.name for k in found.keywords} == {"salt", "water"}
    assert found.parameters[0].stringValue == "24-1"
    samples = {s.name: s for s in found.samples}
    assert samples["S1"].type.name == "powder"
    assert samples["S1"].parameters[0].stringValue == "x"
    assert samples["S2"].type is None
    assert found.shifts[0].instrument.name == "DREHM"
    assert found.investigationFacilityCycles[0].facilityCycle.name == "2024-1"


def test_a_second_time_changes_nothing(lane, client, planned):
    lane.apply(plan(planned))
    before = held(client, planned)
    again = lane.apply(plan(planned))
    assert again.kind is OutcomeKind.UNCHANGED
    assert again.written == ()
    assert held(client, planned).modTime == before.modTime
    assert lane.diff(plan(planned)).is_empty


def test_what_changed_is_written_and_what_is_not_stated_stays(lane, client, planned):
    lane.apply(plan(planned))
    changed = Investigation(
        investigation=planned.investigation,
        title="New",
        members=(Member(user="nbour", role="Participant"),),
        samples=(Sample(name="S2", type="powder"),),
        cleared=("release",),
    )
    diff = {(c.what, c.kind) for c in lane.diff(plan(changed)).changes}
    assert ("InvestigationUser nbour (Participant)", "new") in diff
    assert ("InvestigationUser ahau (Principal investigator)", "extra") in diff
    applied = lane.apply(plan(changed))
    assert applied.kind is OutcomeKind.INGESTED
    found = held(client, planned)
    assert (found.title, found.summary) == ("New", planned.summary)
    assert found.releaseDate is None
    assert found.startDate.astimezone(UTC) == planned.start.replace(microsecond=0)
    assert len(members(found)) == 3
    assert {s.name: s.type.name for s in found.samples} == {
        "S1": "powder",
        "S2": "powder",
    }
    assert len(found.keywords) == 2


def test_who_is_no_longer_listed_goes_by_policy_only(lane_with, client, planned):
    lane = lane_with(removed_members="delete")
    scientist = Member(user="nbour", role="Scientist by hand")
    lane.apply(plan(replace(planned, members=(*planned.members, scientist))))
    fewer = replace(
        planned,
        members=(Member(user="jbotu", role="Principal investigator"),),
        roles=("Principal investigator", "Participant"),
        keywords=(),
        shifts=(),
        samples=(),
        instruments=None,
    )
    lane.apply(plan(fewer))
    found = held(client, planned)
    assert members(found) == {
        ("jbotu", "Principal investigator"),
        ("nbour", "Scientist by hand"),
    }
    assert found.keywords == found.shifts == []
    assert len(found.investigationInstruments) == 1
    assert len(found.samples) == 2, "a sample would take its datasets with it"


def test_unknown_members_park_and_the_rest_is_there(lane, client, planned):
    stranger = f"stranger{next(_NUMBERS)}"
    with_one = replace(
        planned, members=(*planned.members, Member(user=stranger, role="Participant"))
    )
    with pytest.raises(DependencyMissing) as caught:
        lane.apply(plan(with_one))
    assert caught.value.missing == (f"user:{stranger}",)
    assert stranger in caught.value.reason
    found = held(client, planned)
    assert len(members(found)) == 2
    assert len(found.samples) == 2
    assert not lane.present([f"user:{stranger}"])
    lane.apply(plan(User(name=stranger)))
    assert lane.present([f"user:{stranger}"])
    applied = lane.apply(plan(with_one))
    assert applied.written == (f"InvestigationUser {stranger} (Participant) created",)
    assert len(members(held(client, planned))) == 3


def user_of(client, name):
    found = client.search(
        f"SELECT u FROM User u WHERE u.name = '{name}' INCLUDE u.userGroups.grouping"
    )
    return found[0] if found else None


def test_a_user_is_created_changed_renamed_and_grouped(lane, client):
    name = f"jdoe{next(_NUMBERS)}"
    user = User(
        name=name,
        full_name="Doelittle, Jasper",
        given_name="Jasper",
        family_name="Doelittle",
        email="j@example.org",
        orcid_id="0000-0002-1825-0097",
        affiliation="Institute of Amber",
        groups=("staff",),
    )
    assert lane.apply(plan(user)).kind is OutcomeKind.INGESTED
    assert lane.apply(plan(user)).kind is OutcomeKind.UNCHANGED
    found = user_of(client, name)
    assert (found.fullName, found.orcidId) == (user.full_name, user.orcid_id)
    assert [g.grouping.name for g in found.userGroups] == ["staff"]
    gone = User(
        name=f"{name}__user_disabled",
        formerly=(name,),
        email=None,
        cleared=("email",),
        left_groups=("staff",),
    )
    applied = lane.apply(plan(gone))
    assert applied.snapshots[0].user == gone.name
    assert user_of(client, name) is None
    renamed = user_of(client, gone.name)
    assert (renamed.id, renamed.email, renamed.userGroups) == (found.id, None, [])
    assert renamed.familyName == "Doelittle"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"title": "x" * 256}, "title: 256 characters"),
        ({"end": START - DAY}, "endDate"),
        ({"type": "no such"}, "type: 'no such'"),
        ({"instruments": ("NONE",)}, "instrument 'NONE'"),
        ({"cycles": ("1066-1",)}, "facility cycle: '1066-1'"),
        ({"members": (Member(user="ahau", role=""),)}, "role"),
        ({"samples": (Sample(name="a"), Sample(name="A"))}, "samples: 2 of one name"),
        ({"keywords": ("",)}, "name: empty"),
        ({"shifts": (Shift(start=START, end=START - DAY),)}, "shift 0"),
        (
            {"parameters": (Parameter(name="wavelength", units="angstrom", value=1),)},
            "not applicable to a Investigation",
        ),
    ],
)
def test_what_is_wrong_is_rejected_by_its_name(lane, client, planned, change, words):
    with pytest.raises(Rejection, match=words):
        lane.apply(plan(replace(planned, **change)))
    name = planned.investigation.name
    assert not client.search(f"SELECT i FROM Investigation i WHERE i.name = '{name}'")


def test_a_stub_without_title_is_not_created(lane, planned):
    with pytest.raises(Rejection, match="title"):
        lane.apply(plan(replace(planned, title=None)))


@pytest.fixture
def faulty(server):
    yield server
    server.mend()


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_lost_answer_makes_nothing_twice(lane_with, client, faulty, planned, kind):
    lane = lane_with(removed_members="delete")
    faulty.fault(kind, match="create")
    assert lane.apply(plan(planned)).kind is OutcomeKind.INGESTED
    changed = replace(
        planned,
        title="New",
        members=(Member(user="nbour", role="Participant"),),
        keywords=("fire", "salt"),
    )
    for call in ("deleteMany", "update", "createMany"):
        faulty.fault(kind, match=call)
    assert lane.apply(plan(changed)).kind is OutcomeKind.INGESTED
    found = held(client, planned)
    assert found.title == "New"
    assert members(found) == {("nbour", "Participant")}
    assert {k.name for k in found.keywords} == {"fire", "salt"}
    assert lane.apply(plan(changed)).kind is OutcomeKind.UNCHANGED
