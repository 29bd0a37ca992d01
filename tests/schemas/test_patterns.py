"""Regular expressions: what Python's find, in a time that no text can stretch."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.schemas import Draft, SchemaError, SchemaSet
from icat_stream.schemas.patterns import Pattern, UnfitPattern

# Sixty letters and what fits nothing: half an age of the universe to look for.
HOSTILE = "a" * 60 + "!"

_ATOMS = st.sampled_from(
    r"\w \W \s \S \d \D . a é _ 4 \. \u00e9 [\w.] [^\s] [\S\n] [a-f\d] []x] [^]x] [[x]"
    r" (?:a|é) (?i:A) (a|\d+) (?P<named>x?) \n [^\D] $^".split()
)
_REPEATS = st.sampled_from(["", "", "", "?", "*", "+", "*?", "{2}", "{,2}", "{1,3}"])
_PATTERNS = st.lists(
    st.tuples(_ATOMS, _REPEATS).map(
        # Which group a part takes that has matched nothing often is nobody's promise.
        lambda part: part[0] if part[0].startswith("(") else "".join(part)
    ),
    min_size=1,
    max_size=5,
).map(
    lambda parts: re.sub(r"(\(\?P<named>x\?\).*)\(\?P<named>", r"\1(?:", "".join(parts))
)
_TEXTS = st.text("aAéÉx_4٤.[]: \n\t\x85\u2003ßK", max_size=12)


def _usable(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


@pytest.mark.filterwarnings("ignore::FutureWarning")
@given(_PATTERNS.filter(_usable), _TEXTS.map(str.strip))
def test_python_finds_the_same(pattern: str, text: str) -> None:
    pattern = f"^{pattern}" if len(pattern) % 3 else pattern
    theirs = re.compile(pattern)
    found = theirs.search(text)
    ours = Pattern(pattern)
    assert ours.matches(text) == (found is not None)
    expected = found and found[1 if theirs.groups else 0]
    assert ours.extracted(text) == expected


@given(st.sampled_from([r"\s+", r"(a)(x?)", "[^a-z]", "x*", r"(?P<n>\w)", "$"]), _TEXTS)
def test_python_replaces_the_same(pattern: str, text: str) -> None:
    text = text.strip()
    theirs = re.compile(pattern)
    replacement = {0: r"-ü\\", 1: r"<\1>", 2: r"\2\g<1>"}[theirs.groups]
    assert Pattern(pattern).replacer(replacement)(text) == theirs.sub(replacement, text)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(\w+\s?)+$",
        "^(a|a)*$",
        "(a*)*b",
        "(.*)(.*)(.*)(.*)=$",
        r"^(([a-z])+.)+[A-Z]$",
    ],
)
def test_a_hostile_text_takes_no_time(pattern: str) -> None:
    assert not Pattern(pattern).matches(HOSTILE * 100 + "\n")
    assert Pattern(pattern).extracted(HOSTILE) is None
    assert Pattern(pattern).replacer("")(HOSTILE) == HOSTILE


def test_a_hostile_name_is_nobodys_and_holds_nothing_up(
    schemas: Callable[..., SchemaSet],
) -> None:
    chosen = schemas(
        r"""
        selector: {path: stem, matches: '^(\w+\s?)+$'}
        dataset: {investigation: p, name: n}
        """
    )
    assert chosen.paths(f"/data/{HOSTILE}.nxs", None) == frozenset()
    assert list(chosen._candidates("/data/run 7.nxs", None))


def test_a_hostile_value_has_no_match(evaluate: Callable[..., Draft]) -> None:
    draft = evaluate(
        r"""
        variables:
          title: {nexus: /t, operators: [{extract: '^((\w+\s?)+)$'}]}
        dataset: {investigation: p, name: n, description: '<title>'}
        """,
        {"/t": HOSTILE},
    )
    assert draft.description is None


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)b", "look-around"),
        ("(?<!a)b", "look-around"),
        (r"(a)\1", "back-references"),
        ("(?P<n>a)(?P=n)", "back-references"),
        ("a++", "possessive"),
        ("(?>a)", "look-around"),
        ("(a)(?(1)b|c)", "conditional"),
        ("(?x)a b", "flags a, u, x"),
        ("(?a)x", "flags a, u, x"),
        ("a(?#why)", "comments"),
        ("a{1001}", "repetition size"),
        (r"[\W_]", r"\W inside [ ]"),
        ("(a{500}){500}", "not to be had"),
    ],
)
def test_what_is_not_to_be_had_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(UnfitPattern) as caught:
        Pattern(pattern)
    assert reason in str(caught.value)


def test_the_validator_names_the_place(schemas: Callable[..., SchemaSet]) -> None:
    with pytest.raises(SchemaError) as caught:
        schemas(
            """
            selector: {path: name, matches: [a, '(?=b)']}
            variables:
              x: {nexus: /a, operators: [{extract: '(a)\\1'}]}
            dataset: {investigation: p, name: n}
            """
        )
    assert [problem.field for problem in caught.value.problems] == [
        "selector.matches.1",
        "variables.x.operators.0.extract",
    ]


@pytest.mark.parametrize("replacement", [r"\2", r"\g<n>", r"\q", "\\"])
def test_a_replacement_that_stands_for_nothing(replacement: str) -> None:
    with pytest.raises(UnfitPattern, match="is no group"):
        Pattern("(a)").replacer(replacement)


def test_texts_too_long_to_replace_in() -> None:
    with pytest.raises(ValueError, match="up to 65,536 characters, found 70,000"):
        Pattern("a").replacer("b")("a" * 70_000)


def test_half_characters_are_no_text() -> None:
    assert not Pattern("^a$").matches("a\udc80")
    with pytest.raises(ValueError, match="half characters"):
        Pattern("a").extracted("a\udc80")
