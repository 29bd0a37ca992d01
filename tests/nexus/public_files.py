"""What the reader gives of public NeXus files, beside what h5py gives.

The table beside this says where each file is from and what its checksum is; the files
themselves are downloaded, once, into a folder.  Every value and every attribute of each
is compared, and each is counted: equal, refused for a reason that h5py's view of the
file agrees with, or different.  A file that cannot be had is named and counted, too.

    make public-files ARGS="--folder /somewhere"
"""

import argparse
import csv
import hashlib
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import h5py
import numpy as np

from icat_stream.nexus import NexusReader
from icat_stream.records import FieldPath, Rejection

TABLE = Path(__file__).with_suffix(".csv")
_ADDRESS = "https://raw.githubusercontent.com/{repository}/{commit}/{path}"
# Of the values of one request, far below what a reader takes.
_PATHS = 500
_BYTES = 4 * 2**20
# What a reader's limits say of arrays and texts.
_ARRAY = 4 * 2**20
_TEXT = 64 * 2**10


@dataclass(frozen=True)
class PublicFile:
    """A row of the table."""

    facility: str
    repository: str
    commit: str
    path: str
    size: int
    sha256: str

    @property
    def address(self) -> str:
        return _ADDRESS.format(
            repository=self.repository, commit=self.commit, path=quote(self.path)
        )

    def kept_in(self, folder: Path) -> Path:
        """Return where the file is, downloaded if it is not there yet."""
        kept = folder / f"{self.sha256}.nxs"
        if not kept.exists():
            with urllib.request.urlopen(self.address, timeout=60) as answer:
                content = answer.read()
            self._check(content, self.address)
            kept.write_bytes(content)
        else:
            self._check(kept.read_bytes(), str(kept))
        # The mode of a finished file.
        kept.chmod(0o444)
        return kept

    def _check(self, content: bytes, where: str) -> None:
        found = hashlib.sha256(content).hexdigest()
        if (len(content), found) != (self.size, self.sha256):
            raise ValueError(
                f"{where} has {len(content):,} bytes and sha256 {found}, expected"
                f" {self.size:,} and {self.sha256}"
            )


def table() -> list[PublicFile]:
    """Return what the table lists."""
    with TABLE.open(encoding="utf-8", newline="") as lines:
        return [
            PublicFile(**{**row, "size": int(row["size"])})
            for row in csv.DictReader(lines)
        ]


@dataclass(frozen=True)
class Expected:
    """What h5py says of one value.

    Parameters
    ----------
    path
        As the reader is asked for it.
    size
        In bytes, as the file has it.
    value
        An array; ``None`` for nothing.
    units
        Bytes or text of ``@units``.
    why
        Words of the reason, where it can be no value in a catalogue.
    """

    path: str
    size: int = 0
    value: Any = None
    units: Any = None
    why: str = ""


def expectations(file: h5py.File) -> Iterator[Expected]:
    """Yield all that is in a file, soft links by their own names."""
    yield from _of_group(file, "", frozenset({file.id}))


def _of_group(group: Any, where: str, above: frozenset[Any]) -> Iterator[Expected]:
    yield from _attributes(group, where or "/")
    for name in group:
        path = f"{where}/{name}"
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield Expected(path, why="external link")
            continue
        if name not in group or group.get(name) is None:
            yield Expected(path, why="leads to nothing")
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            # What links lead to is read by their names, but not for ever.
            if item.id not in above and not isinstance(link, h5py.SoftLink):
                yield from _of_group(item, path, above | {item.id})
        elif isinstance(item, h5py.Dataset):
            yield _expected(item, path, units=_raw_units(item))
            yield from _attributes(item, path)


def _attributes(item: Any, where: str) -> Iterator[Expected]:
    for name in item.attrs:
        yield _expected(item.attrs.get_id(name), f"{where}@{name}")


def _raw_units(item: Any) -> Any:
    return item.attrs["units"] if "units" in item.attrs else None


def _expected(item: Any, path: str, units: Any = None) -> Expected:
    """Say what one value is, by h5py's own words for types."""
    low = item.id if isinstance(item, h5py.Dataset) else item
    kind, shape = low.get_type(), low.get_space().shape
    count = int(np.prod(shape)) if shape is not None else 0
    size = count * kind.get_size()
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        return Expected(path, why="holds a compound")
    if isinstance(kind, h5py.h5t.TypeReferenceID):
        return Expected(path, why="holds a reference")
    if isinstance(kind, h5py.h5t.TypeVlenID):
        return Expected(path, why="holds a variable-length array")
    if isinstance(kind, h5py.h5t.TypeArrayID):
        return Expected(path, why="holds an array type")
    if isinstance(kind, h5py.h5t.TypeOpaqueID):
        return Expected(path, why="holds opaque")
    if shape is None:
        return Expected(path)
    if sum(extent != 1 for extent in shape) > 1:
        return Expected(path, why=f"has {len(shape)} dimensions")
    if count > 1 and count * max(kind.get_size(), 8) > _ARRAY:
        return Expected(path, why=r"over files.max_array")
    if isinstance(item, h5py.Dataset) and item.is_virtual:
        return Expected(path, why="is a virtual dataset")
    value = np.empty(shape, kind.dtype)
    try:
        if isinstance(item, h5py.Dataset):
            if count:
                item.read_direct(value)
        else:
            item.read(value)
    except OSError as error:
        return Expected(path, why=f"unreadable: {error}")
    if isinstance(kind, h5py.h5t.TypeStringID) and _longest(value) > _TEXT:
        return Expected(path, why="holds a text of")
    return Expected(path, size, value, units)


def _longest(texts: Any) -> int:
    return max((len(item) for item in texts.reshape(-1)), default=0)


def compare(path: Path, reader: NexusReader) -> tuple[Counter[str], list[str]]:
    """Return how many values were equal or refused, and what was different."""
    counts: Counter[str] = Counter()
    different: list[str] = []
    with h5py.File(path, "r", locking=False) as file:
        for batch in _batches(expectations(file)):
            asked = [one.path for one in batch]
            found = reader.read(str(path), [_asked(one) for one in asked])
            for one in batch:
                verdict, what = _verdict(one, found)
                counts[verdict] += 1
                if verdict == "different":
                    different.append(f"{one.path}: {what}")
    return counts, different


def _asked(path: str) -> FieldPath:
    return FieldPath(path=path, encoding="cp1252")


def _batches(found: Iterator[Expected]) -> Iterator[list[Expected]]:
    batch: list[Expected] = []
    size = 0
    for one in found:
        if batch and (len(batch) == _PATHS or size + one.size > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.size
    if batch:
        yield batch


def _verdict(one: Expected, content: Any) -> tuple[str, str]:
    asked = _asked(one.path)
    try:
        found = content.values[asked] if asked in content.values else None
    except Rejection as refused:
        reason = str(refused.reason)
        return _refused(one, reason)
    if found is None and asked in content.notes:
        return _refused(one, content.notes[asked])
    if one.why:
        return "different", f"has {found}, expected: {one.why}"
    if found is None:
        empty = one.value is None
        return ("equal", "") if empty else ("different", f"absent, h5py: {one.value!r}")
    if not _same(one.value, found.value):
        return "different", f"{found.value!r}, h5py: {one.value!r}"
    if not _same_units(one.units, found.units):
        return "different", f"units {found.units!r}, h5py: {one.units!r}"
    return "equal", ""


def _refused(one: Expected, reason: str) -> tuple[str, str]:
    if one.why and one.why in reason:
        return "refused", reason
    if "is packed by" in reason and one.why.startswith("unreadable"):
        return "refused", reason
    if "neither UTF-8 nor cp1252" in reason and not _is_text(one.value):
        return "refused", reason
    return "different", f"refused ({reason}), h5py: {one.why or repr(one.value)}"


def _same(there: Any, here: Any) -> bool:
    items = np.atleast_1d(there).reshape(-1) if there is not None else np.empty(0)
    values = here if isinstance(here, tuple) else (here,)
    return len(items) == len(values) and all(
        _same_item(item, value, items.dtype)
        for item, value in zip(items, values, strict=True)
    )


def _same_item(item: Any, value: Any, dtype: Any) -> bool:
    if isinstance(item, str | bytes):
        return isinstance(value, str) and value == _text(item)
    names = h5py.check_enum_dtype(dtype)
    if names is not None:
        return isinstance(value, str) and names[value] == item
    if isinstance(item, np.bool_):
        return value is bool(item)
    if isinstance(item, np.integer):
        return type(value) is int and value == int(item)
    # The same float in the file's own precision, bit by bit.
    return isinstance(value, float) and (
        dtype.type(value) == item or (np.isnan(item) and np.isnan(value))
    )


def _text(raw: Any) -> str:
    raw = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogateescape")
    try:
        return str(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return str(raw.decode("cp1252"))


def _is_text(value: Any) -> bool:
    try:
        for item in np.atleast_1d(value).reshape(-1):
            _text(item)
    except UnicodeDecodeError:
        return False
    return True


def _same_units(there: Any, here: str | None) -> bool:
    items = np.atleast_1d(there).reshape(-1) if there is not None else []
    texts = {_text(item) for item in items}
    expected = texts.pop() if len(texts) == 1 else ""
    return here == (expected if expected.strip() else None)


def main() -> int:
    """Compare all files of the table and say how they fared."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="of downloads; a temporary one")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        folder = (folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with NexusReader([folder], settle=0) as reader:
            failed = sum(not _is_same(one, folder, reader) for one in table())
    print(f"{len(table())} files, {failed} of them with differences or not to be had")
    return 1 if failed else 0


def _is_same(one: PublicFile, folder: Path, reader: NexusReader) -> bool:
    name = f"{one.facility}: {one.repository}/{one.path}"
    try:
        counts, different = compare(one.kept_in(folder), reader)
    except (OSError, ValueError) as error:
        print(f"{name}: not compared: {error}")
        return False
    print(f"{name}: {counts['equal']} equal, {counts['refused']} refused")
    for line in different:
        print(f"    {line[:400]}")
    return not different


if __name__ == "__main__":
    sys.exit(main())
