"""What is in a file of one's own: every group and value, for who writes a schema."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icat_stream.records import Rejection

# A person reads a few hundred; a file may have millions.
_MOST = 20_000
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineNode:
    """One thing in a file.

    Parameters
    ----------
    path
        From the root, ``/entry/sample/name``.
    kind
        ``group``, ``value`` (one, or a text), ``array`` or ``link``.
    nx_class
        Of a group, such as ``NXsample``.
    value
        Of a value: an int, float or text.
    units
        As the file has them.
    shape
        Of an array.
    target
        What a link leads to.
    """

    path: str
    kind: str
    nx_class: str | None = None
    value: int | float | str | None = None
    units: str | None = None
    shape: tuple[int, ...] = ()
    target: str | None = None

    @property
    def depth(self) -> int:
        """How many groups it is in, besides the root."""
        return self.path.count("/") - 1


def read_outline(file: Path) -> Iterator[OutlineNode]:
    """Yield what is in a file, groups before what they hold.

    It is read in this process: not for files that others announce.

    Raises
    ------
    Rejection
        It is no HDF5 file, or holds too much to be looked through.
    """
    import h5py

    try:
        opened = h5py.File(file, "r", locking=False)
    except OSError as error:
        raise Rejection(f"{file}: cannot be read as HDF5: {error}") from None
    with opened:
        count = 0
        for node in _members(opened, ""):
            count += 1
            if count > _MOST:
                raise Rejection(f"{file}: holds more than {_MOST} groups and values")
            yield node


def _members(group: Any, where: str) -> Iterator[OutlineNode]:
    import h5py

    for name in group:
        path = f"{where}/{name}"
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            target = f"{link.filename}:{link.path}"
            yield OutlineNode(path=path, kind="link", target=target)
            continue
        if isinstance(link, h5py.SoftLink):
            yield OutlineNode(path=path, kind="link", target=link.path)
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            kind = _text(item.attrs.get("NX_class"))
            yield OutlineNode(path=path, kind="group", nx_class=kind)
            yield from _members(item, path)
        elif isinstance(item, h5py.Dataset):
            yield _value(item, path)


def _value(item: Any, path: str) -> OutlineNode:
    units = _text(item.attrs.get("units"))
    if item.size != 1:
        shape = tuple(item.shape or ())
        return OutlineNode(path=path, kind="array", units=units, shape=shape)
    try:
        found = item[()]
    except OSError as error:
        return OutlineNode(path=path, kind="array", units=units, target=str(error))
    found = getattr(found, "flat", [found])[0]
    found = found.item() if hasattr(found, "item") else found
    value = found if isinstance(found, int | float) else _text(found)
    return OutlineNode(path=path, kind="value", value=value, units=units)


def _text(found: Any) -> str | None:
    if found is None:
        return None
    if hasattr(found, "flat"):
        found = next(iter(found.flat), "")
    if isinstance(found, bytes):
        found = found.decode("utf-8", "backslashreplace")
    return str(found)[:_LONGEST]
