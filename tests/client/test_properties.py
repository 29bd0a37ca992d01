"""Any text, and any question, against a naive evaluation."""

import datetime as dt
import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.client import Catalogue

from .places import UTC, Place, dataset

# What the query language, LIKE, XML and suds might take for something of theirs.
PIECES = ["'", "''", '"', "%", "_", "!", "\\", "&", "&lt;", "&amp;", "<", ">", ":user"]
PIECES += ["{ts 2026-01-01 00:00:00}", " ", "\n", "\t", "LIMIT 0, 1", ")", "--", "O'"]
PIECES += ["é", "日本", "😀", "a", "B"]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
ANY = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]),
    min_size=1,
    max_size=20,
)


@pytest.fixture(scope="module")
def somewhere(root):
    place = Place(Catalogue(root))
    yield place
    Catalogue(root).delete(place.facility)


@settings(max_examples=20, deadline=None)
@given(names=st.lists(TEXTS | ANY, min_size=1, max_size=6, unique=True), piece=TEXTS)
def test_every_text_is_found_and_nothing_else(root, somewhere, names, piece):
    catalogue = Catalogue(root)
    with catalogue.rollback() as undo:
        catalogue.create_many(
            catalogue.new("Keyword", name=n, investigation=somewhere.investigation)
            for n in names
        )
        mine = catalogue.objects("Keyword").filter(
            investigation=somewhere.investigation
        )
        assert sorted(mine.values("name")) == sorted(names)
        for name in names:
            assert list(mine.filter(name=name).values("name")) == [name]
        wanted = piece if len(names) % 2 else names[0][:2]
        for word, holds in (
            ("contains", lambda name: wanted in name),
            ("startswith", lambda name: name.startswith(wanted)),
            ("endswith", lambda name: name.endswith(wanted)),
        ):
            found = mine.filter(**{f"name__{word}": wanted}).values("name")
            assert sorted(found) == sorted(filter(holds, names)), (word, wanted)
        assert undo.rollback().complete
        assert not mine.exists()


START = dt.datetime(2026, 3, 28, 12, tzinfo=UTC)
ROWS = [
    {
        "name": f"r{n}",
        "description": None if n % 4 == 3 else f"{'ab'[n % 2]}{n}",
        "complete": n % 3 == 0,
        "fileSize": n * 10,
        "startDate": None if n % 5 == 0 else START + dt.timedelta(hours=n * 6),
        "sample": None if n % 3 == 0 else f"s{n % 2}",
        "files": n % 3,
    }
    for n in range(12)
]


@pytest.fixture(scope="module")
def rows(root, somewhere):
    catalogue = Catalogue(root)
    samples = {
        name: catalogue.create(
            "Sample", name=name, investigation=somewhere.investigation
        )
        for name in ("s0", "s1")
    }
    catalogue.create_many(
        dataset(
            catalogue,
            somewhere,
            **{**row, "sample": samples.get(row["sample"])},
        )
        for row in ROWS
    )
    return catalogue.objects("Dataset").filter(investigation=somewhere.investigation)


COMPARE = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, given: value in given,
    "contains": lambda value, given: given in value,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
ORDERED = st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte"])
TEXT_VALUES = st.sampled_from([row["description"] or "a" for row in ROWS])
TIMES = st.integers(-6, 72).map(lambda n: START + dt.timedelta(hours=n))


def conditions(field, operators, values):
    lists = st.tuples(st.just("in"), st.lists(values, max_size=4))
    nulls = st.tuples(st.just("isnull"), st.booleans())
    one = st.tuples(operators, values) | lists | nulls
    return one.map(lambda pair: (field, *pair))


TEXT_OPERATORS = ORDERED | st.sampled_from(["contains", "startswith", "endswith"])
CONDITIONS = st.one_of(
    conditions("description", TEXT_OPERATORS, TEXT_VALUES),
    conditions("complete", st.sampled_from(["eq", "ne"]), st.booleans()),
    conditions("fileSize", ORDERED, st.integers(-5, 130)),
    conditions("startDate", ORDERED, TIMES),
    conditions("sample__name", TEXT_OPERATORS, st.sampled_from(["s0", "s1", "x"])),
    conditions("datafiles__name", ORDERED, st.sampled_from(["r1-0.nxs", "r5-1.nxs"])),
)


def holds(row, condition):
    field, word, given_value = condition
    if field == "datafiles__name":
        values = [f"{row['name']}-{n}.nxs" for n in range(row["files"])]
    else:
        values = [row[field.removesuffix("__name")]]
    if word == "isnull":
        return any((value is None) is given_value for value in values)
    return any(v is not None and COMPARE[word](v, given_value) for v in values)


@settings(max_examples=40, deadline=None)
@given(
    wanted=st.lists(CONDITIONS, max_size=3), unwanted=st.lists(CONDITIONS, max_size=2)
)
def test_filters_mean_what_they_say(rows, wanted, unwanted):
    found = rows
    for field, word, value in wanted:
        found = found.filter(**{f"{field}__{word}": value})
    for field, word, value in unwanted:
        found = found.exclude(**{f"{field}__{word}": value})
    expected = [
        row["name"]
        for row in ROWS
        if all(holds(row, condition) for condition in wanted)
        and not any(holds(row, condition) for condition in unwanted)
    ]
    assert sorted(found.values("name")) == sorted(expected)
    assert found.count() == len(expected)
