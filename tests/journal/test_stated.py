"""What user offices state is there for those who follow, as it was applied."""

import pytest

from icat_stream.journal import Claim, Entity, StatedSnapshots
from icat_stream.records import (
    Coordinates,
    Investigation,
    InvestigationKey,
    Member,
    StatedPerson,
    User,
    as_text,
)

ADA = User(
    name="db/ada",
    full_name="Ada O'Neill",
    stated=StatedPerson(id="17", staff=True, employer="Example Lab", town="Geneva"),
)
KEY = InvestigationKey(name="P/1", visit_id="1")
TEAM = (Member(user="db/ada", role="Participant"),)


@pytest.fixture
def stated(journal):
    return journal.stated("F")


@pytest.fixture
def claim(journal):
    def claim(offset, planned):
        kind = "user" if isinstance(planned, User) else "investigation"
        name = planned.name if kind == "user" else Entity.name_of(planned.investigation)
        text = as_text(planned)
        made = Claim(
            entity=Entity(facility="F", kind=kind, name=name),
            at=Coordinates("t", 0, offset),
            time=offset,
            plan=text,
            sha256=text[-64:],
        )
        journal.newest.claim([made])
        return made

    return claim


@pytest.fixture
def apply(journal, claim):
    def apply(offset, planned):
        made = claim(offset, planned)
        journal.newest.finish(made, made, 7)

    return apply


def test_what_was_applied_is_stated(stated, apply, claim, journal):
    apply(1, ADA)
    apply(2, Investigation(investigation=KEY, members=TEAM, proposal_id="42"))
    claim(3, User(name="db/bob"))
    found = stated.users(["db/ada", "db/bob", "db/nobody"])
    assert found == {"db/ada": ADA}
    assert stated.users(["db/ada__user_disabled"])["db/ada__user_disabled"] == ADA
    other = InvestigationKey(name="P", visit_id="1/1")
    found = stated.investigations([KEY, other])
    assert list(found) == [KEY]
    assert (found[KEY].members, found[KEY].proposal_id) == (TEAM, "42")
    assert journal.stated("G").users(["db/ada"]) == {}
    assert StatedSnapshots(None, "F").users(["db/ada"]) == {}


def test_what_waits_is_not_stated_yet(stated, apply, claim):
    apply(1, Investigation(investigation=KEY, members=TEAM))
    claim(2, Investigation(investigation=KEY, members=()))
    assert stated.investigations([KEY])[KEY].members == TEAM
    apply(3, Investigation(investigation=KEY, members=()))
    assert stated.investigations([KEY])[KEY].members == ()


def test_what_a_snapshot_leaves_out_stays(stated, apply):
    apply(1, Investigation(investigation=KEY, members=TEAM, summary="a", title="b"))
    apply(2, Investigation(investigation=KEY, proposal_id="42", cleared=("summary",)))
    found = stated.investigations([KEY])[KEY]
    assert (found.members, found.proposal_id, found.title) == (TEAM, "42", "b")
    assert found.summary is None
    apply(1, ADA)
    apply(2, User(name="db/ada", stated=StatedPerson(staff=False)))
    details = stated.users(["db/ada"])["db/ada"].stated
    assert (details.id, details.staff, details.employer) == ("17", False, "Example Lab")
