"""An entry may name any location: it gets at no file that another one has."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import icat
import pytest
from icat.ids import DataSelection, IDSClient

from .conftest import Site, start_service
from .test_calls import put, register
from .two_levels import Service, service

pytestmark = pytest.mark.facility
ALIASES = {
    "a point": "{folder}/./{name}",
    "a point before": "./{folder}/{name}",
    "a point after": "{folder}/{name}/.",
    "two slashes": "{folder}//{name}",
    "a slash after": "{folder}/{name}/",
    "there and back": "{folder}/../{last}/{name}",
    "over nothing": "{folder}/nothing/../{name}",
    "absolute, two slashes": "{root}//{folder}/{name}",
    "absolute, there and back": "{root}/../{top}/{folder}/{name}",
    "a linked folder": "linked/{name}",
    "a linked file": "linked-{name}",
}
EXACT = {"as it is": "{folder}/{name}", "absolute": "{root}/{folder}/{name}"}


@pytest.fixture(scope="module")
def jdoe(site: Site) -> Any:
    return site.login("db", "jdoe")


@pytest.fixture
def thief(site: Site, dataset: Any, jdoe: Any) -> Iterator[Any]:
    """Return somebody's client who may do everything to one dataset and no other."""
    mine = f"WHERE ds.id = {dataset.id}"
    rules = [
        site.client.new("Rule", what=f"SELECT {what} {mine}", crudFlags="CRUD")
        for what in ("ds FROM Dataset ds", "df FROM Datafile df JOIN df.dataset ds")
    ]
    for rule in rules:
        rule.create()
    yield jdoe
    site.client.deleteMany(rules)


@pytest.fixture
def victim(site: Site, request: pytest.FixtureRequest) -> Any:
    dataset = site.client.new(
        "Dataset",
        name=f"{request.node.name} (theirs)"[:200],
        type=site.client.search("DatasetType")[0],
        investigation=site.client.search("Investigation")[0],
    )
    dataset.create()
    return dataset


def spelled(site: Site, form: str, location: str) -> str:
    folder, name = location.rsplit("/", 1)
    for link, target in (("linked", folder), (f"linked-{name}", location)):
        (site.data / link).unlink(missing_ok=True)
        (site.data / link).symlink_to(site.data / target)
    return form.format(
        folder=folder,
        last=folder.rsplit("/", 1)[1],
        name=name,
        root=site.data,
        top=site.data.name,
    )


@pytest.mark.parametrize("form", ALIASES.values(), ids=ALIASES)
def test_a_file_has_one_location(
    site: Site, dataset: Any, nexus: Any, thief: Any, victim: Any, form: str
) -> None:
    theirs = put(site, victim, nexus, "a", b"theirs")
    mine = thief.new("Datafile", name="a", dataset=dataset)
    mine.location = spelled(site, form, theirs.location)
    mine.create()
    for selection in ([mine], [dataset]):
        with pytest.raises(icat.IDSInsufficientPrivilegesError, match="is not the one"):
            thief.getData(selection)
    thief.deleteData([mine])
    assert site.client.getData([theirs]).read() == b"theirs"


@pytest.mark.parametrize("form", EXACT.values(), ids=EXACT)
def test_another_entrys_file_stays_however_it_is_spelled(
    site: Site, dataset: Any, nexus: Any, thief: Any, victim: Any, form: str
) -> None:
    theirs = put(site, victim, nexus, "a", b"theirs")
    mine = thief.new("Datafile", name="a", dataset=dataset)
    mine.location = spelled(site, form, theirs.location)
    mine.create()
    # The thief sees neither the other entry nor its dataset.
    assert thief.search(f"Datafile [id={theirs.id}]") == []
    thief.deleteData([mine])
    assert site.client.getData([theirs]).read() == b"theirs"
    # And the other way round: who named it otherwise keeps it, too.
    mine = thief.new("Datafile", name="b", dataset=dataset, location=mine.location)
    mine.create()
    site.client.deleteData([theirs])
    assert (site.data / theirs.location).read_bytes() == b"theirs"


def test_without_a_reader_nothing_is_deleted(
    site: Site, dataset: Any, nexus: Any, thief: Any, victim: Any
) -> None:
    theirs = put(site, victim, nexus, "a", b"theirs")
    mine = thief.new("Datafile", name="a", dataset=dataset, location=theirs.location)
    mine.create()
    child, url = start_service(
        site.folder,
        "blind",
        icat={"url": site.icat_url},
        listen="127.0.0.1:0",
        main_storage={"root": str(site.data)},
    )
    try:
        ids = IDSClient(url, thief.sessionId)
        with pytest.raises(icat.IDSNotImplementedError, match="no reader account"):
            ids.delete(DataSelection([mine]))
    finally:
        child.stop()
    assert thief.search(f"Datafile [id={mine.id}]")
    assert site.client.getData([theirs]).read() == b"theirs"


@pytest.fixture(scope="module", params=["dataset", "datafile"])
def two_levels(site: Site, request: pytest.FixtureRequest) -> Iterator[Service]:
    with service(site, f"aliases-{request.param}", storage_unit=request.param) as made:
        yield made


@pytest.mark.parametrize(
    "form", [*EXACT.values(), "{folder}/./{name}", "{folder}//{name}"]
)
def test_main_storages_copy_stays_with_two_levels(
    site: Site, two_levels: Service, form: str
) -> None:
    made = two_levels
    theirs, [file] = made.registered(f"theirs {form}", a=b"theirs")
    location = made.location(file)
    mine = made.dataset(f"mine {form}")
    folder, name = location.rsplit("/", 1)
    spelling = form.format(folder=folder, name=name, root=made.main)
    entry = register(site, mine, "a", spelling)
    selection = DataSelection([mine])
    for ask in (made.ids.archive, made.ids.restore, made.ids.write, made.ids.archive):
        with suppress(icat.IDSInsufficientPrivilegesError):
            ask(selection)
        made.idle()
    assert (made.main / location).read_bytes() == b"theirs"
    try:
        made.ids.delete(DataSelection([entry]))
    except (icat.IDSInsufficientPrivilegesError, icat.IDSDataNotOnlineError):
        site.client.delete(entry)
    made.idle()
    assert made.get(datafileIds=file) == b"theirs"
    assert made.status(theirs) == "ONLINE"
