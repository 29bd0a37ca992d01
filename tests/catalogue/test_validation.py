"""What is wrong is told before anything is sent."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from icat_stream.catalogue import CatalogueSession
from icat_stream.catalogue.validation import Checker
from icat_stream.icat.schema import Schema, discover
from icat_stream.records import (
    Datafile,
    DatafileFormat,
    Dataset,
    DependencyMissing,
    InvestigationKey,
    OutcomeKind,
    Parameter,
    Rejection,
    Sample,
    Technique,
)

from .plans import full, held, plan

KEY = InvestigationKey(name="2024-1", visit_id="1")
NAIVE = datetime(2024, 5, 6)  # noqa: DTZ001
EDGE = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2)))


@pytest.fixture(scope="module")
def schema(server: Any) -> Schema:
    return discover(server.url, 10.0)


def test_the_schema_is_the_servers(schema: Schema) -> None:
    assert schema.version.startswith("6.")
    assert schema.length("Dataset", "name") == 255
    assert schema.length("DatasetParameter", "stringValue") == 4000
    assert schema.has("Datafile", "checksum")
    assert not schema.has("Datafile", "colour")
    assert schema.to_one("Dataset")["sample"] == "Sample"
    assert "id" not in schema.attributes("ParameterType")
    assert "applicableToDataset" in schema.attributes("ParameterType")


def test_the_schema_is_the_one_that_python_icat_reads(
    schema: Schema, client: Any
) -> None:
    theirs = {
        str(name): {
            str(field.name): (
                str(field.type),
                str(field.relType),
                getattr(field, "stringLength", None),
            )
            for field in client.getEntityInfo(name).fields
        }
        for name in client.getEntityNames()
    }
    ours = {
        name: {n: (f.type, f.relation, f.length) for n, f in fields.items()}
        for name, fields in schema.entities.items()
    }
    assert ours == theirs
    assert schema.version == str(client.apiversion)


def file(**fields: Any) -> dict[str, Any]:
    return {"datafiles": (Datafile(**{"name": "a.nxs"} | fields),)}


def files(*names: str) -> dict[str, Any]:
    return {"datafiles": tuple(Datafile(name=name) for name in names)}


def parameter(value: Any, **fields: Any) -> dict[str, Any]:
    named = {"name": "wavelength", "units": "angstrom"} | fields
    return {"parameters": (Parameter(value=value, **named),)}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, r"Dataset '': name: empty"),
    ({"name": "x" * 256}, r"name: 256 characters \('x+…'\), at most 255"),
    ({"description": "x" * 256}, r"description: 256 characters"),
    ({"description": "a\x01b"}, r"description: 'a\\x01b' holds U\+0001 at 1"),
    ({"description": "a\ud800"}, r"U\+D800"),
    ({"location": "\ufffe"}, r"location: .* U\+FFFE"),
    ({"start": NAIVE}, r"startDate: .* has no time zone"),
    ({"end": EDGE}, r"endDate: .* is outside the years 1 to 9999"),
    ({"start": "yesterday"}, r"startDate: 'yesterday' is no time"),
    ({"type": "x" * 300}, r"type: 'x+…' is no name"),
    ({"sample": Sample(name="")}, r"Sample '': name: empty"),
    ({"techniques": (Technique(name="a\x00"),)}, r"technique: .* is no name"),
    (file(name=""), r"Datafile '': name: empty"),
    (file(name="n" * 256), r"Datafile 'n+…': name: 256 characters"),
    (file(location="l" * 2000), r"Datafile 'a.nxs': location: 2000 characters"),
    (file(checksum="\x02"), r"checksum: .* U\+0002"),
    (file(size=-1), r"fileSize: -1 is no number of bytes"),
    (file(size=1.5), r"fileSize: 1.5 is no number"),
    (file(size=2**63), r"fileSize: 9223372036854775808 is no number of bytes"),
    (file(size=True), r"fileSize: True is no number"),
    (file(mod_time=NAIVE), r"Datafile 'a.nxs': datafileModTime: .* no time zone"),
    (file(format=DatafileFormat(name="x" * 256, version="1")), r"format: 'x+…'"),
    (files("a", "b", "a"), r"datafiles: 2 of one name \('a', 'a'\)"),
    (files("run", "RUN "), r"datafiles: 2 of one name \('run', 'RUN '\)"),
    (parameter(float("nan")), r"numericValue: nan is no finite number"),
    (parameter(float("-inf")), r"numericValue: -inf is no finite number"),
    (parameter(10**400), r"numericValue: 1000.* is no finite number"),
    (parameter(True), r"numericValue: True is no number"),
    (parameter(None), r"numericValue: None is no number"),
    (parameter(1, error=float("inf")), r"error: inf is no finite number"),
    (parameter("x" * 4001), r"stringValue: 4001 characters .*, at most 4000"),
    (parameter(NAIVE), r"DatasetParameter wavelength .*: dateTimeValue: .* zone"),
    (parameter(1.0, name="a\x07"), r"parameter: 'a\\x07' is no name"),
    (parameter(1.0, units="x" * 256), r"unit: 'x+…' is no name"),
    (
        {"parameters": (Parameter(name="a", units="", value=1),) * 2},
        r"parameters: 2 of one name \('a \(no units\)', 'a \(no units\)'\)",
    ),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG, ids=[told for _, told in WRONG])
def test_what_is_wrong_is_named(
    schema: Schema, wrong: dict[str, Any], told: str
) -> None:
    dataset = Dataset(**{"investigation": KEY, "name": "a", "type": "raw"} | wrong)
    with pytest.raises(Rejection, match=told) as raised:
        Checker(schema, ignore_case=True).dataset(dataset)
    assert len(str(raised.value)) < 400


def test_the_limits_are_the_servers(schema: Schema) -> None:
    location = replace(schema.entities["Datafile"]["location"], length=255)
    fields = {
        name: field
        for name, field in schema.entities["Datafile"].items()
        if name != "checksum"
    }
    fields["location"] = location
    older = replace(
        schema, version="5.0.1", entities={**schema.entities, "Datafile": fields}
    )
    for wrong, told in (
        (file(location="l" * 256), "location: 256 characters .*, at most 255"),
        (file(checksum="sha256:0"), r"checksum: ICAT 5\.0\.1 has no such field"),
    ):
        dataset = Dataset(investigation=KEY, name="a", type="raw", **wrong)
        with pytest.raises(Rejection, match=told):
            Checker(older, ignore_case=True).dataset(dataset)
        Checker(schema, ignore_case=True).dataset(dataset)


def test_only_the_first_problems_are_listed(schema: Schema) -> None:
    dataset = Dataset(
        investigation=KEY, name="a", type="raw", **files(*["n" * 256] * 100)
    )
    with pytest.raises(Rejection, match=r"and \d+ more$") as raised:
        Checker(schema, ignore_case=True).dataset(dataset)
    assert len(str(raised.value)) < 1500


def test_where_case_counts_it_distinguishes(schema: Schema) -> None:
    dataset = Dataset(investigation=KEY, name="a", type="raw", **files("a", "A"))
    Checker(schema, ignore_case=False).dataset(dataset)


def test_the_limits_themselves_are_allowed(
    lane: CatalogueSession, investigation: InvestigationKey
) -> None:
    widest = full(
        investigation,
        name="😀" * 255,
        description="ä" * 255,
        datafiles=(
            Datafile(name="n" * 255, location="l" * 511, size=2**63 - 1),
            Datafile(name="a"),
        ),
        parameters=(
            Parameter(name="title", units="", value="x" * 4000),
            Parameter(
                name="wavelength", units="angstrom", value=1.7976931348623157e308
            ),
            Parameter(
                name="when",
                units="",
                value=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
            ),
        ),
    )
    assert lane.apply(plan(widest)).kind is OutcomeKind.INGESTED
    assert lane.apply(plan(widest)).kind is OutcomeKind.UNCHANGED


VALUES = [
    ("humidity", "%", 5.0, r"not applicable to a Dataset.*applicableToDataset"),
    ("wavelength", "angstrom", "long", r"value: 'long' is not a number.*NUMERIC"),
    ("title", "", 5.0, r"value: 5.0 is not text, but the type is STRING"),
    ("when", "", "2024", r"value: '2024' is not a time"),
    ("temperature", "K", -0.1, r"value: -0.1 is under the minimum, 0.0"),
    ("temperature", "K", 301, r"value: 301 is over the maximum, 300.0"),
    ("mode", "", "medium", r"none of the permissible values \('fast', 'slow'\)"),
]


@pytest.mark.parametrize(("name", "units", "value", "told"), VALUES)
def test_a_value_that_does_not_fit_its_type_is_never_sent(
    lane: CatalogueSession,
    client: Any,
    investigation: InvestigationKey,
    name: str,
    units: str,
    value: Any,
    told: str,
) -> None:
    wrong = Parameter(name=name, units=units, value=value)
    with pytest.raises(Rejection, match=told):
        lane.apply(plan(full(investigation, parameters=(wrong,))))
    with pytest.raises(Rejection, match=told):
        lane.diff(plan(full(investigation, parameters=(wrong,))))
    assert held(client, investigation) == []


def test_a_value_of_a_file_is_checked_for_files(
    lane: CatalogueSession, investigation: InvestigationKey
) -> None:
    title = Parameter(name="title", units="", value="x")
    datafile = Datafile(name="a", parameters=(title,))
    with pytest.raises(Rejection, match=r"not applicable to a Datafile"):
        lane.apply(plan(full(investigation, datafiles=(datafile,))))


MISSING: list[tuple[dict[str, Any], str]] = [
    ({"type": "none"}, r"dataset type 'none' is not in the catalogue"),
    ({"instruments": ("none",)}, r"instrument 'none'.*missing_instruments"),
    (
        file(format=DatafileFormat(name="NeXus", version="9")),
        r"format 'NeXus' version '9' is not.*which has 1.0",
    ),
    (
        file(format=DatafileFormat(name="none", version="9")),
        r"format 'none' version '9' is not.*which has no version",
    ),
    (
        parameter(1.0, units="nm"),
        r"parameter type wavelength \[nm\] .* is not.*unknown_parameter_types",
    ),
]


@pytest.mark.parametrize(("wrong", "told"), MISSING)
def test_what_a_plan_refers_to_has_to_be_there(
    lane: CatalogueSession,
    investigation: InvestigationKey,
    wrong: dict[str, Any],
    told: str,
) -> None:
    with pytest.raises(Rejection, match=told):
        lane.apply(plan(full(investigation, **wrong)))


def unknown_types(investigation: InvestigationKey, count: int) -> Dataset:
    """Return a dataset with many parameters that no catalogue knows."""
    new = [Parameter(name=f"new{number}", units="", value=1) for number in range(count)]
    other = Parameter(name="wavelength", units="nm", value=1)
    first, *rest = full(investigation).datafiles
    file = replace(first, parameters=(Parameter(name="luck", units="%", value=1),))
    return full(investigation, parameters=(other, *new), datafiles=(file, *rest))


def test_all_unknown_parameter_types_are_named_with_what_to_do(
    lane: CatalogueSession, investigation: InvestigationKey
) -> None:
    with pytest.raises(Rejection) as raised:
        lane.apply(plan(unknown_types(investigation, 1)))
    assert raised.value.reason == (
        "parameter types wavelength [nm] (there is wavelength [angstrom]), new0 (no"
        " units), luck [%] are not in the catalogue: create them, applicable to"
        " Datafile and Dataset, or set policies.unknown_parameter_types, which is"
        " reject, to create, skip or park"
    )
    with pytest.raises(Rejection, match=r"new8 \(no units\), and 41 more are not in"):
        lane.apply(plan(unknown_types(investigation, 49)))
    with pytest.raises(Rejection, match=r"are not in the catalogue"):
        lane.diff(plan(unknown_types(investigation, 1)))


def test_all_unknown_parameter_types_are_waited_for(
    lane_with: Callable[..., CatalogueSession], investigation: InvestigationKey
) -> None:
    lane = lane_with(unknown_parameter_types="park")
    with pytest.raises(DependencyMissing) as raised:
        lane.apply(plan(unknown_types(investigation, 1)))
    assert raised.value.missing == (
        "parameter_type:wavelength [nm]",
        "parameter_type:new0 []",
        "parameter_type:luck [%]",
    )


def test_what_is_missing_is_left_out_by_policy(
    lane_with: Callable[..., CatalogueSession],
    client: Any,
    investigation: InvestigationKey,
) -> None:
    lane = lane_with(
        unknown_parameter_types="skip",
        missing_samples="skip",
        missing_techniques="skip",
        missing_instruments="skip",
    )
    whole = full(investigation)
    wanted = replace(
        whole,
        instruments=(*whole.instruments, "none"),
        techniques=(*whole.techniques, Technique(name="alchemy")),
        parameters=(*whole.parameters, Parameter(name="luck", units="%", value=1)),
        sample=Sample(name="unheard of"),
    )
    applied = lane.apply(plan(wanted))
    assert len(applied.notes) == 4
    (dataset,) = held(client, investigation)
    assert len(dataset.datasetInstruments) == 2
    assert len(dataset.datasetTechniques) == 1
    assert len(dataset.parameters) == 3
    assert dataset.sample is None
    assert lane.apply(plan(wanted)).kind is OutcomeKind.UNCHANGED


def test_a_known_type_is_checked_beside_one_that_is_to_be_created(
    lane_with: Callable[..., CatalogueSession],
    client: Any,
    investigation: InvestigationKey,
) -> None:
    lane = lane_with(unknown_parameter_types="create")
    new = Parameter(name=f"fate {investigation.name}", units="%", value=1)
    hot = Parameter(name="temperature", units="K", value=301.0)
    wanted = plan(full(investigation, parameters=(new, hot)))
    for call in (lane.diff, lane.apply):
        with pytest.raises(Rejection, match="over the maximum"):
            call(wanted)
    assert lane.parameter_types(new.name) == []


def test_what_is_missing_is_created_by_policy(
    lane_with: Callable[..., CatalogueSession],
    client: Any,
    investigation: InvestigationKey,
) -> None:
    lane = lane_with(unknown_parameter_types="create", missing_techniques="create")
    new = Parameter(name=f"luck {investigation.name}", units="%", value=1)
    text = replace(new, name=f"mood {investigation.name}", value="good")
    wanted = full(
        investigation,
        sample=Sample(name="Salz", type=f"salt {investigation.name}", create=True),
        techniques=(Technique(name=f"alchemy {investigation.name}"),),
        parameters=(new, text),
        datafiles=(Datafile(name="a", parameters=(new,)),),
    )
    diff = lane.diff(plan(wanted))
    assert {c.kind for c in diff.changes} == {"new"}
    assert f"ParameterType {new.name} [%]" in {c.what for c in diff.changes}
    applied = lane.apply(plan(wanted))
    assert [line.split()[0] for line in applied.written] == [
        "ParameterType",
        "ParameterType",
        "Technique",
        "SampleType",
        "Sample",
        "Dataset",
    ]
    assert lane.apply(plan(wanted)).kind is OutcomeKind.UNCHANGED
    (luck,) = lane.parameter_types(new.name)
    assert luck.applicable_to == {"Dataset", "Datafile"}
    (mood,) = lane.parameter_types(text.name)
    assert (mood.value_type, mood.applicable_to) == ("STRING", {"Dataset"})
    (dataset,) = held(client, investigation)
    assert dataset.sample.name == "Salz"


def test_what_is_missing_is_waited_for_by_policy(
    lane_with: Callable[..., CatalogueSession], investigation: InvestigationKey
) -> None:
    lane = lane_with(unknown_parameter_types="park", missing_instruments="park")
    for change, missing in (
        ({"instruments": ("none",)}, "instrument:none"),
        (parameter(1.0, units="nm"), "parameter_type:wavelength [nm]"),
    ):
        with pytest.raises(DependencyMissing) as raised:
            lane.apply(plan(full(investigation, **change)))
        assert raised.value.missing == (missing,)
        assert lane.present([missing]) == set()


def test_a_sample_is_asked_for_by_its_type_and_formula(
    lane: CatalogueSession, client: Any, investigation: InvestigationKey
) -> None:
    facility = client.assertedSearch("SELECT f FROM Facility f")[0]
    for formula in ("H2O", "D2O"):
        client.new(
            "SampleType",
            name=f"water {investigation.name}",
            molecularFormula=formula,
            facility=facility,
        ).create()
    sample = Sample(name="drop", type=f"water {investigation.name}", create=True)
    with pytest.raises(Rejection, match="state the molecular formula"):
        lane.apply(plan(full(investigation, sample=sample)))
    sample = replace(sample, molecular_formula="D2O")
    lane.apply(plan(full(investigation, sample=sample)))
    query = (
        "SELECT s.type.molecularFormula FROM Sample s WHERE s.investigation.name ="
        f" '{investigation.name}'"
    )
    assert client.search(query) == ["D2O"]


def test_a_plan_for_another_facility_is_refused(
    lane: CatalogueSession, investigation: InvestigationKey
) -> None:
    wanted = replace(plan(full(investigation)), facility="Anderswo")
    with pytest.raises(Rejection, match="facility 'Anderswo'"):
        lane.apply(wanted)


def test_a_plan_with_a_dataset_twice_is_refused(
    lane: CatalogueSession, investigation: InvestigationKey
) -> None:
    with pytest.raises(Rejection, match="twice"):
        lane.apply(plan(full(investigation), full(investigation)))
