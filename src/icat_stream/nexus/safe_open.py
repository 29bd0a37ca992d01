"""Getting hold of an announced file without trusting its path.

The path is resolved once, by ``O_PATH``, which opens nothing: no FIFO is waited for,
no device woken.  What was found is judged by its descriptor, and what is read later
is that descriptor, whatever the path means by then.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from icat_stream.records import (
    DependencyMissing,
    FileStat,
    NotReady,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)

# Files of the future that are remembered.
_SEEN = 1_000
_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Where files may lie and when they are finished.

    Parameters
    ----------
    roots
        Absolute paths of the allowed folders.
    settle
        Seconds without a change after which a writable file counts as finished.
    settle_deadline
        Passed on with :class:`~icat_stream.records.NotReady`.
    """

    roots: Sequence[str]
    settle: float
    settle_deadline: float
    # Files of the future: size, time of change, and when they were seen so first.
    _seen: dict[str, tuple[int, int, float]] = field(default_factory=dict, init=False)

    def real_roots(self) -> list[str]:
        """Return the allowed folders by their real paths."""
        return [os.path.realpath(root) for root in self.roots]

    def check_settled(self, path: str, found: os.stat_result) -> None:
        """Raise ``NotReady`` for a file that may still be written."""
        age = time.time() - found.st_mtime
        if not found.st_mode & _WRITE_BITS or age >= self.settle:
            return
        if age < 0 and self._unchanged_for(path, found) >= self.settle:
            return
        raise self.not_ready(
            f"{path}: changed {max(age, 0):.1f} s ago and still writable, expected"
            f" read-only or unchanged for {self.settle:g} s",
            # A clock of the file server that is ahead must not make this long.
            retry_in=min(max(self.settle - age, 0.05), self.settle),
        )

    def _unchanged_for(self, path: str, found: os.stat_result) -> float:
        """Return for how many seconds a file has been seen as it is.

        Where a file server's clock is ahead, or ours was set back, its age says
        nothing.
        """
        size, changed, now = found.st_size, found.st_mtime_ns, time.monotonic()
        seen = self._seen.get(path)
        if seen is None or seen[:2] != (size, changed):
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen[path] = seen = (size, changed, now)
        return now - seen[2]

    def check_root(self, path: str) -> None:
        """See that a path's allowed folder is there.

        Raises
        ------
        SystemUnavailable
            None of the allowed folders is.
        DependencyMissing
            Only this one is not: what needs another one need not wait for it.
        """
        for root in self.roots:
            if not is_below(path, root) or os.path.isdir(root):
                continue
            reason = f"{path}: its root folder {root} is not there; is it mounted?"
            if any(os.path.isdir(other) for other in self.roots):
                raise DependencyMissing(reason, [f"folder:{root}"])
            raise SystemUnavailable(reason, system="files")

    def not_ready(self, reason: str, retry_in: float = 1.0) -> NotReady:
        """Make the failure of a file that is not finished."""
        return NotReady(reason, retry_in=retry_in, deadline=self.settle_deadline)


@dataclass(frozen=True, slots=True)
class Held:
    """A regular file inside the roots, by a descriptor that cannot be read itself.

    Parameters
    ----------
    descriptor
        Opened with ``O_PATH``.
    path
        Its real path.
    found
        Its status when it was resolved.
    """

    descriptor: int
    path: str
    found: os.stat_result

    @property
    def is_sealed(self) -> bool:
        """Whether its writer said that it is finished by taking all write bits."""
        return not self.found.st_mode & _WRITE_BITS

    def stat(self) -> FileStat:
        """Return what others want to know of it."""
        return FileStat(
            path=self.path,
            size=self.found.st_size,
            mtime_ns=self.found.st_mtime_ns,
            ctime_ns=self.found.st_ctime_ns,
            mode=stat.S_IMODE(self.found.st_mode),
        )

    @contextmanager
    def readable(self, rules: Rules) -> Iterator[str]:
        """Open this very file and give a name that stands for the descriptor."""
        try:
            # Not the path, which may mean something else by now.
            descriptor = os.open(
                f"/proc/self/fd/{self.descriptor}",
                os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC,
            )
        except PermissionError as error:
            raise rules.not_ready(
                f"{self.path}: not readable by this user"
                f" (mode {stat.S_IMODE(self.found.st_mode):04o})"
            ) from error
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)

    def check_unchanged(self, rules: Rules) -> None:
        """Raise ``NotReady`` if the file was changed or replaced since."""
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            now = None
        before = self.found
        if now is None or (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
            raise rules.not_ready(f"{self.path}: replaced or removed while it was read")
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise rules.not_ready(
                f"{self.path}: changed while it was read"
                f" ({before.st_size} to {now.st_size} bytes)"
            )


@contextmanager
def hold(
    path: str,
    rules: Rules,
    real_roots: Sequence[str] | None = None,
    *,
    settled: bool = True,
) -> Iterator[Held]:
    """Resolve a path and hold the regular file it leads to.

    Parameters
    ----------
    path
        Absolute.
    rules
        Where it may lead and when it is finished.
    real_roots
        Of the rules, where many files are looked at in a row.
    settled
        Whether it has to be finished.
    """
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise _unresolvable(path, error, rules) from error
    try:
        found = os.fstat(descriptor)
        held = Held(descriptor, os.readlink(f"/proc/self/fd/{descriptor}"), found)
        _judge(path, held, rules, real_roots or rules.real_roots())
        if settled:
            rules.check_settled(path, found)
        yield held
    finally:
        os.close(descriptor)


def _judge(path: str, held: Held, rules: Rules, roots: Sequence[str]) -> None:
    found = held.found
    if found.st_nlink == 0:
        raise rules.not_ready(f"{path}: removed while it was looked at")
    if not any(is_below(held.path, root) for root in roots):
        raise Rejection(
            f"{path}: leads to {held.path}, outside the allowed folders"
            f" ({', '.join(rules.roots)}); it was not opened"
        )
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise Rejection(f"{path}: is {kind}, expected a regular file; not opened")


def is_below(path: str, folder: str) -> bool:
    """Whether a path without ``..`` lies inside a folder."""
    return path.startswith(folder.rstrip("/") + "/")


def _unresolvable(path: str, error: OSError, rules: Rules) -> Exception:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            rules.check_root(path)
            return rules.not_ready(f"{path}: missing")
        case errno.ELOOP:
            return Rejection(f"{path}: symbolic links that lead in a circle")
        case errno.ENAMETOOLONG:
            return Rejection(f"{path[:200]}…: longer than a path may be")
        case errno.EACCES | errno.EPERM:
            return rules.not_ready(
                f"{path}: not accessible to this user; its folders need the"
                " permission to search"
            )
        case _:
            return TransientFailure(f"{path}: {error.strerror}")
