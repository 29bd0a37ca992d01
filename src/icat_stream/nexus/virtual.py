"""Virtual datasets: their values are in other datasets, mostly of other files.

HDF5 would open those files itself, whatever their names lead to, and give zeros where
one is missing.  So the mapping is read here, and every piece from a file that was
opened by our own rules.
"""

import re
from typing import Any

from h5py import h5d, h5s

from .limits import Limits
from .other_files import OtherFiles
from .tree import Tree
from .values import LeftOut, NoValue, check_layout

_NUMBERED = re.compile(r"(?<!%)%\d*b")
# The same file.
_HERE = "."


def sources(dataset: Any, limits: Limits) -> list[str]:
    """Return the names of the other files that a virtual dataset is made of."""
    properties = dataset.get_create_plist()
    names = {
        _text(properties.get_virtual_filename(number))
        for number in range(_count(properties, limits))
    }
    return sorted(names - {_HERE})


class VirtualDataset:
    """A virtual dataset, read like another one.

    Parameters
    ----------
    dataset
        A low-level dataset.
    tree
        Leads to places in the files.
    others
        Opens the files that it is made of.
    limits
        Of what is read.
    """

    def __init__(
        self, dataset: Any, tree: Tree, others: OtherFiles, limits: Limits
    ) -> None:
        self._dataset = dataset
        self._tree = tree
        self._home = tree.home(dataset)
        self._others = others
        self._limits = limits
        self.get_type = dataset.get_type
        self.get_space = dataset.get_space

    def read(self, array: Any, memory: Any) -> None:
        """Fill an array of the dataset's shape.

        Raises
        ------
        LeftOut
            A piece is not there, or not as the dataset says.
        """
        properties = self._dataset.get_create_plist()
        filled = 0
        for number in range(_count(properties, self._limits)):
            name = _text(properties.get_virtual_filename(number))
            at = _text(properties.get_virtual_dsetname(number))
            where = properties.get_virtual_vspace(number)
            count = where.get_select_npoints()
            if where.shape != array.shape or not 0 <= count <= array.size:
                raise LeftOut("is a virtual dataset that grows without an end")
            source = self._source(name, at)
            of = _selected(source, properties.get_virtual_srcspace(number))
            if of is None or of.get_select_npoints() != count:
                raise LeftOut(
                    f"is a virtual dataset made of {at} in {name}, expected {count:,}"
                    f" values there of {_shape(source.shape)}, which do not fit"
                )
            source.read(where, of, array, memory)
            filled += count
        if filled != array.size:
            raise LeftOut(
                f"is a virtual dataset of {array.size:,} values, and its sources have"
                f" {filled:,}"
            )

    def _source(self, name: str, at: str) -> Any:
        described = f"is a virtual dataset made of {at} in {name}"
        try:
            home = (
                self._home
                if name == _HERE
                else self._others.open(name, self._home.folder)
            )
        except LeftOut as reason:
            raise LeftOut(f"{described}, {reason.why}") from reason
        inside = at.encode("utf-8", "surrogateescape")
        found = self._tree.follow(home.root, inside, at)
        if not isinstance(found, h5d.DatasetID):
            raise LeftOut(f"{described}, where there is no dataset")
        try:
            own = check_layout(found, self._limits)
        except NoValue as reason:
            raise LeftOut(f"{described}, which {reason.why}") from reason
        if not own:
            raise LeftOut(f"{described}, which is virtual itself")
        return found


def _selected(source: Any, wanted: Any) -> Any | None:
    """Select in a source what a mapping wants, ``None`` where that is not there.

    The extent that a mapping has is only that of its selection.
    """
    space = source.get_space()
    if wanted.get_select_type() == h5s.SEL_ALL:
        return space
    if wanted.get_select_type() != h5s.SEL_HYPERSLABS:
        return None
    if not wanted.is_regular_hyperslab() or len(wanted.shape) != len(space.shape):
        return None
    _, last = wanted.get_select_bounds()
    if any(at >= extent for at, extent in zip(last, space.shape, strict=True)):
        return None
    start, stride, count, block = wanted.get_regular_hyperslab()
    space.select_hyperslab(start, count, stride, block)
    return space


def _count(properties: Any, limits: Limits) -> int:
    count: int = properties.get_virtual_count()
    if count > limits.sources:
        raise NoValue(
            f"is made of {count:,} sources, expected at most {limits.sources:,}"
        )
    return count


def _text(name: str | bytes) -> str:
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    if _NUMBERED.search(text):
        raise NoValue("names its sources by a pattern (%b), expected their names")
    return text


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{extent:,}" for extent in shape) or "single"
