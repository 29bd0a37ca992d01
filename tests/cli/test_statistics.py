"""Statistics that follow the events, on real Kafka and the embedded ICAT."""

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
    dry = run(*command, "--consumer", "statistics", "--dry-run", timeout=PATIENCE)
    size = file.path.stat().st_size
    changes = dry.lines[0]["diff"]["changes"]
    assert str(size) in [change["planned"] for change in changes]
    (dataset,) = facility.datasets(file)
    assert dataset.fileSize == 0
    done = run(*command, "--consumer", "statistics", timeout=PATIENCE)
    *lines, summary = done.lines
    assert summary["ingested"] == 1, lines
    (dataset,) = facility.datasets(file)
    assert (dataset.fileCount, dataset.fileSize) == (1, size)
    assert dataset.complete
