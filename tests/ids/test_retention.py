"""What may leave the disk, with an archive behind the data service."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from icat.ids import DataSelection, IDSClient

from icat_stream.catalogue import Scope
from icat_stream.config import IdsSettings, JournalSettings
from icat_stream.ids import Ids
from icat_stream.journal import Journal
from icat_stream.records import Dataset, Plan
from icat_stream.repair import RetentionReport, RetentionRules
from icat_stream.sandbox.children import Child
from icat_stream.sandbox.folder import Folder
from plugins.commands import Commands, Done

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


@pytest.fixture(scope="module")
def config(site: Site, two_levels, tmp_path_factory) -> Path:
    """Of a program that carries plans out as root, with a journal."""
    url, folder = two_levels
    file = tmp_path_factory.mktemp("retention") / "config.yaml"
    journal = f"sqlite:///{file.with_name('journal.db')}"
    values = {
        "facility": FACILITY,
        "icat": {"url": site.icat, "username": "root", "password": "secret"},
        "ids": {"url": url, "location": {"root": str(folder.data)}},
        "files": {"roots": [str(folder.data)]},
        "journal": {"url": journal},
        "consumers": {"files": {"handler": "file_written", "topics": ["files"]}},
    }
    file.write_text(yaml.safe_dump(values))
    for user, password in (("root", "secret"), ("idsreader", "reads")):
        file.with_name(user).write_text(password)
    with closing(Journal(JournalSettings(url=journal))) as made:
        made.create()
    return file


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    commands = Commands("icat_stream.app.pipeline", "icat_stream.repair.archiver")
    yield commands
    commands.close()


@pytest.fixture
def retention(commands, config) -> Callable[..., Done]:
    def retention(name: str, *arguments: object, **extra: str) -> Done:
        given = ("retention", name, "-c", str(config), *map(str, arguments))
        return commands.run("icat_stream", *given, timeout=240, **extra)

    return retention


@pytest.fixture
def approve(retention, config):
    def approve(plan: Path, user: str) -> Done:
        password = config.with_name(user)
        why = ("--reason", "the disk is full", "--yes", "--password-file", password)
        return retention("approve", plan, "--user", user, *why)

    return approve


@pytest.fixture(scope="module")
def _approvers(site: Site) -> None:
    """Make the group that root and another one are in; a third one is not."""
    new = site.client.new
    group = new("Grouping", name="approvers")
    group.create()
    for name in ("simple/idsreader", "simple/root"):
        user = new("User", name=name)
        user.create()
        new("UserGroup", grouping=group, user=user).create()


@pytest.fixture
def planned(retention, ingest, investigation, tmp_path):
    """Return a plan of three datasets, and their ids."""
    numbers = {name: ingest(name) for name in ("one", "two", "three")}
    plan = tmp_path / "plan.jsonl"
    rules = ("--ended", "100d", "--untouched", "0d", "--plan", plan)
    done = retention("report", *rules, "--investigation", investigation.name)
    assert done.code == 0, done.err
    assert "3 of 3 datasets" in done.err
    return plan, numbers


def states(site, url, numbers):
    client = IDSClient(url, sessionId=site.client.sessionId)
    return {
        name: client.getStatus(DataSelection({"datasetIds": [number]}))
        for name, number in numbers.items()
    }


@pytest.mark.usefixtures("_approvers")
def test_an_approved_plan_is_archived_though_it_is_killed(
    retention, approve, planned, site, two_levels, config
):
    plan, numbers = planned
    refused = retention("archive", plan)
    assert refused.code == 3
    assert "nobody has approved" in refused.err
    executor = approve(plan, "root")
    assert executor.code == 3
    assert "somebody else has to approve" in executor.err
    assert retention("archive", plan).code == 3
    approved = approve(plan, "idsreader")
    assert approved.code == 0, approved.err
    assert "approved by simple/idsreader" in approved.out
    # What changes after the plan was made stays.
    (row,) = site.client.search(f"Dataset d INCLUDE 1 [id = {numbers['two']}]")
    row.description = "somebody works on it"
    row.update()
    time.sleep(0.01)

    killed = retention(
        "archive", plan, "--batch", "1", ICAT_STREAM_FAULT="retention-asked"
    )
    assert killed.code == -9
    done = retention("archive", plan, "--batch", "1", "--output", "json")
    assert done.code == 0, done.err
    found = {each["dataset_id"]: each for each in done.lines}
    assert {name: found[number]["state"] for name, number in numbers.items()} == {
        "one": "archived",
        "two": "skipped",
        "three": "archived",
    }
    assert "changed since the plan was made" in found[numbers["two"]]["reason"]
    url, _ = two_levels
    assert states(site, url, numbers) == {
        "one": "ARCHIVED",
        "two": "ONLINE",
        "three": "ARCHIVED",
    }
    again = retention("archive", plan, "--output", "json")
    assert (again.code, again.out) == (0, "")
    assert "2 archived, 1 skipped of 3 datasets" in again.err
    url = f"sqlite:///{config.with_name('journal.db')}"
    with closing(Journal(JournalSettings(url=url))) as journal:
        acts = [each for each in journal.audit.newest(50) if each.records == 3]
    done = [(a.action, a.user, a.ended_at is not None) for a in reversed(acts)]
    assert done == [
        ("approve", "simple/idsreader", True),
        ("archive", "simple/root", False),
        ("archive", "simple/root", True),
        ("archive", "simple/root", True),
    ]
    assert "approved by simple/idsreader: the disk is full" in acts[0].reason


def test_only_members_approve(retention, approve, planned, site, tmp_path, config):
    plan, _ = planned
    other = config.with_name("other.yaml")
    values = yaml.safe_load(config.read_text())
    other.write_text(yaml.safe_dump(values | {"retention": {"approvers": "nobody"}}))
    refused = retention("approve", plan, *_by("idsreader", config), "-c", other)
    assert refused.code == 3
    assert "is no member of the grouping “nobody”" in refused.err
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed")
    given = ("--user", "idsreader", "--reason", "x", "--yes", "--password-file", wrong)
    guessed = retention("approve", plan, *given)
    assert guessed.code == 5
    assert "refuses the login" in guessed.err
    assert "guessed" not in guessed.err


def _by(user, config):
    given = ("--user", user, "--reason", "x", "--yes", "--password-file")
    return (*given, config.with_name(user))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"bytes": 3', '"bytes": 4', 1),
        lambda text: "".join(text.splitlines(keepends=True)[:-1]),
        lambda text: "".join(text.splitlines(keepends=True)[1:]),
        lambda text: text + text,
        lambda text: text.replace('"files": 1', '"files":  1', 1),
        lambda text: "[1]\n" + text,
        lambda text: "",
        lambda text: "no plan",
    ],
)
def test_a_plan_that_was_changed_is_refused(retention, config, tmp_path, spoil):
    rows = [
        {"retention_plan": 1, "facility": FACILITY, "made": NOW.isoformat()},
        {"dataset_id": 1, "name": "a/b", "files": 1, "bytes": 3, "changed": None},
    ]
    rows[0]["rules"] = {"ended": 1.0, "untouched": 1.0, "used": 1.0, "hold": None}
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    digest = hashlib.sha256(text.encode()).hexdigest()
    text += json.dumps({"datasets": 1, "bytes": 3, "sha256": digest}) + "\n"
    plan = tmp_path / "plan.jsonl"
    plan.write_text(text)
    assert "nobody has approved" in retention("archive", plan).err
    plan.write_text(spoil(text))
    refused = retention("archive", plan)
    assert refused.code == 2, refused.err
    assert str(plan) in refused.err
