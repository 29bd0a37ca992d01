"""What ICAT holds already is given to one consumer, on real Kafka."""

from .dataset_messages import create_topic, new_investigation, prepare
from .test_checksums import PATIENCE


def test_a_consumer_catches_up_with_what_was_there_before_it(facility, run):
    name = "backfill"
    for topic in (name, f"{name}.events"):
        create_topic(facility.endpoints["kafka"], topic)
    followers = {
        each: {"handler": "statistics", "topics": [f"{name}.events"]}
        for each in ("statistics", "others")
    }
    config = facility.variant(
        name,
        kafka={"group_id": name},
        journal={"url": f"sqlite:///{name}.db"},
        events={"topic": f"{name}.events"},
        dead_letters={"topic": f"{name}.dead"},
        consumers=followers,
    )
    client = facility.client()
    prepare(client)
    proposal = new_investigation(client)
    (investigation,) = client.search(f"Investigation [name = '{proposal}']")
    kind = client.search("DatasetType")[0]
    for number in range(3):
        dataset = client.new(
            "Dataset", name=f"d{number}", type=kind, investigation=investigation
        )
        dataset.complete = True
        dataset.datafiles = [client.new("Datafile", name="f", fileSize=10)]
        dataset.create()

    tool = ("icat_stream", "integrations", "backfill", "-c", config, "statistics")
    here = ("--investigation", proposal)
    refused = run(*tool)
    assert refused.code == 2
    assert "say one of --investigation, --since, --all" in refused.err
    refused = run(*tool, *here, "--after", "job:7")
    assert (refused.code, "expected KIND:ID" in refused.err) == (2, True)
    dry = run(*tool, *here, "--dry-run")
    assert dry.out == "4 objects would be given to statistics\n", dry.err
    first = run(*tool, "--since", "1h", "--dry-run")
    assert int(first.out.split()[0]) >= 4
    done = run(*tool, *here)
    assert done.out == "4 objects were given to statistics\n", done.err
    last = client.search("SELECT MAX(d.id) FROM Dataset d")[0]
    again = run(*tool, "--all", "--after", f"dataset:{last}")
    assert again.out == "0 objects were given to statistics\n", again.err

    command = ("icat_ingestor", "-c", config, "--until-end", "--output", "json")
    *lines, _ = run(*command, timeout=PATIENCE).lines
    # Its own retry topic has them; the other one is told nothing.
    assert len(lines) == 4
    (found,) = client.search(
        f"SELECT i FROM Investigation i WHERE i.name = '{proposal}' INCLUDE i.datasets"
    )
    client.logout()
    assert (found.fileCount, found.fileSize) == (3, 30)
    assert [dataset.fileSize for dataset in found.datasets] == [10] * 3
