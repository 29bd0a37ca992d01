"""Field maps: what others write becomes our messages."""

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.config import ConfigError
from icat_stream.messages import (
    DatasetMessage,
    FieldMaps,
    InvestigationMessage,
    PersonMessage,
    Scalar,
    Undecodable,
    load_field_map,
)


@dataclass(frozen=True, kw_only=True)
class Member:
    name: str
    role: str = "Participant"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    name: str
    title: str | None = None
    start: datetime | None = None
    count: int | None = None
    share: float | None = None
    public: bool = False
    extra: Scalar | None = None
    owner: Member | None = None
    members: tuple[Member, ...] = ()
    keywords: tuple[str, ...] = ()


BASIC = """
message: proposal
fields:
  name: [short_code, name]
  title: {from: [title, subtitle], join: ": "}
  start: {from: startsAt, timezone: Europe/Berlin, formats: ["%d/%m/%Y %H:%M:%S"]}
  count: call_id
  share: share
  public: public
  extra: extra
  owner: {from: owner, plain: name, fields: {name: id}}
  members:
    - {from: proposer, fields: {name: id, role: {value: Principal investigator}}}
    - from: members
      plain: name
      fields:
        name: id
        role: {from: role, values: {PI: Principal investigator, M: Participant}}
  keywords: {from: [keyword, keywords], split: ","}
ignore: [proposalPk]
secrets: [oauthRefreshToken]
"""


@pytest.fixture
def load(tmp_path):
    def make(text, kind=Proposal, name="map"):
        file = tmp_path / f"{name}.yaml"
        file.write_text(text)
        return load_field_map(str(file), {"proposal": kind})

    return make


@pytest.fixture
def read(load):
    def make(value, text=BASIC, headers=()):
        if not isinstance(value, bytes):
            value = json.dumps(value).encode()
        return FieldMaps([load(text)]).read(value, headers)

    return make


def test_all_kinds_of_fields(read):
    mapped = read(
        {
            "proposalPk": 7,
            "shortCode": 20240815,
            "title": "A",
            "subtitle": "B",
            "starts-at": "2026-07-01T10:00:00",
            "callId": "12",
            "share": "0.5",
            "public": "true",
            "extra": 4.5,
            "owner": "u0",
            "proposer": {"id": "u1"},
            "members": [{"id": "u2", "role": "M"}, "u3"],
            "keywords": "x, y",
            "colour": "red",
        }
    )
    assert mapped.message == Proposal(
        name="20240815",
        title="A: B",
        start=datetime(2026, 7, 1, 8, tzinfo=UTC),
        count=12,
        share=0.5,
        public=True,
        extra=4.5,
        owner=Member(name="u0"),
        members=(
            Member(name="u1", role="Principal investigator"),
            Member(name="u2"),
            Member(name="u3"),
        ),
        keywords=("x", "y"),
    )
    assert mapped.extras == ("colour",)


def test_one_or_many_in_xml(read):
    one = read(b"<p><name>a</name><keyword>x</keyword></p>")
    many = read(b"<p name='a'><keyword>x</keyword><keyword>y</keyword></p>")
    assert (one.message.keywords, many.message.keywords) == (("x",), ("x", "y"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-01-31_15:53:33", datetime(2026, 1, 31, 14, 53, 33, tzinfo=UTC)),
        ("2026-07-31 15:53:33", datetime(2026, 7, 31, 13, 53, 33, tzinfo=UTC)),
        ("2026-07-31T15:53:33Z", datetime(2026, 7, 31, 15, 53, 33, tzinfo=UTC)),
        (
            "2026-07-31T15:53:33.5+02:00",
            datetime(2026, 7, 31, 13, 53, 33, 500_000, UTC),
        ),
        ("2026-07-31T15:53+0200", datetime(2026, 7, 31, 13, 53, tzinfo=UTC)),
        ("2026-07-31", datetime(2026, 7, 30, 22, tzinfo=UTC)),
        ("31/07/2026 15:53:33", datetime(2026, 7, 31, 13, 53, 33, tzinfo=UTC)),
    ],
)
def test_times(read, written, meant):
    assert read({"name": "a", "startsAt": written}).message.start == meant


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": None}, "short_code or name: is required"),
        ({"name": "  "}, "short_code or name: is required"),
        ({"name": True}, "name: expected a text (found: True)"),
        ({"name": {"a": 1}}, "name: expected text (found: an object)"),
        ({"name": ["a", "b"]}, "name: expected one text, found 2"),
        ({"name": "a\x01"}, "name: holds U+0001"),
        ({"Name": "b"}, "name: is given twice, as name and as Name"),
        ({"startsAt": "soon"}, "startsAt: expected a time"),
        ({"startsAt": "2026-02-30"}, "startsAt: is no time: day"),
        ({"startsAt": "0001-01-01T00:00"}, "startsAt: is no time"),
        ({"startsAt": 1_700_000_000}, "startsAt: expected a time"),
        ({"callId": 2**63}, "call_id: expected a whole number of 64 bits"),
        ({"callId": 1.5}, "call_id: expected a whole number (found: 1.5)"),
        ({"share": "much"}, "share: expected a number (found: 'much')"),
        ({"share": "nan"}, "share: expected a number"),
        ({"share": "20250703_01"}, "share: expected a number"),
        ({"share": "1_2"}, "share: expected a number"),
        ({"share": "\N{ARABIC-INDIC DIGIT THREE}"}, "share: expected a number"),
        ({"share": "1e-400"}, "share: expected a number"),
        ({"public": "perhaps"}, "public: expected true or false"),
        ({"extra": {"a": 1}}, "extra: expected text or number"),
        ({"owner": []}, None),
        ({"owner": [1, 2]}, "owner: expected one object (found: a list of 2)"),
        ({"members": [{"id": "a"}, {}]}, "members[1]/id: is required"),
        (
            {"members": [{"id": "a", "role": "Boss"}]},
            "members/role: expected one of PI, M (found: 'Boss')",
        ),
    ],
)
def test_what_is_wrong_names_the_field(read, fields, problem):
    if problem is None:
        assert read({"name": "a", **fields}).message
        return
    with pytest.raises(Undecodable) as caught:
        read({"name": "a", **fields})
    assert problem in str(caught.value)


def test_secrets_are_dropped_and_redacted(load):
    maps = FieldMaps([load(BASIC)])
    value = b'{"name": "a", "members": [{"id": "u", "oauthRefreshToken": "s3cret"}]}'
    assert "s3cret" not in repr(maps.read(value))
    redacted = maps.redact(value)
    assert redacted is not None
    assert b"s3cret" not in redacted
    assert json.loads(redacted)["members"] == [{"id": "u"}]
    plain = b'{"name":   "a"}'
    assert maps.redact(plain) == plain
    assert maps.redact(b'{"oauthRefreshToken": "s3cret"') is None
    xml = b"<p><name>a</name><oauth_refresh_token>s3cret</oauth_refresh_token></p>"
    assert maps.redact(xml) is None
    assert "s3cret" not in repr(maps.read(xml))


@pytest.mark.parametrize(
    "value",
    [
        {"name": "a", "x": {"y": [{"OAUTH-Refresh_Token": ["s3cret"]}]}},
        {"name": "a", "@oauth.refresh.token": {"is": "s3cret"}},
        {"name": "a", "extra": '{"oauthRefreshToken": "s3cret"}'},
        {"name": "a", "title": '"{\\"oauth_refresh_token\\": \\"s3cret\\"}"'},
        {"name": "a", "title": "<p oauthRefreshToken='s3cret'/>"},
        {"name": "a", "x": [{"name": "oauthRefreshToken", "value": "s3cret"}]},
        b"<p><name>a</name><y oauthRefreshToken='s3cret'/></p>",
        b"<p xmlns:o='urn:o'><name>a</name><o:oauthRefreshToken>s3cret"
        b"</o:oauthRefreshToken></p>",
    ],
)
def test_secrets_in_odd_places(load, value):
    if not isinstance(value, bytes):
        value = json.dumps(value).encode()
    for namespaces in ("", "namespaces: [urn:known]\n"):
        maps = FieldMaps([load(BASIC + namespaces)])
        assert "s3cret" not in repr(maps.read(value))
        assert b"s3cret" not in (maps.redact(value) or b"")


@pytest.mark.parametrize(
    "value",
    [
        b"<oauthRefreshToken>s3cret</oauthRefreshToken>",
        b"<o:oauthRefreshToken xmlns:o='urn:o'>s3cret</o:oauthRefreshToken>",
        b'["{\\"oauthRefreshToken\\": \\"s3cret\\"}"]',
    ],
)
def test_documents_that_are_secrets(load, value):
    maps = FieldMaps([load(BASIC)])
    with pytest.raises(Undecodable) as caught:
        maps.read(value)
    assert "s3cret" not in str(caught.value)
    assert b"s3cret" not in (maps.redact(value) or b"")


def test_an_envelope_around_a_text_says_nothing_of_the_text(load):
    maps = FieldMaps([load(EVENTS + "secrets: [oauthRefreshToken]\n")])
    payload = json.dumps({"oauthRefreshToken": "s3cret", "shortCode": "a"})
    value = json.dumps({"type": "PROPOSAL_CREATED", "payload": payload}).encode()
    with pytest.raises(Undecodable) as caught:
        maps.read(value)
    assert "s3cret" not in str(caught.value)
    assert b"s3cret" not in maps.redact(value)


def test_names_that_only_look_like_secrets_stay(load):
    maps = FieldMaps([load(BASIC.replace("[oauthRefreshToken]", "[token]"))])
    value = {"name": "token", "title": "<i>Token</i> rings", "keyword": ["token: a"]}
    said = json.dumps(value).encode()
    assert maps.redact(said) == said
    assert maps.read(said).message.title == "<i>Token</i> rings"


def test_own_maps_of_people_drop_the_token_unasked(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("message: user\nfields: {usernames: login}\n")
    maps = FieldMaps([load_field_map(str(file), {"user": PersonMessage})])
    value = b'{"login": "ada", "oauthRefreshToken": "s3cret"}'
    assert maps.redact(value) == b'{"login": "ada"}'


def test_plain_values_in_the_place_of_objects(read):
    text = """
message: proposal
fields:
  name: name
  owner: {from: owner, plain: name, fields: {name: id, role: {from: r, default: PI}}}
"""
    assert read({"name": "a", "owner": "ada"}, text).message.owner.role == "PI"


def test_what_a_plain_value_does_not_say_is_missing(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(
        "message: investigation\n"
        "fields:\n"
        "  name: name\n"
        "  members: {from: users, plain: username,"
        " fields: {username: login, role: role}}\n"
    )
    maps = FieldMaps(
        [load_field_map(str(file), {"investigation": InvestigationMessage})]
    )
    with pytest.raises(Undecodable, match="users/role: is required"):
        maps.read(b'{"name": "a", "users": "ada"}')


@pytest.mark.parametrize(("count", "more"), [(7, "2"), (99, "94"), (100_000, "many")])
def test_reading_ends_after_many_problems(read, count, more):
    with pytest.raises(Undecodable, match=rf"\[4\]: .*; and {more} more$"):
        read({"name": "a", "members": [["x"]] * count})


def test_a_list_in_a_text_has_an_end(read):
    with pytest.raises(Undecodable, match="keyword: expected at most 10000 parts"):
        read({"name": "a", "keyword": "a," * 10_000})


EVENTS = """
message: proposal
envelope: {event: {header: type, field: type}, body: payload}
events: {PROPOSAL_CREATED: "", VISIT_CREATED: proposal}
fields: {name: shortCode}
"""


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        ({"shortCode": "a"}, [("type", b"PROPOSAL_CREATED")]),
        ({"type": "PROPOSAL_CREATED", "payload": {"shortCode": "a"}}, []),
        ({"proposal": {"shortCode": "a"}}, [("type", b"VISIT_CREATED")]),
        ({"type": "VISIT_CREATED", "payload": {"proposal": {"shortCode": "a"}}}, []),
    ],
)
def test_events_by_header_or_envelope(read, value, headers):
    assert read(value, EVENTS, headers).message == Proposal(name="a")


def test_names_that_others_chose_are_shown_without_control_characters(read):
    mapped = read({"name": "a", "x\0\n" + "y" * 200: 1})
    assert mapped.extras == ("x\ufffd\ufffd" + "y" * 96 + "…",)
    event = read({"a": 1}, EVENTS, [("type", b"A\0B")]).event
    assert event == "A\ufffdB"


def test_events_of_no_interest(read):
    mapped = read({"shortCode": "a"}, EVENTS, [("type", b"CALL_CREATED")])
    assert (mapped.message, mapped.event) == (None, "CALL_CREATED")
    with pytest.raises(Undecodable, match="no event is named in field type or header"):
        read({"shortCode": "a"}, EVENTS)


def test_kinds_are_told_apart(load):
    maps = FieldMaps(
        [
            load("message: proposal\nroot: first\nfields: {name: name}", name="first"),
            load("message: proposal\nwhen: code\nfields: {name: code}", name="second"),
        ]
    )
    assert maps.read(b'{"code": "a"}').map == "second"
    assert maps.read(b'{"first": {"name": "a"}}').map == "first"
    assert maps.read(b"<first><name>a</name></first>").map == "first"
    with pytest.raises(Undecodable, match="name: is required"):
        maps.read(b'{"other": "a"}')
    with pytest.raises(Undecodable, match="root element is third, expected first"):
        maps.read(b"<third/>")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("[]", 1, "expected a field map"),
        ("message: thing\nfields: {}", 1, "message: expected one of proposal"),
        ("message: proposal\nfield: {}", 2, "is no known key; did you mean fields?"),
        ("message: proposal\nfields: {title: title}", 2, "says nothing of name"),
        (
            "message: proposal\nfields:\n  name: n\n  tilte: t",
            4,
            "did you mean title?",
        ),
        (
            "message: proposal\nfields:\n  name: n\n  owner:\n    from: o\n"
            "    fields:\n      name: n\n      rôle: r",
            8,
            "fields.owner.fields.rôle: is no field of a Member",
        ),
        (
            "message: proposal\nfields:\n  name: {form: n}",
            3,
            "did you mean from?",
        ),
        ("message: proposal\nfields:\n  name: a//b", 3, "expected a path"),
        ("message: proposal\nfields:\n  name: 7", 3, "expected a text, or a list"),
        (
            "message: proposal\ntimezone: Mars/North\nfields: {name: n}",
            2,
            "expected a time zone",
        ),
        (
            "message: proposal\nfields:\n  name: n\n  name: m",
            4,
            "is given twice",
        ),
        ("message: proposal\nevents: [A]\nfields: {name: n}", 2, "needs envelope"),
        (
            "message: proposal\nfields:\n  name: n\n  count: {from: c, default: many}",
            4,
            "is of another kind",
        ),
    ],
)
def test_mistakes_in_a_map(load, tmp_path, text, line, problem):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert problem in str(caught.value)
    assert f"map.yaml:{line}: " in str(caught.value)


def test_no_such_map():
    with pytest.raises(ConfigError, match="did you mean dataset"):
        load_field_map("datset", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_field_map("/nowhere/map.yaml", {})


NAMES = """name location parameter parameters datafile datafiles value sample
start_date size investigation x"""
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(st.sets(st.sampled_from(["name", "location"])), JSON_VALUES)
def test_whatever_stands_where_it_is_read_or_undecodable(plain, tree):
    maps = FieldMaps([load_field_map("dataset", {"dataset": DatasetMessage})])
    value = tree if isinstance(tree, dict) else {"parameters": tree}
    value |= dict.fromkeys(plain, "x")
    with contextlib.suppress(Undecodable):
        mapped = maps.read(json.dumps(value).encode())
        assert isinstance(mapped.message, DatasetMessage)
