"""Consumers of the events topic: what follows once something is in the catalogue."""

from .checksums import Checksums
from .event_handler import EventHandler
from .export_consumer import ExportConsumer
from .gallery import Gallery
from .integration import Document, Integration, IntegrationContext
from .lineage import Lineage
from .statistics import Statistics

__all__ = [
    "Checksums",
    "Document",
    "EventHandler",
    "ExportConsumer",
    "Gallery",
    "Integration",
    "IntegrationContext",
    "Lineage",
    "Statistics",
]
