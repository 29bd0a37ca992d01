"""A long bad time for the daemon: announce, disturb, and check from outside.

    PYTHONPATH=tests python -m faults.soak --kills 1000 --minutes 60

Several instances of one group take in what is announced, while each of them is killed
again and again, at a named step or at random once it has done some work, and while the
things of `faults.disturbing` go wrong.  Some files are announced before they are
complete, some are replaced or removed, some never come, some cannot be read.  In the
end everything must be there, once.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from faults.announcing import Announced, Writer
from faults.checking import check
from faults.disturbing import Disturber
from faults.fleet import SESSION_MS, Fleet
from faults.outside import BIN, Facility
from icat_stream.sandbox.kafka import JavaBroker

# What was put off is looked at until it has ended, however busy the machine.
QUIET_S = 900.0
DRAIN_S = 900.0
# After this all sessions of those that were killed have expired, and the living ones
# have new ones, which they have to end.
RENEW_S = 3.0
START_S = 60.0
DISORDER = "an instance did not stop in order"
BROKER = {
    "group.min.session.timeout.ms": str(SESSION_MS),
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}


def soak(
    folder: Path, *, kills: int, minutes: float, rate: float, size: int, seed: int
) -> tuple[list[str], list[str]]:
    """Do all of it; return what was wrong, and what there was no time for."""
    with JavaBroker(folder / "kafka", properties=BROKER, tied=True) as broker:
        place = folder / "facility"
        command = [BIN / "icat_stream", "sandbox"]
        subprocess.run(
            [*command, "up", "--dir", place, "--kafka", broker.bootstrap, "--detach"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        try:
            facility = Facility(place)
            facility.configure(
                kafka={
                    "client": {
                        "session.timeout.ms": SESSION_MS,
                        "heartbeat.interval.ms": SESSION_MS // 4,
                    }
                },
                retries={"delays": ["1s", "3s", "10s"]},
                # What is left in the end are the bad ones, hundreds of a long run.
                limits={"rejects": {"minimum": 1_000_000}},
                # Longer waits would begin anew with each kill, and so does each process
                # that reads.
                files={
                    "settle": "500ms",
                    "settle_deadline": "1s",
                    "deadline": "5s",
                    "workers": 1,
                },
            )
            return _soak(facility, broker, kills, minutes, rate, size, seed)
        finally:
            subprocess.run([*command, "down", "--dir", place], check=True)


def _soak(
    facility: Facility,
    broker: JavaBroker,
    kills: int,
    minutes: float,
    rate: float,
    size: int,
    seed: int,
) -> tuple[list[str], list[str]]:
    begun = time.monotonic()
    fleet = Fleet(facility, size, seed)
    disturber = Disturber(facility, fleet, broker, seed)
    writer = Writer(facility, rate, seed)
    writer.start()
    try:
        _disturb(fleet, disturber, writer, kills, begun + minutes * 60, seed)
        disturber.end()
        # Whoever died after this would leave a session.
        fleet.disarm()
        facility.icat_fault("expire_sessions")
        begun_again = time.monotonic()
        while (now := time.monotonic() - begun_again) < RENEW_S or (
            now < START_S and not fleet.complete
        ):
            fleet.turn(kill=False)
            time.sleep(0.1)
    finally:
        announced = writer.stop()
        codes = fleet.stop()
    # What was put off is due within 10 s; the second run finds what the first put off.
    end = time.monotonic() + QUIET_S
    while facility.run_until_end(DRAIN_S)["deferred"] and time.monotonic() < end:
        time.sleep(2)
    wrong = check(facility, announced, sessions=not codes)
    if codes:
        wrong.append(f"{DISORDER} (exit codes {codes}): see the logs")
    short = [f"{name}: never happened" for name in disturber.missing]
    if fleet.counted < kills:
        short.append(f"{fleet.counted} kills that count, not {kills}")
    if not fleet.thawed:
        short.append("nobody was thawed")
    _report(fleet, disturber, announced, time.monotonic() - begun)
    print("findings:", *(wrong or ["none"]), sep="\n  ")
    print("there was no time for:", *(short or ["nothing"]), sep="\n  ", flush=True)
    return wrong, short


def _disturb(
    fleet: Fleet,
    disturber: Disturber,
    writer: Writer,
    kills: int,
    end: float,
    seed: int,
) -> None:
    chance = random.Random(seed + 1)
    begun = said = moved = time.monotonic()
    due = begun + 5
    done, longest = 0, 0.0
    while fleet.counted < kills or disturber.missing or not fleet.thawed:
        now = time.monotonic()
        if now > end:
            break
        fleet.turn()
        disturber.turn()
        if now > due:
            disturber.disturb()
            due = now + chance.uniform(1.0, 5.0)
        if writer.done != done:
            done, moved = writer.done, now
        longest = max(longest, now - moved)
        if now - said > 30:
            said = now
            print(
                f"{now - begun:6.0f} s: {fleet.counted} kills, {writer.done} of"
                f" {writer.announced.count} done",
                flush=True,
            )
        time.sleep(0.02)
    print(f"longest time without a record done: {longest:.0f} s")


def _report(
    fleet: Fleet, disturber: Disturber, announced: Announced, took: float
) -> None:
    print(
        f"{fleet.counted} kills of instances that had done work in {took / 60:.1f}"
        f" minutes, {fleet.idle_kills} of others, {fleet.thawed} thawed,"
        f" {len(fleet.places)} instances"
    )
    print("kills:", dict(fleet.kills.most_common()))
    print("disturbances:", dict(disturber.done.most_common()))
    print(f"{announced.count} announced:", dict(announced.kinds.most_common()))
    print("exit codes:", dict(fleet.exits.most_common()))
    print(f"largest main process: {fleet.memory} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--rate", type=float, default=20, help="files a second, most")
    parser.add_argument("--instances", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"seed {options.seed}", flush=True)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    wrong, short = soak(
        folder,
        kills=options.kills,
        minutes=options.minutes,
        rate=options.rate,
        size=options.instances,
        seed=options.seed,
    )
    if options.keep is None and not wrong:
        shutil.rmtree(folder)
    sys.exit(1 if wrong or short else 0)


if __name__ == "__main__":
    main()
