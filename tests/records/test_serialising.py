"""Planned things as text, and back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.records import (
    Dataset,
    Investigation,
    InvestigationKey,
    Parameter,
    User,
    as_text,
    digest,
    from_text,
)

st.register_type_strategy(
    datetime,
    st.datetimes(
        min_value=datetime(1900, 1, 1),  # noqa: DTZ001
        max_value=datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5))),
    ),
)
st.register_type_strategy(float, st.floats(allow_nan=False))


@pytest.mark.parametrize("kind", [User, Investigation, Dataset])
@given(data=st.data())
def test_what_is_read_back_is_what_was_written(kind, data):
    planned = data.draw(st.from_type(kind))
    text = as_text(planned)
    assert from_text(kind, text) == planned
    assert as_text(from_text(kind, text)) == text


def test_equal_things_have_one_hash_whatever_the_zone():
    when = datetime(2026, 3, 1, 8, tzinfo=UTC)
    key = InvestigationKey(name="a", visit_id="1")
    one = Investigation(investigation=key, start=when)
    there = when.astimezone(timezone(timedelta(hours=5)))
    assert digest(one) == digest(replace(one, start=there))
    assert digest(one) != digest(replace(one, end=when))
    assert digest(one) != digest(replace(one, keywords=()))


def test_a_time_and_a_text_that_looks_like_one_differ():
    when = datetime(2026, 3, 1, tzinfo=UTC)
    for value in (when, when.isoformat(), 5.0, '{"$time": "x"}'):
        one = Investigation(
            investigation=InvestigationKey(name="a", visit_id="1"),
            parameters=(Parameter(name="p", units="", value=value),),
        )
        (found,) = from_text(Investigation, as_text(one)).parameters
        assert found.value == value
        assert type(found.value) is type(value)
