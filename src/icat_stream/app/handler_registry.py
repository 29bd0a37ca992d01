"""Finding the handler that a configuration names."""

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol

from icat_stream.config import Settings
from icat_stream.handlers import Handler, HandlerContext, PlainHandlers

# Imported when a configuration names it: no start pays for what it does not use.
_BUILT_IN = {
    "checksums": "icat_stream.integrations:Checksums",
    "datasets": "icat_stream.handlers:Datasets",
    "file_written": "icat_stream.handlers:FileWritten",
    "investigations": "icat_stream.handlers:Investigations",
    "lineage": "icat_stream.integrations:Lineage",
    "operations": "icat_stream.handlers:OperationsHandler",
    "statistics": "icat_stream.integrations:Statistics",
    "users": "icat_stream.handlers:Users",
}
ENTRY_POINTS = "icat_stream.handlers"


class UnknownHandler(Exception):
    """A configuration names a handler that cannot be had."""


class HandlerMaker(Protocol):
    """A class of handlers, or what stands for one."""

    rights: Mapping[str, str]

    def __call__(self, context: HandlerContext) -> Handler:
        """Make one."""
        ...

    def check(self, settings: Settings, options: Mapping[str, Any]) -> None:
        """Raise ``ConfigError`` with what is wrong with the options."""
        ...


def load_handler(name: str) -> HandlerMaker:
    """Return what makes the handlers of a name.

    A class that is no :class:`~icat_stream.handlers.Handler`, or another callable, is
    wrapped: a facility's own need only have the three methods.

    Parameters
    ----------
    name
        Of a built-in handler, of an entry point in the group
        ``icat_stream.handlers``, or ``package.module:Class``.

    Raises
    ------
    UnknownHandler
        There is none of that name, or it cannot be imported.
    """
    place = _BUILT_IN.get(name, name)
    try:
        if ":" in place:
            module, _, attribute = place.partition(":")
            found = getattr(importlib.import_module(module), attribute)
        else:
            points = entry_points(group=ENTRY_POINTS, name=name)
            if not points:
                known = sorted([*_BUILT_IN, *entry_points(group=ENTRY_POINTS).names])
                raise UnknownHandler(
                    f"no handler {name!r}: known are {', '.join(known)}, or"
                    " package.module:Class"
                )
            found = next(iter(points)).load()
    except (ImportError, AttributeError) as error:
        raise UnknownHandler(f"handler {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise UnknownHandler(f"handler {name!r} is no class: {found!r:.80}")
    if isinstance(found, type) and issubclass(found, Handler):
        return found
    return PlainHandlers(found)
