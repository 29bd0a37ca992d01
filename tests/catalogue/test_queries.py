"""Values in queries, exactly as they are."""

from typing import Any
from urllib.parse import quote as percent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.catalogue import CatalogueSession, quote
from icat_stream.icat.query import in_lists
from icat_stream.records import Rejection

NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=255
)


@given(NAMES)
def test_a_literal_ends_where_it_should(name: str) -> None:
    literal = quote(name)
    assert literal[0] == literal[-1] == "'"
    # Read as a server does: two quotes are one, one quote ends the literal.
    read, rest = "", literal[1:]
    while not (rest.startswith("'") and not rest.startswith("''")):
        read += rest[0]
        rest = rest[2:] if rest.startswith("''") else rest[1:]
    assert (read, rest) == (name, "'")


@given(st.lists(NAMES, max_size=300))
def test_lists_hold_every_name_once_and_are_short(names: list[str]) -> None:
    lists = list(in_lists(names))
    assert all(len(percent(text)) <= 3600 for text in lists)
    literals = [quote(name) for name in dict.fromkeys(names)]
    remaining = ", ".join(text[1:-1] for text in lists)
    assert remaining == ", ".join(literals)


@settings(
    deadline=None,
    max_examples=40,
)
@given(name=NAMES)
@pytest.mark.parametrize("entity", ["Instrument"])
def test_no_name_breaks_a_query(lane: CatalogueSession, entity: str, name: str) -> None:
    assert lane.exists(entity, name) is (name in ("DREHM", "ÄTHER'S <1>"))


@pytest.mark.parametrize(
    "name", ["'", "''", "' OR 'a' = 'a", "\\", "\\'", ":user", "{ts 1}", "%", "?", "--"]
)
def test_hostile_names_find_nothing(lane: CatalogueSession, name: str) -> None:
    assert lane.investigations(name) == []
    assert not lane.exists("Instrument", name)
    assert lane.present([f"investigation:{name}", f"instrument:{name}"]) == set()


@pytest.mark.parametrize("name", ["x" * 256, "\ud800", "a\0b"])
def test_what_can_be_no_name_is_refused(name: Any) -> None:
    with pytest.raises(Rejection):
        quote(name)
