"""A processed dataset takes the place of one with a lower version."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from icat_stream.catalogue import CatalogueSession
from icat_stream.records import (
    Datafile,
    Dataset,
    InvestigationKey,
    OutcomeKind,
    Parameter,
    Rejection,
    TransientFailure,
    replacing_name,
)

from .conftest import Server
from .plans import full, held, plan


def version(
    investigation: InvestigationKey, number: str, *files: str, **changes: Any
) -> Dataset:
    dataset = full(investigation, existing="replace", version="title", **changes)
    others = tuple(p for p in dataset.parameters if p.name != "title")
    return replace(
        dataset,
        parameters=(*others, Parameter(name="title", units="", value=number)),
        datafiles=tuple(Datafile(name=file, size=1) for file in files),
    )


def files(client: Any, investigation: InvestigationKey) -> dict[str, list[str]]:
    return {
        dataset.name: sorted(file.name for file in dataset.datafiles)
        for dataset in held(client, investigation)
    }


@pytest.fixture
def faulty(server: Server) -> Iterator[Server]:
    yield server
    server.mend()


def test_a_higher_version_replaces_all_of_it(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    lane.apply(plan(version(investigation, "1.9", "a", "b")))
    (first,) = held(client, investigation)
    second = version(investigation, "1.10", "b", "c")
    applied = lane.apply(plan(second))
    assert applied.kind is OutcomeKind.INGESTED
    (dataset,) = held(client, investigation)
    assert dataset.id != first.id
    assert [each.id for each in applied.datasets] == [dataset.id]
    assert files(client, investigation) == {"run 7": ["b", "c"]}
    assert {p.stringValue for p in dataset.parameters} >= {"1.10"}
    again = lane.apply(plan(second))
    assert again.kind is OutcomeKind.UNCHANGED
    assert [each.id for each in again.datasets] == [dataset.id]


def test_the_diff_of_a_replacement_is_shown(
    lane: CatalogueSession, investigation: InvestigationKey
) -> None:
    lane.apply(plan(version(investigation, "1", "a")))
    diff = lane.diff(plan(version(investigation, "2", "b")))
    assert {(c.kind, c.what) for c in diff.changes} >= {
        ("new", "Datafile b"),
        ("extra", "Datafile a"),
        ("changed", "DatasetParameter title (no units)"),
    }


def test_without_a_higher_version_the_policy_decides(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    lane.apply(plan(version(investigation, "2", "a")))
    with pytest.raises(Rejection, match=r"differs: .*existing_datasets: reject"):
        lane.apply(plan(version(investigation, "2", "a", description="another")))
    with pytest.raises(TransientFailure, match="title 2, which came meanwhile"):
        lane.apply(plan(version(investigation, "1", "b")))
    assert files(client, investigation) == {"run 7": ["a"]}


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "html"])
@pytest.mark.parametrize("call", ["create", "deleteMany", "update"])
def test_a_step_without_an_answer_is_read_back(
    lane: CatalogueSession,
    client: Any,
    investigation: InvestigationKey,
    faulty: Server,
    kind: str,
    call: str,
) -> None:
    lane.apply(plan(version(investigation, "1", "a")))
    faulty.fault(kind, match=call)
    second = version(investigation, "2", "b")
    assert lane.apply(plan(second)).kind is OutcomeKind.INGESTED
    assert files(client, investigation) == {"run 7": ["b"]}
    assert lane.apply(plan(second)).kind is OutcomeKind.UNCHANGED


def test_what_was_made_beside_is_made_again_if_the_files_changed(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey, faulty: Server
) -> None:
    lane.apply(plan(version(investigation, "1", "a")))
    second = version(investigation, "2", "b")
    # Every deletion fails: what is left is what a crash leaves.
    faulty.fault("drop_before", match="deleteMany", count=None)
    with pytest.raises(TransientFailure):
        lane.apply(plan(second))
    faulty.mend()
    assert sorted(files(client, investigation).values()) == [["a"], ["b"]]
    grown = replace(second, datafiles=(replace(second.datafiles[0], size=2),))
    lane.apply(plan(grown))
    (dataset,) = held(client, investigation)
    assert [(f.name, f.fileSize) for f in dataset.datafiles] == [("b", 2)]


@pytest.mark.parametrize("call", ["deleteMany", "update"])
def test_what_a_killed_replacement_left_goes_though_a_higher_version_is_there(
    lane: CatalogueSession,
    client: Any,
    investigation: InvestigationKey,
    faulty: Server,
    call: str,
) -> None:
    lane.apply(plan(version(investigation, "1", "a")))
    second = version(investigation, "2", "b")
    faulty.fault("drop_before", match=call, count=None)
    with pytest.raises(TransientFailure):
        lane.apply(plan(second))
    faulty.mend()
    beside = replacing_name("run 7", "2")
    assert beside in files(client, investigation)
    # Of another instance, before the record of the killed one comes again.
    lane.apply(plan(version(investigation, "3", "c")))
    assert files(client, investigation) == {"run 7": ["c"], beside: ["b"]}
    with pytest.raises(TransientFailure, match="title 3, which came meanwhile"):
        lane.apply(plan(second))
    assert files(client, investigation) == {"run 7": ["c"]}


def test_two_versions_at_once(
    lane_with: Callable[..., CatalogueSession],
    client: Any,
    investigation: InvestigationKey,
) -> None:
    lanes = [lane_with(), lane_with()]
    lanes[0].apply(plan(version(investigation, "1", "a")))
    start = threading.Barrier(2)

    def bring(lane: CatalogueSession, number: str) -> None:
        start.wait(30)
        for _ in range(20):
            try:
                lane.apply(plan(version(investigation, number, f"of {number}")))
            except TransientFailure:
                continue
            return

    with ThreadPoolExecutor(2) as pool:
        for done in [
            pool.submit(bring, lane, n) for lane, n in zip(lanes, "23", strict=True)
        ]:
            done.result(60)
    assert files(client, investigation) == {"run 7": ["of 3"]}
