"""A mounted folder that stops answering, so that not even SIGKILL ends who reads it.

A read-only mirror of another folder in the kernel's own protocol (linux/fuse.h, 7.31).
A request that the kernel has handed out is waited for, whatever happens to the process
that made it.  Once this process ends, the kernel refuses all that is still waited for.
"""

import ctypes
import errno
import os
import select
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_NOSUID, _NODEV, _DETACH = 2, 4, 2
_LARGEST = 1 << 20
_DIRECT_IO = 1
# The codes of its operations.
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ = 1, 2, 3, 14, 15
_RELEASE, _FLUSH, _INIT, _OPENDIR, _READDIR = 18, 25, 26, 27, 28
_RELEASEDIR, _INTERRUPT, _FORGET_MANY = 29, 36, 42
_UNANSWERED = (_FORGET, _INTERRUPT, _FORGET_MANY)
# What mounting fails with where it is not allowed, or the kernel cannot.
_NOT_HERE = {errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENODEV, errno.ENXIO}
_QUESTION = struct.Struct("<IIQQIIIHH")
_ANSWER = struct.Struct("<IiQ")


class Mirror(threading.Thread):
    """Shows one folder at another place.

    Parameters
    ----------
    source
        What is shown.
    place
        An empty folder, to mount it on.
    """

    def __init__(self, source: Path, place: Path) -> None:
        super().__init__(name="mirror", daemon=True)
        self._paths = {1: source}
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        self._waiting: list[tuple[int, int, bytes]] = []
        self._answers = threading.Event()
        self._answers.set()
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        failed = _LIBC.mount(
            *(b"mirror", bytes(place), b"fuse", _NOSUID | _NODEV, options.encode())
        )
        if failed:
            os.close(self._device)
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), place)

    @property
    def stalled(self) -> int:
        """How many reads wait for an answer."""
        return len(self._waiting)

    def stall(self) -> None:
        """Answer no more reads."""
        self._answers.clear()

    def answer(self) -> None:
        """Answer again, also what was asked meanwhile."""
        self._answers.set()

    def run(self) -> None:
        try:
            self._serve_all()
        finally:
            os.close(self._device)

    def _serve_all(self) -> None:
        while True:
            if self._answers.is_set():
                while self._waiting:
                    self._serve(_READ, *self._waiting.pop())
            if not select.select([self._device], [], [], 0.05)[0]:
                continue
            try:
                question = os.read(self._device, 2 * _LARGEST)
            except BlockingIOError:
                # Whoever asked was interrupted in time.
                continue
            except OSError as error:
                # Unmounted.
                if error.errno == errno.ENODEV:
                    return
                raise
            _, code, unique, node, *_ = _QUESTION.unpack_from(question)
            self._take(code, unique, node, question[_QUESTION.size :])

    def _take(self, code: int, unique: int, node: int, body: bytes) -> None:
        if code == _READ:
            self._waiting.append((unique, node, body))
        elif code not in _UNANSWERED:
            self._serve(code, unique, node, body)

    def _serve(self, code: int, unique: int, node: int, body: bytes) -> None:
        try:
            self._say(unique, self._of(code, node, body))
        except OSError as error:
            self._say(unique, b"", error.errno or errno.EIO)

    def _of(self, code: int, node: int, body: bytes) -> bytes:
        if code == _INIT:
            head = struct.pack("<IIIIHHI", 7, 31, 0, 0, 12, 9, _LARGEST)
            return head + struct.pack("<IHH8I", 1, 0, 0, *[0] * 8)
        if code == _LOOKUP:
            path = self._paths[node] / body.rstrip(b"\0").decode()
            attributes = _attributes(path)
            number = path.stat().st_ino
            self._paths[number] = path
            return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + attributes
        if code == _GETATTR:
            return struct.pack("<QII", 0, 0, 0) + _attributes(self._paths[node])
        if code in (_OPEN, _OPENDIR):
            return struct.pack("<QII", 0, _DIRECT_IO, 0)
        if code == _READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            with self._paths[node].open("rb") as file:
                return os.pread(file.fileno(), size, offset)
        if code in (_RELEASE, _RELEASEDIR, _FLUSH, _READDIR):
            return b""
        raise OSError(errno.ENOSYS, "not needed")

    def _say(self, unique: int, body: bytes, error: int = 0) -> None:
        try:
            head = _ANSWER.pack(_ANSWER.size + len(body), -error, unique)
            os.write(self._device, head + body)
        except FileNotFoundError:
            # Whoever asked was interrupted in time.
            pass


def _attributes(path: Path) -> bytes:
    found = path.stat()
    seconds = [int(t) for t in (found.st_atime, found.st_mtime, found.st_ctime)]
    nanoseconds = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    return struct.pack(
        "<6Q10I",
        *(found.st_ino, found.st_size, found.st_blocks, *seconds),
        *(n % 1_000_000_000 for n in nanoseconds),
        *(found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0),
    )


@contextmanager
def mirrored(source: Path, place: Path) -> Iterator[Mirror]:
    """Show one folder at another place for a while.

    Raises
    ------
    OSError
        This user may not, or the kernel cannot.
    """
    place.mkdir()
    mirror = Mirror(source, place)
    try:
        mirror.start()
        yield mirror
    finally:
        mirror.answer()
        if _LIBC.umount2(bytes(place), _DETACH):
            raise OSError(ctypes.get_errno(), "not unmounted", place)
        mirror.join(10)


def may_mount() -> bool:
    """Whether this user may mount such a folder here."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with mirrored(folder, folder / "mounted"):
                return True
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            return False
