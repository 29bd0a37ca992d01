"""Reads the root table of a FlatBuffers message, trusting none of its offsets.

The FlatBuffers library for Python has no verifier: a damaged message reads as other
values, or fails with whatever exception comes first.  Here every offset is checked
for range, alignment and overlap before it is followed, as the verifier of the C++
library does, and the one thing that can go wrong is :class:`Undecodable`.
"""

from struct import Struct
from typing import NoReturn

from icat_stream.records import Rejection

_UOFFSET = Struct("<I")
_TABLE_HEAD = Struct("<i")
_VTABLE_HEAD = Struct("<HH")
_UINT64 = Struct("<Q")
_INT32 = Struct("<i")

# The root offset and the identifier; nothing else can begin before.
_HEADER_SIZE = 8


class Undecodable(Rejection):
    """A value is no valid message: says where in it and why."""


class RootTable:
    """The root table of one message.

    Fields are addressed by their number in the schema, counted from 0.

    Parameters
    ----------
    buffer
        The whole message.
    schema
        Its identifier, for error messages.
    fields
        How many fields of it may be asked for; later ones are not looked at.

    Raises
    ------
    Undecodable
        The root table or its vtable does not lie in the message as it must.
    """

    __slots__ = ("_buffer", "_offsets", "_schema", "_size", "_start", "_table_size")

    def __init__(self, buffer: bytes, schema: str, fields: int) -> None:
        self._buffer = buffer
        self._schema = schema
        self._size = size = len(buffer)
        if size < _HEADER_SIZE + 8:
            self._refuse(f"is cut short: {size} bytes hold no table")
        (start,) = _UOFFSET.unpack_from(buffer)
        if start < _HEADER_SIZE or start & 3 or start + 4 > size:
            self._refuse(f"has its root table at byte {start} of {size}")
        self._start = start
        (back,) = _TABLE_HEAD.unpack_from(buffer, start)
        vtable = start - back
        if vtable < _HEADER_SIZE or vtable & 1 or vtable + 4 > size:
            self._refuse(f"has its vtable at byte {vtable} of {size}")
        vtable_size, table_size = _VTABLE_HEAD.unpack_from(buffer, vtable)
        if vtable_size < 4 or vtable_size & 1 or vtable + vtable_size > size:
            self._refuse(
                f"has a vtable of {vtable_size} bytes at byte {vtable} of {size}"
            )
        if table_size < 4 or start + table_size > size:
            self._refuse(
                f"has a root table of {table_size} bytes at byte {start} of {size}"
            )
        if vtable < start + table_size and start < vtable + vtable_size:
            self._refuse(
                f"has its vtable (byte {vtable}) and its root table (byte {start}) "
                "in the same place"
            )
        self._table_size = table_size
        present = min(fields, (vtable_size - 4) >> 1)
        self._offsets = _OFFSETS[present].unpack_from(buffer, vtable + 4)

    def text(self, slot: int, name: str) -> str | None:
        """Return a string field, ``None`` where it is absent."""
        span = self._string(slot, name)
        if span is None:
            return None
        raw = self._buffer[span[0] : span[1]]
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            self._refuse(
                f"is not UTF-8 at byte {span[0] + error.start} ({error.reason})", name
            )
        if "\0" in text:
            self._refuse(f"holds a NUL at byte {span[0] + raw.index(0)}", name)
        return text

    def required_text(self, slot: int, name: str) -> str:
        """Return a string field that must be there."""
        text = self.text(slot, name)
        if text is None:
            self._refuse("is absent but required", name)
        return text

    def raw(self, slot: int, name: str) -> memoryview | None:
        """Return the bytes of a string field, neither copied nor decoded."""
        span = self._string(slot, name)
        return None if span is None else memoryview(self._buffer)[span[0] : span[1]]

    def boolean(self, slot: int, name: str) -> bool:
        """Return a bool field, ``False`` where it is absent."""
        value = self.byte(slot, name)
        if value > 1:
            self._refuse(f"is {value}, expected 0 or 1", name)
        return value == 1

    def byte(self, slot: int, name: str) -> int:
        """Return a byte field, 0 where it is absent."""
        at = self._scalar(slot, name, 1)
        return self._buffer[at] if at else 0

    def uint64(self, slot: int, name: str) -> int:
        """Return a uint64 field, 0 where it is absent."""
        at = self._scalar(slot, name, 8)
        return int(_UINT64.unpack_from(self._buffer, at)[0]) if at else 0

    def uint32(self, slot: int, name: str, default: int = 0) -> int:
        """Return a uint32 field, `default` where it is absent."""
        at = self._scalar(slot, name, 4)
        return int(_UOFFSET.unpack_from(self._buffer, at)[0]) if at else default

    def int32(self, slot: int, name: str) -> int:
        """Return an int32 field, 0 where it is absent."""
        at = self._scalar(slot, name, 4)
        return int(_INT32.unpack_from(self._buffer, at)[0]) if at else 0

    def _scalar(self, slot: int, name: str, size: int) -> int:
        """Return the position of a field of `size` bytes, 0 where it is absent."""
        offset = self._offsets[slot] if slot < len(self._offsets) else 0
        if not offset:
            return 0
        at: int = self._start + offset
        if offset < 4 or offset + size > self._table_size:
            self._refuse(
                f"lies at {offset} of a table of {self._table_size} bytes", name
            )
        if at & (size - 1):
            self._refuse(f"is misaligned at byte {at}", name)
        return at

    def _string(self, slot: int, name: str) -> tuple[int, int] | None:
        """Return where a string begins and ends, ``None`` where it is absent."""
        at = self._scalar(slot, name, 4)
        if not at:
            return None
        (distance,) = _UOFFSET.unpack_from(self._buffer, at)
        head = at + distance
        if head & 3 or head + 5 > self._size or head < self._start + self._table_size:
            self._refuse(f"points to byte {head} of {self._size}", name)
        begin = head + 4
        end = begin + _UOFFSET.unpack_from(self._buffer, head)[0]
        if end >= self._size:
            self._refuse(
                f"runs from byte {begin} to {end}, beyond the {self._size} bytes "
                "that there are",
                name,
            )
        if self._buffer[end]:
            self._refuse(f"does not end with a NUL at byte {end}", name)
        return begin, end

    def _refuse(self, why: str, name: str | None = None) -> NoReturn:
        where = f"{self._schema} message" if name is None else f"{self._schema}.{name}"
        raise Undecodable(f"{where} {why}")


_OFFSETS = tuple(Struct(f"<{count}H") for count in range(16))
