"""When records are due, whatever the clock said when the process started."""

import time

import pytest

from icat_stream.stream import reading

DAY = 86_400_000


@pytest.mark.parametrize("wrong", [-365 * DAY, -DAY, 0, DAY, 365 * DAY])
def test_a_clock_that_was_wrong_at_the_start(monkeypatch, wrong):
    monkeypatch.setattr(reading, "_EPOCH_MS", reading._EPOCH_MS + wrong)
    now = time.time_ns() // 10**6
    hour = 3_600_000

    def waits(not_before):
        return reading.due(not_before, longest=hour) - reading.now_ms()

    assert waits(now + 30_000) == pytest.approx(30_000, abs=5_000)
    assert waits(now - 30_000) <= 0
    # Who wrote it had a clock that was ahead.
    assert waits(now + DAY) == pytest.approx(hour, abs=5_000)
