"""Values of datasets and attributes, their size known before they are read.

Text is UTF-8, or in the encoding that is named for what is not; a guess would give
other letters than were written.  Of fixed-length text HDF5 takes the padding off;
blanks that are no padding stay.  A float of less than double precision is exact where
it is a whole number, else it becomes the shortest decimal number that means it: 4.1,
not 4.099999904632568.  Enumerations give the name of their member, FALSE and TRUE a
boolean.
"""

import re
from typing import Any

import numpy as np
from h5py import check_enum_dtype, h5a, h5d, h5s, h5t, h5z, string_dtype

from .limits import Limits

Scalar = str | int | float | bool
Value = Scalar | tuple[Scalar, ...]

_REFUSED = {
    h5t.TIME: "a time",
    h5t.BITFIELD: "a bit field",
    h5t.OPAQUE: "opaque",
    h5t.COMPOUND: "a compound",
    h5t.REFERENCE: "a reference",
    h5t.VLEN: "a variable-length array",
    h5t.ARRAY: "an array type",
    getattr(h5t, "COMPLEX", 11): "a complex number",
}


# What files themselves say of a filter is an address, or nothing.
_FILTERS = {
    **{307: "bzip2", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp"},
    **{32015: "zstd", 32017: "sz", 32018: "fcidecomp", 32024: "sz3", 32026: "blosc2"},
}
_TEXT = (string_dtype(), h5t.py_create(string_dtype()))
_COMMON = {
    (h5t.FLOAT, 8): (np.dtype("<f8"), h5t.IEEE_F64LE),
    (h5t.FLOAT, 4): (np.dtype("<f4"), h5t.IEEE_F32LE),
    (h5t.INTEGER, 8): (np.dtype("<i8"), h5t.STD_I64LE),
    (h5t.INTEGER, 4): (np.dtype("<i4"), h5t.STD_I32LE),
}


# What Latin-1 makes of bytes that no text in it has.
_CONTROLS = re.compile("[\x80-\x9f]")


# Bytes that a number takes here, however few it has in the file.
_IN_PYTHON = 8


class NoValue(Exception):
    """What is there cannot be a catalogue's value.

    Parameters
    ----------
    why
        What it is instead, to follow on its path in the file.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class LeftOut(NoValue):
    """What is there may well be a value, but it cannot be had as things are."""


class TooMuch(Exception):
    """The request as a whole costs more than it may.

    Parameters
    ----------
    why
        What does, to follow on the name of the file.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Budget:
    """What may still be read for one request."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._bytes = limits.total_bytes
        self._values = limits.values

    def spend_value(self, size: int) -> None:
        """Take one value from the budget."""
        self._values -= 1
        if self._values < 0:
            raise TooMuch(
                f"the paths asked for give over {self.limits.values:,} values"
            )
        self.spend(size)

    def spend(self, size: int) -> None:
        """Take that many bytes from the budget."""
        self._bytes -= size
        if self._bytes < 0:
            raise TooMuch(
                "the values asked for are together over"
                f" {self.limits.total_bytes:,} bytes"
            )


def read_value(found: Any, budget: Budget, encoding: str | None = None) -> Value | None:
    """Read a dataset or an attribute.

    Parameters
    ----------
    found
        A low-level dataset or attribute, or what is read like one.
    budget
        What may be read.
    encoding
        Of text that is not UTF-8.

    Returns
    -------
    value
        ``None`` for an empty data space.
    """
    kind = found.get_type()
    kind_class = kind.get_class()
    if kind_class in _REFUSED:
        raise NoValue(
            f"holds {_REFUSED[kind_class]} ({kind.get_size():,} bytes), expected text,"
            " a number, a boolean or a one-dimensional array of these"
        )
    space = found.get_space()
    if space.get_simple_extent_type() == h5s.NULL:
        return None
    shape = space.get_simple_extent_dims()
    count = space.get_simple_extent_npoints()
    _check_size(kind, kind_class, shape, count, budget)
    if count == 0:
        return ()
    dtype, memory = _in_memory(kind, kind_class)
    array = np.empty(shape, dtype)
    if isinstance(found, h5d.DatasetID):
        found.read(h5s.ALL, h5s.ALL, array, memory)
    else:
        found.read(array, memory)
    array = array.reshape(-1)
    if count == 1:
        return _scalar(array[0], kind, kind_class, budget, encoding)
    if kind_class == h5t.INTEGER or (kind_class == h5t.FLOAT and kind.get_size() == 8):
        return tuple(array.tolist())
    return tuple(_scalar(item, kind, kind_class, budget, encoding) for item in array)


def _in_memory(kind: Any, kind_class: int) -> tuple[Any, Any]:
    """Return numpy's and HDF5's type of a value in memory.

    To make them for each value takes as long as to read it.
    """
    if kind_class == h5t.STRING and kind.is_variable_str():
        return _TEXT
    known = _COMMON.get((kind_class, kind.get_size()))
    if known is not None and kind.equal(known[1]):
        return known
    dtype = kind.dtype
    return dtype, h5t.py_create(dtype)


def _check_size(
    kind: Any, kind_class: int, shape: tuple[int, ...], count: int, budget: Budget
) -> None:
    limits = budget.limits
    itemsize = kind.get_size()
    if sum(extent != 1 for extent in shape) > 1:
        extent = " x ".join(f"{n:,}" for n in shape)
        raise NoValue(f"has {len(shape)} dimensions ({extent}), expected at most one")
    if count > 1 and count * max(itemsize, _IN_PYTHON) > limits.array_bytes:
        raise NoValue(
            f"has {count:,} elements ({count * itemsize:,} bytes), over"
            f" files.max_array ({limits.array_bytes:,} bytes)"
        )
    if itemsize > limits.string_bytes:
        raise NoValue(
            f"holds a text of {itemsize:,} bytes, expected at most"
            f" {limits.string_bytes:,}"
        )
    budget.spend_value(count * itemsize)


def _scalar(
    item: Any, kind: Any, kind_class: int, budget: Budget, encoding: str | None
) -> Scalar:
    if kind_class == h5t.STRING:
        if kind.is_variable_str():
            return _variable_text(item, budget, encoding)
        return _decode(bytes(item), encoding)
    if kind_class == h5t.INTEGER:
        return int(item)
    if kind_class == h5t.FLOAT:
        exact = float(item)
        if item.dtype.itemsize == 8 or exact.is_integer():
            return exact
        # str() is the shortest text that means the same in the type's own precision.
        return float(str(item))
    if item.dtype == np.bool_:
        return bool(item)
    members: dict[str, int] = check_enum_dtype(kind.dtype) or {}
    for name, number in members.items():
        if number == item:
            return name
    raise NoValue(f"holds {int(item)}, which its enumeration does not name")


def _variable_text(item: Any, budget: Budget, encoding: str | None) -> str:
    limits = budget.limits
    text = item if isinstance(item, bytes) else str(item or "").encode()
    # Only the text itself tells its length; the memory limit bounded it until here.
    if len(text) > limits.string_bytes:
        raise NoValue(
            f"holds a text of {len(text):,} bytes, expected at most"
            f" {limits.string_bytes:,}"
        )
    budget.spend(len(text))
    return _decode(text, encoding)


def _decode(text: bytes, encoding: str | None) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        if encoding is None:
            raise LeftOut(
                f"holds text that is not UTF-8 ({_shown(text, error.start)}); name its"
                " encoding in the schema, such as encoding: cp1252"
            ) from None
    try:
        decoded = text.decode(encoding)
    except UnicodeDecodeError as error:
        raise LeftOut(
            f"holds text that is neither UTF-8 nor {encoding}"
            f" ({_shown(text, error.start)})"
        ) from None
    if control := _CONTROLS.search(decoded):
        raise LeftOut(
            f"holds text that has a control character (U+{ord(control[0]):04X}) if it"
            f" is {encoding}; cp1252 has letters and signs there"
        )
    return decoded


def _shown(text: bytes, at: int) -> str:
    return f"byte 0x{text[at]:02x} in {text[max(0, at - 10) : at + 10]!r}"


def read_attribute(
    found: Any, name: str, budget: Budget, encoding: str | None = None
) -> Value | None:
    """Read an attribute of an object, ``None`` if it has none of that name.

    Parameters
    ----------
    found
        A low-level group, dataset or type.
    name
        Of the attribute.
    budget
        What may be read.
    encoding
        Of text that is not UTF-8.
    """
    encoded = name.encode("utf-8", "surrogateescape")
    if not h5a.exists(found, encoded):
        return None
    return read_value(h5a.open(found, encoded), budget, encoding)


def read_units(found: Any, budget: Budget, encoding: str | None = None) -> str | None:
    """Read ``@units`` of an object; empty text and no text are no units.

    Signs such as ° and µ come from Windows programs in cp1252.  To take them so is
    safe: a text that it makes no unit of is none that anybody knows.
    """
    try:
        units = read_attribute(found, "units", budget, encoding or "cp1252")
    except LeftOut as reason:
        raise LeftOut(f"has @units that {reason.why}") from None
    if isinstance(units, tuple) and len(set(units)) <= 1:
        units = units[0] if units else None
    if units is None:
        return None
    if not isinstance(units, str):
        raise NoValue(f"has @units {units!r}, expected text")
    return units if units.strip() else None


def check_layout(dataset: Any, limits: Limits) -> bool:
    """Tell whether a dataset's values lie in its own file.

    Returns
    -------
    own
        ``False`` for a virtual dataset.
    """
    if dataset.rank == 0 and dataset.get_offset() is not None:
        return True  # one value at a place in this file; spares half the time
    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    if layout == h5d.VIRTUAL:
        return False
    if layout == h5d.CONTIGUOUS and properties.get_external_count():
        raise LeftOut("keeps its values in another file (external storage)")
    if layout == h5d.CHUNKED:
        size = dataset.get_type().get_size()
        for extent in properties.get_chunk():
            size *= extent
        if size > limits.chunk_bytes:
            raise NoValue(
                f"comes in chunks of {size:,} bytes, expected at most"
                f" {limits.chunk_bytes:,}"
            )
        _check_filters(properties)
    return True


def _check_filters(properties: Any) -> None:
    for number in range(properties.get_nfilters()):
        code = properties.get_filter(number)[0]
        if not h5z.filter_avail(code):
            raise NoValue(
                f"is packed by the HDF5 filter {_FILTERS.get(code, 'with the number')}"
                f" {code}, which is not installed here: install icat-stream[filters],"
                " or set HDF5_PLUGIN_PATH to the folder of its plugin"
            )
