"""Plans applied to a real server, looked at by python-icat."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from icat_stream.catalogue import CatalogueSession
from icat_stream.catalogue.dataset_name import new_name
from icat_stream.records import (
    Datafile,
    DependencyMissing,
    InvestigationKey,
    OutcomeKind,
    Parameter,
    Rejection,
    Sample,
    TransientFailure,
)

from .plans import START, full, held, plan


def test_a_whole_tree_arrives_as_planned(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    applied = lane.apply(plan(full(investigation)))
    assert applied.kind is OutcomeKind.INGESTED
    (dataset,) = held(client, investigation)
    assert applied.datasets[0].id == dataset.id
    assert dataset.name == "run 7"
    assert dataset.complete is True
    assert dataset.description == "5 < 6 & \"7\" > '8' \n\t😀"
    assert dataset.location == "2024/run7"
    assert dataset.startDate == START.replace(microsecond=0)
    assert dataset.endDate == datetime(2024, 5, 6, 7, 30, tzinfo=UTC)
    assert dataset.type.name == "raw"
    assert dataset.sample.name == "Salz"
    assert {i.instrument.name for i in dataset.datasetInstruments} == {
        "DREHM",
        "ÄTHER'S <1>",
    }
    assert [t.technique.name for t in dataset.datasetTechniques] == ["diffraction"]
    values = {p.type.name: p for p in dataset.parameters}
    assert values["wavelength"].numericValue == 1.8
    assert values["wavelength"].error == 0.1
    assert values["wavelength"].rangeBottom == 1.0
    assert values["wavelength"].rangeTop == 2.0
    assert values["title"].stringValue == "it's ]]> <b>"
    assert values["when"].dateTimeValue == START.replace(microsecond=0)
    log, nexus = sorted(dataset.datafiles, key=lambda f: f.name)
    assert log.name == "run7.log"
    assert nexus.location == "/data/2024/run7.nxs"
    assert nexus.fileSize == 4711
    assert nexus.checksum == "xxh3_64:0123456789abcdef"
    assert nexus.datafileModTime == START.replace(second=14, microsecond=0)
    assert nexus.datafileFormat.version == "1.0"
    assert nexus.parameters[0].numericValue == 2.0


def test_a_second_time_changes_nothing(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    first = lane.apply(plan(full(investigation)))
    before = held(client, investigation)[0].modTime
    again = lane.apply(plan(full(investigation)))
    assert again.kind is OutcomeKind.UNCHANGED
    assert again.written == ()
    assert again.datasets[0].id == first.datasets[0].id
    assert held(client, investigation)[0].modTime == before
    assert lane.diff(plan(full(investigation))).is_empty


def test_what_is_missing_is_completed(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    whole = full(investigation)
    part = replace(
        whole,
        complete=False,
        instruments=(),
        techniques=(),
        parameters=whole.parameters[:1],
        datafiles=(replace(whole.datafiles[0], parameters=()),),
    )
    lane.apply(plan(part))
    kinds = {c.what: c.kind for c in lane.diff(plan(whole)).changes}
    assert kinds["Datafile run7.log"] == "new"
    assert kinds["Datafile run7.nxs"] == "unchanged"
    assert kinds["DatasetParameter title (no units)"] == "new"
    assert lane.apply(plan(whole)).kind is OutcomeKind.INGESTED
    assert lane.apply(plan(whole)).kind is OutcomeKind.UNCHANGED
    (dataset,) = held(client, investigation)
    assert dataset.complete is True
    assert len(dataset.datafiles) == 2
    assert len(dataset.parameters) == 3
    assert len(dataset.datasetInstruments) == 2


def test_what_is_null_is_filled_and_complete_last(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    whole = full(investigation)
    bare = replace(
        whole,
        complete=False,
        description=None,
        location=None,
        start=None,
        end=None,
        sample=None,
        parameters=(replace(whole.parameters[0], error=None, range_top=None),),
        datafiles=(Datafile(name="run7.nxs", size=4711),),
    )
    lane.apply(plan(bare))
    changed = {(c.what, c.field): c.found for c in lane.diff(plan(whole)).changes}
    assert changed["Datafile run7.nxs", "checksum"] is None
    assert ("DatasetParameter wavelength [angstrom]", "error") in changed
    applied = lane.apply(plan(whole))
    assert applied.written[-1].endswith("set complete")
    assert lane.apply(plan(whole)).kind is OutcomeKind.UNCHANGED
    (dataset,) = held(client, investigation)
    assert (dataset.sample.name, dataset.location) == ("Salz", "2024/run7")
    (nexus,) = (f for f in dataset.datafiles if f.name == "run7.nxs")
    assert (nexus.fileSize, nexus.datafileFormat.name) == (4711, "NeXus")


@pytest.mark.parametrize(
    ("there", "wanted", "told"),
    [
        (
            {"sample": Sample(name="Salz", create=True)},
            {"sample": Sample(name="SALZ", create=True)},
            r"Sample 'SALZ' .*has 'Salz'",
        ),
        (
            {"parameters": (Parameter(name="spin", units="Hz", value=1),)},
            {"parameters": (Parameter(name="spin", units="hz", value=1),)},
            r"ParameterType 'spin \[hz\]' .*has 'spin \[Hz\]'",
        ),
    ],
    ids=["sample", "units"],
)
def test_names_that_only_we_tell_apart_are_both_told(
    lane_with: Callable[..., CatalogueSession],
    investigation: InvestigationKey,
    there: dict[str, Any],
    wanted: dict[str, Any],
    told: str,
) -> None:
    lane = lane_with(unknown_parameter_types="create")
    lane.apply(plan(full(investigation, **there)))
    with pytest.raises(Rejection, match=told):
        lane.apply(plan(full(investigation, name="run 8", **wanted)))


def test_what_others_added_stays(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    whole = full(investigation)
    lane.apply(plan(whole))
    fewer = replace(whole, datafiles=whole.datafiles[:1], instruments=())
    assert lane.apply(plan(fewer)).kind is OutcomeKind.UNCHANGED
    kinds = {c.what: c.kind for c in lane.diff(plan(fewer)).changes}
    assert kinds["Datafile run7.log"] == "extra"
    assert kinds["DatasetInstrument DREHM"] == "extra"
    assert len(held(client, investigation)[0].datafiles) == 2


DIFFERENT: dict[str, Any] = {
    "description": {"description": "another"},
    "start": {"start": START + timedelta(seconds=2)},
    "type": {"type": "other"},
    "sample": {"sample": Sample(name="Pfeffer", create=True)},
    "parameter": {
        "parameters": (Parameter(name="wavelength", units="angstrom", value=1.9),)
    },
    "file size": {
        "datafiles": (Datafile(name="run7.nxs", size=4712),),
    },
    "file parameter": {
        "datafiles": (
            Datafile(
                name="run7.nxs",
                parameters=(Parameter(name="wavelength", units="angstrom", value=3),),
            ),
        ),
    },
}


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_differs_is_rejected(
    lane: CatalogueSession, investigation: InvestigationKey, change: dict[str, Any]
) -> None:
    whole = full(investigation)
    lane.apply(plan(whole))
    with pytest.raises(Rejection, match=r"is there and differs.*existing_datasets"):
        lane.apply(plan(replace(whole, **change)))
    with pytest.raises(Rejection, match=r"is there and differs.*planned"):
        lane.diff(plan(replace(whole, **change)))
    assert lane.apply(plan(whole)).kind is OutcomeKind.UNCHANGED


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_differs_is_updated_by_policy(
    lane_with: Callable[..., CatalogueSession],
    client: Any,
    investigation: InvestigationKey,
    change: dict[str, Any],
) -> None:
    lane = lane_with(existing_datasets="update")
    whole = full(investigation)
    lane.apply(plan(whole))
    before = held(client, investigation)[0]
    changed = replace(whole, **change)
    assert lane.apply(plan(changed)).kind is OutcomeKind.INGESTED
    assert lane.apply(plan(changed)).kind is OutcomeKind.UNCHANGED
    (after,) = held(client, investigation)
    assert after.id == before.id
    assert after.complete is True
    assert len(after.datafiles) == 2
    assert after.endDate == before.endDate
    assert {f.location for f in after.datafiles} == {
        f.location for f in before.datafiles
    }


def test_what_differs_gets_a_new_name_by_policy(
    lane_with: Callable[..., CatalogueSession],
    client: Any,
    investigation: InvestigationKey,
) -> None:
    lane = lane_with(existing_datasets="new_name")
    whole = full(investigation)
    changed = replace(whole, description="another")
    assert lane.apply(plan(whole)).datasets[0].name == "run 7"
    renamed = lane.apply(plan(changed)).datasets[0]
    assert renamed.kind is OutcomeKind.INGESTED
    assert renamed.name.startswith("run 7-")
    again = lane.apply(plan(changed)).datasets[0]
    assert (again.name, again.kind) == (renamed.name, OutcomeKind.UNCHANGED)
    assert lane.apply(plan(whole)).datasets[0].name == "run 7"
    assert lane.diff(plan(changed)).is_empty
    assert [d.name for d in held(client, investigation)] == ["run 7", renamed.name]


def test_a_new_name_is_a_function_of_the_message_alone(
    lane_with: Callable[..., CatalogueSession],
    client: Any,
    investigation: InvestigationKey,
) -> None:
    lane = lane_with(existing_datasets="new_name", missing_samples="skip")
    whole = full(investigation)
    lane.apply(plan(replace(whole, description="another", datafiles=())))
    first = lane.apply(plan(replace(whole, sample=Sample(name="später"))))
    file, log = whole.datafiles
    # The same message, with another configuration and another state of the catalogue.
    again = replace(
        whole,
        sample=Sample(name="später", create=True),
        parameters=whole.parameters[:1],
        start=START.astimezone(timezone(timedelta(hours=5))),
        datafiles=(log, replace(file, location=None, checksum=None, source="/a")),
    )
    assert new_name(again) == new_name(whole) == first.datasets[0].name
    lane.apply(plan(again))
    names = [dataset.name for dataset in held(client, investigation)]
    assert names == ["run 7", first.datasets[0].name]
    other = replace(again, datafiles=(log, replace(file, size=4712)))
    assert new_name(other) != new_name(again)


def test_a_new_name_that_is_taken_by_something_else_is_told(
    lane_with: Callable[..., CatalogueSession], investigation: InvestigationKey
) -> None:
    lane = lane_with(existing_datasets="new_name")
    whole = full(investigation)
    for text in ("one", "two"):
        lane.apply(plan(replace(whole, description=text)))
    with pytest.raises(Rejection, match=r"differs.*new_name"):
        lane.apply(plan(replace(whole, description="three")))


def test_fractions_of_seconds_and_the_last_bit_do_not_matter(
    lane: CatalogueSession, investigation: InvestigationKey
) -> None:
    whole = full(investigation)
    lane.apply(plan(whole))
    parameters = (replace(whole.parameters[0], value=1.8000000000000003),)
    near = replace(whole, start=START.replace(microsecond=1), parameters=parameters)
    assert lane.apply(plan(near)).kind is OutcomeKind.UNCHANGED
    parameters = (replace(whole.parameters[0], value=1.8000000001),)
    with pytest.raises(Rejection, match="differs"):
        lane.apply(plan(replace(whole, parameters=parameters)))


def test_a_missing_investigation_is_waited_for(lane: CatalogueSession) -> None:
    key = InvestigationKey(name="2099-1", visit_id="2")
    with pytest.raises(DependencyMissing) as raised:
        lane.apply(plan(full(key)))
    assert raised.value.missing == ("investigation:2099-1/2",)
    assert lane.present(raised.value.missing) == set()


def test_what_is_there_by_now(
    lane: CatalogueSession, investigation: InvestigationKey
) -> None:
    name = investigation.name
    asked = {
        f"investigation:{name}/1",
        f"investigation:{name}",
        f"investigation:{name}/2",
        "investigation:none\x01",
        f"investigation:{'x' * 300}",
        "parameter_type:wavelength [angstrom]",
        "parameter_type:wavelength [nm]",
        "parameter_type:wavelength",
        "parameter_type:mode []",
        "instrument:DREHM",
        "instrument:drehm",
        "instrument:ÄTHER'S <1>",
        "technique:diffraction",
        "dataset_type:raw",
        "weather:fine",
    }
    assert lane.present(asked) == {
        f"investigation:{name}/1",
        f"investigation:{name}",
        "parameter_type:wavelength [angstrom]",
        "parameter_type:wavelength",
        "parameter_type:mode []",
        "instrument:DREHM",
        "instrument:ÄTHER'S <1>",
        "technique:diffraction",
        "dataset_type:raw",
    }


def test_look_ups(lane: CatalogueSession, investigation: InvestigationKey) -> None:
    (entry,) = lane.investigations(investigation.name)
    assert entry.key == investigation
    assert lane.investigations("no'ne") == []
    (mode,) = lane.parameter_types("mode")
    assert mode.enforced
    assert set(mode.permissible) == {"fast", "slow"}
    assert mode.applicable_to == {"Dataset"}
    (temperature,) = lane.parameter_types("temperature")
    assert (temperature.minimum, temperature.maximum) == (0.0, 300.0)
    assert lane.exists("Instrument", "DREHM")
    assert not lane.exists("Instrument", "DREHM2")
    assert lane.exists("Technique", "diffraction")
    assert lane.formats("NeXus") == ["1.0"]
    assert lane.formats("none") == []


def test_a_visit_that_just_came_is_seen(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    lane.apply(plan(full(investigation)))
    assert len(lane.investigations(investigation.name)) == 1
    first = client.assertedSearch(
        f"SELECT i FROM Investigation i WHERE i.name = '{investigation.name}'"
        " INCLUDE i.facility, i.type"
    )[0]
    client.new(
        "Investigation",
        name=first.name,
        visitId="2",
        title="again",
        facility=first.facility,
        type=first.type,
    ).create()
    visits = [entry.key.visit_id for entry in lane.investigations(investigation.name)]
    assert visits == ["1", "2"]


def test_what_was_deleted_behind_the_cache_is_looked_up_again(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    lane.apply(plan(full(investigation)))
    sample = client.assertedSearch(
        f"SELECT s FROM Sample s WHERE s.investigation.name = '{investigation.name}'"
    )[0]
    client.delete(sample)  # and its datasets with it
    with pytest.raises(TransientFailure):
        lane.apply(plan(full(investigation)))
    assert lane.apply(plan(full(investigation))).kind is OutcomeKind.INGESTED
    assert held(client, investigation)[0].sample.name == "Salz"
