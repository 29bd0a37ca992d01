"""Whatever a file says: a draft or a rejection, never another exception."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.records import FieldValue, FileContent, Rejection
from icat_stream.schemas import load_schemas

from .conftest import WHEN, announced, content

ALL_OPERATORS = """
order: 1
selector: {any: [{nexus: /s, matches: x}, {message: metadata.a.b, contains: y}]}
variables:
  text: {nexus: /text, operators: [lower, upper, strip, dirname, stem, urlsafe]}
  cut: {nexus: /text, operators: [{extract: '(a)|b'}, {replace: {pattern: a}}]}
  list: {nexus: /list, type: "float[]", unit: K, operators: [mean]}
  sum: {nexus: /list, type: "integer[]", operators: [sum]}
  many: {nexus: /texts, type: "string[]", operators: [basename, {join: ;}, {split: x}]}
  item: {nexus: /texts, type: "string[]", operators: [{getitem: 1}, {to: float}]}
  mode: {nexus: /text, operators: [{map: {values: {a: b}}}]}
  time: {nexus: /time, type: datetime}
  old: {nexus: /old, operators: [{parse_time: "%d.%m.%Y"}]}
  flag: {nexus: /flag, type: boolean}
  link: {nexus: /link, type: link}
  mail: {nexus: /mail, type: email}
  hint: {message: metadata.a.b, type: float, unit: mm}
  number: {nexus: /number, type: integer}
dataset:
  investigation: {name: "p <text>", visit_id: <flag>}
  name: "n <number:08d>"
  description: "<time:%Y> <many>"
  start: <time>
  end: <old>
  techniques: <many>
parameters:
  - {name: a, units: degC, value: <list>, error: <list>}
  - {name: b, units: m, value: <hint>}
  - {name: c, value: <number>}
  - {name: d, value: <time>}
  - {name: e, value: "<mail> <link>", units: x}
  - {name: f, value: <item>}
  - {name: g, value: <sum>}
"""
RIGHT = {
    "/s": "x",
    "/text": "a/b/c",
    "/list": (1.0, 2.0),
    "/texts": ("b/seven", "8"),
    "/time": "2026-01-01T00:00:00Z",
    "/old": "01.02.2026",
    "/flag": True,
    "/link": "x://y",
    "/mail": "a@b.cd",
    "/number": 7,
}

texts = st.text(max_size=20) | st.sampled_from(
    ["2026-01-01T00:00:00Z", "01.02.2026", "a@b.cd", "x://y", "a/b/c", "7", "-1e308"]
)
scalars = texts | st.integers() | st.floats() | st.booleans()
values = scalars | st.lists(scalars, max_size=4).map(tuple)
units = st.none() | st.sampled_from(["K", "degC", "m", "mm", "rpm", "1/", "²"]) | texts
metadata = st.none() | st.sampled_from(
    ['{"a": {"b": 1e999}}', '{"a": {"b": [[]]}}', '{"a": {"b": "y"}}', "[", '{"a": 1}']
)


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "all.yaml").write_text(ALL_OPERATORS, encoding="utf-8")
    return load_schemas(folder).schemas[0]


def file_with(values):
    return FileContent(stat=content().stat, entries=("entry",), values=values)


def test_the_right_content_makes_a_draft(schema):
    right = {path: FieldValue(value=value) for path, value in RIGHT.items()}
    assert set(right) == schema.paths
    draft = schema.evaluate(announced(), file_with(right), record_time=WHEN)
    assert len(draft.parameters) == 6


@settings(max_examples=300, deadline=None)
@given(
    damaged=st.dictionaries(
        st.sampled_from(sorted(RIGHT)),
        st.none() | st.builds(FieldValue, value=values, units=units),
        max_size=2,
    ),
    metadata=metadata,
)
def test_damaged_content(schema, damaged, metadata):
    found = {path: FieldValue(value=value) for path, value in RIGHT.items()} | damaged
    file = file_with({path: value for path, value in found.items() if value})
    message = announced(metadata=metadata)
    assert schema.condition("/d/x.nxs", message, file) in (True, False)
    try:
        draft = schema.evaluate(message, file, record_time=WHEN)
    except Rejection as rejection:
        assert "schema all: " in rejection.reason  # noqa: PT017
        return
    assert draft.investigation
    assert draft.name
    for made in draft.parameters:
        assert made.value not in (None, "")
        for number in (made.value, made.error, made.range_bottom, made.range_top):
            assert not isinstance(number, float) or math.isfinite(number)
