"""pyicat-plus as it is, through a STOMP broker and the bridge, into ICAT."""

import subprocess
import sys
from pathlib import Path

import pytest

from icat_stream.bridge import Bridge
from icat_stream.config import load
from plugins.stomp import StompBroker, eventually

from .dataset_messages import create_topic, datasets, new_investigation, prepare

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "requirements" / "pyicat-plus.txt"
QUEUES = ("icatIngest", "icatUpdateDatasetMetadata", "icatDataFiles")
ACQUISITION = Path(__file__).with_name("pyicat_acquisition.py")


@pytest.fixture(scope="module")
def pyicat() -> Path:
    """The interpreter of an environment with pyicat-plus in it."""
    venv = ROOT / ".build" / "pyicat-plus"
    done = venv / "done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "-q", "-r", PINS], check=True)
        done.touch()
    return venv / "bin" / "python"


@pytest.mark.long
def test_an_acquisition(facility, run, pyicat):
    client = facility.client()
    prepare(client)
    # pyicat-plus sends both names in lower case.
    proposal = new_investigation(client, "MX-2610", instrument="bl06")
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

    def acquire(messages: int, *more: str) -> None:
        """Drive it, and let the bridge and the daemon bring what came of it."""
        arguments = (broker.address, proposal, "BL06", folder, *more)
        subprocess.run([pyicat, ACQUISITION, *arguments], check=True)
        # It asks for no receipts.
        eventually(lambda: broker.left == messages)
        Bridge(load(config), lambda: not broker.left).run()
        done = run("icat_ingestor", "-c", config, "--until-end", "--output", "json")
        assert (done.code, done.lines[-1]["rejected"]) == (0, 0), done.out

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
        (folder / "scan1" / "second.h5").write_bytes(b"more")
        acquire(2, str(scan.id))
        scan, fit = datasets(client, proposal)
        assert {file.name for file in scan.datafiles} == {"first.h5", "second.h5"}
        values = {p.type.name: p.stringValue for p in scan.parameters}
        assert values["scanType"] == "loop"
    finally:
        broker.end()
        client.logout()
