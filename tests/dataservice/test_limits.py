"""What callers send without end, or never: others are served, and nothing is left."""

import json
import os
import resource
import socket
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import icat
import pytest
from icat.ids import DataSelection

from .conftest import Site
from .two_levels import Service, service, until

pytestmark = pytest.mark.facility
IDLE = "500ms"


@pytest.fixture(scope="module")
def bounded(site: Site) -> Iterator[Service]:
    limits = {
        "connections": 50,
        "head": IDLE,
        "idle": IDLE,
        "file_size": "3MiB",
        "user_size": "4MiB",
    }
    with service(site, "bounded", limits=limits) as made:
        yield made


def connect(made: Service) -> socket.socket:
    parts = urllib.parse.urlsplit(made.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def answer(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


def refusal(connection: socket.socket) -> str:
    """Return an answer that comes before the body was sent."""
    found = b""
    while not found.endswith(b"}"):
        piece = connection.recv(65536)
        assert piece, found
        found += piece
    return found.decode()


def put_line(made: Service, dataset: Any, name: str, session: str = "") -> str:
    nexus = made.site.client.search("DatafileFormat")[0]
    query = urllib.parse.urlencode(
        {
            "sessionId": session or made.site.client.sessionId,
            "name": name,
            "datasetId": dataset.id,
            "datafileFormatId": nexus.id,
        }
    )
    return f"PUT /ids/put?{query} HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_hundred_thousand_headers(bounded: Service, at_once: bool) -> None:
    head = b"GET /ids/ping HTTP/1.1\r\nHost: x\r\n"
    head += b"".join(b"x-%d: y\r\n" % n for n in range(100_000)) + b"\r\n"
    with connect(bounded) as connection:
        step = len(head) if at_once else 1000
        with suppress(OSError):
            for begin in range(0, len(head), step):
                connection.sendall(head[begin : begin + step])
        assert b" 431 " in answer(connection).split(b"\r\n")[0]
    assert bounded.call("GET", "ping") == (200, b"IdsOK")


def test_headers_that_are_long_or_many_but_not_too_much(bounded: Service) -> None:
    lines = "".join(f"x-{n}: {'y' * 600}\r\n" for n in range(90))
    with connect(bounded) as connection:
        head = f"GET /ids/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n"
        connection.sendall(head.encode())
        assert answer(connection).startswith(b"HTTP/1.1 200 ")
    ids = ",".join(map(str, range(10**6, 10**6 + 100_000)))
    assert bounded.call("GET", "getSize", datafileIds=ids)[0] == 404
    # A second request counts by itself, and so does what follows a head.
    two = b"POST /ids/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"
    two += b"\n" * 5000 + b"GET /ids/ping HTTP/1.1\r\nHost: x\r\n"
    with connect(bounded) as connection:
        connection.sendall(two + b"Connection: close\r\n\r\n")
        assert answer(connection).endswith(b"IdsOK")


@pytest.mark.parametrize("sent", ["", "GET /ids/ping HTTP/1.1\r\nHost: x\r\nx"])
def test_half_a_request_is_closed(bounded: Service, sent: str) -> None:
    with connect(bounded) as connection:
        connection.sendall(sent.encode())
        assert answer(connection) == b""


def test_half_a_body_is_closed_and_keeps_nothing(bounded: Service) -> None:
    dataset = bounded.dataset("half a body")
    kept = bounded.put(dataset, "kept")
    with connect(bounded) as connection:
        head = put_line(bounded, dataset, "half") + "Content-Length: 2000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 1_500_000)
        until(lambda: bounded.service_status()["lockCount"])
        assert answer(connection) == b""
    until(lambda: not any(f.startswith(".incoming") for f in bounded.files()))
    # Nobody is at the dataset any more.
    bounded.idle()
    until(lambda: not bounded.service_status()["lockCount"])
    bounded.ids.delete(DataSelection({"datafileIds": [kept]}))


def test_a_body_that_trickles_is_closed(bounded: Service) -> None:
    dataset = bounded.dataset("trickling")
    with connect(bounded) as connection:
        head = put_line(bounded, dataset, "slow") + "Content-Length: 1000\r\n\r\n"
        connection.sendall(head.encode())
        with suppress(ConnectionError):
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)
    assert bounded.site.client.search(f"Datafile <-> Dataset [id={dataset.id}]") == []


def test_who_takes_nothing_lets_others_go_on(bounded: Service) -> None:
    dataset, [file] = bounded.registered("not taken", big=os.urandom(2**25))
    query = f"sessionId={bounded.site.client.sessionId}&datafileIds={file}"
    with connect(bounded) as connection:
        head = f"GET /ids/getData?{query} HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(head.encode())
        connection.recv(1000)
        bounded.archive(dataset)
        assert not bounded.here(file)


def test_more_connections_than_allowed(bounded: Service) -> None:
    with ExitStack() as stack:
        many = [stack.enter_context(connect(bounded)) for _ in range(60)]
        refused = [answer(connection) for connection in many[-5:]]
        assert all(b" 503 " in text for text in refused), refused
    until(lambda: bounded.call("GET", "ping") == (200, b"IdsOK"))


def test_sizes(bounded: Service) -> None:
    dataset = bounded.dataset("sizes")
    with pytest.raises(icat.IDSBadRequestError, match=r"limits\.file_size is 3145728"):
        bounded.put(dataset, "big", b"x" * (3 * 2**20 + 1))
    with connect(bounded) as connection:
        # What it will be is not said.
        head = put_line(bounded, dataset, "unsaid") + "Transfer-Encoding: chunked\r\n"
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n")
        for _ in range(4):
            connection.sendall(b"%x\r\n%s\r\n" % (2**20, b"x" * 2**20))
        connection.sendall(b"0\r\n\r\n")
        assert b"limits.file_size is 3145728" in answer(connection)
    with connect(bounded) as connection:
        head = put_line(bounded, dataset, "open") + f"Content-Length: {3 * 2**20}\r\n"
        connection.sendall(head.encode() + b"\r\n" + b"x" * 2**20)
        until(lambda: bounded.service_status()["lockCount"])
        with pytest.raises(
            icat.IDSInsufficientStorageError, match=r"limits\.user_size allows"
        ):
            bounded.put(dataset, "beside it", b"x" * (2**20 + 1))
        bounded.put(dataset, "small", b"x" * 2**20)
    until(lambda: not bounded.service_status()["lockCount"])
    bounded.put(dataset, "beside it", b"x" * (3 * 2**20))


def test_who_may_not_put_stores_nothing(bounded: Service) -> None:
    site = bounded.site
    dataset = bounded.dataset("read only")
    kept = bounded.put(dataset, "kept")
    bounded.idle()
    rules = [
        site.client.new("Rule", what=what, crudFlags="R")
        for what in ("Dataset", "DatafileFormat")
    ]
    for rule in rules:
        rule.create()
    reader = site.login("db", "jdoe")
    try:
        with connect(bounded) as connection:
            head = put_line(bounded, dataset, "x", reader.sessionId)
            connection.sendall(head.encode() + b"Content-Length: 1000000000\r\n\r\n")
            # Not a byte of the body was sent, and nothing is kept for it.
            text = refusal(connection)
            assert " 403 " in text
            assert "CREATE access to this Datafile is not allowed" in text
            assert bounded.service_status()["lockCount"] == 0
            bounded.ids.delete(DataSelection({"datafileIds": [kept]}))
    finally:
        site.client.deleteMany(rules)


@pytest.mark.parametrize(
    ("changed", "status", "message"),
    [
        ({"datafileFormatId": 987654321}, 404, "DatafileFormat[id:987654321]"),
        ({"name": "kept"}, 500, "OBJECT_ALREADY_EXISTS"),
        ({"name": "n" * 256}, 400, "name cannot have length > 255"),
    ],
)
def test_what_icat_will_refuse_is_refused_before_the_body(
    bounded: Service, changed: dict[str, Any], status: int, message: str
) -> None:
    dataset = bounded.dataset(f"refused {message}")
    bounded.put(dataset, "kept")
    nexus = bounded.site.client.search("DatafileFormat")[0]
    facts = {"datasetId": dataset.id, "datafileFormatId": nexus.id, "name": "a"}
    query = urllib.parse.urlencode(
        {"sessionId": bounded.site.client.sessionId, **facts, **changed}
    )
    with connect(bounded) as connection:
        head = f"PUT /ids/put?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
        connection.sendall(head.encode() + b"\r\n")
        text = refusal(connection)
        assert f"HTTP/1.1 {status} " in text
        assert message in text


def test_out_of_files_is_said_once(site: Site) -> None:
    with service(site, "few-files", archive_storage=None) as made:
        assert made.child is not None
        made.call("GET", "getSize", datasetIds=1)
        pid = made.child._process.pid
        open_now = len(os.listdir(f"/proc/{pid}/fd"))
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 5, hard))
        with ExitStack() as stack:
            for _ in range(30):
                stack.enter_context(connect(made))
            until(lambda: "system resource" in made.child.log.read_text())
        until(lambda: made.call("GET", "ping") == (200, b"IdsOK"))
        log = made.child.log.read_text()
        assert log.count("system resource") == 1
        assert len(log) < 20_000


def test_fewer_files_than_connections_are_told(site: Site) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = hard if hard != resource.RLIM_INFINITY else 2**20
    with service(site, "many", limits={"connections": allowed}) as made:
        assert made.child is not None
        assert "limits.connections is" in made.child.log.read_text()
        assert json.loads(made.call("GET", "getServiceStatus")[1])["lockCount"] == 0
