"""Which datasets may leave the disk, and why the others have to stay.

It reads only: what a person makes of it is the facility's decision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Protocol

from icat_stream.catalogue import EndedDataset, Inventory, Scope

_AT_ONCE = 200
ARCHIVED = "ARCHIVED"
IN_ARCHIVE_ONLY = "it is in the archive only"


class Levels(Protocol):
    """What the data service tells of datasets."""

    def status(self, dataset_ids: Sequence[int]) -> str:
        """Return ``ONLINE``, ``RESTORING`` or ``ARCHIVED``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRules:
    """When a dataset may leave the disk.

    Parameters
    ----------
    ended
        Its investigation is over for so long.
    untouched
        Nothing of it has changed for so long.
    used
        It was no input of a job for so long.
    hold
        Name of a parameter that keeps those datasets that have it.
    """

    ended: timedelta
    untouched: timedelta
    used: timedelta
    hold: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRow:
    """A dataset of an investigation that is over for long enough.

    Parameters
    ----------
    dataset
        The dataset.
    files, size
        How many, and their bytes as the catalogue says.
    reasons
        Why it has to stay; none: it is a candidate.
    """

    dataset: EndedDataset
    files: int
    size: int
    reasons: tuple[str, ...]

    @property
    def values(self) -> dict[str, Any]:
        """It as CSV and JSON have it."""
        return {
            "candidate": not self.reasons,
            "investigation": self.dataset.investigation.name,
            "visit_id": self.dataset.investigation.visit_id,
            "dataset": self.dataset.name,
            "dataset_id": self.dataset.id,
            "ended": self.dataset.ended.isoformat(),
            "files": self.files,
            "bytes": self.size,
            "reasons": list(self.reasons),
        }


class RetentionReport:
    """Goes through the datasets of investigations that are over, in flat memory.

    Parameters
    ----------
    inventory
        Lists the catalogue.
    levels
        Of the data service; ``None`` where there is none of two levels.
    rules
        The facility's.
    now
        The moment.
    """

    def __init__(
        self,
        inventory: Inventory,
        levels: Levels | None,
        rules: RetentionRules,
        now: datetime,
    ) -> None:
        self._inventory = inventory
        self._levels = levels
        self._rules = rules
        self._now = now

    def rows(self, scope: Scope) -> Iterator[RetentionRow]:
        """Yield all of them, candidates or not, by ICAT's id."""
        found = self._inventory.ended_datasets(scope, self._now - self._rules.ended)
        while page := list(islice(found, _AT_ONCE)):
            yield from self._judged(page)

    def judged(self, ids: Sequence[int]) -> dict[int, RetentionRow]:
        """Return some hundred datasets at most as they are now.

        Those that are gone, or whose investigation is not over for long enough (any
        more), are left out.
        """
        before = self._now - self._rules.ended
        found = self._inventory.ended_datasets(Scope(), before, ids)
        return {row.dataset.id: row for row in self._judged(list(found))}

    def _judged(self, page: Sequence[EndedDataset]) -> Iterator[RetentionRow]:
        ids = [each.id for each in page]
        files = self._inventory.file_facts(ids)
        held = (
            set()
            if self._rules.hold is None
            else self._inventory.having_parameter(self._rules.hold, ids)
        )
        used = self._inventory.used_by_jobs(ids, self._now - self._rules.used)
        for each in page:
            facts = files.get(each.id)
            reasons = [] if facts is not None else ["it has no files"]
            if not each.complete:
                reasons.append("it is not complete")
            if each.id in held:
                reasons.append(f"on hold: it has the parameter {self._rules.hold}")
            reasons += self._touched(each, None if facts is None else facts.changed)
            if each.id in used:
                reasons.append(f"input of job {used[each.id]}")
            if facts is not None:
                for count, lacking in (
                    (facts.without_location, "location"),
                    (facts.without_checksum, "checksum"),
                ):
                    if count:
                        reasons.append(f"{count} of its files have no {lacking}")
            # Asked for those only that may go by all else.
            if not reasons:
                reasons += self._on_disk(each)
            yield RetentionRow(
                dataset=each,
                files=0 if facts is None else facts.files,
                size=0 if facts is None else facts.size,
                reasons=tuple(reasons),
            )

    def _touched(self, each: EndedDataset, changed: datetime | None) -> Iterator[str]:
        limit = self._now - self._rules.untouched
        for what, when in (("it", each.changed), ("a file of it", changed)):
            if when is not None and when > limit:
                yield f"{what} changed {when:%Y-%m-%d}"

    def _on_disk(self, each: EndedDataset) -> Iterator[str]:
        if self._levels is None:
            yield "there is no data service with an archive"
            return
        status = self._levels.status([each.id])
        if status == ARCHIVED:
            yield IN_ARCHIVE_ONLY
        elif status != "ONLINE":
            yield f"the data service says {status}"
