"""Lists that belong together, logs with their times, units from another field."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from icat_stream.records import FieldPath, FieldValue, Rejection
from icat_stream.schemas import load_schemas

from .conftest import WHEN, content

NAMES = FieldPath(path="/entry/user_*/name", aligned=True)
MAILS = FieldPath(path="/entry/user_*/email", aligned=True)
ROLES = FieldPath(path="/entry/user_*/role", aligned=True)
PEOPLE = """
        variables:
          names: {nexus: "/entry/user_*/name", type: "string[]", aligned: true}
          mails: {nexus: "/entry/user_*/email", type: "string[]", aligned: true%s}
          roles: {nexus: "/entry/user_*/role", type: "string[]", aligned: true}
          x: %s
        dataset: {investigation: p, name: n, description: <x>}
        """
THREE = {
    NAMES: ("Mia Moss", "Ole Olm", "Pia Pohl"),
    MAILS: ("mia@example.org", None, "pia@example.org"),
    ROLES: ("local contact", "principal_investigator", None),
}


class TestPairs:
    def test_items_of_two_lists(self, evaluate):
        made = evaluate(
            PEOPLE % (", default: no address", '{items: "<names> (<mails>)"}'), THREE
        )
        assert made.description == (
            "Mia Moss (mia@example.org), Ole Olm (no address), Pia Pohl"
            " (pia@example.org)"
        )
        assert made.notes == ()

    def test_an_item_that_lacks_one_is_noted(self, evaluate):
        made = evaluate(
            PEOPLE % ("", '{items: "<names> <mails>", operators: [{join: ;}]}'), THREE
        )
        assert made.description == "Mia Moss mia@example.org;Pia Pohl pia@example.org"
        assert made.notes == ("variable x: 1 of 3 items lack one of names, mails",)

    def test_nobody_has_one(self, evaluate):
        nobody = {NAMES: ("Mia Moss", "Ole Olm"), MAILS: (None, None)}
        made = evaluate(PEOPLE % ("", '{items: "<names> <mails>"}'), nobody)
        assert made.description is None
        assert made.notes == ("variable x: 2 of 2 items lack one of names, mails",)

    def test_what_is_beside_a_value(self, evaluate):
        investigator = (
            "{value: <names>, operators: [{where: {beside: <roles>,"
            " equals: principal_investigator}}, first]}"
        )
        assert evaluate(PEOPLE % ("", investigator), THREE).description == "Ole Olm"
        nobody = THREE | {ROLES: (None, None, "user")}
        assert evaluate(PEOPLE % ("", investigator), nobody).description is None

    def test_as_many_items(self, evaluate):
        two = THREE | {MAILS: ("a@b.cd", "e@f.gh")}
        with pytest.raises(
            Rejection, match=r"as many items, found <names> 3, <mails> 2"
        ):
            evaluate(PEOPLE % ("", '{items: "<names> <mails>"}'), two)
        with pytest.raises(Rejection, match=r"where: <mails> has 2 items, expected 3"):
            evaluate(
                PEOPLE
                % (
                    "",
                    "{value: <names>, operators: [{where: {beside: <mails>,"
                    " equals: a}}]}",
                ),
                two,
            )

    @given(
        rows=st.lists(
            st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from("xyz")),
            min_size=1,
            max_size=8,
        )
    )
    @settings(deadline=None)
    def test_no_value_goes_to_anothers_place(self, pairs, rows):
        names, mails = zip(*rows, strict=True)
        draft = pairs.evaluate(
            None, content({NAMES: names, MAILS: mails}), record_time=WHEN
        )
        assert draft.description == ";".join(f"{a}={b or '-'}" for a, b in rows)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    made = '{items: "<names>=<mails>", operators: [{join: ;}]}'
    text = PEOPLE % (", default: '-'", made) + "selector: {always: true}"
    (folder / "pairs.yaml").write_text(text, encoding="utf-8")
    return load_schemas(folder).schemas[0]


LOG = """
        variables:
          times: {{nexus: /e/log/time, type: "float[]"}}
          start: {{nexus: /e/start, type: float, unit: s}}
          end: {{nexus: /e/end, type: float, unit: s}}
          x:
            nexus: /e/log/value
            type: "float[]"
            unit: K
            operators: [{operator}]
        parameters: [{{name: p, value: <x>, units: K}}]
        """
MEASURED = {
    "/e/log/value": [(10.0, 20.0, 40.0), "K"],
    "/e/log/time": [(0.0, 30.0, 40.0), "s"],
    "/e/start": [0.0, "s"],
    "/e/end": [1.0, "min"],
}


def made(evaluate, operator, **changes):
    found = evaluate(LOG.format(operator=operator), MEASURED | changes)
    return [parameter.value for parameter in found.parameters], found.notes


class TestLogs:
    @pytest.mark.parametrize(
        ("operator", "expected"),
        [
            ("{time_mean: <times>}", (30 * 10 + 10 * 20) / 40),
            ("{time_mean: {times: <times>, until: <end>}}", (300 + 200 + 800) / 60),
            ("{time_mean: {times: <times>, since: <end>}}", 40.0),
            ("{time_mean: {times: <times>, until: <start>}}", 10.0),
            ("standard_deviation", math.sqrt(1400 / 9)),
        ],
    )
    def test_of_a_log(self, evaluate, operator, expected):
        (value,), notes = made(evaluate, operator)
        assert value == pytest.approx(expected, rel=1e-15)
        assert notes == ()

    def test_only_while_it_was_measured(self, evaluate):
        operator = "{time_mean: {times: <times>, since: <start>, until: <end>}}"
        early = {"/e/log/time": [(-600.0, -30.0, 30.0), "s"]}
        assert made(evaluate, operator, **early) == ([30.0], ())

    def test_units_of_times(self, evaluate):
        operator = "{time_mean: {times: <times>, until: <end>}}"
        hours = {"/e/log/time": [(0.0, 0.5, 1.0), "h"], "/e/end": [5400.0, "s"]}
        assert made(evaluate, operator, **hours)[0] == [pytest.approx(70 / 3)]
        with pytest.raises(
            Rejection, match=r"<end> 60.0 has the unit s, expected none"
        ):
            made(evaluate, operator, **{"/e/log/time": (0.0, 30.0, 40.0)})

    def test_no_value_has_no_weight(self, evaluate):
        gap = {"/e/log/value": [(10.0, math.nan, 40.0), "K"]}
        operator = "{time_mean: {times: <times>, until: <end>}}"
        values, (note,) = made(evaluate, operator, **gap)
        assert values == [pytest.approx((300 + 800) / 50)]
        assert "1 of 3 values say nothing" in note

    @pytest.mark.parametrize(
        ("times", "why"),
        [
            ((0.0, 30.0), r"<times> has 2 items, expected 3"),
            ((0.0, 40.0, 30.0), r"<times> has 30.0 after 40.0"),
            ((0.0, math.nan, 30.0), r"<times> has not-a-number after 0.0"),
        ],
    )
    def test_times_that_are_none(self, evaluate, times, why):
        with pytest.raises(Rejection, match=why):
            made(evaluate, "{time_mean: <times>}", **{"/e/log/time": [times, "s"]})

    def test_one_value(self, evaluate):
        one = {"/e/log/value": [7.0, "K"], "/e/log/time": [3.0, "s"]}
        assert made(evaluate, "{time_mean: <times>}", **one)[0] == [7.0]
        assert made(evaluate, "standard_deviation", **one)[0] == [0.0]

    @pytest.mark.parametrize("unit", ["degC", "°F"])
    def test_a_deviation_is_no_temperature(self, evaluate, unit):
        text = LOG.format(operator="standard_deviation").replace(
            "unit: K", "unit: degC"
        )
        text = text.replace("            unit: degC\n", "")
        with pytest.raises(Rejection, match="standard_deviation of temperatures in"):
            evaluate(text, MEASURED | {"/e/log/value": [(1.0, 2.0), unit]})

    @given(
        log=st.lists(
            st.tuples(
                st.integers(0, 1000),
                st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-9),
            ),
            min_size=1,
            max_size=20,
        )
    )
    @settings(deadline=None)
    def test_the_mean_is_that_of_a_log_written_every_second(self, mean_of, log):
        steps, values = zip(*log, strict=True)
        times = [float(sum(steps[:at])) for at in range(len(steps))]
        assume(times[-1] > 0)
        dense = [v for v, n in zip(values, steps, strict=True) for _ in range(n)]
        dense = dense[: int(times[-1])]
        found = mean_of(values, times)
        exact = math.fsum(dense) / len(dense)
        assert found == pytest.approx(exact, rel=1e-9, abs=1e-6)
        assert min(values) <= found <= max(values)


@pytest.fixture(scope="module")
def mean_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    text = LOG.format(operator="{time_mean: <times>}")
    text += "selector: {always: true}\n"
    text += "        dataset: {investigation: p, name: n}"
    (folder / "log.yaml").write_text(text, encoding="utf-8")
    schema = load_schemas(folder).schemas[0]

    def mean(values, times):
        found = content(
            {
                "/e/log/value": [tuple(values), "K"],
                "/e/log/time": [tuple(times), "s"],
            }
        )
        return schema.evaluate(None, found, record_time=WHEN).parameters[0].value

    return mean


class TestUnitOfAnotherField:
    TEXT = """
        variables:
          said: {nexus: /e/length_unit}
          x: {nexus: /e/length, type: float, file_unit: <said>%s}
        parameters: [{name: p, value: <x>, units: m}]
        """

    def test_converted(self, evaluate):
        values = {"/e/length": 1124, "/e/length_unit": "mm"}
        (made,) = evaluate(self.TEXT % "", values).parameters
        assert made.value == 1.124

    def test_in_place_of_what_is_beside_the_value(self, evaluate):
        values = {"/e/length": [1124, "m"], "/e/length_unit": "mm"}
        (made,) = evaluate(self.TEXT % ", unit: cm", values).parameters
        assert made.value == 1.124

    def test_the_other_field_is_not_there(self, evaluate):
        (made,) = evaluate(self.TEXT % ", unit: mm", {"/e/length": 1124}).parameters
        assert made.value == 1.124
        with pytest.raises(Rejection, match=r"1124.0 has no unit"):
            evaluate(self.TEXT % "", {"/e/length": 1124})

    def test_a_unit_that_nobody_knows(self, evaluate):
        with pytest.raises(Rejection, match=r"/e/length.*'cubits'"):
            evaluate(self.TEXT % "", {"/e/length": 1, "/e/length_unit": "cubits"})

    def test_aligned_values_in_different_units(self, evaluate):
        asked = FieldPath(path="/e/d_*/z", aligned=True)
        parts = (
            ("/e/d_1/z", FieldValue(value=1.5, units="m")),
            ("/e/d_2/z", FieldValue(value=None)),
            ("/e/d_10/z", FieldValue(value=250.0, units="mm")),
        )
        values = {asked: FieldValue(value=(1.5, None, 250.0), parts=parts)}
        text = """
        variables:
          x: {nexus: "/e/d_*/z", type: "float[]", aligned: true, operators: [last]}
        parameters: [{name: p, value: <x>, units: m}]
        """
        (made,) = evaluate(text, values).parameters
        assert made.value == 0.25
