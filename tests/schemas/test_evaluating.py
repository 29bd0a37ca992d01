"""What a schema makes of a message and a file."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import h5py
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icat_stream.nexus import NexusReader
from icat_stream.records import FieldValue, Rejection, ValueType

from .conftest import WHEN, announced, content

SELECTED = """
        selector: {always: true}
        dataset: {investigation: p, name: n}
        """


def variable(text: str) -> str:
    """A schema with one variable, shown as the dataset's description."""
    return f"""
        variables:
          x: {text}
        dataset: {{investigation: p, name: n, description: <x>}}
        """


def parameter(variable: str, parameter: str) -> str:
    return f"""
        variables:
          x: {variable}
        parameters:
          - {{name: p, value: <x>, {parameter}}}
        """


class TestSources:
    def test_a_value_of_the_file(self, evaluate):
        text = variable("{nexus: /entry/title}")
        assert evaluate(text, {"/entry/title": " A title "}).description == "A title"

    def test_the_first_path_that_says_something(self, evaluate):
        text = variable("{nexus: [/entry/a, '/entry/b@c', /entry/d]}")
        found = evaluate(text, {"/entry/a": "", "/entry/b@c": "B", "/entry/d": "D"})
        assert found.description == "B"

    def test_the_default_entry(self, evaluate):
        text = variable("{nexus: '{entry}/title'}")
        assert evaluate(text, {"/{entry}/title": "T"}).description == "T"

    def test_a_field_of_the_message(self, evaluate):
        text = variable("{message: file_name}")
        assert evaluate(text).description == "/data/run_7.nxs"

    @pytest.mark.parametrize(
        ("metadata", "expected"),
        [
            ('{"a": {"b": "found"}}', "found"),
            ('{"a": {"b": [1, 2]}}', None),
            ('{"a": "text"}', None),
            ("no json", None),
            (None, None),
        ],
    )
    def test_metadata_of_the_message(self, evaluate, metadata, expected):
        text = variable("{message: metadata.a.b}")
        message = announced(metadata=metadata)
        if metadata and "[" in metadata:
            with pytest.raises(Rejection, match=r"message.metadata.a.b.*2 values"):
                evaluate(text, message=message)
        else:
            assert evaluate(text, message=message).description == expected

    def test_a_file_without_a_message(self, schemas):
        (schema,) = schemas(
            """
            selector: {always: true}
            variables: {x: {message: file_name, default: none}}
            dataset: {investigation: p, name: n, description: <x>}
            """
        ).schemas
        draft = schema.evaluate(None, content(), record_time=WHEN)
        assert draft.description == "none"

    def test_constants(self, evaluate):
        assert evaluate(variable("{value: 5}")).description == "5"
        assert evaluate(variable("{value: true}")).description == "true"
        assert evaluate(variable("{value: 007}")).description == "007"
        assert evaluate(variable("{value: no}")).description == "no"

    def test_templates_of_earlier_variables(self, evaluate):
        draft = evaluate(
            """
            variables:
              run: {nexus: /entry/run, type: integer}
              start: {nexus: /entry/start, type: datetime}
              label: {value: "<run:06d>/<start:%Y> << <file.stem>"}
            dataset: {investigation: p, name: <label>}
            """,
            {"/entry/run": 42, "/entry/start": "2026-01-02T03:04:05Z"},
        )
        assert draft.name == "000042/2026 < run_7"

    def test_built_in_variables(self, evaluate):
        draft = evaluate(
            """
            variables:
              all:
                value: "<file.name> <file.stem> <file.folder> <file.path> <job_id>
                  <service_id> <schema.id>"
            dataset:
              investigation: p
              name: <all>
              start: <file.modified>
              end: <record.time>
            """
        )
        assert draft.name == (
            "run_7.nxs run_7 /data/2026 /data/2026/run_7.nxs job-1 writer-1 s0"
        )
        assert draft.start == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        assert draft.end == WHEN

    def test_no_value_no_field(self, evaluate):
        draft = evaluate(
            """
            variables: {x: {nexus: /entry/x}}
            dataset: {investigation: p, name: n, description: "about <x>"}
            parameters: [{name: a, value: <x>}, {name: b, value: "x is <x>"}]
            """
        )
        assert draft.description is None
        assert draft.parameters == ()

    def test_a_default_is_for_no_value(self, evaluate):
        text = variable("{nexus: /entry/x, type: integer, default: 3}")
        assert evaluate(text).description == "3"
        assert evaluate(text, {"/entry/x": 4}).description == "4"


class TestTheFirstOfSeveralPathsThatSaysSomething:
    TEXT = parameter(
        "{nexus: [/e/v, /e/w, /e/v/value], type: float, unit: K}", "units: K"
    )

    @pytest.mark.parametrize("nothing", [math.nan, "", " ", "NaN", (), (1.0, 2.0)])
    def test_what_says_nothing_or_has_another_shape_is_passed_over(
        self, evaluate, nothing
    ):
        (made,) = evaluate(self.TEXT, {"/e/v": nothing, "/e/w": 300.0}).parameters
        assert made.value == 300.0
        assert made.source == "/e/w (variable x)"

    def test_several_values_with_no_other_path_are_an_error(self, evaluate):
        with pytest.raises(Rejection, match="expected one float, found 2 values"):
            evaluate(self.TEXT, {"/e/v": (1.0, 2.0)})

    def test_a_value_of_another_type_is_an_error_at_once(self, evaluate):
        with pytest.raises(Rejection, match="expected float, found 'six'"):
            evaluate(self.TEXT, {"/e/v": "six", "/e/w": 300.0})

    @pytest.mark.enable_socket
    def test_a_group_is_passed_over(self, schemas, tmp_path):
        path = tmp_path / "f.nxs"
        with h5py.File(path, "w") as file:
            file["e/v/value"] = 300.0
        path.chmod(0o444)
        (schema,) = schemas(self.TEXT + SELECTED).schemas
        with NexusReader([tmp_path], workers=1) as reader:
            found = reader.read(str(path), schema.paths)
        (made,) = schema.evaluate(None, found, record_time=WHEN).parameters
        assert made.value == 300.0


class TestListsWithGaps:
    def test_every_item_keeps_its_place(self, evaluate):
        text = "{nexus: /e/x, type: 'float[]', operators: [%s]}"
        values = {"/e/x": (math.nan, 2.0, 3.0)}
        for operators, expected in (
            ("{getitem: 1}", "2.0"),
            ("last", "3.0"),
            ("first", None),
            ("count", "3"),
            ("join", "NaN 2.0 3.0"),
        ):
            draft = evaluate(variable(text % operators), values)
            assert draft.description == expected
            assert draft.notes == ()

    @pytest.mark.parametrize(
        ("operator", "expected"),
        [("sum", "5.0"), ("mean", "2.5"), ("min", "2.0"), ("max", "3.0")],
    )
    def test_one_value_of_those_there_are_with_a_note(
        self, evaluate, operator, expected
    ):
        text = f"{{nexus: /e/x, type: 'float[]', operators: [{operator}]}}"
        draft = evaluate(variable(text), {"/e/x": (math.nan, 2.0, 3.0)})
        assert draft.description == expected
        assert draft.notes == (
            "variable x: 1 of 3 values say nothing (not a number, or blank);"
            f" {operator} is of the others",
        )

    def test_what_an_operator_makes_nothing_of_keeps_its_place(self, evaluate):
        text = "{nexus: /e/x, type: 'string[]', operators: [{extract: '[0-9]+'}, %s]}"
        values = {"/e/x": ("a", "b7")}
        assert evaluate(variable(text % "last"), values).description == "7"
        assert evaluate(variable(text % "first"), values).description is None

    def test_a_list_of_nothing_is_no_value(self, evaluate):
        text = "{nexus: [/e/x, /e/y], type: 'float[]', operators: [mean], default: -1}"
        nothing = (math.nan, math.nan)
        assert evaluate(variable(text), {"/e/x": nothing}).description == "-1.0"
        values = {"/e/x": nothing, "/e/y": (4.0,)}
        assert evaluate(variable(text), values).description == "4.0"
        with pytest.raises(Rejection, match=r"is required but .* no value in \[nan"):
            evaluate(
                variable("{nexus: /e/x, type: 'float[]', required: true}"),
                {"/e/x": nothing},
            )


def places(*parts: tuple[float, str | None]) -> dict[str, FieldValue]:
    """Give what a reader finds at /e/d_* where units differ."""
    return {
        "/e/d_*": FieldValue(
            value=tuple(value for value, _ in parts),
            parts=tuple(
                (f"/e/d_{number}", FieldValue(value=value, units=units))
                for number, (value, units) in enumerate(parts, 1)
            ),
        )
    }


class TestUnitsThatDifferUnderAWildcard:
    def made(self, evaluate, variable, *parts):
        found = evaluate(
            parameter(f"{{nexus: /e/d_*, {variable}}}", "units: m"), places(*parts)
        )
        (parameter_made,) = found.parameters
        return parameter_made.value

    @pytest.mark.parametrize("unit", ["", "unit: m, ", "unit: mm, ", "unit: inch, "])
    def test_each_is_converted(self, evaluate, unit):
        variable = unit + "type: 'float[]', operators: [sum]"
        for parts in (
            [(2.0, "m"), (500.0, "mm")],
            [(2000.0, "mm"), (500.0, "millimetre")],
            [(200.0, "cm"), (500.0, "mm")],
        ):
            made = self.made(evaluate, variable, *parts)
            assert made == pytest.approx(2.5, rel=1e-14)

    def test_each_of_whole_numbers(self, evaluate):
        variable = "unit: mm, type: 'integer[]', operators: [sum]"
        assert self.made(evaluate, variable, (2, "m"), (500, "mm")) == 2.5
        with pytest.raises(Rejection, match="2 um is no integer in mm"):
            self.made(evaluate, variable, (2, "m"), (2, "um"))

    def test_what_cannot_be_converted_names_the_place(self, evaluate):
        parts = (2.0, "m"), (3.0, "K")
        with pytest.raises(
            Rejection, match="/e/d_2 is in 'K', expected 'm' as at /e/d_1"
        ):
            self.made(evaluate, "type: 'float[]', operators: [max]", *parts)
        with pytest.raises(Rejection, match="/e/d_2 is in 'K', expected 'mm'"):
            self.made(evaluate, "unit: mm, type: 'float[]', operators: [max]", *parts)

    def test_one_without_a_unit_has_the_one_that_all_others_have(self, evaluate):
        variable = "unit: m, type: 'float[]', operators: [max]"
        assert self.made(evaluate, variable, (2.0, "m"), (5.0, None)) == 5.0
        assert self.made(evaluate, variable, (2.0, "metre"), (5.0, None)) == 5.0
        with pytest.raises(
            Rejection, match="/e/d_2 names no unit, and /e/d_1 is in 'mm'"
        ):
            self.made(evaluate, variable, (2.0, "mm"), (5.0, None))

    def test_units_that_are_known_to_be_wrong(self, evaluate):
        variable = "unit: m, ignore_file_unit: true, type: 'float[]', operators: [max]"
        assert self.made(evaluate, variable, (2.0, "mm"), (5.0, "K")) == 5.0

    def test_to_count_them_takes_no_unit(self, evaluate):
        text = variable("{nexus: /e/d_*, type: 'float[]', operators: [count]}")
        found = evaluate(text, places((2.0, "mm"), (5.0, "K"), (1.0, None)))
        assert found.description == "3"

    @settings(
        max_examples=50,
        deadline=None,
    )
    @given(
        st.lists(
            st.tuples(
                st.floats(-1e6, 1e6),
                st.sampled_from([("m", "1"), ("mm", "0.001"), ("um", "1e-6")]),
            ),
            min_size=2,
            max_size=5,
        )
    )
    def test_any_mixture_gives_the_greatest(self, evaluate, mixture):
        parts = [(value, unit) for value, (unit, _) in mixture]
        expected = max(float(Fraction(repr(v)) * Fraction(f)) for v, (_, f) in mixture)
        variable = "unit: m, type: 'float[]', operators: [max]"
        try:
            assert self.made(evaluate, variable, *parts) == expected
        except Rejection as rejection:
            assert "too small" in rejection.reason  # noqa: PT017 - 5e-324 um


class TestTimes:
    TEXT = """
        variables:
          start: {nexus: /e/start, type: datetime}
          end: {nexus: /e/end, type: datetime}
        dataset: {investigation: p, name: n, start: <start>, end: <end>}
        """

    def test_an_end_before_its_start_is_refused(self, evaluate):
        times = {"/e/start": "2026-01-02T10:00:00Z", "/e/end": "2026-01-02T09:59:59Z"}
        with pytest.raises(
            Rejection, match=r"dataset.end \(/e/end .* is before the start .*/e/start"
        ):
            evaluate(self.TEXT, times)

    def test_an_end_at_its_start_is_none_before_it(self, evaluate):
        times = {
            "/e/start": "2026-01-02T10:00:00Z",
            "/e/end": "2026-01-02T12:00:00+02:00",
        }
        draft = evaluate(self.TEXT, times)
        assert draft.start == draft.end


class TestTimesThatAreNumbers:
    when = datetime(2026, 3, 2, 8, 0, 5, 250_000, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("value", "declared"),
        [
            ([1772438405.25, "s"], ""),
            ([1772438405250, "ms"], ""),
            ([1772438405250000000, "nanoseconds"], ""),
            (1772438405.25, ", unit: s"),
            ([1772438405250, "s"], ", unit: ms, ignore_file_unit: true"),
            ([5.25, "seconds since 2026-03-02T08:00:00"], ""),
            ([5250, "ms since 2026-03-02 09:00:00+01:00"], ", unit: s"),
        ],
    )
    def test_since_1970_or_another_moment(self, evaluate, value, declared):
        text = parameter(f"{{nexus: /e/t, type: datetime{declared}}}", "")
        (made,) = evaluate(text.replace(", }", "}"), {"/e/t": value}).parameters
        assert made.value == self.when
        assert made.value_type is ValueType.DATE_AND_TIME

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            (1772438405.25, "give the variable unit: s"),
            ([5.0, "mm"], "'mm' cannot be converted"),
            ([5.0, "s since noon"], "expected datetime, found 'noon'"),
            ([1e30, "s"], "outside the years 1 to 9999"),
            ([-1e12, "s"], "outside the years 1 to 9999"),
        ],
    )
    def test_that_are_none(self, evaluate, value, why):
        text = parameter("{nexus: /e/t, type: datetime}", "").replace(", }", "}")
        with pytest.raises(Rejection, match=why):
            evaluate(text, {"/e/t": value})

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("PT5M", 300.0),
            ("P1DT1H1M1.5S", 90061.5),
            (["PT0.25S", "ISO8601"], 0.25),
        ],
    )
    def test_durations_as_text(self, evaluate, value, seconds):
        text = parameter("{nexus: /e/t, type: float}", "units: s")
        (made,) = evaluate(text, {"/e/t": value}).parameters
        assert made.value == seconds
        text = parameter("{nexus: /e/t, type: float, unit: min}", "units: min")
        (made,) = evaluate(text, {"/e/t": value}).parameters
        assert made.value == pytest.approx(seconds / 60)

    @pytest.mark.parametrize("value", ["P1M", "P1Y", "P", "PT", "P1DT", "5 minutes"])
    def test_what_has_no_length_of_its_own(self, evaluate, value):
        text = parameter("{nexus: /e/t, type: float, unit: s}", "units: s")
        with pytest.raises(Rejection, match="expected float, found"):
            evaluate(text, {"/e/t": value})


class TestSumsAndDifferences:
    TEXT = """
        variables:
          start: {nexus: /e/start, type: datetime}
          length: {nexus: /e/length, type: float}
          before: {nexus: /e/before, type: datetime}
          x: %s
        dataset: {investigation: p, name: n, description: <x>}
        parameters: [{name: p, value: <x>, units: "%s"}]
        """
    VALUES = {
        "/e/start": "2026-03-02T08:00:00Z",
        "/e/before": "2026-03-02T07:58:30Z",
        "/e/length": [1.5, "min"],
        "/e/d": [2.0, "m"],
        "/e/t": [20.0, "degC"],
    }

    def made(self, evaluate, variable, units="", **changes):
        values = self.VALUES | changes
        return evaluate(self.TEXT % (variable, units), values).parameters

    def test_a_time_and_a_duration(self, evaluate):
        (end,) = self.made(evaluate, "{value: <start>, plus: <length>}")
        assert end.value == datetime(2026, 3, 2, 8, 1, 30, tzinfo=UTC)
        assert end.value_type is ValueType.DATE_AND_TIME
        (begin,) = self.made(evaluate, "{value: <start>, minus: <length>}")
        assert begin.value == datetime(2026, 3, 2, 7, 58, 30, tzinfo=UTC)

    def test_between_two_times(self, evaluate):
        variable = "{value: <start>, minus: <before>}"
        (length,) = self.made(evaluate, variable, "min")
        assert length.value == 1.5
        (length,) = self.made(evaluate, variable, "s")
        assert length.value == 90.0

    def test_numbers_in_the_unit_of_the_first(self, evaluate):
        variable = "{nexus: /e/d, type: float, plus: <offset>}"
        text = self.TEXT.replace(
            "x: %s", "offset: {value: 5, unit: mm}\n          x: %s"
        )
        (made,) = evaluate(text % (variable, "mm"), self.VALUES).parameters
        assert made.value == 2005.0

    @pytest.mark.parametrize("sign", ["plus", "minus"])
    @pytest.mark.parametrize("unit", ["degC", "°F", "degree_Celsius"])
    def test_a_temperature_may_be_a_difference(self, evaluate, sign, unit):
        other = "other: {nexus: /e/o, type: float}"
        text = self.TEXT.replace("x: %s", f"{other}\n          x: %s")
        variable = f"{{nexus: /e/t, type: float, {sign}: <other>}}"
        with pytest.raises(Rejection, match="a temperature or a difference"):
            evaluate(text % (variable, "K"), self.VALUES | {"/e/o": [5.0, unit]})
        text = text.replace(other, other.replace("float", "float, unit: K"))
        (made,) = evaluate(
            text % ("{nexus: /e/t, type: float, unit: K, minus: <other>}", "K"),
            self.VALUES | {"/e/o": [5.0, "degC"]},
        ).parameters
        assert made.value == 15.0

    @pytest.mark.parametrize("unit", ["degC", "°F", "degree_Celsius"])
    def test_a_sum_of_temperatures_depends_on_zero(self, evaluate, unit):
        temperatures = {"/e/ts": [(10.0, 20.0), unit]}
        with pytest.raises(Rejection, match=r"/e/ts.*sum of temperatures in"):
            self.made(
                evaluate,
                "{nexus: /e/ts, type: 'float[]', operators: [sum]}",
                "K",
                **temperatures,
            )
        (made,) = self.made(
            evaluate,
            "{nexus: /e/ts, type: 'float[]', unit: K, operators: [sum]}",
            "K",
            **{"/e/ts": [(10.0, 20.0), "degC"]},
        )
        assert made.value == 576.3
        (made,) = self.made(
            evaluate,
            "{nexus: /e/ts, type: 'float[]', operators: [mean]}",
            "K",
            **{"/e/ts": [(10.0, 20.0), "degC"]},
        )
        assert made.value == 288.15

    def test_a_difference_knows_no_zero_point(self, evaluate):
        variable = "{nexus: /e/t, type: float, plus: <step>}"
        step = "step: {value: 5, unit: K}"
        text = self.TEXT.replace("x: %s", f"{step}\n          x: %s")
        (made,) = evaluate(text % (variable, "degC"), self.VALUES).parameters
        assert made.value == 25.0

    def test_whole_numbers_stay_whole(self, evaluate):
        offset = "offset: {nexus: /e/n, type: integer}"
        text = self.TEXT.replace("x: %s", f"{offset}\n          x: %s")
        variable = "{nexus: /e/m, type: integer, plus: <offset>}"
        values = {"/e/m": [2, "m"], "/e/n": [5000, "mm"]}
        assert evaluate(text % (variable, "m"), values).description == "7"
        with pytest.raises(Rejection, match="2 m and 5 mm make no integer in m"):
            evaluate(text % (variable, "m"), values | {"/e/n": [5, "mm"]})

    def test_without_the_other_there_is_none(self, evaluate):
        variable = "{value: <start>, plus: <length>}"
        values = {"/e/start": self.VALUES["/e/start"]}
        assert evaluate(self.TEXT % (variable, ""), values).parameters == ()

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"/e/length": 90.0}, "<length> 90.0 has no unit, expected one that conv"),
            ({"/e/length": [1.5, "m"]}, "<length>: 'm' cannot be converted to 's'"),
            ({"/e/length": [1e12, "s"]}, "a time outside the years 1 to 9999"),
        ],
    )
    def test_what_does_not_fit(self, evaluate, changes, why):
        with pytest.raises(Rejection, match=why):
            self.made(evaluate, "{value: <start>, plus: <length>}", **changes)


class TestMetadataThatCannotBeRead:
    TEXT = variable("{message: metadata.a.b}")

    @pytest.mark.parametrize(
        ("metadata", "why"),
        [
            ("no json", "is no JSON"),
            ("[1]", "is no JSON object"),
            ("1", "is no JSON obj"),
        ],
    )
    def test_there_is_a_note_or_a_reason(self, evaluate, metadata, why):
        message = announced(metadata=metadata)
        draft = evaluate(self.TEXT, message=message)
        assert draft.description is None
        (note,) = draft.notes
        assert f"variable x: the message's metadata {why}" in note
        required = self.TEXT.replace("a.b}", "a.b, required: true}")
        with pytest.raises(Rejection, match=f"required but absent: .* {why}"):
            evaluate(required, message=message)

    def test_what_many_variables_lack_is_said_once(self, evaluate):
        text = """
            variables:
              a: {message: metadata.a}
              b: {message: metadata.b}
            """
        (note,) = evaluate(text, message=announced(metadata="no json")).notes
        assert note.startswith("variables a, b: the message's metadata is no JSON")

    @pytest.mark.parametrize("metadata", [None, "", " ", "{}", '{"a": 1}'])
    def test_metadata_without_the_key_is_no_news(self, evaluate, metadata):
        assert evaluate(self.TEXT, message=announced(metadata=metadata)).notes == ()


def test_a_whole_number_that_no_float_is_equal_to_is_noted(evaluate):
    text = parameter("{nexus: /e/v, type: integer}", "value_type: %s")
    values = {"/e/v": 2**53 + 1}
    draft = evaluate(text % "NUMERIC", values)
    assert draft.parameters[0].value == 2**53
    (note,) = draft.notes
    assert "9007199254740993 becomes 9007199254740992" in note
    draft = evaluate(text % "STRING", values)
    assert (draft.parameters[0].value, draft.notes) == ("9007199254740993", ())
    draft = evaluate(text % "NUMERIC", {"/e/v": 2**53 + 2})
    assert draft.notes == ()


class TestOperators:
    @pytest.mark.parametrize(
        ("operators", "value", "expected"),
        [
            ("[lower]", "AbC", "abc"),
            ("[upper]", "AbC", "ABC"),
            ("[strip]", "x", "x"),
            ("[urlsafe]", "a b/ü", "a%20b%2F%C3%BC"),
            ("[basename]", "/a/b/c.nxs", "c.nxs"),
            ("[stem]", "/a/b/c.nxs", "c"),
            ("[dirname]", "/a/b/c.nxs", "/a/b"),
            ("[{dirname: 2}]", "/a/b/c.nxs", "/a"),
            ("[{dirname: {levels: 9}}]", "/a/b/c.nxs", "/"),
            ("[{replace: {pattern: '^0+', replacement: ''}}]", "0070", "70"),
            (r"[{replace: {pattern: '(\w)-(\w)', replacement: '\2\1'}}]", "a-b", "ba"),
            (r"[{extract: '_(\d+)$'}]", "run_0042", "0042"),
            (r"[{extract: '\d+'}]", "run_0042", "0042"),
            (r"[{extract: '\d+'}]", "none", None),
            ("[{map: {values: {NXsas: SANS}}}]", "NXsas", "SANS"),
            ("[{map: {values: {NXsas: SANS}}}]", "NXmx", None),
            ("[{map: {values: {NXsas: SANS}, default: other}}]", "NXmx", "other"),
            ("[split, {getitem: 1}]", "a, b ,c", "b"),
            ("[split, {getitem: -1}]", "a, b ,c", "c"),
            ("[{split: ;}, {join: '+'}]", "a;;b", "a+b"),
            ("[split, upper, join]", "a,b", "A B"),
            ("[split, first]", "a,b", "a"),
            ("[split, last]", "a,b", "b"),
            ("[split, count]", "a,b", "2"),
            ("[split, max]", "a,b", "b"),
            (r"[{extract: '\d+'}, {to: integer}]", "run_0042", "42"),
            ("[split, {to: 'float[]'}, sum]", "1,2.5", "3.5"),
            ("[split, {to: 'integer[]'}, mean]", "1,2", "1.5"),
            ("[split, {to: 'integer[]'}, min]", "10,9", "9"),
            ("[split, {to: 'float[]'}, median]", "10,1,2", "2.0"),
            ("[split, {to: 'integer[]'}, median]", "1,2", "1.5"),
            (
                "[{parse_time: '%d/%m/%Y %H:%M'}, {format_time: '%Y-%m-%dT%H:%M%z'}]",
                "02/03/2026 08:30",
                "2026-03-02T08:30+0000",
            ),
        ],
    )
    def test_on_text(self, evaluate, operators, value, expected):
        text = variable(f"{{nexus: /entry/x, operators: {operators}}}")
        assert evaluate(text, {"/entry/x": value}).description == expected

    def test_on_each_value_of_a_list(self, evaluate):
        text = variable(
            "{nexus: /entry/user_*/name, type: 'string[]', operators: [upper]}"
        )
        draft = evaluate(text, {"/entry/user_*/name": ("ann", "bo")})
        assert draft.description == "ANN, BO"

    @pytest.mark.parametrize(
        ("operators", "value", "why"),
        [
            ("[split, {getitem: 3}]", "a,b", "getitem 3: the list has 2 values"),
            ("[{to: float}]", "six", "expected float, found 'six'"),
            ("[{parse_time: '%Y'}]", "soon", "expected a time like %Y, found 'soon'"),
        ],
    )
    def test_that_do_not_work_on_the_value(self, evaluate, operators, value, why):
        text = variable(f"{{nexus: /entry/x, operators: {operators}}}")
        with pytest.raises(Rejection, match=f"variable x .*/entry/x.*{why}"):
            evaluate(text, {"/entry/x": value})

    def test_sums_beyond_all_numbers(self, evaluate):
        for operator in ("sum", "mean"):
            text = variable(
                f"{{nexus: /entry/x, type: 'float[]', operators: [{operator}]}}"
            )
            with pytest.raises(Rejection, match="too large"):
                evaluate(text, {"/entry/x": (1.7e308, 1.7e308)})


class TestUnits:
    def value(self, draft):
        (made,) = draft.parameters
        return made.value

    def test_from_the_files_unit_to_the_parameters(self, evaluate):
        text = parameter("{nexus: /entry/x, type: float}", "units: angstrom")
        draft = evaluate(text, {"/entry/x": [0.6, "nm"]})
        assert self.value(draft) == 6.0
        (made,) = draft.parameters
        assert (made.name, made.units, made.value_type) == (
            "p",
            "angstrom",
            ValueType.NUMERIC,
        )
        assert made.source == "/entry/x (variable x)"

    def test_a_unit_is_assumed_where_the_file_names_none(self, evaluate):
        text = parameter("{nexus: /entry/x, type: float, unit: degC}", "units: K")
        assert self.value(evaluate(text, {"/entry/x": 25.0})) == 298.15
        assert self.value(evaluate(text, {"/entry/x": [4.0, "K"]})) == 4.0

    @pytest.mark.parametrize("nothing", [float("nan"), "", " ", (float("nan"),)])
    @pytest.mark.parametrize("kind", ["float", "'float[]'"])
    def test_nothing_is_not_converted(self, evaluate, kind, nothing):
        text = variable(f"{{nexus: /entry/x, type: {kind}, unit: K}}")
        assert evaluate(text, {"/entry/x": [nothing, "degC"]}).description is None
        required = text.replace("unit: K", "unit: K, required: true")
        with pytest.raises(Rejection, match=r"variable x .* is required"):
            evaluate(required, {"/entry/x": [nothing, "degC"]})

    def test_a_file_can_be_known_to_lie(self, evaluate):
        text = parameter(
            "{nexus: /entry/x, type: float, unit: degC, ignore_file_unit: true}",
            "units: K",
        )
        assert self.value(evaluate(text, {"/entry/x": [25.0, "C"]})) == 298.15

    def test_templates_show_the_declared_unit(self, evaluate):
        text = variable("{nexus: /entry/x, type: float, unit: mm}")
        assert evaluate(text, {"/entry/x": [0.5, "m"]}).description == "500.0"

    def test_lists_and_operators_keep_it(self, evaluate):
        text = parameter(
            "{nexus: /entry/x, type: 'float[]', operators: [max]}", "units: mm"
        )
        assert self.value(evaluate(text, {"/entry/x": [(1.0, 2.0), "m"]})) == 2000

    def test_variables_made_of_variables_keep_it(self, evaluate):
        draft = evaluate(
            """
            variables:
              x: {nexus: /entry/x, type: float}
              y: {value: <x>}
            parameters: [{name: p, units: mm, value: <y>}]
            """,
            {"/entry/x": [2.0, "m"]},
        )
        assert self.value(draft) == 2000
        assert draft.parameters[0].source == "/entry/x (variable y)"

    def test_integers_stay_integers(self, evaluate):
        text = variable("{nexus: /entry/x, type: integer, unit: mm}")
        assert evaluate(text, {"/entry/x": [3, "m"]}).description == "3000"
        with pytest.raises(Rejection, match="3 um is no integer in mm"):
            evaluate(text, {"/entry/x": [3, "um"]})

    def test_error_and_range_are_converted_too(self, evaluate):
        draft = evaluate(
            """
            variables:
              t: {nexus: /t, type: float}
              e: {nexus: /e, type: float}
              low: {nexus: /low, type: float}
              high: {nexus: /high, type: float}
            parameters:
              - {name: t, units: K, value: <t>, error: <e>, range_bottom: <low>,
                 range_top: <high>}
            """,
            {
                "/t": [10.0, "degC"],
                "/e": [2.0, "degC"],
                "/low": [0.0, "degC"],
                "/high": [300.0, "K"],
            },
        )
        (made,) = draft.parameters
        assert (made.value, made.error) == (283.15, 2.0)
        assert (made.range_bottom, made.range_top) == (273.15, 300.0)

    def test_units_that_nobody_knows_must_be_the_very_same(self, evaluate):
        text = parameter("{nexus: /entry/x, type: float, unit: frobs}", "units: frobs")
        assert self.value(evaluate(text, {"/entry/x": [5.0, "frobs"]})) == 5.0
        with pytest.raises(Rejection, match="frobs"):
            evaluate(text, {"/entry/x": [5.0, "kfrobs"]})

    @pytest.mark.parametrize(
        ("unit", "why"),
        [
            ("m", r"6.0 m: 'm' cannot be converted to 'K'"),
            ("frobs", "6.0 frobs: 'frobs' is not a known unit"),
            (None, "6.0 has no unit, expected one that converts to K"),
        ],
    )
    def test_a_unit_that_cannot_be_converted(self, evaluate, unit, why):
        text = parameter("{nexus: /entry/x, type: float}", "units: K")
        with pytest.raises(Rejection) as caught:
            evaluate(text, {"/entry/x": [6.0, unit]})
        reason = caught.value.reason
        assert reason.startswith("/data/2026/run_7.nxs: schema s0: ")
        assert "parameters.p.value (/entry/x): " in reason
        assert why in reason


class TestParameters:
    def made(self, draft):
        return [(p.name, p.value, p.value_type) for p in draft.parameters]

    def test_the_kind_follows_from_the_variable(self, evaluate):
        draft = evaluate(
            """
            variables:
              i: {nexus: /i, type: integer}
              s: {nexus: /s}
              t: {nexus: /t, type: datetime}
              many: {nexus: /many, type: "float[]"}
            parameters:
              - {name: a, value: <i>}
              - {name: b, value: <s>}
              - {name: c, value: <t>}
              - {name: d, value: "run <i>"}
              - {name: e, value: 5}
              - {name: f, value: true}
              - {name: g, value: <many>}
              - {name: h, value: <i>, value_type: STRING}
            """,
            {"/i": 7, "/s": "ice", "/t": "2026-01-01T00:00:00Z", "/many": (1.0, 2.0)},
        )
        assert self.made(draft) == [
            ("a", 7.0, "NUMERIC"),
            ("b", "ice", "STRING"),
            ("c", datetime(2026, 1, 1, tzinfo=UTC), "DATE_AND_TIME"),
            ("d", "run 7", "STRING"),
            ("e", 5.0, "NUMERIC"),
            ("f", "true", "STRING"),
            ("g", "1.0, 2.0", "STRING"),
            ("h", "7", "STRING"),
        ]

    def test_keys_are_listed_for_those_who_prepare_a_catalogue(self, schemas):
        found = schemas(
            """
            selector: {always: true}
            variables: {x: {nexus: /x, type: float}}
            dataset: {investigation: p, name: n}
            parameters: [{name: b, units: mm, value: <x>}, {name: a, value: text}]
            """
        ).parameter_keys()
        assert found == (("a", "", "STRING"), ("b", "mm", "NUMERIC"))


class TestDataset:
    def test_everything_of_it(self, evaluate):
        draft = evaluate(
            """
            variables:
              users: {nexus: /entry/user_*/name, type: "string[]"}
            dataset:
              investigation: {name: "2026-1", visit_id: "3"}
              name: n
              type: raw
              description: d
              location: /somewhere
              sample: {name: ice, type: solid, molecular_formula: H2O}
              instruments: [Lumen, Lumen, BOREAS]
              techniques: <users>
              complete: false
            datafiles:
              name: "file <file.name>"
              format: {name: NeXus, version: "4"}
              include_external_links: true
              link_paths: /entry/data/*
            """,
            {"/entry/user_*/name": ("a", "b", "a")},
        )
        assert (draft.investigation, draft.visit_id) == ("2026-1", "3")
        assert (draft.type, draft.location) == ("raw", "/somewhere")
        assert (draft.sample, draft.sample_type, draft.sample_formula) == (
            "ice",
            "solid",
            "H2O",
        )
        assert draft.instruments == ("Lumen", "BOREAS")
        assert draft.techniques == ("a", "b")
        assert draft.complete is False
        assert draft.file_name == "file run_7.nxs"
        assert draft.format == ("NeXus", "4")
        assert draft.include_external_links is True
        assert draft.schema_id == "s0"

    def test_the_same_record_makes_the_same_dataset(self, evaluate):
        text = variable("{value: '<record.time> <file.modified>'}")
        assert evaluate(text) == evaluate(text)

    @pytest.mark.parametrize(
        ("dataset", "field"),
        [
            ("{investigation: <x>, name: n}", "dataset.investigation"),
            ("{investigation: p, name: 'run <x>'}", "dataset.name"),
            ("{investigation: p, name: n, type: <x>}", "dataset.type"),
        ],
    )
    def test_mandatory_fields_without_a_value(self, evaluate, dataset, field):
        text = f"""
            variables: {{x: {{nexus: /entry/x}}}}
            dataset: {dataset}
            """
        with pytest.raises(Rejection) as caught:
            evaluate(text)
        assert caught.value.reason == (
            f"/data/2026/run_7.nxs: schema s0: {field}: has no value, since there is "
            "none for x (/entry/x)"
        )


class TestWhere:
    TEXT = """
        id: isis
        variables:
          title: {nexus: [/raw/name, /raw/title]}
          run: {message: metadata.run}
          label: {value: "<run> of <title>"}
          kind: {value: raw}
          start: {nexus: /raw/start, type: datetime}
          users: {nexus: /raw/user_*/name, type: "string[]"}
          t: {nexus: /raw/t, type: float}
        dataset:
          investigation: p
          name: <file.stem>
          type: <kind>
          description: <label>
          location: "<title>/<run>/<title>"
          start: <start>
          end: <record.time>
          techniques: [<users>, <title>]
        parameters:
          - {name: t, units: K, value: <t>}
          - {name: t, units: mK, value: <t>}
          - {name: description, value: "<run> <title>"}
          - {name: five, value: 5}
        """

    @pytest.mark.parametrize(
        ("field", "where"),
        [
            ("description", ": message.metadata.run, /raw/title (variable label)"),
            (
                "location",
                ": /raw/title (variable title), message.metadata.run (variable run)",
            ),
            ("start", ": /raw/start (variable start)"),
            ("end", ": record.time"),
            ("name", ": file.stem"),
            ("investigation", ": a constant"),
            ("type", ": a constant (variable kind)"),
            (
                "techniques",
                ": /raw/user_*/name (variable users), /raw/title (variable title)",
            ),
            ("t", ": /raw/t (variable t)"),
            ("t [mK]", ": /raw/t (variable t)"),
            (
                "description (no units)",
                ": message.metadata.run (variable run), /raw/title (variable title)",
            ),
            ("five", ": a constant"),
            ("nothing", ""),
            ("visit_id", ""),
            ("instruments", ""),
        ],
    )
    def test_schema_place_and_variable(self, evaluate, field, where):
        draft = evaluate(
            self.TEXT,
            {
                "/raw/title": "T",
                "/raw/start": "2026-01-01T00:00:00Z",
                "/raw/user_*/name": ("a", "b"),
                "/raw/t": [4.0, "K"],
            },
            message=announced(metadata='{"run": "7"}'),
        )
        assert draft.where(field) == f"schema isis{where}"


class TestRejections:
    @pytest.mark.parametrize("seconds", [10**12, -(10**12), 2**62])
    def test_a_file_of_no_calendars_year(self, schemas, seconds):
        found = schemas(
            "selector: {always: true}\ndataset: {investigation: p, name: n}"
        )
        file = content()
        odd = replace(file, stat=replace(file.stat, mtime_ns=seconds * 10**9))
        with pytest.raises(Rejection, match=r"run_7.nxs: .*outside the years"):
            found.schemas[0].evaluate(None, odd, record_time=WHEN)

    def test_what_cannot_be_a_value_is_named_with_who_wants_it(self, schemas, tmp_path):
        path = tmp_path / "run_7.nxs"
        with h5py.File(path, "w") as file:
            file.create_group("entry/x")
        path.chmod(0o444)
        found = schemas(variable("{nexus: /entry/x}") + "selector: {always: true}")
        with NexusReader([tmp_path], workers=1) as reader:
            read = reader.read(str(path), found.paths(str(path), None))
        with pytest.raises(Rejection) as caught:
            found.schemas[0].evaluate(None, read, record_time=WHEN)
        assert caught.value.reason == (
            f"{path}: /entry/x is a group, expected a value; schema s0 wants it for"
            " variable x"
        )

    @pytest.mark.parametrize(
        ("declared", "value", "why"),
        [
            ("type: float", "six", "expected float, found 'six'"),
            ("type: datetime", "noon", "expected datetime, found 'noon'"),
            ("type: integer", (1, 2), "expected one integer, found 2 values"),
            ("required: true", None, "is required but absent"),
            ("required: true", "  ", "is required but there is no value in '  '"),
        ],
    )
    def test_name_file_schema_variable_path_and_value(
        self, evaluate, declared, value, why
    ):
        values = {} if value is None else {"/entry/x": value}
        with pytest.raises(Rejection) as caught:
            evaluate(variable(f"{{nexus: /entry/x, {declared}}}"), values)
        assert caught.value.reason.startswith(
            f"/data/2026/run_7.nxs: schema s0: variable x (/entry/x): {why}"
        )

    def test_stay_short(self, evaluate):
        text = variable("{nexus: /entry/x, type: float}")
        with pytest.raises(Rejection) as caught:
            evaluate(text, {"/entry/x": "x" * 1_000_000})
        assert len(caught.value.reason) < 250
