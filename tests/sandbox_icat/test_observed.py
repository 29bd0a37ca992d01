"""Every request that was recorded on a real server gets the same answer here.

The tables in ``observed/`` are lists of steps: a name, a call, what is sent, and the
answer: ``[status, JSON]`` or ``[status, code, message, offset]`` by REST, and
``[type, message, offset]`` of a fault or the values returned by SOAP. A string that
begins with ``~`` is a pattern; ``"..."`` in an object stands for what else it holds.
"""

import json
import re
import string
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
import yaml
from lxml import etree

from icat_stream.sandbox.icat.launch import Running, running
from sandbox_icat.conftest import Answer, Rest, Soap, send

TABLES = {
    path.stem: yaml.safe_load(path.read_text("utf-8"))
    for path in sorted(Path(__file__).parent.joinpath("observed").glob("*.yaml"))
}
BIG = {
    "n255": "n" * 255,
    "n256": "n" * 256,
    "n512": "n" * 512,
    "n4001": "n" * 4001,
    "emoji255": "\U0001f600" * 255,
    "many": [{"name": f"m{number}"} for number in range(60)],
}
KINDS = {
    "BAD_PARAMETER",
    "INTERNAL",
    "INSUFFICIENT_PRIVILEGES",
    "NO_SUCH_OBJECT_FOUND",
    "OBJECT_ALREADY_EXISTS",
    "SESSION",
    "VALIDATION",
    "NOT_IMPLEMENTED",
}


class World:
    """A server with what the requests refer to, and the ids of it."""

    def __init__(self, server: Running, table: dict[str, Any]) -> None:
        self.server = server
        self.played: dict[tuple[str, int], BaseException | None] = {}
        self.rest, self.soap = Rest(server, ""), Soap(server, "")
        self.sessions = {
            user: self._login("simple", user, password)
            for user, password in table["accounts"]["simple"].items()
        }
        self.names: dict[str, Any] = dict(BIG)
        self.rest.session = self.sessions["root"]
        facility = self.names["facility"] = self._make("Facility", name="FAC")
        inside = {"facility": {"id": facility}}
        self.names["type"] = self._make("DatasetType", name="analyzed", **inside)
        self.names["raw"] = self._make("DatasetType", name="raw", **inside)
        self.names["format"] = self._make(
            "DatafileFormat", name="any", version="1", **inside
        )
        kind = self._make("InvestigationType", name="any", **inside)
        self.names["investigation"] = self._make(
            "Investigation",
            name="PERF",
            visitId="1",
            title="t",
            type={"id": kind},
            **inside,
        )
        for rule in table.get("rules", []):
            self._rule(**rule)

    def _login(self, plugin: str, user: str, password: str) -> str:
        credentials = [{"username": user}, {"password": password}]
        text = json.dumps({"plugin": plugin, "credentials": credentials})
        return self.rest.post("session", json=text).json["sessionId"]

    def _make(self, entity: str, **fields: Any) -> int:
        return self.rest.write({entity: fields}).json[0]

    def _rule(self, crudFlags: str, what: str, user: str | None = None) -> None:
        grouping = {}
        if user is not None:
            if user not in self.names:
                person = self._make("User", name=user)
                group = self._make("Grouping", name=user)
                self._make("UserGroup", user={"id": person}, grouping={"id": group})
                self.names[user] = group
            grouping = {"grouping": {"id": self.names[user]}}
        self._make("Rule", crudFlags=crudFlags, what=what, **grouping)

    def fill(self, value: Any) -> Any:
        """Put the ids in."""
        if isinstance(value, str):
            if value.startswith("$") and value[1:] in self.names:
                return self.names[value[1:]]
            return string.Template(value).safe_substitute(self.names)
        if isinstance(value, list):
            return [self.fill(entry) for entry in value]
        if isinstance(value, dict):
            return {name: self.fill(entry) for name, entry in value.items()}
        return value


@pytest.fixture(scope="module")
def worlds() -> Iterator[dict[str, World]]:
    with ExitStack() as stack:

        class Worlds(dict[str, World]):
            def __missing__(self, name: str) -> World:
                table = TABLES[name]
                options = ["--timezone", table.get("timezone", "UTC")]
                options += ["--max-entities", str(table.get("max_entities", 10_000))]
                server = running(
                    table["accounts"], roots=["simple/root"], options=options
                )
                self[name] = World(stack.enter_context(server), table)
                return self[name]

        yield Worlds()


def cases(part: str) -> list[Any]:
    return [
        pytest.param(name, row, id=f"{name}: {row[0]}")
        for name, table in TABLES.items()
        for row in table.get(part, [])
    ]


def date(world: World, name: str, row: list[Any]) -> None:
    sent, expected = row
    dataset = f"{name}-{sent}".replace('"', "")
    entities = world.fill(
        {
            "Dataset": {
                "name": dataset,
                "investigation": {"id": "$investigation"},
                "type": {"id": "$type"},
                "startDate": json.loads(sent),
            }
        }
    )
    answer = world.rest.write(entities)
    if expected is None:
        bad = {"code": "BAD_PARAMETER", "offset": 0}
        assert answer.status == 400
        assert answer.json == bad | {"message": f"Badly formatted date {sent}"}
    else:
        query = f"SELECT d.startDate FROM Dataset d WHERE d.id = {answer.json[0]}"
        assert world.rest.search(query).json == [expected]


def step(world: World, name: str, row: list[Any]) -> None:
    _, call, sent, expected, *more = row
    extra = more[0] if more else {}
    session = world.sessions[extra.get("user", "root")]
    if "session" in extra:
        session = world.fill(extra["session"])
    method, _, path = call.partition(" ")
    sent, path = world.fill(sent), world.fill(path)
    if method == "WAIT":
        time.sleep(sent)
    elif method == "FAULT":
        world.server.fault(path)
    elif method == "SOAP":
        same(soap_answer(ask_soap(world, session, path, sent)), world.fill(expected))
    elif method == "RACE":
        race(world, session, path, sent, world.fill(expected))
    else:
        answer = ask_rest(world, session, method, path, sent)
        same(rest_answer(answer, len(expected)), world.fill(expected))
        for label, key in extra.get("keep", {}).items():
            world.names[label] = answer.json[key]


def function(world: World, name: str, row: list[Any]) -> None:
    called, selected, tested = row
    where = "FROM Dataset d WHERE d.id = " + str(world.names["touch"])
    compare_function(world, called, f"SELECT {called} {where}", selected)
    query = f"SELECT d.id {where} AND ({called}) IS NOT NULL"
    if called in ("LN(d.id)", "CURRENT_TIME"):
        query = f"SELECT d.id {where} AND {called} IS NOT NULL"
    compare_function(world, called, query, tested)


# The dates first: steps ask for what became of them, functions for what steps made.
PARTS = {"dates": date, "steps": step, "functions": function}


def play(worlds: dict[str, World], name: str, row: list[Any]) -> None:
    """Raise what a row of a table met; those before it are played first, once each."""
    world = worlds[name]
    for each_part, act in PARTS.items():
        for number, each in enumerate(TABLES[name].get(each_part, [])):
            if (each_part, number) not in world.played:
                met = None
                try:
                    act(world, name, each)
                except Exception as error:
                    met = error
                world.played[each_part, number] = met
            if each is row:
                if (met := world.played[each_part, number]) is not None:
                    raise met
                return


@pytest.mark.parametrize(("name", "row"), cases("dates"))
def test_dates(worlds, name, row):
    play(worlds, name, row)


@pytest.mark.parametrize(("name", "row"), cases("steps"))
def test_steps(worlds, name, row):
    play(worlds, name, row)


@pytest.mark.parametrize(("name", "row"), cases("functions"))
def test_functions(worlds, name, row):
    play(worlds, name, row)


def compare_function(world, function, query, expected):
    answer = world.rest.search(query)
    word = re.split(r"[(.]", function)[0]
    shapes = {
        "idVar": f"idVar '{word}' referenced in the SELECT clause is not defined in "
        "the FROM clause.",
        "syntax": "~(?s)An exception occurred while creating a query in EntityManager: "
        "\nException Description: Syntax error parsing \\[SELECT .*",
    }
    expected = world.fill(
        [shapes.get(e, e) if isinstance(e, str) else e for e in expected]
    )
    if expected == [200]:
        expected = [200, [world.names["touch"]]]
    same(rest_answer(answer, len(expected)), expected)


def ask_rest(
    world: World, session: str | None, method: str, path: str, sent: dict[str, Any]
) -> Answer:
    if method == "JSON":
        body = json.dumps(sent).encode()
        return send("POST", world.rest.url + path, body, "application/json")
    if path.split("/")[0] not in ("session", "user", "version", "properties"):
        if session is not None:
            sent = {"sessionId": session, **sent}
    if not isinstance(sent.get("entities", ""), str):
        sent = {**sent, "entities": json.dumps(sent["entities"])}
    if method == "POST":
        return world.rest.post(path, **sent)
    return world.rest._query(method, path, sent)


def ask_soap(world: World, session: str | None, operation: str, sent: Any) -> Answer:
    if isinstance(sent, list):
        content = "".join(bean("beans", one) for one in sent)
    else:
        content = sent if isinstance(sent, str) else bean("bean", sent)
    if session is not None:
        content = f"<sessionId>{session}</sessionId>{content}"
    return world.soap.raw(
        '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
        f'<n:{operation} xmlns:n="http://icatproject.org" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"{content}</n:{operation}></S:Body></S:Envelope>".encode()
    )


def bean(tag: str, sent: dict[str, Any]) -> str:
    ((kind, fields),) = sent.items()
    return f'<{tag} xsi:type="n:{kind}">{inner(fields)}</{tag}>'


def inner(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(
            f"<{name}>{inner(one)}</{name}>"
            for name, entry in value.items()
            for one in (entry if isinstance(entry, list) else [entry])
        )
    return str(value).lower() if isinstance(value, bool) else escape(str(value))


def soap_answer(answer: Answer) -> list[Any]:
    if answer.status != 200:
        assert answer.status == 500
        offset = int(answer.text("offset") or -1)
        return [*answer.fault, *([offset] if offset >= 0 else [])]
    found = etree.fromstring(answer.body).iter("return", "{*}return")
    return [element.text or "" for element in found]


def rest_answer(answer: Answer, length: int) -> list[Any]:
    if answer.status == 204:
        assert answer.body == b""
        return [204]
    if answer.status == 200:
        try:
            return [200, answer.json]
        except ValueError:
            return [200, answer.body.decode()]
    content = answer.json
    assert content.keys() <= {"code", "message", "offset"}
    offset = [content["offset"]] if "offset" in content else []
    return [answer.status, content["code"], content["message"], *offset]


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, str) and expected.startswith("~"):
        assert re.fullmatch(expected[1:], str(found)), (found, expected)
    elif isinstance(expected, dict) and isinstance(found, dict):
        rest = expected.keys() - {"..."}
        assert found.keys() >= rest if "..." in expected else found.keys() == rest
        for name in rest:
            same(found[name], expected[name])
    elif isinstance(expected, list) and isinstance(found, list):
        assert len(found) == len(expected), (found, expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        assert found == expected
        assert isinstance(found, type(expected))


def race(world: World, session: str, path: str, sent: Any, expected: list[Any]) -> None:
    answers: list[Answer] = []

    def ask() -> None:
        answers.append(ask_rest(world, session, "POST", path, sent))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) == 7
    for answer in refused:
        same(rest_answer(answer, len(expected)), expected)


def test_every_kind_of_error_was_recorded():
    text = yaml.safe_dump(TABLES)
    assert {kind for kind in KINDS if kind in text} == KINDS
