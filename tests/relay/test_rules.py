"""Which records are forwarded, and as what."""

import json

import pytest

from icat_stream.config import ForwardSettings
from icat_stream.relay.rules import HOP, Forwarded, LeftOut, Rules


def applied(rule, body, headers=(), topic="events"):
    settings = ForwardSettings(rules={"r": {"topics": ["events"], **rule}})
    value = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    return Rules(settings).apply(topic, value, headers)


def test_what_no_rule_changes_stays_byte_for_byte():
    value = b'{ "kind" : "dataset", "x": 1.10 }'
    for rule in ({}, {"kinds": ["dataset"]}, {"where": {"x": [1.1]}}):
        assert applied({"to": "test.{topic}", **rule}, value) == [
            Forwarded(rule="r", topic="test.events", value=value)
        ]
    assert applied({}, b"\x00\xff") == [
        Forwarded(rule="r", topic="events", value=b"\x00\xff")
    ]
    assert applied({}, None) == [Forwarded(rule="r", topic="events", value=None)]
    assert applied({}, b"{}", topic="others") == []


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ({"facility": ["A"]}, True),
        ({"facility": ["B"]}, False),
        ({"facility": ["B", "A"]}, True),
        ({"investigation.name": ["5"]}, True),
        ({"investigation.name": [5]}, False),
        ({"investigation": ["5"]}, False),
        ({"nothing.at.all": ["5"]}, False),
        ({"facility": ["A"], "investigation.name": ["6"]}, False),
    ],
)
def test_only_what_has_the_values_passes(where, passes):
    body = {"facility": "A", "investigation": {"name": "5"}}
    assert bool(applied({"where": where}, body)) is passes


def test_fields_are_taken_out_and_renamed():
    body = {
        "kind": "user",
        "members": [{"name": "a", "email": "a@x"}, {"name": "b"}, "odd"],
        "secret": {"deep": 1, "kept": 2},
        "old": {"name": "n"},
    }
    rule = {
        "redact": ["members.email", "secret.deep", "not.there"],
        "rename": {"old.name": "new.name"},
    }
    (made,) = applied(rule, body)
    assert json.loads(made.value) == {
        "kind": "user",
        "members": [{"name": "a"}, {"name": "b"}, "odd"],
        "secret": {"kept": 2},
        "old": {},
        "new": {"name": "n"},
    }


@pytest.mark.parametrize("value", [b"\xff\x00", b"[1]", b"", None, b'{"a": NaN}'])
@pytest.mark.parametrize(
    "rule", [{"kinds": ["user"]}, {"where": {"a": [1]}}, {"redact": ["a"]}]
)
def test_what_cannot_be_read_is_left_out_rather_than_let_through(value, rule):
    (made,) = applied(rule, value)
    assert isinstance(made, LeftOut)


def test_a_field_is_never_overwritten_by_renaming():
    (made,) = applied({"rename": {"a": "b"}}, {"a": 1, "b": 2})
    assert isinstance(made, LeftOut)


def test_what_has_been_there_does_not_go_there_again():
    assert applied({}, b"{}", [(HOP, b"target/events[0]@3")]) == []
    assert applied({}, b"{}", [(HOP, b"target2/events[0]@3"), ("x", None)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"rules": {"r": {"topics": []}}},
        {"rules": {"r": {"topics": ["a"], "to": "{other}"}}},
        {"rules": {"r": {"topics": ["a"], "to": "with blank"}}},
        {"rules": {"r": {"topics": ["a"], "rate": 0}}},
        {"rules": {"r": {"topics": ["a"], "redact": ["a..b"]}}},
        {"source_name": "x", "target_name": "x"},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="ForwardSettings"):
        ForwardSettings.model_validate(wrong)
