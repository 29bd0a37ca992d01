"""After the fact: reconciliation of disk, catalogue and journal; handling again."""

from .archiver import Archiver
from .backfill import KINDS, Backfill, Extent
from .findings import FINDING_KINDS, Finding, FindingKind, Wanted
from .kept_findings import MOST_OF_A_KIND, KeptFindings
from .reconciliation import Reconciliation, announce, outermost
from .reingest import Reingest, again
from .retention import RetentionReport, RetentionRow, RetentionRules
from .retention_approval import Approvals
from .retention_plan import PlannedDataset, PlanWriter, RetentionPlan

__all__ = [
    "FINDING_KINDS",
    "KINDS",
    "MOST_OF_A_KIND",
    "Approvals",
    "Archiver",
    "Backfill",
    "Extent",
    "Finding",
    "FindingKind",
    "KeptFindings",
    "PlanWriter",
    "PlannedDataset",
    "Reconciliation",
    "Reingest",
    "RetentionPlan",
    "RetentionReport",
    "RetentionRow",
    "RetentionRules",
    "Wanted",
    "again",
    "announce",
    "outermost",
]
