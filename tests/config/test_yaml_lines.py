"""YAML with its lines: what every reader of such files stands on."""

import os

import pytest

from icat_stream.config.yaml_lines import BadYaml, line_of, read_yaml


@pytest.fixture
def mistakes(tmp_path):
    def found(text, **options):
        file = tmp_path / "f.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(BadYaml) as caught:
            read_yaml(file, **options)
        return [(m.line, m.field, m.expected) for m in caught.value.mistakes]

    return found


def test_lines_of_keys_and_members(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("a: 1\nb:\n  - c: 2\n  -\n    d: {e: 3}\n")
    data, lines = read_yaml(file)
    assert data == {"a": 1, "b": [{"c": 2}, {"d": {"e": 3}}]}
    assert line_of(lines, ("a",)) == 1
    assert line_of(lines, ("b",)) == 2
    assert line_of(lines, ("b", "0", "c")) == 3
    assert line_of(lines, ("b", "1", "d", "e")) == 5
    assert line_of(lines, ("b", "1", "d", "absent", "too")) == 5
    assert line_of({}, ("a",)) is None


def test_an_empty_file_holds_nothing(tmp_path):
    (tmp_path / "f.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "f.yaml") == (None, {})


def test_every_key_given_twice_is_named(mistakes):
    assert mistakes("a: {b: 1, b: 2}\nc: 1\nc: 2\n") == [
        (1, "a.b", "is given twice, first in line 1"),
        (3, "c", "is given twice, first in line 2"),
    ]


def test_keys_that_are_no_text_only_where_they_may_be(mistakes, tmp_path):
    (tmp_path / "ok.yaml").write_text("on: {1: x}\n")
    assert read_yaml(tmp_path / "ok.yaml")[0] == {True: {1: "x"}}
    assert mistakes("a: 0\non: {1: x}\n'yes': {2: y}\n", text_keys=True) == [
        (2, "-", "expected a key that is text, in quotes if need be (found: on)"),
        (3, "yes", "expected a key that is text, in quotes if need be (found: 2)"),
    ]


def test_merged_keys_are_no_repetition(tmp_path):
    text = "x: &x {a: 1}\ny: &y {b: 2}\nz:\n  <<: *x\n  <<: *y\n"
    (tmp_path / "f.yaml").write_text(text)
    assert read_yaml(tmp_path / "f.yaml")[0]["z"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a {b: *a}\n", "nested too deeply, or in itself"),
        ("[" * 5000, "nested too deeply, or in itself"),
        (
            "a0: &a0 [x, x]\n"
            + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(40)),
            "nested too deeply, or in itself",
        ),
        ("a: [1\n", "is no YAML"),
        ("a: !!python/name:os.system x\n", "is no YAML"),
        ("a: b\n---\nc: d\n", "is no YAML"),
        ("? [1]\n: {}\n? {a: 1}\n: x\n", "is no YAML"),
        ("a: 2026-13-01\n", "a value is none, such as"),
        (b"a: \xff\n", "cannot be read"),
    ],
)
def test_what_is_none(mistakes, text, words):
    ((_, field, expected),) = mistakes(text)
    assert (field, words in expected) == ("-", True), expected


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BadYaml, match="cannot be read"):
        read_yaml(tmp_path / "f.yaml")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "number", ["1" + ":1" * 50_000, "9" * 50_000, "0x" + "f" * 50_000, "1." + "0" * 101]
)
def test_numbers_that_take_their_time(mistakes, number):
    expected = [(2, "a.b", "is a number of more than 100 digits")]
    assert mistakes(f"a:\n  b: {number}\n") == expected
    # In quotes it is text like any other.
    assert mistakes(f"a: '{number}'\nb: ]") != expected


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "f.yaml")
    with pytest.raises(BadYaml, match="is no regular file"):
        read_yaml(tmp_path / "f.yaml")
