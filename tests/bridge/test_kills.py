"""Bridge and broker are killed in turn, and no message is lost.

``KILLS`` and ``MESSAGES`` make it longer.
"""

import os
import signal
import subprocess
from pathlib import Path

import yaml

from plugins.commands import BIN
from plugins.stomp import QUEUE, StompBroker, eventually

from .conftest import arrived

KILLS = int(os.environ.get("KILLS", "4"))
MESSAGES = int(os.environ.get("MESSAGES", "400"))
POISON = "x" * 10_000


def started(config: Path) -> subprocess.Popen[bytes]:
    with config.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [BIN / "icat_stream", "bridge", "-c", config], stdout=log, stderr=log
        )


def test_nothing_is_lost_whoever_is_killed(
    kafka, stomp_broker: StompBroker, tmp_path: Path
):
    bootstrap, topic = kafka
    config = tmp_path / "bridge.yaml"
    settings = {
        "facility": "EXAMPLE",
        "kafka": {"bootstrap_servers": bootstrap},
        "consumers": {"a": {"handler": "datasets", "topics": [topic]}},
        "bridge": {"brokers": [stomp_broker.address], "topics": {QUEUE: topic}},
    }
    config.write_text(yaml.safe_dump(settings))
    bodies = {f"message {number}" for number in range(MESSAGES)}
    stomp_broker.hold(POISON, *sorted(bodies))
    bridge = started(config)
    try:
        for kill in range(1, KILLS + 1):
            left = MESSAGES - MESSAGES * kill // (KILLS + 1)
            eventually(lambda left=left: stomp_broker.left <= left, 300)
            if kill % 2:
                bridge.kill()
                bridge.wait()
                bridge = started(config)
            else:
                stomp_broker.end()
                stomp_broker.start()
        # The poison is put aside, into a queue of its own.
        eventually(lambda: stomp_broker.left == 1, 300)
        assert bridge.poll() is None, config.with_suffix(".log").read_text()
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(60) == 0
    finally:
        bridge.kill()
        bridge.wait()
    records = arrived(bootstrap, topic, MESSAGES)
    assert {record.value().decode() for record in records} == bodies
    print(f"{KILLS} kills, {len(records) - MESSAGES} of {MESSAGES} twice")
