"""What became of announcements, as the journal and the dead letters say."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from icat_stream.catalogue import Inventory
from icat_stream.config import Settings
from icat_stream.journal import ONE_SHOT, Entry, Journal, Search
from icat_stream.records import OutcomeKind, SystemUnavailable
from icat_stream.stream import Action, DeadLetters, Selection

from .disk_lists import Comparison
from .findings import Finding, Wanted

_log = logging.getLogger(__name__)
_TOGETHER = 300
_TICK = 1_000
_WELL = (OutcomeKind.INGESTED.value, OutcomeKind.UNCHANGED.value)
_REJECTED = OutcomeKind.REJECTED.value
_DEFERRED = OutcomeKind.DEFERRED.value


class Announced:
    """Finds announcements of which nothing is there.

    Parameters
    ----------
    settings
        All of them.
    journal
        Says what became of each.
    wanted
        Which of them.
    comparison
        Keeps what was done about dead letters.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        wanted: Wanted,
        comparison: Comparison,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._wanted = wanted
        self._comparison = comparison
        self._has_letters = False

    def findings(
        self, inventory: Inventory, progress: Callable[[int], None]
    ) -> Iterator[Finding]:
        """Yield what was rejected, what waits, and what is not in the catalogue now.

        Parameters
        ----------
        inventory
            Tells which datasets are there.
        progress
            Told how many rows of the journal were read.
        """
        read = 0
        found = self._journal.entries.find(self._search())
        while batch := list(islice(found, _TOGETHER)):
            ids = {n for entry in batch if (n := _dataset(entry)) is not None}
            there = {each.id for each in inventory.datasets(ids)}
            for entry in batch:
                finding = self._finding(entry, there)
                if finding is not None and self._wanted.covers(_published(entry)):
                    yield finding
            if read // _TICK != (read + len(batch)) // _TICK:
                progress(read + len(batch))
            read += len(batch)
        progress(read)

    def _search(self) -> Search:
        wanted = self._wanted
        name = wanted.investigation
        if name is not None and wanted.visit is not None:
            name = f"{name}/{wanted.visit}"
        since = wanted.since
        return Search(
            since=None if since is None else int(since.timestamp() * 1000),
            investigation=name,
            last=True,
        )

    def _finding(self, entry: Entry, there: set[int]) -> Finding | None:
        row = entry.row
        if row.outcome in (_REJECTED, _DEFERRED):
            if row.at.group == ONE_SHOT:
                return self._by_hand(entry)
            if row.outcome == _REJECTED:
                return self._rejected(entry)
            return _found("waiting", entry, row.text)
        dataset = _dataset(entry)
        if dataset is not None and dataset not in there:
            text = f"was {row.outcome} as dataset {dataset}, which is gone"
            return _found("no_dataset", entry, text, dataset_id=dataset)
        return None

    def _rejected(self, entry: Entry) -> Finding | None:
        row = entry.row
        if not self._has_letters:
            self._read_letters()
        match self._comparison.letter(row.at.group, entry.origin, row.origin_time):
            case Action.DISCARDED:
                # Somebody has looked at it, and this is how it shall be.
                return None
            case Action.REPLAYED:
                text = f"was replayed, and not handled again yet: {row.text}"
                return _found("waiting", entry, text)
        return _found("rejected", entry, row.text)

    def _read_letters(self) -> None:
        self._has_letters = True
        try:
            with DeadLetters(self._settings) as letters:
                for letter in letters.read(Selection(done=True)):
                    record = letter.record
                    self._comparison.add_letter(
                        letter.group,
                        record.origin,
                        record.origin_timestamp,
                        record.timestamp,
                        letter.done,
                    )
        except SystemUnavailable as failure:
            _log.warning(
                "what was discarded or replayed is not known, and listed as rejected:"
                " %s",
                failure,
            )

    def _by_hand(self, entry: Entry) -> Finding | None:
        row = entry.row
        file, investigation = row.objects.get("file"), row.objects.get("investigation")
        if isinstance(file, str):
            well = Search(
                file=file,
                investigation=investigation if isinstance(investigation, str) else None,
                outcomes=_WELL,
            )
            last = self._journal.entries.find(well, limit=1, newest_first=True)
            if any(each.written_at >= entry.written_at for each in last):
                return None
        text = f"{row.outcome} by hand, so nobody tries it again: {row.text}"
        return _found("by_hand", entry, text)


def _found(kind: str, entry: Entry, text: str, **details: Any) -> Finding:
    objects = entry.row.objects
    names = (objects[n] for n in ("investigation", "dataset", "file") if n in objects)
    return Finding(
        kind=kind,
        what=" ".join([str(entry.origin), *map(str, names)]),
        text=text,
        details={
            "origin": str(entry.origin),
            "group": entry.row.at.group,
            "outcome": entry.row.outcome,
            **details,
        },
    )


def _dataset(entry: Entry) -> int | None:
    found = entry.row.objects.get("dataset_id")
    return found if isinstance(found, int) and entry.row.outcome in _WELL else None


def _published(entry: Entry) -> datetime | None:
    try:
        return datetime.fromtimestamp(max(0, entry.row.origin_time) / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        # A time that nobody can mean.
        return None
