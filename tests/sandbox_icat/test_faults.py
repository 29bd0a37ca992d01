"""Faults on demand, as python-icat and a plain client see them."""

import http.client
import json
import time
import urllib.error
import urllib.request

import icat
import pytest

from icat_stream.sandbox.icat.launch import running

QUERY = "SELECT COUNT(f) FROM Facility f WHERE f.name = 'FAULTS'"


@pytest.fixture(autouse=True)
def _heal(server):
    yield
    server.fault("clear")


@pytest.mark.parametrize(
    ("order", "error", "text"),
    [
        ({"kind": "drop_before"}, http.client.RemoteDisconnected, "closed connection"),
        ({"kind": "drop_after"}, http.client.RemoteDisconnected, "closed connection"),
        ({"kind": "status"}, Exception, "503"),
        ({"kind": "status", "status": 502}, Exception, "502"),
        ({"kind": "html", "status": 503}, Exception, "503"),
        ({"kind": "html"}, AttributeError, "NoneType"),
        ({"kind": "database"}, icat.ICATInternalError, "Communications link failure"),
    ],
)
def test_hits_once(root, server, order, error, text):
    server.fault(**order, match="search")
    assert root.getUserName() == "simple/root"
    with pytest.raises(error, match=text):
        root.search(QUERY)
    assert root.search(QUERY) == [0]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # A page in a browser, or one whose name leads here.
        ({"Origin": "https://pages.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "pages.example"}, 403),
        ({"Host": "localhost"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_no_page_orders_faults(root, server, headers, status, method):
    body = b'{"kind": "database", "match": "search"}' if method == "POST" else None
    headers = {"Content-Type": "text/plain", **headers}
    request = urllib.request.Request(
        f"{server.admin}/faults", body, headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=180) as answer:
            found = answer.status
    except urllib.error.HTTPError as error:
        with error:
            found = error.code
    assert found == status
    server.fault("clear")
    assert root.search(QUERY) == [0]


def test_counts(root, server):
    server.fault("drop_before", count=2)
    for _ in range(2):
        with pytest.raises(http.client.RemoteDisconnected):
            root.search(QUERY)
    assert root.search(QUERY) == [0]


def test_until_cleared(root, server):
    server.fault("database", count=None)
    for _ in range(3):
        with pytest.raises(icat.ICATInternalError):
            root.search(QUERY)
    server.fault("clear")
    assert root.search(QUERY) == [0]


def test_drop_after_has_taken_effect_and_drop_before_has_not(root, server):
    facility = root.new("Facility", name="FAULTS")
    server.fault("drop_before", match="create")
    with pytest.raises(http.client.RemoteDisconnected):
        facility.create()
    assert root.search(QUERY) == [0]
    server.fault("drop_after", match="create")
    with pytest.raises(http.client.RemoteDisconnected):
        facility.create()
    assert root.search(QUERY) == [1]
    root.deleteMany(root.search("Facility [name = 'FAULTS']"))


def test_latency(root, server):
    server.fault("latency", seconds=0.2)
    before = time.monotonic()
    root.search(QUERY)
    assert time.monotonic() - before >= 0.2


def test_refuses_connections_and_takes_them_again(root, server):
    server.fault("refuse")
    with pytest.raises(urllib.error.URLError, match="refused"):
        root.search(QUERY)
    server.fault("clear")
    assert root.search(QUERY) == [0]
    server.fault("refuse", seconds=0.1)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            assert root.search(QUERY) == [0]
            break
        except urllib.error.URLError:
            time.sleep(0.05)
    else:
        pytest.fail("it never took connections again")


def ask(connection):
    connection.request("GET", "/icat/version")
    connection.getresponse().read()


def test_refusing_breaks_connections_that_are_kept(server):
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    ask(connection)
    server.fault("refuse")
    with pytest.raises(OSError, match=r"refused|reset|closed|[Bb]roken"):
        ask(connection)
    connection.close()


def test_expired_sessions(connect, server):
    client = connect("writer")
    server.fault("expire_sessions")
    with pytest.raises(icat.ICATSessionError, match=r"Session id:.* has expired"):
        client.getUserName()
    with pytest.raises(icat.ICATSessionError, match="has expired"):
        client.getRemainingMinutes()
    # The real server revives an expired session.
    client.refresh()
    assert client.getUserName() == "simple/writer"


def test_session_of_the_tests_survives(root):
    root.refresh()
    assert root.getUserName() == "simple/root"


def test_rest_is_hit_too(rest, server):
    server.fault("status", match="GET version", status=500)
    assert rest.get("version").status == 500
    assert rest.get("version").status == 200
    server.fault("database", match="GET version")
    assert rest.get("version").json["code"] == "INTERNAL"


@pytest.mark.parametrize(("kind", "there"), [("exists", 0), ("exists_after", 1)])
def test_lies_about_what_exists(root, server, kind, there):
    facility = root.new("Facility", name="FAULTS")
    server.fault(kind, match="create")
    with pytest.raises(icat.ICATObjectExistsError, match="Sample exists with"):
        facility.create()
    found = root.search("Facility [name = 'FAULTS']")
    assert len(found) == there
    root.deleteMany(found)


def sessions(server):
    with urllib.request.urlopen(f"{server.admin}/sessions", timeout=10) as answer:
        return json.loads(answer.read()).get("simple/root", {"valid": 0, "expired": 0})


def test_a_restart_keeps_what_is_on_disk(tmp_path):
    accounts = {"simple": {"root": "secret"}}
    with running(accounts, database=tmp_path / "icat.db") as server:
        client = icat.Client(server.url + "/ICATService/ICAT?wsdl")
        client.login("simple", {"username": "root", "password": "secret"})
        server.fault("latency", seconds=0.1, count=None)
        server.fault("restart")
        deadline = time.monotonic() + 60
        while True:
            try:
                if client.getUserName() == "simple/root" and faults(server) == []:
                    break
            except OSError:
                assert time.monotonic() < deadline, "it does not come back"
                time.sleep(0.05)
        assert sessions(server) == {"valid": 1, "expired": 0}
        server.fault("expire_sessions")
        assert sessions(server) == {"valid": 0, "expired": 1}
        client.logout()
        assert sessions(server) == {"valid": 0, "expired": 0}


def faults(server):
    with urllib.request.urlopen(f"{server.admin}/faults", timeout=10) as answer:
        return json.loads(answer.read())


def test_what_is_in_memory_only_is_not_restarted(server):
    with pytest.raises(urllib.error.HTTPError, match="400"):
        server.fault("restart")


@pytest.mark.parametrize(
    "order",
    [
        {"kind": "earthquake"},
        {},
        [],
        {"kind": "latency", "seconds": "long"},
        {"kind": "latency", "seconds": -1},
        {"kind": "status", "status": 42},
        {"kind": "drop_before", "match": 7},
        {"kind": "drop_before", "operation": "create"},
    ],
)
def test_orders_that_are_none(server, order):
    request = urllib.request.Request(
        f"{server.admin}/faults", json.dumps(order).encode()
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as answer:
        assert answer.code == 400
        assert json.loads(answer.read())["error"]
