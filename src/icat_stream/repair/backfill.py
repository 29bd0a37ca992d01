"""What ICAT holds already, given to one consumer of events as if it had just come."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice

from icat_stream.catalogue import HeldObject, Inventory, Scope
from icat_stream.config import Settings
from icat_stream.journal import ONE_SHOT, StatedSnapshots
from icat_stream.messages import dataset_event, snapshot_event
from icat_stream.records import (
    AppliedDataset,
    AppliedSnapshot,
    Coordinates,
    OutcomeKind,
    Record,
)
from icat_stream.stream import ConsumerLag, announce_again

KINDS = ("user", "investigation", "dataset")
"""Kinds of events that there may be, in the order in which they are gone through."""

# Sent at once, and then waited until so few wait.
_BATCH = 1_000
_MOST_WAITING = 2_000
_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Which part of the catalogue is given.

    Parameters
    ----------
    kinds
        Of :data:`KINDS`.
    investigation, visit
        Only of this one, and then no users.
    since
        Only what was changed in ICAT from then on.
    after
        Kind and ICAT's id of the last one of an earlier run.
    """

    kinds: Sequence[str] = KINDS
    investigation: str | None = None
    visit: str | None = None
    since: datetime | None = None
    after: tuple[str, int] | None = None


class Backfill:
    """Gives objects of the catalogue to one consumer, in flat memory.

    Not more are under way than the consumer keeps up with, so nobody else waits for
    ICAT, and what is announced waits behind a page of them at most.

    Parameters
    ----------
    settings
        All of them.
    name
        Of the consumer.
    inventory
        Lists the catalogue.
    stated
        Where the consumer needs what user offices state: of whom nothing is.
    progress
        Told the last object of a page, how many there were, and how many events wait.
    unstated
        Told of users and investigations of which nothing is stated.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        inventory: Inventory,
        *,
        stated: StatedSnapshots | None,
        progress: Callable[[HeldObject, int, int], None],
        unstated: Callable[[HeldObject], None],
    ) -> None:
        self._settings = settings
        self._name = name
        self._inventory = inventory
        self._stated = stated
        self._progress = progress
        self._unstated = unstated

    def run(self, extent: Extent, *, dry_run: bool) -> int:
        """Give all of an extent; return how many there were.

        Parameters
        ----------
        extent
            Which objects.
        dry_run
            Only list and count them.

        Raises
        ------
        SystemUnavailable
            ICAT or Kafka does not answer; what :attr:`progress` was told is done.
        """
        count = 0
        with closing(ConsumerLag(self._settings, [self._name])) as lag:
            objects = self._objects(extent)
            while page := list(islice(objects, _BATCH)):
                self._tell_unstated(page)
                waiting = 0
                if not dry_run:
                    values = (self._event(one) for one in page)
                    announce_again(self._settings, self._name, values)
                    waiting = self._wait(lag, page[-1], count)
                count += len(page)
                self._progress(page[-1], count, waiting)
        return count

    def _objects(self, extent: Extent) -> Iterator[HeldObject]:
        scope = Scope(investigation=extent.investigation, visit=extent.visit)
        kinds = [kind for kind in KINDS if kind in extent.kinds]
        after = dict.fromkeys(kinds, 0)
        if extent.after is not None:
            kind, number = extent.after
            kinds = kinds[kinds.index(kind) :]
            after[kind] = number
        if extent.investigation is not None and "user" in kinds:
            kinds.remove("user")
        return chain.from_iterable(
            self._inventory.objects(kind, scope, since=extent.since, after=after[kind])
            for kind in kinds
        )

    def _tell_unstated(self, page: Sequence[HeldObject]) -> None:
        if self._stated is None:
            return
        names = [one.name for one in page if one.kind == "user"]
        keys = [
            one.investigation
            for one in page
            if one.kind == "investigation" and one.investigation is not None
        ]
        users = self._stated.users(names)
        investigations = self._stated.investigations(keys)
        for one in page:
            if one.kind == "user" and one.name not in users:
                self._unstated(one)
            if one.kind == "investigation" and one.investigation not in investigations:
                self._unstated(one)

    def _wait(self, lag: ConsumerLag, last: HeldObject, count: int) -> int:
        while (waiting := lag.in_first_retry(self._name)) > _MOST_WAITING:
            self._progress(last, count, waiting)
            time.sleep(_LOOK_AGAIN_S)
        return waiting

    def _event(self, one: HeldObject) -> bytes:
        now = time.time_ns()
        at = Coordinates(ONE_SHOT, 0, now)
        record = Record(
            at=at,
            timestamp=now // 10**6,
            key=None,
            value=None,
            origin=at,
            origin_timestamp=now // 10**6,
        )
        facility = self._settings.facility
        if one.kind == "dataset" and one.investigation is not None:
            dataset = AppliedDataset(
                investigation=one.investigation,
                name=one.name,
                investigation_id=one.investigation_id or 0,
                id=one.id,
                kind=OutcomeKind.UNCHANGED,
            )
            return dataset_event(dataset, facility=facility, record=record).value
        snapshot = AppliedSnapshot(
            id=one.id,
            kind=OutcomeKind.UNCHANGED,
            user=one.name if one.kind == "user" else None,
            investigation=one.investigation,
        )
        return snapshot_event(snapshot, facility=facility, record=record).value
