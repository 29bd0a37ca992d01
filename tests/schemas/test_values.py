"""What files say, made the declared type."""

import math
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.schemas.values import KINDS, Mismatch, coerce, shorten, text

STOCKHOLM = ZoneInfo("Europe/Stockholm")


def make(value, kind, zone=UTC):
    return coerce(value, KINDS[kind], zone)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("  a b ", "string", "a b"),
        (7, "string", "7"),
        (1.5, "string", "1.5"),
        (True, "string", "true"),
        (("one",), "string", "one"),
        ("00000007", "integer", 7),
        (7.0, "integer", 7),
        (-7, "integer", -7),
        ("1e-3", "float", 0.001),
        (3, "float", 3.0),
        (".5", "float", 0.5),
        ("TRUE", "boolean", True),
        (0, "boolean", False),
        (False, "boolean", False),
        ("a.b@example.org", "email", "a.b@example.org"),
        ("https://example.org/x", "link", "https://example.org/x"),
        (("a", "", "b"), "string[]", ("a", None, "b")),
        ("a", "string[]", ("a",)),
        ((1, 2.0, "3"), "integer[]", (1, 2, 3)),
        ((math.nan, 1), "float[]", (None, 1.0)),
        (("", " "), "string[]", (None, None)),
    ],
)
def test_values_of_the_type(value, kind, expected):
    made = make(value, kind)
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("", "string"),
        ("   ", "integer"),
        (math.nan, "float"),
        (math.nan, "integer"),
        ((), "string"),
        ((), "float[]"),
        ("NaN", "float"),
    ],
)
def test_what_says_nothing_is_no_value(value, kind):
    assert make(value, kind) is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("six", "float"),
        ("6 angstrom", "float"),
        (math.inf, "float"),
        ("inf", "float"),
        (True, "float"),
        (True, "integer"),
        (1.5, "integer"),
        ("1_000", "integer"),
        ("20250703_01", "float"),
        ("\N{ARABIC-INDIC DIGIT THREE}", "integer"),
        ("\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}", "float"),
        ("\N{DEVANAGARI DIGIT TWO}026-01-01", "datetime"),
        ("1e-400", "float"),
        ("1e400", "float"),
        (10**400, "integer"),
        (10**400, "float"),
        ({"a": 1}, "string"),
        (2, "boolean"),
        ("perhaps", "boolean"),
        ("nobody", "email"),
        ("example.org", "link"),
        (5, "datetime"),
        ("yesterday", "datetime"),
        ("2026-02-30", "datetime"),
        ("2026-01-01T25:00", "datetime"),
        ("2026-01-01T10:00+99:00", "datetime"),
        ((1, 2), "integer"),
        (("a", {}), "string[]"),
    ],
)
def test_what_is_not_of_the_type(value, kind):
    with pytest.raises(Mismatch, match="expected"):
        make(value, kind)


class TestTimes:
    expected = datetime(2026, 3, 2, 8, 0, 5, tzinfo=UTC)

    @pytest.mark.parametrize(
        "value",
        [
            "2026-03-02T08:00:05Z",
            "2026-03-02T08:00:05z",
            "2026-03-02 08:00:05",
            "2026-03-02T08:00:05+00:00",
            "2026-03-02T09:00:05+01:00",
            "2026-03-02T09:00:05+0100",
            "2026-03-02T09:00:05 +01",
            "2026-03-02T02:30:05-05:30",
        ],
    )
    def test_with_and_without_a_zone(self, value):
        assert make(value, "datetime") == self.expected

    @pytest.mark.parametrize("digits", range(1, 10))
    def test_up_to_nine_digits_of_a_second(self, digits):
        fraction = "123456789"[:digits]
        found = make(f"2026-03-02T08:00:05.{fraction}Z", "datetime")
        micros = int(fraction.ljust(6, "0")[:6])
        assert found == self.expected + timedelta(microseconds=micros)

    def test_midnight_at_the_end_of_a_day(self):
        midnight = datetime(2026, 3, 1, tzinfo=UTC)
        for written in ("24:00", "24:00:00", "24:00:00.000Z"):
            assert make(f"2026-02-28T{written}", "datetime") == midnight
        with pytest.raises(Mismatch):
            make("2026-02-28T24:00:01", "datetime")

    def test_a_leap_second(self):
        found = make("2016-12-31T23:59:60.5Z", "datetime")
        assert found == datetime(2017, 1, 1, tzinfo=UTC)
        with pytest.raises(Mismatch):
            make("2016-12-31T23:59:61Z", "datetime")

    def test_without_seconds_or_time(self):
        assert make("2026-03-02T08:00", "datetime").minute == 0
        assert make("2026-03-02", "datetime") == datetime(2026, 3, 2, tzinfo=UTC)

    def test_the_zone_of_the_schema_is_for_times_without_one(self):
        summer = make("2026-07-01T12:00:00", "datetime", STOCKHOLM)
        assert summer == datetime(2026, 7, 1, 10, tzinfo=UTC)
        winter = make("2026-01-01T12:00:00", "datetime", STOCKHOLM)
        assert winter == datetime(2026, 1, 1, 11, tzinfo=UTC)
        named = make("2026-07-01T12:00:00Z", "datetime", STOCKHOLM)
        assert named == datetime(2026, 7, 1, 12, tzinfo=UTC)

    @given(
        st.datetimes(
            timezones=st.sampled_from(
                [UTC, timezone(timedelta(hours=5.5)), timezone(timedelta(hours=-9))]
            )
        )
    )
    def test_iso_times_come_back(self, time):
        assert make(time.isoformat(), "datetime") == time


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(sorted(KINDS)),
)
def test_anything_is_a_value_none_or_refused(value, kind):
    if value is None:
        return
    try:
        made = make(value, kind)
    except Mismatch as error:
        assert len(str(error)) < 300  # noqa: PT017 - any of three results is right
    else:
        assert made is None or isinstance(made, tuple) == kind.endswith("[]")


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_numbers_come_back_from_text(number):
    if abs(number) < 10**30:
        assert make(str(number), "float") == float(number)


@given(st.lists(st.floats(allow_infinity=False) | st.integers(-9, 9), min_size=1))
def test_every_item_of_a_list_keeps_its_place(items):
    made = make(tuple(items), "float[]")
    assert len(made) == len(items)
    for item, one in zip(items, made, strict=True):
        assert one is None if math.isnan(item) else one == item


def test_texts_for_people():
    assert text((1, 2.5, "x")) == "1, 2.5, x"
    assert text((None, 2.5)) == "NaN, 2.5"
    assert text(("a", None, "b")) == "a, b"
    assert text(True) == "true"
    assert text(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00+00:00"


def test_shown_values_stay_short():
    assert len(shorten("x" * 10_000_000)) <= 60
    assert len(shorten(tuple(range(100_000)))) <= 60
    assert shorten("x") == "'x'"
