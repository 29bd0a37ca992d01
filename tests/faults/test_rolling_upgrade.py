"""Four instances are replaced one by one, and one dies, while files are announced.

``ROUNDS`` makes it longer; ``-s`` shows how long records waited.
"""

import os
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

from faults.announcing import Writer
from faults.checking import check
from faults.outside import Facility, kill

INSTANCES = 4
ROUNDS = int(os.environ.get("ROUNDS", "1"))
PATIENCE_S = 120


class Replica:
    """An instance as Kubernetes has it: it is asked whether it is ready."""

    def __init__(self, facility: Facility, number: int) -> None:
        self._facility = facility
        self._name = f"replica-{number}"
        self.start()

    def start(self) -> None:
        """Start it; it is not ready yet."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._health = f"127.0.0.1:{probe.getsockname()[1]}"
        self.process: subprocess.Popen[str] = self._facility.start(
            log=f"{self._name}.log",
            ICAT_STREAM_KAFKA__INSTANCE_ID=self._name,
            ICAT_STREAM_HEALTH__LISTEN=self._health,
        )

    def wait_until_ready(self) -> None:
        """Wait until it may get work."""

        def ask() -> None:
            assert self.process.poll() is None, f"{self._name} has ended: see its log"
            address = f"http://{self._health}/health/ready"
            with urllib.request.urlopen(address, timeout=30):
                pass

        self._facility.patiently(ask, PATIENCE_S)

    def stop(self) -> int:
        """End it in order; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_rolling_upgrade_loses_nothing(facility):
    facility.configure(
        retries={"delays": ["1s", "3s", "10s"]},
        limits={"rejects": {"minimum": 1_000_000}},
        files={"settle": "500ms", "settle_deadline": "1s", "deadline": "5s"},
    )
    replicas = [Replica(facility, number) for number in range(INSTANCES)]
    for each in replicas:
        each.wait_until_ready()
    writer = Writer(facility, rate=10, seed=5)
    writer.start()
    # The group has come together when each has something to do, and does it.
    facility.patiently(lambda: _require(facility.done() >= 100))
    times: list[tuple[str, float, float]] = []
    for _ in range(ROUNDS):
        begun = time.time()
        for each in replicas:
            assert each.stop() == 0
            each.start()
            each.wait_until_ready()
        times.append(("one by one", begun, time.time()))
        begun = time.time()
        first = replicas[0]
        kill(first.process)
        time.sleep(10)
        first.start()
        first.wait_until_ready()
        times.append(("one died and came back after 10 s", begun, time.time()))
    announced = writer.stop()
    codes = [each.stop() for each in replicas]
    assert codes == [0] * INSTANCES
    while facility.run_until_end()["deferred"]:
        time.sleep(1)
    # Who was killed left its session.
    assert check(facility, announced, sessions=False) == []
    for what, begun, ended in times:
        _tell(facility, what, begun, ended)


def _require(holds: bool) -> None:
    assert holds


def _tell(facility: Facility, what: str, begun: float, ended: float) -> None:
    """Print how long the records that were announced meanwhile have waited."""
    waits = sorted(
        seconds
        for (seconds,) in facility.journal(
            "SELECT (MIN(written_at) - origin_time) / 1000.0 FROM outcomes"
            f" WHERE origin_time BETWEEN {begun * 1000:.0f} AND {ended * 1000:.0f}"
            " GROUP BY origin_topic, origin_partition, origin_offset"
        )
    )
    print(
        f"{what}: {ended - begun:.0f} s, {len(waits)} records; half waited"
        f" {waits[len(waits) // 2]:.1f} s or less, one {waits[-1]:.1f} s"
    )
