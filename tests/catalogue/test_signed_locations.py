"""Locations with the digests that a data service with a key wants."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from icat_stream.catalogue import Catalogue, CatalogueSession
from icat_stream.catalogue.inventory import Scope
from icat_stream.config import IcatSettings, PolicySettings
from icat_stream.records import (
    Datafile,
    Dataset,
    Failure,
    InvestigationKey,
    LocationKey,
    OutcomeKind,
    Rejection,
)

from .conftest import Server
from .plans import FACILITY, full, held, plan
from .test_replacing import version

KEY = LocationKey("a key that nobody guesses")


@pytest.fixture
def keyed(
    client: Any, settings: IcatSettings
) -> Iterator[Callable[..., CatalogueSession]]:
    """Make lanes that sign."""
    lanes = []

    def make(key: LocationKey | None = KEY, **policies: Any) -> CatalogueSession:
        chosen = PolicySettings(**policies)
        catalogue = Catalogue(settings, FACILITY, chosen, location_key=key)
        lanes.append(catalogue.new_session())
        return lanes[-1]

    yield make
    for lane in lanes:
        lane.close()


@pytest.fixture
def faulty(server: Server) -> Iterator[Server]:
    yield server
    server.mend()


def of(investigation: InvestigationKey, *names: str, **changes: Any) -> Dataset:
    files = tuple(Datafile(name=name, location=f"p/{name} 1", size=1) for name in names)
    return full(investigation, datafiles=files, **changes)


def locations(dataset: Any) -> dict[str, str | None]:
    """Return what the data service would open, by name."""
    return {
        file.name: KEY.location(file.id, file.location) for file in dataset.datafiles
    }


def test_every_location_has_its_digest(
    keyed: Callable[..., CatalogueSession], client: Any, investigation: InvestigationKey
) -> None:
    lane = keyed()
    wanted = of(investigation, "a", "b")
    applied = lane.apply(plan(wanted))
    assert applied.kind is OutcomeKind.INGESTED
    (dataset,) = held(client, investigation)
    assert dataset.complete
    assert locations(dataset) == {"a": "p/a 1", "b": "p/b 1"}
    again = lane.apply(plan(wanted))
    assert (again.kind, again.written) == (OutcomeKind.UNCHANGED, ())
    assert {c.kind for c in lane.diff(plan(wanted)).changes} == {"unchanged"}


def test_what_has_no_location_needs_no_digest(
    keyed: Callable[..., CatalogueSession], client: Any, investigation: InvestigationKey
) -> None:
    files = (Datafile(name="a"), Datafile(name="b", location="b"))
    keyed().apply(plan(full(investigation, datafiles=files)))
    (dataset,) = held(client, investigation)
    by_name = {file.name: file.location for file in dataset.datafiles}
    assert by_name["a"] is None
    assert by_name["b"].startswith("b ")


def test_more_files_than_one_call_takes(
    keyed: Callable[..., CatalogueSession], client: Any, investigation: InvestigationKey
) -> None:
    names = [f"{number:04}" for number in range(1100)]
    keyed().apply(plan(of(investigation, *names)))
    (dataset,) = held(client, investigation)
    assert locations(dataset) == {name: f"p/{name} 1" for name in names}
    assert dataset.complete


def test_entries_without_a_digest_get_one(
    keyed: Callable[..., CatalogueSession], client: Any, investigation: InvestigationKey
) -> None:
    wanted = of(investigation, "a")
    keyed(None).apply(plan(wanted))
    lane = keyed()
    (changed,) = (c for c in lane.diff(plan(wanted)).changes if c.kind != "unchanged")
    assert (changed.what, changed.field) == ("Datafile a", "location")
    assert changed.planned == "p/a 1, with its digest"
    assert lane.apply(plan(wanted)).kind is OutcomeKind.INGESTED
    (dataset,) = held(client, investigation)
    assert locations(dataset) == {"a": "p/a 1"}


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "database", "html"])
def test_a_call_that_fails_between_is_finished(
    keyed: Callable[..., CatalogueSession],
    client: Any,
    investigation: InvestigationKey,
    faulty: Server,
    kind: str,
) -> None:
    lane = keyed()
    wanted = of(investigation, "a", "b")
    faulty.fault(kind, match="POST entityManager")
    try:
        lane.apply(plan(wanted))
    except Failure:
        (dataset,) = held(client, investigation)
        assert not dataset.complete
        faulty.mend()
        lane.apply(plan(wanted))
    (dataset,) = held(client, investigation)
    assert dataset.complete
    assert locations(dataset) == {"a": "p/a 1", "b": "p/b 1"}


def test_a_digest_of_another_key_is_a_difference(
    keyed: Callable[..., CatalogueSession], client: Any, investigation: InvestigationKey
) -> None:
    wanted = of(investigation, "a")
    keyed(LocationKey("the key of last year")).apply(plan(wanted))
    with pytest.raises(Rejection, match="Datafile a: location 'p/a 1 "):
        keyed().apply(plan(wanted))
    keyed(existing_datasets="update").apply(plan(wanted))
    (dataset,) = held(client, investigation)
    assert locations(dataset) == {"a": "p/a 1"}
    assert dataset.complete


def test_a_location_that_changes_is_signed(
    keyed: Callable[..., CatalogueSession], client: Any, investigation: InvestigationKey
) -> None:
    wanted = of(investigation, "a")
    keyed().apply(plan(wanted))
    moved = replace(wanted, datafiles=(Datafile(name="a", location="moved"),))
    keyed(existing_datasets="update").apply(plan(moved))
    (dataset,) = held(client, investigation)
    assert locations(dataset) == {"a": "moved"}


def test_what_replaces_a_dataset_is_signed(
    keyed: Callable[..., CatalogueSession], client: Any, investigation: InvestigationKey
) -> None:
    def at(number: str) -> Dataset:
        file = Datafile(name="a", location=f"v{number}/a", size=1)
        return replace(version(investigation, number), datafiles=(file,))

    lane = keyed()
    lane.apply(plan(at("1.0")))
    lane.apply(plan(at("1.1")))
    (dataset,) = held(client, investigation)
    assert locations(dataset) == {"a": "v1.1/a"}
    assert dataset.complete


def test_a_digest_that_does_not_fit_is_refused(
    keyed: Callable[..., CatalogueSession], investigation: InvestigationKey
) -> None:
    files = (Datafile(name="a", location="x" * 447),)
    with pytest.raises(Rejection, match="512 characters with its digest"):
        keyed().apply(plan(full(investigation, datafiles=files)))


def test_others_see_locations_without_digests(
    keyed: Callable[..., CatalogueSession], investigation: InvestigationKey
) -> None:
    lane = keyed()
    applied = lane.apply(plan(of(investigation, "a", "b_", r"c\d")))
    (entry, *_) = lane.datafiles_without_checksum(applied.datasets[0].id)
    assert entry.location == "p/a 1"
    inventory = lane.inventory()
    scope = Scope(investigation=investigation.name, below="p/")
    assert [f.location for f in inventory.datafiles(scope)] == [
        "p/a 1",
        "p/b_ 1",
        r"p/c\d 1",
    ]
    asked = ["p/a 1", "p/b_ 1", r"p/c\d 1", "p/a", "p/bx 1", "p/other"]
    assert inventory.located(asked) == {"p/a 1", "p/b_ 1", r"p/c\d 1"}
