"""Small transactions of several threads, as few as they may be."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, TypeVar, cast

from sqlalchemy import Connection

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


class _Waiting(Generic[JobT, ResultT]):
    def __init__(self, job: JobT) -> None:
        self.job = job
        self.is_done = False
        self.result: ResultT | None = None
        self.error: Exception | None = None


class GroupCommit(Generic[JobT, ResultT]):
    """Does what comes while a transaction is under way in the next one, all of it.

    Parameters
    ----------
    begin
        Begins a transaction.
    work
        Does jobs in a transaction and returns their results in order.  May be called
        a second time with a job where another thread's job failed beside it.
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
        try:
            with self._begin() as connection:
                results = self._work(connection, [each.job for each in waiting])
        except Exception as error:
            if len(waiting) > 1:
                # It may be the fault of one of them only.
                for each in waiting:
                    self._do([each])
                return
            waiting[0].error = error
        else:
            for each, result in zip(waiting, results, strict=True):
                each.result = result
        for each in waiting:
            each.is_done = True
