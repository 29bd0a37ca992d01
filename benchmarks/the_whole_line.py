"""P1 and P4: from announcements of small settled files to datasets, on real Kafka.

P1's baseline is a new process a file, two at a time, as others work: our one-shot.
P4's is the catalogue's call for one dataset, as the journal has it, plus one
transaction of a bare producer.
"""

import json
import sqlite3
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from confluent_kafka import Producer

from facility import BIN, Facility, cpu_seconds, facility
from measuring import PATIENCE_S, Result, run

WARM = 20
INSTANCES = (1, 2, 4)
# The second is for machines that cannot do the first.
RATES = (50.0, 20.0)
# So late that one instance waits and does not compute: what others add is seen then.
LATE_S = 0.2


def measure(quick: bool) -> list[Result]:
    """Return throughput at two latencies, the curve of instances, and latency."""
    files, singles, steady = (200, 6, 200) if quick else (1000, 20, 1500)
    found = []
    with facility() as bench:
        bench.share_out(INSTANCES[-1])
        bench.daemon(ICAT_STREAM_KAFKA__INSTANCE_ID="first")
        bench.announce(bench.write(WARM))
        _wait_for_rows(bench, WARM)
        bench.open_events()
        for milliseconds in (0, 20):
            bench.hurt("clear")
            if milliseconds:
                bench.hurt("latency", seconds=milliseconds / 1000, count=None)
            alone = _one_by_one(bench, singles)
            rate, note = _throughput(bench, files)
            found.append(
                Result(
                    number="P1",
                    what=f"announcements to datasets, catalogue {milliseconds} ms late",
                    ours=f"{rate:.1f}/s",
                    baseline=f"a process a file, two at a time: {alone:.2f}/s",
                    ratio=rate / alone,
                    wanted="≥ 100",
                    note=note,
                )
            )
        bench.hurt("clear")
        found += [_latency(bench, steady, rate) for rate in RATES]
        bench.hurt("latency", seconds=LATE_S, count=None)
        one = 0.0
        for instances in INSTANCES:
            while sum(name.startswith("daemon") for name in bench.pids()) < instances:
                bench.daemon(ICAT_STREAM_KAFKA__INSTANCE_ID=f"more-{time.time_ns()}")
            # Joined, and warm.
            time.sleep(8)
            bench.announce(bench.write(WARM * instances))
            bench.events(WARM * instances)
            rate, note = _throughput(bench, files)
            one = one or rate
            found.append(
                Result(
                    number="P1",
                    what=f"{instances} instances, catalogue {LATE_S * 1e3:.0f} ms late",
                    ours=f"{rate:.1f}/s",
                    baseline=f"one: {one:.1f}/s",
                    ratio=rate / one,
                    note=note,
                )
            )
    return found


def _wait_for_rows(bench: Facility, count: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if len(_rows(bench)) >= count:
                return
        except sqlite3.OperationalError:
            # The daemon has not made its tables yet.
            pass
        time.sleep(0.2)
    raise SystemExit("the daemon does not get on")


def _rows(bench: Facility) -> list[dict[str, float]]:
    path = bench.endpoints["journal"].removeprefix("sqlite:///")
    with sqlite3.connect(path, timeout=30) as connection:
        rows = connection.execute(
            "SELECT steps FROM outcomes WHERE state = 'committed' ORDER BY written_at"
        ).fetchall()
    connection.close()
    return [json.loads(row[0]) for row in rows]


def _one_by_one(bench: Facility, count: int) -> float:
    files = bench.write(count)

    def single(path: Path) -> None:
        subprocess.run(
            [BIN / "icat_background_ingestor", "-c", bench.config, "--file", path],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(single, [each.path for each in files]))
    took = time.perf_counter() - begun
    bench.events(count)
    return count / took


def _throughput(bench: Facility, count: int) -> tuple[float, str]:
    files = bench.write(count)
    size = statistics.mean(each.path.stat().st_size for each in files)
    pids = bench.pids()
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    begun = time.perf_counter()
    bench.announce(files)
    bench.events(count)
    took = time.perf_counter() - begun
    used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    shares = ", ".join(
        f"{name} {seconds / took:.2f}"
        for name, seconds in used.items()
        if seconds / took > 0.02
    )
    return count / took, f"{size / 1000:.0f} kB files; cores used: {shares}"


def _latency(bench: Facility, count: int, rate: float) -> Result:
    before = len(_rows(bench))
    files = bench.write(count)
    with ThreadPoolExecutor(1) as pool:
        announcing = pool.submit(bench.announce, files, rate)
        events = bench.events(count)
        announcing.result()
    sent = _sent(
        bench, {tuple(json.loads(e.value())["origin"].values()) for e in events}
    )
    took = sorted(
        (
            event.timestamp()[1]
            - sent[tuple(json.loads(event.value())["origin"].values())]
        )
        / 1000
        for event in events
    )
    calls = sorted(row["apply"] for row in _rows(bench)[before:])
    transaction = _transaction(bench)
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    call50, call99 = calls[len(calls) // 2], calls[int(len(calls) * 0.99)]
    base50, base99 = call50 + transaction, call99 + transaction
    return Result(
        number="P4",
        what=f"latency at {rate:.0f}/s, produce to event",
        ours=f"p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms",
        baseline=f"call + transaction: p50 {base50 * 1e3:.0f} ms,"
        f" p99 {base99 * 1e3:.0f} ms",
        ratio=p50 / base50,
        wanted="≤ 2",
        note=f"p99 is {(p99 - base99) * 1e3:+.0f} ms from its baseline, wanted +250",
    )


def _sent(
    bench: Facility, places: set[tuple[str, int, int]]
) -> dict[tuple[str, int, int], int]:
    path = bench.endpoints["journal"].removeprefix("sqlite:///")
    with sqlite3.connect(path, timeout=30) as connection:
        rows = connection.execute(
            "SELECT origin_topic, origin_partition, origin_offset, origin_time"
            " FROM outcomes"
        ).fetchall()
    connection.close()
    return {row[:3]: row[3] for row in rows if row[:3] in places}


def _transaction(bench: Facility) -> float:
    producer = Producer(
        {
            "bootstrap.servers": bench.endpoints["kafka"],
            "transactional.id": "benchmark",
            "linger.ms": 0,
        }
    )
    producer.init_transactions(PATIENCE_S)
    took = []
    for _ in range(20):
        # Well apart: back to back they wait for each other's markers.
        time.sleep(0.1)
        begun = time.perf_counter()
        producer.begin_transaction()
        producer.produce("icat-stream.dead-letters", b"x")
        producer.commit_transaction(PATIENCE_S)
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def main() -> None:
    run(__doc__, measure)


if __name__ == "__main__":
    sys.exit(main())
