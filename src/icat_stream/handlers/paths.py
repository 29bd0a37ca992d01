"""Announced paths: from the writer's host to ours, and to the data service."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from icat_stream.config import IdsSettings, LocationSettings, Settings
from icat_stream.records import (
    InvestigationKey,
    Rejection,
    host_path,
    is_windows_path,
    translated,
)


def map_path(announced: str, path_map: Mapping[str, str]) -> str:
    """Return the path on this host of a file that a writer announced.

    Parameters
    ----------
    announced
        As in the message.
    path_map
        From prefixes there to prefixes here; the longest that matches counts.
        Prefixes match whole components only.

    Raises
    ------
    Rejection
        The path is relative, or climbs by ``..``, or holds a NUL.
    """
    found = translated(announced, path_map)
    mapped = host_path(announced) if found is None else found
    if "\0" in announced or ".." in mapped.parts or ".." in host_path(announced).parts:
        raise Rejection(
            f"file_name {announced[:200]!r}: expected a path without '..' and NUL"
        )
    if found is None and is_windows_path(announced):
        raise Rejection(
            f"file_name {announced[:200]!r} is a path of Windows: map its drive, or its"
            " \\\\server\\share, to a folder of this host in files.path_map"
        )
    if not mapped.is_absolute():
        raise Rejection(
            f"file_name {announced[:200]!r} is relative: expected an absolute path;"
            " give the file writer an absolute prefix, or map this one in"
            " files.path_map"
        )
    return str(mapped)


def unmap_path(path: str, path_map: Mapping[str, str]) -> str:
    """Return what a file writer would call a file of this host.

    Parameters
    ----------
    path
        Absolute, on this host.
    path_map
        As for :func:`map_path`, of which this is the inverse.

    Raises
    ------
    Rejection
        No announcement would lead to this file.
    """
    pure = host_path(path)
    candidates = [path] + [
        str(host_path(there) / pure.relative_to(here))
        for there, here in path_map.items()
        if pure.is_relative_to(here)
    ]
    for candidate in candidates:
        if map_path(candidate, path_map) == str(pure):
            return candidate
    raise Rejection(
        f"file {path!r} lies under a prefix of files.path_map that stands for the"
        " file writer's host: no announcement would lead to it"
    )


def locate(
    path: str,
    settings: LocationSettings,
    investigation: InvestigationKey,
    *,
    real_root: str | None = None,
) -> str:
    """Return ``Datafile.location`` of a file that stays where it is.

    Parameters
    ----------
    path
        Real path of the file.
    settings
        Where the data service's storage begins, and the template.
    investigation
        For templates that name it.
    real_root
        The root with its links resolved, as the file's path is.

    Raises
    ------
    Rejection
        The template wants a path below the root, and the file is not there.
    """
    pure = PurePosixPath(path)
    values = {
        "path": path,
        "name": pure.name,
        "investigation": investigation.name,
        "visit_id": investigation.visit_id,
    }
    if "{relative_path}" in settings.template:
        roots = [str(settings.root), *([real_root] if real_root else [])]
        root = next((root for root in roots if pure.is_relative_to(root)), None)
        if root is None:
            raise Rejection(
                f"file {path!r} is not below ids.location.root ({settings.root}), where"
                " the data service would look for it"
            )
        values["relative_path"] = str(pure.relative_to(root))
    return settings.template.format_map(values)


class Confinement:
    """Where the files of an investigation must lie."""

    def __init__(self, settings: Settings) -> None:
        self._templates = settings.files.confine
        self._root = str(settings.ids.location.root)

    def must_hold(self, path: str, investigation: InvestigationKey, field: str) -> None:
        """Return if a file or folder is where the investigation's are.

        Raises
        ------
        Rejection
            It may be another one's.
        """
        if not self._templates:
            return
        folders = [self._folder(each, investigation) for each in self._templates]
        pure = PurePosixPath(path)
        for folder in folders:
            # Paths are real ones; the folder may be a link.
            for spelling in (folder, os.path.realpath(folder)):
                if pure.is_relative_to(spelling):
                    return
        raise Rejection(
            f"{field}: {path[:200]!r} is not where files of {investigation.name}"
            f" must lie: expected it below {' or '.join(folders)} (files.confine)"
        )

    def _folder(self, template: str, investigation: InvestigationKey) -> str:
        values = {
            "root": self._root,
            "investigation": investigation.name,
            "visit_id": investigation.visit_id,
        }
        for key, value in values.items():
            no_folder = "/" in value or value in ("", ".", "..")
            if key != "root" and no_folder and f"{{{key}}}" in template:
                raise Rejection(
                    f"{key} {value[:200]!r} cannot be the name of a folder, as"
                    f" files.confine wants: {template}"
                )
        return template.format_map(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Locations:
    """From ``Datafile.location`` back to the path on this host.

    Parameters
    ----------
    before, after
        Fixed text around the path.
    root
        Where relative paths begin, with a slash at its end; empty for absolute ones.
    """

    before: str
    after: str
    root: str

    @classmethod
    def of(cls, settings: IdsSettings) -> Self | None:
        """Return the way back, or ``None`` where locations do not tell paths."""
        template = settings.location.template
        before, placeholder, after = template.partition("{relative_path}")
        root = str(settings.location.root).rstrip("/") + "/"
        if not placeholder:
            before, placeholder, after = template.partition("{path}")
            root = ""
        if settings.mode != "register" or not placeholder or "{" in before + after:
            return None
        return cls(before=before, after=after, root=root)

    def path(self, location: str) -> str:
        """Return where a location, or the folder of one, is on this host."""
        text = location.removeprefix(self.before)
        if self.after:
            text = text.removesuffix(self.after)
        return text if text.startswith("/") else f"{self.root}{text}"
