"""JSON and XML from others, and what is refused of it."""

import contextlib
import json
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.messages import DocumentLimits, Undecodable, read_document

NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="￾￿"))
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)
SMALL = DocumentLimits(size=10_000, depth=5, elements=50)


@given(st.dictionaries(TEXTS, TREES))
def test_json_is_read_as_it_was_written(tree):
    document = read_document(json.dumps(tree).encode())
    assert (document.format, document.tree) == ("json", tree)


@given(
    st.dictionaries(
        NAMES,
        TEXTS.map(lambda t: " ".join(t.split())).filter(bool),
        min_size=1,
    )
)
def test_xml_is_read_as_it_was_written(members):
    inner = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in members.items())
    document = read_document(f'<d xmlns="urn:x">{inner}</d>'.encode())
    document.tree.pop("@xmlns")
    assert (document.format, document.root) == ("xml", "d")
    assert document.tree == members


@given(st.binary() | TREES.map(lambda t: json.dumps(t).encode()), st.data())
def test_anything_is_read_or_undecodable(value, data):
    start = data.draw(st.sampled_from([b"", b"{", b"[", b"<", b"<a>", b'{"a":']))
    cut = data.draw(st.integers(0, len(value)))
    # Anything else that is raised fails the test.
    with contextlib.suppress(Undecodable):
        read_document(start + value[:cut], SMALL)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"hello", "begins with b'h'"),
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": 1e-400}', "too near to zero"),
        (b'{"a": ' + b"9" * 5000 + b"}", "5000 digits"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": 1', "line 1, column 8"),
        (b'{"a": ' + b"[" * 6 + b"]" * 6 + b"}", "5 levels"),
        (b"[" * 20, "5 levels"),
        (b"[" + b"0," * 60 + b"0]", "50 elements"),
        (b"{" + b" " * 20_000 + b"}", "20002 bytes"),
        (b"<a><b></a>", "line 1, column 9"),
        (b"<a>" + b"<b>" * 6 + b"</b>" * 6 + b"</a>", "5 levels"),
        (b"<a>" + b"<b/>" * 60 + b"</a>", "50 elements"),
        (b"<a " + b" ".join(b"b%d='1'" % i for i in range(60)) + b"/>", "50 elements"),
        (b"<a:b/>", "unbound prefix"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "unknown encoding"),
        (b'<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>', "DTD"),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "DTD"),
        (b"<a>&b;</a>", "undefined entity"),
    ],
)
def test_refused(value, reason):
    with pytest.raises(Undecodable) as caught:
        read_document(value, SMALL)
    assert reason in str(caught.value)


def test_billion_laughs_is_refused_at_its_declaration():
    laughs = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha"}">' for n in range(9)
    )
    with pytest.raises(Undecodable, match="DTD"):
        read_document(f"<!DOCTYPE a [{laughs}]><a>&l8;</a>".encode())


def test_commas_and_brackets_in_texts_do_not_count():
    tree = {"a": ",[{" * 1000, "b": 'quoted "[[[[[["'}
    assert read_document(json.dumps(tree).encode(), SMALL).tree == tree


def test_namespaces_may_matter():
    value = (
        b'<dataset xmlns="urn:ours" xmlns:o="urn:other"><o:name>x</o:name></dataset>'
    )
    assert read_document(value).tree["name"] == "x"
    strict = read_document(value, namespaces=["urn:ours"])
    assert strict.root == "dataset"
    assert "name" not in strict.tree


def test_other_encodings():
    assert read_document('<a b="ä"/>'.encode("utf-16")).tree == {"@b": "ä"}
    value = '<?xml version="1.0" encoding="iso-8859-1"?><a><b>ä</b></a>'
    assert read_document(value.encode("latin-1")).tree == {"b": "ä"}
    assert read_document(b'\xef\xbb\xbf{"a": 1}').tree == {"a": 1}


def test_a_text_without_an_end_is_looked_at_once():
    # Looked at again from each of its quotes, this would take days.
    value = b'{"a": "' + b"[" * 40 + b'\\"' * 4_000_000
    with pytest.raises(Undecodable, match="Unterminated string"):
        read_document(value)


XML = b"""<?xml version="1.0" encoding="UTF-8"?><dataset xmlns="urn:x" complete="true">
<name>a</name><parameter><name>n</name><value>1</value></parameter></dataset>"""
JSON = b'{"name": "a", "parameters": [{"name": "n", "value": 1.5e3}], "c": true}'


@given(
    st.sampled_from([XML, JSON]),
    st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=4)), max_size=4),
)
def test_whatever_is_changed_in_it_it_is_read_or_undecodable(value, changes):
    for at, other in changes:
        value = value[:at] + other + value[at + len(other) :]
    with contextlib.suppress(Undecodable):
        read_document(value, SMALL)
