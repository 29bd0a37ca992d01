"""P5: catching up with a catalogue of 100 ms a call, 64 lanes, on real Kafka.

The handler waits 100 ms and sends an event: what the core can do with such a
catalogue, without the embedded one's own appetite for CPU.  The baseline is arithmetic:
lanes divided by the call's latency.  Memory is compared between backlogs, and a second
instance joins in the middle.
"""

import json
import signal
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from subprocess import PIPE, Popen
from typing import Any

from icat_stream.config import Settings
from icat_stream.records import Event, Outcome, OutcomeKind, Record
from icat_stream.stream import Loop, relax_collector
from measuring import Result, broker, resident, run
from stream_core import KEYS, fill

LANES = 64
CALL_S = 0.1
LIMIT = LANES / CALL_S


def measure(quick: bool) -> list[Result]:
    """Return the rate, the memory, and what it costs that another one joins."""
    few, many = (50_000, 250_000) if quick else (100_000, 1_000_000)
    seconds = 20.0 if quick else 60.0
    with broker() as kafka:
        alone = _follow(kafka.bootstrap, fill(kafka.bootstrap, few), [0.0], seconds)
        backlog = _follow(kafka.bootstrap, fill(kafka.bootstrap, many), [0.0], seconds)
        joined = _follow(
            kafka.bootstrap, fill(kafka.bootstrap, many), [0.0, seconds / 2], seconds
        )
    rate = statistics.median(alone["rates"][2:-1])
    still = max(
        b - a for a, b in zip(joined["times"], joined["times"][1:], strict=False)
    )
    return [
        Result(
            number="P5",
            what=f"catch-up, {LANES} lanes, {CALL_S * 1e3:.0f} ms a call",
            ours=f"{rate:.0f}/s",
            baseline=f"lanes / latency {LIMIT:.0f}/s",
            ratio=rate / LIMIT,
            wanted="≥ 0.9",
        ),
        Result(
            number="P5",
            what=f"memory with {many:,} waiting",
            ours=f"{backlog['memory']:.0f} MB",
            baseline=f"with {few:,}: {alone['memory']:.0f} MB",
            ratio=backlog["memory"] / alone["memory"],
            wanted="≤ 1.1",
        ),
        Result(
            number="P5",
            what="longest silence while a second instance joins",
            ours=f"{still:.2f} s",
            baseline="5 s",
            ratio=still / 5,
            wanted="≤ 1",
        ),
    ]


def _follow(
    bootstrap: str, topic: str, starts: list[float], seconds: float
) -> dict[str, Any]:
    """Run instances for a while; return rates a second, memory, times of outcomes."""
    group = f"catch-up-{uuid.uuid4().hex[:8]}"
    options = json.dumps({"bootstrap": bootstrap, "topic": topic, "group": group})
    times: deque[float] = deque()
    processes: list[Popen[str]] = []
    threads = []
    memory = 0.0
    begun = time.monotonic()
    first = 0.0
    try:
        while not first or time.monotonic() - first < seconds:
            now = time.monotonic()
            while (
                len(processes) < len(starts) and now - begun >= starts[len(processes)]
            ):
                process = Popen(
                    [sys.executable, __file__, "--way", options], stdout=PIPE, text=True
                )
                processes.append(process)
                thread = threading.Thread(target=_listen, args=(process, times))
                thread.start()
                threads.append(thread)
            if times:
                first = first or now
            time.sleep(0.1)
        memory = resident(processes[0].pid)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        for process in processes:
            process.wait()
    ordered = sorted(t for t in times if t < first + seconds)
    rates = [
        sum(first + n <= t < first + n + 1 for t in ordered)
        for n in range(int(seconds))
    ]
    return {"rates": rates, "memory": memory, "times": ordered}


def _listen(process: Popen[str], times: deque[float]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        moment, _, count = line.partition(" ")
        times.extend([float(moment)] * int(count))


class Slow:
    """Takes as long as a catalogue's call."""

    def key(self, record: Record) -> str:
        return (record.key or b"").decode()

    def handle(self, record: Record) -> Outcome:
        time.sleep(CALL_S)
        event = Event(key="investigation/1", value=record.value or b"")
        return Outcome(kind=OutcomeKind.INGESTED, events=(event,))


def instance(bootstrap: str, topic: str, group: str) -> None:
    """Run a loop until told to stop; print when how many outcomes were committed."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            **{
                "facility": "BENCH",
                "kafka": {"bootstrap_servers": bootstrap, "group_id": group},
                "journal": {"url": f"sqlite:///{folder}/journal.db"},
                "events": {"topic": "events"},
                "dead_letters": {"topic": "dead-letters"},
                "consumers": {"c": {"handler": "x", "topics": [topic], "lanes": LANES}},
            }
        )
        counted = [0]

        def committed(_record: Record, _outcome: Outcome) -> None:
            counted[0] += 1

        relax_collector()
        loop = Loop("c", Slow(), settings, on_outcome=committed)
        signal.signal(signal.SIGTERM, lambda *_: loop.stop())
        done = threading.Event()

        def say() -> None:
            told = 0
            while not done.wait(0.05):
                if counted[0] > told:
                    print(f"{time.monotonic()} {counted[0] - told}", flush=True)
                    told = counted[0]

        teller = threading.Thread(target=say)
        teller.start()
        result = loop.run()
        done.set()
        teller.join()
        assert result.exit_code == 0, result.reason


def main() -> None:
    if "--way" in sys.argv:
        instance(**json.loads(sys.argv[sys.argv.index("--way") + 1]))
    else:
        assert KEYS >= 5 * LANES
        run(__doc__, measure)


if __name__ == "__main__":
    main()
