"""Keeping room in main storage."""

import logging

from .catalogue import Catalogue
from .mover import Mover
from .plugins import MainStorage, StoredFacts
from .settings import WatermarkSettings
from .state import State
from .tables import Request
from .two_levels import TwoLevels

_log = logging.getLogger(__name__)
_AT_ONCE = 200


class Watermarks:
    """Archives the oldest when main storage is above the high mark, to the low one.

    Parameters
    ----------
    settings
        The marks.
    main
        Main storage.
    state
        Knows when files were read.
    levels
        Are asked to archive.
    mover
        Knows which files a unit has.
    catalogue
        Knows of which unit a file is.
    """

    def __init__(
        self,
        settings: WatermarkSettings,
        main: MainStorage,
        state: State,
        levels: TwoLevels,
        mover: Mover,
        catalogue: Catalogue,
    ) -> None:
        self._settings = settings
        self._main = main
        self._state = state
        self._levels = levels
        self._mover = mover
        self._catalogue = catalogue

    def check(self) -> None:
        """Request archiving if there is too much."""
        files = list(self._main.files())
        total = sum(file.size for file in files)
        if total < self._settings.high:
            return
        going = {
            unit.unit
            for unit in self._state.wanted()
            if unit.request in (Request.ARCHIVE, Request.WRITE_THEN_ARCHIVE)
        }
        reads = self._state.reads()
        files.sort(key=lambda f: max(f.modified, reads.get(f.location, 0.0)))
        sizes = {file.location: file.size for file in files}
        self._state.forget_reads(reads.keys() - sizes)
        left = total
        for begin in range(0, len(files), _AT_ONCE):
            if left <= self._settings.low:
                break
            left = self._choose(files[begin : begin + _AT_ONCE], sizes, going, left)
        _log.info(
            "main storage holds %d bytes, more than %d: archiving to %d",
            total,
            self._settings.high,
            left,
        )

    def _choose(
        self,
        oldest: list[StoredFacts],
        sizes: dict[str, int],
        going: set[int],
        left: int,
    ) -> int:
        known = self._catalogue.at(file.location for file in oldest)
        counted: set[int] = set()
        for file in oldest:
            if left <= self._settings.low:
                break
            if file.location not in known:
                continue
            datafile, dataset = known[file.location]
            unit = self._levels.unit_of(datafile, dataset)
            if unit in counted:
                continue
            counted.add(unit)
            whole = self._mover.files(unit)
            if not any(f.location in sizes for f in whole):
                continue
            # Counted once, wherever its other files stand in the order of age.
            left -= sum(sizes.pop(f.location or "", 0) for f in whole)
            if unit not in going:
                label = self._levels.label(unit, file.location)
                self._levels.request({unit: label}, Request.ARCHIVE)
        return left
