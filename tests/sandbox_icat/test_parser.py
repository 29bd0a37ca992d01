"""The grammar, for any strings, names and numbers."""

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.sandbox.icat.errors import IcatError
from icat_stream.sandbox.icat.parser import parse
from icat_stream.sandbox.icat.syntax import Literal, Operation, Path, Search

pytestmark = pytest.mark.disable_socket

NAMES = st.from_regex(r"[a-z][A-Za-z0-9_]{0,9}", fullmatch=True)


def where(text):
    parsed = parse(f"SELECT o FROM Dataset o WHERE {text}")
    assert isinstance(parsed, Search)
    return parsed.query.where


@settings(deadline=None)
@given(st.text())
def test_quotes_are_doubled(value):
    quoted = value.replace("'", "''")
    assert where(f"o.name = '{quoted}'").operands[1] == Literal(value)


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=5))
def test_lists_of_strings(values):
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    assert where(f"o.name IN ({listed})") == Operation(
        "IN", (Path(("o", "name")), *(Literal(value) for value in values))
    )


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4))
def test_any_name_may_stand_in_a_path(names):
    assert where(f"o.{'.'.join(names)} IS NULL").operands[0] == Path(("o", *names))


@settings(deadline=None)
@given(st.integers(min_value=-(2**62), max_value=2**62))
def test_integers(number):
    assert where(f"o.id = {number}").operands[1] == Literal(number)


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_decimals(number):
    found = where(f"o.id = {number!r}").operands[1]
    assert found == Literal(number)


@settings(deadline=None)
@given(st.datetimes(min_value=dt.datetime(1000, 1, 1)))  # noqa: DTZ001
def test_timestamps(moment):
    moment = moment.replace(microsecond=0)
    found = where(f"o.startDate = {{ts {moment:%Y-%m-%d %H:%M:%S}}}").operands[1]
    assert found == Literal(moment)


@settings(deadline=None)
@given(st.text(alphabet="SELECT FROMdw.o=<>'\"()[]{},1 \n:-+*/", max_size=40))
def test_nonsense_is_refused_in_one_way(text):
    kind = "BAD_PARAMETER"
    try:
        parse(text)
    except IcatError as error:
        kind = error.kind
    assert kind == "BAD_PARAMETER"


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("o.a = 1 OR o.b = 2 AND o.c = 3", "(= OR (= AND =))"),
        ("(o.a = 1 OR o.b = 2) AND o.c = 3", "((= OR =) AND =)"),
        ("NOT o.a = 1 AND o.b = 2", "((NOT =) AND =)"),
        ("o.a BETWEEN 1 AND 2 AND o.b = 2", "(BETWEEN AND =)"),
        ("o.a = 1 AND o.b = 2 AND o.c = 3", "(= AND = AND =)"),
    ],
)
def test_precedence(text, shape):
    def show(operation):
        if operation.operator == "NOT":
            return f"(NOT {show(operation.operands[0])})"
        if operation.operator in ("AND", "OR"):
            return f"({f' {operation.operator} '.join(map(show, operation.operands))})"
        return operation.operator

    assert show(where(text)) == shape
