"""What is known of a file after it was looked at, and who looks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldValue:
    """A value read from a file.

    Parameters
    ----------
    value
        A scalar, or a tuple of scalars for one-dimensional data.  Shape ``(1,)`` is
        a scalar.  Text is decoded.  Of a path that is `aligned`, ``None`` stands
        where a match has no value.
    units
        The ``@units`` attribute beside it, if any.
    parts
        Where the places that a ``*`` was found to mean do not all name one and the
        same unit: each path with its value and units, and no units here.
    """

    value: str | int | float | bool | tuple[str | int | float | bool | None, ...] | None
    units: str | None = None
    parts: tuple[tuple[str, "FieldValue"], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPath:
    """A path inside a file that is to be read in another way than most.

    Parameters
    ----------
    path
        As :class:`FileReader` takes them.
    encoding
        Of text that is not UTF-8; ``None`` takes none of it.
    order
        Which entry is the first one, and in which order a ``*`` gives its matches:
        by name (``d_2`` before ``d_10``), or as they were made.
    follow
        Whether external links and virtual datasets lead into other files of the
        allowed folders.
    aligned
        Whether each match of ``*`` has its place among the values, with one or none.
    each_entry
        Whether ``{entry}`` stands for each NXentry by itself: what is found is under
        paths with the entries' names, and a note of entries that were not read under
        ``{entry}``.
    """

    path: str
    encoding: str | None = None
    order: Literal["natural", "creation"] = "natural"
    follow: bool = False
    aligned: bool = False
    each_entry: bool = False


AskedPath = str | FieldPath
""":class:`FieldPath`, of which a plain text has the defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    """A file's vital data.

    Parameters
    ----------
    path
        Real path, links resolved.
    size
        In bytes.
    mtime_ns, ctime_ns
        Nanoseconds since the epoch.
    mode
        Permission bits.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalLink:
    """A file that the file at hand refers to.

    Parameters
    ----------
    at
        Path of the link inside the file.
    stat
        Of the target; ``None`` if there is a failure.
    failure
        Why the target cannot be one of our files; raised by those who want it.
    """

    at: str
    stat: FileStat | None = None
    failure: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """What a file says at the paths that were asked for.

    Parameters
    ----------
    stat
        The same before and after reading.
    entries
        Names of its NXentry groups, the default one first; looked for only where a
        path begins with ``{entry}``.
    values
        By the path asked for, and by the paths in the file that ``{entry}`` and ``*``
        were found to mean; what is not in the file is not in here.  To look up what
        is there and cannot be a value (a group, an image, a text of 2 GiB) raises
        :class:`~icat_stream.records.Rejection`; ``in`` tells that it is there.
    notes
        By the path asked for: what was met on the way to it and left out, such as an
        external link; where there is no value, that is why.
    links
        Targets of external links and of virtual datasets at the paths asked for, if
        links were asked for too.
    """

    stat: FileStat
    entries: tuple[str, ...] = ()
    values: Mapping[AskedPath, FieldValue] = field(default_factory=dict)
    notes: Mapping[AskedPath, str] = field(default_factory=dict)
    links: tuple[ExternalLink, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHead:
    """How a file begins.

    Parameters
    ----------
    stat
        ``None`` if it is missing, or none of our files.
    begin
        Its first bytes, at most 32.
    failure
        Why there is no more.
    """

    stat: FileStat | None = None
    begin: bytes = b""
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFile:
    """A file of a folder.

    Parameters
    ----------
    name
        As it was asked for, or its path below the folder.
    path
        Real path.
    size
        In bytes.
    mtime_ns
        Nanoseconds since the epoch.
    """

    name: str
    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder and its files, by name, or in the order asked for."""

    path: str
    files: tuple[FolderFile, ...] = ()


class FileReader(Protocol):
    """Looks at announced files without ever blocking or crashing its caller."""

    def read(
        self,
        path: str,
        paths: Collection[AskedPath],
        *,
        settled_when: str | None = None,
        links: bool = False,
    ) -> FileContent:
        """Read declared paths of a settled file.

        Parameters
        ----------
        path
            The file as announced, mapped to this host.
        paths
            Paths inside the file: ``/entry/title``, an attribute after ``@``
            (``/entry/instrument/name@short_name``), ``*`` within one component.
            A first component ``{entry}`` stands for the default NXentry, ``{NXsample}``
            for the one group of that class, ``{NXuser*}`` for all of them.
        settled_when
            A path inside the file without which it is not finished, such as
            ``{entry}/end_time``.
        links
            Whether to look at the targets of external links and virtual datasets:
            each is a path that somebody else chose.

        Raises
        ------
        NotReady
            The file is missing, not settled or still open for writing.
        Rejection
            It lies outside the allowed roots, is no HDF5 file, is damaged or
            hostile.
        TransientFailure
            The file system did not answer in time.
        """
        ...

    def folder(
        self, path: str, *, names: Sequence[str] | None = None, most: int = 30_000
    ) -> Folder:
        """Look at the settled files of a folder without opening any.

        Parameters
        ----------
        path
            The folder, mapped to this host.
        names
            Paths of the files, relative to it or absolute; ``None`` for all below it
            that are not hidden.
        most
            How many there may be.

        Raises
        ------
        NotReady, Rejection, TransientFailure
            As :meth:`read`.
        """
        ...

    def heads(self, paths: Sequence[str]) -> Sequence[FileHead]:
        """Return how settled files begin, in the order asked for.

        Parameters
        ----------
        paths
            Mapped to this host.

        Raises
        ------
        NotReady
            One is still being written, or may not be read.
        TransientFailure
            The file system did not answer in time.
        """
        ...

    def checksum(self, stat: FileStat | FolderFile, algorithm: str) -> str:
        """Return ``algorithm:hexdigest`` of a file that was looked at before.

        Parameters
        ----------
        stat
            What was found then.
        algorithm
            ``xxh3_64``, ``xxh3_128``, ``sha256`` or ``blake2b``.

        Raises
        ------
        NotReady
            It has changed since.
        TransientFailure
            The file system stopped giving it.
        """
        ...
