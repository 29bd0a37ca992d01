"""Small transactions of several threads, as few as they may be."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Generic, TypeVar, cast

from sqlalchemy import Connection

from icat_stream.records import SystemUnavailable

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class Contended(SystemUnavailable):
    """The database is there; another transaction held a row for too long."""


class _Waiting(Generic[JobT, ResultT]):
    def __init__(self, job: JobT) -> None:
        self.job = job
        self.is_done = False
        self.result: ResultT | None = None
        self.error: Exception | None = None

    def end(
        self, result: ResultT | None = None, *, error: Exception | None = None
    ) -> None:
        self.result, self.error, self.is_done = result, error, True


class GroupCommit(Generic[JobT, ResultT]):
    """Does what comes while a transaction is under way in the next one, all of it.

    Parameters
    ----------
    begin
        Begins a transaction.
    work
        Does jobs in a transaction and returns their results in order.  May be called
        a second time with a job where another thread's job failed beside it; not where
        the database is down, which costs all that wait one time-out.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[Connection]],
        work: Callable[[Connection, Sequence[JobT]], Sequence[ResultT]],
    ) -> None:
        self._begin = begin
        self._work = work
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Waiting[JobT, ResultT]] = []

    def do(self, job: JobT) -> ResultT:
        """Do a job in a transaction, and return its result.

        Raises
        ------
        Exception
            Of the work or of the transaction: then nothing of it is done.
        """
        mine: _Waiting[JobT, ResultT] = _Waiting(job)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if not mine.is_done:
                with self._lock:
                    waiting, self._waiting = self._waiting, []
                self._do(waiting)
        if mine.error is not None:
            raise mine.error
        return cast(ResultT, mine.result)

    def _do(self, waiting: list[_Waiting[JobT, ResultT]]) -> None:
        left = [waiting]
        while left:
            some = left.pop(0)
            try:
                with self._begin() as connection:
                    results = self._work(connection, [each.job for each in some])
            except Exception as error:
                if _is_of_all(error):
                    # Whoever waited for this waits no second time.
                    with self._lock:
                        late, self._waiting = self._waiting, []
                    for each in [*some, *chain(*left), *late]:
                        each.end(error=error)
                    return
                if len(some) > 1:
                    left = [[each] for each in some]
                else:
                    some[0].end(error=error)
            else:
                for each, result in zip(some, results, strict=True):
                    each.end(result)


def _is_of_all(error: Exception) -> bool:
    return isinstance(error, SystemUnavailable) and not isinstance(error, Contended)
