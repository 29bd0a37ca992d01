"""Names in other letters than the catalogue has them, by policy."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import icat.client
import pytest

from icat_stream.catalogue import Catalogue, CatalogueSession
from icat_stream.config import IcatSettings, PolicySettings
from icat_stream.records import (
    DependencyMissing,
    Investigation,
    InvestigationKey,
    Member,
    OutcomeKind,
    Plan,
    Rejection,
    Sample,
    User,
)
from plugins.icat import Server, start_icat

from .conftest import fill
from .plans import FACILITY, START, full

_NUMBERS = count(1)


@pytest.fixture(scope="module", params=["", "--match-case"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """An ICAT whose database sees no difference between cases, and one that does."""
    options = [request.param] if request.param else []
    yield from start_icat(tmp_path_factory.mktemp("names"), *options)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    client = icat.client.Client(server.url)
    client.login("simple", {"username": "root", "password": "secret"})
    fill(client)
    for name in ("db/NBour", "jbotu"):
        client.new("User", name=name).create()
    yield client
    client.logout()


@pytest.fixture(scope="module")
def lanes(client: Any, server: Server) -> Iterator[dict[str, CatalogueSession]]:
    """One that compares letters, and one that does not."""
    settings = IcatSettings(
        url=server.url, username="root", password="secret", timeout=10.0
    )
    made = {
        names: Catalogue(settings, FACILITY, PolicySettings(names=names)).new_session()
        for names in ("exact", "ignore_case")
    }
    yield made
    for lane in made.values():
        lane.close()


@pytest.fixture
def lane(lanes: dict[str, CatalogueSession]) -> CatalogueSession:
    return lanes["ignore_case"]


def make_investigation(client: Any, name: str, visit: str = "Visit-A") -> Any:
    kind = client.assertedSearch("SELECT t FROM InvestigationType t")[0]
    facility = client.assertedSearch("SELECT f FROM Facility f")[0]
    values = {"visitId": visit, "title": "A", "facility": facility, "type": kind}
    made = client.new("Investigation", name=name, **values)
    made.create()
    return made


@pytest.fixture
def name(client: Any) -> str:
    """The name of an investigation of this test alone, in capitals."""
    name = f"MA-{next(_NUMBERS):04}-X"
    make_investigation(client, name)
    return name


def is_sensitive(server: Server, client: Any) -> bool:
    return not client.search("SELECT i FROM Instrument i WHERE i.name = 'drehm'")


def plan(*things: Any) -> Plan:
    return Plan(
        facility=FACILITY,
        users=tuple(t for t in things if isinstance(t, User)),
        investigations=tuple(t for t in things if isinstance(t, Investigation)),
    )


def test_the_catalogues_own_spelling_is_found(lanes, name):
    exact, lane = lanes["exact"], lanes["ignore_case"]
    assert [v.key.name for v in lane.investigations(name.lower())] == [name]
    assert [v.key.name for v in lane.recent_investigations(name.lower())] == [name]
    assert lane.spelling("Instrument", "drehm") == "DREHM"
    assert lane.spelling("Technique", "DIFFRACTION") == "diffraction"
    assert lane.spelling("DatasetType", "Raw") == "raw"
    assert lane.spelling("Instrument", "drehmel") is None
    assert exact.investigations(name.lower()) == []
    assert exact.spelling("Instrument", "drehm") is None
    assert exact.spelling("Instrument", "DREHM") == "DREHM"


def test_no_index_helps_with_other_letters_so_it_is_rarely_needed(
    client, lane, server, name
):
    def asked() -> int:
        return server.calls().get("GET entityManager", 0)

    # Where the database sees no difference, the first question finds it.
    questions = 2 if is_sensitive(server, client) else 1
    begin = asked()
    assert lane.investigations(name.lower())
    assert asked() - begin == questions
    # Later on the spelling is known, and one more question goes by an index, too.
    assert lane.investigations(name.lower())
    assert asked() - begin == 2 * questions
    assert lane.investigations(name)
    assert asked() - begin == 2 * questions + 1


def test_parameter_types_mean_what_is_written(lane):
    assert lane.parameter_types("Wavelength") == []


def test_what_is_exactly_there_counts(client, lane, server, name):
    if not is_sensitive(server, client):
        return
    make_investigation(client, name.lower())
    assert [v.key.name for v in lane.investigations(name)] == [name]
    assert [v.key.name for v in lane.investigations(name.lower())] == [name.lower()]
    with pytest.raises(Rejection, match=f"{name}, {name.lower()}, which differ in let"):
        lane.investigations(name.title())


def test_a_dataset_is_the_same_in_other_letters(client, lane, name):
    client.new(
        "Sample",
        name="NaCl",
        investigation=client.assertedSearch(
            f"SELECT i FROM Investigation i WHERE i.name = '{name}'"
        )[0],
        type=client.assertedSearch("SELECT t FROM SampleType t")[0],
    ).create()
    key = InvestigationKey(name=name, visit_id="Visit-A")
    dataset = replace(full(key), sample=Sample(name="nacl"), datafiles=())
    applied = lane.apply(Plan(facility=FACILITY, datasets=(dataset,)))
    assert applied.kind is OutcomeKind.INGESTED
    again = lane.apply(Plan(facility=FACILITY, datasets=(dataset,)))
    assert again.kind is OutcomeKind.UNCHANGED
    samples = client.search(
        f"SELECT s.name FROM Sample s WHERE s.investigation.name = '{name}'"
    )
    assert samples == ["NaCl"]


def test_a_snapshot_finds_its_investigation_members_and_instruments(
    client, lanes, name
):
    planned = Investigation(
        investigation=InvestigationKey(name=name.lower(), visit_id="visit-a"),
        title="New title",
        type="Experiment",
        start=START,
        instruments=("drehm",),
        members=(Member(user="DB/nbour", role="Participant"),),
        keywords=("SANS", "sans", "salt"),
    )
    lane = lanes["ignore_case"]
    applied = lane.apply(plan(planned))
    assert applied.snapshots[0].investigation.visit_id in ("Visit-A", "visit-a")
    assert lane.apply(plan(planned)).kind is OutcomeKind.UNCHANGED
    (found,) = client.search(
        f"SELECT i FROM Investigation i WHERE LOWER(i.name) = '{name.lower()}'"
        " INCLUDE i.keywords, i.investigationUsers.user,"
        " i.investigationInstruments.instrument"
    )
    assert (found.name, found.visitId, found.title) == (name, "Visit-A", "New title")
    assert [u.user.name for u in found.investigationUsers] == ["db/NBour"]
    assert [i.instrument.name for i in found.investigationInstruments] == ["DREHM"]
    assert sorted(k.name for k in found.keywords) == ["SANS", "salt"]


def test_a_member_is_waited_for_in_any_letters(lanes, name):
    planned = Investigation(
        investigation=InvestigationKey(name=name, visit_id="Visit-A"),
        members=(Member(user="nobody", role="Participant"),),
    )
    with pytest.raises(DependencyMissing) as raised:
        lanes["ignore_case"].apply(plan(planned))
    assert lanes["ignore_case"].present(raised.value.missing) == set()
    wanted = [
        "user:DB/NBOUR",
        "instrument:drehm",
        f"investigation:{name.lower()}",
        f"investigation:{name.lower()}/VISIT-A",
        f"investigation:{name.lower()}/other",
    ]
    assert lanes["ignore_case"].present(wanted) == set(wanted[:4])
    assert lanes["exact"].present(wanted) == set()


def test_an_account_keeps_its_spelling(client, lane):
    planned = User(
        name="DB/nbour", account="DB/nbour", full_name="Niels Beispiel", formerly=()
    )
    assert lane.apply(plan(planned)).kind is OutcomeKind.INGESTED
    assert lane.apply(plan(planned)).kind is OutcomeKind.UNCHANGED
    found = client.search("SELECT u FROM User u WHERE u.fullName = 'Niels Beispiel'")
    assert [user.name for user in found] == ["db/NBour"]


def test_keywords_that_are_one_to_the_database_are_refused_by_name(
    client, lanes, server, name
):
    planned = Investigation(
        investigation=InvestigationKey(name=name, visit_id="Visit-A"),
        keywords=("SANS", "sans"),
    )
    if is_sensitive(server, client):
        assert lanes["exact"].apply(plan(planned)).kind is OutcomeKind.INGESTED
        return
    with pytest.raises(Rejection, match=r"keywords: 2 of one name \('SANS', 'sans'\)"):
        lanes["exact"].apply(plan(planned))
