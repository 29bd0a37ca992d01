"""One folder at a time, a page at a time: for walking trees of any size."""

import os
import stat
from typing import Any

from .folders import opened
from .safe_open import Rules


def listing(path: str, after: str, most: int, rules: Rules) -> dict[str, Any]:
    """Return regular files and folders of a folder, by name, without opening any.

    Hidden ones and links are left out: where a link leads to is looked at there.

    Parameters
    ----------
    path
        Of the folder, absolute.
    after
        The last name of the page before, or nothing.
    most
        Names on a page.
    rules
        Where it may lie.
    """
    descriptor, real = opened(path, rules)
    try:
        names = sorted(
            name
            for name in os.listdir(descriptor)
            if name > after and not name.startswith(".")
        )
        files, folders, unusable = [], [], []
        for name in names[:most]:
            try:
                name.encode()
            except UnicodeEncodeError:
                unusable.append(repr(name))
                continue
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(found.st_mode):
                folders.append(name)
            elif stat.S_ISREG(found.st_mode):
                files.append([name, found.st_size, found.st_mtime_ns])
    finally:
        os.close(descriptor)
    return {
        "path": real,
        "files": files,
        "folders": folders,
        "unusable": unusable,
        "next": names[most - 1] if len(names) > most else None,
    }
