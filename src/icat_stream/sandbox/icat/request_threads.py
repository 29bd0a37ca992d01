"""The threads in which requests are answered."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

# Answering is computing, which more threads make slower: they wait for each other.
# But one slow query must not keep everybody waiting, hence not one.
_THREADS = 2

_limiter: RunVar[CapacityLimiter] = RunVar("limiter")


async def work(function: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
    """Call a function in one of the threads and return its result.

    Parameters
    ----------
    function
        What to call.
    arguments
        Its arguments.
    """
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(_THREADS)
        _limiter.set(limiter)
    return await run_sync(function, *arguments, limiter=limiter)
