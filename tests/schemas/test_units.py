"""Units as files and catalogues spell them."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icat_stream.schemas.common_units import COMMON
from icat_stream.schemas.units import UnitError, conversion, convert, known


@pytest.mark.parametrize(
    ("spelling", "same"),
    [
        ("Angstrom", "angstrom"),
        ("ANGSTROM", "angstrom"),
        ("Å", "angstrom"),
        ("\N{ANGSTROM SIGN}", "angstrom"),
        ("1/angstrom", "angstrom^-1"),
        ("1/Å", "Å⁻¹"),
        ("deg", "°"),
        ("degrees", "degree"),
        ("counts", ""),
        ("dimensionless", ""),
        ("N/A", "none"),
        ("\N{MICRO SIGN}s", "us"),
        ("\N{GREEK SMALL LETTER MU}s", "microsecond"),
        ("Kelvin", "K"),
        ("degK", "K"),
        ("hz", "Hz"),
        ("HZ", "1/s"),
        ("Tesla", "T"),
        ("uA.hour", "uA.h"),
        ("uAh", "microamp*hour"),
        ("microamp-hour", "µA h"),
        ("kg/m3", "kg/m^3"),
        ("g cm-3", "g/cm**3"),
        ("m s-1", "m/s"),
        ("mm²", "mm^2"),
        ("W/(m K)", "W/m/K"),
        ("second", "Second"),
        ("metre", "m"),
        ("°C", "celsius"),
        ("deg C", "degC"),
        ("\N{DEGREE CELSIUS}", "degC"),
        ("%", "percent"),
        ("degC/min", "K/min"),
        ("picoCoulomb", "pC"),
        ("PICOCOULOMB", "pC"),
        ("microAmp*hour", "uA.h"),
        ("KeV", "keV"),
        ("KEV", "keV"),
        ("KHz", "kHz"),
        ("cts", "count"),
        ("cts/sec", "counts/s"),
        ("photons/s", "1/s"),
        ("kcps", "kHz"),
        ("amps", "A"),
        ("Amps", "A"),
        ("mAmp", "mA"),
        ("Angstroem", "angstrom"),
        ("\N{MASCULINE ORDINAL INDICATOR}C", "degC"),
        ("\N{RING ABOVE}C", "degC"),
        ("oC", "degC"),
        ("degrees C", "degC"),
        ("degree_Celsius", "degC"),
        ("degrees Celsius", "degC"),
        ("GAUSS", "G"),
        ("kGauss", "kG"),
        ("Mins", "min"),
        ("Kg", "kg"),
        ("milliKelvin", "mK"),
        ("MILLIMETERS", "mm"),
        ("kiloHz", "kHz"),
        ("barns", "barn"),
        ("PSI", "psi"),
        ("1 m", "m"),
        ("1e-6 m", "um"),
        ("10 ns", "1e-2us"),
        ("1e-6/angstrom^2", "1e-6 angstrom^-2"),
        ("10^-6 m", "um"),
        ("10**3 * s", "ks"),
    ],
)
def test_spellings_of_the_same_unit(spelling, same):
    assert known(spelling)
    assert convert(2.5, spelling, same) == 2.5
    assert convert(2.5, same, spelling) == 2.5


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "expected"),
    [
        (6.0, "angstrom", "nm", 0.6),
        (0.6, "nm", "angstrom", 6.0),
        (25.0, "degC", "K", 298.15),
        (300.0, "K", "degC", 26.85),
        (212.0, "degF", "degC", 100.0),
        (1.01, "bar", "kPa", 101.0),
        (12.0, "mHz", "Hz", 0.012),
        (3.0, "MHz", "kHz", 3000.0),
        (5.0, "percent", "", 0.05),
        (180.0, "deg", "rad", math.pi),
        (1000.0, "gauss", "T", 0.1),
        (1.0, "T", "kG", 10.0),
        (2.0, "MW", "W", 2e6),
        (2.0, "mW", "W", 2e-3),
        (3.6, "mA.s", "uA.h", 1.0),
        (-25.0, "metre", "mm", -25000.0),
        (5.0, "10 ns", "s", 5e-8),
        (2.0, "1e-6/angstrom^2", "1/angstrom^2", 2e-6),
        (3.0, "Mins", "s", 180.0),
    ],
)
def test_conversions(value, from_unit, to_unit, expected):
    assert convert(value, from_unit, to_unit) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    "spelling", ["(degC)", "((degC))", "( °C )", "degC^1", "(degC)^1", "1*degC"]
)
def test_a_zero_point_is_not_lost(spelling):
    assert convert(25.0, spelling, "K") == 298.15
    assert convert(298.15, "K", spelling) == 25.0


@pytest.mark.parametrize("spelling", ["delta_degC", "(delta_degC)", "ΔdegC"])
def test_a_difference_has_none(spelling):
    assert convert(25.0, spelling, "K") == 25.0


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "expected"),
    [
        (6.0, "angstrom", "nm", 0.6),
        (1.1, "mm", "m", 0.0011),
        (4.35, "m", "cm", 435.0),
        (4.35, "metre", "centimetre", 435.0),
        (0.12345678901234566, "m", "mm", 123.45678901234566),
        (1525159320123456789, "ns", "s", 1525159320.1234567),
        (1525159320123456789, "nanosecond", "s", 1525159320.1234567),
        (180.0, "deg", "rad", math.pi),
        (180.0, "degrees", "radian", math.pi),
        (300.0, "K", "degC", 26.85),
        (212.0, "degF", "degC", 100.0),
    ],
)
def test_a_conversion_is_right_to_the_last_digit(value, from_unit, to_unit, expected):
    assert convert(value, from_unit, to_unit) == expected


# Exact factors to SI, from the definitions.
FACTORS = {
    **{
        "m": "1",
        "mm": "0.001",
        "um": "0.000001",
        "angstrom": "1e-10",
        "inch": "0.0254",
    },
}


@given(
    st.integers(-(10**20), 10**20) | st.floats(-1e15, 1e15),
    st.sampled_from(sorted(FACTORS)),
    st.sampled_from(sorted(FACTORS)),
)
def test_a_converted_value_is_the_nearest_float(value, from_unit, to_unit):
    exact = Fraction(value if isinstance(value, int) else repr(value))
    expected = exact * Fraction(FACTORS[from_unit]) / Fraction(FACTORS[to_unit])
    if float(expected) != 0 or value == 0:
        assert float(convert(value, from_unit, to_unit)) == float(expected)


@given(st.integers(-(10**30), 10**30))
def test_whole_numbers_stay_what_they_are(value):
    there = conversion("mm", "um").integer(value)
    assert there == value * 1000
    assert conversion("um", "mm").integer(there) == value
    assert conversion("um", "mm").integer(there + 1) is None


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "expected"),
    [
        (840, "rpm", "Hz", 14),
        (14, "Hz", "rpm", 840),
        (14, "Hz", "deg/s", 5040),
        (2 * math.pi, "rad/s", "Hz", 1),
    ],
)
def test_a_turn_is_one_cycle(value, from_unit, to_unit, expected):
    assert convert(value, from_unit, to_unit) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("from_unit", "to_unit"),
    [
        ("deg", "counts"),
        ("deg", ""),
        ("K", "m"),
        ("meV", "angstrom"),
        ("C", "K"),
        ("deg^2", "rad"),
        ("", "s"),
    ],
)
def test_what_does_not_measure_the_same_is_refused(from_unit, to_unit):
    with pytest.raises(UnitError, match="cannot be converted"):
        convert(1.0, from_unit, to_unit)


def test_an_error_has_no_zero_point():
    assert conversion("degC", "K").difference(2.0) == 2.0
    assert conversion("degF", "K").difference(1.8) == pytest.approx(1.0)
    assert conversion("degC", "K").value(2.0) == 275.15


@pytest.mark.parametrize(
    "unit",
    [
        "frobs",
        "a.u.",
        "arb",
        "0 m",
        "2",
        "2 2 m",
        "10^-600 m",
        "steps",
        "m//s",
        "m*",
        "/s",
        "()",
        "m/()",
        "^2",
        "((((((m))))))",
        "m**9**9**9",
        "m^999999999999",
        "9**9**9**9",
        "m" * 1000,
        "\0",
        "[K]",
        "m;s",
    ],
    ids=lambda unit: unit[:14],
)
def test_what_is_no_unit(unit):
    assert not known(unit)
    with pytest.raises(UnitError):
        convert(1.0, unit, "m")


@pytest.mark.parametrize(
    ("unit", "could"),
    [
        ("mhz", "milli or mega hertz"),
        ("MHZ", "milli or mega hertz"),
        ("mev", "milli or mega electron volt"),
        ("MBAR", "milli or mega bar"),
        ("Tm", "tesla metre"),
        ("Gs", "gauss .* or gigasecond"),
        ("ct", "count or carat"),
        ("KG", "kilogram .* or kilogauss"),
    ],
)
def test_what_could_be_two_units_is_none(unit, could):
    with pytest.raises(UnitError, match=f"{unit} could be .*{could}"):
        convert(1.0, unit, "m")


@pytest.mark.parametrize("unit", ["Mins", "cts", "amps", "MM", "dots", "M", "PS"])
def test_no_guess_of_pint_is_taken(unit):
    for other in ("inch", "carat", "m/s", "mole/l", "horsepower"):
        with pytest.raises(UnitError):
            convert(1.0, unit, other)


PREFIXES = {"p": -12, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9}
SYMBOLS = ["m", "s", "A", "K", "Hz", "Pa", "J", "W", "C", "V", "T", "eV", "G", "Oe"]


@given(
    st.sampled_from(sorted(PREFIXES)),
    st.sampled_from(SYMBOLS),
    st.integers(-5, 5).filter(bool),
)
def test_a_symbol_with_any_prefix_in_any_power(prefix, symbol, power):
    if prefix + symbol in ("Gs", "Ps", "Tm"):
        return
    factor = Fraction(10) ** (PREFIXES[prefix] * power)
    for written in (f"{prefix}{symbol}^{power}", f"({prefix}{symbol})**{power}"):
        assert conversion(written, f"{symbol}^{power}").factor == factor


def test_equal_texts_need_not_be_known():
    assert convert(7.0, "frobs", "frobs") == 7.0


def test_too_large_or_too_small_for_a_number():
    with pytest.raises(UnitError, match="too large"):
        convert(1e300, "Gm", "pm")
    with pytest.raises(UnitError, match="too small"):
        convert(5e-324, "m", "km")


def test_a_logarithmic_unit_has_no_factor():
    with pytest.raises(UnitError, match="logarithmic unit has no factor"):
        convert(3.0, "dB", "")
    assert convert(3.0, "dB", "dB") == 3.0


@pytest.mark.parametrize(
    "unit", ["Ym^99", "Eg²9m*g ", "((Ym^99)^99)^99", "Ym^99 Ym^99 Ym^99", "mm^-99"]
)
def test_whatever_a_unit_does_to_the_arithmetic_is_a_unit_error(unit):
    for other in ("m", "g", "", "ym^99"):
        for way in ((unit, other), (other, unit)):
            with pytest.raises(UnitError):
                convert(1.0, *way)


@given(st.text(alphabet="mKs°%Å/*^.()- 1290\t\0µe", max_size=25))
def test_any_text_is_a_unit_or_refused(text):
    if known(text):
        assert convert(3.5, text, text) == 3.5
    else:
        with pytest.raises(UnitError):
            convert(1.0, text, "m")


@given(
    st.lists(
        st.sampled_from(
            ["Ym", "g", "mm", "²", "9", "^", "-", "*", "/", "(", ")", " ", "dB", "degC"]
        ),
        max_size=12,
    ).map("".join),
    st.sampled_from(["m", "", "g", "1/s", "degC"]),
)
def test_any_unit_is_converted_or_refused(text, other):
    try:
        number = convert(3.5, text, other)
    except UnitError:
        return
    assert math.isfinite(number)


@pytest.mark.parametrize("unit", COMMON)
def test_common_units_are_what_pint_says(unit):
    for other in COMMON:
        ours, pints = (
            [_converted(v, *way) for v in (0, 1, 840)]
            for way in ((unit, other), (_unusual(unit), _unusual(other)))
        )
        assert ours == pytest.approx(pints, rel=1e-13, abs=0, nan_ok=True), other


def _unusual(unit):
    """Spell a unit so that pint is asked."""
    return f"({unit})" if unit else "1"


def _converted(value, from_unit, to_unit):
    try:
        return convert(value, from_unit, to_unit)
    except UnitError:
        return math.nan
