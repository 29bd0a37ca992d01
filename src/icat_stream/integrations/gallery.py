"""Pictures of datasets, as datafiles of theirs.

A dataset names its pictures in a parameter, as for the portal of ESRF; here they come
into the catalogue, and by that into the data service.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import ClassVar

from pydantic import Field

from icat_stream.config import FormatSettings, Section
from icat_stream.handlers import READING, Confinement, HandlerContext, locate, map_path
from icat_stream.messages import EventMessage
from icat_stream.records import (
    Datafile,
    DatafileFormat,
    Dataset,
    DatasetEntry,
    FileHead,
    FileStat,
    Lookups,
    Outcome,
    OutcomeKind,
    Plan,
    Rejection,
    shortened,
)

from .event_handler import EventHandler

# How files begin, by what their names may end in.
_BEGINNINGS = {
    (".png",): b"\x89PNG\r\n\x1a\n",
    (".jpg", ".jpeg"): b"\xff\xd8\xff",
    (".gif",): b"GIF8",
    (".webp",): b"RIFF",
}
_SHOWN = 300


class GalleryOptions(Section):
    """Options of the handler ``gallery``."""

    paths: str = Field(
        "ResourcesGalleryFilePaths",
        description="The parameter with the pictures' paths, separated by commas;"
        " relative ones begin at the dataset's location.",
    )
    folder: str = Field(
        "gallery",
        pattern=r"^[^/]+$",
        description="Names of the datafiles begin with it.",
    )
    max_bytes: int = Field(
        20_000_000, ge=1, description="Of a picture; larger ones are left out."
    )
    max_pictures: int = Field(200, ge=1, description="Of one dataset.")
    datafile_format: FormatSettings | None = Field(
        None, description="Of the pictures; must be in the catalogue."
    )


class Gallery(EventHandler[GalleryOptions]):
    """Handler of our own events: gives datasets their pictures."""

    Options = GalleryOptions
    sends_events = True
    cause = "gallery"
    rights: ClassVar[Mapping[str, str]] = {
        **READING,
        "DatasetType": "R",
        "ParameterType": "R",
        "DatasetParameter": "R",
        "DatafileFormat": "R",
        "Dataset": "RU",
        "Datafile": "CRU",
    }

    def __init__(self, context: HandlerContext) -> None:
        super().__init__(context)
        settings = context.settings
        self._files = context.files
        self._path_map = settings.files.path_map
        self._confinement = Confinement(settings)
        self._ids = settings.ids
        self._real_root = os.path.realpath(settings.ids.location.root)
        kind = self.options.datafile_format
        self._format = (
            None
            if kind is None
            else DatafileFormat(name=kind.name, version=kind.version)
        )

    def lane(self, event: EventMessage) -> str:
        """Return the dataset."""
        return f"{event.kind} {event.dataset_id}"

    def plan(self, event: EventMessage, lookups: Lookups) -> Plan | Outcome:
        """Return the dataset with its pictures; notes say which are left out."""
        dataset = self.dataset(event, lookups)
        if isinstance(dataset, Outcome):
            return dataset
        notes: list[str] = []
        datafiles = self._datafiles(dataset, notes)
        if not datafiles:
            reason = "; ".join(notes) or "it names no pictures"
            return self.nothing(event, OutcomeKind.UNCHANGED, reason)
        return Plan(
            facility=self.facility,
            datasets=(
                Dataset(
                    investigation=dataset.investigation,
                    name=dataset.name,
                    type=dataset.type,
                    complete=dataset.complete,
                    datafiles=datafiles,
                    existing="update",
                    partial=True,
                ),
            ),
            notes=tuple(notes),
        )

    def _datafiles(
        self, dataset: DatasetEntry, notes: list[str]
    ) -> tuple[Datafile, ...]:
        named = _named(dataset.parameters.get(self.options.paths))
        most = self.options.max_pictures
        if len(named) > most:
            left = len(named) - most
            notes.append(f"{left} more pictures than {most} (options.max_pictures)")
        paths: list[str] = []
        for name in named[:most]:
            try:
                paths.append(self._path(name, dataset))
            except Rejection as refused:
                notes.append(_left_out(refused.reason))
        datafiles: dict[str, Datafile] = {}
        for head in self._files.heads(paths):
            try:
                datafile = self._datafile(self._picture(head), dataset, datafiles)
            except Rejection as refused:
                notes.append(_left_out(refused.reason))
            else:
                datafiles[datafile.name] = datafile
        return tuple(datafiles.values())

    def _path(self, name: str, dataset: DatasetEntry) -> str:
        """Return a picture's path on this host."""
        path = name
        if not path.startswith("/") and dataset.location is not None:
            path = f"{dataset.location.rstrip('/')}/{path}"
        try:
            mapped = map_path(path, self._path_map)
        except Rejection as refused:
            # It speaks of a file writer's field.
            reason = refused.reason.removeprefix("file_name ")
            raise Rejection(reason) from None
        self._confinement.must_hold(mapped, dataset.investigation, self.options.paths)
        return mapped

    def _picture(self, head: FileHead) -> FileStat:
        if head.stat is None:
            raise Rejection(head.failure or "")
        path, size = head.stat.path, head.stat.size
        if size > self.options.max_bytes:
            raise Rejection(
                f"{path}: {size} bytes, expected at most {self.options.max_bytes}"
                " (options.max_bytes)"
            )
        suffix = PurePosixPath(path).suffix.lower()
        for suffixes, beginning in _BEGINNINGS.items():
            if suffix in suffixes and head.begin.startswith(beginning):
                return head.stat
        raise Rejection(
            f"{path}: is no picture of its suffix: expected PNG, JPEG, GIF or WebP"
        )

    def _datafile(
        self, stat: FileStat, dataset: DatasetEntry, others: dict[str, Datafile]
    ) -> Datafile:
        # Links have been followed.
        self._confinement.must_hold(
            stat.path, dataset.investigation, self.options.paths
        )
        uploads = self._ids.url is not None and self._ids.mode == "put"
        location = None
        if not uploads:
            location = locate(
                stat.path,
                self._ids.location,
                dataset.investigation,
                real_root=self._real_root,
            )
        content = self._files.checksum(stat, "xxh3_64") if uploads else ""
        return Datafile(
            name=next(n for n in self._names(stat.path, content) if n not in others),
            location=location,
            size=stat.size,
            mod_time=datetime.fromtimestamp(stat.mtime_ns // 10**9, UTC),
            format=self._format,
            source=stat.path,
        )

    def _names(self, path: str, content: str) -> Iterator[str]:
        """Yield names of a picture, the best first.

        The data service keeps what was uploaded under a name: another picture has
        another one, by its content.
        """
        pure = PurePosixPath(path)
        stem, suffix = pure.stem, pure.suffix
        if content:
            stem += f"-{content.rpartition(':')[2][:8]}"
        yield f"{self.options.folder}/{stem}{suffix}"
        # Of the same name in another folder.
        for number in range(2, self.options.max_pictures + 2):
            yield f"{self.options.folder}/{stem}_{number}{suffix}"


def _named(value: float | str | None) -> list[str]:
    """Return the paths in a parameter, which may be broken over lines, each once."""
    stripped = (part.strip() for part in str(value or "").split(","))
    return [part for part in dict.fromkeys(stripped) if part]


def _left_out(reason: str) -> str:
    return f"picture left out: {shortened(reason, _SHOWN)}"
