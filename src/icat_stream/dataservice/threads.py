"""Work that may block, in threads: with a deadline, for a storage may hang."""

import math
import threading
from asyncio import get_running_loop
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from anyio import CapacityLimiter, move_on_after, to_thread

from .errors import Internal

T = TypeVar("T")
# Calls wait for ICAT and for disks, not for this process.
_CALLS = 64
_BLOCKS = 16
_LOOKS = 4
# Seconds after which a call lets others begin: a file may be on its way from a tape.
_PATIENCE = 1.0
# A thread that hangs stays: there must be an end to them.
_LATE = 256


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
        self._looks = CapacityLimiter(_LOOKS)
        # Whose turn it is, the others say.
        self._all = CapacityLimiter(math.inf)
        self._mutex = threading.Lock()
        self._late = 0
        self._slow = 0

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
            It took too long and may still go on, or too many others do.
        """
        return await self._run(call, discard, self._calls)

    async def block(self, call: Callable[[], T]) -> T:
        """Return what a call returns that moves one block: see :meth:`call`."""
        return await self._run(call, None, self._blocks)

    async def look(self, call: Callable[[], T]) -> T:
        """Return what monitoring asks for, however many others wait or hang."""
        return await self._run(call, None, self._looks)

    async def _run(
        self,
        call: Callable[[], T],
        discard: Callable[[T], None] | None,
        limiter: CapacityLimiter,
    ) -> T:
        if self._late >= _LATE:
            raise Internal(
                f"{self._late} calls of the storage or the catalogue hang: nothing"
                " more is begun before some of them end"
            )
        began = ended = abandoned = delivered = False
        results: list[T] = []

        def work() -> T:
            nonlocal began, ended
            with self._mutex:
                if abandoned:
                    raise Internal("nobody waits for this any more")
                began = True
            try:
                result = call()
            except BaseException:
                with self._mutex:
                    ended = True
                    self._late -= abandoned
                raise
            with self._mutex:
                ended = True
                self._late -= abandoned
                results.append(result)
                late = abandoned
            if late and discard is not None:
                discard(result)
            return result

        try:
            with move_on_after(self._deadline):
                async with self._turn(limiter):
                    result = await to_thread.run_sync(
                        work, abandon_on_cancel=True, limiter=self._all
                    )
                delivered = True
                return result
        finally:
            with self._mutex:
                abandoned = True
                self._late += began and not ended
                in_time = list(results)
            # It came just when the waiting ended.
            if in_time and not delivered and discard is not None:
                discard(in_time[0])
        raise Internal(
            f"the storage or the catalogue did not answer within {self._deadline:g} s"
        )

    @asynccontextmanager
    async def _turn(self, limiter: CapacityLimiter) -> AsyncIterator[None]:
        """Hold a place among those who call, and give way when that takes long."""
        place = object()
        await limiter.acquire_on_behalf_of(place)
        slow = False

        def give_way() -> None:
            nonlocal slow
            if self._slow + self._late < _LATE:
                slow = True
                self._slow += 1
                limiter.release_on_behalf_of(place)

        timer = get_running_loop().call_later(_PATIENCE, give_way)
        try:
            yield
        finally:
            timer.cancel()
            if slow:
                self._slow -= 1
            else:
                limiter.release_on_behalf_of(place)
