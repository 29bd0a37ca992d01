"""Consumers of the events topic: what follows once something is in the catalogue."""

from typing import TYPE_CHECKING

from icat_stream import lazy_face

from .checksums import Checksums
from .event_handler import EventHandler
from .export_consumer import ExportConsumer
from .gallery import Gallery
from .index_rebuild import IndexRebuild, Progress
from .integration import Document, Integration
from .lineage import Lineage
from .message_log import MessageLog
from .outcome_consumer import OutcomeConsumer
from .outcome_follower import OutcomeFollower
from .search_index import SearchIndex
from .statistics import Statistics
from .target_system import IntegrationContext, TargetSystem

if TYPE_CHECKING:
    from .datacite import DataCite
    from .panosc import Panosc
    from .visa import Visa

# With clients of their own.
__getattr__ = lazy_face(
    __name__, {"DataCite": ".datacite", "Panosc": ".panosc", "Visa": ".visa"}
)

__all__ = [
    "Checksums",
    "DataCite",
    "Document",
    "EventHandler",
    "ExportConsumer",
    "Gallery",
    "IndexRebuild",
    "Integration",
    "IntegrationContext",
    "Lineage",
    "MessageLog",
    "OutcomeConsumer",
    "OutcomeFollower",
    "Panosc",
    "Progress",
    "SearchIndex",
    "Statistics",
    "TargetSystem",
    "Visa",
]
