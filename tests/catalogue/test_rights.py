"""An account that may not read what others refer to is told so, by the right.

ICAT leaves what may not be read out of what a query includes, without a word.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import icat.client
import pytest
import yaml

from icat_stream.catalogue import Catalogue, CatalogueSession
from icat_stream.config import IcatSettings, PolicySettings, Settings
from icat_stream.handlers import (
    Datasets,
    FileWritten,
    HandlerContext,
    Investigations,
    Users,
)
from icat_stream.icat import FacilityMissing, IcatFault
from icat_stream.integrations import (
    Checksums,
    EventHandler,
    Gallery,
    Lineage,
    Statistics,
)
from icat_stream.messages import EventMessage
from icat_stream.nexus import NexusReader
from icat_stream.records import (
    Applied,
    Failure,
    Investigation,
    InvestigationKey,
    Member,
    OutcomeKind,
    Parameter,
    Plan,
    Sample,
    Shift,
    TransientFailure,
    User,
)
from plugins.icat import Server, start_icat

from .conftest import fill
from .plans import FACILITY, START, full

RIGHTS = Path(__file__).parents[2] / "docs" / "icat-rights.md"
PASSWORD = "writes"
_NUMBERS = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # Where the database keeps the totals of files, the statistics need fewer rights.
    folder = tmp_path_factory.mktemp("rights")
    yield from start_icat(folder, "--no-triggers", writer=PASSWORD)


@pytest.fixture(scope="module")
def root(server: Server) -> Iterator[Any]:
    """An unmodified python-icat that may do everything, on a filled server."""
    client = icat.client.Client(server.url)
    client.login("simple", {"username": "root", "password": "secret"})
    fill(client)
    facility = client.assertedSearch("SELECT f FROM Facility f")[0]
    client.new("FacilityCycle", name="2024-1", facility=facility).create()
    client.new(
        "ParameterType",
        name="code",
        units="",
        valueType="STRING",
        facility=facility,
        applicableToInvestigation=True,
        applicableToSample=True,
    ).create()
    user = client.new("User", name="simple/writer")
    user.create()
    client.new("User", name="ahau").create()
    group = client.new("Grouping", name="writers")
    group.userGroups.append(client.new("UserGroup", user=user))
    group.create()
    yield client
    client.logout()


@pytest.fixture
def allowed(
    root: Any, server: Server
) -> Iterator[Callable[[list[tuple[str, str]]], CatalogueSession]]:
    """Make sessions of an account that may do so much and no more."""
    (group,) = root.search("SELECT g FROM Grouping g WHERE g.name = 'writers'")
    settings = IcatSettings(
        url=server.url, username="writer", password=PASSWORD, timeout=10.0
    )
    policies = PolicySettings(existing_datasets="update", removed_members="delete")
    sessions = []

    def make(rules: list[tuple[str, str]]) -> CatalogueSession:
        root.deleteMany(root.search("SELECT r FROM Rule r"))
        root.createMany(
            [
                root.new("Rule", what=what, crudFlags=flags, grouping=group)
                for what, flags in rules
            ]
        )
        sessions.append(Catalogue(settings, FACILITY, policies).new_session())
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()
    root.deleteMany(root.search("SELECT r FROM Rule r"))


def bring_dataset(root: Any, session: CatalogueSession) -> None:
    """Do what the handlers of datasets ask for: new, the same again, and changed."""
    name = f"R-{next(_NUMBERS):04}"
    facility = root.assertedSearch("SELECT f FROM Facility f")[0]
    kind = root.assertedSearch("SELECT t FROM InvestigationType t")[0]
    made = root.new(
        "Investigation",
        name=name,
        visitId="1",
        title="A",
        facility=facility,
        type=kind,
    )
    instrument = root.search("SELECT i FROM Instrument i WHERE i.name = 'DREHM'")[0]
    made.investigationInstruments.append(
        root.new("InvestigationInstrument", instrument=instrument)
    )
    made.create()
    assert session.investigations(name)
    assert session.spelling("Instrument", "DREHM")
    assert session.spelling("DatasetType", "raw")
    assert session.spelling("Technique", "diffraction")
    assert session.parameter_types("wavelength")
    assert session.formats("NeXus")
    key = InvestigationKey(name=name, visit_id="1")
    dataset = full(key)
    bring(session, dataset, OutcomeKind.INGESTED)
    bring(session, dataset, OutcomeKind.UNCHANGED)
    first, *others = dataset.parameters
    changed = replace(
        dataset,
        description="another",
        parameters=(replace(first, value=2.5), *others),
        datafiles=(replace(dataset.datafiles[0], description="another"),),
    )
    bring(session, changed, OutcomeKind.INGESTED)
    bring(session, changed, OutcomeKind.UNCHANGED)


def bring_user(root: Any, session: CatalogueSession) -> None:
    """Do what the handler of people asks for."""
    number = next(_NUMBERS)
    user = User(name=f"u{number}", account=f"u{number}", full_name="A B", groups=("g",))
    bring(session, user, OutcomeKind.INGESTED)
    bring(session, user, OutcomeKind.UNCHANGED)
    bring(
        session,
        replace(user, full_name="A C", groups=(), left_groups=("g",)),
        OutcomeKind.INGESTED,
    )


def bring_investigation(root: Any, session: CatalogueSession) -> None:
    """Do what the handler of proposals asks for."""
    number = next(_NUMBERS)
    planned = Investigation(
        investigation=InvestigationKey(name=f"S-{number:04}", visit_id="1"),
        title="T",
        type="experiment",
        start=START,
        instruments=("DREHM",),
        members=(Member(user="ahau", role="Participant"),),
        samples=(
            Sample(
                name="S",
                type="powder",
                parameters=(Parameter(name="code", units="", value="x"),),
            ),
        ),
        keywords=("salt",),
        parameters=(Parameter(name="code", units="", value="1"),),
        shifts=(Shift(start=START, end=START + timedelta(days=1)),),
        cycles=("2024-1",),
    )
    bring(session, planned, OutcomeKind.INGESTED)
    bring(session, planned, OutcomeKind.UNCHANGED)
    changed = replace(
        planned,
        title="U",
        instruments=(),
        members=(),
        keywords=(),
        shifts=(),
        cycles=(),
        parameters=(Parameter(name="code", units="", value="2"),),
        samples=(
            replace(
                planned.samples[0],
                parameters=(Parameter(name="code", units="", value="y"),),
            ),
        ),
    )
    bring(session, changed, OutcomeKind.INGESTED)


FOLDER = Path(tempfile.gettempdir()).resolve()
FIGURES = ("__fileCount", "input_datasets", "input_datasetIds", "Gallery")


@cache
def reader() -> NexusReader:
    return NexusReader([FOLDER], settle=0.0, workers=1)


@pytest.fixture(scope="module", autouse=True)
def closed_reader() -> Iterator[None]:
    yield
    reader().close()


def prepare(root: Any) -> InvestigationKey:
    """Make what those who follow events need, and an investigation of its own."""
    facility = root.assertedSearch("SELECT f FROM Facility f")[0]
    if not root.search("Application"):
        root.new("Application", name="a", version="1.0", facility=facility).create()
        for name in FIGURES:
            root.new(
                "ParameterType",
                name=name,
                units="",
                valueType="STRING",
                facility=facility,
                applicableToDataset=True,
                applicableToInvestigation=True,
                applicableToSample=True,
            ).create()
    key = InvestigationKey(name=f"E-{next(_NUMBERS):04}", visit_id="1")
    kind = root.assertedSearch("SELECT t FROM InvestigationType t")[0]
    made = root.new("Investigation", name=key.name, visitId="1", title="A")
    made.facility, made.type = facility, kind
    made.create()
    return key


def make_dataset(
    root: Any, key: InvestigationKey, name: str, location: str = "", **parameters: str
) -> int:
    (investigation,) = root.search(f"Investigation [name = '{key.name}']")
    dataset = root.new("Dataset", name=name, investigation=investigation)
    dataset.complete = False
    dataset.location = location or f"/data/{key.name}/{name}"
    dataset.type = root.search("DatasetType")[0]
    samples = root.search(f"Sample [investigation.id = {investigation.id}]")
    if not samples:
        samples = [root.new("Sample", name="s", investigation=investigation)]
        samples[0].create()
    dataset.sample = samples[0]
    for type_name, value in parameters.items():
        (type_,) = root.search(f"ParameterType [name = '{type_name}']")
        dataset.parameters.append(
            root.new("DatasetParameter", type=type_, stringValue=value)
        )
    file = f"{Path(location).name}/f"
    dataset.datafiles = [root.new("Datafile", name="f", fileSize=3, location=file)]
    dataset.create()
    return int(dataset.id)


def follow(
    session: CatalogueSession,
    handler: type[EventHandler[Any]],
    dataset: int,
    **options: Any,
) -> Applied:
    """Have an event handled; return what became of it, which has to be something."""
    settings = Settings(
        facility=FACILITY,
        files={"roots": [FOLDER]},
        ids={"location": {"root": FOLDER}},
        consumers={"e": {"handler": "x:Y", "topics": ["t"]}},
    )
    made = handler(HandlerContext(settings=settings, files=reader(), options=options))
    found = session.datasets(ids=[dataset])
    assert found
    event = EventMessage(
        kind="dataset",
        outcome="ingested",
        facility=FACILITY,
        investigation=found[0].investigation,
        dataset=found[0].name,
        dataset_id=dataset,
    )
    plan = made.plan(event, session)
    assert isinstance(plan, Plan), plan
    return session.apply(plan)


def follow_statistics(root: Any, session: CatalogueSession) -> None:
    """Do what `statistics` is asked for: figures that are new, the same, and others."""
    key = prepare(root)
    options = {
        "sizes": "write",
        "parameters": ["dataset", "investigation", "sample"],
        "names": {
            name: None for name in Statistics.Options.standard if name != "files"
        },
    }
    number = make_dataset(root, key, "a")
    for again in (OutcomeKind.INGESTED, OutcomeKind.UNCHANGED):
        assert follow(session, Statistics, number, **options).kind is again
    (dataset,) = root.search(f"Dataset [id = {number}]")
    root.new("Datafile", name="g", fileSize=4, dataset=dataset).create()
    found = follow(session, Statistics, number, **options)
    assert found.kind is OutcomeKind.INGESTED
    for owner in ("Dataset", "Investigation", "Sample"):
        where = {
            "Dataset": f"o.dataset.id = {number}",
            "Investigation": f"o.investigation.name = '{key.name}'",
            "Sample": f"o.sample.investigation.name = '{key.name}'",
        }[owner]
        query = f"SELECT o.stringValue FROM {owner}Parameter o WHERE {where}"
        assert root.search(query) == ["2"], owner


def follow_lineage(root: Any, session: CatalogueSession) -> None:
    """Do what `lineage` is asked for: links that are new, the same, others, none."""
    key = prepare(root)
    options = {
        "application": "a",
        "names": {
            name: None for name in Lineage.Options.standard if name != "input_ids"
        },
    }
    first, second = make_dataset(root, key, "a"), make_dataset(root, key, "b")
    made = make_dataset(root, key, "made", input_datasets=f"/data/{key.name}/a,b")
    for again in (OutcomeKind.INGESTED, OutcomeKind.UNCHANGED):
        assert follow(session, Lineage, made, **options).kind is again
    root.deleteMany(root.search(f"Dataset [id = {first}]"))
    third = make_dataset(root, key, "a")
    # Two at the same moment.
    (application,) = root.search("Application")
    mark = f"icat-stream dataset {made}"
    root.new("Job", application=application, arguments=mark).create()
    assert follow(session, Lineage, made, **options).kind is OutcomeKind.INGESTED
    query = f"SELECT COUNT(j) FROM Job j WHERE j.arguments = '{mark}'"
    assert root.search(query) == [1]
    query = "SELECT d.dataset.id FROM DataCollectionDataset d WHERE"
    query += " d.dataCollection.id IN (SELECT j.inputDataCollection.id FROM Job j)"
    assert {second, third} <= set(root.search(query))
    root.deleteMany(root.search(f"Dataset [id IN ({second}, {third})]"))
    assert follow(session, Lineage, made, **options).kind is OutcomeKind.INGESTED
    query = f"SELECT COUNT(p) FROM DatasetParameter p WHERE p.dataset.id = {made}"
    assert root.search(query) == [1]


def follow_gallery(root: Any, session: CatalogueSession) -> None:
    """Do what `gallery` is asked for: a picture that is new, the same, another."""
    key = prepare(root)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        picture = folder / "a.png"
        picture.write_bytes(b"\x89PNG\r\n\x1a\n")
        number = make_dataset(root, key, "a", str(folder), Gallery="a.png")
        options = {"paths": "Gallery"}
        options["datafile_format"] = {"name": "NeXus", "version": "1.0"}
        for again in (OutcomeKind.INGESTED, OutcomeKind.UNCHANGED):
            assert follow(session, Gallery, number, **options).kind is again
        picture.write_bytes(b"\x89PNG\r\n\x1a\nmore")
        found = follow(session, Gallery, number, **options)
        assert found.kind is OutcomeKind.INGESTED


def follow_checksums(root: Any, session: CatalogueSession) -> None:
    """Do what `checksums` is asked for."""
    key = prepare(root)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "f").write_bytes(b"abc")
        number = make_dataset(root, key, "a", str(folder))
        found = follow(session, Checksums, number)
        assert found.kind is OutcomeKind.INGESTED


def bring(session: CatalogueSession, thing: Any, kind: OutcomeKind) -> None:
    plan = Plan(
        facility=FACILITY,
        users=(thing,) if isinstance(thing, User) else (),
        investigations=(thing,) if isinstance(thing, Investigation) else (),
        datasets=() if isinstance(thing, User | Investigation) else (thing,),
    )
    assert session.apply(plan).kind is kind, (thing, kind)


# With these all goes well: whatever an object may be asked to do.
ENTITIES = """Facility Investigation InvestigationType InvestigationInstrument
 Instrument DatasetType DatafileFormat ParameterType PermissibleStringValue Technique
 Sample SampleType Dataset Datafile DatasetParameter DatafileParameter SampleParameter
 DatasetInstrument DatasetTechnique User UserGroup Grouping InvestigationUser Keyword
 InvestigationParameter Shift FacilityCycle InvestigationFacilityCycle""".split()


@pytest.mark.parametrize(
    ("bring_all", "hidden"),
    [
        (bring_dataset, "Instrument"),
        (bring_dataset, "Technique"),
        (bring_dataset, "ParameterType"),
        (bring_dataset, "DatasetType"),
        (bring_investigation, "User"),
        (bring_user, "Grouping"),
        (bring_investigation, "Instrument"),
    ],
)
def test_what_may_not_be_read_any_more_is_named(root, allowed, bring_all, hidden):
    rules = [(entity, "CRUD") for entity in ENTITIES]
    session = allowed(rules)
    bring_all(root, session)
    # What was looked up is believed for a while; what is there is read anew.
    root.deleteMany(root.search(f"SELECT r FROM Rule r WHERE r.what = '{hidden}'"))
    with pytest.raises(TransientFailure, match=f"the right READ on {hidden}"):
        bring_all(root, session)


HANDLERS = {
    "datasets": bring_dataset,
    "users": bring_user,
    "investigations": bring_investigation,
    "statistics": follow_statistics,
    "lineage": follow_lineage,
    "gallery": follow_gallery,
    "checksums": follow_checksums,
}


def blocks() -> dict[str, str]:
    """Return the YAML of the documentation, by what it is for."""
    found = re.findall(
        r"```yaml\n(# For: (\w+)\n.*?)```", RIGHTS.read_text(), re.DOTALL
    )
    return {name: text for text, name in found}


def test_the_documentation_says_what_the_handlers_say():
    said = {
        "datasets": (Datasets, FileWritten),
        "users": (Users,),
        "investigations": (Investigations,),
        "statistics": (Statistics,),
        "lineage": (Lineage,),
        "gallery": (Gallery,),
        "checksums": (Checksums,),
    }
    for name, handlers in said.items():
        for handler in handlers:
            assert dict(documented(name)) == dict(handler.rights)


def test_rights_that_are_lacking_are_named(root, allowed):
    rules = dict(documented("datasets"))
    session = allowed(list(rules.items()))
    assert session.rights_lacking(rules) == []
    root.deleteMany(root.search("SELECT r FROM Rule r WHERE r.what = 'Technique'"))
    wanted = rules | {"Datafile": "CRUD"}
    lacking = session.rights_lacking(wanted)
    assert lacking == ["READ Technique", "DELETE Datafile"]


def documented(name: str) -> list[tuple[str, str]]:
    rules = yaml.safe_load(blocks()[name])["rule"].values()
    return [(rule["what"], rule["crudFlags"]) for rule in rules]


@pytest.mark.parametrize("name", HANDLERS)
def test_the_documented_rights_are_enough(root, allowed, name):
    HANDLERS[name](root, allowed(documented(name)))


@pytest.mark.parametrize("name", HANDLERS)
def test_each_documented_right_is_needed(root, allowed, name):
    rules = documented(name)
    unneeded = []
    for missing in rules:
        try:
            HANDLERS[name](root, allowed([rule for rule in rules if rule != missing]))
        except (Failure, IcatFault, FacilityMissing, AssertionError):
            continue
        unneeded.append(missing)
    assert unneeded == []


def test_the_documented_rights_can_be_ingested(tmp_path, root, server):
    assert set(blocks()) == {"all", *HANDLERS}
    login = f"url = {server.url}\nauth = simple\nusername = root\npassword = secret\n"
    config = tmp_path / "icat.cfg"
    config.write_text(f"[site]\n{login}")
    file = tmp_path / "rights.yaml"
    file.write_text("---\n".join(blocks().values()))
    script = Path(sys.executable).parent / "icatingest.py"
    command = [sys.executable, "-W", "ignore", script, "-c", config, "-s", "site"]
    done = subprocess.run(
        [*command, "-f", "YAML", "-i", file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rules = root.search(
        "SELECT r FROM Rule r WHERE r.grouping.name = 'icatstream' INCLUDE r.grouping"
    )
    assert {(r.what, r.crudFlags) for r in rules} == {
        rule for name in HANDLERS for rule in documented(name)
    }
    members = root.search("SELECT u FROM User u JOIN u.userGroups g JOIN g.grouping p")
    assert "simple/ingest" in {member.name for member in members}
    root.deleteMany(rules)
