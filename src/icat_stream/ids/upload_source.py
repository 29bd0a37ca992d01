"""A file to be uploaded, as it was planned."""

import os
import zlib
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Protocol

from icat_stream.records import Datafile, FileStat, Rejection, TransientFailure


class FileContents(Protocol):
    """Reads files without ever blocking its caller for good."""

    def look(self, path: str) -> FileStat:
        """Look at a regular file in the allowed folders, settled or not."""
        ...

    def content(self, stat: FileStat) -> Generator[bytes, None, Any]:
        """Yield the content of a file that was looked at; to be closed."""
        ...


class UploadSource:
    """The file behind a planned datafile, as it was when it was looked at.

    Parameters
    ----------
    datafile
        With its source.
    files
        The way to it.

    Raises
    ------
    Rejection
        It has none, or that is no regular file.
    Failure
        It cannot be read, or it changed.
    """

    def __init__(self, datafile: Datafile, files: FileContents) -> None:
        if datafile.source is None:
            raise Rejection(
                f"Datafile {datafile.name}: no source on this host to upload it from"
            )
        self._files = files
        self._found = self._look(os.path.normpath(datafile.source), datafile)
        self.size = self._found.size
        self.crc32 = 0

    def chunks(self) -> Generator[bytes, None, None]:
        """Yield the content, adding it up in :attr:`crc32`; to be closed.

        Raises
        ------
        Failure
            The file changed, or cannot be read.
        """
        self.crc32 = 0
        # Left to the collector, what is not read to its end would keep its process.
        with closing(self._files.content(self._found)) as content:
            for chunk in content:
                self.crc32 = zlib.crc32(chunk, self.crc32)
                yield chunk

    def read_crc32(self) -> int:
        """Return the CRC32 of the content; failures as :meth:`chunks`."""
        for _ in self.chunks():
            pass
        return self.crc32

    def _look(self, path: str, datafile: Datafile) -> FileStat:
        found = self._files.look(path)
        if found.path != path:
            # It is planned anew, and looked at there.
            raise TransientFailure(
                f"{path} leads to {found.path} since it was looked at"
            )
        mod_time = datetime.fromtimestamp(found.mtime_ns // 10**9, UTC)
        if (datafile.size is not None and found.size != datafile.size) or (
            datafile.mod_time is not None
            and mod_time != datafile.mod_time.replace(microsecond=0)
        ):
            raise TransientFailure(f"{path} changed since it was looked at")
        return found
