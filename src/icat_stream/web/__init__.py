"""The dashboard: everyone sees what became of the data."""

from typing import TYPE_CHECKING

from icat_stream import lazy_face

if TYPE_CHECKING:
    from .server import serve

__getattr__ = lazy_face(__name__, {"serve": ".server"})

__all__ = ["serve"]
