"""A Kafka stream processor for ICAT: from announcement to catalogue.

Nothing lost, nothing twice.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    # Looking the version up takes a tenth of what a command may take to start.
    if name == "__version__":
        from importlib.metadata import version

        return version("icat-stream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def lazy_face(room: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a room's ``__getattr__``, which imports what is first asked for.

    No start pays for what it does not use.

    Parameters
    ----------
    room
        Its ``__name__``.
    places
        Module, with a leading dot, by name.
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(places[name], room), name)

    return get
