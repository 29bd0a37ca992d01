"""A Kafka stream processor for ICAT: from announcement to catalogue.

Nothing lost, nothing twice.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    # Looking the version up takes a tenth of what a command may take to start.
    if name == "__version__":
        from importlib.metadata import version

        return version("icat-stream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
