"""The journal: what became of each record, and what is known between records."""

from .journal import Journal
from .newest_claims import Claim, Decision, Entity, Newest, Standing
from .reading import journal_exists, reading
from .rows import JournalRow, RowKey
from .search import By, Count, Entries, Entry, Search

__all__ = [
    "By",
    "Claim",
    "Count",
    "Decision",
    "Entity",
    "Entries",
    "Entry",
    "Journal",
    "JournalRow",
    "Newest",
    "RowKey",
    "Search",
    "Standing",
    "journal_exists",
    "reading",
]
