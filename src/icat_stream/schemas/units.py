"""Converting values between units, spelled as NeXus files and catalogues spell them.

pint knows the units, and is loaded for those that are not common.  What it is given is
only ever a single name: a unit in a file is somebody else's text, and ``m**9**9**9``
must cost nothing.  Angles and frequencies are told apart, which pint does not: 840 rpm
are 14 Hz.
"""

import difflib
import math
import re
import threading
import unicodedata
from dataclasses import dataclass, field
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from .common_units import COMMON, PI
from .unit_names import Ambiguous, spelled

_LONGEST = 80

# Whole texts, in whatever letters, that say "no unit" or nothing that can be converted.
_NONE = frozenset(
    {"", "1", "-", "none", "unitless", "no unit", "no units", "n/a", "dimensionless"}
)
_ARBITRARY = frozenset(
    {
        *("a.u.", "a.u", "au", "arb", "arb.", "arb.u.", "arb. u.", "arbitrary"),
        *("arb units", "arb. units", "arb_units", "arbitrary units"),
    }
)

_AFFINE = ("degree_Celsius", "degree_Fahrenheit")
_LOGARITHMIC = {
    *("decibel", "decibelwatt", "decibelmilliwatt", "decibelmicrowatt"),
    *("decade", "octave", "neper"),
}
# Nobody measures in a higher power; to compute with it could take for ever.
_HIGHEST_POWER = 99
# Names of units in pint that are shorter are too like those of others.
_SHORTEST_OF_PINT = 4
_DEGREES = re.compile(
    r"(?:°|\b(?i:deg(?:ree)?s?)\.?)[\s_]*(?:([CFK])|(?i:([cfk])(?:elsius|ahrenheit|elvin)))\b"
)
# A number before a unit: 10 ns, 1e-6/angstrom^2, 10^-6 m.
_SCALE = re.compile(
    r"(?:(10)\s*(?:\^|\*\*)\s*\(?([+-]?[0-9]{1,2})\)?"
    r"|((?:[0-9]{1,15}\.?[0-9]{0,15}|\.[0-9]{1,15})(?:[eE][+-]?[0-9]{1,2})?))"
    r"\s*(?:[*·]\s*)?(?=\S)"
)
_DIFFERENCE = re.compile("delta|Δ", re.IGNORECASE)

_TOKEN = re.compile(
    r"\s*(?:(?P<exponent>(?:\^|\*\*)\s*\(?[+-]?\d{1,2}\)?|-?\d{1,2}(?![\d.]))"
    r"|(?P<name>[^\W\d]+|[°%])"
    r"|(?P<sign>[*·./()-]))"
)


class UnitError(ValueError):
    """A unit that is not known, or cannot be converted to another one."""


# Far more than the 17 digits of a double: the one rounding that counts is the last.
_EXACT = Context(prec=60)


@dataclass(frozen=True, slots=True)
class Conversion:
    """How values in one unit become values in another one.

    The arithmetic is exact, so that 6 angstrom are 0.6 nm and nanoseconds since 1970
    keep all digits that a double can hold: a float counts as the shortest decimal
    number that means it, and the result is the double nearest to the exact one.

    Parameters
    ----------
    factor, offset
        ``new = old * factor + offset``.
    """

    factor: Fraction
    offset: Fraction
    _terms: tuple[Decimal, Decimal, Decimal] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        shared = math.lcm(self.factor.denominator, self.offset.denominator)
        terms = int(self.factor * shared), int(self.offset * shared), shared
        object.__setattr__(self, "_terms", tuple(map(Decimal, terms)))

    @property
    def changes(self) -> bool:
        """Whether any value is another one afterwards."""
        return self.factor != 1 or self.offset != 0

    def value(self, value: float) -> float:
        """Convert a value."""
        if not self.changes:
            return value
        return _nearest(self._sum(value), lost=self.offset == 0 and value != 0)

    def integer(self, value: int) -> int | None:
        """Convert a whole number; ``None`` where it does not stay one."""
        converted = self._sum(value)
        whole = converted.to_integral_value()
        return int(whole) if converted == whole else None

    def difference(self, value: float) -> float:
        """Convert an error or a width, which know no zero point."""
        if self.factor == 1:
            return value
        return _nearest(self._sum(value, zero=False), lost=value != 0)

    def _sum(self, value: float, *, zero: bool = True) -> Decimal:
        factor, offset, shared = self._terms
        exact = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
        converted = _EXACT.multiply(exact, factor)
        if zero:
            converted = _EXACT.add(converted, offset)
        return _EXACT.divide(converted, shared)


def _nearest(converted: Decimal, *, lost: bool) -> float:
    """Return the nearest float.

    Parameters
    ----------
    converted
        The exact value.
    lost
        Whether it would be lost if that float were 0.
    """
    number = float(converted)
    if not math.isfinite(number):
        raise UnitError("the converted value is too large")
    if number == 0 and lost:
        raise UnitError("the converted value is too small")
    return number


_SAME = Conversion(Fraction(1), Fraction(0))


def convert(value: float, from_unit: str, to_unit: str) -> float:
    """Convert a value.

    Parameters
    ----------
    value
        In `from_unit`.
    from_unit, to_unit
        As files and catalogues spell them; equal texts need not be known units.

    Raises
    ------
    UnitError
        A unit is not known, or the two do not measure the same.
    """
    if from_unit == to_unit:
        return value
    return conversion(from_unit, to_unit).value(value)


def known(unit: str) -> bool:
    """Whether a unit can be converted from and to."""
    if unit in COMMON:
        return True
    try:
        _parse(unit)
    except UnitError:
        return False
    return True


def means_none(unit: str) -> bool:
    """Whether a text says that there is no unit: nothing, ``1``, ``N/A``."""
    return _plain(unit).lower() in _NONE


def zero_is_agreed(unit: str | None) -> bool:
    """Whether 0 of a unit is not nothing, as 0 degC is not."""
    if unit is None or unit in COMMON:
        return unit is not None and COMMON[unit][2] != 0
    try:
        return _only_name(_parse(unit)[1]) in _AFFINE
    except UnitError:
        return False


@lru_cache(maxsize=4096)
def conversion(from_unit: str, to_unit: str) -> Conversion:
    """Return how to convert, remembered for the next time.

    Raises
    ------
    UnitError
        A unit is not known, or the two do not measure the same.
    """
    if from_unit == to_unit:
        return _SAME
    if from_unit in COMMON and to_unit in COMMON:
        return _common(from_unit, to_unit)
    (scale, source), (other_scale, target) = _parse(from_unit), _parse(to_unit)
    registry = _registry()
    if _LOGARITHMIC.intersection((_only_name(source), _only_name(target))):
        raise UnitError(
            f"{from_unit!r} cannot be converted to {to_unit!r}: a logarithmic unit has"
            " no factor; use it as it is, with the very same units on both sides"
        )
    try:
        with _LOCK:
            turns = _angle(registry, source) - _angle(registry, target)
            offset, at_one = (
                Fraction(registry.Quantity(Fraction(old), source).to(target).magnitude)
                for old in (0, 1)
            )
    except Exception as error:
        # Somebody else's text, made a unit: no failure with it is one of ours.
        raise _apart(from_unit, to_unit) from error
    if turns and not (abs(turns) == 1 and _is_rate(source)):
        raise _apart(from_unit, to_unit)
    scale /= other_scale
    if scale != 1 and offset:
        # Ten times a temperature that is not measured from zero.
        raise _apart(from_unit, to_unit)
    return Conversion((at_one - offset) * scale / (2 * PI) ** turns, offset)


def _common(from_unit: str, to_unit: str) -> Conversion:
    quantity, size, zero = COMMON[from_unit]
    other, unit, other_zero = COMMON[to_unit]
    if quantity != other:
        raise _apart(from_unit, to_unit)
    return Conversion(size / unit, (zero - other_zero) / unit)


def _apart(from_unit: str, to_unit: str) -> UnitError:
    return UnitError(f"{from_unit!r} cannot be converted to {to_unit!r}")


def _powers(quantity: Any) -> dict[str, Fraction]:
    """Return the names of a quantity's units and their exponents."""
    return dict(quantity.unit_items())


def _only_name(unit: Any) -> str | None:
    """Return pint's name of a unit that is nothing but this one."""
    powers = _powers(_registry().Quantity(Fraction(1), unit))
    return next(iter(powers)) if list(powers.values()) == [1] else None


def _angle(registry: Any, unit: Any) -> int:
    quantity = registry.Quantity(Fraction(1), unit).to_root_units()
    return int(_powers(quantity).get("radian", 0))


def _is_rate(unit: Any) -> bool:
    return dict(unit.dimensionality) == {"[time]": -1}


_LOCK = threading.RLock()


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    # Exact numbers: a factor that was rounded once shows in what it converts.
    registry: Any = pint.UnitRegistry(non_int_type=Fraction)
    # pint's own gauss is the Gaussian system's, of another dimension than tesla.
    registry.define("field_gauss = 1e-4 * tesla")
    return registry


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Fraction, Any]:
    """Return the number and the unit that a text spells.

    Raises
    ------
    UnitError
        It spells none.
    """
    if len(text) > _LONGEST:
        raise UnitError(f"{text[:_LONGEST]!r}… is too long for a unit")
    plain = _plain(text)
    with _LOCK:
        if plain.lower() in _NONE:
            return Fraction(1), _named("dimensionless", text)
        if plain.lower() in _ARBITRARY:
            raise UnitError(f"{text!r} is no unit that can be converted")
        scale, plain = _scaled(plain)
        if scale == 0:
            raise _unknown(text)
        tokens = _tokens(plain, text)
        unit, at = _product(tokens, 0, text)
        if at != len(tokens):
            raise _unknown(text)
        plain_name = (_only_name(unit) or "").removeprefix("delta_")
        if plain_name in _AFFINE and not _DIFFERENCE.search(plain):
            # Nothing is left beside it: (degC) and degC^1 are degC.
            unit = _registry().parse_units(plain_name)
    return scale, unit


def _plain(text: str) -> str:
    """Return a text with one sign for what has many."""
    # Signs that look like the one of degrees, and are typed for it.
    text = text.replace("\N{MASCULINE ORDINAL INDICATOR}", "°").replace("˚", "°")
    plain = unicodedata.normalize("NFKC", text).strip().replace("\N{MINUS SIGN}", "-")
    return _DEGREES.sub(lambda found: f"deg{(found[1] or found[2]).upper()}", plain)


def _scaled(plain: str) -> tuple[Fraction, str]:
    """Return the number that a text begins with, and the rest."""
    match = _SCALE.match(plain)
    if match is None:
        return Fraction(1), plain
    rest = plain[match.end() :]
    if rest.startswith("/"):
        rest = "dimensionless" + rest
    if match[1]:
        return Fraction(10) ** int(match[2]), rest
    return Fraction(match[3]), rest


def _unknown(text: str, why: str = "") -> UnitError:
    return UnitError(f"{text!r} is not a known unit" + why)


def _tokens(plain: str, text: str) -> list[tuple[str, str]]:
    # The 1 of (1/angstrom) is no exponent.
    plain = re.sub(r"(^|[(/*])\s*1\s*(?=[/*·])", r"\1dimensionless", plain)
    tokens = []
    at = 0
    while at < len(plain):
        match = _TOKEN.match(plain, at)
        if match is None or match.lastgroup is None:
            raise _unknown(text)
        tokens.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return tokens


def _product(
    tokens: list[tuple[str, str]], at: int, text: str, depth: int = 0
) -> tuple[Any, int]:
    """Read factors up to the end or a closing bracket."""
    result: Any = None
    inverse = False
    while at < len(tokens) and tokens[at] != ("sign", ")"):
        kind, word = tokens[at]
        if kind == "sign" and word != "(":
            if result is None:
                break
            inverse = word == "/"
            at += 1
            kind, word = tokens[at] if at < len(tokens) else ("", "")
        if kind == "name":
            factor = _named(word, text)
            at += 1
        elif (kind, word) == ("sign", "(") and depth < 3:
            factor, at = _product(tokens, at + 1, text, depth + 1)
            if at >= len(tokens):
                break
            at += 1
        else:
            break
        if at < len(tokens) and tokens[at][0] == "exponent":
            factor = _raised(factor, int(tokens[at][1].strip("^*() ")), text)
            at += 1
        if inverse:
            factor = factor**-1
            inverse = False
        result = factor if result is None else result * factor
    else:
        if result is not None:
            return result, at
    raise _unknown(text)


def _raised(unit: Any, power: int, text: str) -> Any:
    powers = _powers(_registry().Quantity(Fraction(1), unit)).values()
    if any(abs(exponent * power) > _HIGHEST_POWER for exponent in powers):
        raise _unknown(text, ": its powers are too high")
    return unit**power


def _named(name: str, text: str) -> Any:
    """Return the unit of one name, of one with a zero point its differences."""
    try:
        found = spelled(name)
    except Ambiguous as several:
        raise _unknown(text, f": {name} could be {several}") from None
    unit = _of_pint(name) if found is None else _registry().parse_units(str(found))
    if unit is None:
        raise _unknown(text)
    only = _only_name(unit)
    if only in _AFFINE:
        # In degC/min only they count.
        return _registry().parse_units(f"delta_{only}")
    return unit


def _of_pint(name: str) -> Any | None:
    """Return a unit that only pint knows, by its very name and without a prefix.

    What else it makes of a text is a guess: Mins as mega-inches.
    """
    candidates = [name]
    if name.isupper() or name.istitle():
        candidates.append(name.lower())
    for candidate in candidates:
        if len(candidate) < _SHORTEST_OF_PINT:
            continue
        try:
            readings = _registry().parse_unit_name(candidate)
            if readings and not any(prefix for prefix, _, _ in readings):
                return _registry().parse_units(candidate)
        except Exception:  # noqa: S112 - it takes offence at many texts, in many ways
            continue
    return None


def nearest(unit: str) -> str | None:
    """Return the common unit that was probably meant."""
    by_letters = {common.lower(): common for common in sorted(COMMON) if common}
    near = difflib.get_close_matches(unit.lower(), by_letters, n=1, cutoff=0.7)
    return by_letters[near[0]] if near else None
