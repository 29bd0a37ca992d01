"""Moving one unit between main storage and archive."""

import hashlib
import logging
import threading
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import BinaryIO

from icat_stream.telemetry import fault_point

from .catalogue import Catalogue, CataloguedFile
from .errors import InsufficientPrivileges
from .file_storage import BLOCK
from .plugins import ArchiveStorage, DatasetInfo, MainStorage, Upload, ZipMapper
from .settings import DataServiceSettings
from .tables import Copy
from .zips import Entry, SizeDiffers, Zip, distinct

_log = logging.getLogger(__name__)


class MoveFailed(Exception):
    """A unit cannot be moved, and it is no use to try again without a person."""


class Parked(Exception):
    """The service is about to stop: the work is done at the next start."""


class Mover:
    """Writes, archives and restores units; whoever calls holds the unit.

    Parameters
    ----------
    settings
        Kind of units.
    main, archive, zips
        Storages and names.
    catalogue
        Knows which files there are.
    stopping
        Set when work in progress is to be given up.
    """

    def __init__(
        self,
        settings: DataServiceSettings,
        main: MainStorage,
        archive: ArchiveStorage,
        zips: ZipMapper,
        catalogue: Catalogue,
        stopping: threading.Event,
    ) -> None:
        self._by_dataset = settings.storage_unit == "dataset"
        self._compress = settings.compress_archive
        self._main = main
        self._archive = archive
        self._zips = zips
        self._catalogue = catalogue
        self._stopping = stopping

    def files(self, unit: int) -> list[CataloguedFile]:
        """Return the files of a unit.

        Raises
        ------
        NotFound
            ICAT does not know it (any more).
        """
        if self._by_dataset:
            return self._catalogue.all_files(unit)
        found = self._catalogue.files(None, "Datafile", [unit], with_datasets=True)
        return [file for file in found if file.location]

    def name(self, unit: int, files: Sequence[CataloguedFile]) -> str:
        """Return what the archive calls a unit."""
        if not self._by_dataset:
            return files[0].location or ""
        info = self._catalogue.dataset(None, unit)
        return f"{info.investigation_id}/{unit}"

    def is_current(
        self, unit: int, files: Sequence[CataloguedFile], copy: Copy | None
    ) -> bool:
        """Return whether the archive holds just these files."""
        if not files:
            return True
        if copy is None or copy.listing != listing(files):
            return False
        try:
            return self._archive.size(self.name(unit, files)) == copy.size
        except FileNotFoundError:
            return False

    def write(self, unit: int, files: Sequence[CataloguedFile]) -> Copy | None:
        """Copy a unit to the archive; return what it holds now, ``None`` if nothing.

        Raises
        ------
        MoveFailed
            Not every file is in main storage as it is catalogued.
        """
        if not files and not self._by_dataset:
            return None
        name = self.name(unit, files)
        if not files:
            self._archive.delete(name)
            return None
        dataset = self._catalogue.dataset(None, files[0].dataset_id)
        content: dict[str, tuple[int, int]] = {}
        upload = self._archive.begin(name, dataset)
        try:
            blocks = (
                self._zipped(dataset, files, content)
                if self._by_dataset
                else self._checked(files[0], files[0].name, content)
            )
            for block in blocks:
                self._go_on()
                upload.write(block)
            fault_point("write.copied")
            upload.commit()
            fault_point("write.committed")
        except BaseException:
            upload.abort()
            raise
        return Copy(listing(files), _fingerprint(content), upload.size)

    def archive(self, files: Sequence[CataloguedFile]) -> None:
        """Remove a unit's files from main storage; the archive has them.

        Raises
        ------
        MoveFailed
            One of them is another unit's, too, which the archive need not have.
        """
        ids = {file.id for file in files}
        shared = self._catalogue.shared(ids, self._spellings(files))
        if shared:
            raise MoveFailed(
                f"{min(shared)!r} is the location of another unit's Datafile, too:"
                " correct it in ICAT"
            )
        for file in files:
            self._main.delete(file.location or "")
            fault_point("archive.removed")

    def delete(self, unit: int, location: str) -> None:
        """Remove a datafile that the catalogue knows no more from everywhere."""
        spellings = {location: self._main.spellings(location)}
        if self._catalogue.shared({unit}, spellings):
            _log.warning("%r stays: it is another Datafile's, too", location)
            return
        try:
            self._archive.delete(location)
            fault_point("delete.unarchived")
            self._main.delete(location)
        except InsufficientPrivileges as error:
            _log.warning("nothing is removed: %s", error.message)

    def restore(
        self, unit: int, files: Sequence[CataloguedFile], copy: Copy | None
    ) -> None:
        """Bring back what is missing in main storage.

        Raises
        ------
        MoveFailed
            The archive has not what the catalogue, or what was written, says.
        """
        missing = [file for file in files if not self._is_here(file)]
        if not missing:
            return
        name = self.name(unit, files)
        try:
            source = self._archive.open(name)
        except FileNotFoundError:
            raise MoveFailed(f"the archive has no {name}") from None
        restored: list[str] = []
        with source:
            try:
                if self._by_dataset:
                    self._unzip(unit, source, files, missing, copy, restored)
                else:
                    found = self._put_back(source, missing[0], restored)
                    content = {missing[0].name: found}
                    _must_match(content, copy)
            except BaseException:
                # Half a dataset would look like one that is online.
                for location in restored:
                    self._main.delete(location)
                raise

    def _unzip(
        self,
        unit: int,
        source: BinaryIO,
        files: Sequence[CataloguedFile],
        missing: Sequence[CataloguedFile],
        copy: Copy | None,
        restored: list[str],
    ) -> None:
        dataset = self._catalogue.dataset(None, unit)
        try:
            with zipfile.ZipFile(source) as archive:
                entries = {
                    self._plain(dataset, i.filename): i for i in archive.infolist()
                }
                content = {n: (i.file_size, i.CRC) for n, i in entries.items()}
                # The dataset may have another name by now; its files have theirs.
                wanted = {
                    self._zips.file_name(name): file
                    for file, name in self._entry_names(dataset, files)
                }
                for name in sorted(wanted.keys() ^ entries.keys()):
                    what = "is missing" if name in wanted else "is spurious"
                    raise MoveFailed(f"the archive's zip is corrupt: {name!r} {what}")
                _must_match(content, copy)
                back = set(missing)
                for name, file in wanted.items():
                    if file in back:
                        with archive.open(entries[name]) as entry:
                            self._put_back(entry, file, restored)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise MoveFailed(f"the archive's zip is corrupt: {error}") from None

    def _plain(self, dataset: DatasetInfo, entry: str) -> str:
        """Return a file's name as this service makes it, whoever made the entry."""
        name = self._zips.file_name(entry)
        return self._zips.file_name(self._zips.entry_name(dataset, name))

    def _put_back(
        self, source: object, file: CataloguedFile, restored: list[str]
    ) -> tuple[int, int]:
        location = file.location or ""
        upload = self._main.begin_at(location)
        try:
            while block := source.read(BLOCK):  # type: ignore[attr-defined]
                self._go_on()
                upload.write(block)
            _must_be(file, upload)
            fault_point("restore.copied")
            upload.commit()
        except BaseException:
            upload.abort()
            raise
        restored.append(location)
        fault_point("restore.committed")
        return upload.size, upload.checksum

    def _zipped(
        self,
        dataset: DatasetInfo,
        files: Sequence[CataloguedFile],
        content: dict[str, tuple[int, int]],
    ) -> Iterator[bytes]:
        entries = []
        for file, name in self._entry_names(dataset, files):
            key = self._zips.file_name(name)
            try:
                size = self._main.size(file.location or "")
            except FileNotFoundError:
                raise _not_here(file) from None
            part = partial(self._checked, file, key, content)
            entries.append(Entry(name, size, part))
        try:
            yield from Zip(entries, compress=self._compress)
        except SizeDiffers as error:
            raise MoveFailed(f"changed while it was copied: {error}") from None

    def _entry_names(
        self, dataset: DatasetInfo, files: Sequence[CataloguedFile]
    ) -> Iterator[tuple[CataloguedFile, str]]:
        files = sorted(files, key=lambda file: file.id)
        names = [self._zips.entry_name(dataset, file.name) for file in files]
        return zip(files, distinct(names), strict=True)

    def _checked(
        self, file: CataloguedFile, name: str, content: dict[str, tuple[int, int]]
    ) -> Iterator[bytes]:
        try:
            opened = self._main.open(file.location or "")
        except FileNotFoundError:
            raise _not_here(file) from None
        size = checksum = 0
        for block in opened.blocks():
            checksum = zlib.crc32(block, checksum)
            size += len(block)
            yield block
        known = _catalogued_checksum(file)
        if known is not None and known != checksum:
            raise MoveFailed(
                f"Datafile[id:{file.id}] in main storage has the checksum"
                f" {checksum:x}, not {file.checksum} as catalogued"
            )
        content[name] = (size, checksum)

    def _spellings(self, files: Sequence[CataloguedFile]) -> dict[str, Collection[str]]:
        locations = [file.location or "" for file in files]
        return {where: self._main.spellings(where) for where in locations}

    def _is_here(self, file: CataloguedFile) -> bool:
        try:
            self._main.size(file.location or "")
        except FileNotFoundError:
            return False
        return True

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise Parked


def _not_here(file: CataloguedFile) -> MoveFailed:
    return MoveFailed(
        f"Datafile[id:{file.id}] is not in main storage at {file.location!r}"
    )


def listing(files: Sequence[CataloguedFile]) -> str:
    """Return a fingerprint of which files there are."""
    lines = sorted(f"{file.id} {file.size} {file.location}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _fingerprint(content: dict[str, tuple[int, int]]) -> str:
    lines = sorted(f"{size} {crc} {name}" for name, (size, crc) in content.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _must_match(content: dict[str, tuple[int, int]], copy: Copy | None) -> None:
    if copy is not None and _fingerprint(content) != copy.content:
        raise MoveFailed(
            "the archive holds something else than what was written to it: names,"
            " sizes or checksums differ"
        )


def _must_be(file: CataloguedFile, upload: Upload) -> None:
    known = _catalogued_checksum(file)
    if (file.size and upload.size != file.size) or known not in (None, upload.checksum):
        raise MoveFailed(
            f"the archive has Datafile[id:{file.id}] with {upload.size} bytes and"
            f" checksum {upload.checksum:x}; catalogued are {file.size} bytes and"
            f" {file.checksum}"
        )


def _catalogued_checksum(file: CataloguedFile) -> int | None:
    """Return the CRC32, if that is what is catalogued."""
    text = file.checksum or ""
    if not 0 < len(text) <= 8:
        return None
    try:
        return int(text, 16)
    except ValueError:
        return None
