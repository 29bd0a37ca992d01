"""The search index as its users have it: announced, indexed, searched, made anew."""

import json

import pytest

from icat_stream.sandbox.announcer import Announcer
from integrations.search_proxy import LOGIN, SearchProxy

from .dataset_messages import create_topic
from .test_checksums import PATIENCE

NAME = "search"


@pytest.fixture
def proxy(opensearch):
    proxy = SearchProxy(opensearch)
    yield proxy
    proxy.close()


@pytest.fixture
def config(facility, tmp_path, topic_prefix, proxy):
    (tmp_path / "password").write_text(LOGIN[1])
    for topic in (NAME, f"{NAME}.events"):
        create_topic(facility.endpoints["kafka"], topic)
    return facility.variant(
        NAME,
        kafka={"group_id": NAME},
        journal={"url": f"sqlite:///{NAME}.db"},
        events={"topic": f"{NAME}.events"},
        dead_letters={"topic": f"{NAME}.dead"},
        consumers={
            "file_written": {"handler": "file_written", "topics": [NAME]},
            NAME: {
                "integration": "search_index",
                "topics": [f"{NAME}.events"],
                "options": {
                    "urls": [proxy.url],
                    "alias": topic_prefix,
                    "username": LOGIN[0],
                    "password_file": str(tmp_path / "password"),
                    "replicas": 0,
                },
            },
        },
    )


def test_a_dataset_is_found_from_its_announcement_on(facility, config, proxy, run):
    def daemon(consumer, *options):
        given = ("-c", config, "--consumer", consumer, "--until-end", *options)
        done = run("icat_ingestor", *given, "--output", "json", timeout=PATIENCE)
        assert done.code == 0, done.err
        return done.lines[-1]

    def search(*words, code=0):
        given = ("search", "-c", config, *words, "--output", "json")
        done = run("icat_stream", *given, timeout=PATIENCE)
        assert done.code == code, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    files = [facility.write() for _ in range(2)]
    announcer = Announcer(facility.endpoints["kafka"], NAME)
    announcer.announce(files[0])
    announcer.flush()
    daemon("file_written")
    assert daemon(NAME, "--dry-run")["ingested"]
    assert proxy.writes == []
    assert daemon(NAME)["rejected"] == 0
    # What was there before comes in, too, and the index in use is another one.
    done = run("icat_stream", "integrations", "reindex", "-c", config, NAME)
    assert done.code == 0, done.err
    assert "the index in use is" in done.out
    assert "-000002" in done.out
    (dataset,) = facility.datasets(files[0])
    (found,) = search(f'"{dataset.name}"', "--kind", "dataset")
    assert found["id"] == dataset.id
    assert search("nowhere to be found", code=1) == []
    shown = run("icat_stream", "search", "-c", config, dataset.name, "--output", "text")
    assert f"dataset {dataset.id}" in shown.out
    assert "found" in shown.out.splitlines()[-1]
    assert run("icat_stream", "search", "-c", config, "x", "--kind", "y").code == 2

    checked = run("icat_validate_config", "-c", config, "--connect")
    assert f"{NAME}: reached" in checked.out
    assert "credentials" not in checked.out
    proxy.guarded = False
    checked = run("icat_validate_config", "-c", config, "--connect")
    assert "answers without credentials" in checked.out
    proxy.guarded = True
    proxy.answer = (401, "Unauthorized")
    checked = run("icat_validate_config", "-c", config, "--connect")
    assert checked.code == 5
    assert LOGIN[1] not in checked.out + checked.err
    failed = run("icat_stream", "search", "-c", config, "x")
    assert failed.code == 5
    assert LOGIN[1] not in failed.out + failed.err
