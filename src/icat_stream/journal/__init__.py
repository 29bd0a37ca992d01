"""The journal: what became of each record, and what is known between records."""

from .journal import Journal
from .newest import Claim, Decision, Entity, Newest, Standing
from .rows import JournalRow, RowKey

__all__ = [
    "Claim",
    "Decision",
    "Entity",
    "Journal",
    "JournalRow",
    "Newest",
    "RowKey",
    "Standing",
]
