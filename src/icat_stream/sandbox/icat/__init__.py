"""An ICAT server without Java: SOAP and REST on SQLite, for trying and testing."""

from icat_stream.sandbox.icat.app import create_app
from icat_stream.sandbox.icat.service import Settings

__all__ = ["Settings", "create_app"]
