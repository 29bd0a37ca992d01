"""Paths as other hosts write them, and what they are on this one."""

import re
from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath

_WINDOWS = re.compile(r"[A-Za-z]:([\\/]|$)|\\\\")


def is_windows_path(path: str) -> bool:
    r"""Whether only Windows writes such a path: ``C:\data``, ``\\server\share``."""
    return _WINDOWS.match(path) is not None


def host_path(path: str) -> PurePath:
    """Return a path by the rules of the host that wrote it.

    One slash stands at its beginning where POSIX allows two.
    """
    if is_windows_path(path):
        return PureWindowsPath(path)
    return PurePosixPath("/" + path.lstrip("/") if path.startswith("/") else path)


def translated(path: str, path_map: Mapping[str, str]) -> PurePosixPath | None:
    """Return the path on this host of what another host names.

    Parameters
    ----------
    path
        Of POSIX, or of Windows, where case makes no difference and slashes may lean
        either way.
    path_map
        From prefixes there to prefixes here; the longest that matches counts.
        Prefixes match whole components only.

    Returns
    -------
    :
        ``None`` where no prefix matches.
    """
    best: PurePath | None = None
    found: PurePosixPath | None = None
    for there, here in path_map.items():
        prefix, whole = _alike(there, path)
        if not whole.is_relative_to(prefix):
            continue
        if best is None or len(prefix.parts) > len(best.parts):
            best = prefix
            found = PurePosixPath(here, *whole.relative_to(prefix).parts)
    return found


def _alike(prefix: str, path: str) -> tuple[PurePath, PurePath]:
    """Return a prefix and a path by the same rules, those of the prefix."""
    if is_windows_path(prefix) or prefix.startswith("//"):
        # Z: alone is the folder that a program is in there; its root is meant.
        whole = prefix + "\\" if prefix.endswith(":") else prefix
        return PureWindowsPath(whole), PureWindowsPath(path)
    return host_path(prefix), host_path(path)
