"""DOIs: minted once, for the right investigation, with nothing that is not public."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import pytest

from icat_stream.app import load_integration
from icat_stream.config import ConfigError, Settings
from icat_stream.integrations import DataCite
from icat_stream.records import (
    DependencyMissing,
    OutcomeKind,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)

from .conftest import NAME
from .investigation_systems import (
    ORCID,
    DataCiteSystem,
    datacite_options,
)

CHANGED = {"kind": "investigation"}
WITHDRAW = {"operation": "withdraw-doi"}


@pytest.fixture
def system(monkeypatch):
    system = DataCiteSystem(monkeypatch)
    yield system
    system.close()


@pytest.fixture
def datacite(system):
    return system.server


@pytest.fixture
def doi_of(client):
    return lambda number: client.get("Investigation", number).doi


@pytest.fixture
def held(datacite):
    return lambda number: datacite.dois[f"10.5072/icat-{number}"]


def test_it_is_minted_once_and_the_catalogue_has_it(
    make, new, event, datacite, held, doi_of, keys
):
    number = new(keyword="salt")
    consumer = make()
    outcome = consumer.handle(event(number))
    assert outcome.kind is OutcomeKind.INGESTED
    assert datacite.history == {f"10.5072/icat-{number}": ["draft", "findable"]}
    assert doi_of(number) == f"10.5072/icat-{number}"
    (told,) = outcome.events
    assert json.loads(told.value)["cause"] == "datacite"
    assert json.loads(told.value)["kind"] == "investigation"
    doi = held(number)
    assert doi["url"] == f"https://example.org/data/doi/10.5072/icat-{number}"
    assert doi["publicationYear"] == 2023
    assert doi["publisher"] == {"name": "Example Neutron Source"}
    assert doi["descriptions"][0]["description"] == "What we did"
    assert doi["dates"] == [
        {"date": "2020-05-06/2020-05-08", "dateType": "Collected"},
        {"date": "2023-05-08", "dateType": "Available"},
    ]
    (creator,) = doi["creators"]
    assert creator["name"] == "Jane Doe"
    (identifier,) = creator["nameIdentifiers"]
    assert identifier["nameIdentifier"] == f"https://orcid.org/{ORCID}"
    # Its own event is none for it.
    own = event(number, kind="investigation", cause="datacite")
    assert consumer.handle(own).reason == "an event of its own"


def test_a_database_that_is_lost_mints_nothing_twice(
    make, new, event, datacite, journal, doi_of, change
):
    number = new()
    make().handle(event(number))
    writes = list(datacite.writes)
    for forgets in ({}, {"doi": None}):
        change(number, **forgets)
        # As new: the rows of what was written are gone.
        journal.exports.begin(NAME, [f"investigation {number}"])
        outcome = make(exports=_Empty(journal.exports)).handle(event(number))
        assert datacite.writes == writes
        assert len(datacite.dois) == 1
        assert bool(outcome.written) == bool(forgets)
        assert doi_of(number) == f"10.5072/icat-{number}"


class _Empty:
    """Exports of a database that is empty each time."""

    def __init__(self, exports):
        self._exports = exports
        self.held, self.finish = exports.held, exports.finish

    def begin(self, name, keys):
        return [replace(e, sha256=None) for e in self._exports.begin(name, keys)]


@pytest.mark.parametrize("lost", [1, 2])
def test_an_answer_that_is_lost_after_it_was_done(
    make, new, event, datacite, doi_of, lost
):
    number = new()
    consumer = make()
    for _ in range(lost):
        datacite.lost_answers = 1
        with pytest.raises(SystemUnavailable):
            consumer.handle(event(number))
        assert doi_of(number) is None
    assert consumer.handle(event(number)).kind is OutcomeKind.INGESTED
    assert datacite.history == {f"10.5072/icat-{number}": ["draft", "findable"]}
    assert doi_of(number) == f"10.5072/icat-{number}"


def test_all_that_is_missing_is_named_and_waited_for(
    make, new, event, datacite, client, change
):
    number = new(title=" ", startDate=None, endDate=None, releaseDate=None)
    client.deleteMany(
        client.search(f"InvestigationUser <-> Investigation [id={number}]")
    )
    consumer = make({**datacite_options(datacite), "datasets": True})
    with pytest.raises(DependencyMissing) as caught:
        consumer.handle(event(number))
    for field in ("title", "creators", "start", "end", "release date", "datasets"):
        assert f"{field}: " in caught.value.reason
    assert datacite.calls == []
    assert consumer.present(caught.value.missing) == set()
    when = datetime(2020, 1, 2, tzinfo=UTC)
    change(number, title="Salt", startDate=when, endDate=when, releaseDate=when)
    found = client.get("Investigation", number)
    user = client.new("User", name=f"u{number}", familyName="Doe", givenName="J.")
    user.create()
    member = {"investigation": found, "user": user, "role": "principal INVESTIGATOR"}
    client.new("InvestigationUser", **member).create()
    assert consumer.present(caught.value.missing) == set()
    kind = client.search("DatasetType")[0]
    client.new("Dataset", investigation=found, name="d", type=kind).create()
    assert consumer.present(caught.value.missing) == set(caught.value.missing)
    assert consumer.handle(event(number)).kind is OutcomeKind.INGESTED
    (doi,) = datacite.dois.values()
    assert doi["creators"][0]["name"] == "Doe, J."


def test_nothing_leaks_before_the_release_and_none_stays_after_it_is_taken_back(
    make, new, event, datacite, held, change
):
    later = datetime.now(UTC) + timedelta(days=400)
    number = new(releaseDate=later, keyword="secret salt")
    consumer = make()
    consumer.handle(event(number))
    assert held(number)["publicationYear"] == later.year
    assert "What we did" not in json.dumps(held(number))
    assert "secret salt" not in json.dumps(held(number))
    change(number, releaseDate=datetime(2023, 5, 8, tzinfo=UTC))
    assert consumer.handle(event(number, **CHANGED)).kind is OutcomeKind.INGESTED
    assert held(number)["descriptions"][0]["description"] == "What we did"
    assert held(number)["subjects"] == [{"subject": "secret salt"}]
    for closed in (later, None):
        change(number, releaseDate=closed)
        consumer.handle(event(number, **CHANGED))
        assert "What we did" not in json.dumps(held(number))
        assert "secret salt" not in json.dumps(held(number))
    assert held(number)["state"] == "findable"
    assert held(number)["publicationYear"] == later.year


def test_metadata_follow_the_investigation_and_cost_nothing_if_they_do_not_change(
    make, new, event, datacite, held, change
):
    number = new()
    consumer = make()
    assert "has no DOI" in consumer.handle(event(number, **CHANGED)).reason
    assert datacite.calls == []
    consumer.handle(event(number))
    change(number, title="Pepper")
    outcome = consumer.handle(event(number, **CHANGED))
    assert outcome.written == (f"{NAME}: DOI 10.5072/icat-{number} has new metadata",)
    assert held(number)["titles"] == [{"title": "Pepper"}]
    calls = len(datacite.calls)
    assert consumer.handle(event(number, **CHANGED)).kind is OutcomeKind.UNCHANGED
    assert len(datacite.calls) == calls


def test_a_doi_that_is_of_something_else_is_left_alone(
    make, new, event, datacite, held, doi_of, change
):
    # Another catalogue with the same ids, the same account and the same suffix.
    number = new()
    make().handle(event(number))
    held(number)["alternateIdentifiers"] = [
        {"alternateIdentifier": "Elsewhere: 1/1", "alternateIdentifierType": "other"}
    ]
    change(number, doi=None)
    before = dict(held(number))
    consumer = make(exports=_Empty(make()._exports))
    with pytest.raises(Rejection, match=r"give options\.suffix a value"):
        consumer.handle(event(number))
    # Of another repository.
    other = new()
    datacite.dois[f"10.5072/icat-{other}"] = {"state": "draft", "registered": None}
    datacite.owners[f"10.5072/icat-{other}"] = "some.other"
    with pytest.raises(Rejection, match="HTTP 403"):
        consumer.handle(event(other))
    # One that somebody else has given.
    change(other, doi="10.80000/handmade")
    for asked in ({}, CHANGED, WITHDRAW):
        outcome = consumer.handle(event(other, **asked))
        assert outcome.kind is OutcomeKind.IGNORED
        assert "10.80000/handmade" in outcome.reason
    assert held(number) == before
    assert doi_of(number) is None


@pytest.mark.parametrize("unusable_details", ["skip", "reject"])
def test_an_orcid_that_is_none(
    make, new, event, client, datacite, system, unusable_details
):
    system.settings = {
        **system.settings,
        "policies": {"unusable_details": unusable_details},
    }
    number = new()
    users = f"User <-> InvestigationUser <-> Investigation [id={number}]"
    (user,) = client.search(users)
    user.orcidId = "0000-0002-1825-0098"
    user.update()
    consumer = make()
    if unusable_details == "reject":
        with pytest.raises(DependencyMissing, match="its check digit is wrong"):
            consumer.handle(event(number))
        assert datacite.dois == {}
    else:
        assert "its check digit is wrong" in consumer.handle(event(number)).reason
        (doi,) = datacite.dois.values()
        assert doi["creators"][0]["nameIdentifiers"] == []


@pytest.mark.parametrize("retry_after", [None, "120", "a date", "soon"])
def test_too_many_requests(make, new, event, datacite, retry_after):
    number = new()
    consumer = make()
    if retry_after == "a date":
        retry_after = format_datetime(datetime.now(UTC) + timedelta(seconds=120))
    datacite.status, datacite.retry_after = 429, retry_after
    for call in (partial(consumer.handle, event(number)), consumer.ping):
        with pytest.raises(SystemUnavailable) as caught:
            call()
        assert not caught.value.probe_tells
    # It is left alone meanwhile, also by those who ask whether it is there.
    assert len(datacite.calls) == 1


def test_what_datacite_does_not_keep_is_found_before_it_is_published(
    make, new, event, datacite, doi_of
):
    datacite.dropped = {"rightsList"}
    licence = {"rights": "CC BY 4.0", "url": "https://example.org/by"}
    consumer = make({**datacite_options(datacite), "licence": licence})
    number = new()
    with pytest.raises(Rejection, match="has not kept rightsList"):
        consumer.handle(event(number))
    assert datacite.history == {f"10.5072/icat-{number}": ["draft"]}
    assert doi_of(number) is None


def test_a_doi_that_does_not_resolve_is_not_done(make, new, event, datacite, doi_of):
    datacite.handles = False
    number = new()
    consumer = make()
    with pytest.raises(TransientFailure, match="does not resolve yet"):
        consumer.handle(event(number))
    assert doi_of(number) is None
    datacite.handles = True
    assert consumer.handle(event(number)).kind is OutcomeKind.INGESTED
    assert doi_of(number) == f"10.5072/icat-{number}"


def test_withdrawn_it_stays_withdrawn(make, new, event, datacite, held, change):
    number = new()
    consumer = make()
    assert "has no DOI" in consumer.handle(event(number, **WITHDRAW)).reason
    consumer.handle(event(number))
    outcome = consumer.handle(event(number, **WITHDRAW))
    assert outcome.written == (f"{NAME}: DOI 10.5072/icat-{number} is withdrawn",)
    change(number, title="Withdrawn salt")
    consumer.handle(event(number, **CHANGED))
    with pytest.raises(Rejection, match="was withdrawn"):
        consumer.handle(event(number))
    assert held(number)["state"] == "registered"
    assert held(number)["titles"] == [{"title": "Withdrawn salt"}]
    (date,) = [d for d in held(number)["dates"] if d["dateType"] == "Withdrawn"]
    assert date["date"] == datetime.now(UTC).date().isoformat()


def test_a_prefix_that_is_not_ours_stops_it(make, new, event, datacite):
    datacite.prefixes = ["10.80000"]
    consumer = make()
    expected = r"prefix 10\.5072 is not of MUST\.ER: it has 10\.80000"
    for call in (consumer.ping, partial(consumer.handle, event(new()))):
        with pytest.raises(SystemUnavailable, match=expected):
            call()


def test_what_is_at_its_place_is_not_taken_for_it(make, new, event, datacite):
    datacite.status = 404
    consumer = make({**datacite_options(datacite), "url": f"{datacite.url}/nowhere"})
    with pytest.raises(SystemUnavailable, match="is no repository there"):
        consumer.ping()


@pytest.mark.parametrize(
    ("changes", "web", "wrong"),
    [
        ({}, {}, r"options\.landing_page.*web\.public_url"),
        ({"landing_page": "https://example.org/{doi}"}, {}, None),
        ({"landing_page": "https://example.org/all"}, {}, "a page of its own"),
        ({"landing_page": "https://example.org/{visit}"}, {}, "{visit} is not known"),
        ({"suffix": "icat"}, None, r"options\.suffix.*expected {id}"),
        ({"suffix": "a b{id}"}, None, r"options\.suffix.*letters, digits"),
        ({"prefix": "11.5"}, None, r"options\.prefix"),
        ({"publisher_ror": "https://ror.org/x"}, None, r"options\.publisher_ror"),
        ({"password_file": "x"}, None, "not both"),
        ({"password": 4711}, None, r"options\.password"),
    ],
)
def test_its_options_are_checked(datacite, changes, web, wrong):
    settings = Settings(
        facility="Muster",
        consumers={"c": {"integration": "datacite", "topics": ["t"]}},
        web={"public_url": "https://example.org"} if web is None else web,
    )
    options = datacite_options(datacite) | changes
    assert load_integration("datacite") is DataCite
    if wrong is None:
        DataCite.check(settings, options)
        return
    with pytest.raises(ConfigError, match=wrong) as caught:
        DataCite.check(settings, options)
    assert "4711" not in str(caught.value)
