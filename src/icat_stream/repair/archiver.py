"""Carries out an approved plan: datasets leave the disk, batch by batch."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from icat_stream.catalogue import Inventory
from icat_stream.journal import RetentionPlans, RetentionStep, StepState
from icat_stream.records import Rejection
from icat_stream.telemetry import fault_point

from .retention import ARCHIVED, IN_ARCHIVE_ONLY, Levels, RetentionReport, RetentionRow
from .retention_plan import PlannedDataset, RetentionPlan

_ASK_AGAIN_S = 1.0


class Archive(Levels, Protocol):
    """What the data service does with datasets."""

    def leave_disk(self, dataset_id: int) -> None:
        """Have a dataset's files moved to the archive, sooner or later."""
        ...


class Archiver:
    """Has the datasets of a plan moved to the archive, and looks that they are there.

    Each is judged once more before: what changed since the plan was made, or has a
    reason to stay by now, is skipped.  What was asked for is in the journal before it
    is asked for, so that whoever goes on after a crash asks for nothing that is done.

    Parameters
    ----------
    plan
        An approved one.
    kept
        How far it is.
    inventory
        Lists the catalogue.
    archive
        The data service.
    batch
        How many datasets move at a time.
    patience
        Seconds for which a batch is waited for.
    """

    def __init__(
        self,
        plan: RetentionPlan,
        kept: RetentionPlans,
        inventory: Inventory,
        archive: Archive,
        *,
        batch: int,
        patience: float,
    ) -> None:
        self._plan = plan
        self._kept = kept
        self._inventory = inventory
        self._archive = archive
        self._batch = batch
        self._patience = patience

    def steps(self) -> Iterator[tuple[PlannedDataset, RetentionStep]]:
        """Go on with the plan; yield what comes of each dataset that was left.

        One that is still ``asked`` has not reached the archive in time: it is looked at
        again when the plan is gone on with.
        """
        for batch in self._plan.batches(self._batch):
            ids = [each.id for each in batch]
            before = self._kept.steps(self._plan.sha256, ids)
            left = [
                each
                for each in batch
                if each.id not in before or before[each.id].state is StepState.ASKED
            ]
            if left:
                yield from self._archived(left, before)

    def _archived(
        self, batch: Sequence[PlannedDataset], before: dict[int, RetentionStep]
    ) -> Iterator[tuple[PlannedDataset, RetentionStep]]:
        report = RetentionReport(
            self._inventory, self._archive, self._plan.rules, datetime.now(UTC)
        )
        rows = report.judged([each.id for each in batch])
        going: dict[int, PlannedDataset] = {}
        done: list[tuple[PlannedDataset, RetentionStep]] = []
        for each in batch:
            row = rows.get(each.id)
            if each.id in before and row and row.reasons == (IN_ARCHIVE_ONLY,):
                # Asked for by one that has ended in the middle.
                done.append((each, _step(each, StepState.ARCHIVED)))
            elif reason := _reason(each, row):
                done.append((each, _step(each, StepState.SKIPPED, reason)))
            else:
                going[each.id] = each
        asked = [_step(each, StepState.ASKED) for each in going.values()]
        self._kept.note(self._plan.sha256, [*asked, *(step for _, step in done)])
        yield from done
        fault_point("retention-noted")
        yield from self._moved(going)

    def _moved(
        self, going: dict[int, PlannedDataset]
    ) -> Iterator[tuple[PlannedDataset, RetentionStep]]:
        for number, each in list(going.items()):
            try:
                self._archive.leave_disk(number)
            except Rejection as failure:
                del going[number]
                step = _step(each, StepState.SKIPPED, str(failure))
                self._kept.note(self._plan.sha256, [step])
                yield each, step
        fault_point("retention-asked")
        deadline = time.monotonic() + self._patience
        while going:
            for number, each in list(going.items()):
                if self._archive.status([number]) == ARCHIVED:
                    del going[number]
                    step = _step(each, StepState.ARCHIVED)
                    self._kept.note(self._plan.sha256, [step])
                    yield each, step
            if going and time.monotonic() >= deadline:
                break
            if going:
                time.sleep(_ASK_AGAIN_S)
        for each in going.values():
            yield each, _step(each, StepState.ASKED)


def _reason(planned: PlannedDataset, row: RetentionRow | None) -> str:
    if row is None:
        return "it is gone, or its investigation is not over for long enough any more"
    now = PlannedDataset.of(row)
    if now != planned:
        changes = (
            f"{what} {getattr(planned, what)}, now {getattr(now, what)}"
            for what in ("name", "files", "size", "changed")
            if getattr(planned, what) != getattr(now, what)
        )
        return f"it changed since the plan was made: {'; '.join(changes)}"
    return "; ".join(row.reasons)


def _step(planned: PlannedDataset, state: StepState, reason: str = "") -> RetentionStep:
    return RetentionStep(dataset_id=planned.id, state=state, reason=reason)
