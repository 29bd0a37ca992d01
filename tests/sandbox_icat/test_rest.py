"""The REST interface."""

import json
import urllib.request

import pytest


def test_facts(rest):
    assert rest.get("version").json == {"version": "6.2.0"}
    facts = rest.get("properties").json
    assert (facts["maxEntities"], facts["lifetimeMinutes"]) == (10000, 120)
    assert facts["authenticators"][0] == {
        "mnemonic": "simple",
        "keys": [{"name": "username"}, {"name": "password", "hide": True}],
    }


def login(rest, **credentials):
    entries = [{name: value} for name, value in credentials.items()]
    order = {"plugin": "simple", "credentials": entries}
    return rest.post("session", json=json.dumps(order))


def test_session(rest):
    session = login(rest, username="root", password="rootpw").json["sessionId"]
    facts = rest.get(f"session/{session}").json
    assert facts["userName"] == "simple/root"
    assert 119 < facts["remainingMinutes"] <= 120
    assert rest.put(f"session/{session}").status == 204
    assert rest.get("user/simple/root").json == {"loggedIn": True}
    assert rest.get("user/simple/writer2").json == {"loggedIn": False}
    assert rest.delete(f"session/{session}").status == 204
    answer = rest.delete(f"session/{session}")
    assert answer.status == 403
    assert answer.json == {
        "code": "SESSION",
        "message": f"Unable to find user by sessionid: {session}",
    }


def test_refused_login(rest):
    answer = login(rest, username="root", password="x")
    assert (answer.status, answer.json["code"]) == (403, "SESSION")
    assert rest.post("session", x="1").json["message"] == "json must not be null"
    for text in ('{"plugin":', "[" * 100_000):
        answer = rest.post("session", json=text)
        assert (answer.status, answer.json["code"]) == (500, "INTERNAL")
    for text in ("[]", '{"plugin": "simple", "credentials": ["x"]}'):
        assert rest.post("session", json=text).json["code"] == "BAD_PARAMETER"


def test_wrong_ways(rest, server):
    answer = rest.get("nothing")
    assert (answer.status, answer.json["code"]) == (501, "NOT_IMPLEMENTED")
    answer = rest.get("session")
    assert answer.json == {
        "code": "INTERNAL",
        "message": "class jakarta.ws.rs.NotAllowedException "
        "HTTP 405 Method Not Allowed",
    }


def test_search_shapes(rest, place):
    number = place.facility.id
    where = f"WHERE f.id = {number}"
    found = rest.search(f"SELECT f FROM Facility f {where}").json[0]["Facility"]
    assert (found["id"], found["name"]) == (number, place.name)
    assert found["investigations"] == []
    assert found["createTime"].endswith(".000Z")
    assert "description" not in found
    query = f"SELECT f FROM Facility f {where} INCLUDE f.investigations.type"
    found = rest.search(query).json[0]["Facility"]["investigations"][0]
    assert found["type"]["name"] == "experiment"
    assert rest.search(f"SELECT f.id, f.name FROM Facility f {where}").json == [
        [number, place.name]
    ]
    assert rest.search(f"SELECT COUNT(f) FROM Facility f {where}").json == [1]
    assert rest.search("SELECT f FROM Facility f WHERE f.id = 0").json == []
    query = f"SELECT MAX(f.id) FROM Facility f {where} AND f.name = 'x'"
    assert rest.search(query).json == [None]
    answer = rest.get(
        "entityManager", sessionId=rest.session, query="Facility", id=number
    )
    assert answer.json["Facility"]["name"] == place.name


@pytest.mark.parametrize(
    ("given", "status", "code", "message"),
    [
        ({"query": "SELECT f FROM Facility f", "sessionId": ""}, 403, "SESSION", None),
        ({}, 400, "BAD_PARAMETER", "query is not set"),
        ({"query": "Facility", "id": 0}, 404, "NO_SUCH_OBJECT_FOUND", None),
        ({"query": "Facility", "id": "x"}, 400, "BAD_PARAMETER", None),
        (
            {"query": "SELECT d.colour FROM Dataset d"},
            400,
            "BAD_PARAMETER",
            "Dataset has no field colour",
        ),
    ],
)
def test_refused_search(rest, given, status, code, message):
    answer = rest.get("entityManager", **{"sessionId": rest.session, **given})
    assert (answer.status, answer.json["code"]) == (status, code)
    if message:
        assert answer.json["message"] == message


def test_a_page_may_ask_for_leave_first(rest):
    request = urllib.request.Request(
        rest.url + f"session/{rest.session}",
        headers={
            "Origin": "https://tool.example.org",
            "Access-Control-Request-Method": "DELETE",
        },
        method="OPTIONS",
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
