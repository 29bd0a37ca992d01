"""Requests that no well-meaning client sends."""

import threading

import pytest

from icat_stream.sandbox.icat.launch import running

from .conftest import Rest, Soap, send

BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>
<n:getApiVersion xmlns:n="http://icatproject.org">&b;</n:getApiVersion></S:Body>
</S:Envelope>"""


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "XML reader error"),
        (b"<a", "XML reader error"),
        (b"\xff\xfe\x00", "XML reader error"),
        (b"<a/>", "no SOAP 1.1 envelope"),
        (BOMB, "document type declaration"),
        (BOMB.decode().encode("utf-16"), "document type declaration"),
    ],
)
def test_what_is_no_envelope(soap, body, problem):
    answer = soap.raw(body)
    assert answer.status == 500
    assert problem in answer.text("faultstring")
    assert answer.text("faultcode") == "S:Client"
    assert b"Traceback" not in answer.body


def test_deep_nesting_is_refused(soap):
    answer = soap.raw(b"<a>" * 100_000)
    assert "XML reader error" in answer.text("faultstring")
    below = "<dataset>" * 200 + "</dataset>" * 200
    assert soap.create("datafile", below).status == 500


def test_unknown_operation_and_namespace(soap):
    answer = soap.call("dropTables", "")
    assert answer.text("faultstring").startswith("Cannot find dispatch method for")
    body = (
        b'<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
        b'<n:getApiVersion xmlns:n="http://elsewhere"/></S:Body></S:Envelope>'
    )
    assert "{http://elsewhere}getApiVersion" in soap.raw(body).text("faultstring")


@pytest.mark.parametrize("kind", ["datasett", "entityBaseBean", ""])
def test_bean_of_no_entity(soap, kind):
    assert soap.create(kind, "").fault[0] == "BAD_PARAMETER"


def test_missing_arguments(soap):
    assert soap.call("create", "").fault == ("BAD_PARAMETER", "bean must not be null")
    assert soap.call("search", "").fault == ("BAD_PARAMETER", "query is not set")
    assert soap.call("createMany", "").status == 200
    assert soap.call("get", "<query>Dataset</query>").fault[0] == "NO_SUCH_OBJECT_FOUND"


@pytest.mark.parametrize("session", ["abc", "' OR 1=1 --", "\u00fc"])
def test_unknown_session(soap, session):
    answer = soap.call("search", "<query>SELECT f FROM Facility f</query>", session)
    assert answer.fault == ("SESSION", f"Unable to find user by sessionid: {session}")


@pytest.mark.parametrize("number", [-1, 0, 2**62, 2**63, 10**30, "x", "1 OR 1=1"])
def test_ids_that_are_none(soap, number):
    query = f"<query>Facility</query><primaryKey>{number}</primaryKey>"
    assert soap.call("get", query).fault[0] == "NO_SUCH_OBJECT_FOUND"
    bean = f'<bean xsi:type="n:facility"><id>{number}</id></bean>'
    assert soap.call("delete", bean).fault[0] == "NO_SUCH_OBJECT_FOUND"


def test_huge_numbers_and_lists_in_queries(soap, place):
    answer = soap.search("SELECT f FROM Facility f WHERE f.id = 99999999999999999999")
    assert answer.fault[0] == "BAD_PARAMETER"
    numbers = ",".join(str(n) for n in range(10**6, 10**6 + 30_000))
    answer = soap.search(
        f"SELECT f.name FROM Facility f WHERE f.id IN ({numbers},{place.facility.id})"
    )
    assert answer.text("return") == place.name
    deep = "(" * 3000 + "1" + ")" * 3000
    answer = soap.search(f"SELECT f FROM Facility f WHERE f.id = {deep}")
    assert answer.fault[0] in (None, "BAD_PARAMETER")
    minus = "NOT " * 3000
    answer = soap.search(f"SELECT f FROM Facility f WHERE {minus} f.id = 1")
    assert answer.fault[0] == "BAD_PARAMETER"


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE FACILITY; --", "a\\' OR 1=1", 'x" OR "1"="1', "%", "{ts}"]
)
def test_injection_stays_a_string(root, name):
    facility = root.new("Facility", name=name)
    facility.create()
    quoted = name.replace("'", "''")
    assert root.search(f"SELECT f.name FROM Facility f WHERE f.name = '{quoted}'") == [
        name
    ]
    root.delete(facility)


def test_a_hundred_thousand_ids(soap, rest, place):
    numbers = ",".join(map(str, range(10**6, 10**6 + 100_000)))
    query = f"SELECT f.id FROM Facility f WHERE f.id IN ({numbers})"
    answer = soap.search(query)
    assert answer.status == 200
    assert answer.text("return") is None
    beans = "".join(
        f'<beans xsi:type="n:dataset"><id>{number}</id></beans>'
        for number in range(10**6, 10**6 + 100_000)
    )
    answer = soap.call("deleteMany", beans)
    assert answer.fault == (
        "NO_SUCH_OBJECT_FOUND",
        "Dataset[id:1000000] not found.",
    )
    assert answer.text("offset") == "0"
    answer = rest.write([{"Dataset": {"id": n}} for n in range(10**6, 10**6 + 10**5)])
    assert (answer.status, answer.json["offset"]) == (404, 0)


def test_bodies_that_are_too_long():
    with running({"simple": {"root": "x"}}, options=["--max-body", "100000"]) as server:
        soap, rest = Soap(server, "none"), Rest(server, "none")
        answer = soap.raw(b"<a>" + b"b" * 1_000_000)
        assert answer.status == 413
        assert answer.text("faultstring") == "The request is longer than 100000 bytes"
        answer = rest.post("entityManager", sessionId="none", entities="x" * 1_000_000)
        assert (answer.status, answer.json) == (
            413,
            {
                "code": "BAD_PARAMETER",
                "message": "The request is longer than 100000 bytes",
            },
        )
        # The server is still there.
        assert rest.get("version").json == {"version": "6.2.0"}
        assert soap.search("x").fault[0] == "SESSION"


def test_a_form_that_is_none(rest):
    kind = "multipart/form-data; boundary=X"
    answer = send("POST", rest.url + "port", b"nothing of that kind", kind)
    assert (answer.status, answer.json["code"]) == (400, "BAD_PARAMETER")
    answer = send("POST", rest.url + "port", b"x", "multipart/form-data")
    assert (answer.status, answer.json["code"]) == (400, "BAD_PARAMETER")


def test_eight_at_once_create_one(soap, place):
    content = (
        f"<name>race</name><type><id>{place.dataset_type.id}</id></type>"
        f"<investigation><id>{place.investigation.id}</id></investigation>"
    )
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(soap.create("dataset", content)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kinds = sorted(str(answer.fault[0]) for answer in answers)
    assert kinds == ["None"] + ["OBJECT_ALREADY_EXISTS"] * 7
