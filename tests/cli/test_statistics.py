"""Statistics that follow the events, on real Kafka and the embedded ICAT."""

import json

from icat_stream.sandbox.announcer import Announcer

from .dataset_messages import create_topic
from .test_checksums import PATIENCE


def test_an_investigation_and_its_dataset_get_their_sizes(facility, run):
    name = "statistics"
    for topic in (name, f"{name}.events"):
        create_topic(facility.endpoints["kafka"], topic)
    config = facility.variant(
        name,
        kafka={"group_id": name},
        journal={"url": f"sqlite:///{name}.db"},
        events={"topic": f"{name}.events"},
        dead_letters={"topic": f"{name}.dead"},
        consumers={
            "file_written": {"handler": "file_written", "topics": [name]},
            "statistics": {"handler": "statistics", "topics": [f"{name}.events"]},
        },
    )
    file = facility.write()
    announcer = Announcer(facility.endpoints["kafka"], name)
    announcer.announce(file)
    announcer.flush()
    command = ("icat_ingestor", "-c", config, "--until-end", "--output", "json")
    done = run(*command, "--consumer", "file_written", timeout=PATIENCE)
    assert done.code == 0, done.err
    size = file.path.stat().st_size
    (dataset,) = facility.datasets(file)
    assert dataset.fileSize == size, "the database's triggers keep it"
    # As where there are none.
    client = facility.client()
    dataset = client.get("Dataset INCLUDE 1", dataset.id)
    dataset.fileCount = dataset.fileSize = 0
    dataset.update()
    client.logout()
    dry = run(*command, "--consumer", "statistics", "--dry-run", timeout=PATIENCE)
    changes = dry.lines[0]["diff"]["changes"]
    assert str(size) in [change["planned"] for change in changes]
    done = run(*command, "--consumer", "statistics", timeout=PATIENCE)
    *lines, summary = done.lines
    assert summary["ingested"] == 1, lines
    (dataset,) = facility.datasets(file)
    assert (dataset.fileCount, dataset.fileSize) == (1, size)
    assert dataset.complete

    # Somebody has changed it by hand, and asks for what it was.
    client = facility.client()
    dataset = client.get("Dataset d INCLUDE d.investigation, d.type", dataset.id)
    investigation = dataset.investigation
    investigation = client.get(
        "Investigation i INCLUDE i.type, i.facility", investigation.id
    )
    whole = (investigation.fileCount, investigation.fileSize)
    investigation.fileCount = 0
    investigation.update()
    client.logout()
    place = f"{investigation.name}/{investigation.visitId}"
    tool = ("icat_stream", "integrations")
    asking = (*tool, "ask", "-c", config, "recount", "--investigation")
    dry = run(*asking, place, "--dry-run")
    assert json.loads(dry.out)["operation"] == "recount"
    refused = run(*asking, "nothing/1")
    assert (refused.code, "is not in the catalogue" in refused.err) == (3, True)
    unknown = run(*tool, "ask", "-c", config, "mint", "--investigation", place)
    assert (unknown.code, "there are: recount" in unknown.err) == (2, True)
    assert run(*asking, place).code == 0
    (follower,) = run(*tool, "list", "-c", config, "--output", "json").lines
    assert follower["name"] == "statistics"
    assert follower["operations"] == ["recount"]
    assert follower["lag"] > 0
    assert run(*command, "--consumer", "statistics", timeout=PATIENCE).code == 0
    shown = run(*tool, "show", "-c", config, "statistics")
    assert "ingested: 2, the last of 20" in shown.out, shown.out + shown.err
    client = facility.client()
    now = client.get("Investigation", investigation.id)
    client.logout()
    assert (now.fileCount, now.fileSize) == whole
