"""What callers and storages should not do: the documented error, nothing half done."""

import io
import json
import os
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from icat.ids import DataSelection

from .conftest import Site
from .test_calls import call, put, stored
from .two_levels import Service, service, until

pytestmark = pytest.mark.facility
READS = ("getData", "getSize", "getStatus", "getDatafileIds")
NUMBER = "is not a valid string representation of a comma separated list of longs"


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize(
    ("ids", "status", "message"),
    [
        ("-1", 404, "Datafile[id:-1] not found."),
        ("0", 404, "Datafile[id:0] not found."),
        ("999999999999999999", 404, "not found."),
        ("9223372036854775808", 400, NUMBER),
        ("1e3", 400, NUMBER),
        ("1,,2", 400, NUMBER),
        ("1;DROP TABLE", 400, NUMBER),
        ("0x10", 400, NUMBER),
        ("१", 400, NUMBER),
        ("1' OR '1'='1", 400, NUMBER),
    ],
)
def test_ids(site: Site, name: str, ids: str, status: int, message: str) -> None:
    session = site.client.sessionId
    found, answer, _ = call(site, "GET", name, sessionId=session, datafileIds=ids)
    assert (found, message in answer["message"]) == (status, True), answer


@pytest.mark.parametrize("name", ["getDatafileIds", "archive", "prepareData", "delete"])
def test_a_hundred_thousand_ids(
    site: Site, dataset: Any, nexus: Any, name: str
) -> None:
    file = put(site, dataset, nexus, "a", b"x")
    # The last one does not exist: nothing may have been done by then.
    ids = ",".join(map(str, [file.id, *range(10**6, 10**6 + 99_999)]))
    method = {"getDatafileIds": "GET", "delete": "DELETE"}.get(name, "POST")
    session = site.client.sessionId
    status, answer, _ = call(site, method, name, sessionId=session, datafileIds=ids)
    assert (status, answer["code"]) == (404, "NotFoundException")
    assert site.client.getData([file]).read() == b"x"


def test_a_form_without_end(site: Site) -> None:
    found, answer, _ = call(site, "POST", "archive", datasetIds="1," * 2**21)
    assert (found, answer["code"]) == (400, "BadRequestException")
    assert "the form is longer than" in answer["message"]


def test_other_peoples_sessions(site: Site, dataset: Any, nexus: Any) -> None:
    file = put(site, dataset, nexus, "a", b"x")
    session = site.login("db", "jdoe").sessionId
    for method, name in (
        ("GET", "getData"),
        ("GET", "getDatafileIds"),
        ("POST", "prepareData"),
        ("POST", "archive"),
        ("POST", "getLink"),
        ("DELETE", "delete"),
    ):
        status, answer, _ = call(
            site,
            method,
            name,
            sessionId=session,
            datafileIds=file.id,
            datafileId=file.id,
            username="root",
        )
        assert (status, answer["code"]) == (403, "InsufficientPrivilegesException")


def test_prepared_ids_are_of_one_use_only(site: Site, dataset: Any, nexus: Any) -> None:
    file = put(site, dataset, nexus, "a", b"secret")
    id_ = site.client.prepareData([file])
    # Whoever has it may read, and nothing else.
    assert call(site, "GET", "getData", preparedId=id_)[:2] == (200, b"secret")
    for method, name in (
        ("DELETE", "delete"),
        ("POST", "archive"),
        ("POST", "restore"),
        ("POST", "write"),
        ("POST", "prepareData"),
    ):
        session = site.client.sessionId
        status, answer, _ = call(site, method, name, preparedId=id_, sessionId=session)
        assert (status, answer["message"]) == (400, "This call takes no preparedId")
    for wrong, status in ((str(uuid.uuid4()), 404), (id_.upper(), 400), ("../x", 400)):
        for name in (*READS, "isPrepared"):
            found, answer, _ = call(site, "GET", name, preparedId=wrong)
            assert found == status, answer
    site.client.deleteData([file])
    status, answer, _ = call(site, "GET", "getData", preparedId=id_)
    assert (status, answer["message"]) == (404, f"Datafile[id:{file.id}] not found.")


def test_what_is_deleted_drops_out_of_what_was_prepared(
    site: Site, dataset: Any, nexus: Any
) -> None:
    files = [put(site, dataset, nexus, name, b"x") for name in "ab"]
    id_ = site.client.prepareData(files)
    site.client.deleteData(files[:1])
    _, answer, _ = call(site, "GET", "getDatafileIds", preparedId=id_)
    assert json.loads(answer)["ids"] == [files[1].id]
    _, content, _ = call(site, "GET", "getData", preparedId=id_)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert [name.rsplit("/")[-1] for name in archive.namelist()] == ["b"]


def test_prepared_ids_are_withdrawn_by_their_maker_or_root(site: Site) -> None:
    settings = {"root_users": ["simple/root"], "prepared": {"user_count": 2}}
    with service(site, "withdrawn", **settings) as made:
        _, [file] = made.registered("d", a=b"a")
        rules = [
            site.client.new("Rule", what=what, crudFlags="R")
            for what in ("Datafile", "Dataset", "Investigation")
        ]
        for rule in rules:
            rule.create()
        jdoe = site.login("db", "jdoe").sessionId
        root = site.client.sessionId

        def prepare(session: str) -> Any:
            status, answer = made.call(
                "POST", "prepareData", datafileIds=file, sessionId=session
            )
            return answer.decode() if status == 200 else answer["message"]

        roots, first, second = prepare(root), prepare(jdoe), prepare(jdoe)
        # Each user has so many, whatever others have.
        assert "db/jdoe keeps 2 prepared ids" in prepare(jdoe)
        for session, id_, status in (
            (jdoe, roots, 403),
            (jdoe, first, 204),
            (root, second, 204),
            (root, roots, 204),
            (root, roots, 404),
        ):
            found, _ = made.call(
                "DELETE", "prepareData", preparedId=id_, sessionId=session
            )
            assert found == status
        assert made.call("GET", "getData", preparedId=first)[0] == 404
        kept = prepare(jdoe)
        site.client.deleteMany(rules)
        # Nobody who reads the database can use them.
        database = made.path / "state" / "state.db"
        assert database.stat().st_mode & 0o777 == 0o600
        for path in database.parent.iterdir():
            if path.is_file():
                assert kept.encode() not in path.read_bytes()


def test_prepared_ids_expire(site: Site) -> None:
    with service(site, "forgetful", prepared={"lifetime": 1}) as made:
        _, [file] = made.registered("d", a=b"a")
        id_ = made.ids.prepareData(DataSelection({"datafileIds": [file]}))
        assert made.get(preparedId=id_) == b"a"
        until(lambda: made.call("GET", "getData", preparedId=id_)[0] == 404)
        status, answer = made.call("GET", "isPrepared", preparedId=id_)
        assert (status, answer["message"]) == (
            404,
            f"The preparedId {id_} is not known",
        )


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/passwd", "a/../../../b", "..", ".", "x" * 255, "-rf", "a\nb"],
)
def test_names_lead_nowhere(site: Site, dataset: Any, nexus: Any, name: str) -> None:
    before = stored(site)
    outside = set(site.folder.path.iterdir())
    answer = site.client.ids.put(io.BytesIO(b"x"), name, dataset.id, nexus.id)
    [location] = stored(site) - before
    investigation = site.client.search("Investigation")[0]
    assert location.startswith(f"{investigation.id}/{dataset.id}/")
    assert set(site.folder.path.iterdir()) == outside
    assert site.client.get("Datafile", int(answer)).location == location


@pytest.mark.parametrize(
    "outname", ['../x"; y=1', "a\r\nSet-Cookie: b=1", "/etc/passwd", "\x00", "ü" * 300]
)
def test_outnames_stay_in_their_header(
    site: Site, dataset: Any, nexus: Any, outname: str
) -> None:
    file = put(site, dataset, nexus, "a", b"x")
    status, content, headers = call(
        site,
        "GET",
        "getData",
        sessionId=site.client.sessionId,
        datafileIds=file.id,
        outname=outname,
    )
    assert (status, content) == (200, b"x")
    assert "Set-Cookie" not in headers
    shown = headers["Content-Disposition"].split('"')[1]
    assert "/" not in shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    "text",
    ["bytes=-", "bytes=5-2", "bytes=0-1,4-5", "lines=1-", "bytes=x-", "bytes=", "5-"],
)
def test_ranges_that_make_no_sense(
    site: Site, dataset: Any, nexus: Any, text: str
) -> None:
    file = put(site, dataset, nexus, "a", b"0123456789")
    status, answer, _ = call(
        site,
        "GET",
        "getData",
        sessionId=site.client.sessionId,
        datafileIds=file.id,
        headers={"Range": text},
    )
    assert (status, answer["code"]) == (400, "BadRequestException")


def raw(
    site: Site, dataset: Any, nexus: Any, length: int, body: bytes, url: str = ""
) -> bytes:
    """Send a put that announces another length than it has."""
    parts = urllib.parse.urlsplit(url or site.ids_url)
    query = urllib.parse.urlencode(
        {
            "sessionId": site.client.sessionId,
            "name": "raw",
            "datasetId": dataset.id,
            "datafileFormatId": nexus.id,
        }
    )
    head = (
        f"PUT /ids/put?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(head.encode() + body)
        if len(body) < length:
            connection.shutdown(socket.SHUT_WR)
        found = b""
        while piece := connection.recv(65536):
            found += piece
    return found


def test_a_body_shorter_than_announced(site: Site, dataset: Any, nexus: Any) -> None:
    before = stored(site)
    assert b"201 Created" not in raw(site, dataset, nexus, 1000, b"x" * 500)
    until(lambda: stored(site) == before)
    assert site.client.search(f"Datafile <-> Dataset [id={dataset.id}]") == []


def test_a_body_longer_than_announced(site: Site, dataset: Any, nexus: Any) -> None:
    answer = raw(site, dataset, nexus, 500, b"x" * 1000)
    # What is beyond is no part of the file, and no request either.
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert answer.count(b"HTTP/1.1 2") == 1
    [file] = site.client.search(f"Datafile <-> Dataset [id={dataset.id}]")
    assert site.client.getData([file]).read() == b"x" * 500


def form(*parts: tuple[str, bytes, bool], boundary: str = "b0undary") -> bytes:
    body = b""
    for name, content, is_file in parts:
        file = '; filename="f"' if is_file else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}'
        body += head.encode() + b"\r\n\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def post(
    site: Site, body: bytes, kind: str = "multipart/form-data; boundary=b0undary"
) -> tuple[int, Any]:
    headers = {"Content-Type": kind}
    request = urllib.request.Request(f"{site.ids_url}/put", body, headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def fields(site: Site, dataset: Any, nexus: Any) -> list[tuple[str, bytes, bool]]:
    facts = {
        "sessionId": site.client.sessionId,
        "name": "ü.nxs",
        "datasetId": dataset.id,
        "datafileFormatId": nexus.id,
    }
    return [(name, str(value).encode(), False) for name, value in facts.items()]


def test_a_form_is_a_put(site: Site, dataset: Any, nexus: Any) -> None:
    content = os.urandom(3 * 2**20)
    before = fields(site, dataset, nexus)
    status, answer = post(site, form(*before, ("file", content, True)))
    assert status == 201
    file = site.client.get("Datafile", json.loads(answer)["id"])
    assert (file.name, file.fileSize) == ("ü.nxs", len(content))
    assert site.client.getData([file]).read() == content
    site.client.deleteData([file])
    wrapped = [*before, ("wrap", b"true", False), ("file", b"x", True)]
    status, answer = post(site, form(*wrapped))
    assert answer.startswith(b"<html><script>window.name='{")


def test_forms_that_are_none(site: Site, dataset: Any, nexus: Any) -> None:
    before = stored(site)
    good = fields(site, dataset, nexus)
    file = ("file", b"x" * 2**20, True)
    whole = form(*good, file)
    for body, message in (
        (form(*good), "the form has no file"),
        (form(file, *good), "The sessionId parameter 'null' is not a valid UUID"),
        (form(*good, file, ("doi", b"x", False)), "'doi' comes after the file"),
        (form(*good, file, file), "more than one file"),
        (whole[:-100], "the form ends in the middle"),
        (b"nothing like it", "the form is malformed"),
        (form(("name", b"x" * 2**17, False)), "fields are longer than 65536"),
    ):
        status, answer = post(site, body)
        assert (status, message in answer["message"]) == (400, True), answer
    kind = f"multipart/form-data; boundary={'b' * 257}"
    status, answer = post(site, whole, kind)
    assert (status, "Boundary length 257" in answer["message"]) == (400, True)
    status, answer = post(site, b"x", "text/plain")
    assert "multipart/form-data" in answer["message"]
    assert stored(site) == before
    assert site.client.search(f"Datafile <-> Dataset [id={dataset.id}]") == []


@pytest.fixture(scope="module")
def troubled(site: Site) -> Iterator[Service]:
    made = Service(site, "troubled")
    storage = {"plugin": "storages:Troubled", "root": str(made.main)}
    made.start(main_storage=storage, storage_timeout=2, archive_storage=None)
    try:
        yield made
    finally:
        (made.path / "trouble").unlink(missing_ok=True)
        made.stop()


@pytest.mark.parametrize(
    ("trouble", "code", "message"),
    [
        ("raises", "InternalException", "RuntimeError: the robot dropped it"),
        ("full", "InsufficientStorageException", "No space left on device"),
        ("hangs", "InternalException", "did not answer within 2 s"),
    ],
)
def test_a_storage_in_trouble(
    troubled: Service, nexus: Any, trouble: str, code: str, message: str
) -> None:
    dataset, [file] = troubled.registered(f"trouble {trouble}", a=b"a")
    before = troubled.files()
    (troubled.path / "trouble").write_text(trouble)
    try:
        for method, call_, parameters in (
            ("GET", "getData", {"datafileIds": file}),
            (
                "PUT",
                "put",
                {
                    "name": "z",
                    "datasetId": dataset.id,
                    "datafileFormatId": nexus.id,
                    "body": b"x" * 2**20,
                },
            ),
        ):
            status, answer = troubled.call(method, call_, **parameters)
            assert status == 500, answer
            if call_ == "put" or trouble != "full":
                assert answer["code"] == code
            assert message in answer["message"]
        # Those who ask for nothing of the storage are not held up.
        assert troubled.call("GET", "ping") == (200, b"IdsOK")
    finally:
        (troubled.path / "trouble").unlink()
    until(lambda: troubled.files() == before)
    found = troubled.site.client.search(f"Datafile <-> Dataset [id={dataset.id}]")
    assert [f.name for f in found] == ["a"]
    assert troubled.get(datafileIds=file) == b"a"


def test_a_storage_that_hangs_when_a_caller_goes(
    site: Site, troubled: Service, nexus: Any
) -> None:
    dataset = troubled.dataset("hangs when it tidies up")
    before = troubled.files()
    (troubled.path / "trouble").write_text("hangs in abort")
    try:
        raw(site, dataset, nexus, 1000, b"x" * 500, troubled.url)
        assert troubled.call("GET", "ping") == (200, b"IdsOK")
    finally:
        (troubled.path / "trouble").unlink()
    until(lambda: troubled.files() == before)


def test_many_hang_and_others_go_on(site: Site) -> None:
    made = Service(site, "many-hang")
    storage = {"plugin": "storages:Troubled", "root": str(made.main)}
    made.start(main_storage=storage, archive_storage=None)
    _, [file] = made.registered("many hang", a=b"a")
    (made.path / "trouble").write_text("hangs")
    answers: list[int] = []

    def ask() -> None:
        answers.append(made.call("GET", "getData", datafileIds=file)[0])

    # More than may begin at once.
    threads = [threading.Thread(target=ask) for _ in range(100)]
    try:
        for thread in threads:
            thread.start()
        assert made.call("GET", "ping") == (200, b"IdsOK")
        with urllib.request.urlopen(made.url.removesuffix("ids") + "health") as found:
            assert json.loads(found.read())["healthy"]
        assert made.call("GET", "getSize", datafileIds=file) == (200, b"1")
        assert answers == []
    finally:
        (made.path / "trouble").unlink()
        for thread in threads:
            thread.join()
        made.stop()
    assert answers == [200] * 100


def test_a_range_far_into_a_zip_of_a_slow_storage(troubled: Service) -> None:
    contents = {f"f{n}": bytes([n]) * 300_000 for n in range(6)}
    dataset, _ = troubled.registered("far into a zip", **contents)
    whole = troubled.get(datasetIds=dataset.id)
    # What is left out is read, too: longer in all than a call of the storage may take.
    (troubled.path / "trouble").write_text("opens slowly")
    try:
        url = f"{troubled.url}/getData?" + urllib.parse.urlencode(
            {"sessionId": troubled.site.client.sessionId, "datasetIds": dataset.id}
        )
        request = urllib.request.Request(url, headers={"Range": "bytes=-1000"})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 206
            assert answer.read() == whole[-1000:]
    finally:
        (troubled.path / "trouble").unlink()


def test_a_session_that_is_no_xml(site: Site) -> None:
    for session in ("a\x00b", "\x1b[2J", "\ufffe"):
        status, answer, _ = call(site, "GET", "getServiceStatus", sessionId=session)
        assert (status, answer["code"]) == (400, "BadRequestException")


def test_a_body_with_two_lengths(site: Site, dataset: Any, nexus: Any) -> None:
    parts = urllib.parse.urlsplit(site.ids_url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(
            b"POST /ids/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            b"GET /ids/ping HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        found = b""
        while piece := connection.recv(65536):
            found += piece
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1") == 1


def test_calls_of_older_and_of_no_clients(site: Site) -> None:
    assert call(site, "GET", "getApiVersion")[:2] == (200, b"2.1.1")
    status, answer, _ = call(site, "GET", "getTopicName")
    assert (status, answer["code"]) == (501, "NOT_IMPLEMENTED")
