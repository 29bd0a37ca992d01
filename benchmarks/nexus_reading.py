"""P6: 50 values with units of one file: the reading process against h5py's own calls.

The baseline is h5py's low-level interface in the same process, without any check:
open, read each value and its units, close.  Alternating.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5p, h5s

from icat_stream.nexus import NexusReader
from measuring import Result, ratio, run


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
        )
    ]


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
