"""Finding the handler that a configuration names."""

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

from .checksums import Checksums
from .datasets import Datasets
from .file_written import FileWritten
from .handler import Handler, HandlerContext
from .investigations import Investigations
from .operations import OperationsHandler
from .users import Users

_BUILT_IN: dict[str, Callable[[HandlerContext], Handler]] = {
    "checksums": Checksums,
    "datasets": Datasets,
    "file_written": FileWritten,
    "investigations": Investigations,
    "operations": OperationsHandler,
    "users": Users,
}
ENTRY_POINTS = "icat_stream.handlers"


class UnknownHandler(Exception):
    """A configuration names a handler that cannot be had."""


def load_handler(name: str) -> Callable[[HandlerContext], Handler]:
    """Return the class, or another callable, that makes a handler.

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
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    try:
        if ":" in name:
            module, _, attribute = name.partition(":")
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
    return cast(Callable[[HandlerContext], Handler], found)
