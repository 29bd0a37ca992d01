"""A short bad time for the daemon; `make soak` makes it long."""

import pytest

from faults.soak import DISORDER, soak


@pytest.mark.kafka
@pytest.mark.long
@pytest.mark.timeout(900)
def test_nothing_is_lost_or_done_twice(tmp_path):
    # On a busy machine there is less of it.
    wrong, _ = soak(tmp_path, kills=25, minutes=2, rate=10, size=2, seed=5)
    # A client of Kafka may hang while it is closed: then the process ends itself.
    assert [what for what in wrong if not what.startswith(DISORDER)] == []
