"""Checks run when they are due, and say in the journal what they did."""

import pytest

from catalogue.plans import FACILITY
from icat_stream.app import Pipeline, Schedule
from icat_stream.config import ConfigError, Settings
from icat_stream.journal import Search

HOUR = 3_600_000
WHO = {
    "facility": "F",
    "consumers": {"s": {"handler": "statistics", "topics": ["t"]}},
}
# Of nothing: nobody is asked.
CHECK = {"every": "1h", "operations": ["recount"], "types": ["no such type"]}


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
    assert rows[0].text.startswith("schedule all: asked for recount of ")


def test_a_check_that_would_ask_nobody_waits(whole, caplog):
    unheard = {"all": CHECK | {"operations": ["recount", "unheard-of"]}}
    waiting = whole.model_copy(
        update={"schedule": Settings(**WHO, schedule=unheard).schedule}
    )
    with Pipeline(waiting) as pipeline:
        pipeline.open()
        schedule = Schedule(waiting, pipeline)
        for _ in range(2):
            schedule.run_due()
        assert caplog.text.count("no enabled consumer does unheard-of") == 1
        with pytest.raises(ConfigError, match=r"schedule\.all\.operations"):
            schedule.run("all")
        (check,) = schedule.checks()
        assert (check.last, check.undone) == (None, ["unheard-of"])
        assert not list(pipeline.journal.entries.find(Search()))


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
    with pytest.raises(ValueError, match=r"schedule\.c"):
        Settings(**WHO, schedule={"c": CHECK | wrong})
