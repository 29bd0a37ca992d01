"""Instances of the daemon that are killed, frozen and brought back."""

import http.client
import random
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from faults.outside import Facility

# Of a record's way; whoever dies at one of them was at work.
STEPS = (
    *("handled", "begin", "produced", "offsets", "committed"),
    *("outcomes-read", "journalled", "projected"),
)
# With the program's own, 6 s, most of a soak is spent on waiting for who is dead.
SESSION_MS = 2000
# Longer than the session: its partitions are somebody else's by then.
FROZEN_S = 2.5 * SESSION_MS / 1000
_RECORDS = re.compile(r"^icat_stream_records_total\{.*\} (\d+)", re.MULTILINE)


@dataclass
class Instance:
    """One process."""

    process: subprocess.Popen[str]
    step: str
    health: str
    # Its health was asked for, with success: it ends in order from then on.
    listens: bool = False
    # When it was seen to have committed something, by its own metrics.
    worked: float | None = None
    patience: float = 0.0
    # When it is killed, whatever it has done.
    doomed: float = float("inf")
    frozen: float | None = None
    looked: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None


class Fleet:
    """Instances of the daemon, each in its place and with its identity."""

    def __init__(self, facility: Facility, size: int, seed: int) -> None:
        self._facility = facility
        self._chance = random.Random(seed)
        self.places: dict[str, Instance | None] = dict.fromkeys(
            f"instance-{n}" for n in range(size)
        )
        self.memory = 0
        self.thawed = 0
        self.exits: Counter[int] = Counter()
        # At a named step, or at random after it had committed something.
        self.kills: Counter[str] = Counter()
        self.idle_kills = 0

    @property
    def counted(self) -> int:
        """Kills of instances that had done some work."""
        return self.kills.total()

    def start(self, place: str, **environment: str) -> subprocess.Popen[str]:
        """Start an instance."""
        return self._facility.start(
            log=f"{place}.log",
            ICAT_STREAM_KAFKA__INSTANCE_ID=place,
            PYTHONFAULTHANDLER="1",
            **environment,
        )

    def turn(self, *, kill: bool = True) -> None:
        """Bring back who has ended, thaw who was frozen, and kill who has worked."""
        now = time.monotonic()
        for place, instance in self.places.items():
            if instance is None:
                self.places[place] = self._begin(place, kill=kill)
            elif not instance.alive:
                self._count(instance)
                self.places[place] = self._begin(place, kill=kill)
            elif instance.frozen is not None:
                if now - instance.frozen > FROZEN_S:
                    instance.process.send_signal(signal.SIGCONT)
                    instance.frozen = None
                    # What it does now is what it was frozen for.
                    instance.worked, instance.patience = None, FROZEN_S
                    self.thawed += 1
            else:
                self._look(instance, now)
                due = now if instance.worked is None else instance.worked
                if kill and now > min(due + instance.patience, instance.doomed):
                    instance.process.kill()

    def disarm(self) -> None:
        """Kill those that were told to die at some step and have not come to it."""
        for instance in self.places.values():
            if instance is not None and instance.alive and instance.step:
                instance.step = ""
                instance.process.kill()
                instance.process.wait(30)

    def _begin(self, place: str, *, kill: bool) -> Instance:
        step = ""
        if kill and self._chance.random() < 0.5:
            step = self._chance.choice(STEPS)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            health = f"127.0.0.1:{probe.getsockname()[1]}"
        environment = {"ICAT_STREAM_HEALTH__LISTEN": health}
        if step:
            environment["ICAT_STREAM_FAULT"] = f"{step}:{self._chance.randint(1, 8)}"
        # Most at once, to the middle of their work; some live on for a while.
        patience = self._chance.expovariate(1.0)
        instance = Instance(
            self.start(place, **environment), step, health, patience=patience
        )
        if kill and self._chance.random() < 0.05:
            instance.doomed = time.monotonic() + self._chance.uniform(0, 3)
        return instance

    def _look(self, instance: Instance, now: float) -> None:
        if now - instance.looked < 0.2:
            return
        instance.looked = now
        self.memory = max(self.memory, _resident(instance.process.pid))
        if instance.worked is None:
            try:
                url = f"http://{instance.health}/metrics"
                with urllib.request.urlopen(url, timeout=1) as answer:
                    page = answer.read().decode()
            except (OSError, http.client.HTTPException):
                # It does not listen yet, or is busy dying.
                return
            instance.listens = True
            if any(int(count) for count in _RECORDS.findall(page)):
                instance.worked = now

    def _count(self, instance: Instance) -> None:
        code = instance.process.returncode
        self.exits[code] += 1
        if code != -signal.SIGKILL:
            return
        if instance.worked is not None:
            self.kills["at random"] += 1
        elif instance.step:
            self.kills[f"at {instance.step}"] += 1
        else:
            self.idle_kills += 1

    @property
    def complete(self) -> bool:
        """Whether all run, thawed and far enough to be stopped in order."""
        return all(
            instance is not None
            and instance.alive
            and instance.frozen is None
            and instance.listens
            for instance in self.places.values()
        )

    def anybody(self, *, worked: bool = False) -> Instance | None:
        """Return one of those that run."""
        found = [
            i
            for i in self.places.values()
            if i is not None
            and i.alive
            and i.frozen is None
            and (not worked or i.worked is not None)
        ]
        return self._chance.choice(found) if found else None

    def anywhere(self) -> str:
        """Return one of the places."""
        return self._chance.choice(list(self.places))

    def stop(self) -> list[int]:
        """End all of them in order; return the exit codes of those that did not."""
        for instance in self.places.values():
            if instance is not None and instance.alive:
                instance.process.send_signal(signal.SIGCONT)
                instance.process.terminate()
        codes = []
        for instance in self.places.values():
            if instance is None:
                continue
            try:
                codes.append(instance.process.wait(60))
            except subprocess.TimeoutExpired:
                # Its stacks are in the log then.
                instance.process.send_signal(signal.SIGABRT)
                codes.append(instance.process.wait(10))
            self._count(instance)
        return [code for code in codes if code]


def _resident(pid: int) -> int:
    """Return a process's memory in MB."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) // 1024
    except OSError:
        pass
    return 0
