"""Main storage and archive: what is where, and what is wanted of it."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .catalogue import Catalogue, CataloguedFile, Session
from .errors import DataNotOnline, Internal
from .levels import Selected
from .locks import Lease, Locks
from .plugins import DatasetInfo, MainStorage
from .settings import DataServiceSettings
from .state import Change, State
from .tables import Failure, Request, Unit

_RESTORE_FIRST = (
    "Before putting, getting or deleting a datafile, its dataset has to be restored,"
    " restoration requested automatically"
)
_RESTORE_FILE_FIRST = (
    "Before getting a datafile, it must be restored, restoration requested"
    " automatically"
)
_RESTORE_TO_LINK = (
    "Before linking a datafile, its dataset has to be restored, restoration requested"
    " automatically"
)
_OFFLINE = (Request.ARCHIVE, Request.WRITE_THEN_ARCHIVE, Request.RESTORE)
_WRITES = (Request.WRITE, Request.WRITE_THEN_ARCHIVE)
_MERGED = {
    (Request.ARCHIVE, Request.WRITE): Request.WRITE_THEN_ARCHIVE,
    (Request.WRITE_THEN_ARCHIVE, Request.WRITE): Request.WRITE_THEN_ARCHIVE,
    (Request.WRITE, Request.ARCHIVE): Request.WRITE_THEN_ARCHIVE,
    (Request.WRITE_THEN_ARCHIVE, Request.ARCHIVE): Request.WRITE_THEN_ARCHIVE,
    (Request.WRITE, Request.RESTORE): Request.WRITE,
    (Request.WRITE_THEN_ARCHIVE, Request.RESTORE): Request.WRITE,
}


def merged(before: Request | None, wanted: Request) -> Request:
    """Return what is wanted once something else is wanted, too.

    A file that is gone from the catalogue stays to be deleted, whatever else comes.
    """
    if before is Request.DELETE:
        return before
    return wanted if before is None else _MERGED.get((before, wanted), wanted)


class TwoLevels:
    """Main storage and archive, in units of datasets or datafiles.

    Parameters
    ----------
    settings
        Unit and delays.
    main
        Main storage.
    state
        Requests and flags.
    locks
        Who is at which unit.
    catalogue
        Knows which files there are.
    """

    two = True

    def __init__(
        self,
        settings: DataServiceSettings,
        main: MainStorage,
        state: State,
        locks: Locks,
        catalogue: Catalogue,
    ) -> None:
        self._by_dataset = settings.storage_unit == "dataset"
        self._delay = settings.queue.write_delay
        self._main = main
        self._state = state
        self._locks = locks
        self._catalogue = catalogue
        self.changes = Changes()
        self.reads: dict[str, float] = {}

    def unit(self, file: CataloguedFile) -> int:
        """Return the unit that a file is of."""
        return file.dataset_id if self._by_dataset else file.id

    def unit_of(self, datafile: int, dataset: int) -> int:
        """Return the unit that a file is of, by its ids."""
        return dataset if self._by_dataset else datafile

    def status(self, selected: Selected) -> str:
        """Return the worst of all units."""
        units = self._grouped(selected)
        known = self._state.units(units)
        self._must_not_have_failed(known)
        found = "ONLINE"
        for unit, files in units.items():
            request = known[unit].request if unit in known else None
            if request is Request.RESTORE:
                found = "RESTORING"
            elif request in _OFFLINE or not self._any_here(files):
                return "ARCHIVED"
        return found

    def reading(self, files: Iterable[CataloguedFile], *, link: bool = False) -> Lease:
        """Keep files in main storage while they are read.

        Raises
        ------
        DataNotOnline
            They are not all there, or somebody is at them; a restore is requested.
        """
        files = list(files)
        lease = self._locks.share(self.unit(file) for file in files)
        try:
            self._must_be_here(files, lease, link=link)
        except BaseException:
            lease.release()
            raise
        now = time.time()
        self.reads.update((file.location or "", now) for file in files)
        return lease

    def putting(self, session: Session, dataset: DatasetInfo) -> Lease:
        """Keep a dataset in main storage while a file is added to it."""
        if not self._by_dataset:
            return self._locks.share(())
        unit = dataset.id
        lease = PutLease(self._locks, self._locks.share([unit]), self.changes)
        try:
            known = self._state.units([unit]).get(unit)
            request = known.request if known else None
            if request is None:
                location = self._catalogue.a_location_in(session, unit)
                here = location is None or self._is_here(location)
            else:
                here = request is Request.WRITE
            if not here:
                self._request({unit: self._label(dataset)}, Request.RESTORE)
                raise DataNotOnline(_RESTORE_FIRST)
        except BaseException:
            lease.release()
            raise
        return lease

    def stored(self, dataset: DatasetInfo, location: str, name: str) -> None:
        """Request the dataset to be written; each new file puts it off again.

        A datafile has no id yet: it is remembered by its location, and if this
        process is killed before it has one, it is looked up at the next start.
        """
        if self._by_dataset:
            self._request({dataset.id: self._label(dataset)}, Request.WRITE)
        else:
            self._state.doubt(location, dataset.id, name, "being catalogued")

    def catalogued(self, file: CataloguedFile) -> None:
        """Request the datafile to be written."""
        if not self._by_dataset:
            self._request({file.id: file.location or ""}, Request.WRITE)
            self._state.settle(file.location or "")

    def refused(self, location: str) -> None:
        """Forget a datafile that never came to be."""
        if not self._by_dataset:
            self._state.settle(location)

    def deleting(self, files: Sequence[CataloguedFile]) -> Lease:
        """Hold files alone while they are deleted, and have what stays written."""
        lease = self._locks.take(self.unit(file) for file in files)
        try:
            if self._by_dataset and files:
                self._must_be_here(files, lease)
                self._request(self._labels(lease.units), Request.WRITE)
        except BaseException:
            lease.release()
            raise
        return lease

    def deleted(self, files: Sequence[CataloguedFile]) -> None:
        """Have the archive's copies of files removed."""
        if not self._by_dataset:
            gone = {file.id: file.location or "" for file in files}
            self._request(gone, Request.DELETE)

    def archive(self, selected: Selected) -> None:
        """Request units to be archived."""
        self._request(self._labelled(selected), Request.ARCHIVE)

    def restore(self, selected: Selected) -> None:
        """Request units to be restored, unless they are online."""
        units = self._grouped(selected)
        known = self._state.units(units)
        wanted = {
            unit: files
            for unit, files in units.items()
            if unit in known or not self._all_here(files)
        }
        self._request(self._labelled(selected, wanted), Request.RESTORE)

    def write(self, selected: Selected) -> None:
        """Request units to be copied to the archive.

        Raises
        ------
        DataNotOnline
            One is not in main storage.
        """
        units = self._grouped(selected)
        known = self._state.units(units)
        for unit, files in units.items():
            restoring = unit in known and known[unit].request is Request.RESTORE
            # Half a restore must not be forgotten for the sake of a write.
            if not (self._all_here(files) if restoring else self._any_here(files)):
                raise DataNotOnline(
                    "Requested data is not online, write request refused"
                )
        self._request(self._labelled(selected), Request.WRITE)

    def reset(self, selected: Selected) -> None:
        """Take flags away; what could not be written is tried again."""
        units = self._grouped(selected)
        with self._state.changing(units) as change:
            for unit in change.units.values():
                if unit.failure is Failure.WRITE:
                    self._merge(change, unit.unit, unit.label, Request.WRITE)
                change.reset(unit.unit)

    def prepare(self, selected: Selected) -> None:
        """Begin to get everything online, flags or not."""
        units = self._grouped(selected)
        with self._state.changing(units) as change:
            for unit in change.units.values():
                if unit.failure is Failure.RESTORE:
                    change.reset(unit.unit)
        self._get_online(selected, units)

    def is_prepared(self, selected: Selected) -> bool:
        """Return whether everything is online, and see to it that it will be."""
        units = self._grouped(selected)
        self._must_not_have_failed(self._state.units(units))
        return self._get_online(selected, units)

    def service_status(self) -> dict[str, Any]:
        """Return queue, locks and failures."""
        locks = self._locks.listed()
        return {
            "opsQueue": [
                {"data": unit.label, "request": unit.request}
                for unit in self._state.wanted()
            ],
            "lockCount": len(locks),
            "locks": locks,
            "failures": [unit.unit for unit in self._state.failed()],
        }

    def request(self, units: dict[int, str], request: Request) -> None:
        """Request something of units, given with their labels."""
        self._request(units, request)

    def label(self, unit: int, location: str) -> str:
        """Return what a unit is called in lists."""
        if not self._by_dataset:
            return location
        return self._label(self._catalogue.dataset(None, unit))

    def _get_online(
        self, selected: Selected, units: dict[int, list[CataloguedFile]]
    ) -> bool:
        known = self._state.units(units)
        offline = {}
        ready = True
        for unit, files in units.items():
            request = known[unit].request if unit in known else None
            if request in _OFFLINE or not self._all_here(files):
                ready = False
                if request is not Request.RESTORE:
                    offline[unit] = files
        if offline:
            self._request(self._labelled(selected, offline), Request.RESTORE)
        return ready

    def _must_be_here(
        self, files: Sequence[CataloguedFile], lease: Lease, *, link: bool = False
    ) -> None:
        known = self._state.units(lease.units)
        offline = {u for u, k in known.items() if k.request in _OFFLINE}
        for file in files:
            unit = self.unit(file)
            if unit not in offline and not self._is_here(file.location):
                offline.add(unit)
        if offline:
            selected = Selected([f for f in files if self.unit(f) in offline])
            self._request(self._labelled(selected), Request.RESTORE)
            if link:
                raise DataNotOnline(_RESTORE_TO_LINK)
            raise DataNotOnline(
                _RESTORE_FIRST if self._by_dataset else _RESTORE_FILE_FIRST
            )

    def _must_not_have_failed(self, known: dict[int, Unit]) -> None:
        if any(unit.failure is Failure.RESTORE for unit in known.values()):
            raise Internal(Failure.RESTORE)

    def _request(self, units: dict[int, str], request: Request) -> None:
        if not units:
            return
        with self._state.changing(units) as change:
            for unit, label in units.items():
                self._merge(change, unit, label, request)

    def _merge(self, change: Change, unit: int, label: str, wanted: Request) -> None:
        before = change.units.get(unit)
        request = merged(before.request if before else None, wanted)
        due = time.time()
        if wanted is Request.WRITE:
            due += self._delay
        elif before is not None and request in _WRITES:
            due = before.due
        change.request(unit, label, request, due)

    def _grouped(self, selected: Selected) -> dict[int, list[CataloguedFile]]:
        units: dict[int, list[CataloguedFile]] = {}
        if self._by_dataset:
            units = {dataset: [] for dataset in selected.datasets}
        for file in selected.files:
            units.setdefault(self.unit(file), []).append(file)
        return units

    def _labelled(
        self, selected: Selected, only: Iterable[int] | None = None
    ) -> dict[int, str]:
        if self._by_dataset:
            return self._labels(self._grouped(selected) if only is None else only)
        wanted = None if only is None else set(only)
        return {
            file.id: file.location or ""
            for file in selected.files
            if wanted is None or file.id in wanted
        }

    def _labels(self, datasets: Iterable[int]) -> dict[int, str]:
        # The caller's permissions are checked; names of parents may need more.
        infos = self._catalogue.datasets(None, datasets)
        return {id_: self._label(info) for id_, info in infos.items()}

    def _label(self, dataset: DatasetInfo) -> str:
        names = (
            dataset.facility,
            dataset.investigation,
            dataset.visit_id,
            dataset.name,
        )
        return f"{dataset.investigation_id}/{dataset.id} ({'/'.join(names)})"

    def _any_here(self, files: Sequence[CataloguedFile]) -> bool:
        return not files or any(self._is_here(file.location) for file in files)

    def _all_here(self, files: Sequence[CataloguedFile]) -> bool:
        return all(self._is_here(file.location) for file in files)

    def _is_here(self, location: str | None) -> bool:
        try:
            self._main.size(location or "")
        except FileNotFoundError:
            return False
        return True


class Changes:
    """Which units get files while they are written: what that write misses."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._running: dict[int, int] = {}
        self._watched: dict[int, bool] = {}

    def begin(self, unit: int) -> None:
        """Note that a file is on its way."""
        with self._mutex:
            self._running[unit] = self._running.get(unit, 0) + 1

    def end(self, unit: int) -> None:
        """Note that it has come, or not."""
        with self._mutex:
            if unit in self._watched:
                self._watched[unit] = True
            self._running[unit] -= 1
            if not self._running[unit]:
                del self._running[unit]

    @contextmanager
    def watched(self, unit: int) -> Iterator[Callable[[], bool]]:
        """Watch a unit; only one may at a time.

        Yields
        ------
        :
            Tells whether a file came since, or is on its way.
        """
        with self._mutex:
            self._watched[unit] = False

        def changed() -> bool:
            with self._mutex:
                return self._watched[unit] or unit in self._running

        try:
            yield changed
        finally:
            with self._mutex:
                del self._watched[unit]


class PutLease(Lease):
    """The lease of a put: its end counts as a change.

    Parameters
    ----------
    locks
        That it is of.
    lease
        Of the dataset.
    changes
        Where the end is noted.
    """

    def __init__(self, locks: Locks, lease: Lease, changes: Changes) -> None:
        super().__init__(locks, lease.units, exclusive=False)
        self._changes = changes
        for unit in self.units:
            changes.begin(unit)

    def take_held(self) -> bool:
        """Return whether it was still held, and note the end."""
        held = super().take_held()
        if held:
            for unit in self.units:
                self._changes.end(unit)
        return held
