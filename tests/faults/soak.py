"""A long bad time for the daemon: announce, disturb, and check from outside.

    PYTHONPATH=tests python -m faults.soak --kills 1000 --minutes 60

Several instances of one group take in what is announced, while they are killed at
named steps and at random, frozen, stopped, doubled; the broker is killed and restarted
and gets more partitions; ICAT is slow, refuses, drops connections before and after the
write, answers nonsense and forgets its sessions; the journal is locked.  Some files are
announced before they are complete, some are replaced, some never come, some are no
files.  In the end everything must be there, once.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient, NewPartitions

from faults.outside import BIN, Facility
from icat_stream.sandbox.announcer import Announcer, write_files
from icat_stream.sandbox.kafka import JavaBroker
from icat_stream.sandbox.samples import SampleFile

SOURCE = "filewriter"
STEPS = (
    *("handled", "pending", "journalled", "begin", "produced", "offsets"),
    *("committed", "marked"),
)
# Longer than the session's timeout of 6 s: its partitions are somebody else's by then.
FROZEN_S = 8.0
# What was put off is looked at until it has ended, however busy the machine.
QUIET_S = 900.0
DRAIN_S = 900.0
PROGRESS_S = 15.0
BROKER = {
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}


@dataclass
class Announced:
    """What was announced, and what has to become of it."""

    datasets: set[str] = field(default_factory=set)
    bad: int = 0

    @property
    def count(self) -> int:
        """All of it."""
        return len(self.datasets) + self.bad


class Writer(threading.Thread):
    """Announces files of all kinds until told to stop."""

    def __init__(self, facility: Facility, rate: float, seed: int) -> None:
        super().__init__(name="writer", daemon=True)
        self.announced = Announced()
        self._facility = facility
        self._rate = rate
        self._chance = random.Random(seed)
        self._stopping = threading.Event()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self.trouble: BaseException | None = None

    def run(self) -> None:
        try:
            self._announce_all()
        except BaseException as error:
            self.trouble = error

    def stop(self) -> Announced:
        """End it, and return what it has announced."""
        self._stopping.set()
        self.join()
        if self.trouble is not None:
            raise self.trouble
        return self.announced

    def _announce_all(self) -> None:
        data = self._facility.folder / "data"
        announcer = Announcer(self._facility.endpoints["kafka"], SOURCE)
        files = write_files(data, layout="both", seed=1)
        while not self._stopping.wait(1 / self._rate):
            self._announce(announcer, next(files), data)
            now = time.monotonic()
            for due, act in self._later[:]:
                if due <= now:
                    act()
                    self._later.remove((due, act))
        for _, act in self._later:
            act()
        self._facility.patiently(announcer.flush)

    def _announce(self, announcer: Announcer, written: SampleFile, data: Path) -> None:
        path = written.path
        kind = self._chance.random()
        if kind < 0.03:
            # Announced, and complete only a while later.
            whole = path.with_suffix(".whole")
            path.rename(whole)
            path.write_bytes(whole.read_bytes()[:1000])
            self._in(2.5, lambda: whole.replace(path))
        elif kind < 0.06:
            copy = path.with_suffix(".copy")
            shutil.copy(path, copy)
            self._in(0.2, lambda: copy.replace(path))
        elif kind < 0.08:
            path.unlink()
        elif kind < 0.09:
            path.unlink()
            os.mkfifo(path)
        elif kind < 0.10:
            path.chmod(0o644)
            path.write_bytes(b"no HDF5 at all")
            os.utime(path, (1, 1))
        if 0.06 <= kind < 0.10:
            self.announced.bad += 1
        else:
            self.announced.datasets.add(_plain(path.stem))
        announcer.announce(written)

    def _in(self, seconds: float, act: Callable[[], Any]) -> None:
        self._later.append((time.monotonic() + seconds, act))


class Fleet:
    """Instances of the daemon, each in its place and with its identity."""

    def __init__(self, facility: Facility, size: int) -> None:
        self._facility = facility
        self.places: dict[str, subprocess.Popen[str] | None] = dict.fromkeys(
            f"instance-{n}" for n in range(size)
        )
        self.frozen: dict[str, float] = {}
        self.memory = 0
        self.exits: Counter[int] = Counter()

    def start(self, place: str, fault: str = "") -> subprocess.Popen[str]:
        """Start an instance."""
        environment = {"ICAT_STREAM_KAFKA__INSTANCE_ID": place}
        if fault:
            environment["ICAT_STREAM_FAULT"] = fault
        return self._facility.start(**environment)

    def look(self, fault: Callable[[], str]) -> None:
        """Bring back who has ended, thaw who was frozen, weigh who runs."""
        now = time.monotonic()
        for place, since in list(self.frozen.items()):
            if now - since > FROZEN_S:
                self.signal(place, signal.SIGCONT)
                del self.frozen[place]
        for place, process in self.places.items():
            if process is not None and process.poll() is not None:
                self.exits[process.returncode] += 1
                process = None
            if process is None:
                self.frozen.pop(place, None)
                self.places[place] = self.start(place, fault())
            else:
                self.memory = max(self.memory, _resident(process.pid))

    def signal(self, place: str, number: signal.Signals) -> bool:
        """Send a signal to an instance that runs."""
        process = self.places[place]
        if process is None or process.poll() is not None:
            return False
        process.send_signal(number)
        return True

    def stop(self) -> None:
        """End all of them in order."""
        for place in self.places:
            self.signal(place, signal.SIGCONT)
            self.signal(place, signal.SIGTERM)
        for process in self.places.values():
            if process is not None:
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise AssertionError("an instance does not stop") from None
                self.exits[process.returncode] += 1


class Disturber:
    """Does one bad thing after the other, and keeps count."""

    def __init__(
        self, facility: Facility, fleet: Fleet, broker: JavaBroker, seed: int
    ) -> None:
        self._facility = facility
        self._fleet = fleet
        self._broker = broker
        self._chance = random.Random(seed)
        self._partitions = 0
        self._helpers: list[threading.Thread] = []
        ready = json.loads((facility.folder / "run" / "icat.json").read_text())
        self._faults_url = f"{ready['admin']}/faults"
        self.done: Counter[str] = Counter()
        self._ways: list[tuple[int, str, Callable[[], None]]] = [
            (100, "SIGKILL", self._kill),
            (4, "SIGTERM", self._terminate),
            (3, "SIGSTOP", self._freeze),
            (2, "identity taken over", self._double),
            (3, "another instance joins and leaves", self._join),
            (1, "broker killed", self._kill_broker),
            (1, "partitions added", self._add_partitions),
            (4, "ICAT slow", lambda: self._icat("latency", seconds=0.5, count=20)),
            (3, "ICAT refuses", lambda: self._icat("refuse", seconds=2.0)),
            (4, "ICAT drops before", lambda: self._icat("drop_before", count=3)),
            (
                6,
                "ICAT drops after the write",
                lambda: self._icat("drop_after", count=3, match="create"),
            ),
            (3, "ICAT 503", lambda: self._icat("status", status=503, count=5)),
            (3, "ICAT HTML", lambda: self._icat("html", count=5)),
            (2, "ICAT database down", lambda: self._icat("database", count=5)),
            (4, "ICAT forgets sessions", lambda: self._icat("expire_sessions")),
            (3, "journal locked", self._lock_journal),
        ]

    def fault(self) -> str:
        """Return a step at which the next instance dies, or none."""
        if self._chance.random() < 0.5:
            return ""
        step = self._chance.choice(STEPS)
        return f"{step}:{self._chance.randint(1, 8)}"

    def disturb(self) -> None:
        """Do one bad thing."""
        weights = [weight for weight, *_ in self._ways]
        _, name, act = self._chance.choices(self._ways, weights)[0]
        act()
        self.done[name] += 1

    def end(self) -> None:
        """Let all be well again."""
        for helper in self._helpers:
            helper.join(60)
        self._broker.start()
        self._icat("clear")

    def _anybody(self) -> str:
        return self._chance.choice(list(self._fleet.places))

    def _kill(self) -> None:
        self._fleet.signal(self._anybody(), signal.SIGKILL)

    def _terminate(self) -> None:
        self._fleet.signal(self._anybody(), signal.SIGTERM)

    def _freeze(self) -> None:
        place = self._anybody()
        if self._fleet.signal(place, signal.SIGSTOP):
            self._fleet.frozen[place] = time.monotonic()

    def _double(self) -> None:
        """Start another one under the identity of one that runs."""
        place = self._anybody()
        self._aside(lambda: self._passing(place, signal.SIGKILL))

    def _join(self) -> None:
        place = f"guest-{self._chance.randint(0, 10**6)}"
        self._aside(lambda: self._passing(place, signal.SIGTERM))

    def _passing(self, place: str, number: signal.Signals) -> None:
        guest = self._fleet.start(place)
        time.sleep(6)
        guest.send_signal(number)
        guest.wait(60)

    def _kill_broker(self) -> None:
        self._broker.kill()
        time.sleep(1)
        self._broker.start()

    def _add_partitions(self) -> None:
        if self._partitions >= 4:
            return
        self._partitions += 1
        admin = AdminClient({"bootstrap.servers": self._broker.bootstrap})
        known = admin.list_topics(SOURCE, timeout=30).topics[SOURCE].partitions
        wanted = NewPartitions(SOURCE, len(known) + 1)
        for future in admin.create_partitions([wanted]).values():
            future.result(30)

    def _icat(self, kind: str, **details: Any) -> None:
        body = json.dumps({"kind": kind, **details}).encode()
        request = urllib.request.Request(self._faults_url, body, method="POST")
        with urllib.request.urlopen(request, timeout=30):
            pass

    def _lock_journal(self) -> None:
        seconds = self._chance.choice((1.0, 3.0, 13.0))
        self._aside(lambda: self._facility.hold_journal(seconds))

    def _aside(self, act: Callable[[], None]) -> None:
        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        self._helpers = [each for each in self._helpers if each.is_alive()]
        self._helpers.append(thread)


def check(facility: Facility, announced: Announced) -> list[str]:
    """Return what is wrong in the end, from outside."""
    wrong = []

    def expect(holds: bool, what: str) -> None:
        if not holds:
            wrong.append(what)

    datasets, datafiles = facility.datasets()
    names = {_plain(name) for name in datasets}
    expect(
        names == announced.datasets,
        f"datasets missing: {sorted(announced.datasets - names)[:5]},"
        f" too many: {sorted(names - announced.datasets)[:5]}",
    )
    twice = [name for name, count in datasets.items() if count > 1]
    expect(len(names) == len(datasets), "datasets under two names")
    expect(not twice, f"datasets twice: {twice[:5]}")
    expect(datafiles == len(names), f"{datafiles} datafiles of {len(names)} datasets")
    incomplete = facility.incomplete()
    expect(not incomplete, f"half datasets: {incomplete[:5]}")

    events = [json.loads(value) for value in facility.read("icat-stream.events")]
    origins = [tuple(event["origin"].values()) for event in events]
    _once(origins, len(announced.datasets), "events", expect)
    letters = [
        (
            headers["icat-stream.topic"].decode(),
            int(headers["icat-stream.partition"]),
            int(headers["icat-stream.offset"]),
        )
        for headers in facility.headers("icat-stream.dead-letters")
    ]
    _once(letters, announced.bad, "dead letters", expect)
    expect(not set(origins) & set(letters), "both an event and a dead letter")

    rows = facility.journal(
        "SELECT origin_topic, origin_partition, origin_offset, state, outcome"
        " FROM outcomes"
    )
    pending = [row for row in rows if row[3] != "committed"]
    expect(not pending, f"{len(pending)} journal rows are pending: {pending[:3]}")
    ends = [row[:3] for row in rows if row[4] != "deferred"]
    _once(ends, announced.count, "journal rows", expect)
    rejected = {row[:3] for row in rows if row[4] == "rejected"}
    expect(
        rejected == set(letters), "the journal's rejections are not the dead letters"
    )

    put_off = {row[:3] for row in rows if row[4] == "deferred"}
    expect_order(events, put_off, facility, expect)
    for topic, partition, end in facility.ends(SOURCE):
        offset = facility.committed().get((topic, partition), 0)
        expect(offset == end, f"{topic}[{partition}]: committed {offset} of {end}")
    return wrong


def expect_order(
    events: list[dict[str, Any]],
    put_off: set[tuple[Any, ...]],
    facility: Facility,
    expect: Callable[[bool, str], None],
) -> None:
    """Events of one key and one partition come in order, but for what was put off."""
    last: dict[tuple[Any, ...], int] = defaultdict(lambda: -1)
    for event in events:
        topic, partition, offset = event["origin"].values()
        if (topic, partition, offset) in put_off:
            continue
        key = (*event["investigation"].values(), partition)
        expect(offset > last[key], f"{topic}[{partition}]@{offset} is out of order")
        last[key] = offset


def _once(
    found: list[tuple[Any, ...]],
    wanted: int,
    what: str,
    expect: Callable[[bool, str], None],
) -> None:
    twice = [each for each, count in Counter(found).items() if count > 1]
    expect(not twice, f"{what} twice: {twice[:5]} ({len(twice)})")
    expect(len(set(found)) == wanted, f"{len(set(found))} {what}, not {wanted}")


def _plain(name: str) -> str:
    """Return a file's or dataset's name as instruments of all layouts agree on."""
    return name.replace("_", "").lower()


def _resident(pid: int) -> int:
    """Return a process's memory in MB."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) // 1024
    except OSError:
        pass
    return 0


def soak(
    folder: Path, *, kills: int, minutes: float, rate: float, size: int, seed: int
) -> list[str]:
    """Do all of it; return what was wrong."""
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
                retries={"delays": ["1s", "3s", "10s"]},
                files={"settle": "1s", "settle_deadline": "5s"},
                health={"listen": "127.0.0.1:0"},
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
) -> list[str]:
    begun = time.monotonic()
    fleet = Fleet(facility, size)
    disturber = Disturber(facility, fleet, broker, seed)
    writer = Writer(facility, rate, seed)
    writer.start()
    chance = random.Random(seed + 1)
    said = begun
    done = 0
    try:
        while fleet.exits[-signal.SIGKILL] < kills:
            now = time.monotonic()
            if now - begun > minutes * 60:
                break
            fleet.look(disturber.fault)
            disturber.disturb()
            # Whoever is killed before it has done anything proves nothing.
            done = _wait_for_progress(facility, fleet, disturber, done)
            if now - said > 30:
                said = now
                print(
                    f"{now - begun:6.0f} s: {fleet.exits[-signal.SIGKILL]} kills,"
                    f" {done} of {writer.announced.count} done",
                    flush=True,
                )
            time.sleep(chance.uniform(0.0, 0.5))
    finally:
        announced = writer.stop()
        disturber.end()
        fleet.stop()
    killed = fleet.exits[-signal.SIGKILL]
    # What was put off is due within 10 s; the second run finds what the first put off.
    end = time.monotonic() + QUIET_S
    while facility.run_until_end(DRAIN_S)["deferred"] and time.monotonic() < end:
        time.sleep(2)
    wrong = check(facility, announced)
    took = time.monotonic() - begun
    print(
        f"{killed} kills in {took / 60:.1f} minutes, {len(announced.datasets)} files"
        f" and {announced.bad} bad ones announced, {size} instances"
    )
    print("disturbances:", dict(disturber.done.most_common()))
    print("exit codes:", dict(fleet.exits.most_common()))
    print(f"largest main process: {fleet.memory} MB")
    print("findings:", *(wrong or ["none"]), sep="\n  ")
    return wrong


def _wait_for_progress(
    facility: Facility, fleet: Fleet, disturber: Disturber, before: int
) -> int:
    """Wait until more is done than before, though not for ever."""
    end = time.monotonic() + PROGRESS_S
    while True:
        fleet.look(disturber.fault)
        done = facility.done()
        if done > before or time.monotonic() > end:
            return done
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--rate", type=float, default=10, help="files a second")
    parser.add_argument("--instances", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"seed {options.seed}", flush=True)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    wrong = soak(
        folder,
        kills=options.kills,
        minutes=options.minutes,
        rate=options.rate,
        size=options.instances,
        seed=options.seed,
    )
    if options.keep is None and not wrong:
        shutil.rmtree(folder)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
