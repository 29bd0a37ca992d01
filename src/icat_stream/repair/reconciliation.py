"""Comparing disk, catalogue and journal, and announcing again what is missing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from icat_stream.catalogue import CatalogueSession, Inventory, Scope
from icat_stream.config import ConfigError, Problem, Settings
from icat_stream.handlers import Locations
from icat_stream.ids import Ids
from icat_stream.ingest import RunningConsumer
from icat_stream.journal import Journal, journal_exists
from icat_stream.nexus import NexusReader
from icat_stream.records import Rejection, same_time
from icat_stream.stream import announce_again

from .announcements import Announced
from .disk_lists import Comparison, Pair
from .findings import Finding, Wanted

_TOGETHER = 300
_TICK = 1_000

Progress = Callable[[str, int], None]
"""Told what is being read, and how much of it was."""


class Reconciliation:
    """Finds what is on disk, in the catalogue or in the journal only.

    Parameters
    ----------
    settings
        All of them.
    session
        Of the catalogue; closed with this.
    files, ids, journal
        The ways to the disk, the data service and what became of each record.
    wanted
        What is to be compared.
    folder
        For its own files, as large as a listing of everything.
    progress
        Told how far it is.

    Raises
    ------
    ConfigError
        Locations in the catalogue do not tell paths here.
    """

    def __init__(
        self,
        settings: Settings,
        wanted: Wanted,
        *,
        session: CatalogueSession,
        files: NexusReader,
        ids: Ids,
        journal: Journal,
        folder: Path,
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._files_on_disk = files
        self._ids = ids
        self._journal = journal
        self._wanted = wanted
        self._progress = progress
        self._places = Places(settings, files)
        self._comparison = Comparison(folder)
        self._session = session
        self._inventory: Inventory = session.inventory()
        self._unusable: list[Finding] = []

    def close(self) -> None:
        """Log out, and close the database."""
        self._session.close()
        self._comparison.close()

    def findings(self) -> Iterator[Finding]:
        """Yield all that does not fit.

        Raises
        ------
        ConfigError
            The investigation is not in the catalogue.
        """
        wanted = self._wanted
        self._check_investigation()
        below = None
        if wanted.folder is not None:
            below = self._places.beginning(str(wanted.folder))
        scope = Scope(
            investigation=wanted.investigation, visit=wanted.visit, below=below
        )
        self._read_entries(scope)
        self._read_files()
        yield from self._unusable
        yield from self._files()
        if wanted.folder is None:
            yield from self._incomplete(scope)
            if journal_exists(self._settings.journal):
                announced = Announced(
                    self._settings, self._journal, wanted, self._comparison
                )
                yield from announced.findings(
                    self._inventory, lambda count: self._progress("journal", count)
                )

    def _check_investigation(self) -> None:
        name, visit = self._wanted.investigation, self._wanted.visit
        if name is None:
            return
        visits = [each.key.visit_id for each in self._session.investigations(name)]
        if not visits or visit not in (None, *visits):
            there = f"has the visits {', '.join(visits)}" if visits else "is not there"
            raise ConfigError(
                [Problem(source="--investigation", field=name, expected=there)]
            )

    def _incomplete(self, scope: Scope) -> Iterator[Finding]:
        for dataset in self._inventory.incomplete(scope):
            if self._wanted.covers(dataset.start):
                yield Finding(
                    kind="incomplete",
                    what=f"{dataset.investigation} {dataset.name}",
                    text="the dataset is not complete",
                    details={"dataset_id": dataset.id},
                )

    def _read_entries(self, scope: Scope) -> None:
        count = 0
        for count, each in enumerate(self._inventory.datafiles(scope), 1):
            time = None if each.mod_time is None else int(each.mod_time.timestamp())
            if each.location.endswith(self._wanted.suffixes or ""):
                self._comparison.add_entry(
                    each.location, each.id, each.size, time, each.dataset_id
                )
            if count % _TICK == 0:
                self._progress("catalogue", count)
        self._progress("catalogue", count)

    def _read_files(self) -> None:
        count = 0
        for location, size, seconds in self._found():
            self._comparison.add_file(location, size, seconds)
            count += 1
            if count % _TICK == 0:
                self._progress("files", count)
        self._progress("files", count)

    def _found(self) -> Iterator[tuple[str, int, int]]:
        """Yield location, size and time of the files on disk."""
        for folder in outermost(self._folders()):
            try:
                for page in self._files_on_disk.walk(folder):
                    for reason in page.unusable:
                        self._is_unusable(page.path, reason)
                    for name, size, mtime in page.files:
                        if name.endswith(self._wanted.suffixes or ""):
                            location = self._places.location(f"{page.path}/{name}")
                            yield location, size, mtime // 10**9
            except Rejection as error:
                if self._wanted.investigation is None:
                    raise
                # The catalogue led us there: whoever wrote it may name any folder.
                self._is_unusable(folder, error.reason)

    def _is_unusable(self, path: str, reason: str) -> None:
        self._unusable.append(Finding(kind="unusable", what=path, text=reason))

    def _folders(self) -> Iterable[str]:
        if self._wanted.folder is not None:
            return [str(self._wanted.folder)]
        if self._wanted.investigation is None:
            return [str(root) for root in self._settings.files.roots]
        # Where an investigation's files are is known by those that are catalogued.
        return (self._places.path(folder) for folder in self._comparison.folders())

    def _files(self) -> Iterator[Finding]:
        pairs = self._comparison.differing()
        while batch := list(islice(pairs, _TOGETHER)):
            elsewhere: set[str] = set()
            if self._wanted.investigation is not None:
                # It may belong to another investigation, in the same folder.
                alone = [p.location for p in batch if p.entry is None]
                elsewhere = self._inventory.located(alone)
            online: dict[int, bool] = {}
            for pair in batch:
                if pair.location in elsewhere:
                    continue
                finding = self._finding(pair, online)
                seconds = pair.mtime if pair.mtime is not None else pair.entry_mtime
                when = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
                if finding is not None and self._wanted.covers(when):
                    yield finding

    def _finding(self, pair: Pair, online: dict[int, bool]) -> Finding | None:
        path = self._places.path(pair.location)
        details: dict[str, Any] = {"path": path, "location": pair.location}
        if pair.entry is None:
            text = f"{pair.size} bytes on disk, no entry in the catalogue"
            return Finding(kind="no_entry", what=path, text=text, details=details)
        details |= {"datafile_id": pair.entry, "dataset_id": pair.dataset}
        if pair.size is None:
            number = pair.dataset or 0
            if number not in online:
                online[number] = self._ids.is_online(self._session, number)
            if not online[number]:
                return None
            text = f"datafile {pair.entry} of dataset {number}, no file on disk"
            return Finding(kind="no_file", what=path, text=text, details=details)
        if pair.size != pair.entry_size:
            details |= {"size": pair.size, "catalogued": pair.entry_size}
            text = f"{pair.size} bytes on disk, {pair.entry_size} in the catalogue"
            return Finding(kind="size", what=path, text=text, details=details)
        found = datetime.fromtimestamp(pair.mtime or 0, UTC)
        said = datetime.fromtimestamp(pair.entry_mtime or 0, UTC)
        if same_time(found, said):
            return None
        details |= {"time": found.isoformat(), "catalogued": said.isoformat()}
        text = f"changed {found.isoformat()}, the catalogue says {said.isoformat()}"
        return Finding(kind="time", what=path, text=text, details=details)


class Places:
    """Between paths on this host and locations in the catalogue.

    Parameters
    ----------
    settings
        Of the data service, and of files.
    files
        Tells what a root is called really.
    """

    def __init__(self, settings: Settings, files: NexusReader) -> None:
        locations = Locations.of(settings.ids)
        if locations is None:
            raise ConfigError(
                [
                    Problem(
                        source="configuration",
                        field="ids",
                        expected="files can be compared in mode register, with a"
                        " location.template of {relative_path} or {path} and fixed"
                        " text; with uploads, use `icat_stream dataservice check`",
                    )
                ]
            )
        self._locations = locations
        self._before, self._after = locations.before, locations.after
        self._root = self._real = locations.root
        if self._root:
            # Links are resolved by the file system, so in a reading process.
            # One that is not ours to look at is taken as it is written.
            with suppress(Rejection):
                for page in islice(files.walk(self._root), 1):
                    self._real = page.path.rstrip("/") + "/"

    def location(self, path: str) -> str:
        """Return the location of a file at its real path."""
        for root in (self._real, self._root):
            if path.startswith(root):
                return f"{self._before}{path[len(root) :]}{self._after}"
        return f"{self._before}{path}{self._after}"

    def path(self, location: str) -> str:
        """Return where a location, or the folder of one, is on this host."""
        return self._locations.path(location)

    def beginning(self, folder: str) -> str:
        """Return how the locations of files below a folder begin."""
        return self.location(f"{folder.rstrip('/')}/x").removesuffix(f"x{self._after}")


def outermost(folders: Iterable[str]) -> list[str]:
    """Return those folders that lie in none of the others."""
    found: list[str] = []
    for folder in sorted(set(folders), key=lambda each: each.split("/")):
        if not found or not f"{folder}/".startswith(f"{found[-1].rstrip('/')}/"):
            found.append(folder)
    return found


def announce(settings: Settings, named: RunningConsumer, paths: Iterable[str]) -> int:
    """Announce files again, to one consumer.

    Parameters
    ----------
    settings
        All of them.
    named
        The consumer.
    paths
        Of the files, on this host.

    Returns
    -------
    :
        How many.

    Raises
    ------
    Rejection
        The consumer's handler takes no files.
    SystemUnavailable
        Kafka does not have them all.
    """
    if not named.consumer.takes_files:
        raise Rejection(f"consumer {named.name}: its handler takes no files")
    compose = named.consumer.compose
    return announce_again(settings, named.name, (compose(p, None) for p in paths))
