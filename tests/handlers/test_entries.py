"""Files of which each NXentry is a dataset."""

from textwrap import dedent

import h5py
import pytest

from icat_stream.records import NotReady, Rejection

from .conftest import PROPOSAL

SCHEMA = """
    selector: {always: true}
    settled_when: "{entry}/end_time"
    variables:
      title: {nexus: "{entry}/title", required: true}
      start: {nexus: "{entry}/start_time", type: datetime}
      sample: {nexus: "{entry}/{NXsample}/name"}
    dataset:
      for_each: NXentry
      investigation: "%s"
      name: "<file.stem>_<entry.name>"
      description: <title>
      sample: <sample>
      start: <start>
    datafiles: {include_external_links: true, link_paths: "{entry}/images/*"}
    """


@pytest.fixture
def schemas(tmp_path):
    def write(text=SCHEMA % PROPOSAL):
        (tmp_path / "each.yaml").write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def scans(data, request):
    folder = data / request.node.name.partition("[")[0]
    folder.mkdir(exist_ok=True)
    path = folder / "scans.h5"
    for number in ("2.1", "10.1"):
        with h5py.File(folder / f"images_{number}.h5", "w") as images:
            images["image"] = [1, 2]
    with h5py.File(path, "w") as file:
        for number in ("2.1", "10.1"):
            entry = file.create_group(number)
            entry.attrs["NX_class"] = "NXentry"
            entry["title"] = f"scan {number}"
            entry["start_time"] = "2026-11-20T10:00:00Z"
            entry["end_time"] = "2026-11-20T11:00:00Z"
            entry["target/name"] = f"sample {number}"
            entry["target"].attrs["NX_class"] = "NXsample"
            entry["images/0"] = h5py.ExternalLink(f"images_{number}.h5", "/image")
    return path


def plan_of(handler, record, catalogue):
    return handler.plan(handler.decode(record), catalogue)


def test_each_is_a_dataset(make_handler, announce, catalogue, schemas, scans):
    handler = make_handler(schemas=schemas())
    plan = plan_of(handler, announce(scans), catalogue)
    assert [
        (d.name, d.description, d.sample.name, [f.name for f in d.datafiles])
        for d in plan.datasets
    ] == [
        (f"scans_{n}", f"scan {n}", f"sample {n}", ["scans.h5", f"images_{n}.h5"])
        for n in ("2.1", "10.1")
    ]


def test_one_of_them_is_not_finished(make_handler, announce, catalogue, schemas, scans):
    with h5py.File(scans, "a") as file:
        del file["10.1/end_time"]
    with pytest.raises(NotReady, match=r"/10.1/end_time is not there"):
        plan_of(make_handler(schemas=schemas()), announce(scans), catalogue)


def test_names_that_do_not_differ(make_handler, announce, catalogue, schemas, scans):
    text = (SCHEMA % PROPOSAL).replace("_<entry.name>", "")
    with pytest.raises(
        Rejection, match=r"dataset.name: entries 2.1 and 10.1 are both 'scans'"
    ):
        plan_of(make_handler(schemas=schemas(text)), announce(scans), catalogue)


def test_a_failure_names_the_entry(make_handler, announce, catalogue, schemas, scans):
    with h5py.File(scans, "a") as file:
        del file["10.1/title"]
    with pytest.raises(
        Rejection, match=r"variable title .*is required but absent"
    ) as e:
        plan_of(make_handler(schemas=schemas()), announce(scans), catalogue)
    assert "entry 10.1" in e.value.reason


def test_a_file_without_entries(make_handler, announce, catalogue, schemas, data):
    path = data / "none.h5"
    with h5py.File(path, "w") as file:
        file["title"] = "none"
    text = (SCHEMA % PROPOSAL).replace('settled_when: "{entry}/end_time"', "")
    with pytest.raises(Rejection, match=r"dataset.for_each: has no NXentry"):
        plan_of(make_handler(schemas=schemas(text)), announce(path), catalogue)


def test_the_message_is_kept_once(make_handler, announce, catalogue, schemas, scans):
    handler = make_handler(schemas=schemas(), files={"keep_message": {"enabled": True}})
    plan = plan_of(handler, announce(scans), catalogue)
    assert len(plan.keep) == 1
    for dataset in plan.datasets:
        assert dataset.datafiles[-1].name == "scans.h5.message.json"
