"""An ICAT Data Service: stores files and hands them out, as the catalogue allows.

Every call is checked against ICAT with the caller's own session.  A file is stored
first and catalogued after, and uncatalogued first and removed after: there may be a
file without an entry in ICAT, never an entry without its file.
"""

from typing import TYPE_CHECKING

from icat_stream import lazy_face

if TYPE_CHECKING:
    from .__main__ import end
    from .check import Check, Kind, Repairs, TooMany
    from .errors import IdsError
    from .server import serve
    from .settings import SettingsError, load

__getattr__ = lazy_face(
    __name__,
    {
        "Check": ".check",
        "IdsError": ".errors",
        "Kind": ".check",
        "Repairs": ".check",
        "SettingsError": ".settings",
        "TooMany": ".check",
        "end": ".__main__",
        "load": ".settings",
        "serve": ".server",
    },
)

__all__ = [
    "Check",
    "IdsError",
    "Kind",
    "Repairs",
    "SettingsError",
    "TooMany",
    "end",
    "load",
    "serve",
]
