"""The scoring service: items that everybody may see, and weights that are computed."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from icat_stream.records import OutcomeKind, SystemUnavailable

from .investigation_systems import PanoscSystem

ASKED = {"kind": "operation", "operation": "create-panosc-item"}


@pytest.fixture
def system(monkeypatch, postgres, journal, open_to_all, settings):
    system = PanoscSystem(monkeypatch, postgres, journal, settings.url)
    yield system
    system.close()


@pytest.fixture
def scoring(system):
    return system.server


def test_the_item_is_called_as_the_search_api_calls_it(
    make, new, event, scoring, change
):
    number = new(keyword="salt")
    consumer = make()
    consumer.handle(event(number))
    assert scoring.items == {
        f"pid:{number}": {
            "id": f"pid:{number}",
            "group": "documents",
            "fields": {"title": "Salt", "summary": "What we did", "keywords": "salt"},
        }
    }
    # With a DOI, which has a slash: it can be made and deleted, but not updated.
    doi = f"10.5072/icat-{number}"
    change(number, doi=doi)
    consumer.handle(event(number))
    assert set(scoring.items) == {doi}
    change(number, title="Pepper")
    assert consumer.handle(event(number)).kind is OutcomeKind.INGESTED
    assert scoring.items[doi]["fields"]["title"] == "Pepper"
    calls = len(scoring.calls)
    assert consumer.handle(event(number, **ASKED)).kind is OutcomeKind.UNCHANGED
    assert len(scoring.calls) == calls


def test_what_is_not_public_is_not_told(make, new, event, scoring, change):
    later = datetime.now(UTC) + timedelta(days=30)
    number = new(releaseDate=later)
    consumer = make()
    consumer.handle(event(number))
    assert scoring.items == {}
    change(number, releaseDate=datetime(2023, 5, 8, tzinfo=UTC), doi="10.5072/x")
    consumer.handle(event(number))
    assert set(scoring.items) == {"10.5072/x"}
    for closed in (later, None):
        change(number, releaseDate=closed)
        consumer.handle(event(number))
        assert scoring.items == {}


def test_an_answer_that_is_lost(make, new, event, scoring):
    number = new()
    consumer = make()
    for lost in (1, 2):
        scoring.lost_answers = lost
        with pytest.raises(SystemUnavailable):
            consumer.handle(event(number))
    scoring.lost_answers = 0
    consumer.handle(event(number))
    assert set(scoring.items) == {f"pid:{number}"}


def test_who_is_anybody_has_to_be_known(make, new, event, system):
    consumer = make({**system.options, "anonymous": "nobody"})
    with pytest.raises(SystemUnavailable, match=r"options\.anonymous") as caught:
        consumer.handle(event(new()))
    assert caught.value.system == "target"


def test_weights_are_computed_once_it_is_quiet_and_never_of_nothing(
    make, new, event, scoring, system, client
):
    consumer = make({**system.options, "compute_after": "200ms"})
    numbers = [new() for _ in range(3)]
    for number in numbers:
        consumer.handle(event(number))
    _until(lambda: scoring.computations)
    # While another one is at work none is begun, and later it is.
    scoring.computing = {"started": "x", "inProgress": True}
    client.deleteMany([client.get("Investigation", n) for n in numbers[1:]])
    for number in numbers[1:]:
        consumer.handle(event(number))
    done, asked = scoring.computations, scoring.calls.count("POST /compute")
    _until(lambda: scoring.calls.count("POST /compute") >= asked + 2)
    assert scoring.computations == done
    scoring.computing = None
    _until(lambda: scoring.computations > done)
    client.delete(client.get("Investigation", numbers[0]))
    done, asked = scoring.computations, scoring.calls.count("GET /items/count")
    consumer.handle(event(numbers[0]))
    _until(lambda: scoring.calls.count("GET /items/count") > asked)
    assert scoring.items == {}
    assert scoring.computations == done


def test_a_computation_that_has_died_is_an_alarm(make, scoring, system):
    consumer = make({**system.options, "stuck_after": "100ms"})
    consumer.ping()
    scoring.computing = {"started": "2026-01-01T00:00:00", "inProgress": True}
    consumer.ping()
    time.sleep(0.2)
    with pytest.raises(SystemUnavailable, match="remove the row of the collection"):
        consumer.ping()
    scoring.computing = None
    consumer.ping()


def _until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
