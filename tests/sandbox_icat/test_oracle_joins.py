"""Random queries with joins, sub-selects and groups over random small catalogues."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.sandbox.icat.service import Service, Settings

NAMES = ["a", "B", "it's", "a%", "a_b"]
SIZES = [None, 0, 1, 5]


@dataclass(eq=False)
class Thing:
    """A row: its attributes, and what it is related to."""

    name: str
    fileSize: int | None = None
    investigation: "Thing | None" = None
    sample: "Thing | None" = None
    datafiles: "list[Thing]" = field(default_factory=list)
    datasets: "list[Thing]" = field(default_factory=list)
    samples: "list[Thing]" = field(default_factory=list)
    id: int = 0


@st.composite
def catalogues(draw):
    investigations = []
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True)):
        investigation = Thing(name)
        names = draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True))
        investigation.samples = [Thing(n, investigation=investigation) for n in names]
        for inner in draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True)):
            dataset = Thing(inner, draw(st.sampled_from(SIZES)), investigation)
            dataset.sample = draw(st.sampled_from([None, *investigation.samples]))
            files = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
            dataset.datafiles = [Thing(f, draw(st.sampled_from(SIZES))) for f in files]
            investigation.datasets.append(dataset)
        investigations.append(investigation)
    return investigations


class Catalogue:
    """A server whose content is replaced by that of each example."""

    def __init__(self) -> None:
        self.service = Service(
            Settings(
                accounts={"simple": {"root": "x"}},
                roots=["simple/root"],
                match_case=True,
                # What a dataset states is compared with what its files do.
                file_totals=False,
            )
        )
        login = {"username": "root", "password": "x"}
        self.session = self.service.sessions.login("simple", login)
        facility = {"facility": {"id": self.write("Facility", name="F")}}
        self.type = {"id": self.write("DatasetType", name="t", **facility)}
        kind = {"id": self.write("InvestigationType", name="t", **facility)}
        self.inside = {**facility, "type": kind, "title": "t", "visitId": "1"}

    def write(self, entity: str, **fields: Any) -> int:
        text = json.dumps({entity: fields})
        return self.service.write_json(self.session, text)[0]

    def fill(self, investigations: list[Thing]) -> None:
        for old in self.search("SELECT i.id FROM Investigation i"):
            gone = json.dumps({"Investigation": {"id": old}})
            self.service.delete_json(self.session, gone)
        for one in investigations:
            one.id = self.write("Investigation", name=one.name, **self.inside)
            home = {"investigation": {"id": one.id}}
            for sample in one.samples:
                sample.id = self.write("Sample", name=sample.name, **home)
            for dataset in one.datasets:
                new: dict[str, Any] = {"name": dataset.name, "type": self.type, **home}
                new["fileSize"] = dataset.fileSize
                if dataset.sample:
                    new["sample"] = {"id": dataset.sample.id}
                dataset.id = self.write("Dataset", **new)
                for file in dataset.datafiles:
                    new = {"name": file.name, "dataset": {"id": dataset.id}}
                    file.id = self.write("Datafile", fileSize=file.fileSize, **new)

    def search(self, query: str) -> list[Any]:
        return self.service.search(self.session, query)


@pytest.fixture(scope="module")
def catalogue() -> Iterator[Catalogue]:
    made = Catalogue()
    yield made
    made.service.close()


# Queries: as text, and as functions of an environment that binds the variables

Environment = dict[str, Thing | None]


@dataclass(frozen=True)
class Part:
    """A piece of a query: its text, its value, and whether it goes by a sample."""

    text: str
    of: Callable[[Environment], Any]
    sampled: bool = False


def attribute(variable: str, name: str) -> Part:
    return Part(f"{variable}.{name}", lambda e: getattr(e[variable], name, None))


def by(relation: str) -> Part:
    def of(e: Environment) -> Any:
        return getattr(getattr(e["d"], relation), "name", None)

    return Part(f"d.{relation}.name", of, relation == "sample")


JOINS = {
    "i": ("d.investigation", lambda e: [e["d"].investigation]),
    "s": ("d.sample", lambda e: [e["d"].sample] if e["d"].sample else []),
    "f": ("d.datafiles", lambda e: e["d"].datafiles),
    # A step further, from what is joined already.
    "x": ("i.samples", lambda e: e["i"].samples if e["i"] else []),
    "y": ("s.investigation", lambda e: [e["s"].investigation] if e["s"] else []),
}


@dataclass(frozen=True)
class Source:
    text: str
    variables: tuple[str, ...]
    steps: tuple[tuple[str, bool], ...]

    def environments(self, investigations: list[Thing]) -> list[Environment]:
        found: list[Environment] = [
            {"d": d} for investigation in investigations for d in investigation.datasets
        ]
        for variable, outer in self.steps:
            follow = JOINS[variable][1]
            found = [
                {**e, variable: thing}
                for e in found
                for thing in follow(e) or ([None] if outer else [])
            ]
        return found


@st.composite
def sources(draw):
    chosen = [v for v in "isf" if draw(st.booleans())]
    if "i" in chosen and draw(st.booleans()):
        chosen.append("x")
    if "s" in chosen and draw(st.booleans()):
        chosen.append("y")
    steps = tuple((v, draw(st.booleans())) for v in chosen)
    text = "Dataset d" + "".join(
        f" {'LEFT ' * outer}JOIN {JOINS[v][0]} {v}" for v, outer in steps
    )
    return Source(text, ("d", *chosen), steps)


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
}


def known(function: Callable[..., Any], *values: Any) -> Any:
    return None if any(value is None for value in values) else function(*values)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def like(pattern: str) -> Callable[[str], bool]:
    expression = "".join(
        {"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in pattern
    )
    return lambda value: re.fullmatch(expression, value, re.DOTALL) is not None


def flip(negated: bool, value: bool | None) -> bool | None:
    return value if value is None else value is not negated


@st.composite
def predicates(draw, variables):
    texts = [attribute(v, "name") for v in variables]
    texts += [by("investigation"), by("sample")]
    sizes = [attribute(v, "fileSize") for v in variables if v in "df"]
    text, size = draw(st.sampled_from(texts)), draw(st.sampled_from(sizes))
    operator = draw(st.sampled_from(sorted(COMPARE)))
    compare = COMPARE[operator]
    no = draw(st.booleans())
    word = "NOT " * no
    name, number = draw(st.sampled_from(NAMES)), draw(st.integers(0, 5))
    other = draw(st.sampled_from(texts))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3))
    pattern = draw(st.sampled_from(["a%", "%'%", "_", "a_b", "%%", "B"]))

    def files(e: Environment) -> list[Thing]:
        return e["d"].datafiles

    def largest(e: Environment) -> int | None:
        return max(
            (f.fileSize for f in files(e) if f.fileSize is not None), default=None
        )

    choices = [
        Part(
            f"{text.text} {operator} {quoted(name)}",
            lambda e: known(compare, text.of(e), name),
            text.sampled,
        ),
        Part(
            f"{text.text} {operator} {other.text}",
            lambda e: known(compare, text.of(e), other.of(e)),
            text.sampled or other.sampled,
        ),
        Part(
            f"{size.text} {operator} {number}",
            lambda e: known(compare, size.of(e), number),
        ),
        Part(
            f"{text.text} {word}IN ({', '.join(map(quoted, names))})",
            lambda e: flip(no, known(lambda v: v in names, text.of(e))),
            text.sampled,
        ),
        Part(
            f"{size.text} {word}BETWEEN {number - 2} AND {number}",
            lambda e: flip(no, known(lambda v: number - 2 <= v <= number, size.of(e))),
        ),
        Part(
            f"{text.text} {word}LIKE {quoted(pattern)}",
            lambda e: flip(no, known(like(pattern), text.of(e))),
            text.sampled,
        ),
        Part(
            f"{size.text} IS {word}NULL",
            lambda e: flip(no, size.of(e) is None),
        ),
        Part(
            f"d.datafiles IS {word}EMPTY",
            lambda e: flip(no, not files(e)),
        ),
        Part(
            f"SIZE(d.datafiles) {operator} {number % 4}",
            lambda e: compare(len(files(e)), number % 4),
        ),
        Part(
            f"{word}EXISTS (SELECT g FROM Datafile g "
            f"WHERE g.dataset = d AND g.name = {quoted(name)})",
            lambda e: flip(no, any(f.name == name for f in files(e))),
        ),
        Part(
            f"d.id {word}IN (SELECT g.dataset.id FROM Datafile g "
            f"WHERE g.fileSize > {number})",
            lambda e: flip(
                no,
                any(f.fileSize is not None and f.fileSize > number for f in files(e)),
            ),
        ),
        Part(
            f"d.fileSize {operator} "
            "(SELECT MAX(g.fileSize) FROM Datafile g WHERE g.dataset = d)",
            lambda e: known(compare, e["d"].fileSize, largest(e)),
        ),
        Part(
            f"(SELECT COUNT(g) FROM Datafile g JOIN g.dataset h WHERE h.id = d.id) "
            f"{operator} {number % 4}",
            lambda e: compare(len(files(e)), number % 4),
        ),
    ]
    if {"f", "s", "i"} <= set(variables):
        choices.append(
            Part(
                "s MEMBER OF i.samples",
                lambda e: known(lambda s: s in e["i"].samples, e["s"]),
            )
        )
    return draw(st.sampled_from(choices))


def both(a: Part, b: Part) -> Part:
    def of(e: Environment) -> bool | None:
        values = (a.of(e), b.of(e))
        return False if False in values else None if None in values else True

    return Part(f"({a.text} AND {b.text})", of, a.sampled or b.sampled)


def either(a: Part, b: Part) -> Part:
    def of(e: Environment) -> bool | None:
        values = (a.of(e), b.of(e))
        return True if True in values else None if None in values else False

    return Part(f"({a.text} OR {b.text})", of, a.sampled or b.sampled)


def neither(a: Part) -> Part:
    return Part(f"NOT {a.text}", lambda e: known(lambda v: not v, a.of(e)), a.sampled)


@st.composite
def filtered(draw):
    """A FROM and a WHERE clause, and what they let through."""
    source = draw(sources())
    condition = draw(
        st.recursive(
            predicates(source.variables),
            lambda inner: st.one_of(
                st.builds(both, inner, inner),
                st.builds(either, inner, inner),
                st.builds(neither, inner.map(lambda p: both(p, p))),
            ),
            max_leaves=4,
        )
    )

    def rows(investigations: list[Thing]) -> list[Environment]:
        return [
            e
            for e in source.environments(investigations)
            if condition.of(e) is True
            # What a path goes through is joined, wherever it stands.
            and not (condition.sampled and e["d"].sample is None)
        ]

    return source, f"FROM {source.text} WHERE {condition.text}", rows


def id_of(thing: Thing | None) -> int | None:
    return thing.id if thing else None


def first_null(value: Any) -> tuple[bool, Any]:
    return value is not None, value


@settings(deadline=None, max_examples=80)
@given(catalogues(), st.data())
def test_rows(catalogue, investigations, data):
    catalogue.fill(investigations)
    source, clauses, rows = data.draw(filtered())
    selected = ", ".join(f"{v}.id, {v}.name" for v in source.variables)
    found = catalogue.search(f"SELECT {selected} {clauses}")
    expected = [
        tuple(
            value
            for v in source.variables
            for value in (id_of(e[v]), getattr(e[v], "name", None))
        )
        for e in rows(investigations)
    ]
    key = lambda row: [first_null(value) for value in row]  # noqa: E731
    assert sorted(found, key=key) == sorted(expected, key=key)


@settings(deadline=None, max_examples=40)
@given(catalogues(), st.data())
def test_order_limit_and_distinct(catalogue, investigations, data):
    catalogue.fill(investigations)
    _, clauses, rows = data.draw(filtered())
    descending = data.draw(st.booleans())
    skip, count = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 5))
    found = catalogue.search(
        f"SELECT DISTINCT d.investigation.name, d.id {clauses} ORDER BY "
        f"d.investigation.name {'DESC' if descending else 'ASC'}, d.id LIMIT "
        f"{skip}, {count}"
    )
    distinct = {(e["d"].investigation.name, e["d"].id) for e in rows(investigations)}
    expected = sorted(distinct, key=lambda row: row[1])
    expected.sort(key=lambda row: row[0], reverse=descending)
    assert found == expected[skip : skip + count]


@settings(deadline=None, max_examples=40)
@given(catalogues(), st.data())
def test_groups(catalogue, investigations, data):
    catalogue.fill(investigations)
    source, clauses, rows = data.draw(filtered())
    size = data.draw(st.sampled_from([v for v in source.variables if v in "df"]))
    least = data.draw(st.integers(0, 3))
    aggregates = f"COUNT({size}), COUNT(DISTINCT {size}.name), SUM({size}.fileSize), "
    aggregates += f"MIN({size}.fileSize), MAX({size}.name), AVG({size}.fileSize)"
    found = catalogue.search(
        f"SELECT d.name, {aggregates} {clauses} GROUP BY d.name "
        f"HAVING COUNT({size}) >= {least} ORDER BY d.name"
    )
    expected = []
    ordered = sorted(rows(investigations), key=lambda e: e["d"].name)
    for name, group in groupby(ordered, key=lambda e: e["d"].name):
        things = [e[size] for e in group if e[size] is not None]
        if len(things) < least:
            continue
        sizes = [t.fileSize for t in things if t.fileSize is not None]
        names = {t.name for t in things}
        expected.append(
            (
                name,
                len(things),
                len(names),
                sum(sizes) if sizes else None,
                min(sizes, default=None),
                max(names, default=None),
                sum(sizes) / len(sizes) if sizes else None,
            )
        )
    assert [tuple(row[:6]) for row in found] == [tuple(row[:6]) for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert row[6] == pytest.approx(other[6])


@settings(deadline=None, max_examples=25)
@given(catalogues(), st.data())
def test_includes(catalogue, investigations, data):
    catalogue.fill(investigations)
    _, clauses, rows = data.draw(filtered())
    found = catalogue.search(
        f"SELECT DISTINCT d {clauses} ORDER BY d.id "
        "INCLUDE d.datafiles, d.sample, d.investigation AS place, place.samples"
    )
    expected = {e["d"].id: e["d"] for e in rows(investigations)}
    assert [loaded.id for loaded in found] == sorted(expected)
    for loaded in found:
        thing, related = expected[loaded.id], loaded.related
        assert [file.id for file in related["datafiles"]] == [
            file.id for file in thing.datafiles
        ]
        assert id_of(related["sample"]) == id_of(thing.sample)
        assert related["investigation"].id == thing.investigation.id
        assert [s.id for s in related["investigation"].related["samples"]] == [
            s.id for s in thing.investigation.samples
        ]
