"""What follows from a failure."""

import pytest

from icat_stream.config import RejectLimit, RetrySettings
from icat_stream.records import (
    DependencyMissing,
    Failure,
    LoginRefused,
    NotReady,
    Rejection,
    SystemUnavailable,
    TransientFailure,
)
from icat_stream.stream.headers import Delay
from icat_stream.stream.policy import (
    GiveUp,
    Park,
    Pause,
    RejectWindow,
    RetryInLane,
    RetryLater,
    Stop,
    decide,
    lane_wait,
)

SETTINGS = RetrySettings(delays=[30, 300], park_for=1000, lane_attempts=3)
NOW = 1_700_000_000_000


def decided(error, *, tries=1, waited=0.0, paused_before=False, wait=None):
    return decide(
        error,
        tries=tries,
        waited=waited,
        paused_before=paused_before,
        wait=wait or Delay(),
        now=NOW,
        settings=SETTINGS,
    )


def test_a_rejection_is_given_up_at_once():
    assert decided(Rejection("wrong")) == GiveUp("wrong")


def test_so_is_a_failure_of_a_kind_that_we_do_not_know():
    class Own(Failure):
        error_class = "own"

    assert decided(Own("no idea")) == GiveUp("no idea")


@pytest.mark.parametrize("error", [TransientFailure("net"), RuntimeError("bug")])
def test_the_lane_tries_three_times(error):
    assert isinstance(decided(error, tries=1), RetryInLane)
    assert isinstance(decided(error, tries=2), RetryInLane)
    assert not isinstance(decided(error, tries=3), RetryInLane)


def test_then_a_transient_one_goes_through_the_retry_topics():
    first = decided(TransientFailure("net"), tries=3)
    assert first == RetryLater(0, Delay(not_before=NOW + 30_000, retries=1))
    second = decided(TransientFailure("net"), tries=3, wait=first.wait)
    assert second == RetryLater(1, Delay(not_before=NOW + 300_000, retries=2))
    third = decided(TransientFailure("net"), tries=3, wait=second.wait)
    assert isinstance(third, GiveUp)
    assert "after 2 retries" in third.reason


def test_a_bug_does_not():
    assert decided(KeyError("x"), tries=3) == GiveUp("KeyError: 'x'")


def test_what_misses_something_is_parked_and_keeps_its_retries():
    error = DependencyMissing("no such visit", ["investigation:1/2"])
    decision = decided(error, wait=Delay(retries=1))
    assert decision == Park(
        Delay(
            not_before=NOW + 300_000,
            retries=1,
            parked_since=NOW,
            missing=("investigation:1/2",),
        )
    )


def test_parking_again_does_not_begin_anew():
    since = NOW - 900_000
    error = DependencyMissing("no such visit", ["inv"])
    decision = decided(error, wait=Delay(parked_since=since))
    assert decision.wait.parked_since == since
    assert decision.wait.not_before == since + 1_000_000, "not after its end"
    late = decided(error, wait=Delay(parked_since=NOW - 1_000_000))
    assert late == GiveUp("no such visit (waited 1000 s for: inv)")


def test_an_unsettled_file_waits_until_its_deadline():
    error = NotReady("open", retry_in=2, deadline=60)
    assert decided(error, waited=59) == RetryInLane(2)
    assert isinstance(decided(error, waited=60), RetryLater)


def test_a_system_that_is_down_pauses_and_one_that_refuses_us_stops():
    assert decided(SystemUnavailable("gone", system="icat"), tries=9) == Pause("icat")
    assert decided(LoginRefused("no", system="icat")) == Stop()


def test_a_system_that_answers_its_probe_is_not_down():
    error = SystemUnavailable("HTTP 504", system="icat")
    assert isinstance(decided(error, paused_before=True), RetryInLane)
    later = decided(error, tries=3, paused_before=True)
    assert later == RetryLater(0, Delay(not_before=NOW + 30_000, retries=1))


@pytest.mark.parametrize("attempts", [3, 5, 20])
def test_waiting_in_the_lane_adds_up_to_ten_seconds_at_most(attempts):
    waits = [lane_wait(tries, attempts) for tries in range(1, attempts)]
    assert all(wait > 0 for wait in waits)
    assert sum(waits) <= 10


def test_all_of_them_never_stop_where_the_ratio_is_1():
    window = RejectWindow(RejectLimit(ratio=1, minimum=3, window=60))
    assert not any(window.add(True, second) for second in range(50))


def test_rejects_count_by_ratio_minimum_and_window():
    window = RejectWindow(RejectLimit(ratio=0.5, minimum=3, window=60))
    assert not window.add(True, 0)
    assert not window.add(True, 1)
    assert window.add(True, 2)
    assert not window.add(False, 3)
    assert window.add(True, 4)
    # A minute later they are forgotten.
    assert not window.add(True, 100)
    assert not window.add(True, 101)
    for _ in range(10):
        assert not window.add(False, 102)
    assert not window.add(True, 103)
