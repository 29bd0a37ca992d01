"""Text of others on its way to a terminal."""

import json

from hypothesis import given
from hypothesis import strategies as st

from icat_stream.records import json_line


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_json_is_printable_and_says_the_same(value):
    line = json_line(value)
    assert line.isprintable()
    assert json.loads(line) == value


def test_json_keeps_what_is_seen():
    line = json_line({"name": "ü\x9b2J\u202e\u2028\U000e0001\udc80"})
    assert line == ('{"name":"ü\\u009b2J\\u202e\\u2028\\udb40\\udc01\\udc80"}')
