"""An ICAT Data Service: stores files and hands them out, as the catalogue allows.

Every call is checked against ICAT with the caller's own session.  A file is stored
first and catalogued after, and uncatalogued first and removed after: there may be a
file without an entry in ICAT, never an entry without its file.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .__main__ import end
    from .check import Check, Kind, Repairs, TooMany
    from .errors import IdsError
    from .server import serve
    from .settings import SettingsError, load

# Imported when first used: no start pays for what it does not use.
_LAZY = {
    "Check": ".check",
    "IdsError": ".errors",
    "Kind": ".check",
    "Repairs": ".check",
    "SettingsError": ".settings",
    "TooMany": ".check",
    "end": ".__main__",
    "load": ".settings",
    "serve": ".server",
}

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


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
