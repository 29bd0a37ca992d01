"""Opening an HDF5 file without any lock, and what HDF5's errors mean."""

import errno
import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from h5py import h5f, h5p, h5pl

from icat_stream.records import Rejection, TransientFailure

from .safe_open import Held, Rules

HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError)
"""What h5py makes of a failed call into HDF5, depending on HDF5's class of error."""

_ERRNO = re.compile(r"errno = (\d+)")
_FILE_SYSTEM_TROUBLE = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
}


def add_filters() -> None:
    """Let HDF5 find the filters of the extra `filters`, where that is installed.

    Those of ``HDF5_PLUGIN_PATH`` come first.  To import the package would take longer
    than to look where it is.
    """
    spec = importlib.util.find_spec("hdf5plugin")
    if spec is not None and spec.origin is not None:
        folder = os.path.join(os.path.dirname(spec.origin), "plugins")
        h5pl.append(folder.encode())


@contextmanager
def opened(name: str, held: Held, rules: Rules) -> Iterator[Any]:
    """Open an HDF5 file without any lock and say what is wrong with it.

    Parameters
    ----------
    name
        By which the operating system opens it.
    held
        Whose path errors are to name.
    rules
        For ``NotReady``.
    """
    file = open_file(name, held, rules)
    try:
        yield file
    except HDF5_ERRORS as error:
        raise classify(error, held, rules) from error
    finally:
        file.close()


def open_file(name: str, held: Held, rules: Rules) -> Any:
    """Open an HDF5 file without any lock; see :func:`opened`."""
    if held.found.st_size == 0:
        raise Rejection(f"{held.path}: is empty, expected an HDF5 file")
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_sec2()
    # Objects that an error leaves open must not keep the file open.
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    # A lock of ours could make the writer's last open fail, and lose data for good.
    access.set_file_locking(False, True)
    try:
        return h5f.open(name.encode(), h5f.ACC_RDONLY, access)
    except HDF5_ERRORS as error:
        raise classify(error, held, rules) from error


def classify(error: Exception, held: Held, rules: Rules) -> Exception:
    """Tell which failure an error of HDF5 means."""
    text = str(error.args[0]) if error.args else type(error).__name__
    reason = f"{held.path}: {text}"
    system = _ERRNO.search(text)
    if system and int(system[1]) in _FILE_SYSTEM_TROUBLE:
        return TransientFailure(reason)
    if "allocat" in text or (system and int(system[1]) == errno.ENOMEM):
        return MemoryError(reason)
    if "signature not found" in text:
        return Rejection(f"{held.path}: is no HDF5 file ({held.found.st_size:,} bytes)")
    if "plugin" in text or "required filter" in text:
        return Rejection(
            f"{reason}; it is packed by a filter that is not installed here, see"
            " icat-stream[filters] and HDF5_PLUGIN_PATH"
        )
    if "already open for" in text or "truncated file" in text:
        return rules.not_ready(f"{reason}; expected a file that its writer has closed")
    if not held.is_sealed:
        # Without the writer's word that it is done, damaged and half-written are one.
        return rules.not_ready(f"{reason}; damaged, or still being written")
    return Rejection(f"{reason}; the file is damaged")
