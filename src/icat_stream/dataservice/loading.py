"""Making storages and mappings from their configuration."""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from .errors import IdsError
from .file_storage import FileArchive, FileStorage
from .plugins import ArchiveStorage, MainStorage, ZipMapper
from .settings import DataServiceSettings, PluginSettings, SettingsError
from .zip_mapping import ZipMapping


def main_storage(settings: DataServiceSettings) -> MainStorage:
    """Return the main storage.

    Parameters
    ----------
    settings
        Name it.

    Raises
    ------
    SettingsError
        There is no such plugin, or it cannot be made like this.
    """
    made: MainStorage = _made(
        "main_storage",
        settings.main_storage,
        {"files": FileStorage},
        settings.base,
        MainStorage,
    )
    return made


def archive_storage(settings: DataServiceSettings) -> ArchiveStorage | None:
    """Return the archive storage, if there is one: see :func:`main_storage`."""
    if settings.archive_storage is None:
        return None
    made: ArchiveStorage = _made(
        "archive_storage",
        settings.archive_storage,
        {"files": FileArchive},
        settings.base,
        ArchiveStorage,
    )
    return made


def zip_mapper(settings: DataServiceSettings) -> ZipMapper:
    """Return the zip mapping: see :func:`main_storage`."""
    made: ZipMapper = _made(
        "zip_mapper",
        settings.zip_mapper,
        {"icat": ZipMapping},
        settings.base,
        ZipMapper,
    )
    return made


def _made(
    kind: str,
    settings: PluginSettings,
    shipped: Mapping[str, Callable[..., Any]],
    base: Path,
    protocol: type,
) -> Any:
    name = settings.plugin
    factory = shipped.get(name) or _found(kind, name, shipped)
    options = _converted(kind, name, factory, settings.model_extra or {}, base)
    try:
        made = factory(**options)
    except (IdsError, OSError, ValueError) as error:
        raise SettingsError(f"{kind}: {error}") from None
    missing = [
        method
        for method in vars(protocol)
        if not method.startswith("_") and not callable(getattr(made, method, None))
    ]
    if missing:
        raise SettingsError(
            f"{kind}.plugin: {name} has no method {', '.join(missing)}: it must have"
            f" all of {protocol.__name__}'s"
        )
    return made


def _found(kind: str, name: str, shipped: Mapping[str, Any]) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    if attribute:
        try:
            found = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise SettingsError(f"{kind}.plugin: {name}: {error}") from None
    else:
        group = f"icat_stream.{kind}"
        points = entry_points(group=group, name=name)
        if not points:
            known = sorted({*shipped, *entry_points(group=group).names})
            raise SettingsError(
                f"{kind}.plugin: {name} is unknown: expected one of"
                f" {', '.join(known)}, or package.module:Class"
            )
        found = next(iter(points)).load()
    if not callable(found):
        raise SettingsError(f"{kind}.plugin: {name} cannot be called")
    made: Callable[..., Any] = found
    return made


def _converted(
    kind: str, name: str, factory: Callable[..., Any], options: Any, base: Path
) -> dict[str, Any]:
    """Check options against what the plugin's signature says, and convert them."""
    try:
        known = inspect.signature(factory).parameters
    except ValueError as error:
        raise SettingsError(f"{kind}.plugin: {name}: {error}") from None
    anything = any(p.kind is p.VAR_KEYWORD for p in known.values())
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    mistakes = [
        f"{kind}.{option}: {name} has no such option"
        for option in options
        if option not in known and not anything
    ]
    mistakes += [
        f"{kind}.{option}: {name} needs it"
        for option, p in known.items()
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and option not in options
    ]
    converted = {}
    for option, value in options.items():
        hint = hints.get(option, Any)
        try:
            new = TypeAdapter(hint).validate_python(value)
        except ValidationError as error:
            mistakes.append(f"{kind}.{option}: {error.errors()[0]['msg']}")
            continue
        is_path = hint is Path or Path in get_args(hint)
        converted[option] = base / new if is_path and new is not None else new
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return converted
