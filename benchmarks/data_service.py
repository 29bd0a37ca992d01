"""The data service against a bare application that makes the same ICAT calls.

P10.  The bare one is Starlette and nothing else: it asks ICAT what the service asks
(whether the caller may create the entry, too), writes what arrives to a file, as
durably, answers, and sends a file as Starlette sends files.  Both run in processes of
their own, on the same ICAT and file system, and take turns.  A zip of 10,000 small
files is compared with ``zip -0`` of the same files into a pipe.

By itself it also says, with ``--more``, how much memory the service took while
gigabytes went through, and what 100 readers get at once.
"""

import argparse
import http.client
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import icat
import yaml

from measuring import Result, alternate, ratio, show

BLOCK = 2**20
PASSWORDS = {"simple": {"root": "r", "idsreader": "i"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bare", nargs=4, metavar=("ICAT", "FOLDER", "READY", "SYNC"))
    parser.add_argument("--puts", type=int, default=400, help="of 1 kB, a round")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--size", type=int, default=1024, help="of the file, in MiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20, help="that they read")
    parser.add_argument("--quick", action="store_true", help="a minute or two")
    parser.add_argument("--more", action="store_true", help="memory, and readers")
    options = parser.parse_args()
    if options.bare:
        bare(*options.bare)
        return
    if not options.more:
        show(measure(options.quick))
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")) as folder:
        run(Path(folder), options)


def measure(quick: bool) -> list[Result]:
    """Return P10: puts, streams and a zip."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")) as folder:
        bench = Bench(Path(folder))
        try:
            return [
                *_puts(bench, 200 if quick else 400, 3 if quick else 7),
                *_streams(bench, (256 if quick else 1024) * BLOCK, 3 if quick else 5),
                _zip(bench, 10_000, 3 if quick else 5),
            ]
        finally:
            bench.stop()


def _puts(bench: "Bench", count: int, rounds: int) -> list[Result]:
    for server in (bench.ours, bench.durable):
        bench.small_puts(server, 40, 4)
    found = []
    for clients in (1, 4):
        took = alternate(
            {
                name: partial(_seconds, bench, server, count, clients)
                for name, server in (("ours", bench.ours), ("bare", bench.durable))
            },
            rounds,
        )
        ours, theirs = (1000 * statistics.median(took[n]) / count for n in took)
        found.append(
            Result(
                number="P10",
                what=f"time of a put of 1 kB, {clients} at once, against a bare"
                " Starlette that makes the same calls of ICAT, as durably",
                ours=f"{ours:.1f} ms",
                baseline=f"{theirs:.1f} ms",
                ratio=ratio(took["ours"], took["bare"]),
                wanted="≤ 1.3",
            )
        )
    return found


def _seconds(bench: "Bench", server: "Process", count: int, clients: int) -> float:
    return count / bench.small_puts(server, count, clients)


def _streams(bench: "Bench", size: int, rounds: int) -> list[Result]:
    speeds: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
    for turn in range(rounds):
        ways = [("ours", bench.ours), ("bare", bench.durable)]
        for name, server in ways if turn % 2 else ways[::-1]:
            speeds[name].append(bench.large(server, size))
    found = []
    for index, what in enumerate(("put", "get")):
        ours, bare = ([pair[index] for pair in speeds[n]] for n in ("ours", "bare"))
        found.append(
            Result(
                number="P10",
                what=f"speed of a {what} of {size // BLOCK} MiB, against the same",
                ours=f"{statistics.median(ours):.0f} MB/s",
                baseline=f"{statistics.median(bare):.0f} MB/s",
                ratio=ratio(ours, bare),
                wanted="≥ 0.8",
            )
        )
    return found


def _zip(bench: "Bench", files: int, rounds: int) -> Result:
    folder = bench.register(files)
    piped = ["sh", "-c", f"zip -0 -q -r - '{folder}' | cat > /dev/null"]

    def theirs() -> float:
        begin = time.perf_counter()
        subprocess.run(piped, check=True)
        return time.perf_counter() - begin

    took = alternate({"ours": bench.zip_of_all, "zip": theirs}, rounds)
    return Result(
        number="P10",
        what=f"time of a zip of {files:,} files of 1 kB, catalogue and rights"
        " included, against `zip -0` of the same files into a pipe",
        ours=f"{statistics.median(took['ours']):.2f} s",
        baseline=f"{statistics.median(took['zip']):.2f} s",
        ratio=ratio(took["ours"], took["zip"]),
        wanted="≤ 1.5",
    )


def bare(url: str, folder: str, ready: str, sync: str) -> None:
    """Serve put and getData with nothing around them."""
    import uvicorn
    from anyio import to_thread
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse
    from starlette.routing import Route

    from icat_stream.dataservice.catalogue import Catalogue, NewFile
    from icat_stream.dataservice.settings import IcatAccess

    durable = sync == "sync"
    catalogue = Catalogue(IcatAccess(url=url), None)

    def new_file(
        asked: Mapping[str, str],
        dataset: int,
        location: str | None,
        size: int,
        checksum: int,
    ) -> NewFile:
        return NewFile(
            name=asked["name"],
            dataset_id=dataset,
            format_id=int(asked["datafileFormatId"]),
            location=location,
            size=size,
            checksum=checksum,
            description=None,
            doi=None,
            create_time=None,
            mod_time=None,
        )

    async def put(request: Request) -> JSONResponse:
        asked = request.query_params
        session, dataset = asked["sessionId"], int(asked["datasetId"])
        await to_thread.run_sync(catalogue.must_read_dataset, session, dataset)
        asked_for = new_file(asked, dataset, None, 0, 0)
        await to_thread.run_sync(catalogue.must_create, session, asked_for)
        location = f"{dataset}-{time.monotonic_ns()}"
        size = checksum = 0
        with open(os.path.join(folder, location), "wb") as file:
            async for piece in request.stream():
                file.write(piece)
                checksum = zlib.crc32(piece, checksum)
                size += len(piece)
            if durable:
                file.flush()
                await to_thread.run_sync(os.fsync, file.fileno())
        new = new_file(asked, dataset, location, size, checksum)
        id_ = await to_thread.run_sync(catalogue.create, session, new)
        return JSONResponse({"id": id_, "checksum": checksum}, 201)

    async def get(request: Request) -> FileResponse:
        asked = request.query_params
        ids = [int(asked["datafileIds"])]
        [file] = await to_thread.run_sync(
            lambda: list(catalogue.files(asked["sessionId"], "Datafile", ids))
        )
        return FileResponse(os.path.join(folder, file.location or ""))

    routes = [
        Route("/ids/put", put, methods=["PUT"]),
        Route("/ids/getData", get),
    ]
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    where = f"http://127.0.0.1:{listener.getsockname()[1]}/ids"
    config = uvicorn.Config(Starlette(routes=routes), access_log=False, lifespan="off")
    listener.listen()
    Path(ready).write_text(json.dumps({"url": where}))
    uvicorn.Server(config).run([listener])


class Process:
    """A server, and calls to it."""

    def __init__(self, ready: Path, *command: str) -> None:
        self.process = subprocess.Popen([sys.executable, *command])
        while not ready.exists() or not ready.read_text():
            if self.process.poll() is not None:
                raise SystemExit(f"{command} ended")
            time.sleep(0.02)
        self.url: str = json.loads(ready.read_text())["url"]

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that stays open."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc)

    def memory(self, which: str = "VmHWM") -> float:
        """Return MB resident, at most so far or now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{which}:")[1].split()[0]) / 1000

    def forget_peak(self) -> None:
        """Measure the memory from now on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


class Bench:
    """What is stored where."""

    def __init__(self, folder: Path) -> None:
        accounts = folder / "accounts.json"
        accounts.write_text(json.dumps(PASSWORDS))
        ready = folder / "icat.json"
        self.icat = Process(
            ready,
            *("-m", "icat_stream.sandbox.icat", "--port", "0"),
            *("--database", str(folder / "icat.db")),
            *("--accounts", str(accounts), "--ready", str(ready)),
        )
        self.client = icat.Client(f"{self.icat.url}/ICATService/ICAT?wsdl")
        self.client.login("simple", {"username": "root", "password": "r"})
        for name in ("main", "archive", "bare"):
            (folder / name).mkdir()
        settings = {
            "icat": {"url": self.icat.url},
            "listen": "127.0.0.1:0",
            "main_storage": {"root": str(folder / "main")},
            "reader": {"auth": "simple", "username": "idsreader", "password": "i"},
            "telemetry": {"log_level": "warning"},
        }
        self.folder = folder
        self.settings = settings
        self.ours = self.service("one", settings)
        self.bare = self._bare("bare", "no")
        # What the service does not answer before it would survive a power cut.
        self.durable = self._bare("durable", "sync")
        self.number = 0
        self._fill()

    def _bare(self, name: str, sync: str) -> Process:
        ready = self.folder / f"{name}.json"
        command = ["--bare", self.icat.url, str(self.folder / "bare"), str(ready)]
        return Process(ready, __file__, *command, sync)

    def service(self, name: str, settings: dict[str, Any]) -> Process:
        """Start a data service."""
        config, ready = self.folder / f"{name}.yaml", self.folder / f"{name}.json"
        config.write_text(yaml.safe_dump(settings))
        command = ["-m", "icat_stream.dataservice", "--config", str(config)]
        return Process(ready, *command, "--ready", str(ready))

    def _fill(self) -> None:
        new = self.client.new
        facility = new("Facility", name="EXAMPLE")
        facility.create()
        kind = new("InvestigationType", name="experiment", facility=facility)
        kind.create()
        type_ = new("DatasetType", name="raw", facility=facility)
        type_.create()
        self.format = new(
            "DatafileFormat", name="NeXus", version="1", facility=facility
        )
        self.format.create()
        facts = {"name": "1", "visitId": "1", "title": "t", "type": kind}
        investigation = new("Investigation", facility=facility, **facts)
        investigation.create()
        facts = {"type": type_, "investigation": investigation}
        # A unit of the archive is of one storage only.
        self.other, self.dataset = (new("Dataset", name=n, **facts) for n in "od")
        self.other.create()
        self.dataset.create()

    def put(self, connection: http.client.HTTPConnection, name: str, size: int) -> int:
        """Return the id of a new datafile."""
        query = {
            "sessionId": self.client.sessionId,
            "name": name,
            "datasetId": self.dataset.id,
            "datafileFormatId": self.format.id,
        }
        block = os.urandom(min(size, BLOCK))
        body = (block for _ in range(size // len(block)))
        headers = {"Content-Length": str(size)}
        connection.request("PUT", f"/ids/put?{urlencode(query)}", body, headers)
        with connection.getresponse() as answer:
            text = answer.read()
            if answer.status != 201:
                raise SystemExit(text.decode())
            return int(json.loads(text)["id"])

    def register(self, count: int) -> Path:
        """Catalogue so many small files of a dataset, and return their folder."""
        folder = self.folder / "main" / "small"
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:05}").write_bytes(os.urandom(1000))
        for begin in range(0, count, 500):
            self.client.createMany(
                [
                    self.client.new(
                        "Datafile",
                        name=f"{number:05}",
                        location=f"small/{number:05}",
                        fileSize=1000,
                        dataset=self.other,
                    )
                    for number in range(begin, min(begin + 500, count))
                ]
            )
        return folder

    def zip_of_all(self) -> float:
        """Return how long the zip of that dataset takes."""
        query = {"sessionId": self.client.sessionId, "datasetIds": self.other.id}
        begin = time.perf_counter()
        connection = self.ours.connect()
        connection.request("GET", f"/ids/getData?{urlencode(query)}")
        with connection.getresponse() as answer:
            if answer.status != 200:
                raise SystemExit(answer.read().decode())
            while answer.read(BLOCK):
                pass
        connection.close()
        return time.perf_counter() - begin

    def stop(self) -> None:
        """End all of it."""
        self.client.logout()
        for server in (self.ours, self.bare, self.durable, self.icat):
            server.stop()

    def path(self, datafile: int) -> str:
        """Return where a datafile is got."""
        query = {"sessionId": self.client.sessionId, "datafileIds": datafile}
        return f"/ids/getData?{urlencode(query)}"

    def get(self, server: Process, datafile: int) -> int:
        """Return how many bytes came."""
        connection = server.connect()
        connection.request("GET", self.path(datafile))
        total = 0
        buffer = bytearray(BLOCK)
        with connection.getresponse() as answer:
            while count := answer.readinto(buffer):
                total += count
        connection.close()
        return total

    def small_puts(self, server: Process, count: int, clients: int) -> float:
        """Return puts of 1 kB a second."""
        self.number += 1
        number = self.number

        def work(client: int) -> None:
            connection = server.connect()
            for put in range(count // clients):
                self.put(connection, f"{number}-{client}-{put}", 1000)
            connection.close()

        threads = [threading.Thread(target=work, args=[n]) for n in range(clients)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return count // clients * clients / (time.perf_counter() - begin)

    def large(self, server: Process, size: int) -> tuple[float, float]:
        """Return MB/s of a put and a get."""
        self.number += 1
        connection = server.connect()
        begin = time.perf_counter()
        file = self.put(connection, f"large {self.number}", size)
        stored = time.perf_counter()
        connection.close()
        if self.get(server, file) != size:
            raise SystemExit("the file came back short")
        got = time.perf_counter()
        location = self.client.get("Datafile", file).location
        folder = "main" if server is self.ours else "bare"
        (self.folder / folder / location).unlink()
        return size / 1e6 / (stored - begin), size / 1e6 / (got - stored)


def run(folder: Path, options: argparse.Namespace) -> None:
    bench = Bench(folder)
    servers = {"service": bench.ours, "bare": bench.bare, "durable": bench.durable}
    try:
        for server in servers.values():
            bench.small_puts(server, 40, options.clients)
        compare_small(bench, servers, options)
        compare_large(bench, servers, options)
        many_readers(bench, options)
    finally:
        bench.stop()


def compare_small(
    bench: Bench, servers: dict[str, Process], options: argparse.Namespace
) -> None:
    for clients in (1, options.clients):
        rates: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(options.rounds):
            for name, server in servers.items():
                puts = options.puts * clients // options.clients
                rates[name].append(bench.small_puts(server, puts, clients))
        compare(f"1 kB puts/s, {clients} at once", rates)


def compare_large(
    bench: Bench, servers: dict[str, Process], options: argparse.Namespace
) -> None:
    size = options.size * 2**20
    puts: dict[str, list[float]] = {name: [] for name in servers}
    gets: dict[str, list[float]] = {name: [] for name in servers}
    bench.ours.forget_peak()
    for _ in range(options.rounds):
        for name, server in servers.items():
            put, get = bench.large(server, size)
            puts[name].append(put)
            gets[name].append(get)
    compare(f"put of {options.size} MiB, MB/s", puts)
    compare(f"get of {options.size} MiB, MB/s", gets)
    through = 2 * options.rounds * size / 1e9
    print(
        f"the service's memory, {through:.1f} GB through: {bench.ours.memory():.0f} MB"
    )


def compare(what: str, rates: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(found) for name, found in rates.items()}
    ours = medians.pop("service")
    others = (
        f"{n} {rate:.1f} (ratio {rate / ours:.2f})" for n, rate in medians.items()
    )
    print(f"{what}: service {ours:.1f}, {', '.join(others)}")


def many_readers(bench: Bench, options: argparse.Namespace) -> None:
    """Read one file many times at once, slowly, and try to archive it meanwhile."""
    settings = {
        **bench.settings,
        "archive_storage": {"root": str(bench.folder / "archive")},
        "compress_archive": False,
        "root_users": ["simple/root"],
        "queue": {"interval": 0.2, "write_delay": 0.2},
    }
    server = bench.service("two", settings)
    try:
        connection = server.connect()
        bench.dataset = bench.other
        file = bench.put(connection, "read by many", options.size * 2**20)
        connection.close()
        while queue(bench, server):
            time.sleep(0.2)
        before = server.memory("VmRSS")
        server.forget_peak()
        progress, early = read(bench, server, file, options)
        peak = server.memory()
        low, high, middle = min(progress), max(progress), statistics.median(progress)
        rate = sum(progress) / options.seconds
        print(
            f"{options.readers} readers of {options.size} MiB, {options.seconds:.0f} s:"
            f" {rate / 1e6:.0f} MB/s in all; each {low / 1e6:.0f} to"
            f" {high / 1e6:.0f} MB,"
            f" median {middle / 1e6:.0f}; memory {before:.0f} MB before, {early:.0f} MB"
            f" in the first quarter, {peak:.0f} MB at the end (peaks)"
        )
        begin = time.perf_counter()
        while queue(bench, server):
            time.sleep(0.02)
        print(f"archived {time.perf_counter() - begin:.1f} s after the last one left")
    finally:
        server.stop()


def read(
    bench: Bench, server: Process, file: int, options: argparse.Namespace
) -> tuple[list[int], float]:
    """Return how much each reader got, and the peak of memory in the first quarter."""
    parts = urlsplit(server.url)
    chosen = selectors.DefaultSelector()
    got: dict[int, int] = {}
    sockets = []
    for number in range(options.readers):
        reader = socket.create_connection((parts.hostname, parts.port))
        request = f"GET {bench.path(file)} HTTP/1.1\r\nHost: x\r\n\r\n"
        reader.sendall(request.encode())
        reader.setblocking(False)
        chosen.register(reader, selectors.EVENT_READ, number)
        sockets.append(reader)
        got[number] = 0
    buffer = bytearray(2**18)
    asked = False
    early = 0.0
    end = time.perf_counter() + options.seconds
    while (left := end - time.perf_counter()) > 0:
        if not early and left < options.seconds * 3 / 4:
            early = server.memory()
        for key, _ in chosen.select(1):
            count = key.fileobj.recv_into(buffer)  # type: ignore[union-attr]
            got[key.data] += count
            if not count:
                chosen.unregister(key.fileobj)
        if not asked and min(got.values()):
            asked = True
            call(bench, server, "POST", "archive", datafileIds=file)
    if queue(bench, server) != ["ARCHIVE_REQUESTED"]:
        raise SystemExit("the archiving did not wait for the readers")
    for reader in sockets:
        reader.close()
    return list(got.values()), early


def queue(bench: Bench, server: Process) -> list[str]:
    answer = json.loads(call(bench, server, "GET", "getServiceStatus"))
    return [entry["request"] for entry in answer["opsQueue"]]


def call(
    bench: Bench, server: Process, method: str, name: str, **parameters: Any
) -> bytes:
    text = urlencode({"sessionId": bench.client.sessionId, **parameters})
    connection = server.connect()
    if method == "POST":
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, f"/ids/{name}", text, headers)
    else:
        connection.request(method, f"/ids/{name}?{text}")
    with connection.getresponse() as answer:
        content = answer.read()
        if answer.status >= 300:
            raise SystemExit(content.decode())
    connection.close()
    return content


if __name__ == "__main__":
    main()
