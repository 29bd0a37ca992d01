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
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .common_units import COMMON

_LONGEST = 80

# Whole texts, in whatever letters, that say "no unit" or nothing that can be converted.
_NONE = frozenset({"", "1", "none", "unitless", "n/a", "dimensionless"})
_ARBITRARY = frozenset({"a.u.", "au", "arb", "arb.", "arbitrary"})

# Names that pint knows as something else.
_MEANT = {
    "G": "field_gauss",
    "kG": "kilofield_gauss",
    "mG": "millifield_gauss",
    "gauss": "field_gauss",
    "Gauss": "field_gauss",
    "kilogauss": "kilofield_gauss",
    "pct": "percent",
}
# Names, in whatever letters, that pint does not know.
_ALSO = {
    "cts": "count",
    "event": "count",
    "events": "count",
    "frame": "count",
    "frames": "count",
    "neutron": "count",
    "neutrons": "count",
    "pulse": "count",
    "pulses": "count",
    "hz": "hertz",
    "khz": "kilohertz",
    "degs": "degree",
    "secs": "second",
    "mins": "minute",
    "hrs": "hour",
    "rev": "revolution",
    "revs": "revolution",
}
_AFFINE = ("degree_Celsius", "degree_Fahrenheit")
_DIFFERENCE = re.compile("delta|Δ", re.IGNORECASE)

_TOKEN = re.compile(
    r"\s*(?:(?P<exponent>(?:\^|\*\*)\s*\(?[+-]?\d{1,2}\)?|-?\d{1,2}(?![\d.]))"
    r"|(?P<name>[^\W\d]+|[°%])"
    r"|(?P<sign>[*·./()-]))"
)


class UnitError(ValueError):
    """A unit that is not known, or cannot be converted to another one."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """How values in one unit become values in another one.

    Parameters
    ----------
    factor, offset
        ``new = old * factor + offset``.
    """

    factor: float
    offset: float

    def value(self, value: float) -> float:
        """Convert a value."""
        if self.offset:
            # A sum of large numbers loses digits; what is lost must not show.
            return _tidy(value * self.factor + self.offset, 13)
        return self.difference(value)

    def difference(self, value: float) -> float:
        """Convert an error or a width, which know no zero point."""
        return value if self.factor == 1 else _tidy(value * self.factor)


_SAME = Conversion(1.0, 0.0)


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
    import pint

    source, target = _parse(from_unit), _parse(to_unit)
    registry = _registry()
    far = 1e9
    try:
        with _LOCK:
            turns = _angle(registry, source) - _angle(registry, target)
            offset = float(registry.Quantity(0.0, source).to(target).magnitude)
            at_far = float(registry.Quantity(far, source).to(target).magnitude)
    except (pint.DimensionalityError, pint.OffsetUnitCalculusError) as error:
        raise _apart(from_unit, to_unit) from error
    if turns and not (abs(turns) == 1 and _is_rate(source)):
        raise _apart(from_unit, to_unit)
    factor = (at_far - offset) / far / (2 * math.pi) ** turns
    return _conversion(factor, offset)


def _common(from_unit: str, to_unit: str) -> Conversion:
    quantity, size, zero = COMMON[from_unit]
    other, unit, other_zero = COMMON[to_unit]
    if quantity != other:
        raise _apart(from_unit, to_unit)
    return _conversion(size / unit, (zero - other_zero) / unit)


def _conversion(factor: float, offset: float) -> Conversion:
    return Conversion(1.0 if _tidy(factor) == 1 else factor, _tidy(offset, 13))


def _apart(from_unit: str, to_unit: str) -> UnitError:
    return UnitError(f"{from_unit!r} cannot be converted to {to_unit!r}")


def _angle(registry: Any, unit: Any) -> int:
    roots = registry.Quantity(1.0, unit).to_root_units().unit_items()
    return int(dict(roots).get("radian", 0))


def _is_rate(unit: Any) -> bool:
    return dict(unit.dimensionality) == {"[time]": -1}


def _tidy(value: float, digits: int = 15) -> float:
    """Drop the digits that only arithmetic put there: 6 angstrom are 0.6 nm."""
    if not math.isfinite(value):
        raise UnitError("the converted value is too large")
    return float(f"{value:.{digits}g}")


_LOCK = threading.RLock()


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry()
    # pint's own gauss is the Gaussian system's, of another dimension than tesla.
    registry.define("field_gauss = 1e-4 * tesla")
    return registry


@lru_cache(maxsize=4096)
def _parse(text: str) -> Any:
    """Return the unit that a text spells.

    Raises
    ------
    UnitError
        It spells none.
    """
    if len(text) > _LONGEST:
        raise UnitError(f"{text[:_LONGEST]!r}… is too long for a unit")
    plain = unicodedata.normalize("NFKC", text).strip().replace("\N{MINUS SIGN}", "-")
    with _LOCK:
        if plain.lower() in _NONE:
            return _named("dimensionless", text)
        if plain.lower() in _ARBITRARY:
            raise UnitError(f"{text!r} is no unit that can be converted")
        tokens = _tokens(plain, text)
        unit, at = _product(tokens, 0, text)
        if at != len(tokens):
            raise UnitError(f"{text!r} is not a known unit")
        plain_name = str(unit).removeprefix("delta_")
        if plain_name in _AFFINE and not _DIFFERENCE.search(plain):
            # Nothing is left beside it: (degC) and degC^1 are degC.
            return _registry().parse_units(plain_name)
    return unit


def _tokens(plain: str, text: str) -> list[tuple[str, str]]:
    plain = re.sub(r"(?:°|\bdeg\.?)\s*([CFK])\b", r"deg\1", plain)
    # The 1 of 1/angstrom is no exponent.
    plain = re.sub(r"(^|[(/*])\s*1\s*(?=[/*·])", r"\1dimensionless", plain)
    tokens = []
    at = 0
    while at < len(plain):
        match = _TOKEN.match(plain, at)
        if match is None or match.lastgroup is None:
            raise UnitError(f"{text!r} is not a known unit")
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
            factor = factor ** int(tokens[at][1].strip("^*() "))
            at += 1
        if inverse:
            factor = factor**-1
            inverse = False
        result = factor if result is None else result * factor
    else:
        if result is not None:
            return result, at
    raise UnitError(f"{text!r} is not a known unit")


def _named(name: str, text: str) -> Any:
    """Return the unit of one name, of one with a zero point its differences."""
    import pint

    registry = _registry()
    candidates = [_MEANT.get(name, name), _ALSO.get(name.lower(), name)]
    if len(name) >= 3 and (name.isupper() or name.istitle()):
        # KELVIN, Second.  Letters that differ in case among others tell prefixes apart.
        candidates.append(name.lower())
    for candidate in candidates:
        try:
            unit = registry.parse_units(candidate)
        except (pint.UndefinedUnitError, AttributeError, TypeError, ValueError):
            continue
        if str(unit) in _AFFINE:
            # In degC/min only they count.
            unit = registry.parse_units(f"delta_{unit}")
        return unit
    raise UnitError(f"{text!r} is not a known unit")


def nearest(unit: str) -> str | None:
    """Return the common unit that was probably meant."""
    by_letters = {common.lower(): common for common in sorted(COMMON) if common}
    near = difflib.get_close_matches(unit.lower(), by_letters, n=1, cutoff=0.7)
    return by_letters[near[0]] if near else None
