"""Of all processes, one runs a check when it is due."""

from concurrent.futures import ThreadPoolExecutor

import pytest

HOUR = 3_600_000


@pytest.fixture
def scheduled(journal):
    return journal.scheduled


def test_one_of_many_runs_a_check_that_is_due(scheduled):
    with ThreadPoolExecutor(4) as pool:
        runs = [*pool.map(lambda _: scheduled.claim("mint", HOUR, HOUR), range(8))]
    (run,) = (run for run in runs if run is not None)
    assert (run.at, run.last) == (HOUR, None)
    assert scheduled.last() == {}
    scheduled.finish(run)
    assert scheduled.last() == {"mint": HOUR}
    assert scheduled.claim("mint", 2 * HOUR - 1, HOUR) is None
    again = scheduled.claim("mint", 2 * HOUR, HOUR)
    assert (again.at, again.last) == (2 * HOUR, HOUR)
    assert scheduled.claim("other", HOUR, HOUR) is not None


def test_a_run_of_a_process_that_died_is_done_again(scheduled):
    dead = scheduled.claim("mint", HOUR, HOUR)
    assert scheduled.claim("mint", HOUR + 60_000, HOUR) is None
    run = scheduled.claim("mint", HOUR + 16 * 60_000, HOUR)
    assert run.last is None
    # It was only frozen, and does not end the other one's run.
    scheduled.finish(dead)
    assert scheduled.last() == {}
    scheduled.finish(run)
    assert scheduled.last() == {"mint": run.at}
