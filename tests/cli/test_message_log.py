"""The message log as its users have it: beside others, and the topic comes to rest."""

import pytest

from icat_stream.integrations.search_server import SearchServer, SearchServerOptions
from icat_stream.sandbox.announcer import Announcer

from .dataset_messages import create_topic
from .test_checksums import PATIENCE

NAME = "log"


@pytest.fixture
def config(facility, topic_prefix, opensearch):
    for topic in (NAME, f"{NAME}.outcomes"):
        create_topic(facility.endpoints["kafka"], topic)
    return facility.variant(
        NAME,
        kafka={"group_id": NAME},
        journal={"url": f"sqlite:///{NAME}.db"},
        outcomes={"topic": f"{NAME}.outcomes"},
        dead_letters={"topic": f"{NAME}.dead"},
        consumers={
            "file_written": {"handler": "file_written", "topics": [NAME]},
            NAME: {
                "integration": "message_log",
                "topics": [f"{NAME}.outcomes"],
                "options": {"urls": [opensearch], "alias": topic_prefix, "replicas": 0},
            },
        },
    )


def test_what_became_of_messages_is_logged_once(
    facility, config, topic_prefix, opensearch, run
):
    def daemon(*options):
        given = ("-c", config, "--until-end", *options, "--output", "json")
        done = run("icat_ingestor", *given, timeout=PATIENCE)
        assert done.code == 0, done.err
        return done.lines[-1]

    announcer = Announcer(facility.endpoints["kafka"], NAME)
    files = [facility.write() for _ in range(2)]
    for file in files:
        announcer.announce(file)
    announcer.flush()
    daemon("--consumer", "file_written")
    server = SearchServer("test", SearchServerOptions(urls=[opensearch]))
    assert daemon("--consumer", NAME, "--dry-run")["ingested"] == 2
    assert server.call("GET", f"/{topic_prefix}", missing={}) == {}
    assert daemon("--consumer", NAME)["ingested"] == 2
    # It told nothing of that itself.
    assert daemon("--consumer", NAME)["ingested"] == 0
    server.call("POST", f"/{topic_prefix}/_refresh")
    hits = server.call("GET", f"/{topic_prefix}/_search")["hits"]["hits"]
    documents = [hit["_source"] for hit in hits]
    names = {facility.datasets(file)[0].name for file in files}
    assert {name for each in documents for name in each["dataset"]} == names
    assert {each["outcome"] for each in documents} == {"ingested"}
    listed = run("icat_stream", "integrations", "list", "-c", config)
    assert listed.lines[0]["follows"] == ["outcome"]
    filled = run("icat_stream", "integrations", "backfill", "-c", config, NAME, "--all")
    assert (filled.code, "ICAT holds none" in filled.err) == (2, True)


@pytest.mark.parametrize(
    ("consumer", "reason"),
    [
        (
            {"integration": "message_log", "topics": ["icat-stream.events"]},
            "expected [icat-stream.outcomes], the topic of outcomes",
        ),
        (
            {"integration": "search_index", "topics": ["icat-stream.outcomes"]},
            "would make outcomes without end",
        ),
        (
            {"handler": "datasets", "topics": ["a", "icat-stream.outcomes"]},
            "would make outcomes without end",
        ),
    ],
)
def test_outcomes_are_read_by_who_follows_them(facility, run, consumer, reason):
    config = facility.variant("log-topics", consumers={"c": consumer})
    for command in ("icat_validate_config", "icat_ingestor"):
        done = run(command, "-c", config, timeout=PATIENCE)
        assert done.code == 2
        assert "consumers.c.topics" in done.out + done.err
        assert reason in done.out + done.err
