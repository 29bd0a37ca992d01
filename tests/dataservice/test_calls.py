"""The data service through unmodified python-icat, and by plain HTTP."""

import http.client
import io
import json
import os
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import icat
import pytest
from icat.ids import DataSelection

from .conftest import Site, start_service

pytestmark = pytest.mark.facility
NOBODY = str(uuid.UUID(int=7))


def call(
    site: Site, method: str, call_: str, *, body: Any = None, **parameters: Any
) -> tuple[int, Any, Any]:
    url = f"{site.ids_url}/{call_}"
    headers = parameters.pop("headers", {})
    data = body
    if method == "POST":
        data = urllib.parse.urlencode(parameters).encode()
    else:
        url += "?" + urllib.parse.urlencode(parameters)
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), error.headers


def put(site: Site, dataset: Any, nexus: Any, name: str, content: bytes) -> Any:
    file = site.client.new("Datafile", name=name, dataset=dataset, datafileFormat=nexus)
    return site.client.putData(io.BytesIO(content), file)


def register(site: Site, dataset: Any, name: str, location: str | None) -> Any:
    file = site.client.new("Datafile", name=name, dataset=dataset, location=location)
    file.create()
    return file


def stored(site: Site) -> set[str]:
    return {str(p.relative_to(site.data)) for p in site.data.rglob("*") if p.is_file()}


def test_says_what_it_is(site: Site) -> None:
    ids = site.client.ids
    ids.ping()
    assert ids.version() == {"version": "2.1.1"}
    assert ids.getIcatUrl() == site.icat_url
    assert not ids.isReadOnly()
    assert not ids.isTwoLevel()


@pytest.mark.parametrize("size", [0, 1, 3 * 2**20 + 17])
def test_what_is_put_comes_back(
    site: Site, dataset: Any, nexus: Any, size: int
) -> None:
    content = os.urandom(size)
    before = stored(site)
    file = put(site, dataset, nexus, "a.nxs", content)
    [location] = stored(site) - before
    assert file.location == location
    assert file.fileSize == size
    assert int(file.checksum, 16) == zlib.crc32(content)
    assert site.client.getData([file]).read() == content
    assert site.client.ids.getSize(DataSelection([file])) == size
    assert site.client.ids.getStatus(DataSelection([dataset])) == "ONLINE"


def test_details_of_a_put_are_catalogued(site: Site, dataset: Any, nexus: Any) -> None:
    status, answer, _ = call(
        site,
        "PUT",
        "put",
        body=b"x",
        sessionId=site.client.sessionId,
        name='sub/dir/ü & <b>"',
        datasetId=dataset.id,
        datafileFormatId=nexus.id,
        description="de",
        doi="10.1/x",
        datafileCreateTime=1767323045123,
        datafileModTime=1767323046000,
    )
    assert status == 201
    body = json.loads(answer)
    file = site.client.get("Datafile", body["id"])
    assert body == {
        "id": file.id,
        "checksum": zlib.crc32(b"x"),
        "location": file.location,
        "size": 1,
    }
    assert file.name == 'sub/dir/ü & <b>"'
    assert (file.description, file.doi) == ("de", "10.1/x")
    assert file.datafileCreateTime.timestamp() == pytest.approx(1767323045, abs=1)
    assert file.datafileModTime.timestamp() == 1767323046


@pytest.mark.parametrize(
    ("changed", "status", "code", "message"),
    [
        ({"name": None}, 400, "BadRequest", "The name parameter must be set"),
        ({"name": "a\x01"}, 400, "BadRequest", "characters that XML forbids"),
        ({"datasetId": None}, 400, "BadRequest", "The datasetId parameter must be set"),
        ({"datasetId": "abc"}, 400, "BadRequest", "datasetId parameter must be num"),
        ({"datasetId": 987654321}, 404, "NotFound", "Dataset[id:987654321] not found."),
        ({"datafileFormatId": None}, 400, "BadRequest", "datafileFormatId parameter"),
        ({"datafileModTime": "2026-01-01"}, 400, "BadRequest", "must be numeric"),
        ({"datafileModTime": "9" * 18}, 400, "BadRequest", "is no time"),
        ({"sessionId": None}, 400, "BadRequest", "'null' is not a valid UUID"),
        ({"sessionId": "ABC"}, 400, "BadRequest", "'ABC' is not a valid UUID"),
        ({"sessionId": NOBODY}, 403, "InsufficientPrivileges", "Unable to find user"),
        ({"name": "n" * 300}, 400, "BadRequest", "name cannot have length > 255"),
    ],
)
def test_a_refused_put_leaves_nothing(
    site: Site,
    dataset: Any,
    nexus: Any,
    changed: dict[str, Any],
    status: int,
    code: str,
    message: str,
) -> None:
    before = stored(site)
    parameters = {
        "sessionId": site.client.sessionId,
        "name": "z",
        "datasetId": dataset.id,
        "datafileFormatId": nexus.id,
        **changed,
    }
    parameters = {k: v for k, v in parameters.items() if v is not None}
    body = os.urandom(2**20)
    found, answer, _ = call(site, "PUT", "put", body=body, **parameters)
    assert (found, answer["code"]) == (status, f"{code}Exception")
    assert message in answer["message"]
    assert stored(site) == before


def test_a_name_that_is_taken_is_refused_and_the_file_goes(
    site: Site, dataset: Any, nexus: Any
) -> None:
    first = put(site, dataset, nexus, "a", b"first")
    before = stored(site)
    with pytest.raises(icat.IDSInternalError, match="OBJECT_ALREADY_EXISTS"):
        put(site, dataset, nexus, "a", b"second")
    assert stored(site) == before
    assert site.client.getData([first]).read() == b"first"


def test_of_eight_at_once_one_wins(site: Site, dataset: Any, nexus: Any) -> None:
    before = stored(site)
    parameters = {
        "sessionId": site.client.sessionId,
        "name": "a",
        "datasetId": dataset.id,
        "datafileFormatId": nexus.id,
    }
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda n: call(site, "PUT", "put", body=b"%d" % n, **parameters),
                range(8),
            )
        )
    assert sorted(status for status, _, _ in answers) == [201] + [500] * 7
    [winner] = [n for n, answer in enumerate(answers) if answer[0] == 201]
    [location] = stored(site) - before
    assert (site.data / location).read_bytes() == b"%d" % winner


def test_a_put_by_one_who_may_not(site: Site, dataset: Any, nexus: Any) -> None:
    client = site.login("db", "jdoe")
    before = stored(site)
    with pytest.raises(icat.IDSInsufficientPrivilegesError, match="READ access"):
        client.ids.put(io.BytesIO(b"x"), "z", dataset.id, nexus.id)
    rule = site.client.new("Rule", what="Dataset", crudFlags="R")
    rule.create()
    try:
        with pytest.raises(icat.IDSInsufficientPrivilegesError, match="CREATE access"):
            client.ids.put(io.BytesIO(b"x"), "z", dataset.id, nexus.id)
    finally:
        site.client.delete(rule)
    assert stored(site) == before


def test_a_put_that_breaks_off_leaves_nothing(
    site: Site, dataset: Any, nexus: Any
) -> None:
    before = stored(site)
    host = urllib.parse.urlsplit(site.ids_url).netloc
    query = urllib.parse.urlencode(
        {
            "sessionId": site.client.sessionId,
            "name": "z",
            "datasetId": dataset.id,
            "datafileFormatId": nexus.id,
        }
    )
    connection = http.client.HTTPConnection(host)
    connection.putrequest("PUT", f"/ids/put?{query}")
    connection.putheader("Content-Length", str(2**23))
    connection.endheaders(os.urandom(2**21))
    arrived = threading.Event()
    while not arrived.is_set():
        if any(p.startswith(".incoming/") for p in stored(site)):
            arrived.set()
    connection.close()
    while stored(site) != before:
        pass
    found = site.client.search(f"Datafile <-> Dataset [id={dataset.id}]")
    assert found == []


def test_several_files_come_as_a_zip(site: Site, dataset: Any, nexus: Any) -> None:
    contents = {"a.nxs": b"a" * 100_000, "sub/b.nxs": b"b", "../../c": b"c"}
    for name, content in contents.items():
        put(site, dataset, nexus, name, content)
    base = f"ids/EXAMPLE/240815/1/{dataset.name}"
    plain = site.client.getData([dataset]).read()
    small = site.client.getData([dataset], compressFlag=True).read()
    assert len(small) < 10_000 < len(plain)
    for archive in (plain, small):
        with zipfile.ZipFile(io.BytesIO(archive)) as unpacked:
            assert unpacked.testzip() is None
            assert {n: unpacked.read(n) for n in unpacked.namelist()} == {
                f"{base}/a.nxs": contents["a.nxs"],
                f"{base}/sub/b.nxs": b"b",
                f"{base}/__/__/c": b"c",
            }


def test_nothing_chosen_is_an_empty_zip(site: Site, dataset: Any) -> None:
    session = site.client.sessionId
    for parameters in ({}, {"datasetIds": dataset.id}):
        status, content, _ = call(
            site, "GET", "getData", sessionId=session, **parameters
        )
        assert (status, len(content)) == (200, 22)
        status, content, _ = call(
            site, "GET", "getDatafileIds", sessionId=session, **parameters
        )
        assert content == b'{"ids":[]}'


def test_ranges(site: Site, dataset: Any, nexus: Any) -> None:
    content = os.urandom(1000)
    file = put(site, dataset, nexus, 'a "ü".txt', content)

    def get(method: str = "GET", **headers: str) -> tuple[int, Any, Any]:
        return call(
            site,
            method,
            "getData",
            sessionId=site.client.sessionId,
            datafileIds=file.id,
            headers=headers,
        )

    status, body, headers = get()
    assert (status, body, headers["Content-Length"]) == (200, content, "1000")
    assert headers["Content-Disposition"] == (
        "attachment; filename=\"a _?_.txt\"; filename*=UTF-8''a%20%22%C3%BC%22.txt"
    )
    status, body, headers = get(Range="bytes=10-")
    assert (status, body) == (206, content[10:])
    assert headers["Content-Range"] == "bytes 10-999/1000"
    for asked, first, last in (
        ("10-20", 10, 20),
        ("0-0", 0, 0),
        ("990-5000", 990, 999),
        ("-10", 990, 999),
        ("-5000", 0, 999),
    ):
        status, body, headers = get(Range=f"bytes={asked}")
        assert (status, body) == (206, content[first : last + 1])
        assert headers["Content-Range"] == f"bytes {first}-{last}/1000"
        assert headers["Content-Length"] == str(last + 1 - first)
    etag = headers["ETag"]
    assert get(Range="bytes=9-", **{"If-Range": etag})[:2] == (206, content[9:])
    assert get(Range="bytes=9-", **{"If-Range": '"other"'})[:2] == (200, content)
    status, body, headers = get("HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "1000")
    data = site.client.ids.getData(DataSelection([file]), offset=990)
    assert data.read() == content[990:]


def curl(*arguments: str) -> int:
    return subprocess.run(["curl", "-sSf", *arguments], check=False).returncode


def test_a_zip_is_resumed(site: Site, dataset: Any, nexus: Any, tmp_path: Path) -> None:
    for name in "abc":
        put(site, dataset, nexus, name, os.urandom(100_000))
    session = site.client.sessionId
    base = {"sessionId": session, "datasetIds": dataset.id}

    def get(method: str = "GET", **more: Any) -> tuple[int, Any, Any]:
        return call(site, method, "getData", **base, **more)

    status, whole, headers = get()
    assert (status, headers["Content-Length"]) == (200, str(len(whole)))
    assert get("HEAD")[2]["Content-Length"] == str(len(whole))
    begin, end = 150_000, 250_000
    status, part, headers = get(headers={"Range": f"bytes={begin}-{end}"})
    assert (status, part) == (206, whole[begin : end + 1])
    assert headers["Content-Range"] == f"bytes {begin}-{end}/{len(whole)}"
    # As who has it prepared, whatever the order, and by what people have.
    id_ = site.client.prepareData([dataset])
    url = f"{site.ids_url}/getData?preparedId={id_}"
    path = tmp_path / "part.zip"
    path.write_bytes(whole[:begin])
    assert curl("-C", "-", "-o", str(path), url) == 0
    assert path.read_bytes() == whole
    # A compressed one has no length, and no parts.
    status, small, headers = get(compress="true")
    assert (status, headers["Content-Length"]) == (200, None)
    assert headers["Accept-Ranges"] == "none"
    assert get("HEAD", compress="true")[2]["Content-Length"] is None
    status, answer, _ = get(compress="true", headers={"Range": "bytes=9-"})
    assert (status, answer["code"]) == (400, "BadRequestException")
    with zipfile.ZipFile(io.BytesIO(small)) as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=1000-2000", "bytes=-0"])
def test_a_part_that_is_not_there(
    site: Site, dataset: Any, nexus: Any, asked: str
) -> None:
    file = put(site, dataset, nexus, "a", b"x" * 1000)
    query = f"sessionId={site.client.sessionId}&datafileIds={file.id}"
    request = urllib.request.Request(
        f"{site.ids_url}/getData?{query}", headers={"Range": asked}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as error:
        assert error.code == 416
        assert error.headers["Content-Range"] == "bytes */1000"


def test_entries_of_one_name_are_numbered(site: Site, dataset: Any, nexus: Any) -> None:
    contents = {"/abs.dat": b"1", "abs.dat": b"2", "..": b"3", "../../x": b"4"}
    contents |= {"a\\..\\b.x": b"5", "a_.._b.x": b"6", "c\x85\u202e": b"7"}
    for name, content in contents.items():
        put(site, dataset, nexus, name, content)
    base = f"ids/EXAMPLE/240815/1/{dataset.name}"
    content = site.client.getData([dataset]).read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = {
            n.removeprefix(f"{base}/"): archive.read(n) for n in archive.namelist()
        }
    assert found == {
        "abs.dat": b"1",
        "abs (2).dat": b"2",
        "__ (2)": b"3",
        "__/__/x": b"4",
        "a_.._b.x": b"5",
        "a_.._b (2).x": b"6",
        "c\x85\u202e": b"7",
    }


@pytest.mark.parametrize("make_absolute", [False, True])
def test_registered_files_are_delivered(
    site: Site, dataset: Any, make_absolute: bool
) -> None:
    path = site.data / "lumen" / f"{dataset.name}.nxs"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"where it always was")
    location = str(path) if make_absolute else str(path.relative_to(site.data))
    file = register(site, dataset, "run.nxs", location)
    assert site.client.getData([file]).read() == b"where it always was"


@pytest.fixture
def outside(site: Site) -> Any:
    """Ways to name a file outside, all of which a datafile may have as location."""
    secret = site.folder.path / "outside.txt"
    secret.write_text("secret")
    link = site.data / "link"
    if not link.is_symlink():
        link.symlink_to(site.folder.path)
    return ["../outside.txt", str(secret), "link/outside.txt", "a/../../outside.txt"]


@pytest.mark.parametrize("which", range(4))
def test_no_location_leads_out(
    site: Site, dataset: Any, outside: list[str], which: int
) -> None:
    file = register(site, dataset, "x", outside[which])
    for selection in ([file], [dataset]):
        with pytest.raises(icat.IDSInsufficientPrivilegesError, match="leads out"):
            site.client.getData(selection)
    site.client.deleteData([file])
    assert (site.folder.path / "outside.txt").read_text() == "secret"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["absent", "fifo", "folder", "null", "incoming"])
def test_what_is_no_file_is_said_so(site: Site, dataset: Any, kind: str) -> None:
    name = f"{dataset.name}.x"
    if kind == "fifo":
        os.mkfifo(site.data / name)
    elif kind == "folder":
        (site.data / name).mkdir()
    location = {"incoming": ".incoming/x", "null": "n" * 300}.get(kind, name)
    file = register(site, dataset, "x", location)
    for selection in ([file], [dataset]):
        with pytest.raises(icat.exception.IDSError) as caught:
            site.client.getData(selection)
        assert f"Datafile[id:{file.id}]" in caught.value.message
    if kind == "fifo":
        (site.data / name).unlink()


def test_delete_takes_it_from_icat_and_storage(
    site: Site, dataset: Any, nexus: Any
) -> None:
    before = stored(site)
    files = [put(site, dataset, nexus, name, b"x") for name in "abc"]
    site.client.deleteData(files[:2])
    left = site.client.search(f"Datafile <-> Dataset [id={dataset.id}]")
    assert [f.name for f in left] == ["c"]
    assert stored(site) - before == {files[2].location}
    with pytest.raises(icat.IDSNotFoundError):
        site.client.deleteData(files[:1])
    (site.data / files[2].location).unlink()
    site.client.deleteData([dataset])
    assert site.client.search(f"Datafile <-> Dataset [id={dataset.id}]") == []


def test_a_file_of_two_entries_goes_with_the_last(
    site: Site, dataset: Any, nexus: Any
) -> None:
    client = site.client
    first = put(site, dataset, nexus, "a", b"a")
    second = register(site, dataset, "b", first.location)
    client.deleteData([second])
    assert client.getData([first]).read() == b"a"
    client.deleteData([first])
    assert not (site.data / first.location).exists()


def test_one_who_may_not_delete_changes_nothing(
    site: Site, dataset: Any, nexus: Any
) -> None:
    file = put(site, dataset, nexus, "a", b"x")
    client = site.login("db", "jdoe")
    rule = site.client.new("Rule", what="Datafile", crudFlags="R")
    rule.create()
    try:
        assert client.getData([file]).read() == b"x"
        with pytest.raises(icat.IDSInsufficientPrivilegesError, match="DELETE access"):
            client.deleteData([file])
    finally:
        site.client.delete(rule)
    assert site.client.getData([file]).read() == b"x"


@pytest.mark.parametrize("name", ["getData", "getSize", "getDatafileIds", "getStatus"])
@pytest.mark.parametrize(
    ("parameters", "status", "message"),
    [
        ({"datafileIds": 987654321}, 404, "Datafile[id:987654321] not found."),
        ({"datasetIds": 987654321}, 404, "Dataset[id:987654321] not found."),
        ({"datafileIds": "{known},987654321"}, 404, "Datafile[id:987654321]"),
        ({"datafileIds": "{unplaced}"}, 404, "Datafile"),
        ({"datafileIds": "abc"}, 400, "The datafileIds parameter 'abc' is not a"),
        ({"datafileIds": 1, "sessionId": "abc"}, 400, "'abc' is not a valid UUID"),
        ({"preparedId": NOBODY}, 404, f"The preparedId {NOBODY} is not known"),
        ({"preparedId": "abc"}, 400, "The preparedId parameter 'abc' is not"),
    ],
)
def test_refusals(
    site: Site,
    dataset: Any,
    name: str,
    parameters: dict[str, Any],
    status: int,
    message: str,
) -> None:
    known = register(site, dataset, "a", "a")
    unplaced = register(site, dataset, "b", None)
    asked = {"sessionId": site.client.sessionId}
    for key, value in parameters.items():
        asked[key] = str(value).format(known=known.id, unplaced=unplaced.id)
    found, answer, _ = call(site, "GET", name, **asked)
    assert (found, message in answer["message"]) == (status, True), answer


@pytest.mark.parametrize(
    ("name", "code", "status"),
    [
        ("getData", "InsufficientPrivilegesException", 403),
        ("getDatafileIds", "InsufficientPrivilegesException", 403),
        ("getStatus", "InsufficientPrivilegesException", 403),
        ("getSize", "InternalException", 500),
    ],
)
def test_a_session_that_is_over(
    site: Site, dataset: Any, name: str, code: str, status: int
) -> None:
    found, answer, _ = call(site, "GET", name, sessionId=NOBODY, datasetIds=dataset.id)
    assert (found, answer["code"]) == (status, code)
    assert "Unable to find user by sessionid" in answer["message"]


@pytest.mark.parametrize(
    ("name", "status"), [("getData", 403), ("getDatafileIds", 403), ("getSize", 404)]
)
def test_one_who_may_not_read(site: Site, dataset: Any, name: str, status: int) -> None:
    file = register(site, dataset, "a", "a")
    session = site.login("db", "jdoe").sessionId
    found, answer, _ = call(site, "GET", name, sessionId=session, datafileIds=file.id)
    assert (found, answer["message"]) == (
        status,
        "READ access to this Datafile is not allowed.",
    )


def test_the_status_needs_no_session(site: Site, dataset: Any) -> None:
    status, answer, _ = call(site, "GET", "getStatus", datasetIds=dataset.id)
    assert (status, answer) == (200, b"ONLINE")


def test_one_level_has_no_archive(site: Site, dataset: Any) -> None:
    ids, selection = site.client.ids, DataSelection([dataset])
    for name in ("archive", "restore", "write", "reset"):
        getattr(ids, name)(selection)
        assert ids.getStatus(selection) == "ONLINE"
    status, answer, _ = call(site, "GET", "nothing")
    assert (status, answer["code"]) == (501, "NOT_IMPLEMENTED")
    assert call(site, "GET", "put")[0] == 501


def test_more_files_than_icat_returns_at_once(site: Site, dataset: Any) -> None:
    files = [
        site.client.new("Datafile", name=f"{n}", location=f"{n}", dataset=dataset)
        for n in range(450)
    ]
    numbers = site.client.createMany(files)
    ids = site.client.ids
    assert set(ids.getDatafileIds(DataSelection([dataset]))) == set(numbers)
    chosen = DataSelection({"datafileIds": numbers})
    assert set(ids.getDatafileIds(chosen)) == set(numbers)


def test_a_service_that_only_reads(site: Site, dataset: Any, nexus: Any) -> None:
    file = put(site, dataset, nexus, "a", b"x")
    child, url = start_service(
        site.folder,
        "readonly",
        icat={"url": site.icat_url},
        listen="127.0.0.1:0",
        main_storage={"root": str(site.data)},
        read_only=True,
    )
    try:
        ids = icat.ids.IDSClient(url, site.client.sessionId)
        assert ids.isReadOnly()
        assert ids.getData(DataSelection([file])).read() == b"x"
        with pytest.raises(icat.IDSNotImplementedError):
            ids.delete(DataSelection([file]))
        with pytest.raises(icat.IDSNotImplementedError):
            ids.put(io.BytesIO(b"x"), "z", dataset.id, nexus.id)
        ids.sessionId = None
        with pytest.raises(icat.IDSInsufficientPrivilegesError, match="no reader"):
            ids.getStatus(DataSelection([file]))
    finally:
        child.stop()


def test_icat_is_down(site: Site) -> None:
    child, url = start_service(
        site.folder,
        "lonely",
        icat={"url": "http://127.0.0.1:9", "timeout": "2s"},
        listen="127.0.0.1:0",
        main_storage={"root": str(site.data)},
    )
    try:
        ids = icat.ids.IDSClient(url, NOBODY)
        with pytest.raises(icat.IDSInternalError, match="does not answer"):
            ids.getSize(DataSelection({"datasetIds": [1]}))
    finally:
        child.stop()
