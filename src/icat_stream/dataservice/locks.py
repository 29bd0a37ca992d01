"""Who is at which unit: many readers, or one who changes it."""

import threading
from collections.abc import Iterable
from typing import Any

from .errors import DataNotOnline


class Lease:
    """Units held; give them back with :meth:`release`, once or more often.

    Parameters
    ----------
    locks
        That they are of.
    units
        Which.
    exclusive
        Held alone.
    """

    def __init__(
        self, locks: "Locks", units: tuple[int, ...], *, exclusive: bool
    ) -> None:
        self._locks = locks
        self.units = units
        self._exclusive = exclusive
        self._held = True

    def release(self) -> None:
        """Give them back."""
        self._locks.give_back(self, exclusive=self._exclusive)

    def take_held(self) -> bool:
        """Return whether it was still held, and hold it no more."""
        held, self._held = self._held, False
        return held

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Locks:
    """The locks of all units; in memory: whoever holds one dies with this process."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._shared: dict[int, int] = {}
        self._exclusive: set[int] = set()

    def share(self, units: Iterable[int]) -> Lease:
        """Hold units together with others.

        Raises
        ------
        DataNotOnline
            Somebody holds one alone.
        """
        lease = Lease(self, tuple(dict.fromkeys(units)), exclusive=False)
        with self._mutex:
            if not self._exclusive.isdisjoint(lease.units):
                raise DataNotOnline("Data is busy")
            for unit in lease.units:
                self._shared[unit] = self._shared.get(unit, 0) + 1
        return lease

    def take(self, units: Iterable[int]) -> Lease:
        """Hold units alone.

        Raises
        ------
        DataNotOnline
            Somebody holds one.
        """
        lease = Lease(self, tuple(dict.fromkeys(units)), exclusive=True)
        with self._mutex:
            if any(u in self._shared or u in self._exclusive for u in lease.units):
                raise DataNotOnline("Data is busy")
            self._exclusive.update(lease.units)
        return lease

    def give_back(self, lease: Lease, *, exclusive: bool) -> None:
        """End a lease; the second time nothing happens."""
        with self._mutex:
            if not lease.take_held():
                return
            if exclusive:
                self._exclusive.difference_update(lease.units)
                return
            for unit in lease.units:
                left = self._shared[unit] - 1
                if left:
                    self._shared[unit] = left
                else:
                    del self._shared[unit]

    def listed(self) -> list[dict[str, Any]]:
        """Return all locks as getServiceStatus shows them."""
        with self._mutex:
            found = [
                {"id": unit, "type": "SHARED", "count": count}
                for unit, count in self._shared.items()
            ]
            found += [
                {"id": unit, "type": "EXCLUSIVE", "count": 1}
                for unit in self._exclusive
            ]
        return found
