"""From a message, and what it points to, to a plan: reading only, writing nothing."""

from .file_written import FileWritten
from .handler import ByHand, Handler, HandlerContext
from .registry import UnknownHandler, load_handler

__all__ = [
    "ByHand",
    "FileWritten",
    "Handler",
    "HandlerContext",
    "UnknownHandler",
    "load_handler",
]
