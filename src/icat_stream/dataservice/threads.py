"""Work that may block, in threads: with a deadline, for a storage may hang."""

import threading
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, move_on_after, to_thread

from .errors import Internal

T = TypeVar("T")
# Calls wait for ICAT and for disks, not for this process.
_CALLS = 64
_BLOCKS = 16


class Threads:
    """Runs blocking calls without waiting for ever.

    Parameters
    ----------
    deadline
        Seconds a call may take.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._calls = CapacityLimiter(_CALLS)
        # What is under way goes on however many calls wait for something.
        self._blocks = CapacityLimiter(_BLOCKS)

    async def call(
        self, call: Callable[[], T], discard: Callable[[T], None] | None = None
    ) -> T:
        """Return what a call returns.

        Parameters
        ----------
        call
            May block.
        discard
            Is given what comes too late.

        Raises
        ------
        Internal
            It took too long; it may still go on.
        """
        return await self._run(call, discard, self._calls)

    async def block(self, call: Callable[[], T]) -> T:
        """Return what a call returns that moves one block: see :meth:`call`."""
        return await self._run(call, None, self._blocks)

    async def _run(
        self,
        call: Callable[[], T],
        discard: Callable[[T], None] | None,
        limiter: CapacityLimiter,
    ) -> T:
        mutex = threading.Lock()
        abandoned = False

        def work() -> T:
            result = call()
            with mutex:
                late = abandoned
            if late and discard is not None:
                discard(result)
            return result

        try:
            with move_on_after(self._deadline):
                return await to_thread.run_sync(
                    work, abandon_on_cancel=True, limiter=limiter
                )
        except BaseException:
            with mutex:
                abandoned = True
            raise
        with mutex:
            abandoned = True
        raise Internal(
            f"the storage or the catalogue did not answer within {self._deadline:g} s"
        )
