"""Files of a folder beside what a metadata schema is expected to make of them."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from icat_stream.nexus import NexusReader
from icat_stream.records import Failure, Rejection
from icat_stream.schemas import Draft, SchemaSet

SUFFIX = ".expected.json"
_HDF5 = {".nxs", ".nx5", ".h5", ".hdf", ".hdf5"}
# For schemas that take the record's own time: the same each time.
_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def made_of(
    reader: NexusReader, schemas: SchemaSet, path: Path, record_time: datetime
) -> Sequence[Draft]:
    """Return the datasets that a file becomes.

    Raises
    ------
    Failure
        The file is rejected, or cannot be read.
    """
    content = reader.read(str(path), schemas.paths(str(path), None))
    chosen = schemas.choose(str(path), None, content)
    return chosen.drafts(None, content, record_time=record_time)


def as_json(draft: Draft) -> dict[str, Any]:
    """Return a dataset as JSON has it."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(draft), default=plain))
    return found


def plain(value: object) -> Any:
    """Return a value that JSON has no word for as one that it has."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, int | float | str):
        return value
    return dict(value) if isinstance(value, Mapping) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What became of one file.

    Parameters
    ----------
    file
        Below the folder.
    found
        What it became: its datasets, or why it is rejected; ``None``: it is not there.
    expected
        What was expected; ``None``: nothing is said.
    """

    file: Path
    found: Any
    expected: Any

    @property
    def verdict(self) -> str:
        """In one word or a few."""
        if self.found is None:
            return "is not there"
        if self.expected is None:
            return "nothing expected"
        return "as expected" if self.found == self.expected else "differs"

    @property
    def differences(self) -> Iterator[str]:
        """Lines of what differs, expected ones first."""
        if self.verdict != "differs":
            return
        yield from difflib.unified_diff(
            _text(self.expected).splitlines(),
            _text(self.found).splitlines(),
            f"{self.file}{SUFFIX}",
            f"{self.file} by the schema",
            lineterm="",
            n=2,
        )


def trials(folder: Path, schemas: SchemaSet) -> Iterator[Trial]:
    """Try all HDF5 files of a folder, and others of which something is expected.

    Parameters
    ----------
    folder
        Also what is below it; paths are told as from there.
    schemas
        To make datasets by.

    Raises
    ------
    Rejection
        What is expected cannot be read.
    """
    root = folder.resolve()
    there = [path for path in root.rglob("*") if path.is_file()]
    said = {path.with_name(path.name.removesuffix(SUFFIX)) for path in there}
    said = {path for path in said if expectation_of(path).is_file()}
    files = {path for path in there if path.suffix.lower() in _HDF5} | said
    with NexusReader([root], settle=0.0) as reader:
        for path in sorted(files):
            beside = expectation_of(path)
            expected = _expected(beside) if beside.is_file() else None
            found = _found(reader, schemas, path, root) if path.is_file() else None
            yield Trial(file=path.relative_to(root), found=found, expected=expected)


def expectation_of(path: Path) -> Path:
    """Return the file that says what is expected of another one."""
    return path.with_name(path.name + SUFFIX)


def write_expectation(folder: Path, trial: Trial) -> None:
    """Let what was found be what is expected."""
    beside = expectation_of(folder / trial.file)
    beside.write_text(_text(trial.found) + "\n", encoding="utf-8")


def _expected(beside: Path) -> Any:
    try:
        return json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Rejection(f"{beside}: is no JSON in UTF-8: {error}") from None


def _found(reader: NexusReader, schemas: SchemaSet, path: Path, root: Path) -> Any:
    try:
        made = made_of(reader, schemas, path, _TIME)
    except Failure as error:
        found: Any = {"rejected": error.reason}
    else:
        found = [as_json(draft) for draft in made]
    # The same wherever the folder lies.
    quoted = json.dumps(f"{root}/")[1:-1]
    return json.loads(json.dumps(found).replace(quoted, ""))


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
