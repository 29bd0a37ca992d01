"""Plans whose files the data service takes in, or has copied to the archive."""

import errno
import gc
import json
import os
import socket
import ssl
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from icat_stream.catalogue import CatalogueSession
from icat_stream.config import IdsSettings
from icat_stream.ids import Ids
from icat_stream.ids.upload_source import UploadSource
from icat_stream.ingest import apply
from icat_stream.nexus import NexusReader
from icat_stream.records import (
    Datafile,
    DatafileFormat,
    Dataset,
    Failure,
    InvestigationKey,
    LoginRefused,
    NotReady,
    OutcomeKind,
    Plan,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)

from .conftest import FACILITY, Site

pytestmark = pytest.mark.usefixtures("_quick_retries")
NEXUS = DatafileFormat(name="NeXus", version="1.0")
CONTENT = b"counts\n" * 300_000
StorageAt = Callable[..., Ids]


@pytest.fixture
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icat_stream.ids.client._WAIT", 0.01)


def planned(path: Path, **changes: Any) -> Datafile:
    found = path.stat()
    datafile = Datafile(
        name=path.name,
        size=found.st_size,
        mod_time=datetime.fromtimestamp(found.st_mtime_ns // 10**9, UTC),
        format=NEXUS,
        description="it's & <new>",
        checksum="sha256:00",
        source=str(path),
    )
    return replace(datafile, **changes)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    paths = (tmp_path / "a ä+&.nxs", tmp_path / "b.nxs", tmp_path / "empty.nxs")
    for path, content in zip(paths, (CONTENT, b"b", b""), strict=True):
        path.write_bytes(content)
    return paths


@pytest.fixture
def plan(investigation: InvestigationKey, files: tuple[Path, ...]) -> Plan:
    dataset = Dataset(
        investigation=investigation,
        name="run 7",
        type="raw",
        datafiles=tuple(planned(path) for path in files),
    )
    return Plan(facility=FACILITY, datasets=(dataset,))


def with_files(plan: Plan, *datafiles: Datafile) -> Plan:
    return replace(plan, datasets=(replace(plan.datasets[0], datafiles=datafiles),))


def held(site: Site, plan: Plan) -> Any:
    (dataset,) = site.client.search(
        "SELECT d FROM Dataset d WHERE d.investigation.name ="
        f" '{plan.datasets[0].investigation.name}' INCLUDE d.datafiles"
    )
    return dataset


def contents(site: Site, plan: Plan) -> dict[str, bytes]:
    return {
        file.name: site.client.getData([file]).read()
        for file in held(site, plan).datafiles
    }


def test_files_are_uploaded_and_the_dataset_is_complete_then(
    site: Site, lane: CatalogueSession, storage_at: StorageAt, plan: Plan
) -> None:
    storage = storage_at(site.ids)
    applied = apply(plan, lane, storage)
    assert applied.kind is OutcomeKind.INGESTED
    assert contents(site, plan) == {
        "a ä+&.nxs": CONTENT,
        "b.nxs": b"b",
        "empty.nxs": b"",
    }
    dataset = held(site, plan)
    assert dataset.complete is True
    found = {file.name: file for file in dataset.datafiles}["b.nxs"]
    wanted = plan.datasets[0].datafiles[1]
    assert found.datafileModTime == wanted.mod_time
    assert found.description == wanted.description
    again = apply(plan, lane, storage)
    assert (again.kind, again.written) == (OutcomeKind.UNCHANGED, ())
    assert lane.diff(plan, uploads=True).is_empty


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", (500, b"<html>")])
def test_an_upload_without_an_answer_is_read_back(
    site: Site,
    lane: CatalogueSession,
    storage_at: StorageAt,
    plan: Plan,
    proxy: Any,
    kind: Any,
) -> None:
    proxy.plans["put"] = [None, kind]
    apply(plan, lane, storage_at(proxy.url))
    assert len(contents(site, plan)) == 3
    assert held(site, plan).complete is True
    # What was there already was not sent again.
    assert proxy.seen.count("put") == (3 if kind == "drop_after" else 4)


def test_what_arrives_damaged_is_deleted_and_sent_again(
    site: Site, lane: CatalogueSession, storage_at: StorageAt, plan: Plan, proxy: Any
) -> None:
    proxy.plans["put"] = ["damage"]
    apply(plan, lane, storage_at(proxy.url))
    assert contents(site, plan)["a ä+&.nxs"] == CONTENT
    assert proxy.seen.count("delete") == 1


@pytest.mark.parametrize(
    "refusal",
    [
        (403, b'{"code": "InsufficientPrivilegesException", "message": "DELETE"}'),
        (501, b'{"code": "NotImplementedException", "message": "read only"}'),
        (503, b"<html>"),
    ],
    ids=["no rights", "not offered", "down"],
)
@pytest.mark.parametrize("complete", [False, True])
def test_what_is_damaged_and_cannot_be_deleted_never_passes_for_stored(
    site: Site,
    lane: CatalogueSession,
    storage_at: StorageAt,
    plan: Plan,
    proxy: Any,
    caplog: pytest.LogCaptureFixture,
    refusal: tuple[int, bytes],
    complete: bool,
) -> None:
    storage = storage_at(proxy.url)
    if complete:
        apply(with_files(plan, plan.datasets[0].datafiles[1]), lane, storage)
    proxy.plans = {"put": ["damage"], "delete": [refusal]}
    with pytest.raises(TransientFailure, match=r"CRC32 .*not deleted"):
        apply(plan, lane, storage)
    assert "deleted" not in caplog.text
    for _ in range(2):
        with pytest.raises(TransientFailure, match=r"left there damaged.*delete it"):
            apply(plan, lane, storage)
    dataset = held(site, plan)
    assert dataset.complete is False
    (bad,) = (f for f in dataset.datafiles if f.name != "b.nxs" and f.fileSize)
    site.client.deleteData([bad])
    assert apply(plan, lane, storage).kind is OutcomeKind.INGESTED
    assert contents(site, plan)["a ä+&.nxs"] == CONTENT
    assert held(site, plan).complete is True


def test_what_arrived_damaged_without_an_answer_does_not_pass_for_stored(
    lane: CatalogueSession, storage_at: StorageAt, plan: Plan, proxy: Any
) -> None:
    proxy.plans["put"] = ["damage_and_drop"]
    with pytest.raises(TransientFailure, match="left there damaged"):
        apply(plan, lane, storage_at(proxy.url))


@pytest.mark.parametrize(
    ("checksum", "kind"),
    [("crc32:{}", OutcomeKind.UNCHANGED), ("crc32:1{}", None)],
    ids=["same", "other"],
)
def test_a_planned_checksum_of_the_same_kind_counts(
    lane: CatalogueSession,
    storage_at: StorageAt,
    plan: Plan,
    files: tuple[Path, ...],
    site: Site,
    checksum: str,
    kind: OutcomeKind | None,
) -> None:
    storage = storage_at(site.ids)
    apply(with_files(plan, planned(files[1])), lane, storage)
    known = checksum.format(f"{zlib.crc32(b'b'):08X}")
    wanted = with_files(plan, planned(files[1], checksum=known))
    if kind is None:
        with pytest.raises(Rejection, match="checksum"):
            apply(wanted, lane, storage)
    else:
        assert apply(wanted, lane, storage).kind is kind


@pytest.mark.parametrize(
    "broken", [OSError(errno.EHOSTUNREACH, "no route"), ssl.SSLError("bad record")]
)
def test_a_network_that_breaks_during_a_call_is_transient(
    lane: CatalogueSession,
    storage_at: StorageAt,
    plan: Plan,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    broken: OSError,
) -> None:
    def breaks(*_: Any) -> None:
        raise broken

    storage = storage_at(site.ids)
    storage.two_level()
    monkeypatch.setattr("icat_stream.ids.connection.IdsAnswer", breaks)
    with pytest.raises(TransientFailure, match="broke during ping"):
        storage.ping()


def test_a_dataset_with_a_part_of_its_files_is_incomplete(
    site: Site, lane: CatalogueSession, storage_at: StorageAt, plan: Plan, proxy: Any
) -> None:
    full = b'{"code": "InsufficientStorageException", "message": "no space left"}'
    proxy.plans["put"] = [None, (500, full)]
    storage = storage_at(proxy.url)
    with pytest.raises(SystemUnavailable, match="no space left") as raised:
        apply(plan, lane, storage)
    assert raised.value.system == "ids"
    dataset = held(site, plan)
    assert (dataset.complete, len(dataset.datafiles)) == (False, 1)
    assert apply(plan, lane, storage).kind is OutcomeKind.INGESTED
    assert held(site, plan).complete is True
    assert len(contents(site, plan)) == 3


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, b"<html>", SystemUnavailable),
        (404, b"", SystemUnavailable),
        (
            503,
            b'{"code": "DataNotOnlineException", "message": "busy"}',
            TransientFailure,
        ),
        (501, b'{"code": "NotImplementedException", "message": ""}', SystemUnavailable),
        (400, b'{"code": "BadRequestException", "message": "bad"}', Rejection),
        (
            403,
            b'{"code": "InsufficientPrivilegesException", "message": "CREATE"}',
            Rejection,
        ),
        (500, b'{"code": "InternalException", "message": "oh"}', TransientFailure),
        (413, b"<html>", Rejection),
        (403, b"<html>", LoginRefused),
        (404, b'{"code": "NotFoundException", "message": "gone"}', TransientFailure),
    ],
)
def test_what_a_refusal_means(
    lane: CatalogueSession,
    storage_at: StorageAt,
    plan: Plan,
    proxy: Any,
    status: int,
    body: bytes,
    error: type[Exception],
) -> None:
    proxy.plans["put"] = [(status, body)] * 9
    with pytest.raises(error) as raised:
        apply(plan, lane, storage_at(proxy.url))
    assert lane.session_id not in str(raised.value)


@pytest.mark.parametrize("status", [502, 504])
def test_an_upload_that_a_proxy_gave_up_is_looked_for_before_it_is_sent_again(
    lane: CatalogueSession, storage_at: StorageAt, plan: Plan, proxy: Any, status: int
) -> None:
    proxy.plans["put"] = [(status, b"<html>")]
    storage = storage_at(proxy.url)
    for _ in range(3):
        with pytest.raises(TransientFailure, match=rf"HTTP {status}"):
            apply(plan, lane, storage)
    assert proxy.seen.count("put") == 1
    # The service behind the proxy was at it all the time.
    apply(plan, lane, storage_at(proxy.url))
    assert apply(plan, lane, storage).kind is OutcomeKind.UNCHANGED


def test_a_session_id_in_a_refusal_is_not_told(
    lane: CatalogueSession, storage_at: StorageAt, plan: Plan, proxy: Any
) -> None:
    bad = {"code": "BadRequestException", "message": f"not by {lane.session_id}!"}
    proxy.plans["put"] = [(400, json.dumps(bad).encode())]
    with pytest.raises(Rejection, match="not by …!"):
        apply(plan, lane, storage_at(proxy.url))


def test_a_failure_is_a_status_of_its_span_without_its_causes(
    lane: CatalogueSession,
    storage_at: StorageAt,
    plan: Plan,
    proxy: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    monkeypatch.setattr("icat_stream.telemetry.client_spans._tracer", tracer)
    proxy.plans["put"] = [(400, b'{"code": "BadRequestException", "message": "bad"}')]
    with pytest.raises(Rejection):
        apply(plan, lane, storage_at(proxy.url))
    (span,) = (s for s in exporter.get_finished_spans() if s.name == "ids.put")
    assert span.status.status_code is StatusCode.ERROR
    assert span.events == ()


def test_a_session_that_the_data_service_does_not_know_is_renewed(
    site: Site, lane: CatalogueSession, storage_at: StorageAt, plan: Plan, proxy: Any
) -> None:
    gone = {"code": "InsufficientPrivilegesException"}
    gone["message"] = "Unable to find user by sessionid: x"
    proxy.plans["put"] = [(403, json.dumps(gone).encode())]
    before = lane.session_id
    apply(plan, lane, storage_at(proxy.url))
    assert lane.session_id != before
    assert len(contents(site, plan)) == 3


def test_nobody_listens(
    lane: CatalogueSession, storage_at: StorageAt, plan: Plan
) -> None:
    storage = storage_at("http://127.0.0.1:9/ids")
    with pytest.raises(SystemUnavailable, match="cannot be reached"):
        storage.ping()
    with pytest.raises(SystemUnavailable, match="cannot be reached"):
        apply(plan, lane, storage)


def test_ping(site: Site, storage_at: StorageAt, proxy: Any) -> None:
    storage_at(site.ids).ping()
    proxy.plans["ping"] = [(200, b"<html>")]
    with pytest.raises(SystemUnavailable, match="ping"):
        storage_at(proxy.url).ping()


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _linked_folder(path: Path) -> None:
    folder = path.parent
    folder.rename(folder.with_name("moved"))
    folder.symlink_to(folder.with_name("moved"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda p: p.write_bytes(b"bb"), TransientFailure),
        (lambda p: os.utime(p, (1, 1)), TransientFailure),
        (Path.unlink, NotReady),
        (_link, TransientFailure),
        (_fifo, Rejection),
        (_linked_folder, TransientFailure),
    ],
    ids=["grown", "touched", "gone", "link", "FIFO", "linked folder"],
)
def test_another_file_than_was_looked_at_is_not_uploaded(
    site: Site,
    lane: CatalogueSession,
    storage_at: StorageAt,
    plan: Plan,
    tmp_path: Path,
    change: Callable[[Path], Any],
    error: type[Exception],
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "c.nxs"
    path.write_bytes(b"c")
    wanted = with_files(plan, planned(path))
    change(path)
    with pytest.raises(error, match=r"c\.nxs"):
        apply(wanted, lane, storage_at(site.ids))
    assert held(site, plan).datafiles == []


def test_an_upload_that_breaks_off_frees_its_process(tmp_path: Path) -> None:
    large = tmp_path / "large.nxs"
    large.touch()
    os.truncate(large, 10**9)
    large.chmod(0o444)
    datafile = replace(planned(large), location=None)

    class Access:
        session_id = "x"

        def renew_session(self) -> None: ...

        def datafile_rows(self, *_: Any) -> dict[str, Any]:
            return {}

    gc.disable()
    try:
        # It takes connections and answers nothing.
        with (
            NexusReader([tmp_path], workers=1) as files,
            socket.create_server(("127.0.0.1", 0)) as silent,
        ):
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/ids"
            for _ in range(6):
                client = Ids(IdsSettings(url=url, timeout=0.3), files).client(Access())
                assert client is not None
                with pytest.raises(Failure):
                    client.put(datafile, dataset_id=1, format_id=1)
            assert next(files.content(files.look(str(large))))
    finally:
        gc.enable()


def test_the_allowed_folder_may_be_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "gpfs", tmp_path / "data"
    real.mkdir()
    link.symlink_to(real)
    # Just written, as what is kept beside data is.
    (real / "run.nxs").write_bytes(b"content")
    with NexusReader([link]) as files:
        source = UploadSource(planned(real / "run.nxs"), files)
        assert b"".join(source.chunks()) == b"content"
        (tmp_path / "other").write_bytes(b"content")
        with pytest.raises(Rejection, match="outside the allowed folders"):
            UploadSource(planned(tmp_path / "other"), files)


def test_an_upload_needs_a_format_and_a_source(
    site: Site,
    lane: CatalogueSession,
    storage_at: StorageAt,
    plan: Plan,
    files: tuple[Path, ...],
) -> None:
    storage = storage_at(site.ids)
    for change in ({"format": None}, {"source": None}):
        wanted = with_files(plan, planned(files[1], **change))
        with pytest.raises(Rejection, match=next(iter(change))):
            apply(wanted, lane, storage)


def registered(plan: Plan) -> Plan:
    datafile = Datafile(name="a.nxs", location="/data/a.nxs", size=1)
    return with_files(plan, datafile)


def test_on_one_level_nothing_is_asked_for(
    lane: CatalogueSession, storage_at: StorageAt, plan: Plan, proxy: Any
) -> None:
    storage = storage_at(proxy.url, "register")
    assert apply(registered(plan), lane, storage).kind is OutcomeKind.INGESTED
    assert apply(registered(plan), lane, storage).kind is OutcomeKind.UNCHANGED
    assert proxy.seen == ["isTwoLevel"]


def test_on_two_levels_a_copy_is_asked_for_each_time(
    lane: CatalogueSession, storage_at: StorageAt, plan: Plan, proxy: Any
) -> None:
    busy = b'{"code": "DataNotOnlineException", "message": "not online"}'
    proxy.plans["isTwoLevel"] = [(200, b"true")]
    proxy.plans["write"] = [(503, b"<html>"), (204, b""), (503, busy), (503, busy)]
    proxy.plans["getStatus"] = [(200, b"ARCHIVED"), (200, b"ONLINE")]
    storage, wanted = storage_at(proxy.url, "register"), registered(plan)
    with pytest.raises(SystemUnavailable):
        apply(wanted, lane, storage)
    # The catalogue is done; the data are not, until the copy was asked for.
    applied = apply(wanted, lane, storage)
    assert applied.kind is OutcomeKind.UNCHANGED
    assert applied.written == (
        f"archive copy of dataset {applied.datasets[0].id} asked for",
    )
    assert apply(wanted, lane, storage).written == ()
    with pytest.raises(TransientFailure, match="not online"):
        apply(wanted, lane, storage)
    proxy.plans["write"] = [(501, b'{"code": "NotImplementedException"}')]
    assert apply(wanted, lane, storage).kind is OutcomeKind.UNCHANGED
    assert proxy.seen.count("isTwoLevel") == 1


def test_on_two_levels_no_copy_is_asked_for_what_is_only_said(
    lane: CatalogueSession, storage_at: StorageAt, plan: Plan, proxy: Any
) -> None:
    apply(registered(plan), lane, storage_at(None))
    (dataset,) = registered(plan).datasets
    (file,) = dataset.datafiles
    said = replace(
        plan,
        datasets=(
            replace(
                dataset,
                datafiles=(replace(file, checksum="sha256:00"),),
                partial=True,
            ),
        ),
    )
    proxy.plans["isTwoLevel"] = [(200, b"true")]
    storage = storage_at(proxy.url, "register")
    assert apply(said, lane, storage).kind is OutcomeKind.INGESTED
    assert "write" not in proxy.seen


def test_without_a_data_service_only_the_catalogue_is_written(
    lane: CatalogueSession, storage_at: StorageAt, plan: Plan
) -> None:
    storage = storage_at(None)
    storage.ping()
    assert apply(registered(plan), lane, storage).kind is OutcomeKind.INGESTED
