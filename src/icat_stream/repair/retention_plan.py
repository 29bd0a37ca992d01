"""A plan of what shall leave the disk: a file, known by its digest."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import IO, Any

from icat_stream.config import ConfigError, Problem

from .retention import RetentionRow, RetentionRules

_VERSION = 1
_RULES = ("ended", "untouched", "used")
# No dataset takes more; a longer line is none of ours.
_LONGEST_LINE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDataset:
    """A dataset that shall leave the disk, as it was when the plan was made.

    Parameters
    ----------
    id
        ICAT's.
    name
        Investigation, visit and dataset, for people.
    files, size
        How many, and their bytes.
    changed
        When it was changed last in ICAT, as ISO text; ``None``: ICAT did not say.
    """

    id: int
    name: str
    files: int
    size: int
    changed: str | None

    @classmethod
    def of(cls, row: RetentionRow) -> "PlannedDataset":
        """Return a dataset as it is now."""
        changed = row.dataset.changed
        return cls(
            id=row.dataset.id,
            name=f"{row.dataset.investigation}/{row.dataset.name}",
            files=row.files,
            size=row.size,
            changed=None if changed is None else changed.isoformat(),
        )


class PlanWriter:
    """Writes a plan, dataset by dataset.

    Parameters
    ----------
    file
        Open for text.
    facility
        Its name.
    rules
        By which the datasets were found.
    now
        The moment.
    """

    def __init__(
        self, file: IO[str], facility: str, rules: RetentionRules, now: datetime
    ) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.datasets = self.size = 0
        seconds = {name: getattr(rules, name).total_seconds() for name in _RULES}
        self._write(
            {
                "retention_plan": _VERSION,
                "facility": facility,
                "made": now.isoformat(timespec="seconds"),
                "rules": {**seconds, "hold": rules.hold},
            }
        )

    def add(self, row: RetentionRow) -> None:
        """Plan that a candidate leaves the disk."""
        planned = PlannedDataset.of(row)
        self.datasets += 1
        self.size += planned.size
        self._write(
            {
                "dataset_id": planned.id,
                "name": planned.name,
                "files": planned.files,
                "bytes": planned.size,
                "changed": planned.changed,
            }
        )

    def end(self) -> str:
        """Close the plan with its digest, and return that."""
        digest = self._digest.hexdigest()
        end = {"datasets": self.datasets, "bytes": self.size, "sha256": digest}
        self._file.write(f"{json.dumps(end)}\n")
        return digest

    def _write(self, values: dict[str, Any]) -> None:
        line = f"{json.dumps(values)}\n"
        self._digest.update(line.encode())
        self._file.write(line)


class RetentionPlan:
    """A plan that is whole, and as it was written.

    Parameters
    ----------
    file
        Made by :class:`PlanWriter`.

    Raises
    ------
    ConfigError
        It is no plan, or was changed or cut off.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.datasets = self.size = 0
        digest = hashlib.sha256()
        try:
            with file.open(encoding="utf-8", newline="") as lines:
                head = lines.readline(_LONGEST_LINE)
                first = self._line(head)
                if first.get("retention_plan") != _VERSION:
                    raise self._unfit("`icat_stream retention report --plan` makes one")
                digest.update(head.encode())
                end: dict[str, Any] = {}
                for line in lines:
                    if end:
                        raise self._unfit("something follows its last line")
                    values = self._line(line)
                    if "sha256" in values:
                        end = values
                        continue
                    planned = self._planned(values)
                    self.datasets += 1
                    self.size += planned.size
                    digest.update(line.encode())
            rules = first["rules"]
            self.rules = RetentionRules(
                **{name: timedelta(seconds=rules[name]) for name in _RULES},
                hold=rules["hold"],
            )
            self.facility = str(first["facility"])
            self.made = datetime.fromisoformat(first["made"])
        except OSError as error:
            raise self._unfit(f"a file that can be read: {error.strerror}") from None
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._unfit("its lines as they were written") from None
        self.sha256 = digest.hexdigest()
        if end != {
            "datasets": self.datasets,
            "bytes": self.size,
            "sha256": self.sha256,
        }:
            raise self._unfit(
                "it as it was written; it was changed or cut off since: make a new one"
            )

    def batches(self, size: int) -> Iterator[list[PlannedDataset]]:
        """Yield its datasets, so many at a time."""
        with self._file.open(encoding="utf-8", newline="") as lines:
            next(lines)
            rows = islice(lines, self.datasets)
            planned = (self._planned(self._line(line)) for line in rows)
            while batch := list(islice(planned, size)):
                yield batch

    def _line(self, line: str) -> dict[str, Any]:
        if len(line) > _LONGEST_LINE:
            raise self._unfit("shorter lines")
        values = json.loads(line)
        # As it was written, to the byte.
        if not isinstance(values, dict) or f"{json.dumps(values)}\n" != line:
            raise self._unfit("its lines as they were written")
        return values

    def _planned(self, values: dict[str, Any]) -> PlannedDataset:
        return PlannedDataset(
            id=int(values["dataset_id"]),
            name=str(values["name"]),
            files=int(values["files"]),
            size=int(values["bytes"]),
            changed=values["changed"],
        )

    def _unfit(self, expected: str) -> ConfigError:
        return ConfigError(
            [Problem(source=str(self._file), field="plan", expected=expected)]
        )
