"""Investigations are chosen by what the schedule looks at."""

from datetime import UTC, datetime, timedelta

import pytest

from icat_stream.catalogue import InvestigationSelection, Period
from icat_stream.records import InvestigationKey

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def past(days: int) -> Period:
    return Period(since=NOW - days * DAY, until=NOW)


@pytest.fixture(scope="module")
def chosen(client):
    """Make three investigations; return the visits of those that are chosen."""
    facility = client.search("Facility")[0]
    types = client.search("InvestigationType")
    instruments = client.search("Instrument")[:2]
    for visit, ended, doi, its in (
        ("recent", NOW - 3 * DAY, None, instruments),
        ("old", NOW - 40 * DAY, "10.1/x", instruments[:1]),
        ("undated", None, None, ()),
    ):
        made = client.new(
            "Investigation",
            name="SELECTED",
            visitId=visit,
            title="T",
            facility=facility,
            type=types[0],
            doi=doi,
            startDate=ended and ended - DAY,
            endDate=ended,
            releaseDate=ended and ended + 3 * DAY,
        )
        made.investigationInstruments = [
            client.new("InvestigationInstrument", instrument=each) for each in its
        ]
        made.create()

    def chosen(lane, **selection):
        found = lane.inventory().selected(InvestigationSelection(**selection))
        return sorted(key.visit_id for key in found if key.name == "SELECTED")

    yield chosen
    client.deleteMany(client.search("Investigation [name = 'SELECTED']"))


def test_by_dates(lane, chosen):
    assert chosen(lane) == ["old", "recent", "undated"]
    assert chosen(lane, end=past(30)) == ["recent"]
    assert chosen(lane, end=past(50)) == ["old", "recent"]
    ages = Period(since=None, until=NOW - 30 * DAY)
    assert chosen(lane, end=ages) == ["old"]
    assert chosen(lane, start=past(4)) == ["recent"]
    # Both limits count: it is released just now.
    assert chosen(lane, release=past(1)) == ["recent"]
    assert chosen(lane, release=Period(since=None, until=NOW - DAY)) == ["old"]


def test_by_doi_type_and_instrument(lane, chosen, client):
    assert chosen(lane, doi=True) == ["old"]
    assert chosen(lane, doi=False) == ["recent", "undated"]
    kind = client.search("InvestigationType")[0].name
    assert len(chosen(lane, types=[kind, "none such"])) == 3
    assert chosen(lane, types=["none such"]) == []
    first, second = (each.name for each in client.search("Instrument")[:2])
    assert chosen(lane, instruments=[second]) == ["recent"]
    assert chosen(lane, instruments=[first, second]) == ["old", "recent"]
    assert chosen(lane, instruments=[first], end=past(30)) == ["recent"]


def test_each_is_told_once(lane, chosen):
    found = list(lane.inventory().selected(InvestigationSelection()))
    assert len(found) == len(set(found))
    assert InvestigationKey(name="SELECTED", visit_id="old") in found
