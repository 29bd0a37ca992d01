"""A file to be uploaded, opened so that nothing else can be slipped in."""

import os
import stat
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from icat_stream.records import Datafile, Rejection, TransientFailure

_CHUNK = 1 << 20


class UploadSource:
    """The file behind a planned datafile, as it was when it was looked at.

    Parameters
    ----------
    datafile
        With its source.

    Raises
    ------
    Rejection
        It has none, or that is no regular file, or another one than was planned.
    TransientFailure
        It cannot be opened, or it changed.
    """

    def __init__(self, datafile: Datafile) -> None:
        if datafile.source is None:
            raise Rejection(
                f"Datafile {datafile.name}: no source on this host to upload it from"
            )
        self._path = os.path.normpath(datafile.source)
        # A FIFO in its place must not hold us up, nor a link lead us elsewhere.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags)
        except OSError as error:
            raise TransientFailure(
                f"{self._path} cannot be opened: {error.strerror}"
            ) from error
        try:
            self.size = self._check(datafile)
        except BaseException:
            self.close()
            raise
        self.crc32 = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the content, adding it up in :attr:`crc32`.

        Raises
        ------
        TransientFailure
            The file got shorter, or cannot be read.
        """
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.crc32, left = 0, self.size
        while left:
            try:
                chunk = os.read(self._descriptor, min(_CHUNK, left))
            except OSError as error:
                raise TransientFailure(
                    f"{self._path} cannot be read: {error.strerror}"
                ) from error
            if not chunk:
                raise TransientFailure(f"{self._path} got shorter while it was read")
            self.crc32 = zlib.crc32(chunk, self.crc32)
            left -= len(chunk)
            yield chunk

    def read_crc32(self) -> int:
        """Return the CRC32 of the content; failures as :meth:`chunks`."""
        for _ in self.chunks():
            pass
        return self.crc32

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _check(self, datafile: Datafile) -> int:
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Rejection(f"{self._path} is no regular file")
        link = f"/proc/self/fd/{self._descriptor}"
        if os.path.exists(link) and os.readlink(link) != self._path:
            raise Rejection(
                f"{self._path} leads to {os.readlink(link)}, which is not what was"
                " planned"
            )
        mod_time = datetime.fromtimestamp(found.st_mtime_ns // 10**9, UTC)
        if (datafile.size is not None and found.st_size != datafile.size) or (
            datafile.mod_time is not None
            and mod_time != datafile.mod_time.replace(microsecond=0)
        ):
            raise TransientFailure(f"{self._path} changed since it was looked at")
        return found.st_size
