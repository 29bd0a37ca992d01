"""The journal: one row for what became of each record, and what jobs announced."""

from .journal import Journal
from .rows import JournalRow, RowKey

__all__ = ["Journal", "JournalRow", "RowKey"]
