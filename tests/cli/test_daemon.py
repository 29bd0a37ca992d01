"""``icat_ingestor`` as an operator meets it."""

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer

from icat_stream.sandbox.announcer import Announcer

from .conftest import eventually
from .dataset_messages import create_topic

COMMAND = "icat_ingestor"


def group(facility, name, **sections):
    """Return a configuration with a group of its own: it reads from now on."""
    return facility.variant(
        name,
        kafka={"group_id": name, "start": "latest"},
        journal={"url": f"sqlite:///{name}.db"},
        **sections,
    )


def started(log: Path) -> bool:
    return "assigned" in log.read_text()


def test_dry_run_moves_nothing(facility, run):
    files = [facility.write() for _ in range(3)]
    facility.announce(*files)
    config = facility.variant("dry-daemon", kafka={"group_id": "dry-daemon"})
    before = len(facility.events())
    for _ in range(2):
        done = run(COMMAND, "-c", config, "--dry-run", "--output", "json")
        assert done.code == 0, done.err
        *lines, summary = done.lines
        assert summary["ingested"] >= 3
        assert len(lines) == summary["announced"]
        assert all(line["written"] == [] for line in lines)
    assert all(facility.datasets(file) == [] for file in files)
    assert len(facility.events()) == before


def test_trace_from_record_to_event(facility, run):
    file = facility.write()
    config = facility.variant(
        "traced", kafka={"group_id": "traced"}, telemetry={"console": True}
    )
    facility.announce(file)
    done = run(COMMAND, "-c", config, "--until-end", "--output", "json")
    assert done.code == 0, done.err
    (dataset,) = facility.datasets(file)
    ((_, headers),) = facility.told(dataset)
    trace = headers["traceparent"].decode().split("-")[1]
    spans = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    names = {s["name"] for s in spans if s["context"]["trace_id"] == f"0x{trace}"}
    assert {"process filewriter", "decode", "plan", "apply", "icat.create"} <= names
    commits = [s for s in spans if s["name"].startswith("commit ")]
    assert any(trace in json.dumps(span["links"]) for span in commits)
    assert "dataingest" not in done.err


def test_own_handler_by_import_path(facility, run, tmp_path):
    page = Path(__file__).parents[2] / "docs" / "own-handler.md"
    (code,) = re.findall(r'```python\n("""ourfacility.*?)```', page.read_text(), re.S)
    (tmp_path / "ourfacility").mkdir()
    (tmp_path / "ourfacility" / "handlers.py").write_text(code)
    config = facility.variant(
        "own",
        kafka={"group_id": "own"},
        consumers={
            "slow_control": {
                "handler": "ourfacility.handlers:SlowControl",
                "topics": ["filewriter"],
            }
        },
    )
    announcer = Announcer(facility.endpoints["kafka"])
    message = {
        "kind": "slow-control",
        "proposal": "240815",
        "visit": "1",
        "run": int(time.time()),
        "temperature": 4.2,
    }
    announcer.send(json.dumps(message).encode())
    announcer.flush()
    path = {"PYTHONPATH": str(tmp_path)}
    arguments = ("-c", config, "--consumer", "slow_control")
    assert run("icat_validate_config", config, **path).code == 0
    done = run(COMMAND, *arguments, "--until-end", "--output", "json", **path)
    assert done.code == 0, done.err
    assert done.lines[-1]["ingested"] == 1
    client = facility.client()
    assert client.search(
        f"SELECT d FROM Dataset d WHERE d.name = 'slow control {message['run']}'"
    )
    client.logout()


def test_unknown_consumer(facility, run):
    done = run(COMMAND, "-c", facility.config, "--consumer", "nobody")
    assert done.code == 2
    assert "is none of the consumers in the configuration: file_written" in done.err


def test_wrong_password_stops(facility, run):
    done = run(COMMAND, "-c", facility.config, ICAT_STREAM_ICAT__PASSWORD="wrong-one")
    assert done.code == 5
    assert "wrong-one" not in done.err


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"icat": {"url": "http://127.0.0.1:9"}}, r"icat: ICAT .* cannot be reached"),
        (
            {"ids": {"url": "http://127.0.0.1:9/ids", "mode": "put"}},
            r"file_written: the end was not reached: ids: the data service .* cannot"
            r" be reached.* \(waited 1 s, see --wait\)",
        ),
        (
            {"kafka": {"bootstrap_servers": "127.0.0.1:9"}},
            r"file_written: the end was not reached: Kafka does not answer",
        ),
    ],
    ids=["icat", "ids", "kafka"],
)
def test_the_end_is_not_waited_for_without_end(facility, run, sections, says):
    (system,) = sections
    name = f"no-end-{system}"
    kafka = {"group_id": name} | sections.get("kafka", {})
    create_topic(facility.endpoints["kafka"], name)
    consumers = {"file_written": {"handler": "file_written", "topics": [name]}}
    config = facility.variant(
        name, **(sections | {"kafka": kafka, "consumers": consumers})
    )
    announcer = Announcer(facility.endpoints["kafka"], name)
    announcer.announce(facility.write())
    announcer.flush()
    done = run(COMMAND, "-c", config, "--until-end", "--wait", "1")
    assert done.code == 5, done.err
    assert re.search(says, done.err), done.err


def test_what_stands_behind_an_open_transaction_is_not_the_end(facility, run):
    name = "behind-open"
    create_topic(facility.endpoints["kafka"], name)
    consumers = {"file_written": {"handler": "file_written", "topics": [name]}}
    config = facility.variant(name, kafka={"group_id": name}, consumers=consumers)
    writer = Producer(
        {"bootstrap.servers": facility.endpoints["kafka"], "transactional.id": name}
    )
    writer.init_transactions(60)
    writer.begin_transaction()
    writer.produce(name, b"{}")
    writer.flush(60)
    announcer = Announcer(facility.endpoints["kafka"], name)
    announcer.announce(facility.write())
    announcer.flush()
    done = run(COMMAND, "-c", config, "--until-end", "--wait", "1")
    assert done.code == 5, done.err
    assert re.search(
        rf"the end was not reached: {name}\[\d\] from 0 on cannot be read, as a"
        r" transaction there is not decided",
        done.err,
    )
    writer.abort_transaction(60)
    done = run(COMMAND, "-c", config, "--until-end", "--output", "json")
    assert done.code == 0, done.err
    assert [line["outcome"] for line in done.lines[:-1]] == ["ingested"]


def test_a_folder_that_is_not_mounted_holds_up_its_own_files_only(facility, run):
    name = "one-root"
    data = facility.path / "data"
    # One mount each, below one root of the data service.
    mounted, mount = data / "240815", data / name
    create_topic(facility.endpoints["kafka"], name)
    config = facility.variant(
        name,
        kafka={"group_id": name},
        files={"roots": [str(mounted), str(mount)]},
        consumers={"file_written": {"handler": "file_written", "topics": [name]}},
    )
    here, there = facility.write(), facility.write()
    announcer = Announcer(facility.endpoints["kafka"], name)
    announcer.announce(replace(there, path=mount / there.path.name))
    announcer.announce(here)
    announcer.flush()
    command = (COMMAND, "-c", config, "--until-end", "--output", "json")
    done = run(*command)
    assert done.code == 0, done.err
    told = {line["outcome"]: line["reason"] for line in done.lines[:-1]}
    assert told.keys() == {"ingested", "deferred"}
    assert f"root folder {mount} is not there" in told["deferred"]
    mount.mkdir()
    shutil.move(there.path, mount)
    done = run(*command)
    assert done.code == 0, done.err
    assert [line["outcome"] for line in done.lines[:-1]] == ["ingested"]


def test_icat_down_at_start_is_waited_for(facility, start, tmp_path):
    log = tmp_path / "log"
    config = facility.variant("waiting", icat={"url": "http://127.0.0.1:9"})
    daemon = start(COMMAND, "-c", config, log=log)
    eventually(lambda: "unavailable: icat" in log.read_text())
    assert "next try in" in log.read_text()
    assert daemon.poll() is None
    daemon.terminate()
    assert daemon.wait(240) == 0


def test_parked_until_the_investigation_is_there(facility, start, tmp_path):
    log = tmp_path / "log"
    file = facility.write(proposal="990777")
    daemon = start(COMMAND, "-c", group(facility, "parking"), "-v", log=log)
    eventually(lambda: started(log))
    facility.announce(file)
    eventually(
        lambda: "investigation 990777 is not in the catalogue" in log.read_text()
    )
    client = facility.client()
    of_facility = client.assertedSearch("SELECT f FROM Facility f")[0]
    kind = client.search("SELECT t FROM InvestigationType t")[0]
    client.new(
        "Investigation",
        facility=of_facility,
        type=kind,
        name="990777",
        visitId="1",
        title="late",
    ).create()
    client.logout()
    eventually(lambda: facility.datasets(file))
    daemon.terminate()
    assert daemon.wait(240) == 0


def test_poison_stops_nobody(facility, run):
    announcer = Announcer(facility.endpoints["kafka"])
    for value in (
        b"",
        b"\0" * 100,
        b"xxxxwrdn" + b"\xff" * 50,
        b"{}",
        b"\x08\0\0\0ab12",
    ):
        announcer.send(value)
    announcer.flush()
    file = facility.write()
    facility.announce(file)
    config = facility.variant("poison", kafka={"group_id": "poison"})
    done = run(COMMAND, "-c", config, "--until-end", "--output", "json")
    assert done.code == 0, done.err
    assert done.lines[-1]["rejected"] >= 4
    assert done.lines[-1]["ignored"] >= 1
    assert facility.datasets(file)


def test_shipped_sample_runs_on_the_facility(facility, run):
    exported = (facility.path / "env").read_text().splitlines()
    environment = dict(
        line.removeprefix("export ").replace("'", "").split("=", 1)
        for line in exported
        if line.startswith("export ")
    )
    environment["ICAT_STREAM_KAFKA__GROUP_ID"] = "sample"
    environment["ICAT_STREAM_KAFKA__START"] = "latest"
    from icat_stream.config.resources import shipped

    sample = shipped("config.sample.yaml")
    assert run("icat_validate_config", sample, "--connect", **environment).code == 0
    done = run(COMMAND, "-c", sample, "--until-end", **environment)
    assert done.code == 0, done.err


def test_health_address_in_use(facility, run):
    host = facility.endpoints["icat"].removeprefix("http://")
    config = group(facility, "in-use", health={"listen": host})
    done = run(COMMAND, "-c", config)
    assert done.code == 2
    assert "in use" in done.err
