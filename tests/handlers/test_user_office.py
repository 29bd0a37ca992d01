"""People and proposals, as user offices send them, become plans."""

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.app import load_handler
from icat_stream.config import ConfigError, Settings
from icat_stream.handlers import HandlerContext
from icat_stream.handlers.user_office_text import cut
from icat_stream.handlers.user_office_text import doi as bare_doi
from icat_stream.records import (
    STUB_TITLE,
    Coordinates,
    DependencyMissing,
    InvestigationDetails,
    Outcome,
    Record,
    Rejection,
)

ALBA_USER = {
    "id": 4711,
    "first_name": "Núria",
    "last_name": "Exemplar",
    "email": "nuria@example.org",
    "ORCID": "0000-0002-1825-0097",
    "affiliation": {
        "id": 3,
        "name": "Harbour College",
        "unit": "Physics",
        "department_name": "Soft Matter",
        "city": "Port",
        "country_code": "XX",
    },
    "is_staff": False,
    "enabled": True,
    "user_list": [{"username": "nexemplar"}, {"username": "u4711"}],
}
ALBA = {
    "name": "2024-0815",
    "facility": "EXAMPLE",
    "start_date": "2024-02-29T08:00:00",
    "end_date": "2024-02-29T20:00:00",
    "release_date": None,
    "title": "Domains",
    "summary": "About domains",
    "instrument": {"name": "LUMEN", "code": "BL01"},
    "type": "experiment",
    "user_list": [
        {"username": "a", "email": "a@example.org", "role": "Principal investigator"},
        {"username": "a", "email": "a@example.org", "role": "Participant"},
        {"username": "b", "email": "b@example.org", "role": "Participant"},
        {"username": "b", "email": "b@example.org", "role": "Participant"},
    ],
    "icat_visit_id": "7",
    "visit_count": 1,
    "is_reimbursed": True,
    "sample_acronyms": ["NaCl", "H2O"],
}
MEMBER = {
    "lastName": "Exemplar",
    "email": "x@example.org",
    "oauthIssuer": None,
    "institution": {"id": 1, "name": "Harbour College", "country": 2},
    "country": {"countryId": 2, "country": "Nowhere"},
}
PROPOSAL = {
    "proposalPk": 42,
    "shortCode": "240815",
    "title": "Domains",
    "abstract": "About domains",
    "callId": 3,
    "instruments": [{"id": 1, "shortCode": "LUMEN", "allocatedTime": 3600}],
    "proposer": {"id": "1", "firstName": "P", "oidcSub": "sub-p", **MEMBER},
    "members": [
        {"id": "1", "firstName": "P", "oidcSub": "sub-p", **MEMBER},
        {"id": "2", "firstName": "M", "oidcSub": None, **MEMBER},
    ],
    "dataAccessUsers": [],
    "visitors": [{"id": "3", "firstName": "V", "oidcSub": "sub-v", **MEMBER}],
    "newStatus": "ACCEPTED",
    "submitted": True,
}


def record(value, headers=()):
    if not isinstance(value, bytes):
        value = json.dumps(value).encode()
    at = Coordinates("t", 0, 1)
    return Record(
        at=at,
        timestamp=1,
        key=None,
        value=value,
        headers=tuple(headers),
        origin=at,
        origin_timestamp=1,
    )


@pytest.fixture
def handler():
    def make(name, policies=None, **options):
        settings = Settings(
            facility="EXAMPLE",
            consumers={"c": {"handler": name, "topics": ["t"]}},
            policies=policies or {},
        )
        context = HandlerContext(settings=settings, files=None, options=options)
        return load_handler(name)(context)

    return make


def planned(handler, value, headers=()):
    message = handler.decode(record(value, headers))
    return message if isinstance(message, Outcome) else handler.plan(message, None)


def test_a_person_is_one_user_an_account(handler):
    plan = planned(handler("users"), ALBA_USER)
    assert [user.name for user in plan.users] == ["nexemplar", "u4711"]
    (user, _) = plan.users
    assert (user.full_name, user.orcid_id) == ("Núria Exemplar", "0000-0002-1825-0097")
    assert user.affiliation == "Harbour College, Physics, Soft Matter"
    assert user.formerly == ("nexemplar__user_disabled",)
    assert plan.notes == ()


def test_a_fingerprint_is_of_all_that_a_plan_follows_from(handler):
    one = record(b'{"first_name": "Mia"}')
    found = {
        handler("users").fingerprint(one),
        handler("users").fingerprint(record(b'{"first_name": "Ole"}')),
        handler("investigations").fingerprint(one),
        handler("users", affiliation=["city"]).fingerprint(one),
        handler("users", policies={"disabled_users": "mark"}).fingerprint(one),
    }
    assert len(found) == 5
    traced = one._replace(headers=(("traceparent", b"00-1"),))
    assert handler("users").fingerprint(traced) in found
    # What a facility's own makes of a message changes with versions of its own.
    users = type(handler("users"))
    own = type("Own", (users,), {"__module__": "ourfacility.handlers"})
    settings = Settings(
        facility="F", consumers={"c": {"handler": "users", "topics": ["t"]}}
    )
    context = HandlerContext(settings=settings, files=None)
    assert own(context).fingerprint(one) is None


def test_a_long_affiliation_is_cut_at_a_word_and_says_so(handler):
    long = {"name": "Institute of " + "very " * 80 + "long names"}
    plan = planned(handler("users"), ALBA_USER | {"affiliation": long})
    text = plan.users[0].affiliation
    assert len(text) <= 255
    assert text.endswith("very…")
    assert plan.notes == ("affiliation: cut from 423 to 255 characters at a word",)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("v1 " + "中子散射研究" * 60, 254),
        ("超" * 300, 254),
        ("v1\u3000" + "中性子散乱の" * 60, 254),
        ("a" * 253 + "e\N{COMBINING ACUTE ACCENT}" * 20, 253),
    ],
)
def test_a_text_without_blanks_is_cut_where_there_is_no_more_room(text, kept):
    notes = []
    assert cut(text, 255, "title", notes) == text[:kept] + "…"
    assert notes == [f"title: cut from {len(text)} to 255 characters"]


@given(st.text(max_size=600), st.integers(2, 300))
def test_what_is_cut_fits_and_is_a_beginning(text, limit):
    notes = []
    found = cut(text, limit, "field", notes)
    assert len(found) <= limit
    # Of a text without blanks, or with one at its beginning, most is kept.
    assert len(found) >= min(len(text.strip()), limit // 2) - text.count(" ") - 9
    if notes:
        assert text.strip().startswith(found.removesuffix("…"))
    else:
        assert found == text.strip()


@pytest.mark.parametrize(
    ("policy", "name", "full_name"),
    [
        ("rename", "nexemplar__user_disabled", "Núria Exemplar"),
        ("mark", "nexemplar", "Núria Exemplar (disabled)"),
        ("keep", "nexemplar", "Núria Exemplar"),
    ],
)
def test_disabled_people_by_policy(handler, policy, name, full_name):
    one = handler("users", {"disabled_users": policy})
    user = planned(one, ALBA_USER | {"enabled": False}).users[0]
    assert (user.name, user.full_name) == (name, full_name)
    assert user.account == "nexemplar"


def test_staff_and_names_by_configuration(handler):
    one = handler("users", {"user_names": "db/{username}"}, staff_group="staff")
    user = planned(one, ALBA_USER | {"is_staff": True}).users[0]
    assert (user.name, user.groups) == ("db/nexemplar", ("staff",))
    user = planned(one, ALBA_USER).users[0]
    assert (user.groups, user.left_groups) == ((), ("staff",))


def test_what_is_null_is_emptied_and_what_is_missing_is_left(handler):
    message = ALBA_USER | {"ORCID": None, "email": ""}
    del message["affiliation"]
    user = planned(handler("users"), message).users[0]
    assert set(user.cleared) == {"orcid_id", "email"}
    assert user.affiliation is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"user_list": []}, "user_list/username or usernames.* is required"),
        ({"enabled": "perhaps"}, "enabled: expected true or false"),
        ({"first_name": ["a", "b"]}, "first_name"),
        ({"affiliation": [1]}, "affiliation"),
    ],
)
def test_bad_people_are_rejected_by_the_field(handler, change, words):
    with pytest.raises(Rejection, match=words):
        planned(handler("users"), ALBA_USER | change)


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"email": "not an email"}, "email", "email: expected name@domain"),
        ({"email": "x@nowhere"}, "email", "email: expected"),
        ({"ORCID": "0000-0002-1825-0098"}, "orcid_id", "check digit"),
        ({"ORCID": "\u0660000-0002-1825-0097"}, "orcid_id", "orcid: expected 0000"),
        ({"ORCID": "none"}, "orcid_id", "orcid: expected"),
    ],
)
def test_an_unusable_detail_is_left_out_or_refuses_the_person(
    handler, change, field, words
):
    plan = planned(handler("users"), ALBA_USER | change)
    user = plan.users[0]
    assert getattr(user, field) is None
    # What is in the catalogue already stays.
    assert user.cleared == ()
    assert user.full_name == "Núria Exemplar"
    (note,) = plan.notes
    assert re.search(f"{words}.*: left out", note)
    strict = handler("users", {"unusable_details": "reject"})
    with pytest.raises(Rejection, match=words):
        planned(strict, ALBA_USER | change)


@pytest.mark.parametrize(
    ("said", "doi"),
    [
        ("10.1234/ab.c", "10.1234/ab.c"),
        ("https://doi.org/10.1234/ab.c", "10.1234/ab.c"),
        ("http://dx.doi.org/10.1234%2FAB.c", "10.1234/AB.c"),
        ("https://www.doi.org/10.1234/ab.c", "10.1234/ab.c"),
        ("doi:10.1234/ab.c", "10.1234/ab.c"),
        ("DOI: 10.1234/ab.c", "10.1234/ab.c"),
        ("https://example.org/10.1234/ab.c", "https://example.org/10.1234/ab.c"),
    ],
)
def test_a_doi_stands_without_its_resolver(said, doi):
    assert bare_doi(said) == doi


def test_a_secret_is_dropped_and_never_said(handler):
    one = handler("users", maps=["user-office-user", "user-office-user-deleted"])
    message = {
        "id": 7,
        "user_title": "Dr",
        "firstname": "Jasper",
        "lastname": "Doelittle",
        "oidcSub": "sub-7",
        "oauthRefreshToken": "s3cret",
        "institution": "Institute of Amber",
        "email": "jasper@example.org",
    }
    headers = [("type", b"USER_UPDATED")]
    message_read = one.decode(record(message, headers))
    assert "s3cret" not in repr(message_read)
    assert b"s3cret" not in one.redact(record(message, headers))
    (user,) = one.plan(message_read, None).users
    assert (user.name, user.family_name) == ("sub-7", "Doelittle")
    assert user.affiliation == "Institute of Amber"
    wrapped = {"type": "USER_DELETED", "payload": message}
    assert b"s3cret" not in one.redact(record(wrapped))
    assert planned(one, wrapped).users[0].name == "sub-7__user_disabled"
    assert one.redact(record(b'{"oauthRefreshToken": "s3cret", "id": [')) is None
    with pytest.raises(Rejection, match="firstname") as caught:
        one.decode(record(message | {"firstname": [message]}, headers))
    assert "s3cret" not in str(caught.value)
    assert planned(one, message, [("type", b"TOPIC_ANSWERED")]).kind == "ignored"


def test_a_proposal_as_alba_sends_it(handler):
    plan = planned(handler("investigations"), ALBA)
    (found,) = plan.investigations
    assert found.key == "2024-0815/7"
    assert [(m.user, m.role) for m in found.members] == [
        ("a", "Principal investigator"),
        ("b", "Participant"),
    ]
    assert [sample.name for sample in found.samples] == ["NaCl", "H2O"]
    assert found.instruments == ("LUMEN",)
    assert found.release == datetime(2027, 2, 28, 20, tzinfo=UTC)
    assert (found.keywords, found.shifts, found.cycles) == (None, None, None)
    assert plan.notes == ()


@pytest.mark.parametrize(
    ("change", "release", "never"),
    [
        ({"release_date": "2025-01-01"}, datetime(2025, 1, 1, tzinfo=UTC), False),
        ({"type": "Industrial"}, None, True),
        ({"type": "industrial", "release_date": "2025-01-01"}, None, True),
        ({"end_date": None}, None, False),
    ],
)
def test_the_release_date(handler, change, release, never):
    (found,) = planned(handler("investigations"), ALBA | change).investigations
    assert found.release == release
    assert ("release" in found.cleared) is never


def test_all_that_a_proposal_may_have(handler):
    message = ALBA | {
        "samples": [
            {"name": "Salt", "acronym": "NaCl", "type": "powder", "formula": "NaCl"}
        ],
        "keywords": ["a", "b", "a"],
        "facility_cycle": "2024-1",
        "visits": [
            {
                "visit_id": "A",
                "start_date": "2024-03-01",
                "end_date": "2024-03-02",
                "shifts": [{"start_date": "2024-03-01", "end_date": "2024-03-02"}],
            },
            {"visit_id": "B", "instrument": "OTHER"},
        ],
        "colour": "red",
    }
    one = handler("investigations", acronym_parameter="acronym")
    plan = planned(one, message)
    first, second = plan.investigations
    assert [first.key, second.key] == ["2024-0815/A", "2024-0815/B"]
    assert first.release == datetime(2027, 3, 2, tzinfo=UTC)
    assert second.release == datetime(2027, 2, 28, 20, tzinfo=UTC)
    assert (first.instruments, second.instruments) == (("LUMEN",), ("OTHER",))
    assert len(first.shifts) == 1
    assert second.keywords == ("a", "b")
    assert second.cycles == ("2024-1",)
    salt, water = second.samples
    assert (salt.name, salt.molecular_formula, water.name) == ("Salt", "NaCl", "H2O")
    assert salt.parameters[0].value == "NaCl"
    assert plan.notes == ("fields that are not read: colour",)


def test_a_visit_keeps_what_it_says_and_what_the_proposal_says_of_all(handler):
    visits = [
        {"visit_id": "A", "start_date": "2024-03-01", "end_date": "2024-03-02"},
        {"visit_id": "B", "release_date": "2026-01-01"},
    ]
    explicit = {"release_date": "2025-01-01", "visits": visits}
    empty = {"start_date": None, "end_date": None, "visits": visits}
    one = handler("investigations")
    first, second = planned(one, ALBA | explicit).investigations
    assert first.release == datetime(2025, 1, 1, tzinfo=UTC)
    assert second.release == datetime(2026, 1, 1, tzinfo=UTC)
    first, second = planned(one, ALBA | empty).investigations
    assert (first.end, first.cleared) == (datetime(2024, 3, 2, tzinfo=UTC), ())
    assert (second.end, second.cleared) == (None, ("end", "start"))
    industrial = {"is_industrial": True, "visits": visits}
    for found in planned(one, ALBA | industrial).investigations:
        assert (found.release, found.cleared) == (None, ("release",))


def test_a_long_title_is_cut_and_empty_lists_are_statements(handler):
    message = ALBA | {"title": "word " * 100, "user_list": [], "sample_acronyms": []}
    plan = planned(handler("investigations"), message)
    (found,) = plan.investigations
    assert len(found.title) <= 255
    assert (found.members, found.samples) == ((), ())
    assert any("title: cut" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"user_list": [{"username": "a", "role": "Boss"}]}, "role: expected one of"),
        ({"user_list": [{"role": "Participant"}]}, "username or name: is required"),
        ({"start_date": "soon"}, "start_date: expected a time"),
        ({"name": None}, "name: is required"),
        ({"end_date": "9999-01-01"}, "outside the calendar"),
        ({"visits": [{"visit_id": "A"}, {"visit_id": "A"}]}, "stated twice"),
        ({"title": {"en": "x"}}, "title: expected"),
    ],
)
def test_bad_proposals_are_rejected_by_the_field(handler, change, words):
    with pytest.raises(Rejection, match=words):
        planned(handler("investigations"), ALBA | change)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (PROPOSAL, [("type", b"PROPOSAL_ACCEPTED")]),
        ({"type": "PROPOSAL_UPDATED", "payload": PROPOSAL}, []),
    ],
)
def test_a_proposal_as_user_office_project_sends_it(handler, value, headers):
    one = handler(
        "investigations",
        maps=["user-office-proposal"],
        visit_id="v",
        investigation_type="experiment",
    )
    plan = planned(one, value, headers)
    (found,) = plan.investigations
    assert (found.key, found.type) == ("240815/v", "experiment")
    assert [(m.user, m.role) for m in found.members] == [
        ("sub-p", "Principal investigator"),
        ("2", "Participant"),
        ("sub-v", "Participant"),
    ]
    assert found.instruments == ("LUMEN",)
    assert plan.notes == ()


VISITS = ["user-office-proposal", "user-office-visit", "user-office-visit-deleted"]


class Held:
    """A catalogue with at most one investigation."""

    def __init__(self, **values):
        self.values = values

    def investigation_details(self, keys):
        (key,) = keys
        values = {"id": 1, "title": "Domains", "type": "experiment", **self.values}
        return [InvestigationDetails(key=key, **values)] if self.values else []


def stay(start, end, **changes):
    return {
        "startAt": f"2026-03-{start:02}T08:00:00.000Z",
        "endAt": f"2026-03-{end:02}T08:00:00.000Z",
        "visitorId": "sub-v",
        "proposal": PROPOSAL | changes,
    }


def march(day, year=2026):
    return datetime(year, 3, day, 8, tzinfo=UTC)


def stayed(handler, value, event=b"VISIT_CREATED", held=None, **options):
    one = handler("investigations", maps=VISITS, **options)
    message = one.decode(record(value, [("type", event)]))
    return one.plan(message, held or Held(start=None))


@pytest.mark.parametrize(
    ("held", "dates"),
    [
        ({"title": "Domains"}, (march(3), march(5), march(5, 2029))),
        ({"start": march(1), "end": march(4)}, (None, march(5), march(5, 2029))),
        ({"start": march(4), "end": march(6)}, (march(3), None, None)),
        ({"start": march(1), "end": march(9)}, (None, None, None)),
        # A longer embargo is somebody's decision.
        (
            {"start": march(1), "end": march(4), "release": march(1, 2031)},
            (None, march(5), None),
        ),
        ({"type": "industrial"}, (march(3), march(5), None)),
    ],
)
def test_dates_of_an_investigation_take_a_stay_in(handler, held, dates):
    plan = stayed(handler, stay(3, 5), held=Held(**held))
    (found,) = plan.investigations
    assert (found.key, found.partial) == ("240815/1", True)
    assert (found.start, found.end, found.release) == dates
    assert found.members is None
    assert plan.notes == ()


def test_a_stay_waits_for_its_investigation(handler):
    for held in (Held(), Held(title=STUB_TITLE)):
        with pytest.raises(DependencyMissing, match="240815/1") as caught:
            stayed(handler, stay(3, 5), held=held)
        assert list(caught.value.missing) == ["investigation:240815/1"]


def test_a_stay_that_ends_before_it_begins_is_rejected(handler):
    with pytest.raises(Rejection, match=r"end: .* is before start"):
        stayed(handler, stay(5, 3))


def test_a_cancelled_stay_says_that_the_dates_stay(handler):
    outcome = stayed(handler, stay(3, 5), b"VISIT_DELETED")
    assert (outcome.kind, outcome.objects) == (
        "ignored",
        {"investigation": "240815/1"},
    )
    assert "dates stay as they are" in outcome.reason


def test_no_token_of_a_proposer_leaves_a_stay(handler):
    proposer = PROPOSAL["proposer"] | {"oauthRefreshToken": "hush"}
    one = handler("investigations", maps=["user-office-visit"])
    value = record(stay(3, 5, proposer=proposer), [("type", b"VISIT_CREATED")])
    assert b"hush" not in one.redact(value)


def test_proposals_that_are_still_being_written_are_ignored(handler):
    draft = PROPOSAL | {"submitted": False}
    created = [("type", b"PROPOSAL_CREATED")]
    one = handler("investigations", maps=VISITS)
    outcome = planned(one, draft, created)
    assert outcome.kind == "ignored"
    assert "not submitted (options.submitted_only)" in outcome.reason
    assert stayed(handler, stay(3, 5, submitted=False)).kind == "ignored"
    every = handler("investigations", maps=VISITS, submitted_only=False)
    assert planned(every, draft, created).investigations[0].key == "240815/1"


def test_an_option_that_says_industrial_counts(handler):
    one = handler("investigations", investigation_type="Industrial")
    value = {key: value for key, value in ALBA.items() if key != "type"}
    (found,) = planned(one, value).investigations
    assert (found.release, found.cleared) == (None, ("release",))


def test_events_that_change_no_investigation_are_ignored(handler):
    one = handler("investigations", maps=["user-office-proposal"])
    outcome = planned(one, PROPOSAL, [("type", b"PROPOSAL_DELETED")])
    assert outcome.kind == "ignored"
    with pytest.raises(Rejection, match="no event is named in field type or header"):
        planned(one, PROPOSAL)
    outcome = planned(handler("investigations"), ALBA | {"icat_sync": False})
    assert outcome.kind == "ignored"


@pytest.mark.parametrize("name", ["users", "investigations"])
def test_options_are_checked(handler, name):
    with pytest.raises(ConfigError) as caught:
        handler(name, embargo="3y", maps=["no-such"])
    assert "embargo" in str(caught.value)
