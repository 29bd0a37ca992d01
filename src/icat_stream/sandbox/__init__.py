"""The embedded facility: an ICAT, an IDS, a Kafka and files to try things on."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .announcer import LAYOUTS, announce_files
    from .demo import show
    from .facility import Facility, down, reset, up_detached
    from .folder import Folder, SandboxError

# Imported when first used: no start pays for what it does not use.
_LAZY = {
    "Facility": ".facility",
    "Folder": ".folder",
    "LAYOUTS": ".announcer",
    "SandboxError": ".folder",
    "announce_files": ".announcer",
    "down": ".facility",
    "show": ".demo",
    "reset": ".facility",
    "up_detached": ".facility",
}

__all__ = [
    "LAYOUTS",
    "Facility",
    "Folder",
    "SandboxError",
    "announce_files",
    "down",
    "reset",
    "show",
    "up_detached",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
