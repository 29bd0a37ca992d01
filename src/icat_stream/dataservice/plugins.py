"""The boundaries behind which a facility's own storage can stand."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from .errors import NotImplementedHere


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """What a storage may want to know about the dataset that a file belongs to."""

    id: int
    name: str
    investigation_id: int
    investigation: str
    visit_id: str
    facility: str
    start: datetime | None = None
    """Of the investigation."""
    instruments: tuple[str, ...] = ()
    """Of the investigation, by name."""


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """A file as a storage lists it."""

    location: str
    size: int
    modified: float
    """Seconds since the epoch."""
    ours: bool
    """Surely put here by this service, so it may be removed if nobody knows it."""


class Upload(Protocol):
    """A file on its way into a storage."""

    size: int
    checksum: int
    """CRC32 of what was written."""

    def write(self, block: bytes) -> None:
        """Append a block."""
        ...

    def commit(self) -> str:
        """Make it durable and visible, whole, and return its location."""
        ...

    def abort(self) -> None:
        """Leave nothing behind, be it after a failed commit; not what is committed."""
        ...


class StoredFile(Protocol):
    """A file that is open for reading."""

    size: int

    def blocks(self, offset: int = 0) -> Iterator[bytes]:
        """Return its content from an offset, and close it."""
        ...

    def close(self) -> None:
        """Close it unread."""
        ...


class MainStorage(Protocol):
    """Where files are that can be read at once.

    Locations are what ICAT holds as ``Datafile.location``.  Anybody who may write to
    ICAT may write anything there, so an implementation believes none.  All methods
    are called by many threads at once.
    """

    def begin(self, dataset: DatasetInfo, name: str) -> Upload:
        """Begin to store a new file under a location that never was before.

        Parameters
        ----------
        dataset
            That it will belong to.
        name
            In the catalogue: any text at all.
        """
        ...

    def begin_at(self, location: str) -> Upload:
        """Begin to store a file where it was before, replacing what is there."""
        ...

    def open(self, location: str) -> StoredFile:
        """Open a stored file.

        Raises
        ------
        FileNotFoundError
            Nothing is there.
        InsufficientPrivileges
            The location leads out of this storage.
        """
        ...

    def size(self, location: str) -> int:
        """Return the size of a stored file, raising what :meth:`open` would."""
        ...

    def spellings(self, location: str) -> Collection[str]:
        """Return all locations under which this storage serves the same file.

        A file that another entry names, too, however it is spelled there, is neither
        removed nor archived: a storage that serves a file under what is not in here
        lets one user destroy another's.
        """
        ...

    def delete(self, location: str) -> None:
        """Remove a file; that it is not there is no error."""
        ...

    def files(self) -> Iterator[StoredFacts]:
        """List everything; what is on its way in or out may be missing."""
        ...

    def path(self, location: str) -> Path:
        """Return where a file is in the file system, raising what open would.

        Raises
        ------
        NotImplementedHere
            This storage is none of files.
        """
        ...


class ArchiveStorage(Protocol):
    """Where the copies are that take their time.

    A unit is a dataset (as a zip) or a datafile, as configured; its name is
    ``<investigation id>/<dataset id>``, or the location of the datafile.
    """

    def begin(self, name: str, dataset: DatasetInfo) -> Upload:
        """Begin to store a unit; commit replaces an older one at once and whole."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a unit for reading.

        What is returned can seek; an archive that cannot copies to a temporary file.

        Raises
        ------
        FileNotFoundError
            There is no such unit.
        """
        ...

    def size(self, name: str) -> int:
        """Return the size of a unit, raising what :meth:`open` would."""
        ...

    def delete(self, name: str) -> None:
        """Remove a unit; that it is not there is no error."""
        ...

    def names(self) -> Iterator[str]:
        """List all units."""
        ...


class ZipMapper(Protocol):
    """Names of files inside zips, those of callers and those of the archive."""

    def entry_name(self, dataset: DatasetInfo, name: str) -> str:
        """Return the name of an entry: relative and without ``..``."""
        ...

    def file_name(self, entry: str) -> str:
        """Return the name of the datafile that an entry is of.

        Raises
        ------
        ValueError
            It cannot be one of :meth:`entry_name`'s.
        """
        ...


class ReadOnlyMainStorage:
    """Beginning of a main storage that others fill: only open and size are missing."""

    def spellings(self, location: str) -> Collection[str]:
        """Return the location: nothing is ever removed here."""
        return (location,)

    def begin(self, dataset: DatasetInfo, name: str) -> Upload:
        """Refuse."""
        raise NotImplementedHere("this storage is filled by others")

    def begin_at(self, location: str) -> Upload:
        """Refuse."""
        raise NotImplementedHere("this storage is filled by others")

    def delete(self, location: str) -> None:
        """Refuse."""
        raise NotImplementedHere("this storage is filled by others")

    def files(self) -> Iterator[StoredFacts]:
        """List nothing: what is here is not this service's to check."""
        return iter(())

    def path(self, location: str) -> Path:
        """Refuse."""
        raise NotImplementedHere("this storage has no paths to link to")
