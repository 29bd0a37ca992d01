"""Hostile input for every reader: mutated messages, documents, HDF5 files, calls.

    PYTHONPATH=tests python -m faults.fuzz --messages 10000000 --files 1000

Anything but an answer or the readers' own exceptions is a finding, and so is an input
that takes long; for messages and documents also memory that grows.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from streaming_data_types import (
    serialise_6s4t,
    serialise_answ,
    serialise_x5f2,
)

from icat_stream.messages import (
    Action,
    ActionOutcome,
    FinishedWriting,
    RunStart,
    Undecodable,
    decode,
    encode,
    read_document,
)
from icat_stream.nexus import NexusReader
from icat_stream.records import Failure
from icat_stream.sandbox.announcer import write_files

from .fuzz_calls import fuzz_calls

SLOW_S = 0.5
GROWTH_MB = 50
INTERESTING = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80")
DATASET = {
    "investigation": "2026-0001",
    "instrument": {"name": "bl06"},
    "name": "scan 1",
    "start_date": "2026-07-01T10:00:00+02:00",
    "parameters": [{"name": f"p{n}", "value": str(n)} for n in range(5)],
    "datafiles": [{"location": f"a/{n}.h5", "size": n} for n in range(3)],
}
XML = (
    b'<?xml version="1.0" encoding="UTF-8"?><tns:dataset xmlns:tns="urn:x">'
    b"<tns:investigation>2026-0001</tns:investigation><tns:name>a&amp;b</tns:name>"
    b"<tns:parameter><tns:name>x</tns:name><tns:value>1</tns:value></tns:parameter>"
    b"</tns:dataset>"
)
PATHS = ("/entry/title", "/entry/*/value", "/entry/instrument/name", "{entry}/sample")


def messages() -> list[bytes]:
    """Return one well-formed message of each kind."""
    return [
        encode(
            FinishedWriting(
                service_id="writer",
                job_id="j" * 36,
                file_name="/d/a.nxs",
                metadata="{}",
            )
        ),
        encode(RunStart(job_id="j" * 36, instrument_name="bl06", run_name="1")),
        serialise_6s4t(stop_time=2000, run_name="1", job_id="j" * 36),
        serialise_x5f2("writer", "1.0", "writer-1", "host", 7, 2000, "{}"),
        serialise_answ(
            "writer-1",
            "job-1",
            "command-1",
            Action.START_JOB,
            ActionOutcome.SUCCESS,
            "",
            200,
            datetime(2026, 7, 1, tzinfo=UTC),
        ),
    ]


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """Return something that was well-formed once."""
    data = bytearray(seed)
    for _ in range(1 + int(chance.expovariate(0.7))):
        where = chance.randrange(len(data) or 1)
        match chance.randrange(6):
            case 0:
                data[where : where + 1] = bytes((chance.randrange(256),))
            case 1:
                data[where : where + 4] = chance.choice(INTERESTING)
            case 2:
                del data[where : where + chance.randrange(1, 9)]
            case 3:
                data[where:where] = data[: chance.randrange(1, 17)]
            case 4:
                del data[where:]
            case _:
                if where < len(data):
                    data[where] ^= 1 << chance.randrange(8)
    return bytes(data)


def fuzz_values(
    read: Callable[[bytes], object], seeds: Sequence[bytes], count: int, seed: int
) -> list[str]:
    """Give a reader mutated values; return what was wrong."""
    chance = random.Random(seed)
    wrong: list[str] = []
    for seed_value in seeds:
        read(seed_value)
    before = _peak()
    for number in range(count):
        value = mutated(chance.choice(seeds), chance)
        # Of this thread's own time: others may keep the machine busy.
        begun = time.thread_time()
        try:
            read(value)
        except Undecodable:
            pass
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}: {value.hex()}")
        took = time.thread_time() - begun
        if took > SLOW_S:
            wrong.append(f"{took:.1f} s: {value.hex()}")
        if len(wrong) > 20:
            wrong.append(f"given up after {number:,}")
            break
    if _peak() - before > GROWTH_MB:
        wrong.append(f"memory grew by {_peak() - before} MB")
    return wrong


def fuzz_files(count: int, seed: int) -> list[str]:
    """Read damaged files; return what was wrong."""
    chance = random.Random(seed)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_files(folder / "seeds", layout="both")
        seeds = [next(files).path.read_bytes() for _ in range(4)]
        victim = folder / "victim.nxs"
        with NexusReader([folder], workers=1, deadline=2.0, settle=0) as reader:
            for _ in range(count):
                victim.unlink(missing_ok=True)
                victim.write_bytes(mutated(chance.choice(seeds), chance))
                victim.chmod(0o444)
                begun = time.perf_counter()
                try:
                    reader.read(str(victim), PATHS)
                except Failure:
                    pass
                except Exception as error:
                    wrong.append(f"{type(error).__name__}: {error}")
                if time.perf_counter() - begun > 10:
                    wrong.append("a file took longer than its deadline")
    return wrong


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    documents = [json.dumps(DATASET).encode(), XML]
    wrong = []
    for what, count, act in (
        (
            "messages",
            options.messages,
            lambda n: fuzz_values(decode, messages(), n, options.seed),
        ),
        (
            "documents",
            options.documents,
            lambda n: fuzz_values(read_document, documents, n, options.seed),
        ),
        ("files", options.files, lambda n: fuzz_files(n, options.seed)),
        ("calls", options.calls, lambda n: fuzz_calls(n, options.seed)),
    ):
        begun = time.monotonic()
        found = act(count)
        took = time.monotonic() - begun
        print(f"{count:,} {what} in {took:.0f} s: {len(found)} findings", flush=True)
        for each in found:
            print("  " + each[:2000])
        wrong += found
    print(f"memory at most {_peak()} MB")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
