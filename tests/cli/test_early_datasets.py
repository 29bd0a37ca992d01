"""Datasets that come before their investigations wait, and go in in their order.

``EARLY_DATASETS`` and ``EARLY_INVESTIGATIONS`` make it larger.
"""

import json
import os
import random
import time
from collections import Counter

import pytest
from confluent_kafka import Consumer, TopicPartition

from icat_stream.records import STUB_TITLE

from .conftest import eventually
from .dataset_messages import (
    create_topic,
    datasets,
    new_investigation,
    prepare,
    send,
)

DATASETS = int(os.environ.get("EARLY_DATASETS", "60"))
INVESTIGATIONS = int(os.environ.get("EARLY_INVESTIGATIONS", "6"))
PATIENCE = 240 + DATASETS / 5


def variant(facility, name, instance="", **sections):
    create_topic(facility.endpoints["kafka"], name)
    return facility.variant(
        name + instance,
        kafka={"group_id": name, "instance_id": name + instance},
        journal={"url": f"sqlite:///{name}.db"},
        events={"topic": f"{name}.events"},
        dead_letters={"topic": f"{name}.dead"},
        consumers={
            "datasets": {
                "handler": "datasets",
                "topics": [name],
                "options": {"files": "trust"},
            }
        },
        **sections,
    )


def message(investigation, number):
    return {
        "investigation": investigation,
        "instrument": "bl06",
        "name": f"scan {number}",
        "location": f"early/{investigation}/{number}",
        "datafiles": ["a.h5"],
    }


def read(facility, topic):
    consumer = Consumer(
        {
            "bootstrap.servers": facility.endpoints["kafka"],
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    metadata = consumer.list_topics(topic, timeout=30).topics[topic]
    consumer.assign([TopicPartition(topic, p, 0) for p in metadata.partitions])
    found, left = [], set(metadata.partitions)
    deadline = time.monotonic() + 60
    while left:
        assert time.monotonic() < deadline
        record = consumer.poll(1.0)
        if record is None:
            continue
        if record.error():
            left.discard(record.partition())
        else:
            found.append(record)
    consumer.close()
    return found


@pytest.fixture
def client(facility):
    client = facility.client()
    prepare(client)
    yield client
    client.logout()


def test_early_datasets_wait_for_their_investigations(
    facility, client, start, tmp_path
):
    config = variant(facility, "early")
    names = [f"early-{number:03}" for number in range(INVESTIGATIONS)]
    chance = random.Random(5)
    chosen = [chance.choice(names) for _ in range(DATASETS)]
    send(
        facility.endpoints["kafka"],
        "early",
        *(message(name, number) for number, name in enumerate(chosen)),
    )
    log = tmp_path / "log"
    daemon = start("icat_ingestor", "-c", config, log=log)
    counted = Counter(chosen)
    group = "early.datasets.parked"
    eventually(lambda: len(read(facility, group)) >= DATASETS, PATIENCE)
    assert not any(datasets(client, name) for name in counted)
    begun = time.monotonic()
    for name in names:
        new_investigation(client, name)
    made = time.monotonic()

    def all_there():
        found = client.search(
            "SELECT COUNT(d) FROM Dataset d JOIN d.investigation i"
            " WHERE i.name LIKE 'early-%'"
        )
        return found[0] == DATASETS

    eventually(all_there, PATIENCE)
    print(
        f"{DATASETS} datasets of {INVESTIGATIONS} investigations:"
        f" {made - begun:.1f} s to make those,"
        f" {time.monotonic() - made:.1f} s until all datasets were there"
    )
    eventually(lambda: len(read(facility, "early.events")) >= DATASETS, PATIENCE)
    daemon.terminate()
    assert daemon.wait(240) == 0, log.read_text()[-3000:]
    for name in counted:
        wanted = [f"scan {n}" for n, of in enumerate(chosen) if of == name]
        # By id: in the order in which they went in.
        assert [d.name for d in datasets(client, name)] == wanted
    origins = Counter(
        json.loads(record.value())["origin"]["offset"]
        for record in read(facility, "early.events")
    )
    assert origins == Counter(range(DATASETS))
    assert read(facility, "early.dead") == []


def test_what_never_comes_is_a_dead_letter_that_says_what_was_missing(
    facility, start, tmp_path
):
    config = variant(facility, "never", retries={"delays": ["1s"], "park_for": "3s"})
    send(facility.endpoints["kafka"], "never", message("no-such-proposal", 1))
    log = tmp_path / "log"
    daemon = start("icat_ingestor", "-c", config, log=log)
    eventually(lambda: "assigned" in log.read_text())
    (letter,) = eventually(lambda: read(facility, "never.dead"))
    daemon.terminate()
    daemon.wait(240)
    headers = dict(letter.headers())
    assert headers["icat-stream.error-class"] == b"dependency"
    assert (
        b"investigation no-such-proposal is not in the catalogue"
        in headers["icat-stream.error-message"]
    )


STUBS = {"missing_investigations": "stub", "stubs": {"type": "experiment"}}


def test_by_policy_stubs_are_made_and_filled_in_later(
    facility, client, start, run, tmp_path
):
    create_topic(facility.endpoints["kafka"], "stubs", partitions=4)
    names = [f"stubbed-{number}" for number in range(3)]
    messages = [
        message(names[number % 3], number) | {"instrument": "bl06"}
        for number in range(30)
    ]
    send(facility.endpoints["kafka"], "stubs", *messages)
    logs, daemons = [], []
    for instance in ("a", "b"):
        config = variant(facility, "stubs", instance, policies=STUBS)
        logs.append(tmp_path / instance)
        daemons.append(start("icat_ingestor", "-c", config, log=logs[-1]))

    def all_there():
        return sum(len(datasets(client, name)) for name in names) == len(messages)

    eventually(all_there, PATIENCE)
    for daemon, log in zip(daemons, logs, strict=True):
        daemon.terminate()
        assert daemon.wait(240) == 0, log.read_text()[-3000:]
    query = (
        "SELECT i FROM Investigation i WHERE i.name LIKE 'stubbed-%'"
        " INCLUDE i.type, i.investigationInstruments AS l, l.instrument"
    )
    found = client.search(query)
    assert sorted(each.name for each in found) == names
    assert {each.title for each in found} == {STUB_TITLE}
    assert {each.type.name for each in found} == {"experiment"}
    linked = [
        [link.instrument.name for link in each.investigationInstruments]
        for each in found
    ]
    assert linked == [["bl06"]] * len(names)
    assert read(facility, "stubs.dead") == []
    proposal = tmp_path / "proposal.json"
    proposal.write_text(json.dumps({"name": names[0], "title": "Domains"}))
    config = facility.variant(
        "stubs-office",
        journal={"url": "sqlite:///stubs.db"},
        consumers={
            "investigations": {"handler": "investigations", "topics": ["proposals"]}
        },
    )
    done = run("icat_background_ingestor", "-c", config, "--message", proposal)
    assert done.code == 0, done.err
    titles = {each.name: each.title for each in client.search(query)}
    assert titles == dict.fromkeys(names, STUB_TITLE) | {names[0]: "Domains"}


def test_a_dry_run_shows_the_stub_and_all_that_follows(facility, client, run, tmp_path):
    config = variant(facility, "stub-dry", policies=STUBS)
    early = message("dry-proposal", 1)
    early["sample"] = {"name": "NaCl 1", "type": "brand new type"}
    file = tmp_path / "message.json"
    file.write_text(json.dumps(early))
    done = run("icat_background_ingestor", "-c", config, "--message", file, "--dry-run")
    assert done.code == 0, done.err
    shown = [line.strip() for line in done.out.splitlines()]
    assert "stub of investigation dry-proposal/1 (experiment)" in shown
    follows = [line.removeprefix("+ new ") for line in shown if line[:1] == "+"]
    assert follows[:4] == [
        "Investigation dry-proposal/1 (stub)",
        "SampleType brand new type",
        "Sample NaCl 1",
        "Dataset dry-proposal/1/scan 1",
    ]
    assert not client.search(
        "SELECT i FROM Investigation i WHERE i.name = 'dry-proposal'"
    )
