"""After the fact: reconciliation of disk, catalogue and journal; handling again."""

from .backfill import KINDS, Backfill, Extent
from .findings import Finding, Wanted
from .reconciliation import Reconciliation, announce, outermost
from .reingest import Reingest, again
from .retention import RetentionReport, RetentionRow, RetentionRules

__all__ = [
    "KINDS",
    "Backfill",
    "Extent",
    "Finding",
    "Reconciliation",
    "Reingest",
    "RetentionReport",
    "RetentionRow",
    "RetentionRules",
    "Wanted",
    "again",
    "announce",
    "outermost",
]
