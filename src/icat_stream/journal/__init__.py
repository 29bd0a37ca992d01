"""The journal: what became of each record, and what is known between records."""

from .exports import Export, Exports
from .journal import Journal
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
from .rows import ONE_SHOT, JournalRow, RowKey
from .search import By, Count, Entries, Entry, Search

__all__ = [
    "ONE_SHOT",
    "By",
    "Claim",
    "Count",
    "Decision",
    "Entity",
    "Entries",
    "Entry",
    "Export",
    "Exports",
    "Journal",
    "JournalRow",
    "NewestClaims",
    "Recalled",
    "Repeat",
    "RowKey",
    "Search",
    "Standing",
    "journal_exists",
    "reading",
    "reason_kind",
]
