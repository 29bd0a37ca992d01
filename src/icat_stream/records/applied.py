"""What became of a plan in the catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from .outcome import OutcomeKind
from .plan import InvestigationKey


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedDataset:
    """A dataset that is now as planned.

    Parameters
    ----------
    investigation, name
        Its natural key; the name may have got a suffix by policy.
    investigation_id, id
        ICAT's.
    kind
        ``ingested`` or ``unchanged``.
    """

    investigation: InvestigationKey
    name: str
    investigation_id: int
    id: int
    kind: OutcomeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedSnapshot:
    """A user or an investigation that is now as planned.

    Parameters
    ----------
    user, investigation
        Which of them it is: the natural key.
    id
        ICAT's.
    kind
        ``ingested`` or ``unchanged``.
    """

    id: int
    kind: OutcomeKind
    user: str | None = None
    investigation: InvestigationKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a plan.

    Parameters
    ----------
    kind
        ``unchanged`` when nothing had to be written, else ``ingested``.
    snapshots
        Users, then investigations, in the plan's order.
    datasets
        In the plan's order.
    written
        One line for each thing that was written.
    notes
        What was left out by policy.
    objects
        What people search by, where there is one dataset.
    """

    kind: OutcomeKind
    snapshots: tuple[AppliedSnapshot, ...] = ()
    datasets: tuple[AppliedDataset, ...] = ()
    written: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    objects: Mapping[str, Any] = field(default_factory=dict)

    def also(self, lines: Sequence[str]) -> Self:
        """Return the same with further lines of what was written."""
        return replace(self, written=(*self.written, *lines))
