"""pyicat-plus as it is, through a STOMP broker and the bridge, into ICAT."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from icat_stream.bridge import Bridge
from icat_stream.config import load
from plugins.stomp import StompBroker, eventually

from .dataset_messages import create_topic, datasets, new_investigation, prepare

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "requirements" / "pyicat-plus.txt"
ACQUISITION = Path(__file__).with_name("pyicat_acquisition.py")
QUEUES = (
    "icatIngest",
    "icatUpdateDatasetMetadata",
    "icatDataFiles",
    "rescheduleInvestigation",
)


@pytest.fixture(scope="module")
def pyicat() -> Path:
    """The interpreter of an environment with pyicat-plus in it."""
    venv, pins = ROOT / ".build" / "pyicat-plus", PINS.read_text("utf-8")
    done = venv / "pins"
    if not done.exists() or done.read_text("utf-8") != pins:
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "-q", "-r", PINS], check=True)
        done.write_text(pins, "utf-8")
    return venv / "bin" / "python"


@pytest.mark.long
@pytest.mark.alone
def test_an_acquisition(facility, run, pyicat):
    client = facility.client()
    prepare(client)
    # pyicat-plus sends both names in lower case.
    place = client.assertedSearch("SELECT f FROM Facility f")[0]
    client.new("Instrument", name="BL42-Alpha", facility=place).create()
    proposal = new_investigation(client, "MX-2610", instrument="BL42-Alpha")
    topic = "pyicat-datasets"
    create_topic(facility.endpoints["kafka"], topic)
    broker = StompBroker()
    config = facility.variant(
        "pyicat",
        kafka={"group_id": "pyicat", "instance_id": "pyicat"},
        consumers={"datasets": {"handler": "datasets", "topics": [topic]}},
        policies={"names": "ignore_case", "unknown_parameter_types": "create"},
        files={"roots": [str(facility.path / "data")], "settle": 0},
        journal={"url": "sqlite:///pyicat.db"},
        bridge={
            "brokers": [broker.address],
            "topics": {f"/queue/{name}": topic for name in QUEUES},
        },
    )
    folder = facility.path / "data" / "pyicat"
    for name in ("scan1", "fit1"):
        (folder / name).mkdir(parents=True)
        (folder / name / "first.h5").write_bytes(b"content")

    def acquire(messages: int, *more: str) -> list[dict[str, object]]:
        """Drive it, have the bridge and the daemon take it in; return the outcomes."""
        arguments = (broker.address, proposal, "BL42-Alpha", folder, *more)
        subprocess.run([pyicat, ACQUISITION, *arguments], check=True)
        # It asks for no receipts.
        eventually(lambda: broker.left == messages)
        Bridge(load(config), lambda: not broker.left).run()
        done = run("icat_ingestor", "-c", config, "--until-end", "--output", "json")
        *outcomes, total = done.lines
        assert (done.code, total["announced"]) == (0, messages), done.out + done.err
        assert total["rejected"] == total["deferred"] == 0, done.out
        return outcomes

    try:
        acquire(3)
        scan, fit = datasets(client, proposal)
        assert (scan.name, scan.type.name, scan.sample.name) == (
            "scan1",
            "acquisition",
            "iron",
        )
        assert (fit.name, fit.type.name) == ("fit1", "processed")
        assert [file.name for file in scan.datafiles] == ["first.h5"]
        # What it calls the start of an investigation brings the investigation's date.
        start = datetime(2026, 3, 10, 9, tzinfo=UTC)
        assert scan.investigation.startDate == start
        (folder / "scan1" / "second.h5").write_bytes(b"more")
        outcomes = acquire(3, str(scan.id))
        # Its reschedule names nothing but an id of the user office.
        (ignored,) = [each for each in outcomes if each["outcome"] == "ignored"]
        assert "no integration asks for the schedule" in str(ignored["reason"])
        scan, fit = datasets(client, proposal)
        assert {file.name for file in scan.datafiles} == {"first.h5", "second.h5"}
        values = {p.type.name: p.stringValue for p in scan.parameters}
        assert values["scanType"] == "loop"
    finally:
        broker.end()
        client.logout()
