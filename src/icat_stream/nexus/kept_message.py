"""Writing a small file beside the data."""

import contextlib
import os
import secrets

from icat_stream.records import Rejection

from .safe_open import Rules, is_below


def keep(path: str, content: bytes, rules: Rules) -> int:
    """Write a file whole or not at all, in the folder that was judged.

    Parameters
    ----------
    path
        Absolute.
    content
        All of it.
    rules
        Where files may lie.

    Returns
    -------
    int
        Size of the file of that name: ours, or the one that was there before.
    """
    folder_name, name = os.path.split(path)
    folder = _folder(folder_name, rules)
    # A name of our own: what others have there is never written into.
    temporary = f".{name[:200]}.{secrets.token_hex(8)}"
    try:
        found = _size(folder, name)
        if found is not None:
            return found
        descriptor = os.open(
            temporary,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o644,
            dir_fd=folder,
        )
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.unlink(temporary, dir_fd=folder)
        return _size(folder, name) or len(content)
    finally:
        os.close(folder)


def _size(folder: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
    except FileNotFoundError:
        return None


def _folder(name: str, rules: Rules) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        folder = os.open(name, flags)
    except FileNotFoundError:
        parent = os.open(os.path.dirname(name), flags)
        try:
            _judge(parent, name, rules)
            os.mkdir(os.path.basename(name), dir_fd=parent)
        finally:
            os.close(parent)
        folder = os.open(name, flags)
    try:
        _judge(folder, name, rules)
    except Rejection:
        os.close(folder)
        raise
    return folder


def _judge(folder: int, name: str, rules: Rules) -> None:
    real = os.readlink(f"/proc/self/fd/{folder}")
    roots = rules.real_roots()
    if not any(real == root or is_below(real, root) for root in roots):
        raise Rejection(
            f"{name}: leads to {real}, outside the allowed folders"
            f" ({', '.join(rules.roots)}); nothing was written"
        )
