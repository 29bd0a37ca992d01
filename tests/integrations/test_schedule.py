"""Checks run when they are due, and say in the journal what they did."""

import pytest

from catalogue.plans import FACILITY
from icat_stream.app import Pipeline, Schedule
from icat_stream.config import Settings
from icat_stream.journal import Search

HOUR = 3_600_000
CHECK = {"every": "1h", "operations": ["unheard-of"]}


@pytest.fixture
def whole(settings, data, tmp_path):
    return Settings(
        facility=FACILITY,
        icat=settings,
        files={"roots": [data]},
        journal={"url": f"sqlite:///{tmp_path}/journal.db"},
        consumers={"s": {"handler": "statistics", "topics": ["t"]}},
        schedule={"all": CHECK, "off": CHECK | {"enabled": False}},
    )


def test_a_check_that_is_due_runs_once(whole, investigation):
    moment = 500_000 * HOUR
    with Pipeline(whole) as pipeline:
        pipeline.open()
        schedule = Schedule(whole, pipeline, now=lambda: moment)
        other = Schedule(whole, pipeline, now=lambda: moment)
        assert schedule.checks()[0].last is None
        schedule.run_due()
        other.run_due()
        moment += HOUR - 1
        schedule.run_due()
        ((first, second),) = [[each.last for each in schedule.checks()]]
        assert (first is not None, second) == (True, None)
        moment += 1
        other.run_due()
        rows = [each.row for each in pipeline.journal.entries.find(Search())]
    assert [row.message_type for row in rows] == ["schedule"] * 2
    assert {row.outcome for row in rows} == {"unchanged"}
    assert rows[0].text.startswith("schedule all: asked for nothing of ")
    assert rows[0].text.endswith("no enabled consumer does unheard-of")


@pytest.mark.parametrize(
    "wrong",
    [
        {"every": "1s"},
        {"operations": []},
        {"end": {"at_least": "2d", "at_most": "1d"}},
        {"end": {"at_most": "yesterday"}},
        {"doi": "maybe"},
    ],
)
def test_a_wrong_check_is_refused(wrong):
    consumers = {"s": {"handler": "statistics", "topics": ["t"]}}
    with pytest.raises(ValueError, match=r"schedule\.c"):
        Settings(facility="F", consumers=consumers, schedule={"c": CHECK | wrong})
