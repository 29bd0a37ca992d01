"""What somebody tries who means harm: refused, and nobody else's data is touched."""

import io
import json
import socket
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import icat
import pytest
from icat.ids import IDSClient

from .conftest import Site
from .test_calls import call, put, register, stored
from .two_levels import until

pytestmark = pytest.mark.facility


@pytest.fixture(scope="module")
def jdoe(site: Site) -> Iterator[Any]:
    """Return somebody's client who may look at formats, and make nothing."""
    rule = site.client.new("Rule", what="DatafileFormat", crudFlags="R")
    rule.create()
    yield site.login("db", "jdoe")
    site.client.delete(rule)


def raw(site: Site, request: bytes, *, whole: bool = False) -> bytes:
    """Return all that is answered to some bytes, or to a request that is whole."""
    parts = urllib.parse.urlsplit(site.ids_url)
    with socket.create_connection((parts.hostname, parts.port), 30) as connection:
        connection.sendall(request)
        if not whole:
            connection.shutdown(socket.SHUT_WR)
        found = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                found += piece
    return found


PING = b"GET /ids/ping HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /ids/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 5\r\n\r\n" + PING,
        b"POST /ids/reset HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n" + PING,
        b"POST /ids/reset HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + PING,
        b"POST /ids/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
        b"Content-Length: 5\r\n\r\n" + PING,
        b"POST /ids/reset HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n"
        + PING,
        b"POST /ids/reset HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n"
        b"\r\n0\r\n\r\n" + PING,
        b"POST /ids/reset HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"-1\r\n\r\n" + PING,
        b"POST /ids/reset HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"fffffffffffffffffffff\r\n\r\n" + PING,
        b"GET /ids/ping HTTP/1.1\r\nHost : x\r\n\r\n" + PING,
        b"GET /ids/ping HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n" + PING,
        b"GET /ids/ping HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n" + PING,
        b"GET  /ids/ping HTTP/1.1\r\nHost: x\r\n\r\n" + PING,
        b"GET /ids/\xff HTTP/1.1\r\nHost: x\r\n\r\n" + PING,
        b"GET /ids/ping\r\n" + PING,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + PING,
    ],
)
def test_no_request_is_hidden_in_another(site: Site, request_: bytes) -> None:
    found = raw(site, request_)
    # Whatever the service makes of it: nothing of what follows is answered.
    assert b"IdsOK" not in found


@pytest.mark.parametrize(
    "target",
    [
        "/ids/../health",
        "/ids/%2e%2e/metrics",
        "/ids//ping",
        "/ids/ping/",
        "/ids/getData/../../x",
        "/ids/ping%00",
        "/ids/ping;x=1",
        "/etc/passwd",
        "/ids/getData%2f..%2f..",
    ],
)
def test_paths_lead_to_no_other_call(site: Site, target: str) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    found = raw(site, head.encode())
    assert found.startswith((b"HTTP/1.1 501 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "PROPFIND", "DELETE"])
def test_methods_that_are_none(site: Site, method: str) -> None:
    head = f"{method} /ids/ping?S3CRET HTTP/1.1\r\nHost: x\r\nX-Mine: S3CRET\r\n"
    found = raw(site, f"{head}Connection: close\r\n\r\n".encode())
    assert b"IdsOK" not in found
    # Nothing of the request comes back.
    assert b"S3CRET" not in found


def test_a_proxys_words_are_not_believed(site: Site) -> None:
    headers = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Original-URL": "/ids/getServiceStatus",
        "X-HTTP-Method-Override": "DELETE",
    }
    _, answer, _ = call(site, "GET", "getIcatUrl", headers=headers)
    assert answer.decode() == site.icat_url


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("192.0.2.7 status=204", "-"),
        ("call=delete", "-"),
    ],
)
def test_a_proxy_says_whose_call_it_is_and_nothing_else(
    site: Site, said: str, logged: str
) -> None:
    call(site, "GET", "version", headers={"X-Forwarded-For": said})
    log = site.folder.log / "ids.log"
    # The line is written when the answer is out.
    until(lambda: f"peer={logged}\n" in log.read_text())
    assert f"peer={said}" not in log.read_text() or said == logged


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_no_page_in_a_browser_sees_how_the_service_is(site: Site, path: str) -> None:
    mine = b"GET %s HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n"
    mine %= path.encode()
    found = raw(site, mine + b"Origin: http://evil.example\r\n\r\n", whole=True)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert b"access-control-allow-origin" not in found.lower()
    found = raw(site, mine.replace(b"localhost", b"evil.example") + b"\r\n", whole=True)
    assert found.startswith(b"HTTP/1.1 403 ")
    # Calls, which say whose they are, are for all pages.
    found = raw(
        site, PING[:-2] + b"Origin: http://a.example\r\nConnection: close\r\n\r\n"
    )
    assert b"access-control-allow-origin: *" in found.lower()


XML = "</name><location>../../../etc/passwd</location><name>"


@pytest.mark.parametrize(
    "field", ["name", "description", "doi"], ids=["name", "description", "doi"]
)
def test_nothing_that_is_said_becomes_xml(
    site: Site, dataset: Any, nexus: Any, field: str
) -> None:
    facts = {"name": "a", field: XML, "datasetId": dataset.id}
    status, answer, _ = call(
        site,
        "PUT",
        "put",
        body=b"mine",
        sessionId=site.client.sessionId,
        datafileFormatId=nexus.id,
        **facts,
    )
    assert status == 201
    file = site.client.get("Datafile", json.loads(answer)["id"])
    assert getattr(file, field) == XML
    assert (site.data / file.location).read_bytes() == b"mine"


@pytest.mark.parametrize(
    "location",
    ["x' OR 'a' = 'a", "x') OR (1 = 1", "x'' OR df.id > 0", "%", "_", "x\\' OR 1=1 --"],
)
def test_no_location_becomes_a_query(
    site: Site, dataset: Any, nexus: Any, location: str
) -> None:
    theirs = put(site, dataset, nexus, "theirs", b"theirs")
    mine = register(site, dataset, "mine", location)
    (site.data / location.replace("/", "_")).write_bytes(b"mine")
    site.client.deleteData([mine])
    # Neither is one that others share, nor are all.
    assert not (site.data / location.replace("/", "_")).exists()
    assert site.client.getData([theirs]).read() == b"theirs"


@pytest.mark.parametrize(
    "session",
    [
        "</sessionId><query>x</query>",
        "' OR '1'='1",
        "00000000-0000-0000-0000-000000000000' OR '",
        "0" * 100_000,
        "%00",
    ],
)
@pytest.mark.parametrize("name", ["getServiceStatus", "getSize", "getStatus"])
def test_sessions_that_are_none(site: Site, name: str, session: str) -> None:
    status, answer, _ = call(site, "GET", name, sessionId=session, datasetIds=1)
    assert status in (400, 403)
    assert answer["code"] in ("BadRequestException", "InsufficientPrivilegesException")


@pytest.mark.parametrize(
    "user",
    ["root;id", "-R", "../root", "0", "root\nroot", "$(id)", "root:rw", "u:root", " "],
)
def test_links_are_for_users(site: Site, dataset: Any, nexus: Any, user: str) -> None:
    file = put(site, dataset, nexus, "a", b"x")
    status, answer, _ = call(
        site,
        "POST",
        "getLink",
        sessionId=site.client.sessionId,
        datafileId=file.id,
        username=user,
    )
    assert (status, answer["code"]) == (400, "BadRequestException")


def test_an_id_said_twice_is_one_id(
    site: Site, dataset: Any, nexus: Any, jdoe: Any
) -> None:
    file = put(site, dataset, nexus, "a", b"theirs")
    base = f"{site.ids_url}/getData?sessionId={jdoe.sessionId}"
    for query in (
        f"&datafileIds=&datafileIds={file.id}",
        f"&datafileIds={file.id}&datafileIds=",
        f"&datafileIds={file.id}&sessionId=",
        f"&datafileids={file.id}&datafileIds={file.id}",
        f"&datasetIds={dataset.id}&investigationIds=1",
        f"&datafileIds={file.id}&zip=true&preparedId=",
    ):
        found = raw(
            site,
            f"GET {urllib.parse.urlsplit(base + query).path}?"
            f"{urllib.parse.urlsplit(base + query).query} HTTP/1.1\r\nHost: x\r\n"
            "Connection: close\r\n\r\n".encode(),
        )
        assert b"theirs" not in found


def test_a_prepared_id_gives_no_more_than_was_prepared(
    site: Site, dataset: Any, nexus: Any, jdoe: Any
) -> None:
    file, other = (put(site, dataset, nexus, n, b"theirs") for n in "ab")
    id_ = site.client.prepareData([file])
    status, content, _ = call(
        site, "GET", "getData", preparedId=id_, datafileIds=other.id, datasetIds=1
    )
    assert (status, content) == (200, b"theirs")
    _, answer, _ = call(site, "GET", "getDatafileIds", preparedId=id_)
    assert json.loads(answer)["ids"] == [file.id]
    for method, name in (("DELETE", "prepareData"), ("DELETE", "delete")):
        status, _, _ = call(
            site, method, name, sessionId=jdoe.sessionId, preparedId=id_
        )
        assert status in (400, 403)
    status, _, _ = call(
        site, "POST", "prepareData", sessionId=jdoe.sessionId, datafileIds=file.id
    )
    assert status == 403


def test_one_who_may_nothing_changes_nothing(
    site: Site, dataset: Any, nexus: Any, jdoe: Any
) -> None:
    file = put(site, dataset, nexus, "a", b"theirs")
    before = stored(site)
    ids = IDSClient(site.ids_url, jdoe.sessionId)
    selection = {"datafileIds": [file.id]}
    for attack in (
        lambda: ids.put(io.BytesIO(b"x"), "b", dataset.id, nexus.id),
        lambda: ids.delete(icat.ids.DataSelection(selection)),
        lambda: ids.getData(icat.ids.DataSelection(selection)),
        lambda: ids.reset(icat.ids.DataSelection(selection)),
        lambda: ids.write(icat.ids.DataSelection(selection)),
        lambda: ids.getLink(file.id, "root"),
    ):
        with pytest.raises(icat.exception.IDSError):
            attack()
    assert stored(site) == before
    assert site.client.getData([file]).read() == b"theirs"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("separator", ["a=1&", "&", "datafileIds=1;"])
def test_a_million_parameters(site: Site, separator: str) -> None:
    text = separator * (1_900_000 // len(separator))
    end = "Host: x\r\nConnection: close\r\n"
    for request in (
        f"GET /ids/getSize?{text} HTTP/1.1\r\n{end}\r\n",
        f"POST /ids/archive HTTP/1.1\r\n{end}Content-Length: {len(text)}\r\n\r\n{text}",
    ):
        found = raw(site, request.encode(), whole=True)
        assert found.startswith(b"HTTP/1.1 400 ")
        assert len(found) < 2000


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("headers", "count", "message"),
    [
        (b'Content-Disposition: form-data; name="x"\r\n', 90, b"no file"),
        (b'Content-Disposition: form-data; name="x"\r\n', 20_000, b"100 parts"),
        (b"x: %s\r\n" % (b"y" * 3000), 90, b"longer than 65536 bytes"),
        (b"", 200_000, b"100 parts"),
    ],
)
def test_many_parts(site: Site, headers: bytes, count: int, message: bytes) -> None:
    body = (b"--b\r\n%s\r\n\r\n" % headers) * count
    head = (
        b"POST /ids/put HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" % len(body)
    )
    found = raw(site, head + body)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert message in found


@pytest.mark.parametrize(
    "asked", ["bytes=" + "0-,5-," * 500, "bytes=" + "9" * 500 + "-"]
)
def test_ranges_without_end(site: Site, dataset: Any, nexus: Any, asked: str) -> None:
    file = put(site, dataset, nexus, "a", b"0123456789")
    status, _, _ = call(
        site,
        "GET",
        "getData",
        sessionId=site.client.sessionId,
        datafileIds=file.id,
        headers={"Range": asked},
    )
    assert status == 400
