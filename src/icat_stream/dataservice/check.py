"""Comparing what is stored with what is catalogued, and mending what differs."""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from . import plugin_loader
from .catalogue import Catalogue, CataloguedFile
from .errors import InsufficientPrivileges
from .plugins import ArchiveStorage, MainStorage, StoredFacts
from .settings import DataServiceSettings
from .state import State
from .tables import Request
from .two_levels import merged

_UNSIGNED = "its location does not contain a valid hash"


class Kind(StrEnum):
    """What can be wrong."""

    ORPHAN = "orphan"
    """A stored file of this service's that the catalogue does not know."""
    UNKNOWN = "unknown"
    """A stored file that neither the catalogue nor this service knows."""
    MISSING = "missing"
    """A catalogued file that is nowhere."""
    OUTSIDE = "outside"
    """An entry whose location the storage refuses."""
    SIZE = "size"
    """A catalogued file of another size than is catalogued."""
    UNWRITTEN = "unwritten"
    """A unit that is in main storage only, and not about to be written."""
    ARCHIVE_ORPHAN = "archive-orphan"
    """A unit of the archive that the catalogue does not know."""
    FAILED = "failed"
    """A unit that is flagged."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: Kind
    what: str
    """Location, or unit."""
    id: int | None = None
    """Of the datafile, or of the unit."""
    size: int | None = None
    note: str = ""
    repaired: bool = False

    def text(self) -> str:
        """Return it as one line for people."""
        id_ = f" (id {self.id})" if self.id is not None else ""
        note = f": {self.note}" if self.note else ""
        text = (
            f"{'repaired ' if self.repaired else ''}{self.kind} {self.what}{id_}{note}"
        )
        # Names of files are bytes, and not all are text.
        return text.encode(errors="backslashreplace").decode()

    def fields(self) -> dict[str, object]:
        """Return it as fields."""
        return asdict(self)


class TooMany(Exception):
    """More would be removed than was expected: nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """What may be mended."""

    files: bool = False
    """Remove orphans, and have written what is not."""
    entries: bool = False
    """Remove entries from the catalogue whose file is nowhere."""
    older_than: float = 3600.0
    """Seconds; what is younger may belong to a put under way."""
    at_most: int = 100
    """Removals; an account that does not see everything would make orphans of all."""


class Check:
    """Compares and mends; may run beside the service.

    Raises
    ------
    SettingsError
        They cannot be used.
    """

    def __init__(self, settings: DataServiceSettings) -> None:
        self._by_dataset = settings.storage_unit == "dataset"
        self._main, self._archive = plugin_loader.storages(settings)
        self._catalogue = Catalogue(settings.icat, settings.reader, key=settings.key())
        self._state = State(settings.folder)

    def close(self) -> None:
        """Log out and close the database."""
        self._catalogue.close()
        self._state.close()

    def run(self, repairs: Repairs) -> Iterator[Finding]:
        """Return what is wrong, and what of it was mended.

        Raises
        ------
        IdsError
            ICAT cannot be asked.
        OSError
            The storage cannot be read.
        TooMany
            Suspiciously much would be removed.
        """
        # Stored first, catalogued after: whatever is stored now and belongs to a
        # finished put is in what the catalogue says afterwards.
        stored = list(self._main.files())
        archived = set(self._archive.names()) if self._archive else set()
        known: set[str] = set()
        units: dict[int, list[CataloguedFile]] = {}
        lost: list[Finding] = []
        for file in self._catalogue.everything():
            known.add(_plain(self._main, file.location or ""))
            unit = file.dataset_id if self._by_dataset else file.id
            units.setdefault(unit, []).append(file)
        names = self._names(units)
        for unit, files in units.items():
            lost += self._compared(unit, files, names.get(unit) in archived)
        doubts = {doubt.location: doubt.reason for doubt in self._state.doubts()}
        nobodys = [s for s in stored if _plain(self._main, s.location) not in known]
        orphans = [s for s in nobodys if s.ours or s.location in doubts]
        unknown = [s for s in nobodys if not (s.ours or s.location in doubts)]
        strays = sorted(archived.difference(names.values()))
        missing = [f for f in lost if f.kind is Kind.MISSING]
        self._must_be_plausible(repairs, orphans, strays, missing)
        self._settle_doubts(known, {facts.location for facts in stored})
        for orphan in orphans:
            yield self._orphan(orphan, doubts.get(orphan.location, ""), repairs)
        for facts in unknown:
            yield Finding(Kind.UNKNOWN, facts.location, size=facts.size)
        for finding in lost:
            yield self._mended(finding, repairs)
        for name in strays:
            yield self._stray(name, repairs)
        for failed in self._state.failed():
            note = f"{failed.failure}: {failed.reason}"
            yield Finding(Kind.FAILED, failed.label, failed.unit, note=note)

    def _names(self, units: dict[int, list[CataloguedFile]]) -> dict[int, str]:
        """Return what the archive calls units."""
        if self._archive is None:
            return {}
        if not self._by_dataset:
            return {
                unit: _plain(self._archive, files[0].location or "")
                for unit, files in units.items()
            }
        infos = self._catalogue.datasets(None, units)
        return {id_: f"{info.investigation_id}/{id_}" for id_, info in infos.items()}

    def _compared(
        self, unit: int, files: list[CataloguedFile], in_archive: bool
    ) -> Iterator[Finding]:
        here = 0
        for file in files:
            if not file.signed:
                yield Finding(
                    Kind.OUTSIDE, file.location or "", file.id, note=_UNSIGNED
                )
                continue
            try:
                size = self._main.size(file.location or "")
            except FileNotFoundError:
                if not in_archive:
                    yield Finding(
                        Kind.MISSING, file.location or "", file.id, note=file.name
                    )
                continue
            except InsufficientPrivileges:
                yield Finding(Kind.OUTSIDE, file.location or "", file.id)
                continue
            here += 1
            if file.size and size != file.size:
                note = f"has {size} bytes, catalogued are {file.size}"
                yield Finding(Kind.SIZE, file.location or "", file.id, size, note)
        if self._archive is None or in_archive or not here:
            return
        wanted = self._state.units([unit]).get(unit)
        if wanted is None or wanted.request is None:
            yield Finding(Kind.UNWRITTEN, f"{files[0].location}", unit)

    def _orphan(self, file: StoredFacts, note: str, repairs: Repairs) -> Finding:
        repaired = False
        if repairs.files and time.time() - file.modified >= repairs.older_than:
            # Once more, for a put may have ended meanwhile.
            if not self._catalogue.at([file.location]):
                self._main.delete(file.location)
                self._state.settle(file.location)
                repaired = True
        return Finding(
            Kind.ORPHAN, file.location, None, file.size, note, repaired=repaired
        )

    def _stray(self, name: str, repairs: Repairs) -> Finding:
        assert self._archive is not None  # noqa: S101 - or there are no strays
        if repairs.files:
            self._archive.delete(name)
        return Finding(Kind.ARCHIVE_ORPHAN, name, repaired=repairs.files)

    def _mended(self, finding: Finding, repairs: Repairs) -> Finding:
        assert finding.id is not None  # noqa: S101 - what is catalogued has one
        id_ = finding.id
        if finding.kind is Kind.MISSING and repairs.entries:
            self._catalogue.as_reader(lambda s: self._catalogue.delete(s, [id_]))
        elif finding.kind is Kind.UNWRITTEN and repairs.files:
            with self._state.changing([id_]) as change:
                before = change.units.get(id_)
                request = merged(before.request if before else None, Request.WRITE)
                change.request(id_, finding.what, request, time.time())
        else:
            return finding
        return Finding(
            finding.kind, finding.what, id_, finding.size, finding.note, repaired=True
        )

    def _settle_doubts(self, known: set[str], stored: set[str]) -> None:
        """Forget doubts that are none any more, one way or the other."""
        for doubt in self._state.doubts():
            catalogued = _plain(self._main, doubt.location) in known
            if catalogued or doubt.location not in stored:
                self._state.settle(doubt.location)

    def _must_be_plausible(
        self,
        repairs: Repairs,
        orphans: list[StoredFacts],
        strays: list[str],
        missing: list[Finding],
    ) -> None:
        removed = len(orphans) + len(strays) if repairs.files else 0
        removed += len(missing) if repairs.entries else 0
        if removed > repairs.at_most:
            raise TooMany(
                f"{removed} files or entries would be removed, more than"
                f" {repairs.at_most}: look at them first (without --repair); does the"
                " reader account see everything in ICAT? Then allow it with --at-most"
            )


def _plain(storage: MainStorage | ArchiveStorage, location: str) -> str:
    """Return a location as the storage lists it, however it is written in ICAT."""
    root = getattr(storage, "root", None)
    if root is None:
        return location
    try:
        path = os.path.realpath(os.path.join(root, location))
    except ValueError:
        # No path can be so.
        return location
    return os.path.relpath(path, root)
