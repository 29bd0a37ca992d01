"""Relative paths of a configuration: relative to its file, wherever one works."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

_M = TypeVar("_M", bound=BaseModel)


def anchored(settings: _M, folder: Path) -> _M:
    """Return settings in which each path, in each section, is absolute.

    Parameters
    ----------
    settings
        As they were read.
    folder
        Absolute; that of the configuration's file.
    """
    updates = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        found = _anchored(value, folder)
        if found is not value:
            updates[name] = found
    return settings.model_copy(update=updates) if updates else settings


def _anchored(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return value if value.is_absolute() else folder / value
    if isinstance(value, BaseModel):
        return anchored(value, folder)
    if isinstance(value, list):
        return [_anchored(each, folder) for each in value]
    return value
