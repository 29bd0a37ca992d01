"""After the fact: reconciliation of disk, catalogue and journal; handling again."""

from .backfill import KINDS, Backfill, Extent
from .findings import FINDING_KINDS, Finding, FindingKind, Wanted
from .kept_findings import MOST_OF_A_KIND, KeptFindings
from .reconciliation import Reconciliation, announce, outermost
from .reingest import Reingest, again
from .retention import RetentionReport, RetentionRow, RetentionRules

__all__ = [
    "FINDING_KINDS",
    "KINDS",
    "MOST_OF_A_KIND",
    "Backfill",
    "Extent",
    "Finding",
    "FindingKind",
    "KeptFindings",
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
