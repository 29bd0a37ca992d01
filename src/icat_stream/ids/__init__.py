"""The client of a data service (IDS): uploads, copies to the archive, status."""

from .client import IcatAccess, IdsClient
from .ids import Ids

__all__ = ["IcatAccess", "Ids", "IdsClient"]
