"""P7: what a daemon costs before it does anything, against importing what it imports.

The modules are those that a daemon has imported by its first record, in the same
order; our own are left out.  CPU and memory are the main process's; its children, which
read files, are counted apart.
"""

import compileall
import json
import statistics
import subprocess
import sys
import time

import icat_stream
from facility import BIN, Facility, facility, own_cpu_seconds
from measuring import PATIENCE_S, Result, resident, run

OWN = "icat_stream"


def measure(quick: bool) -> list[Result]:
    """Return CPU until the first record, and memory at rest and under load."""
    rounds, load = (3, 300) if quick else (7, 3000)
    # As an installed package is, and as those are that the baseline imports.
    compileall.compile_dir(icat_stream.__path__[0], quiet=1)
    with facility() as bench:
        # Makes the topics.
        _first_record(bench, "warm-up")
        modules = _modules(bench)
        imports, starts = [], []
        for number in range(rounds):
            imports.append(_import(modules))
            starts.append(_first_record(bench, f"round-{number}"))
        loaded = _loaded(bench, load)
    cpu, base_cpu = (statistics.median(e["cpu"] for e in x) for x in (starts, imports))
    rss, base = (statistics.median(e["rss"] for e in x) for x in (starts, imports))
    return [
        Result(
            number="P7",
            what="CPU from start to the first record",
            ours=f"{cpu:.2f} s",
            baseline=f"{len(modules)} imports {base_cpu:.2f} s",
            ratio=cpu / base_cpu,
            wanted="≤ 1.5",
        ),
        Result(
            number="P7",
            what="memory of the main process at rest",
            ours=f"{rss:.0f} MB",
            baseline=f"imports {base:.0f} MB",
            ratio=rss / base,
            wanted="≤ 1.3",
        ),
        Result(
            number="P7",
            what=f"memory of the main process, {load} files in a row",
            ours=f"{loaded:.0f} MB",
            baseline="400 MB",
            ratio=loaded / 400,
            wanted="≤ 1",
        ),
    ]


def _modules(bench: Facility) -> list[str]:
    """Return what a daemon imports that is not ours."""
    bench.announce(bench.write(1))
    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", BIN / "icat_ingestor"),
            *("-c", bench.config, "--until-end"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, None] = {}
    for line in done.stderr.splitlines():
        if line.startswith("import time:") and "|" in line:
            name = line.rpartition("|")[2].strip()
            if name.partition(".")[0] not in (OWN, "imported package"):
                found[name] = None
    return list(found)


def _import(modules: list[str]) -> dict[str, float]:
    program = (
        "import contextlib, importlib, json, resource, sys\n"
        "for name in json.load(sys.stdin):\n"
        "    with contextlib.suppress(Exception):\n"
        "        importlib.import_module(name)\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "rss = [l for l in open('/proc/self/status') if l.startswith('VmRSS')][0]\n"
        "print(json.dumps({'cpu': used.ru_utime + used.ru_stime,"
        " 'rss': int(rss.split()[1]) / 1024}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(modules),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _first_record(bench: Facility, identity: str) -> dict[str, float]:
    """Start a daemon, and look at it when its first event is there."""
    bench.announce(bench.write(1))
    known = bench.event_count()
    process = bench.daemon(ICAT_STREAM_KAFKA__INSTANCE_ID=identity)
    end = time.monotonic() + PATIENCE_S
    while bench.event_count() == known:
        if time.monotonic() > end or process.poll() is not None:
            raise SystemExit("the daemon sends no event")
        time.sleep(0.02)
    cpu = own_cpu_seconds(process.pid)
    time.sleep(1)
    found = {"cpu": cpu, "rss": resident(process.pid)}
    bench.stop()
    return found


def _loaded(bench: Facility, count: int) -> float:
    process = bench.daemon(ICAT_STREAM_KAFKA__INSTANCE_ID="loaded")
    bench.open_events()
    bench.announce(bench.write(count))
    most = 0.0
    left = count
    while left:
        bench.events(min(left, 50))
        left -= min(left, 50)
        most = max(most, resident(process.pid))
    return most


def main() -> None:
    run(__doc__, measure)


if __name__ == "__main__":
    main()
