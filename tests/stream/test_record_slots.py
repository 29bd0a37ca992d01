"""When records are due, whatever the clock said when the process started."""

import time

import pytest

from icat_stream.stream import record_slots

DAY = 86_400_000


@pytest.mark.parametrize("wrong", [-365 * DAY, -DAY, 0, DAY, 365 * DAY])
def test_a_clock_that_was_wrong_at_the_start(monkeypatch, wrong):
    monkeypatch.setattr(record_slots, "_EPOCH_MS", record_slots._EPOCH_MS + wrong)
    now = time.time_ns() // 10**6
    hour = 3_600_000

    def waits(not_before):
        return record_slots.due(not_before, longest=hour) - record_slots.now_ms()

    assert waits(now + 30_000) == pytest.approx(30_000, abs=5_000)
    assert waits(now - 30_000) <= 0
    # Who wrote it had a clock that was ahead.
    assert waits(now + DAY) == pytest.approx(hour, abs=5_000)
