"""Small transactions of several threads, as few as they may be."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from sqlalchemy import Connection

_T = TypeVar("_T")


class _Job:
    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self.work = work
        self.is_done = False
        self.result: Any = None
        self.error: Exception | None = None


class Together:
    """Does what comes while a transaction is under way in the next one, all of it.

    Parameters
    ----------
    begin
        Begins a transaction.
    """

    def __init__(self, begin: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Job] = []

    def do(self, work: Callable[[Connection], _T]) -> _T:
        """Do some work in a transaction, and return what it returned.

        Parameters
        ----------
        work
            May be done a second time where another thread's work failed beside it.

        Raises
        ------
        Exception
            Of the work or of the transaction: then nothing of it is done.
        """
        job = _Job(work)
        with self._lock:
            self._waiting.append(job)
        with self._turn:
            if not job.is_done:
                with self._lock:
                    jobs, self._waiting = self._waiting, []
                self._do(jobs)
        if job.error is not None:
            raise job.error
        return cast(_T, job.result)

    def _do(self, jobs: list[_Job]) -> None:
        try:
            with self._begin() as connection:
                results = [job.work(connection) for job in jobs]
        except Exception as error:
            if len(jobs) > 1:
                # It may be the fault of one of them only.
                for job in jobs:
                    self._do([job])
                return
            jobs[0].error = error
        else:
            for job, result in zip(jobs, results, strict=True):
                job.result = result
        for job in jobs:
            job.is_done = True
