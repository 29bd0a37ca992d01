"""One server for all tests of this folder, and what to talk to it with."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from xml.sax.saxutils import escape

import icat
import pytest
from lxml import etree

from icat_stream.sandbox.icat.launch import Running, running

ACCOUNTS = {
    "simple": {"root": "rootpw", "writer": "w", "nobody": "n"},
    "db": {"ada": "a"},
    "anon": {},
}
_numbers = count(1)


@dataclass
class Answer:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def text(self, name: str) -> str | None:
        found = etree.fromstring(self.body).iter(name, "{*}" + name)
        return next((element.text or "" for element in found), None)

    @property
    def fault(self) -> tuple[str | None, str | None]:
        return self.text("type"), self.text("message")


def send(
    method: str, url: str, body: bytes | None = None, content: str = "text/xml"
) -> Answer:
    request = urllib.request.Request(
        url, body, {"Content-Type": content}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=180) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())


class Soap:
    """Sends envelopes of our own."""

    def __init__(self, server: Running, session: str) -> None:
        self.url = server.url + "/ICATService/ICAT"
        self.session = session

    def raw(self, body: bytes) -> Answer:
        return send("POST", self.url, body)

    def call(self, operation: str, content: str, session: str | None = None) -> Answer:
        return self.raw(
            '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
            f'<n:{operation} xmlns:n="http://icatproject.org" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            f"<sessionId>{session or self.session}</sessionId>{content}"
            f"</n:{operation}></S:Body></S:Envelope>".encode()
        )

    def create(self, kind: str, content: str, session: str | None = None) -> Answer:
        bean = f'<bean xsi:type="n:{kind}">{content}</bean>'
        return self.call("create", bean, session)

    def search(self, query: str) -> Answer:
        return self.call("search", f"<query>{escape(query)}</query>")


class Rest:
    def __init__(self, server: Running, session: str) -> None:
        self.url = server.url + "/icat/"
        self.session = session

    def get(self, path: str, **parameters: Any) -> Answer:
        return self._query("GET", path, parameters)

    def delete(self, path: str, **parameters: Any) -> Answer:
        return self._query("DELETE", path, parameters)

    def put(self, path: str) -> Answer:
        return send("PUT", self.url + path)

    def _query(self, method: str, path: str, parameters: dict[str, Any]) -> Answer:
        return send(method, f"{self.url}{path}?{urllib.parse.urlencode(parameters)}")

    def post(self, path: str, **form: Any) -> Answer:
        body = urllib.parse.urlencode(form).encode()
        return send("POST", self.url + path, body, "application/x-www-form-urlencoded")

    def search(self, query: str) -> Answer:
        return self.get("entityManager", sessionId=self.session, query=query)

    def write(self, entities: Any) -> Answer:
        return self.post(
            "entityManager", sessionId=self.session, entities=json.dumps(entities)
        )


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    with running(ACCOUNTS, roots=["simple/root"]) as started:
        yield started


Login = Callable[..., icat.Client]


@pytest.fixture(scope="session")
def connect(server: Running) -> Iterator[Login]:
    first = icat.Client(server.url)
    clients = []

    def login(name: str = "root", auth: str = "simple") -> icat.Client:
        client = icat.Client(server.url)
        client.login(auth, {"username": name, "password": ACCOUNTS[auth][name]})
        clients.append(client)
        return client

    yield login
    for client in (*clients, first):
        client.cleanup()


@pytest.fixture(scope="session")
def root(connect: Login) -> icat.Client:
    return connect()


@pytest.fixture
def soap(server: Running, root: icat.Client) -> Soap:
    return Soap(server, root.sessionId)


@pytest.fixture
def rest(server: Running, root: icat.Client) -> Rest:
    return Rest(server, root.sessionId)


@dataclass
class Place:
    """A facility of a test's own, with what a dataset needs."""

    name: str
    facility: Any
    investigation: Any
    dataset_type: Any
    temperature: Any


@pytest.fixture
def place(root: icat.Client) -> Iterator[Place]:
    name = f"F{next(_numbers)}"
    facility = root.new("Facility", name=name)
    facility.create()
    kind = root.new("InvestigationType", name="experiment", facility=facility)
    kind.create()
    dataset_type = root.new("DatasetType", name="raw", facility=facility)
    dataset_type.create()
    parameter_type = root.new(
        "ParameterType",
        name="temperature",
        units="K",
        facility=facility,
        valueType="NUMERIC",
        applicableToDataset=True,
        enforced=True,
        minimumNumericValue=0.0,
        maximumNumericValue=10.0,
    )
    parameter_type.create()
    investigation = root.new(
        "Investigation",
        facility=facility,
        name=f"{name}-1",
        visitId="1",
        title="It's <hot> & cold",
        type=kind,
    )
    investigation.create()
    temperature = root.get("ParameterType INCLUDE 1", parameter_type.id)
    yield Place(name, facility, investigation, dataset_type, temperature)
    root.delete(facility)
