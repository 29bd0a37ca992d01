"""The files of a folder: those that were named, or all of them."""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from icat_stream.records import Rejection

from .safe_open import Rules, hold, is_below

# Deeper trees are loops that a mount makes, or hostile.
_DEEPEST = 50
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def look(
    path: str, names: Sequence[str] | None, most: int, rules: Rules
) -> dict[str, Any]:
    """Return a folder's real path and its settled files, without opening any.

    Parameters
    ----------
    path
        Of the folder, absolute.
    names
        Paths of files, relative to it or absolute; ``None`` for all that lie below it
        and are not hidden.
    most
        How many files there may be.
    rules
        Where they may lie and when they are finished.
    """
    if names is not None:
        files = []
        real_roots = rules.real_roots()
        allowed = [*rules.roots, *real_roots]
        for name in names:
            file = os.path.normpath(os.path.join(path, name))
            # Even to resolve a path can hang, as on a dead mount elsewhere.
            if not any(is_below(file, root) for root in allowed):
                raise Rejection(
                    f"{file}: is outside the allowed folders"
                    f" ({', '.join(rules.roots)}); it was not looked at"
                )
            with hold(file, rules, real_roots) as held:
                files.append(_told(name, held.path, held.found))
        return {"path": path, "files": files}
    descriptor, real = opened(path, rules)
    found = _Walk(path, real, most, rules)
    try:
        found.below(descriptor, "", 0)
    finally:
        os.close(descriptor)
    found.files.sort(key=lambda file: file[0])
    return {"path": real, "files": found.files}


class _Walk:
    def __init__(self, path: str, real: str, most: int, rules: Rules) -> None:
        self.files: list[list[Any]] = []
        self._path = path
        self._real = real
        self._most = most
        self._rules = rules

    def below(self, folder: int, prefix: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise Rejection(
                f"{self._path}/{prefix}: folders are nested more than {_DEEPEST} deep"
            )
        for name, is_folder, is_link in _entries(folder):
            relative = prefix + name
            if is_folder:
                inner = os.open(name, _FOLDER, dir_fd=folder)
                try:
                    self.below(inner, f"{relative}/", depth + 1)
                finally:
                    os.close(inner)
            else:
                self._file(folder, name, relative, is_link=is_link)

    def _file(self, folder: int, name: str, relative: str, *, is_link: bool) -> None:
        if is_link:
            # Where it leads is judged; links to folders are not walked.
            target = os.stat(name, dir_fd=folder)
            if stat.S_ISDIR(target.st_mode):
                return
            with hold(f"{self._real}/{relative}", self._rules) as held:
                told = _told(relative, held.path, held.found)
        else:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                return
            self._rules.check_settled(f"{self._path}/{relative}", found)
            told = _told(relative, f"{self._real}/{relative}", found)
        self.files.append(told)
        if len(self.files) > self._most:
            raise Rejection(
                f"{self._path}: holds more than {self._most} files, the most that a"
                " dataset may have"
            )


def opened(path: str, rules: Rules) -> tuple[int, str]:
    """Return a folder's descriptor and its real path.

    Parameters
    ----------
    path
        Of the folder, absolute.
    rules
        Where it may lead.
    """
    try:
        descriptor = os.open(path, _FOLDER & ~os.O_NOFOLLOW)
    except FileNotFoundError:
        rules.check_root(path)
        raise rules.not_ready(f"{path}: missing") from None
    except NotADirectoryError:
        raise Rejection(f"{path}: is no folder, expected the dataset's") from None
    except PermissionError:
        raise rules.not_ready(f"{path}: not readable by this user") from None
    real = os.readlink(f"/proc/self/fd/{descriptor}")
    roots = rules.real_roots()
    if not any(real == root or is_below(real, root) for root in roots):
        os.close(descriptor)
        raise Rejection(
            f"{path}: leads to {real}, outside the allowed folders"
            f" ({', '.join(rules.roots)}); it was not looked at"
        )
    return descriptor, real


def _entries(folder: int) -> Iterator[tuple[str, bool, bool]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                entry.name.encode()
            except UnicodeEncodeError:
                raise Rejection(
                    f"file {entry.name!r}: its name is not UTF-8; rename it"
                ) from None
            yield (
                entry.name,
                entry.is_dir(follow_symlinks=False),
                entry.is_symlink(),
            )


def _told(name: str, path: str, found: os.stat_result) -> list[Any]:
    return [name, path, found.st_size, found.st_mtime_ns]
