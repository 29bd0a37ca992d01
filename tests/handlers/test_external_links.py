"""Files behind external links: entered where the schema wants them, else unseen."""

import h5py
import pytest

from icat_stream.config import Settings
from icat_stream.handlers import FileWritten, HandlerContext
from icat_stream.records import Rejection

SCHEMA = """
selector: {always: true}
variables: {behind: {nexus: /entry/data/link/v}}
dataset: {investigation: 2026-0815, name: n}
datafiles: {include_external_links: WANTED}
"""


@pytest.fixture
def handler(tmp_path, data, reader):
    def make(*, wanted, confine=()):
        text = SCHEMA.replace("WANTED", str(wanted).lower())
        (tmp_path / "any.yaml").write_text(text, encoding="utf-8")
        settings = Settings(
            facility="EXAMPLE",
            schemas=tmp_path,
            files={"roots": [data], "confine": list(confine)},
            ids={"location": {"root": data}},
            consumers={"a": {"handler": "file_written", "topics": ["t"]}},
        )
        return FileWritten(HandlerContext(settings=settings, files=reader))

    return make


def with_link(path, target):
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["entry/data/link"] = h5py.ExternalLink(target, "/")
    path.chmod(0o444)
    return path


@pytest.mark.parametrize("wanted", [True, False])
def test_entered_if_wanted(handler, announce, catalogue, data, wanted):
    path = with_link(data / f"linked-{wanted}" / "master.nxs", "events.h5")
    with h5py.File(path.with_name("events.h5"), "w") as file:
        file["v"] = 1
    path.with_name("events.h5").chmod(0o444)
    working = handler(wanted=wanted)
    (dataset,) = working.plan(working.decode(announce(path)), catalogue).datasets
    names = [datafile.name for datafile in dataset.datafiles]
    assert names == (["master.nxs", "events.h5"] if wanted else ["master.nxs"])


def test_outside_the_roots_matters_only_if_wanted(handler, announce, catalogue, data):
    path = with_link(data / "linked-outside" / "master.nxs", "/net/dead/x.h5")
    working = handler(wanted=False)
    assert working.plan(working.decode(announce(path)), catalogue).datasets
    working = handler(wanted=True)
    with pytest.raises(Rejection, match=r"/entry/data/link refers to /net/dead/x\.h5"):
        working.plan(working.decode(announce(path)), catalogue)


def test_targets_are_confined(handler, announce, catalogue, data):
    confine = ["{root}/linked-of-{investigation}"]
    own = data / "linked-of-2026-0815" / "master.nxs"
    path = with_link(own, "../linked-of-2026-0816/events.h5")
    target = data / "linked-of-2026-0816" / "events.h5"
    target.parent.mkdir()
    with h5py.File(target, "w") as file:
        file["v"] = 1
    target.chmod(0o444)
    working = handler(wanted=True)
    assert working.plan(working.decode(announce(path)), catalogue).datasets
    working = handler(wanted=True, confine=confine)
    with pytest.raises(Rejection, match=r"linked-of-2026-0816.*files\.confine"):
        working.plan(working.decode(announce(path)), catalogue)
