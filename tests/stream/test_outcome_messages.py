"""Outcomes as they stand on their topic, both ways."""

import json

import pytest

from icat_stream.records import JournalRow, RowKey
from icat_stream.stream.outcome_messages import OMITTED, outcome_message, outcome_row

FULL = JournalRow(
    at=RowKey("g.files", "filewriter", 2, 5, 1_700_000_000_000),
    origin_topic="filewriter",
    origin_partition=2,
    origin_offset=3,
    origin_time=1_600_000_000_000,
    outcome="rejected",
    size=7,
    sha256="ab" * 32,
    key="/data/ä",
    message_type="wrdn",
    message_format="flatbuffers",
    objects={"investigation": "A/1", "dataset": ["d 1", "d 2"]},
    error_class="permanent",
    text="it is wrong",
    attempts=3,
    steps={"plan": 0.25},
    trace_id="0" * 32,
    version="1.2",
    payload=b"\x00\xff raw",
    record_key=b"\xfe",
    headers=(("h", b"\xfd"), ("none", None)),
    written_at=1_700_000_001_000,
)


def again(row, step=0):
    message = outcome_message(row, step)
    return outcome_row(message.value, tuple(message.headers), row.written_at)


def test_all_of_it_comes_back():
    assert again(FULL) == FULL
    bare = JournalRow(
        at=RowKey("g", "t", 0, 0, 0),
        origin_topic="t",
        origin_partition=0,
        origin_offset=0,
        origin_time=0,
        outcome="ignored",
        size=0,
        sha256="",
    )
    assert again(bare) == bare


def test_others_can_read_it_and_find_the_whole_way_of_a_message():
    message = outcome_message(FULL)
    assert message.key == b"g.files filewriter[2]@5@1700000000000"
    body = json.loads(message.value)
    assert body["version"] == 1
    assert body["reason"] == "it is wrong"
    assert body["origin"] == {
        "topic": "filewriter",
        "partition": 2,
        "offset": 3,
        "time": 1_600_000_000_000,
    }
    assert dict(message.headers)["payload"] == FULL.payload


def test_one_that_is_too_large_says_what_is_left_out():
    for step, omitted in enumerate(OMITTED):
        body = json.loads(outcome_message(FULL, step).value)
        assert tuple(body["omitted"]) == omitted
    assert again(FULL, 1).payload is None
    assert again(FULL, 1).objects == FULL.objects
    least = again(FULL, 2)
    assert (least.at, least.outcome, least.sha256) == (
        FULL.at,
        FULL.outcome,
        FULL.sha256,
    )
    assert least.objects == {}


@pytest.mark.parametrize(
    "objects", [{"n": float("nan")}, {"o": object()}, {"s": "half \ud800"}]
)
def test_whatever_a_handler_put_together_is_json(objects):
    values = {name: getattr(FULL, name) for name in FULL.__dataclass_fields__}
    row = JournalRow(**(values | {"objects": objects}))
    assert again(row).at == FULL.at
    json.loads(outcome_message(row).value, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"{}",
        b'{"version": 2}',
        outcome_message(FULL).value.replace(b'"partition":2', b'"partition":"2"'),
        outcome_message(FULL).value.replace(b'"topic":"filewriter"', b'"topic":null'),
        outcome_message(FULL).value.replace(b'"reason"', b'"raison"'),
    ],
)
def test_what_is_none_of_ours_is_one_kind_of_error(value):
    with pytest.raises(ValueError, match=r"\w"):
        outcome_row(value, (), 0)
