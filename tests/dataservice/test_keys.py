"""Who may put names no file of others: signed locations, and entries by the service."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import icat
import pytest
from icat.ids import DataSelection, IDSClient

from icat_stream.catalogue import Catalogue
from icat_stream.config import IcatSettings, IdsSettings, PolicySettings
from icat_stream.dataservice.check import Check, Kind, Repairs
from icat_stream.dataservice.settings import load
from icat_stream.ids import Ids
from icat_stream.records import (
    Datafile,
    Dataset,
    InvestigationKey,
    LocationKey,
    Plan,
    Rejection,
)

from .conftest import Site
from .two_levels import Service, service

pytestmark = pytest.mark.facility
KEY = "a key that nobody guesses"


def test_signed_as_by_ids_server() -> None:
    # From the tests of icat.utils, which ids.server signs with.
    signed = "here 20D7BD6C934147BE744071DE756EB107931AC13466530F6CE9C970B07FC1C2A5"
    key = LocationKey("secret")
    assert key.signed(42, "here") == signed
    assert key.location(42, signed) == "here"
    for id_, wrong in ((43, signed), (42, "here"), (42, ""), (42, signed.lower())):
        assert key.location(id_, wrong) is None
    assert key.location(7, key.signed(7, "a b ü")) == "a b ü"


@pytest.mark.parametrize("key", [KEY, None])
def test_what_the_ingestor_registers_is_served(keyed: Service, key: str | None) -> None:
    path = keyed.main / "registered" / "a"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"in its place")
    settings = IcatSettings(url=keyed.site.icat_url, username="root", password="r")
    catalogue = Catalogue(
        settings,
        "EXAMPLE",
        PolicySettings(),
        location_key=None if key is None else LocationKey(key),
    )
    lane = catalogue.new_session()
    investigation = keyed.site.client.search("Investigation")[0]
    applied = lane.apply(
        Plan(
            facility="EXAMPLE",
            datasets=(
                Dataset(
                    investigation=InvestigationKey(
                        name=investigation.name, visit_id=investigation.visitId
                    ),
                    name=f"{keyed.name} registered {key}",
                    type=keyed.site.client.search("DatasetType")[0].name,
                    datafiles=(Datafile(name="a", location="registered/a", size=12),),
                ),
            ),
        )
    )
    [file] = keyed.site.client.search(
        f"SELECT f.id FROM Datafile f WHERE f.dataset.id = {applied.datasets[0].id}"
    )
    client = Ids(IdsSettings(url=keyed.url)).client(lane)
    assert client is not None
    if key is None:
        with pytest.raises(Rejection, match="a valid hash"):
            client.try_download(file)
    else:
        client.try_download(file)
        assert keyed.get(datafileIds=file) == b"in its place"
    lane.close()


@pytest.fixture(scope="module", params=["dataset", "datafile"])
def keyed(
    site: Site, tmp_path_factory: pytest.TempPathFactory, request: Any
) -> Iterator[Service]:
    file = tmp_path_factory.mktemp("key") / "key"
    file.write_text(f"{KEY}\n")
    unit = request.param
    with service(site, f"keyed {unit}", key_file=str(file), storage_unit=unit) as made:
        yield made


@pytest.fixture(scope="module")
def jdoe(site: Site) -> Any:
    return site.login("db", "jdoe")


@pytest.fixture
def allow(site: Site) -> Iterator[Any]:
    rules = []

    def allow(flags: str, what: str) -> None:
        rule = site.client.new("Rule", what=what, crudFlags=flags)
        rule.create()
        rules.append(rule)

    yield allow
    site.client.deleteMany(rules)


def path_of(made: Service, datafile: int) -> Path:
    return made.main / made.location(datafile).rpartition(" ")[0]


def test_what_is_put_is_signed_and_comes_back(keyed: Service) -> None:
    dataset = keyed.dataset("signed")
    file = keyed.put(dataset, "a", b"mine")
    location = keyed.location(file)
    plain, _, digest = location.rpartition(" ")
    expected = hashlib.sha256(f"{file}{plain}{KEY}".encode()).hexdigest().upper()
    assert digest == expected
    assert (keyed.main / plain).read_bytes() == b"mine"
    entry = keyed.site.client.get("Datafile INCLUDE 1", file)
    assert (entry.name, entry.fileSize) == ("a", 4)
    assert entry.datafileFormat.name == "NeXus"
    assert entry.dataset.id == dataset.id
    assert keyed.get(datafileIds=file) == b"mine"
    keyed.archive(dataset)
    assert not (keyed.main / plain).exists()
    keyed.ids.restore(DataSelection([dataset]))
    keyed.idle()
    assert keyed.get(datafileIds=file) == b"mine"
    keyed.ids.delete(DataSelection({"datafileIds": [file]}))
    keyed.idle()
    assert not (keyed.main / plain).exists()


def test_what_ids_server_put_is_served(keyed: Service) -> None:
    dataset, [file] = keyed.registered("elsewhere", a=b"there before")
    with pytest.raises(icat.IDSInsufficientPrivilegesError, match="a valid hash"):
        keyed.ids.getData(DataSelection({"datafileIds": [file]}))
    entry = keyed.site.client.get("Datafile INCLUDE 1", file)
    entry.location = LocationKey(KEY).signed(file, entry.location)
    entry.update()
    assert keyed.get(datafileIds=file) == b"there before"
    assert keyed.status(dataset) == "ONLINE"


def test_nobody_names_anothers_file(keyed: Service, jdoe: Any, allow: Any) -> None:
    theirs = keyed.put(keyed.dataset("theirs"), "a", b"theirs")
    signed = keyed.location(theirs)
    plain = signed.rpartition(" ")[0]
    mine = keyed.dataset("mine")
    allow("CRUD", f"SELECT ds FROM Dataset ds WHERE ds.id = {mine.id}")
    allow(
        "CRUD",
        f"SELECT df FROM Datafile df JOIN df.dataset ds WHERE ds.id = {mine.id}",
    )
    ids = IDSClient(keyed.url, jdoe.sessionId)
    own_key = LocationKey("a key of one's own")
    for number, location in enumerate((plain, signed, f"{plain} ", f" {signed}")):
        entry = jdoe.new("Datafile", name=f"{number}", dataset=mine, location=location)
        entry.create()
        if number == 0:
            entry.location = own_key.signed(entry.id, plain)
            entry.update()
        for call in (
            ids.getData,
            ids.delete,
            ids.archive,
            ids.restore,
            ids.write,
            ids.prepareData,
        ):
            with pytest.raises(icat.IDSInsufficientPrivilegesError, match="valid hash"):
                call(DataSelection([entry]))
        checking = Check(load(keyed.site.folder.run / f"{keyed.name}.yaml"))
        found = {f.id for f in checking.run(Repairs()) if f.kind is Kind.OUTSIDE}
        checking.close()
        assert entry.id in found
        jdoe.delete(entry)
    keyed.idle()
    assert path_of(keyed, theirs).read_bytes() == b"theirs"


def test_an_entry_that_cannot_be_signed_goes_again(
    keyed: Service, jdoe: Any, allow: Any
) -> None:
    dataset = keyed.dataset("no update")
    allow("R", "DatafileFormat")
    allow("R", f"SELECT ds FROM Dataset ds WHERE ds.id = {dataset.id}")
    allow(
        "CRD",
        f"SELECT df FROM Datafile df JOIN df.dataset ds WHERE ds.id = {dataset.id}",
    )
    before = keyed.files()
    nexus = keyed.site.client.search("DatafileFormat")[0]
    ids = IDSClient(keyed.url, jdoe.sessionId)
    with pytest.raises(icat.IDSInsufficientPrivilegesError, match="UPDATE access"):
        ids.put(io.BytesIO(b"x"), "a", dataset.id, nexus.id)
    assert keyed.site.client.search(f"Datafile <-> Dataset [id={dataset.id}]") == []
    assert keyed.files() == before


@pytest.fixture(scope="module")
def written(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    file = tmp_path_factory.mktemp("key") / "key"
    file.write_text(KEY)
    writer = {"auth": "simple", "username": "root", "password": "r"}
    with service(site, "written", writer=writer, key_file=str(file)) as made:
        yield made


def test_the_service_makes_the_entry(written: Service, jdoe: Any, allow: Any) -> None:
    dataset = written.dataset("jdoe's")
    nexus = written.site.client.search("DatafileFormat")[0]
    ids = IDSClient(written.url, jdoe.sessionId)
    allow("R", f"SELECT ds FROM Dataset ds WHERE ds.id = {dataset.id}")
    before = written.files()
    with pytest.raises(icat.IDSInsufficientPrivilegesError, match="UPDATE access"):
        ids.put(io.BytesIO(b"x"), "a", dataset.id, nexus.id)
    assert written.files() == before
    allow("U", f"SELECT ds FROM Dataset ds WHERE ds.id = {dataset.id}")
    file = written.site.client.get(
        "Datafile", int(ids.put(io.BytesIO(b"x"), "a", dataset.id, nexus.id))
    )
    assert file.createId == "simple/root"
    assert written.get(datafileIds=file.id) == b"x"
    # Directly in ICAT nobody needs to be able to create one.
    with pytest.raises(icat.ICATPrivilegesError):
        jdoe.new("Datafile", name="b", dataset=dataset, location="x").create()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), ("geheim", "12 letters or more"), ("", "12 letters")],
    ids=["absent", "guessed", "empty"],
)
def test_a_key_that_is_none(
    site: Site, start, tmp_path: Path, content: str | None, message: str
) -> None:
    (tmp_path / "main").mkdir()
    if content is not None:
        (tmp_path / "key").write_text(content)
    config = tmp_path / "ids.yaml"
    config.write_text(
        f"icat: {{url: '{site.icat_url}'}}\nlisten: 127.0.0.1:0\n"
        "main_storage: {root: main}\nkey_file: key\n"
    )
    ended = start(config)
    assert ended.code == 2
    assert message in ended.err
    assert "geheim" not in ended.err
