"""The service killed at each named step, and at random: nothing is lost.

``ICAT_STREAM_KILLS=500`` makes a long run of it; without it, each step once.
"""

import contextlib
import http.client
import math
import os
import random
import shutil
import threading
import time
from typing import Any

import icat
import pytest
from icat.ids import DataSelection

from dataservice.conftest import Site
from dataservice.two_levels import Service
from icat_stream.dataservice.check import Check, Finding, Kind, Repairs
from icat_stream.dataservice.settings import load

pytestmark = [pytest.mark.facility, pytest.mark.long]
KILLS = int(os.environ.get("ICAT_STREAM_KILLS", "0"))
STEPS = """
    put.received storage.placed put.stored put.noted put.catalogued
    delete.begin delete.uncatalogued delete.noted delete.removed
    write.begin write.copied write.committed write.before-finish
    archive.begin archive.removed archive.before-finish
    restore.begin restore.copied restore.committed restore.before-finish
""".split()
FILE_STEPS = "delete.unarchived delete.before-finish".split()
# With datafiles as units, of what both kinds have only this is done in another way.
BRIEFLY = ["put.noted", "put.catalogued", *FILE_STEPS]
_ENOUGH = 100
FAILURES = (OSError, http.client.HTTPException, icat.exception.IDSError)


class Killed:
    """A service that is killed and started again, and what it promised."""

    def __init__(self, site: Site, unit: str) -> None:
        self.service = Service(site, f"killed-{unit}", storage_unit=unit)
        self.client = site.client
        self.promised: dict[int, bytes] = {}
        self.sent: dict[str, bytes] = {}
        self.number = 0
        self.orphans = 0

    def round(self, fault: str | None, after: float | None = None) -> None:
        """Work until the service dies of a fault, or is killed after a time."""
        with pytest.MonkeyPatch.context() as patch:
            if fault:
                patch.setenv("ICAT_STREAM_FAULT", fault)
            self.service.start()
        assert self.service.child is not None
        process = self.service.child._process
        killer = None
        if after is not None:
            killer = threading.Timer(after, process.kill)
            killer.start()
        try:
            while process.poll() is None:
                self.work()
        finally:
            if killer:
                killer.cancel()
                killer.join()
            self.service.stop()

    def work(self) -> None:
        """Put, write, archive, restore, delete."""
        self.number += 1
        with contextlib.suppress(*FAILURES):
            dataset = self.service.dataset(f"{self.number}")
            files = [self.put(dataset, name) for name in "abc"]
            self.drive(dataset, "archive", "ARCHIVED")
            self.drive(dataset, "restore", "ONLINE")
            self.delete(files[0])
            self.put(dataset, "d")
            self.drive(dataset, "write", "ONLINE")

    def put(self, dataset: Any, name: str) -> int:
        content = os.urandom(2000)
        self.sent[f"{dataset.id}/{name}"] = content
        file = self.service.put(dataset, name, content)
        self.promised[file] = content
        return file

    def drive(self, dataset: Any, call: str, status: str) -> None:
        getattr(self.service.ids, call)(DataSelection([dataset]))
        end = time.monotonic() + 60
        while self.service.queue() and time.monotonic() < end:
            time.sleep(0.01)
        assert self.service.status(dataset) == status

    def delete(self, file: int) -> None:
        # From here on either is right.
        del self.promised[file]
        self.service.ids.delete(DataSelection({"datafileIds": [file]}))

    def settled(self) -> None:
        """Start again, let the queue run empty, and check everything."""
        self.service.start()
        try:
            self.service.idle()
            assert self.service.service_status()["failures"] == []
            self.entries_have_files()
            found = self.check()
            kinds = {finding.kind for finding in found}
            assert kinds <= {Kind.ORPHAN, Kind.ARCHIVE_ORPHAN}, found
            self.orphans += len(found)
            assert all(f.repaired for f in self.check(files=True, older_than=0))
            assert self.check() == []
        finally:
            self.service.stop()
        if len(self.promised) > _ENOUGH:
            self.forget()

    def forget(self) -> None:
        """Begin with nothing: looking at everything takes longer each time."""
        named = f"Dataset [name LIKE '{self.service.name} %']"
        self.client.deleteMany(self.client.search(named))
        shutil.rmtree(self.service.path)
        settings = self.service.settings
        self.service = Service(self.service.site, self.service.name, **settings)
        self.promised.clear()
        self.sent.clear()

    def entries_have_files(self) -> None:
        query = "SELECT df FROM Datafile df INCLUDE df.dataset"
        known = {}
        for file in self.client.search(f"{query}"):
            if not file.dataset.name.startswith(f"{self.service.name} "):
                continue
            known[file.id] = file
            content = self.sent[f"{file.dataset.id}/{file.name}"]
            path = self.service.main / file.location
            if path.exists():
                assert path.read_bytes() == content
            else:
                assert content in self.copies(file)
        lost = set(self.promised).difference(known)
        assert lost == set()

    def copies(self, file: Any) -> list[bytes]:
        if self.service.settings["storage_unit"] == "datafile":
            return [(self.service.archived / file.location).read_bytes()]
        return list(self.service.entries(file.dataset).values())

    def check(self, **repairs: Any) -> list[Finding]:
        """Return what is wrong with the files of this service."""
        config = self.service.site.folder.run / f"{self.service.name}.yaml"
        checking = Check(load(config))
        try:
            found = list(checking.run(Repairs(**repairs)))
        finally:
            checking.close()
        # Others store in the same catalogue, in storages of their own.
        return [f for f in found if f.kind not in (Kind.MISSING, Kind.UNWRITTEN)] + [
            f for f in found if f.kind is Kind.MISSING and f.id in self.promised
        ]


@pytest.fixture(scope="module", params=["dataset", "datafile"])
def killed(site: Site, request: pytest.FixtureRequest) -> Killed:
    return Killed(site, request.param)


@pytest.mark.timeout(3600)
def test_killed_at_each_step(killed: Killed) -> None:
    of_datasets = killed.service.settings["storage_unit"] == "dataset"
    of_files = [*STEPS, *FILE_STEPS] if KILLS else BRIEFLY
    steps = STEPS if of_datasets else of_files
    chance = random.Random(1)
    rounds = max(1, math.ceil(KILLS * 3 / 4 / len([*STEPS, *of_files])))
    for number in range(rounds):
        for step in steps:
            # The first time it is reached, and later any time.
            hit = 1 if number == 0 else chance.randint(1, 6)
            killed.round(f"{step}:{hit}")
            killed.settled()
    if KILLS:
        print(f"{rounds * len(steps)} kills at steps, {killed.orphans} orphans")


@pytest.mark.timeout(3600)
def test_killed_at_random(killed: Killed) -> None:
    chance = random.Random(2)
    rounds = max(2, math.ceil(KILLS / 8))
    for _ in range(rounds):
        killed.round(None, after=chance.uniform(0.05, 2.5))
        killed.settled()
    if KILLS:
        print(f"{rounds} kills at random, {killed.orphans} orphans")
