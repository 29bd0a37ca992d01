"""The embedded facility: an ICAT, an IDS, a Kafka and files to try things on."""

from typing import TYPE_CHECKING

from icat_stream import lazy_face

if TYPE_CHECKING:
    from .announcer import LAYOUTS, announce_files
    from .demo import show
    from .facility import Facility, down, reset, up_detached
    from .folder import Folder, SandboxError

__getattr__ = lazy_face(
    __name__,
    {
        "Facility": ".facility",
        "Folder": ".folder",
        "LAYOUTS": ".announcer",
        "SandboxError": ".folder",
        "announce_files": ".announcer",
        "down": ".facility",
        "show": ".demo",
        "reset": ".facility",
        "up_detached": ".facility",
    },
)

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
