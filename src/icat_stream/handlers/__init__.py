"""From a message, and what it points to, to a plan: reading only, writing nothing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .handler import ByHand, Handler, HandlerContext

if TYPE_CHECKING:
    from .datasets import Datasets
    from .file_written import FileWritten
    from .investigations import Investigations
    from .operations import OperationsHandler
    from .options import read_options
    from .paths import Locations, map_path
    from .users import Users

# Imported when first used: a start pays for the handlers of its configuration only.
_LAZY = {
    "Datasets": ".datasets",
    "FileWritten": ".file_written",
    "Investigations": ".investigations",
    "Locations": ".paths",
    "OperationsHandler": ".operations",
    "Users": ".users",
    "map_path": ".paths",
    "read_options": ".options",
}

__all__ = [
    "ByHand",
    "Datasets",
    "FileWritten",
    "Handler",
    "HandlerContext",
    "Investigations",
    "Locations",
    "OperationsHandler",
    "Users",
    "map_path",
    "read_options",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
