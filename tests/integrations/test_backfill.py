"""What ICAT holds already is listed for those who follow events."""

import pytest

from catalogue.conftest import new_investigation
from catalogue.plans import FACILITY
from icat_stream.catalogue import Scope
from icat_stream.config import Settings
from icat_stream.journal import StatedSnapshots
from icat_stream.records import Dataset, Plan
from icat_stream.repair import Backfill, Extent

CONSUMERS = {"s": {"handler": "statistics", "topics": ["t"]}}


@pytest.fixture
def ingest(lane, investigation):
    def ingest(name, visit=None):
        dataset = Dataset(investigation=visit or investigation, name=name, type="raw")
        return lane.apply(Plan(facility=FACILITY, datasets=(dataset,))).datasets[0].id

    return ingest


@pytest.fixture
def fill(lane):
    """Go through the catalogue without sending anything; return what was told."""

    def fill(extent, stated=None):
        places, unstated = [], []
        filling = Backfill(
            Settings(facility=FACILITY, consumers=CONSUMERS),
            "s",
            lane.inventory(),
            stated=stated,
            progress=lambda last, count, waiting: places.append((last, count)),
            unstated=unstated.append,
        )
        return filling.run(extent, dry_run=True), places, unstated

    return fill


def test_it_ends_and_goes_on_where_it_was(lane, ingest, fill, investigation):
    numbers = [ingest(name) for name in "abc"]
    extent = {
        "kinds": ["investigation", "dataset"],
        "investigation": investigation.name,
    }
    count, places, _ = fill(Extent(**extent))
    assert count == 4
    (last, _) = places[-1]
    assert (last.kind, last.id, str(last)) == (
        "dataset",
        numbers[-1],
        f"dataset {investigation}/c",
    )
    assert fill(Extent(**extent, after=("dataset", numbers[0])))[0] == 2
    assert fill(Extent(**extent, after=("dataset", numbers[2])))[0] == 0
    assert fill(Extent(**extent, visit="none"))[0] == 0


def test_objects_are_named_as_events_name_them(lane, ingest, investigation, client):
    number = ingest("a")
    scope = Scope(investigation=investigation.name)
    (found,) = lane.inventory().objects("dataset", scope, since=None, after=0)
    (visit,) = lane.inventory().objects("investigation", scope, since=None, after=0)
    assert (found.id, found.name, found.investigation) == (number, "a", investigation)
    assert found.investigation_id == visit.id
    users = {each.name for each in client.search("User")}
    listed = lane.inventory().objects("user", Scope(), since=None, after=0)
    assert {each.name for each in listed} == users


def test_what_nobody_stated_is_listed(fill, investigation, client):
    other = new_investigation(client)
    extent = Extent(kinds=["user", "investigation"], investigation=investigation.name)
    _, _, unstated = fill(extent, StatedSnapshots(None, FACILITY))
    assert [str(each) for each in unstated] == [f"investigation {investigation}"]
    _, _, unstated = fill(
        Extent(kinds=["user", "investigation"]), StatedSnapshots(None, FACILITY)
    )
    told = {str(each) for each in unstated}
    assert f"investigation {other}" in told
    assert {f"user {each.name}" for each in client.search("User")} <= told
    assert fill(extent)[2] == []
