"""Zips that are made while they are sent: the same bytes each time, of known length."""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from unicodedata import normalize

from .file_storage import BLOCK

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_DESCRIPTOR = struct.Struct("<4s3L")
_DESCRIPTOR_64 = struct.Struct("<4sL2Q")
_EXTRA_64 = 1
_LIMIT = 0xFFFFFFFF
_ENTRIES = 0xFFFF
# What deflate makes of what it cannot make smaller is a little larger.
_SURELY_SMALL = 0xF0000000
_STORED, _DEFLATED = 0, 8
# The checksum is known when the content has passed; names are UTF-8.
_FLAGS = 0x0808
_VERSION, _VERSION_64, _UNIX = 20, 45, 3 << 8
_MODE = 0o100644 << 16
_OLDEST = datetime(1980, 1, 1)  # noqa: DTZ001 - a zip's times have no zone


class SizeDiffers(Exception):
    """A file has another size than was said: the zip cannot be finished."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a zip."""

    name: str
    size: int
    content: Callable[[], Iterator[bytes]]
    """Opened when its turn comes: there may be more than a process may open."""
    modified: datetime | None = None
    tag: str = ""
    """Another one if the content is another one."""

    @property
    def encoded(self) -> bytes:
        """The name as it stands in the zip."""
        return self.name.encode("utf-8", "replace")


class Zip:
    """A zip of files, piece by piece.

    Parameters
    ----------
    entries
        The files, under different names.
    compress
        Deflate them.
    """

    def __init__(self, entries: Sequence[Entry], *, compress: bool) -> None:
        self._entries = entries
        self._compress = compress
        self._offset = 0

    @property
    def size(self) -> int | None:
        """How long it is, if that is known before."""
        if self._compress:
            return None
        offset = central = 0
        for entry in self._entries:
            name = len(entry.encoded)
            large = self._is_large(entry)
            central += _CENTRAL.size + name
            central += len(_extra(entry.size, entry.size, offset))
            offset += _LOCAL.size + name + entry.size
            offset += (20 + _DESCRIPTOR_64.size) if large else _DESCRIPTOR.size
        return offset + central + len(_end(len(self._entries), offset, central))

    def etag(self) -> str:
        """Return what tells this zip from one with other content."""
        digest = hashlib.sha256(b"deflated" if self._compress else b"stored")
        for entry in self._entries:
            digest.update(repr((entry.name, entry.tag, entry.modified)).encode())
        return f'"{digest.hexdigest()[:32]}"'

    def __iter__(self) -> Iterator[bytes]:
        """Return it in pieces that are worth sending.

        Raises
        ------
        SizeDiffers
            A file is not as it was said to be.
        """
        pieces: list[bytes] = []
        size = 0
        for piece in self._pieces():
            self._offset += len(piece)
            if size and size + len(piece) > BLOCK:
                yield b"".join(pieces)
                pieces, size = [], 0
            pieces.append(piece)
            size += len(piece)
        yield b"".join(pieces)

    def _pieces(self) -> Iterator[bytes]:
        directory: list[bytes] = []
        for entry in self._entries:
            begin = self._offset
            yield self._head(entry)
            size = checksum = packed = 0
            deflate = zlib.compressobj(wbits=-15) if self._compress else None
            for block in entry.content():
                checksum = zlib.crc32(block, checksum)
                size += len(block)
                out = deflate.compress(block) if deflate else block
                packed += len(out)
                yield out
            if deflate:
                out = deflate.flush()
                packed += len(out)
                yield out
            if size != entry.size:
                raise SizeDiffers(f"{entry.name}: {size} bytes, not {entry.size}")
            kind = _DESCRIPTOR_64 if self._is_large(entry) else _DESCRIPTOR
            yield kind.pack(b"PK\x07\x08", checksum, packed, size)
            directory.append(self._central(entry, checksum, packed, begin))
        begin = self._offset
        yield from directory
        yield _end(len(directory), begin, self._offset - begin)

    def _is_large(self, entry: Entry) -> bool:
        return entry.size >= (_SURELY_SMALL if self._compress else _LIMIT)

    def _head(self, entry: Entry) -> bytes:
        large = self._is_large(entry)
        name = entry.encoded
        size = packed = entry.size
        if self._compress:
            size = packed = 0
        extra = b""
        if large:
            extra = struct.pack("<2H2Q", _EXTRA_64, 16, size, packed)
            size = packed = _LIMIT
        return (
            _LOCAL.pack(
                b"PK\3\4",
                _VERSION_64 if large else _VERSION,
                _FLAGS,
                _DEFLATED if self._compress else _STORED,
                *_moment(entry.modified),
                0,
                packed,
                size,
                len(name),
                len(extra),
            )
            + name
            + extra
        )

    def _central(self, entry: Entry, checksum: int, packed: int, begin: int) -> bytes:
        name = entry.encoded
        extra = _extra(entry.size, packed, begin)
        version = _VERSION_64 if extra or self._is_large(entry) else _VERSION
        return (
            _CENTRAL.pack(
                b"PK\1\2",
                _UNIX | version,
                version,
                _FLAGS,
                _DEFLATED if self._compress else _STORED,
                *_moment(entry.modified),
                checksum,
                min(packed, _LIMIT),
                min(entry.size, _LIMIT),
                len(name),
                len(extra),
                0,
                0,
                0,
                _MODE,
                min(begin, _LIMIT),
            )
            + name
            + extra
        )


def distinct(names: Sequence[str]) -> list[str]:
    """Return names of files of which none is another one, or another one's folder.

    The second of two is numbered: ``a (2).nxs``. Names that differ in letters' case, or
    in how Unicode composes them, are one: where the zip is unpacked (Windows, macOS)
    they may be, and one file would replace the other.
    """
    folders = set()
    for name in names:
        key = _compared(name)
        at = key.find("/")
        while at >= 0:
            folders.add(key[:at])
            at = key.find("/", at + 1)
    numbers: dict[str, int] = {}
    used: set[str] = set()
    found = []
    for name in names:
        new, first = name, _compared(name)
        key = first
        while key in used or key in folders:
            numbers[first] = numbers.get(first, 1) + 1
            new = _numbered(name, numbers[first])
            key = _compared(new)
        used.add(key)
        found.append(new)
    return found


def _compared(name: str) -> str:
    if name.isascii():
        return name.lower()
    return normalize("NFD", normalize("NFD", name).casefold())


def _numbered(name: str, number: int) -> str:
    folder, slash, last = name.rpartition("/")
    stem, dot, suffix = last.rpartition(".")
    if not stem:
        stem, dot, suffix = last, "", ""
    return f"{folder}{slash}{stem} ({number}){dot}{suffix}"


def _extra(size: int, packed: int, begin: int) -> bytes:
    large = [value for value in (size, packed, begin) if value >= _LIMIT]
    if not large:
        return b""
    return struct.pack(f"<2H{len(large)}Q", _EXTRA_64, 8 * len(large), *large)


def _end(entries: int, begin: int, size: int) -> bytes:
    end = _END.pack(
        b"PK\5\6",
        0,
        0,
        min(entries, _ENTRIES),
        min(entries, _ENTRIES),
        min(size, _LIMIT),
        min(begin, _LIMIT),
        0,
    )
    if entries < _ENTRIES and size < _LIMIT and begin < _LIMIT:
        return end
    large = _END_64.pack(
        b"PK\6\6",
        _END_64.size - 12,
        _VERSION_64,
        _VERSION_64,
        0,
        0,
        entries,
        entries,
        size,
        begin,
    )
    return large + _LOCATOR_64.pack(b"PK\6\7", 0, begin + size, 1) + end


def _moment(when: datetime | None) -> tuple[int, int]:
    # A zip cannot say when it was before, or long after.
    if when is None or not 0 <= when.year - _OLDEST.year < 2**7:
        when = _OLDEST
    return (
        when.hour << 11 | when.minute << 5 | when.second // 2,
        (when.year - _OLDEST.year) << 9 | when.month << 5 | when.day,
    )
