"""50 values with units of one file: the reading process against h5py's own calls.

The baseline is h5py's low-level interface in the same process, without any check:
open, read each value and its units, close.  Alternating; prints medians and ratios.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5p, h5s

from icat_stream.nexus import NexusReader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.nxs"
        paths = write(path)
        with NexusReader([Path(folder)], workers=1) as reader:
            ways: dict[str, Callable[[], object]] = {
                "h5py low level": lambda: low_level(path, paths),
                "h5py high level": lambda: high_level(path, paths),
                "NexusReader": lambda: reader.read(str(path), paths),
            }
            medians = measure(ways, options.rounds)
    base = medians["h5py low level"]
    for name, median in medians.items():
        print(f"{name:16} {median * 1e3:6.2f} ms  {median / base:5.2f} x")


def write(path: Path) -> list[str]:
    paths = [f"/entry/instrument/part_{n // 5}/value_{n}" for n in range(50)]
    with h5py.File(path, "w", libver="latest") as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        for number, name in enumerate(paths):
            file[name] = float(number)
            file[name].attrs["units"] = "mm"
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


def high_level(path: Path, paths: list[str]) -> object:
    with h5py.File(path, "r", locking=False) as file:
        return {name: (file[name][()], file[name].attrs["units"]) for name in paths}


def measure(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(taken) for name, taken in times.items()}


if __name__ == "__main__":
    main()
