"""P2: client CPU of one dataset with 10,000 datafiles, from plan to answered call.

Baselines, in the same run and alternating: the bare post of the same envelope (the
least that any client spends), and python-icat's ``createMany`` of 300 datafiles,
extrapolated.
"""

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import icat.client

from icat_stream.catalogue import Catalogue, CatalogueSession
from icat_stream.config import IcatSettings, PolicySettings
from icat_stream.icat import connection
from icat_stream.records import (
    Datafile,
    DatafileFormat,
    Dataset,
    InvestigationKey,
    Parameter,
    Plan,
)
from measuring import Result, ratio, run

FACILITY = "Muster"
FEW = 300


def measure(quick: bool) -> list[Result]:
    """Return CPU against python-icat, and time against the bare post."""
    with tempfile.TemporaryDirectory() as folder:
        process, url = start_icat(Path(folder))
        try:
            return compare(url, 10_000, 3 if quick else 7)
        finally:
            icat.client.Client.cleanupall()
            process.terminate()
            process.wait(10)


def start_icat(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    accounts, ready = folder / "accounts.json", folder / "ready.json"
    accounts.write_text(json.dumps({"simple": {"root": "secret"}}))
    command = [sys.executable, "-m", "icat_stream.sandbox.icat", "--port", "0"]
    command += ["--database", str(folder / "icat.db"), "--accounts", str(accounts)]
    process = subprocess.Popen([*command, "--ready", str(ready)])
    while not ready.exists():
        if process.poll() is not None:
            raise SystemExit("the embedded ICAT ended")
        time.sleep(0.02)
    return process, json.loads(ready.read_text())["url"]


def compare(url: str, files: int, rounds: int) -> list[Result]:
    client = icat.client.Client(url)
    client.login("simple", {"username": "root", "password": "secret"})
    fill(client)
    settings = IcatSettings(url=url, username="root", password="secret", timeout=300.0)
    lane = Catalogue(settings, FACILITY, PolicySettings()).new_session()
    # Session, connection, reference data: a daemon has them.
    lane.apply(plan("warm", 1))
    ours, bare, theirs, waited = [], [], [], []
    for number in range(rounds):
        wanted = plan(f"ours {number}", files)
        envelope = envelope_of(lane, plan(f"caught {number}", files))
        envelope = envelope.replace(b"caught", b"thrown")
        # In turn: whoever comes second finds the server busy with the first one's.
        for is_ours in (True, False) if number % 2 else (False, True):
            if not is_ours:
                bare.append(timed(lambda: post(url, envelope)))  # noqa: B023
                continue
            with Waiting() as waiting:
                ours.append(timed(lambda: lane.apply(wanted)))  # noqa: B023
            waited.append(waiting.seconds / ours[-1][1])
        dataset = few(client, number)
        theirs.append(timed(lambda: create_many(client, dataset)))  # noqa: B023
    again = timed(lambda: lane.apply(plan("ours 0", files)))
    query = "SELECT COUNT(f) FROM Datafile f WHERE f.dataset.name = 'ours 0'"
    if client.search(query) != [files]:
        raise SystemExit("the datafiles are not in the catalogue")
    lane.close()
    client.logout()
    cpu = statistics.median(c for c, _ in ours)
    python_icat = statistics.median(c for c, _ in theirs) * files / FEW
    wall, least = (statistics.median(w for _, w in each) for each in (ours, bare))
    return [
        Result(
            number="P2",
            what=f"one dataset of {files:,} datafiles, client CPU",
            ours=f"{cpu:.2f} s",
            baseline=f"python-icat's createMany {python_icat:.1f} s (from {FEW})",
            ratio=python_icat / cpu,
            wanted="≥ 50",
            note=f"wanted under 1.5 s of CPU; found unchanged: {again[0]:.2f} s",
        ),
        Result(
            number="P2",
            what=f"one dataset of {files:,} datafiles, plan to answer",
            ours=f"{wall:.2f} s",
            baseline=f"bare post of the same envelope {least:.2f} s",
            ratio=ratio([w for _, w in ours], [w for _, w in bare]),
            wanted="≤ 1.1",
            note=f"{statistics.median(waited):.0%} of ours is waiting for ICAT",
        ),
    ]


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def fill(client: Any) -> None:
    facility = client.new("Facility", name=FACILITY)
    facility.create()
    kind = client.new("InvestigationType", name="experiment", facility=facility)
    kind.create()
    client.new("DatasetType", name="raw", facility=facility).create()
    version = {"version": "1.0", "facility": facility}
    client.new("DatafileFormat", name="NeXus", **version).create()
    client.new(
        "ParameterType",
        name="wavelength",
        units="angstrom",
        valueType="NUMERIC",
        applicableToDataset=True,
        facility=facility,
    ).create()
    client.new(
        "Investigation",
        name="2024-0815",
        visitId="1",
        title="A benchmark",
        facility=facility,
        type=kind,
    ).create()


def plan(name: str, files: int) -> Plan:
    start = datetime(2024, 5, 6, tzinfo=UTC)
    kind = DatafileFormat(name="NeXus", version="1.0")
    dataset = Dataset(
        investigation=InvestigationKey(name="2024-0815", visit_id="1"),
        name=name,
        type="raw",
        start=start,
        parameters=(Parameter(name="wavelength", units="angstrom", value=1.8),),
        datafiles=tuple(
            Datafile(
                name=f"frame_{number:06}.nxs",
                location=f"/data/2024-0815/{name}/frame_{number:06}.nxs",
                size=1000 + number,
                mod_time=start + timedelta(seconds=number),
                format=kind,
            )
            for number in range(files)
        ),
    )
    return Plan(facility=FACILITY, datasets=(dataset,))


class Waiting:
    """Takes note of what requests send, and how long they wait, while it is entered."""

    def __init__(self) -> None:
        self.bodies = [b""]
        self.seconds = 0.0
        self._original = connection.Connection.request

    def __enter__(self) -> Self:
        def spy(http: Any, method: str, path: str, body: Any = None, *a: Any, **k: Any):
            self.bodies.append(body or b"")
            begun = time.perf_counter()
            try:
                return self._original(http, method, path, body, *a, **k)
            finally:
                self.seconds += time.perf_counter() - begun

        connection.Connection.request = spy  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        connection.Connection.request = self._original  # type: ignore[method-assign]


def envelope_of(lane: CatalogueSession, wanted: Plan) -> bytes:
    """Apply a plan and return the largest request body that went out."""
    with Waiting() as waiting:
        lane.apply(wanted)
    return max(waiting.bodies, key=len)


def post(url: str, envelope: bytes) -> None:
    http_connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
    http_connection.request("POST", "/ICATService/ICAT", envelope, headers)
    answer = http_connection.getresponse()
    body = answer.read()
    http_connection.close()
    if b"createResponse" not in body:
        raise SystemExit(f"the bare post failed: {body[:300]!r}")


def few(client: Any, number: int) -> Any:
    dataset = client.new(
        "Dataset",
        name=f"theirs {number}",
        investigation=client.assertedSearch("SELECT i FROM Investigation i")[0],
        type=client.assertedSearch("SELECT t FROM DatasetType t")[0],
    )
    dataset.create()
    return dataset


def create_many(client: Any, dataset: Any) -> None:
    kind = client.assertedSearch("SELECT f FROM DatafileFormat f")[0]
    client.createMany(
        [
            client.new(
                "Datafile",
                name=f"frame_{number:06}.nxs",
                location=f"/data/2024-0815/theirs/frame_{number:06}.nxs",
                fileSize=1000 + number,
                datafileModTime=datetime(2024, 5, 6, tzinfo=UTC),
                datafileFormat=kind,
                dataset=dataset,
            )
            for number in range(FEW)
        ]
    )


def main() -> None:
    run(__doc__, measure)


if __name__ == "__main__":
    main()
