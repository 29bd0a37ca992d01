"""The data service (IDS) as its client: uploads, copies to the archive, status."""

from icat_stream.ids.catalogue_lane import CatalogueLane, CatalogueSession
from icat_stream.ids.client import IdsClient
from icat_stream.ids.storage import Storage

__all__ = ["CatalogueLane", "CatalogueSession", "IdsClient", "Storage"]
