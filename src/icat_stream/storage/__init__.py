"""The data service (IDS) as its client: uploads, copies to the archive, status."""

from .catalogue_lane import CatalogueLane, CatalogueSession
from .lane import StorageLane
from .storage import Storage

__all__ = ["CatalogueLane", "CatalogueSession", "Storage", "StorageLane"]
