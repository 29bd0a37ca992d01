"""Main and archive storage in folders of the file system."""

import errno
import logging
import os
import re
import stat
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from icat_stream.telemetry import fault_point

from .errors import InsufficientPrivileges, InsufficientStorage, Internal
from .plugins import DatasetInfo, StoredFacts

_log = logging.getLogger(__name__)

BLOCK = 2**18
_INCOMING = ".incoming"
_ABANDONED_AFTER = 86_400
_PROBE = "probe-\u00e9"
_OTHERS = {"case": "PROBE-\u00e9", "Unicode's normal form": "probe-e\u0301"}
_OURS = re.compile(r"\d+/\d+/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Folder:
    """A folder whose files are whole and durable, and never found outside of it.

    A file has one location, its path below the root, or the same with the root in
    front.  Whatever else the file system lets lead there (``.``, ``..``, a symbolic
    link) is refused: of two entries of one file, both must be found.

    Parameters
    ----------
    root
        Must exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        # Entries may name it as the configuration does.
        roots = dict.fromkeys((self.root, os.path.abspath(root)))
        self._prefixes = [folder.rstrip("/") + "/" for folder in roots]
        if not Path(self.root).is_dir():
            raise Internal(f"root {root} is no folder: create it")
        self._incoming = Path(self.root, _INCOMING)
        try:
            self._incoming.mkdir(exist_ok=True)
            other = _taken_for_one(self._incoming)
        except OSError as error:
            raise Internal(
                f"root {root} cannot be written to: {error.strerror}"
            ) from None
        if other is not None:
            raise Internal(
                f"root {root} is on a file system that takes names for one which differ"
                f" in {other} only: two entries of the catalogue would be one file;"
                " use one that tells them apart"
            )
        self._clear_abandoned()

    def begin(self, location: str, *, fresh: bool = False) -> "FileUpload":
        """Begin to store a file.

        Parameters
        ----------
        location
            Where it will be.
        fresh
            Nobody looks there before commit returns, which is then faster.

        Raises
        ------
        InsufficientPrivileges
            The location leads out of this folder.
        """
        self.inside(location)
        return FileUpload(Path(self.root), self._incoming, location, fresh=fresh)

    def open(self, location: str) -> BinaryIO:
        """Open a regular file."""
        path = self.inside(location)
        # O_NONBLOCK: opening a FIFO would wait for its writer for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with _impossible_is_absent(path):
            handle = os.open(path, flags)
        file = os.fdopen(handle, "rb", buffering=0)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise FileNotFoundError(errno.ENOENT, "is no regular file", path)
        return file

    def size(self, location: str) -> int:
        """Return the size of a regular file."""
        path = self.inside(location)
        with _impossible_is_absent(path):
            facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise FileNotFoundError(errno.ENOENT, "is no regular file", path)
        return facts.st_size

    def delete(self, location: str) -> None:
        """Remove a file; that it is not there is no error."""
        path = Path(self.inside(location))
        try:
            with _impossible_is_absent(str(path)):
                path.unlink()
        except FileNotFoundError:
            return
        self._remove_empty(path.parent)

    def files(self) -> Iterator[tuple[str, os.stat_result]]:
        """List all regular files with what is known of them."""
        for folder, folders, names in os.walk(self.root):
            if folder == self.root and _INCOMING in folders:
                folders.remove(_INCOMING)
            for name in names:
                path = os.path.join(folder, name)
                try:
                    facts = os.lstat(path)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(facts.st_mode):
                    yield os.path.relpath(path, self.root), facts

    def inside(self, location: str) -> str:
        """Return the real path of a location.

        Raises
        ------
        InsufficientPrivileges
            It leads out of this folder, or is not the file's one location.
        FileNotFoundError
            There cannot be such a path.
        """
        try:
            path = os.path.realpath(os.path.join(self.root, location))
        except ValueError:
            raise FileNotFoundError(
                errno.ENOENT, "is no possible path", repr(location)
            ) from None
        prefix = self._prefixes[0]
        incoming = str(self._incoming)
        if not path.startswith(prefix) or f"{path}/".startswith(f"{incoming}/"):
            raise InsufficientPrivileges(
                f"location {location!r} leads out of the storage"
            )
        if path != prefix + self._relative(location):
            raise InsufficientPrivileges(
                f"location {location!r} is not the one of its file: expected a path"
                " without '.', '..', empty parts and symbolic links; correct the entry"
            )
        return path

    def spellings(self, location: str) -> tuple[str, ...]:
        """Return all locations under which the same file is served."""
        relative = self._relative(location)
        return (relative, *(prefix + relative for prefix in self._prefixes))

    def _relative(self, location: str) -> str:
        for prefix in self._prefixes:
            if location.startswith(prefix):
                return location[len(prefix) :]
        return location

    def _remove_empty(self, folder: Path) -> None:
        while str(folder).startswith(self.root + "/"):
            try:
                folder.rmdir()
            except OSError:
                # Not empty, or somebody else's by now.
                return
            folder = folder.parent

    def _clear_abandoned(self) -> None:
        # Another server may be storing here right now: only what is old is nobody's.
        for path in self._incoming.iterdir():
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                _log.warning("removed %s: an upload that was never finished", path)
                path.unlink(missing_ok=True)


class FileStorage:
    """Main storage in a folder: new files at ``<investigation>/<dataset>/<uuid>``.

    Parameters
    ----------
    root
        Must exist.
    """

    def __init__(self, root: Path) -> None:
        self._folder = Folder(root)
        self.root = self._folder.root

    def begin(self, dataset: DatasetInfo, name: str) -> "FileUpload":
        """Begin to store a new file."""
        where = f"{dataset.investigation_id}/{dataset.id}/{uuid.uuid4()}"
        return self._folder.begin(where, fresh=True)

    def begin_at(self, location: str) -> "FileUpload":
        """Begin to store a file where it was before."""
        return self._folder.begin(location)

    def open(self, location: str) -> "OpenFile":
        """Open a stored file."""
        file = self._folder.open(location)
        return OpenFile(file, os.fstat(file.fileno()).st_size)

    def size(self, location: str) -> int:
        """Return the size of a stored file."""
        return self._folder.size(location)

    def spellings(self, location: str) -> tuple[str, ...]:
        """Return all locations under which the same file is served."""
        return self._folder.spellings(location)

    def delete(self, location: str) -> None:
        """Remove a file; that it is not there is no error."""
        self._folder.delete(location)

    def files(self) -> Iterator[StoredFacts]:
        """List everything."""
        for location, facts in self._folder.files():
            ours = _OURS.fullmatch(location) is not None
            yield StoredFacts(location, facts.st_size, facts.st_mtime, ours)

    def path(self, location: str) -> Path:
        """Return where a file is."""
        self._folder.size(location)
        return Path(self._folder.inside(location))


class FileArchive:
    """Archive storage in a folder, for trying and for disks that are slow.

    Parameters
    ----------
    root
        Must exist.
    """

    def __init__(self, root: Path) -> None:
        self._folder = Folder(root)
        self.root = self._folder.root

    def begin(self, name: str, dataset: DatasetInfo) -> "FileUpload":
        """Begin to store a unit."""
        return self._folder.begin(name)

    def open(self, name: str) -> BinaryIO:
        """Open a unit for reading."""
        return self._folder.open(name)

    def size(self, name: str) -> int:
        """Return the size of a unit."""
        return self._folder.size(name)

    def delete(self, name: str) -> None:
        """Remove a unit; that it is not there is no error."""
        self._folder.delete(name)

    def names(self) -> Iterator[str]:
        """List all units."""
        return (location for location, _ in self._folder.files())


class FileUpload:
    """A file on its way into a folder.

    Parameters
    ----------
    root
        The folder.
    incoming
        Folder for what is not complete, on the same file system.
    location
        Where it will be, relative to the root.
    fresh
        Nobody looks there before commit returns.
    """

    def __init__(
        self, root: Path, incoming: Path, location: str, *, fresh: bool = False
    ) -> None:
        self._fresh = fresh
        self._root = root
        self._location = location
        self._path = incoming / str(uuid.uuid4())
        self.size = 0
        self.checksum = 0
        with _full_disk_is_told():
            self._file: BinaryIO = self._path.open("xb", buffering=0)

    def write(self, block: bytes) -> None:
        """Append a block."""
        with _full_disk_is_told():
            view = memoryview(block)
            while view:
                view = view[self._file.write(view) :]
        self.checksum = zlib.crc32(block, self.checksum)
        self.size += len(block)

    def commit(self) -> str:
        """Make it durable, give it its place, return its location."""
        target = Path(self._root, self._location)
        with _full_disk_is_told():
            if not self._fresh:
                # Whoever finds it after a power cut takes it for whole.
                os.fsync(self._file.fileno())
            made = self._place(target)
            fault_point("storage.placed")
            # In this order the folder's sync finds that the file system's journal
            # was written by the file's: one wait, not two.
            os.fsync(self._file.fileno())
            self._file.close()
            for folder in made:
                _sync_folder(folder)
        return self._location

    def abort(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _place(self, target: Path) -> list[Path]:
        """Rename to the target; return the folders in which something is new."""
        for last in (False, False, True):
            changed = [target.parent]
            while not changed[-1].exists():
                changed.append(changed[-1].parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._path.rename(target)
            except FileNotFoundError:
                # The last file of the folder was removed just now, and it with it.
                if last or not self._path.exists():
                    raise
            else:
                break
        return changed


class OpenFile:
    """A file of a :class:`FileStorage` that is open for reading.

    Parameters
    ----------
    file
        Unbuffered.
    size
        When it was opened.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def blocks(self, offset: int = 0) -> Iterator[bytes]:
        """Return the content from an offset, and close the file."""
        with self._file as file:
            file.seek(offset)
            # Not beyond the size that the caller was told: the file may have grown.
            left = self.size - offset
            while left > 0 and (block := file.read(min(BLOCK, left))):
                left -= len(block)
                yield block

    def close(self) -> None:
        """Close it unread."""
        self._file.close()


@contextmanager
def _full_disk_is_told() -> Iterator[None]:
    """Tell the caller of a full disk in the words of the data service."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InsufficientStorage(f"the storage: {error.strerror}") from error
        raise


def _taken_for_one(folder: Path) -> str | None:
    """Return in what names may differ that lead to one file in a folder, if any may."""
    probe = folder / _PROBE
    probe.touch()
    try:
        for what, name in _OTHERS.items():
            with suppress(FileNotFoundError):
                if probe.samefile(folder / name):
                    return what
    finally:
        probe.unlink(missing_ok=True)
    return None


@contextmanager
def _impossible_is_absent(path: str) -> Iterator[None]:
    """Take a path that no file can have for one that no file has."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
            raise FileNotFoundError(errno.ENOENT, error.strerror, path) from None
        raise


def _sync_folder(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
