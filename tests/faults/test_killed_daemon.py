"""A daemon that is killed again and again loses nothing and does nothing twice.

``KILLS`` makes it longer.
"""

import json
import os
import random
import signal
import time
from collections import Counter

import pytest

ANNOUNCED = 500
KILLS = int(os.environ.get("KILLS", "4"))


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_each_dataset_once(facility):
    facility.announce(ANNOUNCED)
    chance = random.Random(7)
    killed = 0
    while killed < KILLS:
        seen = len(facility.read("icat-stream.events")) if killed else 0
        if seen >= ANNOUNCED:
            # Quicker than we are: more to do.
            break
        begun = time.monotonic()
        daemon = facility.start()
        # From the first moments of a start to the middle of the work.
        until = begun + chance.uniform(0.5, 3.0)
        while time.monotonic() < until and daemon.poll() is None:
            time.sleep(0.01)
        assert daemon.poll() is None, (facility.folder / "daemon.log").read_text()[
            -3000:
        ]
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(30)
        killed += 1
    summary = facility.run_until_end()
    assert summary["rejected"] == summary["deferred"] == 0
    print(f"killed {killed} times; the last run: {summary}")
    check(facility)


def check(facility):
    datasets, datafiles = facility.datasets()
    assert len(datasets) == datafiles == ANNOUNCED
    assert set(datasets.values()) == {1}
    events = [json.loads(value) for value in facility.read("icat-stream.events")]
    origins = Counter(tuple(event["origin"].values()) for event in events)
    assert len(origins) == ANNOUNCED, "an event is missing"
    assert set(origins.values()) == {1}, "an event came twice"
    assert facility.read("icat-stream.dead-letters") == []
    rows = facility.journal(
        "SELECT origin_topic, origin_partition, origin_offset, state FROM outcomes"
    )
    assert Counter(row[:3] for row in rows) == origins
    assert {row[3] for row in rows} == {"committed"}
    offsets = facility.committed()
    for topic, partition, offset in origins:
        assert offsets[topic, partition] > offset


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.timeout(300)
def test_stop_within_the_deadline(facility):
    facility.announce(200)
    daemon = facility.start()
    while not facility.datasets()[0]:
        assert daemon.poll() is None
        time.sleep(0.1)
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(20) == 0
    summary = facility.run_until_end()
    assert summary["rejected"] == summary["deferred"] == 0
    assert len(facility.datasets()[0]) == 200
    assert len(facility.read("icat-stream.events")) == 200
