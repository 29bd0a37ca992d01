"""Announcements of real files become plans, or failures that say what is wrong."""

import json
import os

import pytest

from icat_stream.messages import RunStart, Undecodable, encode
from icat_stream.records import (
    DependencyMissing,
    InvestigationKey,
    NotReady,
    OutcomeKind,
    Rejection,
    explained,
)
from icat_stream.sandbox import samples

PROPOSAL = "2026-0815"


def plan_of(handler, record, catalogue):
    return handler.plan(handler.decode(record), catalogue)


@pytest.fixture(scope="session")
def ess(data):
    path = data / "ess" / "2026-0815_00000007.hdf"
    path.parent.mkdir()
    samples.write_ess_like(path, proposal=PROPOSAL, run=7)
    return path


@pytest.fixture(scope="session")
def isis(data):
    path = data / "isis" / "BOREAS00000008.nxs"
    path.parent.mkdir()
    samples.write_isis_like(path, proposal=PROPOSAL, run=8)
    return path


@pytest.mark.parametrize(
    ("layout", "instrument"),
    [("ess", samples.ESS_INSTRUMENT), ("isis", samples.ISIS_INSTRUMENT)],
)
def test_both_layouts_become_datasets(
    layout, instrument, make_handler, announce, catalogue, request, data
):
    path = request.getfixturevalue(layout)
    plan = plan_of(make_handler(), announce(path), catalogue)
    (dataset,) = plan.datasets
    assert plan.facility == "EXAMPLE"
    assert plan.notes == ()
    assert dataset.investigation == InvestigationKey(name=PROPOSAL, visit_id="1")
    assert dataset.type == "raw"
    assert dataset.complete
    assert dataset.instruments == (instrument,)
    assert dataset.sample is not None
    assert dataset.start < dataset.end
    assert dataset.start.tzinfo is not None
    assert len(dataset.parameters) >= 8
    (datafile,) = dataset.datafiles
    assert datafile.name == path.name
    assert datafile.size == path.stat().st_size
    assert datafile.location == f"{layout}/{path.name}"
    assert int(datafile.mod_time.timestamp()) == int(path.stat().st_mtime)


def test_plan_is_a_function_of_the_record(make_handler, announce, catalogue, ess):
    record = announce(ess)
    assert plan_of(make_handler(), record, catalogue) == plan_of(
        make_handler(), record, catalogue
    )


def test_writers_path_is_mapped(make_handler, announce, catalogue, ess):
    plan = plan_of(make_handler(), announce(f"/writer/ess/{ess.name}"), catalogue)
    assert plan.datasets[0].datafiles[0].source == str(ess)


def test_uploaded_files_have_no_location(make_handler, announce, catalogue, ess):
    plan = plan_of(make_handler(ids={"mode": "put"}), announce(ess), catalogue)
    assert plan.datasets[0].datafiles[0].location is None


def test_files_of_another_investigation_are_refused(
    make_handler, announce, catalogue, data
):
    mine, theirs = (data / f"of-{name}" / "a.hdf" for name in (PROPOSAL, "2026-0816"))
    for path in (mine, theirs):
        path.parent.mkdir()
        samples.write_ess_like(path, proposal=PROPOSAL, run=9)
    confined = {"roots": [data], "confine": ["{root}/of-{investigation}"]}
    handler = make_handler(files=confined)
    (dataset,) = plan_of(handler, announce(mine), catalogue).datasets
    assert dataset.datafiles[0].location == f"of-{PROPOSAL}/a.hdf"
    with pytest.raises(Rejection, match=r"file_name: .*2026-0816.*files\.confine"):
        plan_of(handler, announce(theirs), catalogue)
    # A link in the own folder leads to where the file is.
    link = mine.parent / "link.hdf"
    link.symlink_to(theirs)
    with pytest.raises(Rejection, match=r"files\.confine"):
        plan_of(handler, announce(link), catalogue)


def test_message_is_kept_beside_the_file(make_handler, announce, catalogue, ess):
    handler = make_handler(files={"keep_message": {"enabled": True}})
    plan = plan_of(handler, announce(ess), catalogue)
    (kept,) = plan.keep
    assert kept.path == f"{ess}.message.json"
    assert json.loads(kept.content)["job_id"] == "a-job"
    assert [f.name for f in plan.datasets[0].datafiles] == [
        ess.name,
        f"{ess.name}.message.json",
    ]


def test_a_file_holds_up_its_own_records_only(make_handler, announce):
    handler = make_handler()
    assert handler.key(announce("/d/1/a.nxs")) == handler.key(announce("/d/1/a.nxs"))
    assert handler.key(announce("/d/1/a.nxs")) != handler.key(announce("/d/1/b.nxs"))


@pytest.mark.parametrize("value", [None, b"", b"xxxxwrdn", b"\xff" * 40, b"xxxxpl72"])
def test_key_never_raises(value, make_handler, record):
    assert make_handler().key(record(value)) == "filewriter[0]@7"


@pytest.mark.parametrize(
    "value", [None, b"", b"short", b'{"kind": "json"}', b"\0" * 64, b"xxxxwrdnxxxxxxxx"]
)
def test_undecodable(value, make_handler, record):
    with pytest.raises(Undecodable):
        make_handler().decode(record(value))


def test_foreign_schemas_are_ignored(make_handler, record):
    outcome = make_handler().decode(record(b"\x08\0\0\0ev42" + b"\0" * 20))
    assert outcome.kind is OutcomeKind.IGNORED
    assert outcome.reason == "unknown schema identifier ev42"


def test_large_echo_is_ignored_but_a_large_announcement_is_not(
    make_handler, record, announce
):
    handler = make_handler(messages={"max_bytes": 1000})
    echo = encode(RunStart(job_id="a-job", nexus_structure=b"x" * 2000))
    assert handler.decode(record(echo)).kind is OutcomeKind.IGNORED
    with pytest.raises(Rejection, match=r"over messages\.max_bytes"):
        handler.decode(announce("/d/a.nxs", metadata="x" * 2000))


def test_error_report_by_policy(make_handler, announce, catalogue, ess):
    record = announce(ess, error_encountered=True, message="disk full")
    outcome = plan_of(make_handler(), record, catalogue)
    assert outcome.kind is OutcomeKind.IGNORED
    assert "disk full" in outcome.reason
    with pytest.raises(Rejection, match="disk full"):
        plan_of(
            make_handler(policies={"error_encountered": "reject"}), record, catalogue
        )
    handler = make_handler(policies={"error_encountered": "incomplete"})
    assert not plan_of(handler, record, catalogue).datasets[0].complete


def test_missing_file_is_waited_for(make_handler, announce, catalogue, data):
    with pytest.raises(NotReady, match="missing"):
        plan_of(make_handler(), announce(data / "nothing.nxs"), catalogue)


def test_unfinished_file_is_waited_for(make_handler, announce, catalogue, data):
    path = data / "unfinished.nxs"
    samples.write_isis_like(path, proposal=PROPOSAL, run=9, finished=False)
    with pytest.raises(NotReady):
        plan_of(make_handler(), announce(path), catalogue)


@pytest.mark.parametrize("path", ["/etc/passwd", "/writer/../../etc/passwd", "a.nxs"])
def test_path_outside_the_roots_is_refused(path, make_handler, announce, catalogue):
    with pytest.raises(Rejection):
        plan_of(make_handler(), announce(path), catalogue)


def test_link_out_of_the_roots_is_refused(make_handler, announce, catalogue, data):
    link = data / "link.nxs"
    os.symlink("/etc/passwd", link)
    with pytest.raises(Rejection, match="outside the allowed folders"):
        plan_of(make_handler(), announce(link), catalogue)


def test_no_hdf5(make_handler, announce, catalogue, data):
    path = data / "text.nxs"
    path.write_text("not HDF5 at all")
    path.chmod(0o444)
    with pytest.raises(Rejection, match="HDF5"):
        plan_of(make_handler(), announce(path), catalogue)


def test_missing_investigation_parks(make_handler, announce, catalogue, ess):
    catalogue.visits.clear()
    with pytest.raises(DependencyMissing) as caught:
        plan_of(make_handler(), announce(ess), catalogue)
    assert caught.value.missing == (f"investigation:{PROPOSAL}",)


def test_missing_reference_data_is_named(make_handler, announce, catalogue, ess):
    catalogue.unknown = {("DatasetType", "raw")}
    with pytest.raises(Rejection, match="dataset type 'raw'"):
        plan_of(make_handler(), announce(ess), catalogue)


def test_run_start_makes_the_sample_known(make_handler, record):
    start = RunStart(job_id="a-job", metadata='{"sample_name": "iron"}')
    handler = make_handler()
    plan = handler.plan(handler.decode(record(encode(start))), None)
    assert [(job.job_id, job.sample) for job in plan.jobs] == [("a-job", "iron")]


def test_run_start_without_a_sample_is_ignored(make_handler, record):
    handler = make_handler()
    outcome = handler.plan(
        handler.decode(record(encode(RunStart(job_id="a-job")))), None
    )
    assert outcome.kind is OutcomeKind.IGNORED


def test_kept_message_of_an_announcement_by_hand_is_none(
    make_handler, catalogue, ess, record
):
    handler = make_handler(files={"keep_message": {"enabled": True}})
    value = handler.compose(str(ess), None)
    assert handler.plan(handler.decode(record(value)), catalogue).keep == ()


def test_by_hand_is_said_in_the_writers_terms(make_handler, catalogue, ess, record):
    handler = make_handler()
    plan = handler.plan(
        handler.decode(record(handler.compose(str(ess), None))), catalogue
    )
    assert plan.datasets[0].datafiles[0].source == str(ess)


def test_two_slashes_are_one(make_handler, announce, catalogue, ess):
    handler = make_handler()
    assert handler.key(announce(f"/{ess}")) == handler.key(announce(ess))
    assert plan_of(handler, announce(f"//writer/ess/{ess.name}"), catalogue).datasets


def test_absurd_record_time(make_handler, announce):
    record = announce("/d/a.nxs")
    absurd = record._replace(origin_timestamp=10**19)
    with pytest.raises(Rejection, match="a time"):
        make_handler().decode(absurd)


def test_long_job_id_of_a_run_start(make_handler, record):
    start = RunStart(job_id="x" * 300, metadata='{"sample_name": "iron"}')
    handler = make_handler()
    with pytest.raises(Rejection, match="300 characters"):
        handler.plan(handler.decode(record(encode(start))), None)


def test_missing_parameter_type_says_where_the_value_is_from(
    make_handler, announce, catalogue, isis
):
    catalogue.types = [t for t in catalogue.types if t.name != "sample_height"]
    plan = plan_of(make_handler(), announce(isis), catalogue)
    told = Rejection("parameter type sample_height [mm] is not in the catalogue")
    reason = explained(told, plan.origins).reason
    assert "sample_height [mm] is from schema isis: " in reason
    assert "/raw_data_1/sample/height" in reason
