"""python-icat's own scripts against the server, as an administrator runs them."""

import re
import subprocess
import sys
from pathlib import Path

import icat
import pytest

from icat_stream.sandbox.icat.launch import running

ACCOUNTS = {"simple": {"root": "rootpw"}}


@pytest.fixture(scope="module")
def server():
    # With them, what a dump says of the totals of files is added to, here as there.
    options = ["--no-triggers"]
    with running(ACCOUNTS, roots=["simple/root"], options=options) as started:
        yield started


@pytest.fixture(scope="module")
def script(server):
    def run(name, *arguments):
        program = Path(sys.executable).with_name(name)
        login = ["-w", f"{server.url}/ICATService/ICAT?wsdl", "-a", "simple"]
        login += ["-u", "root", "-p", "rootpw"]
        # No settings of whoever runs the tests.
        ended = subprocess.run(
            [sys.executable, str(program), *login, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
        )
        assert ended.returncode == 0, ended.stderr

    return run


@pytest.fixture(scope="module")
def filled(server):
    """Something of most kinds, with all kinds of values."""
    client = icat.Client(server.url)
    client.login("simple", {"username": "root", "password": "rootpw"})
    new = client.new
    facility = new("Facility", name="F", fullName="Ünï <&> \U0001f600 'quoted'")
    facility.create()
    at = {"facility": facility}
    for name in ("raw", "reduced"):
        new("DatasetType", name=name, **at).create()
    kind = new("InvestigationType", name="t", **at)
    kind.create()
    user = new("User", name="simple/ada", fullName="Ada")
    user.create()
    group = client.createGroup("staff", [user])
    client.createRules("CRUD", ["Dataset", "Datafile"], group)
    types = {}
    for value in ("NUMERIC", "STRING", "DATE_AND_TIME"):
        types[value] = new(
            "ParameterType",
            name=value.lower(),
            units="u",
            valueType=value,
            applicableToDataset=True,
            applicableToDatafile=True,
            **at,
        )
        types[value].create()
        types[value] = client.get("ParameterType INCLUDE 1", types[value].id)
    place = new("Investigation", name="i", visitId="1", title="a\n b", type=kind, **at)
    place.investigationUsers = [new("InvestigationUser", user=user, role="PI")]
    place.keywords = [new("Keyword", name=name) for name in ("x", "y z")]
    place.create()
    raw = client.assertedSearch("DatasetType [name='raw']")[0]
    sample = new("Sample", name="s", investigation=place)
    sample.create()
    dataset = new(
        "Dataset",
        name="d",
        complete=True,
        type=raw,
        investigation=place,
        sample=sample,
        startDate="2026-01-02T03:04:05+01:00",
    )
    dataset.datafiles = [
        new("Datafile", name=f"f{n}", fileSize=2**40 + n) for n in range(3)
    ]
    dataset.parameters = [
        new("DatasetParameter", type=types["NUMERIC"], numericValue=1.5e-300),
        new("DatasetParameter", type=types["STRING"], stringValue="  s  "),
    ]
    dataset.create()
    collection = new("DataCollection")
    collection.dataCollectionDatasets = [new("DataCollectionDataset", dataset=dataset)]
    collection.create()
    yield client
    client.cleanup()


def stable(dump, form):
    """The dump without the time at which it was written."""
    if form == "XML":
        return re.sub(r"<date>[^<]*</date>", "", dump)
    return re.sub(r"^# Date: .*$", "", dump, flags=re.MULTILINE)


@pytest.mark.parametrize("form", ["XML", "YAML"])
def test_round_trip(filled, script, tmp_path, form):
    first, second = tmp_path / "first", tmp_path / "second"
    script("icatdump.py", "-f", form, "-o", str(first))
    text = first.read_text("utf-8")
    assert re.search("Ünï|&#220;n&#239;|xDCn", text)
    script("wipeicat.py")
    for kind in ("Facility", "User", "Grouping", "Rule", "DataCollection"):
        assert filled.search(f"SELECT COUNT(o) FROM {kind} o") == [0]
    script("icatingest.py", "-f", form, "-i", str(first))
    assert filled.search("SELECT COUNT(o) FROM Datafile o") == [3]
    script("icatdump.py", "-f", form, "-o", str(second))
    assert stable(second.read_text("utf-8"), form) == stable(text, form)
