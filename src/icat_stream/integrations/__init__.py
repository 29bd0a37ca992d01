"""Consumers of the events topic: what follows once something is in the catalogue."""

from .checksums import Checksums
from .event_handler import EventHandler
from .lineage import Lineage
from .statistics import Statistics

__all__ = ["Checksums", "EventHandler", "Lineage", "Statistics"]
