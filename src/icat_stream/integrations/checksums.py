"""Checksums for the datafiles of datasets that have come into the catalogue.

It follows our own events, so that nobody waits for it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from icat_stream.config import ConfigError, Problem, Section, Settings
from icat_stream.handlers import (
    READING,
    HandlerContext,
    Locations,
    map_path,
)
from icat_stream.messages import EventMessage
from icat_stream.records import (
    Datafile,
    DatafileEntry,
    Dataset,
    DatasetEntry,
    FolderFile,
    Lookups,
    Outcome,
    OutcomeKind,
    Plan,
    Rejection,
    same_time,
)

from .event_handler import EventHandler


class ChecksumOptions(Section):
    """Options of the handler ``checksums``."""

    algorithm: Literal["xxh3_64", "xxh3_128", "sha256", "blake2b"] = Field(
        "xxh3_64", description="xxh3 finds damage, the others forgeries, too."
    )
    max_datafiles: int = Field(
        30_000, ge=1, description="Without a checksum, of one dataset."
    )


class Checksums(EventHandler[ChecksumOptions]):
    """Handler of our own events: gives datafiles that have none a checksum.

    Parameters
    ----------
    context
        Settings, options and the way to the files.

    Raises
    ------
    icat_stream.config.ConfigError
        The options are wrong, or the catalogue's locations do not tell paths.
    """

    Options = ChecksumOptions
    rights: ClassVar[Mapping[str, str]] = {
        **READING,
        "DatasetType": "R",
        "Dataset": "RU",
        "Datafile": "RU",
    }

    def __init__(self, context: HandlerContext) -> None:
        super().__init__(context)
        settings = context.settings
        self._locations = _locations(settings)
        self._path_map = settings.files.path_map
        self._root = str(settings.files.roots[0])
        self._files = context.files

    @classmethod
    def check(cls, settings: Settings, options: Mapping[str, Any]) -> None:
        """Raise ``ConfigError`` with what is wrong with the options."""
        super().check(settings, options)
        # One that is switched off, as in the sample, keeps nobody from uploading.
        if any(
            c.enabled and c.handler == "checksums" for c in settings.consumers.values()
        ):
            _locations(settings)

    def lane(self, event: EventMessage) -> str:
        """Return the dataset: two lanes are not to read the same files."""
        return f"{event.kind} {event.dataset_id}"

    def plan(self, event: EventMessage, lookups: Lookups) -> Plan | Outcome:
        """Return the dataset with checksums for those datafiles that have none."""
        dataset = self.dataset(event, lookups)
        if isinstance(dataset, Outcome):
            return dataset
        what = f"dataset {dataset.investigation}/{dataset.name}"
        notes: list[str] = []
        entries = self._entries(lookups, dataset, what, notes)
        if not entries:
            return self.nothing(event, OutcomeKind.UNCHANGED, "; ".join(notes))
        files = self._files.folder(
            self._root,
            names=[self._path(entry, what) for entry in entries],
            most=self.options.max_datafiles,
        ).files
        # All of them before the first is read, which may take long.
        for entry, file in zip(entries, files, strict=True):
            _require_same(entry, file, what)
        return Plan(
            facility=self.facility,
            datasets=(
                Dataset(
                    investigation=dataset.investigation,
                    name=dataset.name,
                    type=dataset.type,
                    complete=dataset.complete,
                    datafiles=tuple(
                        self._datafile(entry, file)
                        for entry, file in zip(entries, files, strict=True)
                    ),
                    # What somebody else has written meanwhile is not ours to change.
                    existing="reject",
                    partial=True,
                ),
            ),
            notes=tuple(notes),
        )

    def _entries(
        self, lookups: Lookups, dataset: DatasetEntry, what: str, notes: list[str]
    ) -> list[DatafileEntry]:
        entries: list[DatafileEntry] = []
        nowhere = 0
        for entry in lookups.datafiles_without_checksum(dataset.id):
            if entry.location is None:
                nowhere += 1
                continue
            entries.append(entry)
            if len(entries) > self.options.max_datafiles:
                raise Rejection(
                    f"{what}: more than {self.options.max_datafiles} datafiles have no"
                    " checksum; raise options.max_datafiles and replay"
                )
        if nowhere:
            notes.append(f"{nowhere} datafiles have no location, and no checksum")
        return entries

    def _path(self, entry: DatafileEntry, what: str) -> str:
        try:
            path = self._locations.path(entry.location or "")
            return map_path(path, self._path_map)
        except Rejection as error:
            # It speaks of a file writer's field.
            reason = error.reason.removeprefix("file_name ")
            raise Rejection(f"{what}, datafile {entry.name}: {reason}") from None

    def _datafile(self, entry: DatafileEntry, file: FolderFile) -> Datafile:
        return Datafile(
            name=entry.name,
            # What the checksum is of: should it be another file's entry by then, the
            # catalogue finds it to differ.
            location=entry.location,
            size=entry.size or None,
            mod_time=entry.mod_time,
            checksum=self._files.checksum(file, self.options.algorithm),
        )


def _locations(settings: Settings) -> Locations:
    locations = Locations.of(settings.ids)
    if locations is None:
        raise ConfigError(
            [
                Problem(
                    source="configuration",
                    field="handler",
                    expected="checksums needs ids.mode register, with a"
                    " location.template of {relative_path} or {path} and fixed text;"
                    " of uploads the data service itself catalogues checksums",
                )
            ]
        )
    return locations


def _require_same(entry: DatafileEntry, file: FolderFile, what: str) -> None:
    """Raise ``Rejection`` for a file that is not the one that was catalogued."""
    found = datetime.fromtimestamp(file.mtime_ns // 10**9, UTC)
    said = entry.mod_time
    # ICAT makes 0 of a size that nobody stated.
    if entry.size and entry.size != file.size:
        differing = f"{file.size} bytes, the catalogue says {entry.size}"
    elif said is not None and not same_time(said, found):
        differing = f"changed {found.isoformat()}, the catalogue says"
        differing += f" {said.astimezone(UTC).isoformat()}"
    else:
        return
    raise Rejection(
        f"{what}, datafile {entry.name}: {file.path}: {differing}; it got no checksum:"
        " announce the file again, or correct its entry, and replay"
    )
