"""Two levels with datafiles as units: row 18 of the table, and the check."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from icat.ids import DataSelection

from icat_stream.dataservice.check import Check, Kind, Repairs, TooMany
from icat_stream.dataservice.settings import load

from .conftest import Site
from .two_levels import Service, refused, service, until

pytestmark = pytest.mark.facility


@pytest.fixture(scope="module")
def single(site: Site) -> Iterator[Service]:
    with service(site, "single", storage_unit="datafile") as made:
        yield made


def chosen(*datafiles: int) -> DataSelection:
    return DataSelection({"datafileIds": list(datafiles)})


def test_row_18_plain_files_at_the_same_place(single: Service) -> None:
    dataset = single.dataset("row 18")
    first, second = (single.put(dataset, n, n.encode()) for n in "ab")
    single.idle()
    for file, content in ((first, b"a"), (second, b"b")):
        location = single.location(file)
        assert (single.archived / location).read_bytes() == content
        assert (single.main / location).read_bytes() == content
    single.ids.archive(chosen(first))
    single.idle()
    assert single.ids.getStatus(chosen(first)) == "ARCHIVED"
    assert single.ids.getStatus(chosen(second)) == "ONLINE"
    assert single.status(dataset) == "ARCHIVED"
    assert not single.here(first)
    assert single.get(datafileIds=second) == b"b"
    message = refused(lambda: single.ids.getData(DataSelection([dataset])))
    assert message == (
        "Before getting a datafile, it must be restored, restoration requested"
        " automatically"
    )
    until(lambda: single.status(dataset) == "ONLINE")
    assert single.get(datafileIds=first) == b"a"


def test_row_18_put_and_delete_need_no_restore(single: Service) -> None:
    dataset = single.dataset("row 18, put and delete")
    first, second = (single.put(dataset, n) for n in "ab")
    single.archive(dataset)
    assert not single.here(first)
    third = single.put(dataset, "c")
    assert single.ids.getStatus(chosen(third)) == "ONLINE"
    location = single.location(first)
    single.ids.delete(chosen(first))
    single.idle()
    assert not (single.archived / location).exists()
    assert single.ids.getStatus(chosen(second)) == "ARCHIVED"


def test_row_18_a_failure_is_of_one_file(single: Service) -> None:
    dataset = single.dataset("row 18, failure")
    first, second = (single.put(dataset, n) for n in "ab")
    single.archive(dataset)
    lost = single.archived / single.location(first)
    lost.write_bytes(b"y")
    single.ids.restore(DataSelection([dataset]))
    until(lambda: first in single.service_status()["failures"])
    assert single.call("GET", "getStatus", datafileIds=first)[0] == 500
    assert single.call("GET", "getStatus", datasetIds=dataset.id)[0] == 500
    until(lambda: single.ids.getStatus(chosen(second)) == "ONLINE")
    lost.write_bytes(b"x")
    single.ids.reset(chosen(first))
    single.ids.restore(chosen(first))
    until(lambda: single.status(dataset) == "ONLINE")


def test_row_18_a_file_of_two_entries_stays_for_the_other(single: Service) -> None:
    dataset = single.dataset("row 18, shared")
    first = single.put(dataset, "a", b"a")
    second = single.site.client.new(
        "Datafile", name="b", dataset=dataset, location=single.location(first)
    )
    second.create()
    single.idle()
    single.ids.delete(DataSelection([second]))
    single.idle()
    assert single.get(datafileIds=first) == b"a"
    single.ids.archive(chosen(first))
    single.idle()
    assert not single.here(first)
    single.ids.restore(chosen(first))
    single.idle()
    assert single.get(datafileIds=first) == b"a"


def test_row_12_a_location_written_otherwise_is_known(single: Service) -> None:
    dataset = single.dataset("row 12, spelling")
    (single.main / "spelling").mkdir()
    (single.main / "spelling" / "a").write_bytes(b"a")
    file = single.site.client.new(
        "Datafile", name="a", dataset=dataset, location="x/..//spelling/./a"
    )
    file.create()
    found = check(single, files=True, older_than=0)
    # It is not served, but somebody means this file.
    assert file.location in found[Kind.OUTSIDE]
    assert "spelling/a" not in found.get(Kind.UNKNOWN, [])
    assert (single.main / "spelling" / "a").exists()
    single.site.client.delete(file)


def check(made: Service, **repairs: object) -> dict[Kind, list[str]]:
    checking = Check(load(made.site.folder.run / f"{made.name}.yaml"))
    try:
        found = list(checking.run(Repairs(**repairs)))  # type: ignore[arg-type]
    finally:
        checking.close()
    kinds: dict[Kind, list[str]] = {}
    for finding in found:
        finding.text().encode()
        kinds.setdefault(finding.kind, []).append(finding.what)
    return kinds


def test_row_12_the_check_finds_and_mends(site: Site) -> None:
    with service(site, "checked") as made:
        kept = made.dataset("kept")
        file = made.put(kept, "a", b"12345")
        made.idle()
        gone, _ = made.offline("gone")
        name = str(made.zip(gone).relative_to(made.archived))
        site.client.delete(gone)
        orphan = made.main / "1" / "2" / "3f6e1f0e-6f5c-4d2f-8a53-0123456789ab"
        orphan.parent.mkdir(parents=True, exist_ok=True)
        orphan.write_bytes(b"nobody's")
        (made.main / "notes.txt").write_text("somebody's")
        # A name that is no text; whoever lists it must be able to print it.
        Path(os.fsdecode(os.fsencode(made.main) + b"/caf\xe9")).write_text("x")
        raw, [registered] = made.registered("registered", a=b"a")
        os.truncate(made.main / made.location(file), 3)
        lost, [missing] = made.registered("lost", a=b"a")
        (made.main / made.location(missing)).unlink()

        outside = site.client.new(
            "Datafile", name="o", dataset=kept, location="../../outside", fileSize=1
        )
        outside.create()

        found = check(made)
        assert "../../outside" in found[Kind.OUTSIDE]
        assert found[Kind.ORPHAN] == [str(orphan.relative_to(made.main))]
        assert set(found[Kind.UNKNOWN]) == {"notes.txt", "caf\udce9"}
        assert found[Kind.ARCHIVE_ORPHAN] == [name]
        assert made.location(file) in found[Kind.SIZE]
        assert made.location(registered) in found[Kind.UNWRITTEN]
        assert made.location(missing) in found[Kind.MISSING]
        assert check(made) == found

        with pytest.raises(TooMany):
            check(made, files=True, at_most=1)
        assert check(made, files=True)[Kind.ORPHAN] == found[Kind.ORPHAN]
        assert orphan.exists()
        assert not made.zip(gone).exists()
        check(made, files=True, older_than=0)
        assert not orphan.exists()
        assert (made.main / "notes.txt").exists()
        made.idle()
        assert made.entries(raw)
        left = check(made)
        assert Kind.ORPHAN not in left
        assert Kind.ARCHIVE_ORPHAN not in left
        assert made.location(registered) not in left.get(Kind.UNWRITTEN, [])
        site.client.delete(lost)
        site.client.delete(outside)
