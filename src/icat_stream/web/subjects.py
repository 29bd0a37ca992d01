"""What a record is about, in a few words."""

from collections.abc import Mapping
from typing import Any


def subject(objects: Mapping[str, Any], key: str | None = None) -> str:
    """Return the name of the file, the dataset or whatever else it is about."""
    for name in ("file", "dataset", "investigation", "user"):
        value = objects.get(name)
        if isinstance(value, str) and value:
            return value.rpartition("/")[2] if name == "file" else value
        if isinstance(value, list) and value:
            return f"{value[0]} and {len(value) - 1} more"
    return key or ""
