"""What several threads wait for is done together, and fails together."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from icat_stream.journal.group_commit import Contended, GroupCommit
from icat_stream.records import SystemUnavailable

LANES = 8


@pytest.mark.parametrize(
    ("failure", "times"),
    [
        # Nobody asks again what has just not answered.
        (SystemUnavailable, 1),
        # A row that somebody holds is the row of one of them: the first, and the
        # others together and then each by itself.
        (Contended, 1 + 1 + (LANES - 1)),
    ],
)
def test_a_database_that_hangs_costs_one_time_out_not_one_a_lane(failure, times):
    begun = []

    @contextmanager
    def begin():
        begun.append(threading.current_thread())
        if len(begun) == 1:
            while len(commit._waiting) < LANES - 1:
                time.sleep(0.001)
        raise failure("no answer", system="journal")
        yield

    commit = GroupCommit(begin, lambda connection, jobs: list(jobs))
    with ThreadPoolExecutor(LANES) as pool:
        done = [pool.submit(commit.do, number) for number in range(LANES)]
        assert all(isinstance(each.exception(60), failure) for each in done)
    assert len(begun) == times


def test_one_job_that_fails_leaves_the_others_theirs():
    arrived = threading.Event()

    @contextmanager
    def begin():
        arrived.wait()
        yield None

    def work(connection, jobs):
        if 3 in jobs:
            raise ValueError("three")
        return [job * 2 for job in jobs]

    commit = GroupCommit(begin, work)
    with ThreadPoolExecutor(LANES) as pool:
        done = [pool.submit(commit.do, number) for number in range(LANES)]
        while len(commit._waiting) < LANES - 1:
            time.sleep(0.001)
        arrived.set()
        assert isinstance(done.pop(3).exception(60), ValueError)
        assert [each.result(60) for each in done] == [0, 2, 4, 8, 10, 12, 14]
