"""What can be set, and what outlives the server."""

import datetime as dt
import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import icat
import pytest

from icat_stream.sandbox.icat.launch import running

from .conftest import Rest, Soap

ACCOUNTS = {"simple": {"root": "rootpw"}}


@contextmanager
def serving(*options, database=None):
    with running(ACCOUNTS, options=options, database=database) as server:
        client = icat.Client(server.url)
        client.login("simple", {"username": "root", "password": "rootpw"})
        try:
            yield client
        finally:
            client.cleanup()


@pytest.mark.parametrize(
    ("sent", "returned"),
    [
        ("2026-01-02T03:04:05+00:00", "2026-01-02T04:04:05+01:00"),
        ("2026-07-02T03:04:05+00:00", "2026-07-02T05:04:05+02:00"),
        ("2026-07-02T03:04:05+02:00", "2026-07-02T03:04:05+02:00"),
        # The hour that comes twice: the database does not know which it was.
        ("2026-10-25T00:30:00+00:00", "2026-10-25T02:30:00+01:00"),
        ("2026-10-25T01:30:00+00:00", "2026-10-25T02:30:00+01:00"),
        ("2026-03-29T01:30:00+00:00", "2026-03-29T03:30:00+02:00"),
    ],
)
def test_the_database_holds_local_time(berlin, sent, returned):
    cycle = berlin.new("FacilityCycle", name=sent, facility=berlin.facility)
    cycle.startDate = dt.datetime.fromisoformat(sent)
    cycle.create()
    assert berlin.get("FacilityCycle", cycle.id).startDate.isoformat() == returned


@pytest.mark.parametrize("year", [1, 1890])
def test_a_time_before_there_were_zones_is_one_of_xml(berlin, year):
    # The place was 53 minutes and 28 seconds ahead: XML Schema knows no seconds there.
    cycle = berlin.new("FacilityCycle", name=f"{year}", facility=berlin.facility)
    cycle.startDate = dt.datetime(year, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    cycle.create()
    found = berlin.get("FacilityCycle", cycle.id).startDate
    assert found.utcoffset() == dt.timedelta(minutes=53)
    assert found.year == year


@pytest.fixture(scope="module")
def berlin():
    with serving("--timezone", "Europe/Berlin") as client:
        client.facility = client.new("Facility", name="F")
        client.facility.create()
        yield client


def test_database_and_sessions_outlive_the_server(tmp_path):
    database = tmp_path / "icat.db"
    with serving(database=database) as client:
        first = client.new("Facility", name="F")
        first.create()
        client.autoLogout = False
        session = client.sessionId
        client.delete(first)
    with running(ACCOUNTS, database=database) as server:
        client = icat.Client(server.url)
        client.sessionId = session
        second = client.new("Facility", name="G")
        second.create()
        assert second.id > first.id
        assert client.search("Facility.name") == ["G"]
        client.cleanup()


def test_sessions_have_a_lifetime():
    with running(ACCOUNTS, options=["--lifetime", "0"]) as server:
        client = icat.Client(server.url)
        with pytest.raises(icat.ICATSessionError, match="has expired"):
            client.login("simple", {"username": "root", "password": "rootpw"})
        client.sessionId = None


def test_too_many_entities():
    with serving("--max-entities", "3") as client:
        for number in range(2):
            facility = client.new("Facility", name=f"F{number}")
            facility.datasetTypes.append(client.new("DatasetType", name="t"))
            facility.create()
        assert len(client.search("Facility")) == 2
        message = "attempt to process more than 3 entities"
        with pytest.raises(icat.ICATValidationError, match=message):
            client.search("SELECT f FROM Facility f INCLUDE f.datasetTypes")
        for number in range(2, 4):
            client.new("Facility", name=f"F{number}").create()
        with pytest.raises(icat.ICATValidationError, match=message):
            client.search("Facility")
        assert len(client.search("SELECT f FROM Facility f LIMIT 0, 3")) == 3
        assert client.search("COUNT(Facility)") == [4]


def test_without_traps_mistakes_are_named():
    with serving("--no-traps") as client:
        facility = client.new("Facility", name="F")
        facility.datasetTypes.append(client.new("DatasetType", name="n" * 256))
        message = "DatasetType: name cannot have length > 255"
        with pytest.raises(icat.ICATValidationError, match=message):
            facility.create()


def test_stops_when_told_to(tmp_path):
    accounts = tmp_path / "accounts.json"
    accounts.write_text("{}")
    process = subprocess.Popen(
        [sys.executable, "-m", "icat_stream.sandbox.icat", "--accounts", accounts],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert b'"url"' in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert errors == b""
    assert process.returncode in (0, -signal.SIGTERM)


def test_bad_accounts_are_named(tmp_path):
    for text, problem in (
        ("{", "no JSON"),
        ('{"simple": ["root"]}', "simple"),
        ('{"simple": {"root": 1}}', "simple/root"),
    ):
        accounts = tmp_path / "accounts.json"
        accounts.write_text(text)
        command = [sys.executable, "-m", "icat_stream.sandbox.icat"]
        ended = subprocess.run(
            [*command, "--accounts", accounts], capture_output=True, timeout=120
        )
        assert ended.returncode == 2
        assert problem in ended.stderr.decode()
        assert b"Traceback" not in ended.stderr


def exists(client, name):
    try:
        client.new("Facility", name=name).create()
    except icat.ICATObjectExistsError as error:
        return error.message
    return None


def test_letters_that_differ_in_case_are_the_same():
    with serving() as client:
        assert exists(client, "Site") is None
        assert exists(client, "SITE") == "Facility exists with name = 'SITE'"
        query = "SELECT f.name FROM Facility f WHERE f.name {}"
        for condition in ("= 'sITE'", "LIKE 's%'", "IN ('SITE')", "REGEXP '^s'"):
            assert client.search(query.format(condition)) == ["Site"]
        with pytest.raises(icat.ICATObjectExistsError) as caught:
            client.createMany([client.new("Facility", name=name) for name in "aA"])
        assert caught.value.offset == 1


@pytest.mark.parametrize("option", ["--match-case", "--no-traps"])
def test_letters_that_differ_in_case_can_be_told_apart(option):
    with serving(option) as client:
        assert exists(client, "Site") is None
        assert exists(client, "SITE") is None
        query = "SELECT f.name FROM Facility f WHERE f.name {}"
        for condition in ("= 'SITE'", "LIKE 'SI%'", "IN ('SITE')", "REGEXP '^SI'"):
            assert client.search(query.format(condition)) == ["SITE"]


def totals(client):
    """What each investigation, and each dataset below it, says of its files."""
    query = "SELECT o.name, o.fileCount, o.fileSize FROM {} o ORDER BY o.name"
    return [
        tuple(map(tuple, client.search(query.format(kind))))
        for kind in ("Investigation", "Dataset")
    ]


def filled(client):
    """Two investigations, of which the first has a dataset of two files."""
    facility = client.new("Facility", name="F")
    facility.create()
    kinds = [
        client.new(kind, name="t", facility=facility)
        for kind in ("InvestigationType", "DatasetType")
    ]
    for kind in kinds:
        kind.create()
    places = [
        client.new(
            "Investigation",
            name=name,
            visitId="1",
            title="t",
            facility=facility,
            type=kinds[0],
        )
        for name in ("one", "two")
    ]
    for place in places:
        place.create()
    dataset = client.new("Dataset", name="d", type=kinds[1], investigation=places[0])
    sizes = {"a": 1000, "b": None}
    dataset.datafiles = [
        client.new("Datafile", name=name, fileSize=size) for name, size in sizes.items()
    ]
    dataset.create()
    return places, dataset


def test_the_database_keeps_the_totals_of_files():
    with serving() as client:
        (_, second), dataset = filled(client)
        nothing = ("two", 0, 0)
        assert totals(client) == [(("one", 2, 1000), nothing), (("d", 2, 1000),)]
        file = client.new("Datafile", name="c", fileSize=30, dataset=dataset)
        file.create()
        assert totals(client) == [(("one", 3, 1030), nothing), (("d", 3, 1030),)]
        file.fileSize = 5
        file.update()
        assert totals(client) == [(("one", 3, 1005), nothing), (("d", 3, 1005),)]
        client.delete(file)
        assert totals(client) == [(("one", 2, 1000), nothing), (("d", 2, 1000),)]
        # Of another investigation from now on.
        dataset = client.get("Dataset INCLUDE 1", dataset.id)
        dataset.investigation = second
        dataset.update()
        assert totals(client) == [
            (("one", 0, 0), ("two", 2, 1000)),
            (("d", 2, 1000),),
        ]
        client.delete(dataset)
        assert totals(client) == [(("one", 0, 0), ("two", 0, 0)), ()]


def test_the_totals_of_files_can_be_left_to_clients():
    with serving("--no-triggers") as client:
        filled(client)
        nothing = (("one", 0, 0), ("two", 0, 0))
        assert totals(client) == [nothing, (("d", 0, 0),)]


def peak(server):
    """The most memory that a server had so far, in kB."""
    status = Path(f"/proc/{server.pid}/status").read_text("ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def test_many_nested_beans_are_never_a_tree():
    with running(ACCOUNTS, roots=["simple/root"]) as server:
        rest = Rest(server, "")
        login = [{"username": "root"}, {"password": "rootpw"}]
        order = json.dumps({"plugin": "simple", "credentials": login})
        rest.session = rest.post("session", json=order).json["sessionId"]
        facility = {"facility": {"id": rest.write({"Facility": {"name": "F"}}).json[0]}}
        kinds = [{"InvestigationType": {"name": "t", **facility}}]
        kinds += [{"DatasetType": {"name": "t", **facility}}]
        assert rest.write(kinds).status == 200
        place = {"name": "i", "visitId": "1", "title": "t", "type": {"id": 1}}
        assert rest.write({"Investigation": {**place, **facility}}).status == 200
        soap = Soap(server, rest.session)

        def create(count):
            files = "".join(
                f"<datafiles><name>f{number}</name><location>/data/f{number}</location>"
                f"<fileSize>{number}</fileSize></datafiles>"
                for number in range(count)
            )
            head = f"<name>{count}</name><type><id>1</id></type>"
            head += "<investigation><id>1</id></investigation>"
            assert soap.create("dataset", head + files).status == 200

        create(1000)
        before = peak(server)
        create(20_000)
        # As a tree, 20,000 datafiles would take more than 40 MB.
        assert peak(server) - before < 32_000
