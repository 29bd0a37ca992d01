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
PATIENCE = 60 + DATASETS / 5


def variant(facility, name, **sections):
    create_topic(facility.endpoints["kafka"], name)
    return facility.variant(
        name,
        kafka={"group_id": name, "instance_id": name},
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
    group = "early.datasets.retry.0"
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
    assert daemon.wait(60) == 0, log.read_text()[-3000:]
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
    eventually(lambda: "assigned" in log.read_text(), 60)
    (letter,) = eventually(lambda: read(facility, "never.dead"), 60)
    daemon.terminate()
    daemon.wait(60)
    headers = dict(letter.headers())
    assert headers["icat-stream.error-class"] == b"dependency"
    assert (
        b"investigation no-such-proposal is not in the catalogue"
        in headers["icat-stream.error-message"]
    )
