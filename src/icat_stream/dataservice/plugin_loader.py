"""Making storages and mappings from their configuration."""

import inspect
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from itertools import permutations
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from .errors import IdsError
from .file_storage import FileArchive, FileStorage
from .plugins import ArchiveStorage, MainStorage, ZipMapper
from .settings import DataServiceSettings, PluginSettings, SettingsError
from .zip_mapping import ZipMapping


def storages(
    settings: DataServiceSettings,
) -> tuple[MainStorage, ArchiveStorage | None]:
    """Return main and archive storage.

    Raises
    ------
    SettingsError
        There is no such plugin, it cannot be made like this, or something that
        nobody may download lies in a storage.
    """
    main: MainStorage = _made(
        "main_storage",
        settings.main_storage,
        {"files": FileStorage},
        settings.base,
        MainStorage,
    )
    archive: ArchiveStorage | None = None
    if settings.archive_storage is not None:
        archive = _made(
            "archive_storage",
            settings.archive_storage,
            {"files": FileArchive},
            settings.base,
            ArchiveStorage,
        )
    roots = {
        f"{kind}.root": os.path.realpath(root)
        for kind, storage in (("main_storage", main), ("archive_storage", archive))
        if (root := getattr(storage, "root", None)) is not None
    }
    _must_be_apart(roots, settings.own_paths())
    return main, archive


def zip_mapper(settings: DataServiceSettings) -> ZipMapper:
    """Return the zip mapping: see :func:`storages`."""
    made: ZipMapper = _made(
        "zip_mapper",
        settings.zip_mapper,
        {"icat": ZipMapping},
        settings.base,
        ZipMapper,
    )
    return made


def _must_be_apart(roots: Mapping[str, str], own: Mapping[str, Path]) -> None:
    """Refuse a storage that holds another one, or what is not for its callers."""
    mistakes = [
        f"{one} {root} and {other} {inner}: one is inside the other"
        for (one, root), (other, inner) in permutations(roots.items(), 2)
        if _is_inside(inner, root) and (inner != root or one < other)
    ]
    mistakes += [
        f"{key} {path} lies in {kind} {root}, where callers could download it: expected"
        " a place outside of every storage"
        for key, path in own.items()
        for kind, root in roots.items()
        if _is_inside(os.path.realpath(path), root)
    ]
    if mistakes:
        raise SettingsError("\n".join(mistakes))


def _is_inside(path: str, folder: str) -> bool:
    return f"{path}/".startswith(folder.rstrip("/") + "/")


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
