"""The files of a dataset: where a message says they are, and what is there."""

import os
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from icat_stream.config import FormatSettings, Settings
from icat_stream.messages import StatedDatafile
from icat_stream.records import (
    Datafile,
    DatafileFormat,
    FileReader,
    FolderFile,
    InvestigationKey,
    Parameter,
    Rejection,
    is_windows_path,
)

from .paths import Confinement, locate, map_path

BASE_FIELDS = ("root", "investigation", "visit_id", "instrument")
# PATH_MAX of Linux.
_LONGEST_PATH = 4096
Parameters = Callable[[StatedDatafile], tuple[Parameter, ...]]


@dataclass(frozen=True, slots=True)
class Place:
    """A dataset's folder.

    Parameters
    ----------
    folder
        On this host.
    investigation
        For locations that name it.
    """

    folder: str
    investigation: InvestigationKey


class DatasetFiles:
    """Makes datafiles of what messages list, or of what lies in a folder.

    Parameters
    ----------
    files
        The only way to them.
    settings
        Roots, path map, and the data service's locations.
    base
        Template of the folder where relative locations begin.
    check
        Whether listed files are looked at.
    walk
        Whether files are found where none are listed.
    most
        How many a dataset may have.
    format
        Of all of them.
    """

    def __init__(
        self,
        files: FileReader,
        settings: Settings,
        *,
        base: str,
        check: bool,
        walk: bool,
        most: int,
        format: FormatSettings | None,
    ) -> None:
        self._files = files
        self._settings = settings
        self._base = base
        self._check = check
        self._walk = walk
        self._most = most
        self._format = (
            None
            if format is None
            else DatafileFormat(name=format.name, version=format.version)
        )
        # Files are known by their real paths, so the root has to be, too.
        self._root = os.path.realpath(settings.ids.location.root)
        self._roots = [str(root) for root in settings.files.roots]
        self._confinement = Confinement(settings)

    def place(
        self, location: str, investigation: InvestigationKey, instrument: str | None
    ) -> Place:
        """Return a dataset's folder.

        Parameters
        ----------
        location
            As in the message.
        investigation, instrument
            Of the dataset.

        Raises
        ------
        Rejection
            It is outside the allowed folders.
        """
        if not location.startswith("/") and not is_windows_path(location):
            values = {
                "root": str(self._settings.ids.location.root),
                "investigation": investigation.name,
                "visit_id": investigation.visit_id,
                "instrument": instrument or "",
            }
            if any(
                "/" in v or v in ("", ".", "..")
                for k, v in values.items()
                if k != "root" and f"{{{k}}}" in self._base
            ):
                raise Rejection(
                    f"location: {location[:200]!r} is relative, and {self._base}, where"
                    " it begins, needs an investigation and an instrument whose names"
                    " can be folders"
                )
            location = f"{self._base.format_map(values)}/{location}"
        folder = self._mapped(location, "location")
        self._confinement.must_hold(folder, investigation, "location")
        return Place(folder, investigation)

    def all(
        self,
        place: Place,
        listed: Sequence[StatedDatafile],
        parameters: Parameters,
    ) -> tuple[Datafile, ...]:
        """Return the datafiles that are listed, or else those below the folder.

        Raises
        ------
        Rejection
            There are too many, twice the same, none, or some outside the roots.
        NotReady
            Some are missing, or still being written.
        """
        if len(listed) > self._most:
            raise Rejection(
                f"datafiles: {len(listed)} are listed, expected at most {self._most}"
                " (options.max_datafiles)"
            )
        if listed:
            return self._listed(place, listed, parameters)
        if not self._walk:
            raise Rejection(
                "datafiles: none are listed, and those of the location are not looked"
                " for (options.walk: false)"
            )
        folder = self._files.folder(place.folder, most=self._most)
        if not folder.files:
            raise Rejection(
                f"datafiles: none are listed, and location {place.folder} holds none"
            )
        return tuple(
            self._datafile(place, file, name=file.name) for file in folder.files
        )

    def _listed(
        self, place: Place, listed: Sequence[StatedDatafile], parameters: Parameters
    ) -> tuple[Datafile, ...]:
        paths = [self._path(place, file) for file in listed]
        names = [
            file.name or _name(path, place.folder)
            for file, path in zip(listed, paths, strict=True)
        ]
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise Rejection(f"datafiles: {name[:200]!r} is listed twice")
            seen.add(name)
        if not self._check:
            return tuple(
                Datafile(
                    name=name,
                    location=self._location(path, place),
                    size=_size(file),
                    format=self._format,
                    parameters=parameters(file),
                    source=path,
                )
                for file, path, name in zip(listed, paths, names, strict=True)
            )
        found = self._files.folder(place.folder, names=paths, most=self._most).files
        for stated, there in zip(listed, found, strict=True):
            if stated.size is not None and stated.size != there.size:
                raise Rejection(
                    f"datafiles: {stated.location[:200]!r} has {there.size} bytes, and"
                    f" is announced with {stated.size}"
                )
        return tuple(
            self._datafile(place, there, name=name, parameters=parameters(stated))
            for stated, there, name in zip(listed, found, names, strict=True)
        )

    def _path(self, place: Place, file: StatedDatafile) -> str:
        path = file.location
        if not is_windows_path(path):
            path = posixpath.join(place.folder, path)
        return self._mapped(path, "datafiles")

    def _mapped(self, path: str, field: str) -> str:
        """Return a path on this host, below the allowed folders by its text."""
        if len(path) > _LONGEST_PATH:
            raise Rejection(
                f"{field}: {path[:200]!r}… has {len(path)} characters, expected at"
                f" most {_LONGEST_PATH}"
            )
        try:
            mapped = map_path(path, self._settings.files.path_map)
        except Rejection as error:
            # It speaks of a file writer's field.
            reason = error.reason.removeprefix("file_name ")
            raise Rejection(f"{field}: {reason}") from None
        if not any(PurePosixPath(mapped).is_relative_to(root) for root in self._roots):
            raise Rejection(
                f"{field}: {path[:200]!r} is outside the allowed folders"
                f" ({', '.join(self._roots)}); it was not looked at"
            )
        return mapped

    def _datafile(
        self,
        place: Place,
        file: FolderFile,
        *,
        name: str,
        parameters: tuple[Parameter, ...] = (),
    ) -> Datafile:
        return Datafile(
            name=name,
            location=self._location(file.path, place),
            size=file.size,
            mod_time=datetime.fromtimestamp(file.mtime_ns // 10**9, UTC),
            format=self._format,
            parameters=parameters,
            source=file.path,
        )

    def _location(self, path: str, place: Place) -> str | None:
        self._confinement.must_hold(path, place.investigation, "datafiles")
        ids = self._settings.ids
        if ids.url is not None and ids.mode == "put":
            # The data service decides where an uploaded file goes.
            return None
        return locate(path, ids.location, place.investigation, real_root=self._root)


def _name(path: str, folder: str) -> str:
    pure = PurePosixPath(path)
    return str(pure.relative_to(folder)) if pure.is_relative_to(folder) else pure.name


def _size(file: StatedDatafile) -> int | None:
    if file.size is not None and file.size < 0:
        raise Rejection(
            f"datafiles: {file.location[:200]!r} has size {file.size}, expected a"
            " number of bytes"
        )
    return file.size
