"""Asks child processes for the content of announced files."""

import dataclasses
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeVar

from opentelemetry import trace

from icat_stream.records import (
    AskedPath,
    DependencyMissing,
    ExternalLink,
    FieldPath,
    FieldValue,
    FileContent,
    FileHead,
    FileStat,
    Folder,
    FolderFile,
    NotReady,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)

from . import child_pipe
from .limits import Limits
from .pool import SYSTEM, Child, ChildPool
from .safe_open import is_below

_T = TypeVar("_T")

_tracer = trace.get_tracer("icat_stream.nexus")

# Nobody's schema asks for more; a request must stay small beside a frame's limit.
_MOST_PATHS = 10_000
# How much longer than its deadline a request may live when the parent was killed.
_ORPHANED = 10.0
# What is uploaded waits for others most of the time.
_CONTENTS = 4
_ALGORITHMS = ("xxh3_64", "xxh3_128", "sha256", "blake2b")
# Files that a slow file server tells the size of in a second.
_LOOKS_A_SECOND = 1000
# Names of a folder in one answer, a few megabytes.
_PAGE = 50_000


class WalkedFolder(NamedTuple):
    """Some files of a folder.

    Parameters
    ----------
    path
        Its real path.
    files
        Name, size, and time of modification in nanoseconds.
    unusable
        What there is besides, and why it was left out.
    """

    path: str
    files: tuple[tuple[str, int, int], ...]
    unusable: tuple[str, ...] = ()


class NexusReader:
    """A :class:`~icat_stream.records.FileReader` that never touches a file itself.

    Every call on an announced path is made by a child process, under a deadline and
    a memory limit.  Several threads may read at once.

    What values become: see :mod:`icat_stream.nexus.values`.  A path with ``*`` gives
    each match under its own path, and all of them together, flat, under the path
    asked for; a ``*`` in its last component passes over what cannot be a value.  The
    same holds for ``{entry}``: its value is there under both paths.  Without any
    path, the file is looked at but not opened as HDF5.

    Parameters
    ----------
    roots
        Folders below which files may lie, whatever links say.
    path_map
        Translates prefixes of absolute paths in external links from the file
        writer's host to this one; announced paths come in translated.
    workers
        Most processes that read; one more makes checksums, so that a long one keeps
        nobody from reading, and as many, at least four, read what is uploaded.
    deadline
        Seconds for one file to be read, once a process is free for it; while a
        checksum is made, for the next megabyte of it.
    settle
        Seconds without a change after which a writable file counts as finished.
    settle_deadline
        Passed on with :class:`~icat_stream.records.NotReady`.
    max_stuck
        Most processes abandoned on a dead mount, of each of the three kinds.
    limits
        Of what is read, and of memory.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        path_map: Mapping[str, str] | None = None,
        workers: int = 2,
        deadline: float = 30.0,
        settle: float = 2.0,
        settle_deadline: float = 60.0,
        max_stuck: int = 4,
        limits: Limits | None = None,
    ) -> None:
        if not roots or not all(root.is_absolute() for root in roots):
            raise ValueError(
                f"expected absolute folders, found {list(map(str, roots))}"
            )
        self._roots = [str(root) for root in roots]
        self._deadline = deadline
        settings: dict[str, Any] = {
            "rules": {
                "roots": self._roots,
                "settle": settle,
                "settle_deadline": settle_deadline,
            },
            "limits": dataclasses.asdict(limits or Limits()),
            "path_map": dict(path_map or {}),
        }
        self._settle_deadline = settle_deadline
        self._pool = ChildPool(
            lambda: Child(settings), size=workers, max_stuck=max_stuck
        )
        self._checksums = ChildPool(
            lambda: Child(settings), size=1, max_stuck=max_stuck
        )
        self._contents = ChildPool(
            lambda: Child(settings), size=max(workers, _CONTENTS), max_stuck=max_stuck
        )

    @property
    def pids(self) -> frozenset[int]:
        """Process ids of the processes that live now, stuck ones included."""
        return self._pool.pids | self._checksums.pids | self._contents.pids

    def start(self) -> None:
        """Start the first process now; the others start when they are needed."""
        self._pool.start()

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
            Paths inside the file, see :class:`~icat_stream.records.FileReader`.
        settled_when
            A path inside the file without which it is not finished.
        links
            Whether to look at the targets of external links.
        """
        if len(paths) > _MOST_PATHS:
            raise ValueError(f"{len(paths)} paths asked for, at most {_MOST_PATHS}")
        ways: dict[_Way, list[str]] = {}
        for asked in paths:
            name, way = _split(asked)
            ways.setdefault(way, []).append(name)
        answer = self._ask(
            path,
            {
                "do": "read",
                "path": self._checked(path),
                "readings": [
                    {"asked": asked, **way._asdict()} for way, asked in ways.items()
                ],
                "settled_when": settled_when,
                "links": links,
            },
        )
        values: dict[AskedPath, FieldValue] = {}
        refused: dict[AskedPath, str] = {}
        notes: dict[AskedPath, str] = {}
        entries: dict[str, None] = {}
        for way, reading in zip(ways, answer["readings"], strict=False):
            entries |= dict.fromkeys(reading["entries"])
            notes |= way.keyed(reading["notes"])
            refused |= way.keyed(reading["refused"])
            found = _values(reading["values"])
            values |= way.keyed(found)
            values |= way.keyed(
                {
                    asked: _aligned([(at, found.get(at, _GAP)) for at in places])
                    if way.aligned
                    else _together([(at, found[at]) for at in places])
                    for asked, places in reading["asked"].items()
                }
            )
        return FileContent(
            stat=FileStat(**answer["stat"]),
            entries=tuple(entries),
            values=_Values(path, values, refused),
            notes=notes,
            links=tuple(self._link(path, link) for link in answer["links"]),
        )

    def folder(
        self, path: str, *, names: Sequence[str] | None = None, most: int = 30_000
    ) -> Folder:
        """Look at the files of a folder without opening any.

        Parameters
        ----------
        path
            Of the folder, absolute.
        names
            Paths of the files, relative to it or absolute; ``None`` for all that lie
            below it, at any depth, and are not hidden.
        most
            How many there may be.
        """
        answer = self._ask(
            path,
            {
                "do": "look",
                "path": self._checked_folder(path),
                "names": None if names is None else list(names),
                "most": most,
            },
            longer=(most if names is None else len(names)) / _LOOKS_A_SECOND,
        )
        return Folder(
            path=answer["path"],
            files=tuple(
                FolderFile(name=name, path=real, size=size, mtime_ns=mtime)
                for name, real, size, mtime in answer["files"]
            ),
        )

    def walk(self, path: str) -> Iterator[WalkedFolder]:
        """Yield all folders from one on downwards, page by page, in flat memory.

        Links and what is hidden are left out; settled or not makes no difference.

        Parameters
        ----------
        path
            Of the folder, absolute, below the allowed folders or one of them.
        """
        waiting = [self._checked_folder(path)]
        while waiting:
            folder = waiting.pop()
            after: str | None = ""
            inner: list[str] = []
            while after is not None:
                request = {"do": "list", "path": folder, "after": after, "most": _PAGE}
                try:
                    page = self._ask(folder, request, longer=_PAGE / _LOOKS_A_SECOND)
                except NotReady as failure:
                    # Gone since its parent was looked at, or not readable.
                    yield WalkedFolder(folder, (), (failure.reason,))
                    break
                yield WalkedFolder(
                    page["path"],
                    tuple((name, size, mtime) for name, size, mtime in page["files"]),
                    tuple(
                        f"{folder}: file {name}: its name is not UTF-8"
                        for name in page["unusable"]
                    ),
                )
                inner += [f"{folder}/{name}" for name in page["folders"]]
                after = page["next"]
            waiting += reversed(inner)

    def checksum(self, stat: FileStat | FolderFile, algorithm: str) -> str:
        """Return ``algorithm:hexdigest`` of a file that was looked at before.

        It takes as long as it takes, if only it gets on.

        Parameters
        ----------
        stat
            What was found then; a file that has changed since is ``NotReady``.
        algorithm
            ``xxh3_64``, ``xxh3_128``, ``sha256`` or ``blake2b``.
        """
        if algorithm not in _ALGORITHMS:
            raise ValueError(f"{algorithm}: expected one of {', '.join(_ALGORITHMS)}")
        answer = self._ask(
            stat.path,
            {
                "do": "checksum",
                # Roots may be links, so a real path need not lie below their names.
                "path": stat.path,
                "size": stat.size,
                "mtime_ns": stat.mtime_ns,
                "algorithm": algorithm,
            },
            pool=self._checksums,
        )
        return str(answer["checksum"])

    def heads(self, paths: Sequence[str]) -> list[FileHead]:
        """Return how settled files begin, in the order asked for.

        Parameters
        ----------
        paths
            Absolute.
        """
        found: dict[str, FileHead] = {}
        looked_at: dict[str, str] = {}
        for path in paths:
            try:
                looked_at[path] = self._checked(path)
            except Rejection as refused:
                found[path] = FileHead(failure=refused.reason)
        if looked_at:
            answer = self._ask(
                next(iter(looked_at)),
                {"do": "heads", "paths": list(looked_at.values())},
                longer=len(looked_at) / _LOOKS_A_SECOND,
            )
            for path, head in zip(looked_at, answer["heads"], strict=True):
                found[path] = (
                    FileHead(failure=head["failure"])
                    if "failure" in head
                    else FileHead(
                        stat=FileStat(**head["stat"]),
                        begin=bytes.fromhex(head["begin"]),
                    )
                )
        return [found[path] for path in paths]

    def look(self, path: str) -> FileStat:
        """Look at a regular file, settled or not.

        Parameters
        ----------
        path
            Absolute; a real path need not lie below the names of the allowed folders.
        """
        answer = self._ask(path, {"do": "stat", "path": path})
        return FileStat(**answer["stat"])

    def content(self, stat: FileStat) -> Generator[bytes, None, None]:
        """Yield the content of a file that was looked at before, in pieces.

        Who takes it has to close it: only then its process is free again.

        Parameters
        ----------
        stat
            What was found then; a file that has changed since is ``NotReady``.
        """
        request = {
            "do": "content",
            "path": stat.path,
            "size": stat.size,
            "mtime_ns": stat.mtime_ns,
            "lifetime": self._deadline + _ORPHANED,
        }
        try:
            answer = yield from self._contents.stream(
                child_pipe.pack(request), deadline=self._deadline
            )
        except SystemUnavailable as failure:
            # The probe asks other processes.
            raise SystemUnavailable(
                failure.reason, system=SYSTEM, probe_tells=False
            ) from failure
        except TransientFailure as failure:
            raise TransientFailure(f"{stat.path}: {failure.reason}") from failure
        if "error_class" in answer:
            raise self._failure(stat.path, answer)

    def keep(self, path: str, content: bytes) -> int:
        """Write a small file beside the data, whole or not at all.

        Parameters
        ----------
        path
            Absolute, below the allowed folders; its folder is made if only that is
            missing.
        content
            All of it.  What is there already is left alone, whatever it holds.

        Returns
        -------
        int
            Size of the file that is there now, in bytes.

        Raises
        ------
        Rejection
            The place is outside the allowed folders.
        TransientFailure
            It cannot be written.
        """
        answer = self._ask(
            path,
            {"do": "keep", "path": self._checked(path), "content": content.hex()},
        )
        return int(answer["size"])

    def ping(self) -> None:
        """See that all allowed folders are there.

        Raises
        ------
        SystemUnavailable
            One is not, or cannot be looked at.
        """
        if missing := self.missing_roots():
            raise _not_there(missing)

    def ping_any(self) -> None:
        """See that one of the allowed folders is there; else as :meth:`ping`."""
        if len(missing := self.missing_roots()) == len(self._roots):
            raise _not_there(missing)

    def missing_roots(self) -> list[str]:
        """Return the allowed folders that are not there.

        Raises
        ------
        SystemUnavailable
            They cannot be looked at.
        """
        try:
            answer = self._ask("the allowed folders", {"do": "probe"})
        except TransientFailure as failure:
            raise SystemUnavailable(failure.reason, system=SYSTEM) from failure
        return list(answer["missing"])

    def close(self) -> None:
        """End the processes; reads under way fail."""
        self._pool.close()
        self._checksums.close()
        self._contents.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _checked(self, path: str) -> str:
        """Refuse a path by its text alone; otherwise return it without repetitions."""
        if "\0" in path:
            raise Rejection(f"{path!r}: holds a NUL, expected the path of a file")
        if not path.startswith("/"):
            raise Rejection(f"{path}: is relative, expected an absolute path")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Rejection(f"{path}: holds '..', expected a plain path; not opened")
        plain = "/" + "/".join(parts)
        if not any(is_below(plain, root) for root in self._roots):
            raise Rejection(
                f"{path}: is outside the allowed folders"
                f" ({', '.join(self._roots)}); it was not opened"
            )
        return plain

    def _checked_folder(self, path: str) -> str:
        plain = "/" + path.strip("/")
        if plain in [root.rstrip("/") for root in self._roots]:
            return plain
        return self._checked(path)

    def _ask(
        self,
        path: str,
        request: dict[str, Any],
        *,
        pool: ChildPool | None = None,
        longer: float = 0.0,
    ) -> dict[str, Any]:
        deadline = self._deadline + longer
        request["lifetime"] = deadline + _ORPHANED
        pool = pool or self._pool
        try:
            with _tracer.start_as_current_span(
                f"files.{request['do']}", record_exception=False
            ):
                answer = pool.ask(child_pipe.pack(request), deadline=deadline)
        except TransientFailure as failure:
            raise TransientFailure(f"{path}: {failure.reason}") from failure
        if "error_class" in answer:
            raise self._failure(path, answer)
        return answer

    def _failure(self, path: str, answer: dict[str, Any]) -> Exception:
        reason = answer["reason"]
        match answer["error_class"]:
            case Rejection.error_class:
                return Rejection(reason)
            case NotReady.error_class:
                return NotReady(
                    reason,
                    retry_in=answer["retry_in"],
                    deadline=self._settle_deadline,
                )
            case DependencyMissing.error_class:
                return DependencyMissing(reason, answer["missing"])
            case SystemUnavailable.error_class:
                return SystemUnavailable(
                    reason, system=SYSTEM, probe_tells=answer["probe_tells"]
                )
            case TransientFailure.error_class:
                return TransientFailure(reason)
            case _:
                return RuntimeError(f"{path}: failed unexpectedly\n{reason}")

    def _link(self, path: str, link: dict[str, Any]) -> ExternalLink:
        if "error_class" in link:
            return ExternalLink(at=link["at"], failure=self._failure(path, link))
        return ExternalLink(at=link["at"], stat=FileStat(**link["stat"]))


class _Way(NamedTuple):
    """In which way paths are read, see :class:`~icat_stream.records.FieldPath`."""

    encoding: str | None = None
    order: Literal["natural", "creation"] = "natural"
    follow: bool = False
    aligned: bool = False
    each_entry: bool = False

    def keyed(self, found: dict[str, _T]) -> dict[AskedPath, _T]:
        """Return what was found by the paths as they were asked for."""
        if self == _Way():
            return dict(found.items())
        return {FieldPath(path=at, **self._asdict()): one for at, one in found.items()}


def _not_there(missing: Sequence[str]) -> SystemUnavailable:
    return SystemUnavailable(
        f"not there, expected folders: {', '.join(missing)}; are they mounted?",
        system=SYSTEM,
    )


def _split(asked: AskedPath) -> tuple[str, _Way]:
    if isinstance(asked, str):
        return asked, _Way()
    return asked.path, _Way(*(getattr(asked, name) for name in _Way._fields))


class _Values(Mapping[AskedPath, FieldValue]):
    """Values by path, which reject the file when one is wanted that is none.

    The paths of all schemas that may apply are read at once, and what one of them
    takes for text may be a group in another's layout: that is no error of the file.

    Parameters
    ----------
    file
        For errors.
    values
        What was read.
    refused
        Why other paths have no value although something is there.
    """

    def __init__(
        self,
        file: str,
        values: dict[AskedPath, FieldValue],
        refused: dict[AskedPath, str],
    ) -> None:
        self._file = file
        self._values = values
        self._refused = refused

    def __getitem__(self, path: AskedPath) -> FieldValue:
        if path in self._refused:
            raise Rejection(f"{self._file}: {self._refused[path]}")
        return self._values[path]

    def __contains__(self, path: object) -> bool:
        return path in self._values or path in self._refused

    def __iter__(self) -> Iterator[AskedPath]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


def _values(found: dict[str, Any]) -> dict[str, FieldValue]:
    return {
        at: FieldValue(
            value=tuple(value) if isinstance(value, list) else value, units=units
        )
        for at, (value, units) in found.items()
    }


_GAP = FieldValue(value=None)


def _aligned(places: list[tuple[str, FieldValue]]) -> FieldValue:
    """Join one value of each place, or none, with their units if they agree."""
    places = [(at, _GAP if one.value == () else one) for at, one in places]
    values: Any = tuple(one.value for _, one in places)
    units = {one.units for _, one in places if one is not _GAP}
    parts = tuple(places) if len(units) > 1 else ()
    return FieldValue(
        value=values,
        units=None if parts or not units else units.pop(),
        parts=parts,
    )


def _together(places: list[tuple[str, FieldValue]]) -> FieldValue:
    """Join what several places hold, flat, with their units if they agree."""
    if len(places) == 1:
        return places[0][1]
    flat: list[Any] = []
    for _, one in places:
        flat.extend(one.value if isinstance(one.value, tuple) else (one.value,))
    units = {one.units for _, one in places}
    if len(units) == 1:
        return FieldValue(value=tuple(flat), units=units.pop())
    return FieldValue(value=tuple(flat), parts=tuple(places))
