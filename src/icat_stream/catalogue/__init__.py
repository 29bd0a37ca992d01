"""The catalogue: look-ups, and bringing ICAT to a plan, once and only once.

A :class:`Catalogue` is shared by all of a process; each thread has a
:class:`CatalogueSession` of
it.  What goes wrong is raised as the failures of :mod:`icat_stream.records`.
"""

from icat_stream.icat import FacilityMissing, quote

from .catalogue import Catalogue
from .catalogue_session import CatalogueSession
from .file_store import FileStore
from .inventory import (
    EndedDataset,
    HeldObject,
    Inventory,
    InvestigationSelection,
    LocatedFile,
    NamedDataset,
    Period,
    Scope,
)

__all__ = [
    "Catalogue",
    "CatalogueSession",
    "EndedDataset",
    "FacilityMissing",
    "FileStore",
    "HeldObject",
    "Inventory",
    "InvestigationSelection",
    "LocatedFile",
    "NamedDataset",
    "Period",
    "Scope",
    "quote",
]
