"""From a message, and what it points to, to a plan: reading only, writing nothing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .handler import Handler, HandlerContext, PlainHandler, PlainHandlers

if TYPE_CHECKING:
    from .datasets import Datasets
    from .field_map_handler import FieldMapHandler
    from .file_written import FileWritten
    from .investigations import Investigations
    from .operations import OperationsHandler
    from .options import read_options
    from .paths import Locations, map_path
    from .users import Users

# Imported when first used: a start pays for the handlers of its configuration only.
_LAZY = {
    "Datasets": ".datasets",
    "FieldMapHandler": ".field_map_handler",
    "FileWritten": ".file_written",
    "Investigations": ".investigations",
    "Locations": ".paths",
    "OperationsHandler": ".operations",
    "Users": ".users",
    "map_path": ".paths",
    "read_options": ".options",
}

__all__ = [
    "Datasets",
    "FieldMapHandler",
    "FileWritten",
    "Handler",
    "HandlerContext",
    "Investigations",
    "Locations",
    "OperationsHandler",
    "PlainHandler",
    "PlainHandlers",
    "Users",
    "map_path",
    "read_options",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
