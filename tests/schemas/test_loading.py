"""Mistakes in schemas: found at validation, by file and line."""

from pathlib import Path

import pytest

from icat_stream.schemas import SchemaError, load_schemas

HEAD = """\
selector: {always: true}
variables:
  title: {nexus: /entry/title}
  temp: {nexus: /entry/t, type: float, unit: K}
  hint: {message: metadata.t, type: float}
  when: {nexus: /entry/start, type: datetime}
dataset: {investigation: p, name: n}
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    """Return the problems of one file, without its folder."""
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError) as caught:
        load_schemas(tmp_path)
    return [str(p).replace(f"{tmp_path}/", "") for p in caught.value.problems]


def with_variable(line: str) -> str:
    return HEAD.replace("dataset:", f"  x: {line}\ndataset:")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "{nexus: /a, typ: string}",
            "variables.x.typ: is no known key (found: 'string'); did you mean type?",
        ),
        (
            "{nexus: /a, type: strin}",
            "variables.x.type: expected one of string, integer, float, boolean, "
            "datetime, email, link, string[], integer[], float[]; did you mean "
            "string? (found: 'strin')",
        ),
        (
            "{nexus: /a, message: job_id}",
            "variables.x: expected exactly one of nexus, message, value, items",
        ),
        (
            "{type: string}",
            "variables.x: expected exactly one of nexus, message, value, items",
        ),
        (
            "{nexus: entry/title}",
            "variables.x.nexus: expected a path inside the file, such as "
            "/entry/title, {entry}/title, {entry}/{NXsample}/name or "
            "/entry/instrument/name@short_name (found: 'entry/title')",
        ),
        (
            "{nexus: [/a, /b/../c]}",
            "variables.x.nexus.1: expected a path inside the file, such as "
            "/entry/title, {entry}/title, {entry}/{NXsample}/name or "
            "/entry/instrument/name@short_name (found: '/b/../c')",
        ),
        (
            "{message: filename}",
            "variables.x.message: expected one of file_name, job_id, service_id, or "
            "metadata.<key> (found: 'filename')",
        ),
        (
            "{nexus: /a, type: float, unit: angstorm}",
            "variables.x.unit: is not a known unit (found: 'angstorm'); did you mean "
            "angstrom?",
        ),
        (
            "{nexus: /a, unit: K}",
            "variables.x.unit: is for numbers, but the type is string (found: 'K')",
        ),
        (
            "{value: <temp>, type: float, unit: m}",
            "variables.x.unit: 'K' cannot be converted to 'm' (found: 'm')",
        ),
        (
            "{nexus: /a/*/b}",
            "variables.x.type: a path with * gives a list: expected string[] and, for "
            "one value, an operator such as first",
        ),
        (
            "{nexus: /a, type: integer, default: x}",
            "variables.x.default: expected integer, found 'x' (found: 'x')",
        ),
        (
            "{value: x, type: integer}",
            "variables.x.value: expected integer, found 'x' (found: 'x')",
        ),
        (
            "{nexus: /a, required: true, default: x}",
            "variables.x: is required and has a default: expected one of the two",
        ),
        (
            "{nexus: /a, operators: [lowr]}",
            "variables.x.operators.0: lowr is no known operator, expected one of "
            "basename, count, dirname, extract, first, format_time, getitem, join, "
            "last, lower, map, max, mean, median, min, parse_time, replace, split, "
            "standard_deviation, stem, strip, sum, time_mean, to, upper, urlsafe, "
            "where; did you mean lower? (found: 'lowr')",
        ),
        (
            "{nexus: /a, operators: [{replace: {patern: a, pattern: b}}]}",
            "variables.x.operators.0.replace.patern: is no known key (found: 'a'); did "
            "you mean pattern?",
        ),
        (
            "{nexus: /a, operators: [{replace: {pattern: a, replacement: '\\2'}}]}",
            "variables.x.operators.0: replacement '\\\\2': \\2 is no group of the "
            "pattern, which has 0; a backslash itself is \\\\",
        ),
        (
            "{nexus: /a, operators: [{replace: {replacement: a}}]}",
            "variables.x.operators.0.replace.pattern: is required",
        ),
        (
            "{nexus: /a, operators: [{extract: '('}]}",
            "variables.x.operators.0.extract: is no regular expression: missing ), "
            "unterminated subpattern at position 0 (found: '(')",
        ),
        (
            "{nexus: /a, operators: [{sum: 3}]}",
            "variables.x.operators.0: sum takes no argument",
        ),
        (
            "{nexus: /a, operators: [mean]}",
            "variables.x.operators.0: mean works on a list, not on string (found: "
            "'mean')",
        ),
        (
            "{nexus: /a, operators: [split, sum]}",
            "variables.x.operators.1: sum works on numbers, not on string[] (found: "
            "'sum')",
        ),
        (
            "{nexus: /a, operators: [{parse_time: '%Q'}]}",
            "variables.x.operators.0: format '%Q': 'Q' is a bad directive in format "
            "'%Q'",
        ),
        (
            "{value: <when>, plus: <title>}",
            "variables.x.plus: datetime and string have no such result: expected two"
            " numbers, a datetime and a number, or minus between two datetimes (found:"
            " '<title>')",
        ),
        (
            "{nexus: /a, aligned: true}",
            "variables.x: aligned needs nexus beside it, with a * in each path",
        ),
        (
            "{nexus: '/a/{NXlog}/value', type: 'float[]',"
            " operators: [{time_mean: <temp>}]}",
            "variables.x.operators.0: time_mean: times needs numbers, found float",
        ),
        (
            "{nexus: '/a', type: 'float[]', operators: [{time_mean: <tmp>}]}",
            "variables.x.operators.0.time_mean.times: <tmp> is no known variable"
            " (found: '<tmp>'); did you mean <temp>?",
        ),
        (
            "{nexus: /a, type: 'float[]', operators:"
            " [{where: {beside: <title>, equals: a}}]}",
            "variables.x.operators.0: where needs a list, <title> is string",
        ),
        (
            "{nexus: /a, type: 'float[]', unit: degC, operators: [standard_deviation]}",
            "variables.x.unit: has no standard_deviation, since it depends on where"
            " zero is: expected K (found: 'degC')",
        ),
        (
            "{nexus: /a, type: float, file_unit: <temp>}",
            "variables.x.file_unit: expected one text, <temp> is float (found:"
            " '<temp>')",
        ),
        (
            "{value: 7, type: float, file_unit: <title>}",
            "variables.x: file_unit needs nexus beside it, and no ignore_file_unit",
        ),
        (
            "{items: '<title> and more'}",
            "variables.x.items: expected a <variable> in it that is a list (found:"
            " '<title> and more')",
        ),
        (
            "{value: <entry.name>}",
            "variables.x.value: <entry.name> is there with dataset.for_each: NXentry"
            " only (found: '<entry.name>')",
        ),
        (
            "{value: <when>, plus: <when>}",
            "variables.x.plus: datetime and datetime have no such result: expected two"
            " numbers, a datetime and a number, or minus between two datetimes (found:"
            " '<when>')",
        ),
        (
            "{value: <when>, plus: 5 s}",
            "variables.x.plus: expected nothing but one <variable> (found: '5 s')",
        ),
        (
            "{nexus: /a, type: datetime, unit: mm}",
            "variables.x.unit: expected a unit of the time since 1970, such as s or ns"
            " (found: 'mm')",
        ),
        (
            "{value: <titel>}",
            "variables.x.value: <titel> is no known variable (found: '<titel>'); did "
            "you mean <title>?",
        ),
        (
            "{value: a < b}",
            "variables.x.value: '< b' is no <variable>; write << for a < (found: "
            "'a < b')",
        ),
        (
            "{value: '<temp:%Y>'}",
            "variables.x.value: format '%Y' does not fit float: Invalid format "
            "specifier '%Y' for object of type 'float' (found: '<temp:%Y>')",
        ),
    ],
)
def test_variables(tmp_path, line, problem):
    assert problems(tmp_path, with_variable(line)) == [f"s.yaml:7: {problem}"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "encoding: latin1x",
            "encoding: expected an encoding of which ASCII is",
        ),
        ("encoding: utf-16", "encoding: expected an encoding of which ASCII is"),
        ("encoding: idna", "encoding: expected an encoding of which ASCII is"),
        ("member_order: letters", "member_order: input should be 'natural' or 'creat"),
    ],
)
def test_how_files_are_read(tmp_path, line, problem):
    (found,) = problems(tmp_path, f"{line}\n{HEAD}")
    assert found.startswith(f"s.yaml:1: {problem}")


@pytest.mark.parametrize("name", ["cp1252", "latin-1", "Shift_JIS", "koi8-r", "utf-8"])
def test_encodings_that_extend_ascii(tmp_path, name):
    (tmp_path / "s.yaml").write_text(f"encoding: {name}\n{HEAD}", encoding="utf-8")
    (schema,) = load_schemas(tmp_path).schemas
    assert {path.encoding for path in schema.paths} == {name}


def test_variables_are_made_from_the_top_down(tmp_path):
    text = HEAD.replace("  title:", "  x: {value: <title>}\n  title:")
    assert problems(tmp_path, text) == [
        "s.yaml:3: variables.x.value: <title> is defined further down (found: "
        "'<title>')"
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "{name: a, units: m, value: <temp>}",
            "units: 'K' cannot be converted to 'm', the unit of <temp> (found: 'm')",
        ),
        (
            "{name: a, units: angstorm, value: <temp>}",
            "units: is not a known unit; to use it all the same, give the variable "
            "the very same unit (found: 'angstorm'); did you mean angstrom?",
        ),
        (
            "{name: a, units: s, value: <hint>}",
            "value: <hint> has no unit: expected one at the variable (found: '<hint>')",
        ),
        (
            "{name: a, value: '<temp> K', value_type: NUMERIC}",
            "value: expected a number, or nothing but one <variable> (found: "
            "'<temp> K')",
        ),
        (
            "{name: a, value: <title>, value_type: NUMERIC}",
            "value: expected one number, <title> is string (found: '<title>')",
        ),
        (
            "{name: a, value: <title>, value_type: DATE_AND_TIME}",
            "value: DATE_AND_TIME needs one <variable> of type datetime, not string "
            "(found: '<title>')",
        ),
        (
            "{name: a, value: <title>, error: 3}",
            "error: is for numbers, not for STRING (found: 3)",
        ),
        (
            "{name: <title>, value: 3}",
            "name: string should match pattern '^[^<>]+$' (found: '<title>')",
        ),
        ("{name: a}", "value: is required"),
    ],
)
def test_parameters(tmp_path, line, problem):
    text = f"{HEAD}parameters:\n  - {line}\n"
    assert problems(tmp_path, text) == [f"s.yaml:9: parameters.0.{problem}"]


def test_a_parameter_is_there_once(tmp_path):
    same = "  - {name: a, units: K, value: <temp>}\n"
    assert problems(tmp_path, f"{HEAD}parameters:\n{same}{same}") == [
        "s.yaml:10: parameters.1.name: a [K] is there twice: as number 1 and 2 "
        "(found: 'a')"
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "name: n",
            "nam: n",
            "7: dataset.name: is required",
        ),
        (
            "name: n",
            "name: n, start: <title>",
            "7: dataset.start: expected nothing but one <variable> of type datetime, "
            "<title> is string (found: '<title>')",
        ),
        (
            "name: n",
            "name: n, instruments: [a, <x>]",
            "7: dataset.instruments.1: <x> is no known variable (found: '<x>')",
        ),
        (
            "{always: true}",
            "{path: name, equal: x}",
            "1: selector.equal: is no known key (found: 'x'); did you mean equals?",
        ),
        (
            "{always: true}",
            "{any: [{path: name}]}",
            "1: selector.any.0: expected one of equals, contains, starts_with, "
            "ends_with, matches, exists beside path",
        ),
        (
            "{always: true}",
            "{not: {path: name, matches: '['}}",
            "1: selector.not.matches: is no regular expression: unterminated "
            "character set at position 0 (found: '[')",
        ),
        (
            "{always: true}",
            "{always: true, path: name}",
            "1: selector: expected exactly one of all, any, not, always, nexus, "
            "message, path",
        ),
        (
            "selector:",
            "timezone: Mars/Base\nselector:",
            "1: timezone: expected a time zone such as UTC or Europe/Stockholm (found: "
            "'Mars/Base')",
        ),
        (
            "selector:",
            "order: 1\norder: 2\nselector:",
            "2: order: is given twice, first in line 1",
        ),
        (
            "selector:",
            "datafiles: {include_external_links: true, link_paths: /entry/data}\n"
            "selector:",
            "1: datafiles.link_paths: expected a * in the last component, such as "
            "/entry/data/*: what is no link there is then passed over (found: "
            "'/entry/data')",
        ),
        (
            "  title:",
            "  job_id:",
            "3: variables.job_id: is the name of a built-in variable",
        ),
    ],
)
def test_everything_else(tmp_path, old, new, problem):
    found = problems(tmp_path, HEAD.replace(old, new, 1))
    assert f"s.yaml:{problem}" in found


def test_all_problems_of_all_files_at_once(tmp_path):
    (tmp_path / "a.yaml").write_text("id: [x\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("", encoding="utf-8")
    (tmp_path / "c.yml").write_text("- a\n", encoding="utf-8")
    (tmp_path / "d.yaml").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "e.yaml").write_text("x: !!python/name:os.system\n", encoding="utf-8")
    (tmp_path / ".hidden.yaml").write_text("[", encoding="utf-8")
    (tmp_path / "readme.txt").write_text("[", encoding="utf-8")
    found = problems(tmp_path, "{}")
    assert [p.split(": ")[0] for p in found] == [
        "a.yaml:2",
        "b.yaml",
        "c.yml:1",
        "d.yaml",
        "e.yaml:1",
        "s.yaml:1",
        "s.yaml:1",
    ]


def test_a_folder_that_is_not_there_or_empty(tmp_path):
    with pytest.raises(SchemaError, match="nowhere: -: cannot be read: No such file"):
        load_schemas(tmp_path / "nowhere")
    with pytest.raises(SchemaError, match=r"holds no schema, expected \*.yaml"):
        load_schemas(tmp_path)


def test_ids_are_unique(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("id: same\n" + HEAD, encoding="utf-8")
    with pytest.raises(SchemaError) as caught:
        load_schemas(tmp_path)
    (problem,) = caught.value.problems
    assert str(problem) == (
        f"{tmp_path}/b.yaml: id: is the id of {tmp_path}/a.yaml as well (found: 'same')"
    )


def test_a_parameter_type_has_one_kind_of_value(tmp_path):
    for name, value in (("a", "1"), ("b", "one")):
        (tmp_path / f"{name}.yaml").write_text(
            f"{HEAD}parameters: [{{name: p, value: {value}}}]\n", encoding="utf-8"
        )
    with pytest.raises(SchemaError) as caught:
        load_schemas(tmp_path)
    (problem,) = caught.value.problems
    assert str(problem) == (
        f"{tmp_path}/b.yaml: parameters.p: is STRING here, but NUMERIC in schema a: a "
        "parameter type has one kind of value"
    )
