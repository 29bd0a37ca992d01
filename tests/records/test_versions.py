"""Versions as people write them."""

import pytest

from icat_stream.records import is_higher


@pytest.mark.parametrize(
    ("higher", "lower"),
    [
        ("1.10", "1.9"),
        ("2", "2-beta"),
        (10.0, 9),
        ("11", 10.0),
        ("v2", "v1.9"),
        ("0", None),
        ("1" + "0" * 5000, "9"),
    ],
)
def test_higher(higher, lower):
    assert is_higher(higher, lower)
    assert not is_higher(lower, higher)


@pytest.mark.parametrize(
    ("one", "other"), [("10", "10.0"), (10, "v10"), ("v1.0", "1"), ("1.2", "1.2")]
)
def test_neither_is_higher(one, other):
    assert not is_higher(one, other)
    assert not is_higher(other, one)
