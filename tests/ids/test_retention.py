"""What may leave the disk, with an archive behind the data service."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from icat.ids import DataSelection, IDSClient

from icat_stream.catalogue import Scope
from icat_stream.config import IdsSettings
from icat_stream.ids import Ids
from icat_stream.records import Dataset, Plan
from icat_stream.repair import RetentionReport, RetentionRules
from icat_stream.sandbox.children import Child
from icat_stream.sandbox.folder import Folder

from .conftest import FACILITY, Site

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
# All that is made here is made just now.
RULES = RetentionRules(ended=100 * DAY, untouched=-DAY, used=DAY, hold="hold")


@pytest.fixture(scope="module")
def two_levels(site: Site, tmp_path_factory) -> Iterator[tuple[str, Folder]]:
    folder = Folder(tmp_path_factory.mktemp("levels"))
    folder.make()
    archive = folder.data.parent / "archive"
    archive.mkdir()
    config = folder.run / "ids.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "icat": {"url": site.icat},
                "listen": "127.0.0.1:0",
                "main_storage": {"root": str(folder.data)},
                "archive_storage": {"root": str(archive)},
                "reader": {
                    "auth": "simple",
                    "username": "idsreader",
                    "password": "reads",
                },
            }
        )
    )
    child = Child("ids", ["-m", "icat_stream.dataservice", "--config", config], folder)
    yield child.ready()["url"], folder
    child.stop()


@pytest.fixture
def report(lane, two_levels, investigation):
    """Return the rows of the test's own investigation, by dataset."""
    url, _ = two_levels
    levels = Ids(IdsSettings(url=url, mode="register", timeout=10.0)).client(lane)

    def report(levels=levels, **changes):
        fields = {n: getattr(RULES, n) for n in ("ended", "untouched", "used", "hold")}
        rules = RetentionRules(**fields | changes)
        made = RetentionReport(lane.inventory(), levels, rules, NOW)
        rows = made.rows(Scope(investigation=investigation.name))
        return {row.dataset.name: row for row in rows}

    return report


@pytest.fixture
def ingest(lane, site, two_levels, investigation):
    (found,) = site.client.search(
        f"Investigation i INCLUDE i.type, i.facility [name = '{investigation.name}']"
    )
    found.endDate = NOW - 200 * DAY
    found.update()
    _, folder = two_levels

    def ingest(name, *, complete=True, location=True, checksum="xxh3_64:0"):
        dataset = Dataset(investigation=investigation, name=name, type="raw")
        applied = lane.apply(Plan(facility=FACILITY, datasets=(dataset,)))
        number = applied.datasets[0].id
        path = f"{investigation.name}/{name}"
        (folder.data / path).parent.mkdir(exist_ok=True)
        (folder.data / path).write_bytes(b"abc")
        (row,) = site.client.search(f"Dataset d INCLUDE 1 [id = {number}]")
        row.complete = complete
        row.update()
        file = site.client.new("Datafile", name=name, fileSize=3, dataset=row)
        file.location = path if location else None
        file.checksum = checksum
        file.create()
        return number

    return ingest


def test_a_candidate_until_it_is_in_the_archive(report, ingest, two_levels, site):
    number = ingest("good")
    row = report()["good"]
    assert row.reasons == ()
    assert (row.files, row.size) == (1, 3)
    assert json.loads(json.dumps(row.values))["candidate"] is True
    url, _ = two_levels
    client = IDSClient(url, sessionId=site.client.sessionId)
    client.archive(DataSelection({"datasetIds": [number]}))
    deadline = time.monotonic() + 60
    while not (reasons := report()["good"].reasons):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert reasons == ("it is in the archive only",)
    assert report(levels=None)["good"].reasons == (
        "there is no data service with an archive",
    )


def test_what_has_to_stay_says_why(report, ingest, site, lane, investigation):
    facility = site.client.search("Facility")[0]
    new = site.client.new
    type_ = new("ParameterType", name="hold", units="", facility=facility)
    type_.valueType, type_.applicableToDataset = "STRING", True
    type_.create()
    numbers = {
        name: ingest(name, **fields)
        for name, fields in {
            "good": {},
            "open": {"complete": False},
            "nowhere": {"location": False},
            "unchecked": {"checksum": None},
            "held": {},
            "used": {},
        }.items()
    }
    dataset = Dataset(investigation=investigation, name="empty", type="raw")
    lane.apply(Plan(facility=FACILITY, datasets=(dataset,)))
    (held,) = site.client.search(f"Dataset [id = {numbers['held']}]")
    new("DatasetParameter", type=type_, dataset=held, stringValue="yes").create()
    (used,) = site.client.search(f"Dataset [id = {numbers['used']}]")
    application = new("Application", name="a", version="1", facility=facility)
    application.create()
    inputs = new("DataCollection")
    inputs.dataCollectionDatasets = [new("DataCollectionDataset", dataset=used)]
    inputs.jobsAsInput = [new("Job", application=application)]
    inputs.create()
    reasons = {name: "; ".join(row.reasons) for name, row in report().items()}
    assert reasons.pop("used").startswith("input of job ")
    assert reasons == {
        "good": "",
        "open": "it is not complete",
        "nowhere": "1 of its files have no location",
        "unchecked": "1 of its files have no checksum",
        "held": "on hold: it has the parameter hold",
        "empty": "it has no files",
    }
    assert report(used=-DAY)["used"].reasons == ()
    assert report(untouched=DAY)["good"].reasons == (f"it changed {NOW:%Y-%m-%d}",)
    assert report(ended=300 * DAY) == {}
