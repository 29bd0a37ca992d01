"""After the fact: reconciliation of disk, catalogue and journal; handling again."""

from .backfill import KINDS, Backfill, Extent
from .findings import Finding, Wanted
from .reconciliation import Reconciliation, announce, outermost
from .reingest import Reingest, again

__all__ = [
    "KINDS",
    "Backfill",
    "Extent",
    "Finding",
    "Reconciliation",
    "Reingest",
    "Wanted",
    "again",
    "announce",
    "outermost",
]
