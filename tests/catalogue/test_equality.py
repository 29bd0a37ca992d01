"""What counts as equal, and a server whose wall clock repeats an hour."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icat.client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.catalogue import Catalogue
from icat_stream.catalogue.equality import same, same_number, same_time
from icat_stream.config import IcatSettings, PolicySettings
from icat_stream.records import (
    Dataset,
    InvestigationKey,
    OutcomeKind,
    Rejection,
)

from .conftest import Server, fill, new_investigation, start_icat
from .plans import FACILITY, plan


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("planned", "found", "equal"),
    [
        ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05.000Z", True),
        ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:06.000Z", False),
        ("2026-07-02T03:04:05+02:00", "2026-07-02T01:04:05Z", True),
        # In Berlin the clock shows 2:30 twice.
        ("2026-10-25T00:30:00Z", "2026-10-25T02:30:00+01:00", True),
        ("2026-10-25T01:30:00Z", "2026-10-25T02:30:00+01:00", True),
        ("2026-10-25T01:30:00Z", "2026-10-25T02:30:00+02:00", True),
        # An hour too much on any other day is an hour too much.
        ("2026-10-26T00:30:00Z", "2026-10-26T02:30:00+01:00", False),
        ("2026-10-25T03:30:00Z", "2026-10-25T05:30:00+01:00", False),
        ("2026-06-25T00:30:00Z", "2026-06-25T01:30:00Z", False),
    ],
)
def test_times(planned: str, found: str, equal: bool) -> None:
    assert same_time(at(planned), at(found)) is equal


@settings(deadline=None)  # the first comparison reads all time zones
@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(2, 1, 1)))  # noqa: DTZ001
def test_a_time_is_itself_without_its_fraction_and_not_the_next(when: datetime) -> None:
    assert same_time(when, when.replace(microsecond=0))
    assert not same_time(when, when.replace(microsecond=0) - timedelta(seconds=1))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers(number: float) -> None:
    assert same_number(number, number)
    assert same_number(number, float(repr(number)))
    assert same_number(number, math.nextafter(number, 0.0))
    far = number * 1.0000001 + 1e-300
    assert same_number(number, far) is (abs(far - number) <= math.ulp(number))


@pytest.mark.parametrize(
    ("planned", "found", "equal"),
    [
        ("", None, True),
        ("x", None, False),
        ("x", "x", True),
        ("x", "X", False),
        (5, 5.0, True),
        (5.0, "5.0", False),
        (True, True, True),
        (True, 1, False),
        (0.0, None, False),
    ],
)
def test_values(planned: Any, found: Any, equal: bool) -> None:
    assert same(planned, found) is equal


@pytest.fixture(scope="module")
def berlin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("berlin")
    yield from start_icat(folder, "--timezone", "Europe/Berlin")


def test_a_repeated_hour_is_no_difference(berlin: Server) -> None:
    client = icat.client.Client(berlin.url)
    client.login("simple", {"username": "root", "password": "secret"})
    fill(client)
    investigation: InvestigationKey = new_investigation(client)
    client.logout()
    access = IcatSettings(url=berlin.url, username="root", password="secret")
    lane = Catalogue(access, FACILITY, PolicySettings()).new_session()
    for number, text in enumerate(
        ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-03-29T01:30:00Z")
    ):
        dataset = Dataset(
            investigation=investigation, name=f"{number}", type="raw", start=at(text)
        )
        assert lane.apply(plan(dataset)).kind is OutcomeKind.INGESTED
        assert lane.apply(plan(dataset)).kind is OutcomeKind.UNCHANGED
    summer = Dataset(
        investigation=investigation,
        name="summer",
        type="raw",
        start=at("2026-07-25T00:30:00Z"),
    )
    lane.apply(plan(summer))
    late = Dataset(
        investigation=investigation,
        name="summer",
        type="raw",
        start=at("2026-07-25T01:30:00Z"),
    )
    with pytest.raises(Rejection, match="startDate"):
        lane.apply(plan(late))
    lane.close()
