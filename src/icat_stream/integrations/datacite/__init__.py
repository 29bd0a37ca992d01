"""DOIs of investigations at DataCite."""

from .datacite import DataCite

__all__ = ["DataCite"]
