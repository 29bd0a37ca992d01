"""Investigations that are made because their data came first."""

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from icat_stream.catalogue import CatalogueSession
from icat_stream.config import JournalSettings
from icat_stream.ingest.newest_wins import NewestWins
from icat_stream.journal import Journal
from icat_stream.records import (
    STUB_TITLE,
    Coordinates,
    DependencyMissing,
    Investigation,
    InvestigationKey,
    OutcomeKind,
    Plan,
    Record,
    Rejection,
    Sample,
)

from .plans import FACILITY, START, full, held

_NUMBERS = count(1)


@pytest.fixture
def key() -> InvestigationKey:
    return InvestigationKey(name=f"early{next(_NUMBERS)}", visit_id="1")


@pytest.fixture
def found(client: Any, key: InvestigationKey) -> Callable[[], list[Any]]:
    def found() -> list[Any]:
        return list(
            client.search(
                f"SELECT i FROM Investigation i WHERE i.name = '{key.name}'"
                " INCLUDE i.investigationInstruments.instrument, i.type"
            )
        )

    return found


def stub(key: InvestigationKey, *instruments: str, **changes: Any) -> Investigation:
    planned = Investigation(
        investigation=key,
        title=STUB_TITLE,
        type="experiment",
        start=START,
        instruments=instruments,
    )
    return replace(planned, **changes)


def early(key: InvestigationKey, **changes: Any) -> Plan:
    changes = {"instruments": ("DREHM",)} | changes
    dataset = full(key, **changes)
    return Plan(
        facility=FACILITY,
        stubs=(stub(key, *dataset.instruments),),
        datasets=(dataset,),
    )


def linked(found: Callable[[], list[Any]]) -> list[str]:
    (there,) = found()
    return sorted(link.instrument.name for link in there.investigationInstruments)


def test_a_stub_is_made_with_what_is_known(
    lane: CatalogueSession,
    client: Any,
    key: InvestigationKey,
    found: Callable[[], list[Any]],
) -> None:
    applied = lane.apply(early(key))
    assert applied.kind is OutcomeKind.INGESTED
    assert applied.written[0] == f"Investigation {key} (stub) created"
    (there,) = found()
    assert (there.title, there.type.name) == (STUB_TITLE, "experiment")
    assert there.startDate == START.replace(microsecond=0)
    assert there.endDate is None
    assert linked(found) == ["DREHM"]
    assert [d.name for d in held(client, key)] == ["run 7"]
    assert lane.investigations(key.name)[0].state == "stub"
    again = lane.apply(early(key))
    assert (again.kind, again.written) == (OutcomeKind.UNCHANGED, ())


def test_a_stub_gets_further_instruments(
    lane: CatalogueSession, key: InvestigationKey, found: Callable[[], list[Any]]
) -> None:
    lane.apply(early(key))
    lane.apply(early(key, name="run 8", instruments=("ÄTHER'S <1>",)))
    assert linked(found) == ["DREHM", "ÄTHER'S <1>"]


def test_what_is_no_stub_any_more_is_left_alone(
    lane: CatalogueSession, key: InvestigationKey, found: Callable[[], list[Any]]
) -> None:
    whole = stub(key, "DREHM", title="Whole")
    lane.apply(Plan(facility=FACILITY, investigations=(whole,)))
    lane.apply(early(key, instruments=("ÄTHER'S <1>",)))
    assert linked(found) == ["DREHM"]
    assert found()[0].title == "Whole"


def test_lanes_that_make_the_same_stub_at_once(
    lane_with: Callable[..., CatalogueSession],
    client: Any,
    key: InvestigationKey,
    found: Callable[[], list[Any]],
) -> None:
    lanes = [lane_with() for _ in range(4)]
    start = threading.Barrier(len(lanes))
    failures: list[Exception] = []

    def work(lane: CatalogueSession, number: int) -> None:
        name = ("DREHM", "ÄTHER'S <1>")[number % 2]
        plan = early(key, name=f"run {number}", instruments=(name,))
        start.wait()
        try:
            lane.apply(plan)
        except Exception as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(lane, number))
        for number, lane in enumerate(lanes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert linked(found) == ["DREHM", "ÄTHER'S <1>"]
    assert len(held(client, key)) == len(lanes)


def test_all_that_follows_is_shown_before(
    lane: CatalogueSession, key: InvestigationKey, found: Callable[[], list[Any]]
) -> None:
    sample = Sample(name="Salz", type=f"kind of {key.name}", create=True)
    new = {
        change.what
        for change in lane.diff(early(key, sample=sample)).changes
        if change.kind == "new"
    }
    assert {
        f"Investigation {key} (stub)",
        f"SampleType kind of {key.name}",
        "Sample Salz",
        f"Dataset {key}/run 7",
    } <= new
    assert found() == []


def test_a_sample_of_a_new_type_is_shown_before(
    lane: CatalogueSession, investigation: InvestigationKey
) -> None:
    sample = Sample(name="Salz", type=f"kind of {investigation.name}", create=True)
    planned = Plan(facility=FACILITY, datasets=(full(investigation, sample=sample),))
    shown = [c.what for c in lane.diff(planned).changes if c.kind == "new"]
    assert shown[:2] == [f"SampleType {sample.type}", "Sample Salz"]
    assert lane.apply(planned).written[:2] == (
        f"SampleType {sample.type} created",
        "Sample Salz created",
    )
    assert lane.diff(planned).is_empty


def test_a_type_that_is_not_there_is_named(
    lane: CatalogueSession, key: InvestigationKey
) -> None:
    plan = replace(early(key), stubs=(stub(key, type="experimnt"),))
    with pytest.raises(Rejection, match=r"policies\.stubs\.type: 'experimnt' is no"):
        lane.apply(plan)


def test_a_name_that_icat_cannot_hold(lane: CatalogueSession) -> None:
    key = InvestigationKey(name="x" * 300, visit_id="1")
    with pytest.raises(Rejection, match="name: 300 characters"):
        lane.apply(early(key))


def test_without_the_policy_it_waits(
    lane: CatalogueSession, key: InvestigationKey
) -> None:
    with pytest.raises(DependencyMissing):
        lane.apply(replace(early(key), stubs=()))


@pytest.fixture
def snapshot(tmp_path: Any, lane: CatalogueSession, key: InvestigationKey) -> Any:
    """Bring a snapshot of the investigation, as its own message does."""
    journal = Journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db"))
    journal.create()
    guard = NewestWins(journal.newest, FACILITY)

    def bring(age: int) -> OutcomeKind:
        at = Coordinates("investigations", 0, age)
        record = Record(
            at=at,
            timestamp=age,
            key=None,
            value=b"",
            origin=at,
            origin_timestamp=age,
        )
        whole = stub(key, "DREHM", title="Whole", start=None)
        plan = Plan(facility=FACILITY, investigations=(whole,))
        return guard.bring(plan, record, lane.apply).applied.kind

    bring.guard = guard  # type: ignore[attr-defined]
    yield bring
    journal.close()


def test_its_own_message_fills_a_stub_in(
    lane: CatalogueSession,
    key: InvestigationKey,
    found: Callable[[], list[Any]],
    snapshot: Any,
) -> None:
    lane.apply(early(key))
    assert snapshot(1) is OutcomeKind.INGESTED
    assert found()[0].title == "Whole"
    assert snapshot(2) is OutcomeKind.UNCHANGED


def test_a_stub_in_place_of_what_was_removed_is_filled_in_again(
    lane: CatalogueSession,
    client: Any,
    key: InvestigationKey,
    found: Callable[[], list[Any]],
    snapshot: Any,
) -> None:
    snapshot(1)
    client.deleteMany(found())
    snapshot.guard.missing([key])
    lane.apply(early(key))
    assert found()[0].title == STUB_TITLE
    assert snapshot(2) is OutcomeKind.INGESTED
    assert found()[0].title == "Whole"
