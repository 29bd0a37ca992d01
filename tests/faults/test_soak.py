"""A short bad time for the daemon; `make soak` makes it long."""

import pytest

from faults.soak import soak


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_done_twice(tmp_path):
    wrong = soak(tmp_path, kills=12, minutes=0.5, rate=5, size=2, seed=5)
    assert wrong == []
