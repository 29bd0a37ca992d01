"""Whatever is sent, the answer is ICAT's error or a result, and nobody's secret."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.sandbox.icat.envelope import BadRequest
from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.service import Service, Settings
from icat_stream.sandbox.icat.soap import Soap

relaxed = settings(
    deadline=None,
    max_examples=150,
)


def outcome(function: Any, *arguments: Any) -> tuple[IcatError | None, Any]:
    """Return what is refused or what is answered; anything else is a mistake."""
    try:
        return None, function(*arguments)
    except IcatError as error:
        return error, None


@pytest.fixture(scope="module")
def service():
    made = Service(
        Settings(
            accounts={"simple": {"root": "x", "nobody": "n"}}, roots=["simple/root"]
        )
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def sessions(service):
    return {
        name: service.sessions.login("simple", {"username": name, "password": word})
        for name, word in (("root", "x"), ("nobody", "n"))
    }


@pytest.fixture(scope="module")
def filled(service, sessions):
    def write(entity: str, **fields: Any) -> dict[str, int]:
        text = json.dumps({entity: fields})
        return {"id": service.write_json(sessions["root"], text)[0]}

    facility = write("Facility", name="F")
    kind = write("InvestigationType", name="t", facility=facility)
    place = write(
        "Investigation",
        name="i",
        visitId="1",
        title="secret",
        type=kind,
        facility=facility,
    )
    raw = write("DatasetType", name="raw", facility=facility)
    files = [{"name": name, "fileSize": 7} for name in ("a", "b")]
    for name in ("d", "e"):
        write("Dataset", name=name, investigation=place, type=raw, datafiles=files)
    return {"facility": facility, "place": place, "raw": raw}


QUERIES = [
    "SELECT DISTINCT d.name , d.id FROM Dataset d LEFT JOIN d.datafiles f WHERE "
    "f.fileSize > 3 AND NOT ( d.name LIKE 'd%' OR d.sample IS NULL ) ORDER BY d.id "
    "DESC LIMIT 0 , 5 INCLUDE d.datafiles",
    "SELECT d FROM Dataset AS d , Investigation i WHERE d.investigation = i AND "
    "d.id IN ( SELECT MAX ( x.id ) FROM Dataset x ) INCLUDE 1",
    "SELECT d.type.name , COUNT ( DISTINCT f ) FROM Dataset d JOIN d.datafiles f "
    "GROUP BY d.type.name HAVING COUNT ( f ) > 1",
    "SELECT COUNT ( d ) FROM Dataset d WHERE d.datafiles IS NOT EMPTY AND "
    "d.createTime < {ts 2030-01-01 00:00:00} AND :user = 'x' || 'y'",
    "Dataset INCLUDE Datafile [ id > 0 AND name <> 'x' ] <-> Investigation [ id = 1 ]",
    "SELECT UPPER ( f.name ) , f.fileSize * 2 FROM Datafile f WHERE EXISTS ( SELECT g "
    "FROM f.dataset.datafiles g WHERE g MEMBER OF f.dataset.datafiles )",
]
WORDS = sorted({word for query in QUERIES for word in query.split()})
WORDS += "' '' ; -- /* % \\ UNION sqlite_master SESSION_ s.user -1 1e999 {d}".split()
WORDS += "99999999999999999999 CASE END SQL COLUMN d. . ü \U0001f600 \0".split(" ")


@st.composite
def mangled(draw):
    words = draw(st.sampled_from(QUERIES)).split()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(words)))
        change = draw(st.sampled_from(["put", "drop", "swap"]))
        if change == "put" or not words:
            words.insert(at, draw(st.sampled_from(WORDS)))
        elif change == "drop":
            words.pop(at - 1)
        else:
            words[at - 1] = draw(st.sampled_from(WORDS))
    return " ".join(words)


@relaxed
@given(mangled() | st.text(max_size=60))
def test_queries(service, sessions, filled, query):
    error, _ = outcome(service.search, sessions["root"], query)
    if error is not None:
        assert "sqlite" not in error.message or "sqlite" in query
        assert "Traceback" not in error.message


def leaks(value: Any) -> bool:
    """Tell whether something is there that says more than that there is nothing."""
    if isinstance(value, tuple | list):
        return any(leaks(entry) for entry in value)
    return value not in (None, 0)


@relaxed
@given(mangled())
def test_nobody_sees_anything(service, sessions, filled, query):
    error, found = outcome(service.search, sessions["nobody"], query)
    assert error is None or "secret" not in error.message
    assert not leaks(found), found


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from([1, -1, 2**63, "2026-01-01T00:00:00.000Z", "NUMERIC"])
)
FIELDS = (
    "id name investigation type sample datafiles parameters complete startDate "
    "fileSize facility createTime valueType status numericValue colour"
).split()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=8,
)
entities = st.dictionaries(
    st.sampled_from(["Dataset", "Datafile", "ParameterType", "Study", "Rule", "x"]),
    values,
    max_size=2,
)


@relaxed
@given(entities | st.lists(entities, max_size=3) | values)
def test_json(service, sessions, filled, content):
    text = json.dumps(content)
    for call in (service.write_json, service.delete_json):
        error, _ = outcome(call, sessions["nobody"], text)
        # Only nothing can be written without rights.
        assert error is not None or content == []
        outcome(call, sessions["root"], text)


@relaxed
@given(st.text(max_size=40) | st.sampled_from(["{", "[1", '"a', "nul", "\\u12", "{}x"]))
def test_what_is_no_json(service, sessions, text):
    error, _ = outcome(service.write_json, sessions["root"], text)
    if error is None:
        assert json.loads(text) == []
    else:
        assert error.kind in ("BAD_PARAMETER", "INTERNAL")


def envelope(session: str, ids: dict[str, Any]) -> bytes:
    return (
        '<?xml version="1.0"?><S:Envelope '
        'xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body><n:create '
        'xmlns:n="http://icatproject.org" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'<sessionId>{session}</sessionId><bean xsi:type="n:dataset"><name>x</name>'
        f"<investigation><id>{ids['place']['id']}</id></investigation>"
        f"<type><id>{ids['raw']['id']}</id></type>"
        "<datafiles><name>a</name><fileSize>1</fileSize></datafiles>"
        "<datafiles><name>b</name><location>&lt;</location></datafiles>"
        "</bean></n:create></S:Body></S:Envelope>"
    ).encode()


@relaxed
@given(data=st.data())
def test_envelopes(service, sessions, filled, caplog, data):
    body = bytearray(envelope(sessions["root"], filled))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        end = at + data.draw(st.integers(0, 40))
        body[at:end] = data.draw(
            st.binary(max_size=4)
            | st.sampled_from(
                [b"<", b">", b"</bean>", b"<bean>", b"<!DOCTYPE x>", b"&x;", b"]]>"]
            )
        )
    soap = Soap(service)
    with caplog.at_level(logging.ERROR):
        try:
            status, answer = soap.answer(soap.parse(bytes(body)))
        except BadRequest:
            return
    assert status in (200, 500)
    # A mistake of the server's own is logged.
    assert caplog.records == [], answer
