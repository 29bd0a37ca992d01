"""The data service beside a catalogue that fails in the middle of a call."""

import os
import sqlite3
from typing import Any

import icat
import pytest
from icat.ids import DataSelection

from .conftest import Site
from .test_calls import put, stored
from .two_levels import service

pytestmark = pytest.mark.facility


@pytest.fixture(autouse=True)
def good_again(site: Site) -> Any:
    yield
    site.server.fault("clear")


def catalogued(site: Site, dataset: Any) -> list[str]:
    found = site.client.search(f"Datafile <-> Dataset [id={dataset.id}]")
    return [f.location for f in found]


@pytest.mark.parametrize("kind", ["drop_after", "drop_before", "status", "html"])
def test_never_an_entry_without_its_file(
    site: Site, dataset: Any, nexus: Any, kind: str
) -> None:
    content = os.urandom(100)
    before = stored(site)
    site.server.fault(kind, match="create")
    if kind == "drop_after":
        file = put(site, dataset, nexus, "a", content)
        assert site.client.getData([file]).read() == content
        assert catalogued(site, dataset) == [file.location]
        return
    with pytest.raises(icat.IDSInternalError, match="ICAT at"):
        put(site, dataset, nexus, "a", content)
    # Perhaps the answer was lost, perhaps the call: the file stays to be safe.
    assert catalogued(site, dataset) == []
    assert len(stored(site) - before) == 1
    file = put(site, dataset, nexus, "a", content)
    assert site.client.getData([file]).read() == content


def test_an_internal_error_is_looked_into(site: Site, dataset: Any, nexus: Any) -> None:
    before = stored(site)
    site.server.fault("database", match="create")
    with pytest.raises(icat.IDSInternalError, match="INTERNAL"):
        put(site, dataset, nexus, "a", b"x")
    assert catalogued(site, dataset) == []
    assert stored(site) == before


def test_a_delete_without_answer_keeps_the_files(
    site: Site, dataset: Any, nexus: Any
) -> None:
    file = put(site, dataset, nexus, "a", b"x")
    before = stored(site)
    site.server.fault("drop_before", match="deleteMany")
    with pytest.raises(icat.IDSInternalError):
        site.client.deleteData([file])
    assert stored(site) == before
    assert site.client.getData([file]).read() == b"x"


def test_the_reader_logs_in_again(site: Site, dataset: Any) -> None:
    reader = icat.ids.IDSClient(site.ids_url)
    selection = DataSelection([dataset])
    assert reader.getStatus(selection) == "ONLINE"
    site.server.fault("expire_sessions")
    assert reader.getStatus(selection) == "ONLINE"
    site.client.login("simple", {"username": "root", "password": "r"})


def test_a_put_that_cannot_be_noted_leaves_nothing(site: Site, nexus: Any) -> None:
    with service(site, "unnoted") as made:
        dataset = made.dataset("d")
        with sqlite3.connect(made.path / "state" / "state.db") as database:
            database.execute(
                "CREATE TRIGGER full BEFORE INSERT ON units"
                " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            )
        database.close()
        facts = {"datasetId": dataset.id, "datafileFormatId": nexus.id}
        status, answer = made.call("PUT", "put", name="a", body=b"x", **facts)
        assert status == 500
        assert answer["message"].endswith("the disk is full")
        assert made.files() == set()
        assert catalogued(site, dataset) == []
