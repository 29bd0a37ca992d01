"""Random queries find what a naive evaluation in Python finds."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.sandbox.icat.service import Service, Settings

NAMES = ["a", "b", "it's", "A%", "z_z"]
TEXTS = [None, "", "x", "it's", "%"]
SIZES = [None, 0, 1, 7, 2**40]


@dataclass(frozen=True)
class Row:
    name: str
    description: str | None
    fileSize: int | None
    complete: bool
    investigation: str
    sample: str | None


@dataclass(frozen=True)
class Condition:
    """A condition as text, as a function of a row, and the joins that it implies."""

    text: str
    holds: object
    joins: frozenset[str] = frozenset()


def rows():
    found = []
    for number, name in enumerate(NAMES):
        for visit in range(3):
            mixed = number * 3 + visit
            found.append(
                Row(
                    name,
                    TEXTS[mixed % 5],
                    SIZES[(mixed * 2 + 1) % 5],
                    mixed % 2 == 0,
                    NAMES[visit],
                    [None, "s", "t"][mixed % 3],
                )
            )
    return found


@pytest.fixture(scope="module")
def ask():
    service = Service(
        Settings(
            accounts={"simple": {"root": "x"}}, roots=["simple/root"], match_case=True
        )
    )
    session = service.sessions.login("simple", {"username": "root", "password": "x"})

    def write(**entity):
        return service.write_json(session, json.dumps(entity))[0]

    facility = {"id": write(Facility={"name": "F"})}
    kind = {"id": write(InvestigationType={"name": "t", "facility": facility})}
    raw = {"id": write(DatasetType={"name": "raw", "facility": facility})}
    places, samples = {}, {}
    for row in rows():
        if row.investigation not in places:
            new = {"name": row.investigation, "visitId": "1", "title": "t"}
            new |= {"facility": facility, "type": kind}
            number = places[row.investigation] = write(Investigation=new)
            for name in ("s", "t"):
                sample = {"name": name, "investigation": {"id": number}}
                samples[row.investigation, name] = write(Sample=sample)
        new = {
            "name": row.name,
            "description": row.description,
            "fileSize": row.fileSize,
            "complete": row.complete,
            "investigation": {"id": places[row.investigation]},
            "type": raw,
        }
        if row.sample is not None:
            new["sample"] = {"id": samples[row.investigation, row.sample]}
        write(Dataset=new)
    yield lambda query: service.search(session, query)
    service.close()


def quote(value):
    return (
        "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
    )


# Paths, how a row has them, what they join, and values to compare with.
STRINGS = [
    ("o.name", lambda r: r.name, ()),
    ("o.description", lambda r: r.description, ()),
    ("o.investigation.name", lambda r: r.investigation, ()),
    ("o.sample.name", lambda r: r.sample, ("sample",)),
]
NUMBERS = [
    ("o.fileSize", lambda r: r.fileSize, ()),
    ("LENGTH(o.name)", lambda r: len(r.name), ()),
    ("(o.fileSize + 1)", lambda r: None if r.fileSize is None else r.fileSize + 1, ()),
]
COMPARE = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def null(function):
    """Nothing is known of what is null."""
    return lambda *values: None if None in values else function(*values)


@st.composite
def comparisons(draw):
    operands, values = draw(
        st.sampled_from([(STRINGS, [*NAMES, "s", "x"]), (NUMBERS, [0, 1, 2, 7, 2**40])])
    )
    path, get, joins = draw(st.sampled_from(operands))
    operator = draw(st.sampled_from(sorted(COMPARE)))
    value = draw(st.sampled_from(values))
    compare = null(COMPARE[operator])
    return Condition(
        f"{path} {operator} {quote(value)}",
        lambda row: compare(get(row), value),
        frozenset(joins),
    )


@st.composite
def memberships(draw):
    path, get, joins = draw(st.sampled_from(STRINGS))
    values = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3))
    negated = draw(st.booleans())
    within = null(lambda value: (value in values) is not negated)
    listed = ", ".join(map(quote, values))
    return Condition(
        f"{path} {'NOT ' * negated}IN ({listed})",
        lambda row: within(get(row)),
        frozenset(joins),
    )


@st.composite
def nulls(draw):
    path, get, joins = draw(
        st.sampled_from([*STRINGS, *NUMBERS[:1], ("o.sample", lambda r: r.sample, ())])
    )
    negated = draw(st.booleans())
    return Condition(
        f"{path} IS {'NOT ' * negated}NULL",
        lambda row: (get(row) is None) is not negated,
        frozenset(joins),
    )


@st.composite
def ranges(draw):
    path, get, joins = draw(st.sampled_from(NUMBERS))
    low, high = draw(st.integers(-1, 8)), draw(st.integers(-1, 8))
    negated = draw(st.booleans())
    between = null(lambda value: (low <= value <= high) is not negated)
    return Condition(
        f"{path} {'NOT ' * negated}BETWEEN {low} AND {high}",
        lambda row: between(get(row)),
        frozenset(joins),
    )


@st.composite
def likes(draw):
    path, get, joins = draw(st.sampled_from(STRINGS))
    start = draw(st.sampled_from(["a", "A", "it'", "z", ""]))
    negated = draw(st.booleans())
    begins = null(lambda value: value.startswith(start) is not negated)
    return Condition(
        f"{path} {'NOT ' * negated}LIKE {quote(start + '%')}",
        lambda row: begins(get(row)),
        frozenset(joins),
    )


flags = st.sampled_from([True, False]).map(
    lambda flag: Condition(
        f"o.complete = {str(flag).upper()}", lambda row: row.complete is flag
    )
)


def both(first, second):
    def holds(row):
        values = (first.holds(row), second.holds(row))
        return False if False in values else None if None in values else True

    text = f"({first.text} AND {second.text})"
    return Condition(text, holds, first.joins | second.joins)


def either(first, second):
    def holds(row):
        values = (first.holds(row), second.holds(row))
        return True if True in values else None if None in values else False

    text = f"({first.text} OR {second.text})"
    return Condition(text, holds, first.joins | second.joins)


def opposite(inner):
    holds = null(lambda value: not value)
    return Condition(
        f"NOT ({inner.text})", lambda row: holds(inner.holds(row)), inner.joins
    )


conditions = st.recursive(
    st.one_of(comparisons(), memberships(), nulls(), ranges(), likes(), flags),
    lambda inner: st.one_of(
        st.builds(both, inner, inner),
        st.builds(either, inner, inner),
        st.builds(opposite, inner),
    ),
    max_leaves=6,
)


def naive(condition):
    return [
        row
        for row in rows()
        if condition.holds(row) is True
        # What a path leads through is joined, wherever it stands.
        and (row.sample is not None or "sample" not in condition.joins)
    ]


@settings(deadline=None, max_examples=200)
@given(conditions)
def test_where(ask, condition):
    found = ask(
        "SELECT o.name, o.investigation.name FROM Dataset o "
        f"WHERE {condition.text} ORDER BY o.id"
    )
    assert found == [(row.name, row.investigation) for row in naive(condition)]


@settings(deadline=None, max_examples=50)
@given(conditions)
def test_groups(ask, condition):
    expected = {}
    for row in naive(condition):
        count, size = expected.get(row.investigation, (0, None))
        if row.fileSize is not None:
            size = row.fileSize + (size or 0)
        expected[row.investigation] = (count + 1, size)
    found = ask(
        "SELECT o.investigation.name, COUNT(o), SUM(o.fileSize) FROM Dataset o "
        f"WHERE {condition.text} GROUP BY o.investigation.name "
        "ORDER BY o.investigation.name"
    )
    assert found == [(name, *expected[name]) for name in sorted(expected)]


@settings(deadline=None, max_examples=50)
@given(conditions, st.integers(0, 5), st.integers(1, 5))
def test_limits(ask, condition, skip, count):
    found = ask(
        f"SELECT o FROM Dataset o WHERE {condition.text} ORDER BY o.id DESC "
        f"LIMIT {skip}, {count} INCLUDE o.investigation, o.sample"
    )
    expected = list(reversed(naive(condition)))[skip : skip + count]
    assert len(found) == len(expected)
    for loaded, row in zip(found, expected, strict=True):
        assert (loaded.related["sample"] is None) is (row.sample is None)
        assert loaded.related["investigation"] is not None
