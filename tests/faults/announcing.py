"""Announces files of all kinds, and knows what has to become of them."""

import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.outside import Facility
from icat_stream.sandbox.announcer import Announcer, write_files
from icat_stream.sandbox.samples import SampleFile

SOURCE = "filewriter"
# More would only wait, and have to be waited for in the end.
BACKLOG = 200


@dataclass
class Announced:
    """What was announced, and what has to become of it."""

    datasets: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    # Gone at some moment: whoever was quicker decides.
    either: set[str] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """All of it."""
        return self.kinds.total()


class Writer(threading.Thread):
    """Announces files until told to stop, as fast as they are taken in."""

    def __init__(self, facility: Facility, rate: float, seed: int) -> None:
        super().__init__(name="writer", daemon=True)
        self.announced = Announced()
        self.done = 0
        self._facility = facility
        self._data = facility.folder / "data"
        self._rate = rate
        self._chance = random.Random(seed)
        self._stopping = threading.Event()
        self._later: list[tuple[float, Callable[[], Any]]] = []
        self._looked = 0.0
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
        announcer = Announcer(self._facility.endpoints["kafka"], SOURCE)
        files = write_files(self._data, layout="both", seed=1)
        while not self._stopping.wait(1 / self._rate):
            if self._has_room():
                self._announce(announcer, next(files))
            self._catch_up(time.monotonic())
        self._catch_up(float("inf"))
        self._facility.patiently(announcer.flush)

    def _has_room(self) -> bool:
        now = time.monotonic()
        if now - self._looked > 2:
            self._looked = now
            self.done = self._facility.done()
        return self.announced.count - self.done < BACKLOG

    def _catch_up(self, now: float) -> None:
        for due, act in self._later[:]:
            if due <= now:
                act()
                self._later.remove((due, act))

    def _announce(self, announcer: Announcer, written: SampleFile) -> None:
        kinds = {
            "whole": (90, self.announced.datasets),
            "announced before it is closed": (3, self.announced.datasets),
            "replaced while it is read": (3, self.announced.datasets),
            "unreadable for a while": (1, self.announced.datasets),
            "never written": (1, self.announced.bad),
            "unreadable": (1, self.announced.bad),
            "a FIFO": (1, self.announced.bad),
            "no HDF5": (1, self.announced.bad),
            "removed": (2, self.announced.either),
        }
        weights = [weight for weight, _ in kinds.values()]
        (kind,) = self._chance.choices(list(kinds), weights)
        path = written.path
        match kind:
            case "announced before it is closed":
                whole = path.with_suffix(".whole")
                path.rename(whole)
                path.write_bytes(whole.read_bytes()[:1000])
                self._in(2.5, lambda: whole.replace(path))
            case "replaced while it is read":
                copy = path.with_suffix(".copy")
                # With its times: whoever dies between the dataset and its commit would
                # rightly find another dataset than the file says.
                shutil.copy2(path, copy)
                self._in(self._chance.uniform(0, 0.5), lambda: copy.replace(path))
            case "unreadable for a while":
                path.chmod(0)
                self._in(2.5, lambda: path.chmod(0o444))
            case "never written":
                path.unlink()
            case "unreadable":
                path.chmod(0)
            case "a FIFO":
                path.unlink()
                os.mkfifo(path)
            case "no HDF5":
                path.chmod(0o644)
                path.write_bytes(b"no HDF5 at all")
                os.utime(path, (1, 1))
            case "removed":
                self._in(self._chance.uniform(0, 1), path.unlink)
        kinds[kind][1].add(plain(path))
        self.announced.kinds[kind] += 1
        announcer.announce(written)

    def _in(self, seconds: float, act: Callable[[], Any]) -> None:
        self._later.append((time.monotonic() + seconds, act))


def plain(file: Path | str) -> str:
    """Return a file's or dataset's name as instruments of all layouts agree on."""
    return Path(file).stem.replace("_", "").lower()
