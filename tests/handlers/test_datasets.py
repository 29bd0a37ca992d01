"""Dataset messages become plans, or say what is wrong with them."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.app import load_handler
from icat_stream.config import ConfigError, Settings
from icat_stream.handlers import HandlerContext
from icat_stream.messages import Undecodable, read_event
from icat_stream.records import (
    DatasetEntry,
    DependencyMissing,
    Failure,
    Investigation,
    InvestigationEntry,
    InvestigationKey,
    NotReady,
    Outcome,
    OutcomeKind,
    ParameterTypeEntry,
    Plan,
    Rejection,
    ValueType,
    replacing_name,
)

BEAMLINE = "bl06"


def entry(visit="1", start=None, end=None, instruments=(BEAMLINE,)):
    return InvestigationEntry(
        key=InvestigationKey(name="P1", visit_id=visit),
        start=start,
        end=end,
        instruments=instruments,
    )


def kind(name, units="", value_type=ValueType.STRING):
    return ParameterTypeEntry(
        name=name,
        units=units,
        value_type=value_type,
        applicable_to=frozenset({"Dataset"}),
    )


@pytest.fixture
def catalogue(catalogue):
    catalogue.visits = [entry()]
    catalogue.types = [
        kind("input_datasets"),
        kind("processing version"),
        kind("scan"),
        kind("exposure", "s", ValueType.NUMERIC),
        kind("measured", "", ValueType.DATE_AND_TIME),
        kind("length", "mm", ValueType.NUMERIC),
        kind("length", "m", ValueType.NUMERIC),
    ]
    return catalogue


@pytest.fixture
def folder(data, tmp_path):
    """A dataset's folder that no other test has."""
    folder = data / tmp_path.name
    folder.mkdir()
    return folder


@pytest.fixture
def make(data, reader):
    def make(name="datasets", options=None, **sections):
        values = {
            "facility": "EXAMPLE",
            "files": {"roots": [data], "path_map": {"/beamline": str(data)}},
            "ids": {"location": {"root": data}},
            "consumers": {"a": {"handler": name, "topics": ["t"]}},
        }
        context = HandlerContext(
            settings=Settings(**values | sections), files=reader, options=options or {}
        )
        return load_handler(name)(context)

    return make


@pytest.fixture
def plan(make, record, catalogue, folder):
    def plan(options=None, drop=(), handled_by="datasets", sections=None, **fields):
        message = {
            "investigation": "P1",
            "instrument": BEAMLINE,
            "name": "scan 1",
            "location": str(folder),
            "datafiles": [{"location": "a.h5"}],
        }
        if handled_by == "datasets" and "dataset_paths" not in fields:
            (folder / "a.h5").write_bytes(b"1234")
            fields = message | fields
        value = {k: v for k, v in fields.items() if k not in drop}
        handler = make(handled_by, options, **(sections or {}))
        said = handler.decode(record(json.dumps(value).encode()))
        return said if isinstance(said, Outcome) else handler.plan(said, catalogue)

    return plan


def only(plan):
    assert isinstance(plan, Plan), plan
    (dataset,) = plan.datasets
    return dataset


def test_listed_files_are_looked_at(plan, folder, data):
    dataset = only(plan(datafiles=[{"location": "a.h5", "size": 4}]))
    (file,) = dataset.datafiles
    assert (file.name, file.size) == ("a.h5", 4)
    assert file.location == f"{folder.name}/a.h5"
    assert file.mod_time is not None
    assert (dataset.type, dataset.complete) == ("acquisition", True)
    assert dataset.location == str(folder)
    assert dataset.instruments == (BEAMLINE,)


def test_what_a_message_is_about_is_short_enough_for_the_journal(make, record):
    said = make().decode(
        record(json.dumps({"name": "n" * 10**6, "location": "/x"}).encode())
    )
    assert said.objects == {"dataset": "n" * 299 + "…", "location": "/x"}


def test_paths_of_the_beamline_are_mapped(plan, folder):
    dataset = only(
        plan(
            location=f"/beamline/{folder.name}",
            datafiles=[f"/beamline/{folder.name}/a.h5"],
        )
    )
    assert dataset.location == str(folder)
    assert [file.name for file in dataset.datafiles] == ["a.h5"]


def test_relative_locations_begin_where_it_is_configured(plan, data):
    (data / "P1" / BEAMLINE / "s").mkdir(parents=True)
    (data / "P1" / BEAMLINE / "s" / "b.h5").touch()
    dataset = only(
        plan(
            {"base": "{root}/{investigation}/{instrument}"},
            location="s",
            datafiles=["b.h5"],
        )
    )
    assert dataset.datafiles[0].location == f"P1/{BEAMLINE}/s/b.h5"


@pytest.fixture
def confined(plan, data):
    def confined(confine="{root}/{investigation}", options=None, **fields):
        sections = {
            "files": {"roots": [data], "confine": [confine]},
            "ids": {"location": {"root": data}},
        }
        return plan(options, sections=sections, **fields)

    for folder in ("P1/s", "P2/s", "P1-other/s"):
        (data / folder).mkdir(parents=True, exist_ok=True)
        (data / folder / "b.h5").touch()
    return confined


@pytest.mark.parametrize("files", ["check", "trust"])
def test_files_of_another_investigation_are_refused(confined, data, files):
    options = {"files": files}
    own = {"location": f"{data}/P1/s", "datafiles": ["b.h5"], "options": options}
    dataset = only(confined(**own))
    assert dataset.datafiles[0].location == "P1/s/b.h5"
    for wrong in (
        {"location": f"{data}/P2/s"},
        {"location": f"{data}/P1-other/s"},
        {"location": str(data)},
        {"datafiles": [f"{data}/P2/s/b.h5"]},
        {"datafiles": ["b.h5", {"location": f"{data}/P2/s/b.h5", "name": "c"}]},
    ):
        with pytest.raises(Rejection, match=r"files\.confine"):
            confined(**own | wrong)


def test_links_do_not_lead_to_another_investigation(confined, data):
    (data / "P1" / "s" / "theirs").symlink_to(data / "P2" / "s")
    own = {"location": f"{data}/P1/s"}
    with pytest.raises(Rejection, match=r"files\.confine"):
        confined(datafiles=["theirs/b.h5"], **own)
    (data / "P1" / "s" / "theirs").unlink()
    # An investigation's own folder may be one.
    (data / "linked").mkdir()
    (data / "linked" / "P1").symlink_to(data / "P1")
    assert only(confined("{root}/linked/{investigation}", datafiles=["b.h5"], **own))


@pytest.mark.parametrize(
    "confine", ["{house}/x", "{investigation}", "/data", "data/{investigation}", "{"]
)
def test_where_files_must_lie_is_a_template(confine):
    with pytest.raises(ValueError, match="confine"):
        Settings(facility="EXAMPLE", files={"confine": [confine]})


def test_unseen_files_are_taken_as_listed(plan):
    dataset = only(plan({"files": "trust"}, datafiles=[{"location": "x", "size": "9"}]))
    assert [(f.name, f.size) for f in dataset.datafiles] == [("x", 9)]


def test_files_are_found(plan, folder):
    (folder / "deep").mkdir()
    (folder / ".cache").mkdir()
    for name in ("deep/b.h5", ".hidden", ".cache/c.h5", "empty"):
        (folder / name).touch()
    dataset = only(plan(datafiles=[]))
    assert [f.name for f in dataset.datafiles] == ["a.h5", "deep/b.h5", "empty"]


def test_links_are_judged_by_where_they_lead(plan, folder, data):
    (data / "elsewhere.h5").write_bytes(b"12")
    (folder / "link.h5").symlink_to(data / "elsewhere.h5")
    (folder / "loop").symlink_to(folder)
    names = [(f.name, f.size) for f in only(plan(datafiles=[])).datafiles]
    assert names == [("a.h5", 4), ("link.h5", 2)]
    (folder / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(Rejection, match="outside the allowed folders"):
        plan(datafiles=[])
    with pytest.raises(Rejection, match="outside the allowed folders"):
        plan(datafiles=["passwd"])


def test_parameters_get_the_units_and_kinds_of_their_types(plan):
    dataset = only(
        plan(
            parameters=[
                {"name": "scan", "value": 7},
                {"name": "exposure", "value": "0.5"},
                {"name": "measured", "value": "2026-07-01_10:00:00"},
                {"name": "length", "value": 3, "unit": "mm"},
                {"name": "nothing", "value": ""},
            ]
        )
    )
    assert [(p.name, p.units, p.value) for p in dataset.parameters] == [
        ("scan", "", "7"),
        ("exposure", "s", 0.5),
        ("measured", "", datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("length", "mm", 3.0),
    ]


def test_unknown_parameter_types_by_policy(plan):
    unknown = [{"name": "new", "value": 1}, {"name": "word", "value": "x"}]

    def policy(name):
        return {"policies": {"unknown_parameter_types": name}}

    skipped = plan(parameters=unknown, sections=policy("skip"))
    assert only(skipped).parameters == ()
    assert skipped.notes[0] == (
        "parameters: new: parameter type new (no units) is not in the catalogue:"
        " left out"
    )
    # Otherwise they are the catalogue's to make or to name.
    for other in ("create", "reject", "park"):
        made = plan(parameters=unknown, sections=policy(other))
        assert [(p.name, p.value) for p in only(made).parameters] == [
            ("new", 1.0),
            ("word", "x"),
        ]


def test_inputs_make_it_processed(plan):
    parameters = [{"name": "input_datasets", "value": "raw/1,raw/2"}]
    dataset = only(plan(parameters=parameters))
    assert (dataset.type, dataset.existing) == ("processed", None)
    parameters.append({"name": "processing version", "value": "2.0"})
    assert only(plan(parameters=parameters)).existing == "replace"


def test_an_older_version_is_ignored(plan, catalogue):
    catalogue.held = [
        DatasetEntry(
            id=1,
            investigation=InvestigationKey(name="P1", visit_id="1"),
            name="scan 1",
            type="processed",
            parameters={"processing version": "2.1"},
        )
    ]
    outcome = plan(
        parameters=[
            {"name": "input_datasets", "value": "raw/1"},
            {"name": "processing version", "value": "2.0"},
        ]
    )
    assert outcome.kind is OutcomeKind.IGNORED
    assert outcome.reason.startswith("superseded: dataset P1/1/scan 1 is there with")
    # What its own replacement left is taken away first, by the catalogue's room.
    left = replace(catalogue.held[0], id=2, name=replacing_name("scan 1", "2.0"))
    catalogue.held.append(replace(left, parameters={"processing version": "2.0"}))
    parameters = [
        {"name": "input_datasets", "value": "raw/1"},
        {"name": "processing version", "value": "2.0"},
    ]
    assert only(plan(parameters=parameters)).existing == "replace"


def day(number):
    return datetime(2026, 7, number, tzinfo=UTC)


def test_the_visit_is_chosen_by_the_dates(plan, catalogue):
    catalogue.visits = [
        entry("1", day(1), day(5)),
        entry("2", day(10), day(15)),
        entry("3", day(10), day(15), instruments=("bl07",)),
    ]
    assert only(plan(start_date="2026-07-12")).investigation.visit_id == "2"
    assert only(plan(end_date="2026-07-03")).investigation.visit_id == "1"
    assert only(plan(visit_id="1")).investigation.visit_id == "1"
    with pytest.raises(Rejection, match=r"2 visits .* none of them covers"):
        plan(start_date="2026-07-07")


def test_the_investigation_by_its_id(plan, catalogue):
    catalogue.by_id = {42: entry("9")}
    dataset = only(plan(drop=["investigation"], investigation_id="42"))
    assert dataset.investigation.visit_id == "9"
    with pytest.raises(DependencyMissing) as caught:
        plan(drop=["investigation"], investigation_id=43)
    assert caught.value.missing == ("investigation_id:43",)


@pytest.mark.parametrize("value", [9007199254740993, "9007199254740993"])
def test_a_whole_number_that_no_float_is_equal_to_is_noted(plan, value):
    made = plan(parameters=[{"name": "exposure", "value": value}])
    assert only(made).parameters[0].value == 9007199254740992
    (note,) = made.notes
    assert "exposure: 9007199254740993 becomes 9007199254740992" in note


def test_a_sample_may_have_parameters(plan):
    sample = {
        "name": "NaCl 1",
        "parameter": [
            {"name": "length", "value": "2.5", "units": "mm"},
            {"name": "scan", "value": "x"},
        ],
    }
    found = only(plan(sample=sample)).sample
    assert [(p.name, p.units, p.value) for p in found.parameters] == [
        ("length", "mm", 2.5),
        ("scan", "", "x"),
    ]
    sample["parameter"][0]["value"] = "long"
    with pytest.raises(Rejection, match="sample NaCl 1: length: its type is NUMERIC"):
        plan(sample=sample)


def test_units_are_converted_to_those_of_the_only_type_that_fits(plan):
    said = [
        {"name": "exposure", "value": "250", "units": "ms"},
        {"name": "length", "value": 1, "units": "cm"},
        {"name": "scan", "value": 1, "units": "mm"},
    ]
    found = only(plan(parameters=said)).parameters
    assert [(p.name, p.units, p.value) for p in found] == [
        ("exposure", "s", 0.25),
        # Two would do, and none: the catalogue names them.
        ("length", "cm", 1.0),
        ("scan", "mm", 1.0),
    ]
    said[0] |= {"value": "1e308", "units": "h"}
    with pytest.raises(Rejection, match=r"exposure: 1e308 \[h\] in \[s\]: .* large"):
        plan(parameters=said)


STUBS = {
    "policies": {"missing_investigations": "stub", "stubs": {"type": "experiment"}}
}


def test_a_missing_investigation_becomes_a_stub(plan, catalogue):
    catalogue.visits = []
    planned = plan(sections=STUBS, start_date="2026-07-12T00:00:00Z")
    assert only(planned).investigation.visit_id == "1"
    (stub,) = planned.stubs
    assert stub.investigation == only(planned).investigation
    assert (stub.start, stub.instruments) == (day(12), (BEAMLINE,))
    assert plan(sections=STUBS, visit_id="7").stubs[0].key == "P1/7"


def test_any_instrument_may_measure_for_a_stub(plan, catalogue):
    catalogue.visits = [replace(entry(instruments=("bl07",)), state="stub")]
    (stub,) = plan(sections=STUBS).stubs
    assert stub.instruments == (BEAMLINE,)
    catalogue.visits = [entry(instruments=("bl07",))]
    with pytest.raises(Rejection, match="instrument: 'bl06' is none of"):
        plan(sections=STUBS)


def test_no_stub_without_a_name(plan, catalogue):
    with pytest.raises(DependencyMissing):
        plan(drop=["investigation"], investigation_id=43, sections=STUBS)


def test_what_is_not_read_is_named(plan):
    plan = plan(colour="red", datafiles=[{"location": "a.h5", "owner": "x"}])
    assert plan.notes == ("fields that are not read: datafiles/owner, colour",)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"drop": ["name"]}, "name: is required"),
        ({"drop": ["location"]}, "location: is required"),
        ({"drop": ["investigation"]}, "investigation or investigation_id: one is"),
        ({"name": ["a", "b"]}, "name: expected one text"),
        ({"start_date": "tomorrow"}, "start_date: expected a time"),
        (
            {"start_date": "2026-07-02", "end_date": "2026-07-01"},
            r"end_date: 2026-07-01.* is before start_date",
        ),
        ({"instrument": "bl99"}, "instrument: 'bl99' is none of investigation P1"),
        ({"location": "/etc"}, "location: '/etc' is outside the allowed folders"),
        ({"location": "/etc/passwd"}, "location: '/etc/passwd' is outside"),
        ({"location": "../../etc"}, "location: .* expected a path without '..'"),
        ({"datafiles": ["/etc/passwd"]}, "datafiles: '/etc/passwd' is outside"),
        ({"location": "/" + "../" * 100_000}, "location: .* has 300001 characters"),
        ({"datafiles": ["a/" * 3000]}, "datafiles: .* characters, expected at most"),
        (
            {"parameters": [{"name": "length", "value": 1, "units": "m" * 256}]},
            "parameters: length: units: 'mmm.* has 256 characters",
        ),
        ({"datafiles": ["../x"]}, "datafiles: .* expected a path without '..'"),
        ({"datafiles": ["a\0.h5"]}, r"datafiles: holds U\+0000"),
        ({"datafiles": ["a.h5", "a.h5"]}, "datafiles: 'a.h5' is listed twice"),
        ({"datafiles": [{"location": "a.h5", "size": 5}]}, "has 4 bytes, and is"),
        ({"datafiles": [{"size": 5}]}, "datafiles/location: is required"),
        ({"datafiles": [], "options": {"walk": False}}, "datafiles: none are listed"),
        ({"datafiles": ["a.h5"] * 30_001}, "datafiles: 30001 are listed, expected at"),
        (
            {
                "parameters": [
                    {"name": "scan", "value": 1},
                    {"name": "scan", "value": 2},
                ]
            },
            "parameters: scan: is stated twice",
        ),
        (
            {"parameters": [{"name": "exposure", "value": "long"}]},
            "parameters: exposure: its type is NUMERIC: expected a number",
        ),
        (
            {"parameters": [{"name": "exposure", "value": "20250703_01"}]},
            "parameters: exposure: its type is NUMERIC: expected a number",
        ),
        (
            {"parameters": [{"name": "measured", "value": "noon"}]},
            "parameters: measured: its type is DATE_AND_TIME: expected a time",
        ),
        (
            {"parameters": [{"name": "length", "value": 1}]},
            r"parameters: length: is not .* without units, which has it in \[mm\]",
        ),
        ({"parameters": [{"value": 1}]}, "parameters/name: is required"),
        (
            {"sample": {"name": "s"}, "options": {"sample_type": "required"}},
            "sample/type: is required",
        ),
    ],
)
def test_bad_messages_name_the_field(plan, fields, problem):
    with pytest.raises(Rejection, match=problem):
        plan(**fields)


def test_too_many_files_in_a_folder(plan, folder):
    for number in range(4):
        (folder / f"{number}").touch()
    with pytest.raises(Rejection, match="holds more than 3 files"):
        plan({"max_datafiles": 3}, datafiles=[])


def test_missing_things_are_waited_for(plan, catalogue):
    with pytest.raises(NotReady, match=r"gone\.h5: missing"):
        plan(datafiles=["gone.h5"])
    catalogue.visits = []
    with pytest.raises(DependencyMissing) as caught:
        plan()
    assert caught.value.missing == ("investigation:P1",)


def held(number, location):
    return DatasetEntry(
        id=number,
        investigation=InvestigationKey(name="P1", visit_id="1"),
        name=f"scan {number}",
        type="acquisition",
        complete=True,
        location=location,
    )


def test_a_parameter_of_datasets_that_are_there(plan, catalogue, data):
    catalogue.held = [held(1, f"{data}/s1"), held(2, f"{data}/s2")]
    update = {
        "proposal": "P1",
        "beamline": BEAMLINE,
        "dataset_paths": ["/beamline/s1", f"{data}/s2"],
        "metadataName": "scan",
        "metadataValue": "fine",
    }
    made = plan(**update)
    assert [d.name for d in made.datasets] == ["scan 1", "scan 2"]
    assert all(d.partial and d.existing == "update" for d in made.datasets)
    assert made.datasets[0].parameters[0].value == "fine"
    with pytest.raises(DependencyMissing) as caught:
        plan(**update | {"dataset_paths": [f"{data}/s3"]})
    assert caught.value.missing == (f"dataset_at:{data}/s3",)


def test_further_files_of_a_dataset(plan, catalogue, folder):
    catalogue.held = [held(1, str(folder))]
    made = plan(drop=["name", "location"], dataset_id=1, datafiles=["a.h5"])
    assert [f.name for f in only(made).datafiles] == ["a.h5"]
    assert only(made).partial
    with pytest.raises(DependencyMissing, match="dataset 2 is not in the catalogue"):
        plan(drop=["name", "location"], dataset_id=2)


ADD_FILES = {"drop": ["investigation", "instrument", "name", "location", "datafiles"]}


def test_files_that_a_dataset_does_not_have_are_looked_for(plan, catalogue, folder):
    catalogue.held = [held(1, str(folder))]
    (folder / "b.h5").write_bytes(b"12")
    dataset = only(plan(**ADD_FILES, datasetId=1))
    assert [(f.name, f.size) for f in dataset.datafiles] == [("a.h5", 4), ("b.h5", 2)]
    assert dataset.partial
    with pytest.raises(DependencyMissing, match="dataset 2 is not in the catalogue"):
        plan(**ADD_FILES, datasetId=2)


def test_they_are_not_looked_for_everywhere(plan, catalogue):
    catalogue.held = [held(1, None)]
    with pytest.raises(Rejection, match=r"P1/1/scan 1 has no location"):
        plan(**ADD_FILES, datasetId=1)


def test_a_dataset_that_states_an_id_is_one(plan):
    with pytest.raises(Undecodable, match="name: is required"):
        plan(drop=["name", "datafiles"], datasetId=1)


def test_what_an_archive_says_is_kept(plan):
    outcome = plan(
        **ADD_FILES, datasetId=7, type="archiving", level="info", message="on tape"
    )
    assert outcome.kind is OutcomeKind.IGNORED
    assert outcome.reason == "archiving (info): on tape"
    assert outcome.objects == {"dataset_id": 7}


@pytest.fixture
def reschedule(make, record, catalogue):
    def reschedule(content):
        handler = make()
        value = f"<investigation>{content}</investigation>".encode()
        return handler.plan(handler.decode(record(value)), catalogue)

    return reschedule


NEW_START = "<experiment>P1</experiment><startDate>2026-07-15T08:00:00Z</startDate>"


def test_a_reschedule_plans_dates_and_nothing_else(reschedule):
    assert reschedule(NEW_START).investigations == (
        Investigation(
            investigation=InvestigationKey(name="P1", visit_id="1"),
            start=datetime(2026, 7, 15, 8, tzinfo=UTC),
        ),
    )


def test_a_reschedule_of_one_of_several_visits(reschedule, catalogue):
    catalogue.visits = [entry("1", instruments=("bl01",)), entry("2")]
    made = reschedule(f"{NEW_START}<instrument>{BEAMLINE}</instrument>")
    assert [i.key for i in made.investigations] == ["P1/2"]
    with pytest.raises(Rejection, match="has 2 visits"):
        reschedule(NEW_START)
    with pytest.raises(Rejection, match="has 0 visits with instrument bl99"):
        reschedule(f"{NEW_START}<instrument>bl99</instrument>")


def test_a_reschedule_waits_for_its_investigation(reschedule, catalogue):
    catalogue.visits = []
    with pytest.raises(DependencyMissing) as caught:
        reschedule(NEW_START)
    assert caught.value.missing == ("investigation:P1",)


def test_a_reschedule_beyond_the_end_that_is_there(reschedule, catalogue):
    catalogue.visits = [entry(end=datetime(2026, 7, 1, tzinfo=UTC))]
    with pytest.raises(Rejection, match=r"would be before start_date.*state both"):
        reschedule(NEW_START)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<experiment>P1</experiment>", "no start_date and no end_date"),
        ("<investigationId>7</investigationId>", "only the schedule's own id"),
    ],
)
def test_a_reschedule_without_dates_is_ignored(reschedule, content, reason):
    outcome = reschedule(content)
    assert outcome.kind is OutcomeKind.IGNORED
    assert reason in outcome.reason


def test_operations_are_ignored_with_the_reason(plan):
    message = {"name": "P1", "visit_id": "1", "operations": ["reindex"]}
    outcome = plan(handled_by="operations", **message)
    assert outcome.kind is OutcomeKind.IGNORED
    assert outcome.reason == "reindex: the integration search is not enabled"
    assert outcome.objects == {"investigation": "P1/1", "operations": ["reindex"]}


ENABLED = {
    name: {"handler": name, "topics": ["t"]} for name in ("statistics", "operations")
}


def test_enabled_operations_are_asked_for_by_events(plan):
    message = {"name": "P1", "operations": ["recount", "reindex", "recount"]}
    outcome = plan(handled_by="operations", sections={"consumers": ENABLED}, **message)
    assert outcome.kind is OutcomeKind.INGESTED
    assert outcome.reason == "reindex: the integration search is not enabled"
    (event,) = outcome.events
    assert event.key == "P1/1"
    read = read_event(event.value)
    assert (read.kind, read.operation) == ("operation", "recount")
    assert str(read.investigation) == "P1/1"


def test_unknown_operations_are_ignored(plan):
    asked = {"name": "P1", "handled_by": "operations"}
    asked |= {"sections": {"consumers": ENABLED}}
    outcome = plan(operations=["mint", "reindex"], **asked)
    assert outcome.kind is OutcomeKind.IGNORED
    assert outcome.reason == (
        "'mint' is unknown: there are mint-proposal, create-panosc-item, reindex,"
        " recount; reindex: the integration search is not enabled"
    )
    # They keep nobody from what can be done.
    outcome = plan(operations=["mint", "recount"], **asked)
    assert outcome.kind is OutcomeKind.INGESTED
    assert outcome.reason.startswith("'mint' is unknown")
    assert len(outcome.events) == 1


def test_an_operation_needs_one_investigation(plan, catalogue):
    asked = {"operations": ["recount"], "handled_by": "operations"}
    asked |= {"sections": {"consumers": ENABLED}}
    with pytest.raises(DependencyMissing) as caught:
        plan(name="P2", visit_id="1", **asked)
    assert caught.value.missing == ("investigation:P2/1",)
    catalogue.visits += [
        InvestigationEntry(key=InvestigationKey(name="P1", visit_id=visit))
        for visit in ("2", "3")
    ]
    with pytest.raises(Rejection, match="several visits: '1', '2', '3'"):
        plan(name="P1", **asked)
    outcome = plan(name="P1", visit_id="2", **asked)
    assert outcome.events[0].key == "P1/2"


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"name": "P1", "operations": []}, "operations.*: is required"),
        ({"operations": ["reindex"]}, "name or investigation: is required"),
        ({"name": "P1", "operations": [{"a": 1}]}, "operations: expected text"),
    ],
)
def test_bad_operations(plan, message, problem):
    with pytest.raises(Rejection, match=problem):
        plan(handled_by="operations", **message)


def test_the_key_is_the_investigation(make, record):
    handler = make()
    for value, key in (
        (b'{"investigation": "P1", "name": "x"}', "P1"),
        (b"<dataset><investigation>P1</investigation></dataset>", "P1"),
        (b'{"investigation_id": 7}', "7"),
        (b'{"proposal": "P1", "datasetPaths": [], "metadataName": ""}', "P1"),
    ):
        assert handler.key(record(value)) == key
    for value in (None, b"", b"{", b"[]", b'{"investigation": []}'):
        assert handler.key(record(value, 9)) == "filewriter[0]@9"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"map": ["dataset"]}, "options.map: is no known key; did you mean maps?"),
        ({"maps": ["datset"]}, "options.maps.0: .*; did you mean dataset?"),
        ({"maps": ["/nowhere.yaml"]}, "/nowhere.yaml: -: cannot be read"),
        ({"timezone": "Mars"}, "options.timezone: expected a time zone"),
        ({"base": "{house}"}, "options.base: unknown placeholder house"),
        ({"max_datafiles": 0}, "options.max_datafiles: .*greater than"),
    ],
)
def test_bad_options(make, options, problem):
    with pytest.raises(ConfigError, match=problem):
        make(options=options)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("name value location size type units dataset".split()),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FIELDS = """name location investigation investigation_id visit_id instrument start_date
end_date complete sample technique parameters datafiles dataset_id dataset_paths
metadata_name metadata_value proposal""".split()


@settings(
    max_examples=150,
    deadline=None,
)
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_any_message_is_planned_or_fails_as_foreseen(plan, fields):
    try:
        made = plan(**fields)
    except Failure as failure:
        reason = failure.reason
    else:
        reason = "planned" if isinstance(made, Plan) else made.reason
    assert 0 < len(reason) < 5000
