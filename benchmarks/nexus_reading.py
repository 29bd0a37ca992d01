"""P6: what of a file is read: 50 values with units, and all of it for its checksum.

The baseline of the values is h5py's low-level interface in the same process, without
any check: open, read each value and its units, close.  That of the checksum is
``hashlib.file_digest`` of the same file in the same process.  Alternating.
"""

import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import xxhash
from h5py import h5a, h5d, h5f, h5p, h5s

from icat_stream.nexus import NexusReader
from measuring import Result, alternate, ratio, run

# Of the file whose checksum is made; it stays in the page cache.
_HASHED = 2**30
# What is over in a fifth of a second has to be measured more often.
_ALGORITHMS: dict[str, tuple[Callable[[], "hashlib._Hash"], int]] = {
    "xxh3_64": (xxhash.xxh3_64, 25),
    "sha256": (hashlib.sha256, 5),
}


def measure(quick: bool) -> list[Result]:
    """Return reading against the same calls."""
    rounds, size = 60 if quick else 300, 2**30
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.nxs"
        paths = write(path, size)
        with NexusReader([Path(folder)], workers=1) as reader:
            ways: dict[str, Callable[[], object]] = {
                "h5py low level": lambda: low_level(path, paths),
                "NexusReader": lambda: reader.read(str(path), paths),
            }
            found = times(ways, rounds)
    ours, base = found["NexusReader"], found["h5py low level"]
    return [
        Result(
            number="P6",
            what=f"50 values with units of a file of {size / 2**20:.0f} MB",
            ours=f"{statistics.median(ours) * 1e3:.2f} ms",
            baseline=f"h5py's low level {statistics.median(base) * 1e3:.2f} ms",
            ratio=ratio(ours, base),
            wanted="≤ 1.5",
            note="ours in a child process, with all its checks",
        ),
        *checksums(quick),
    ]


def checksums(quick: bool) -> list[Result]:
    """Return the speed of checksums against that of the algorithms."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        with path.open("wb") as file:
            for _ in range(_HASHED // 2**20):
                file.write(os.urandom(2**20))
        path.chmod(0o444)
        with NexusReader([Path(folder)], workers=1) as reader:
            stat = reader.read(str(path), []).stat
            for name, (make, rounds) in _ALGORITHMS.items():

                def ours(name: str = name) -> str:
                    return reader.checksum(stat, name).partition(":")[2]

                def alone(make: Callable[[], "hashlib._Hash"] = make) -> str:
                    with path.open("rb") as file:
                        return hashlib.file_digest(file, make).hexdigest()

                if ours() != alone():
                    raise SystemExit(f"{name}: two checksums of one file")
                speeds = alternate(
                    {"NexusReader": speed(ours), "file_digest": speed(alone)},
                    rounds if quick else 3 * rounds,
                )
                mine, base = speeds["NexusReader"], speeds["file_digest"]
                found.append(
                    Result(
                        number="P6",
                        what=f"{name} of a file of {_HASHED / 2**20:.0f} MB, cached",
                        ours=f"{statistics.median(mine):,.0f} MB/s",
                        baseline="hashlib.file_digest"
                        f" {statistics.median(base):,.0f} MB/s",
                        ratio=ratio(mine, base),
                        wanted="≥ 0.9",
                        note="ours in a child process, beside those that read",
                    )
                )
    return found


def speed(way: Callable[[], object]) -> Callable[[], float]:
    """Return a way to measure MB a second."""

    def measured() -> float:
        begin = time.perf_counter()
        way()
        return _HASHED / 2**20 / (time.perf_counter() - begin)

    return measured


def write(path: Path, size: int) -> list[str]:
    paths = [f"/entry/instrument/part_{n // 5}/value_{n}" for n in range(50)]
    with h5py.File(path, "w", libver="latest") as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        for number, name in enumerate(paths):
            file[name] = float(number)
            file[name].attrs["units"] = "mm"
        file["/entry/detector"] = np.zeros(size // 8)
    path.chmod(0o444)
    return paths


def low_level(path: Path, paths: list[str]) -> object:
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    access.set_file_locking(False, True)
    file = h5f.open(str(path).encode(), h5f.ACC_RDONLY, access)
    found = {}
    for name in paths:
        dataset = h5d.open(file, name.encode())
        value = np.empty(dataset.shape, dataset.dtype)
        dataset.read(h5s.ALL, h5s.ALL, value)
        attribute = h5a.open(dataset, b"units")
        units = np.empty(attribute.shape, attribute.dtype)
        attribute.read(units)
        found[name] = value[()], units[()]
    file.close()
    return found


def times(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            found[name].append(time.perf_counter() - begin)
    return found


def main() -> None:
    run(__doc__, measure)


if __name__ == "__main__":
    main()
