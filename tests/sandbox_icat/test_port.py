"""Export and import in ICAT's own format, and copies."""

import json
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.sandbox.icat.clock import Clock
from icat_stream.sandbox.icat.port_file import quote, show, tokens, unquote
from icat_stream.sandbox.icat.schema import load_schema

from .conftest import Answer, send


@pytest.fixture
def port(rest):
    class Port:
        def load(self, text, duplicate="THROW", **extra) -> Answer:
            order = {"sessionId": rest.session, "duplicate": duplicate, **extra}
            return self.send([("json", None, json.dumps(order)), ("f", "f", text)])

        def send(self, parts) -> Answer:
            body = "".join(
                f'--X\r\nContent-Disposition: form-data; name="{name}"'
                + (f'; filename="{file}"' if file else "")
                + f"\r\n\r\n{content}\r\n"
                for name, file, content in parts
            )
            kind = "multipart/form-data; boundary=X"
            return send("POST", rest.url + "port", f"{body}--X--\r\n".encode(), kind)

        def export(self, **order) -> Answer:
            given = json.dumps({"sessionId": rest.session, **order})
            return rest.get("port", json=given)

    return Port()


FILE = Path(__file__).with_name("sample.port").read_text("utf-8")


@pytest.fixture
def filled(port, root):
    assert port.load(FILE).status == 204
    yield port
    root.deleteMany(root.search("SELECT f FROM Facility f WHERE f.name LIKE 'PORT%'"))


def test_import(filled, rest):
    title = "SELECT i.title, i.startDate FROM Investigation i WHERE i.visitId = 'one'"
    query = f"{title} AND i.facility.name = 'PORT'"
    assert rest.search(query).json == [
        ['tab \t quote " back \\', "2014-05-16T04:28:26.000Z"]
    ]
    query = "SELECT p.numericValue FROM InvestigationParameter p WHERE {}"
    query = query.format("p.investigation.facility.name = 'PORT'")
    assert rest.search(query).json == [73.0]
    query = "SELECT COUNT(j) FROM Job j WHERE j.inputDataCollection IS NOT NULL AND {}"
    query = query.format("j.application.facility.name = 'PORT'")
    assert rest.search(query).json == [1]
    query = "SELECT f.createId FROM Facility f WHERE f.name = 'PORT'"
    assert rest.search(query).json == ["simple/root"]


def test_stamps_are_taken_on_request(port, root, rest):
    assert port.load(FILE, attributes="ALL").status == 204
    query = "SELECT f.createId, f.createTime FROM Facility f WHERE f.name = 'PORT'"
    assert rest.search(query).json == [["somebody", "1920-05-16T16:58:26.000Z"]]
    root.deleteMany(root.search("Facility [name='PORT']"))


def fault(answer):
    content = answer.json
    return answer.status, content["code"], content["message"], content.get("offset")


def test_duplicates(filled, rest):
    again = '1.0\n\nFacility(name:0, daysUntilRelease:1)\n"PORT", {}\n'
    days = "SELECT f.daysUntilRelease FROM Facility f WHERE f.name = 'PORT'"
    assert fault(filled.load(again.format(90))) == (
        412,
        "OBJECT_ALREADY_EXISTS",
        "Facility exists with name = 'PORT' at line 4",
        4,
    )
    assert filled.load(again.format(1), "ignore").status == 204
    assert rest.search(days).json == [90]
    assert filled.load(again.format(90), "CHECK").status == 204
    assert fault(filled.load(again.format(1), "CHECK")) == (
        412,
        "VALIDATION",
        "Duplicate check fails for field daysUntilRelease of Facility at line 4",
        4,
    )
    assert filled.load(again.format(1), "OVERWRITE").status == 204
    assert rest.search(days).json == [1]


def test_rows_before_a_bad_one_stay(port, root, rest):
    text = '1.0\n\nFacility(name:0)\n"PORT1"\n"PORT2"\n12\n"PORT3"\n'
    assert fault(port.load(text)) == (
        400,
        "BAD_PARAMETER",
        "Expected a String value for column 0 at line 6",
        6,
    )
    query = "SELECT f.name FROM Facility f WHERE f.name LIKE 'PORT%' ORDER BY f.name"
    assert rest.search(query).json == ["PORT1", "PORT2"]
    root.deleteMany(root.search("SELECT f FROM Facility f WHERE f.name LIKE 'PORT%'"))


TYPES = "1.0\n\nInvestigationType(facility(name:0), name:1)\n"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", "VALIDATION", "No version of file encountered"),
        ("2.0\n", "VALIDATION", "Version of file must be 1.0"),
        ("1.0\n\nNothing(name:0)", "BAD_PARAMETER", "Nothing is not an ICAT entity"),
        ("1.0\n\nFacility(colour:0)", "BAD_PARAMETER", "Field colour not found"),
        ("1.0\n\nFacility(name:0", "BAD_PARAMETER", "Expected )"),
        ("1.0\n\nFacility(name:0)x", "BAD_PARAMETER", "Expected nothing after"),
        ("1.0\n\nFacility name:0", "BAD_PARAMETER", "Expected ("),
        (
            "1.0\n\nFacility(name:-1)",
            "BAD_PARAMETER",
            "Expected the number",
        ),
        ("1.0\n\nSample(investigation:0)", "BAD_PARAMETER", "Relation investigation"),
        ('1.0\n\nFacility(name:1)\n"a"', "BAD_PARAMETER", "Data column 1 does not"),
        ('1.0\n\nFacility(name:0)\n"a" "b"', "BAD_PARAMETER", "Expected values"),
        ('1.0\n\nFacility(name:0)\n"a', "BAD_PARAMETER", "Unexpected character"),
        (
            TYPES + '"none", "a"',
            "NO_SUCH_OBJECT_FOUND",
            "Import failed when",
        ),
        (
            '1.0\n\nDataPublication(content(?:0), title:1)\n"a", "b"',
            "BAD_PARAMETER",
            "? field 'a' not defined yet",
        ),
    ],
)
def test_bad_files(port, text, kind, message):
    _, found, said, _ = fault(port.load(text))
    assert found == kind
    assert said.startswith(message)
    assert " at line " in said


def test_bad_orders(filled, rest):
    port = filled
    assert fault(port.load("1.0", "SOMETIMES"))[1:3] == (
        "BAD_PARAMETER",
        "SOMETIMES is not a valid value for 'duplicate'",
    )
    assert fault(port.load("1.0", colour="red"))[2] == (
        "colour is not an expected key in the json"
    )
    assert fault(port.load("1.0", attributes="NONE"))[1] == "BAD_PARAMETER"
    assert fault(rest.get("port"))[2] == "json must not be null"
    order = json.dumps({"sessionId": rest.session})
    assert fault(port.send([("json", None, order)]))[1] == "BAD_PARAMETER"
    late = [("f", "f", FILE), ("json", None, order)]
    assert fault(port.send(late))[1] == "BAD_PARAMETER"
    assert (
        fault(port.export(query="SELECT f.name FROM Facility f"))[1] == "BAD_PARAMETER"
    )


def test_only_root_users_set_stamps(port, connect):
    session = connect("nobody").sessionId
    answer = port.load("1.0", attributes="ALL", sessionId=session)
    assert fault(answer)[1:3] == (
        "INSUFFICIENT_PRIVILEGES",
        "Only root users may import with Attributes.ALL",
    )
    answer = port.load('1.0\n\nFacility(name:0)\n"PORT9"\n', sessionId=session)
    assert fault(answer)[1] == "INSUFFICIENT_PRIVILEGES"
    exported = port.export(sessionId=session).body.decode()
    assert "PORT" not in exported


def test_what_is_exported_can_be_imported(filled, root, rest):
    query = "SELECT f FROM Facility f WHERE f.name = 'PORT' INCLUDE {}"
    parts = "f.investigations.parameters, f.investigationTypes, f.parameterTypes, "
    parts += "f.applications.jobs.inputDataCollection"
    first = filled.export(query=query.format(parts), attributes="ALL")
    assert first.status == 200
    text = first.body.decode()
    assert "tab \\t quote" in text
    root.deleteMany(root.search("Facility [name='PORT']"))
    assert filled.load(text, attributes="ALL").status == 204
    second = filled.export(query=query.format(parts), attributes="ALL").body.decode()
    # A collection of data is named by its id, which is another now.
    assert _without_collections(text) == _without_collections(second)


def _without_collections(text):
    tables = text.split("\n\n")
    return [table for table in tables if not table.startswith(("DataColl", "Job"))]


def test_everything_is_exported(filled, server):
    everything = filled.export()
    assert '90,NULL,NULL,"PORT",NULL' in everything.body.decode()
    assert everything.body.startswith(b"# ICAT Export file written by simple/root\n1.0")
    request = urllib.request.Request(server.url + "/icat/version")
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_survive(text):
    ((kind, token),) = tokens(quote(text))
    assert kind == "string"
    assert unquote(token) == text


@given(st.datetimes(), st.integers(-(2**63), 2**63 - 1))
def test_values_are_one_token(moment, number):
    fields = load_schema()["Dataset"].fields
    shown = show(Clock(), fields["startDate"], moment)
    assert [kind for kind, _ in tokens(shown)] == ["timestamp"]
    assert [kind for kind, _ in tokens(show(Clock(), fields["fileSize"], number))] == [
        "integer"
    ]


# Copies


def clone(rest, name, number, keys, session=None):
    return rest.post(
        "cloner",
        sessionId=session or rest.session,
        name=name,
        id=number,
        keys=json.dumps(keys),
    )


def test_a_copy_has_all_below(root, rest, place):
    dataset = root.new(
        "Dataset",
        name="one",
        investigation=place.investigation,
        type=place.dataset_type,
    )
    sample = root.new("Sample", name="s", investigation=place.investigation)
    sample.create()
    dataset.sample = sample
    dataset.datafiles = [root.new("Datafile", name=f"f{n}") for n in range(3)]
    dataset.parameters = [
        root.new("DatasetParameter", type=place.temperature, numericValue=3.0)
    ]
    dataset.create()
    answer = clone(rest, "Investigation", place.investigation.id, {"visitId": "2"})
    assert answer.status == 200
    copy = root.get(
        "Investigation i INCLUDE i.datasets AS d, d.datafiles, d.parameters AS p, "
        "p.type, d.sample AS s, s.investigation, i.facility",
        answer.json["id"],
    )
    assert (copy.name, copy.visitId) == (place.investigation.name, "2")
    assert copy.facility.name == place.name
    (other,) = copy.datasets
    assert other.id != dataset.id
    assert [file.name for file in other.datafiles] == ["f0", "f1", "f2"]
    assert other.parameters[0].type.name == "temperature"
    # What is inside the copied tree refers to the copies.
    assert other.sample.id != sample.id
    assert other.sample.investigation.id == copy.id


def test_copies_that_are_refused(root, rest, place, connect):
    number = place.investigation.id
    answer = clone(rest, "Investigation", number, {})
    assert fault(answer)[1] == "OBJECT_ALREADY_EXISTS"
    for keys in ({"title": "x"}, {"facility": "x"}, {"colour": "x"}, {"name": 1}):
        assert fault(clone(rest, "Investigation", number, keys))[1] == "BAD_PARAMETER"
    long = clone(rest, "Investigation", number, {"name": "n" * 256})
    assert fault(long)[1] == "VALIDATION"
    assert fault(clone(rest, "Nothing", number, {}))[1] == "BAD_PARAMETER"
    assert fault(clone(rest, "Facility", 2**62, {}))[1] == "NO_SUCH_OBJECT_FOUND"
    assert fault(clone(rest, "Facility", "x", {}))[1] == "BAD_PARAMETER"
    nobody = connect("nobody").sessionId
    answer = clone(rest, "Investigation", number, {"visitId": "3"}, nobody)
    assert fault(answer)[1] == "INSUFFICIENT_PRIVILEGES"
    count = f"SELECT COUNT(i) FROM Investigation i WHERE i.name = '{place.name}-1'"
    assert rest.search(count).json == [1]
