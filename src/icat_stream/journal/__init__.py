"""The journal: what became of each record, and what is known between records."""

from icat_stream.records import ONE_SHOT, JournalRow, RowKey

from .audit_trail import Act, AuditTrail
from .engines import postgres_engine
from .entry_json import entry_values
from .exports import Export, Exports
from .journal import Fenced, Journal, Move
from .newest_claims import (
    Claim,
    Decision,
    Entity,
    NewestClaims,
    Recalled,
    Repeat,
    Standing,
)
from .read_access import journal_exists, reading
from .reason_kinds import reason_kind
from .reconciliations import KeptFinding, ReconciliationRun
from .retention_plans import Approval, RetentionPlans, RetentionStep, StepState
from .scheduled_runs import ScheduledRun, ScheduledRuns
from .script_tokens import ScriptToken
from .search import By, Count, Entries, Entry, EntryPlace, Search
from .stated_snapshots import StatedSnapshots
from .summaries import QUARTER_MS, Interval, Summaries, Total, Wait

__all__ = [
    "ONE_SHOT",
    "QUARTER_MS",
    "Act",
    "Approval",
    "AuditTrail",
    "By",
    "Claim",
    "Count",
    "Decision",
    "Entity",
    "Entries",
    "Entry",
    "EntryPlace",
    "Export",
    "Exports",
    "Fenced",
    "Interval",
    "Journal",
    "JournalRow",
    "KeptFinding",
    "Move",
    "NewestClaims",
    "Recalled",
    "ReconciliationRun",
    "Repeat",
    "RetentionPlans",
    "RetentionStep",
    "RowKey",
    "ScheduledRun",
    "ScheduledRuns",
    "ScriptToken",
    "Search",
    "Standing",
    "StatedSnapshots",
    "StepState",
    "Summaries",
    "Total",
    "Wait",
    "entry_values",
    "journal_exists",
    "postgres_engine",
    "reading",
    "reason_kind",
]
