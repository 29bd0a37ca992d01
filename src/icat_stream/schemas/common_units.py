"""The units of most files, as numbers: what they measure, and how much of it they are.

They spare loading pint and its registry, which takes a quarter of a second and 30 MB.
Tests hold them to pint's answers.
"""

from fractions import Fraction

#: To as many digits as pint's.
PI = Fraction("3.1415926535897932384626433832795028841971693993751")

_EV = Fraction("1.602176634e-19")
_DEGREE = PI / 180


def _exact(number: int | float | Fraction) -> Fraction:
    """Return the decimal number that was written, not the double next to it."""
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


# What a unit measures: its names, and what one of it is in the first kind's basis.
# Angles and frequencies are apart from plain numbers, and turns a second are Hz.
_BY_QUANTITY: dict[str, dict[str, int | float | Fraction]] = {
    "number": {"": 1, "count": 1, "counts": 1, "dimensionless": 1, "percent": 0.01},
    "length": {
        **{"m": 1, "metre": 1, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9},
        "angstrom": 1e-10,
    },
    "time": {
        **{"s": 1, "second": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12},
        **{"min": 60, "h": 3600, "hour": 3600},
    },
    "frequency": {"Hz": 1, "kHz": 1000, "MHz": 10**6, "rpm": Fraction(1, 60)},
    "angle": {"rad": 1, "mrad": 1e-3, "deg": _DEGREE, "degree": _DEGREE},
    "mass": {"kg": 1, "g": 1e-3, "mg": 1e-6},
    "volume": {"l": 1, "ml": 1e-3},
    "temperature": {"K": 1, "kelvin": 1, "degC": 1},
    "pressure": {"Pa": 1, "kPa": 1000, "mbar": 100, "bar": 10**5},
    "magnetic field": {"T": 1, "mT": 1e-3},
    "current": {"A": 1, "mA": 1e-3, "uA": 1e-6},
    "charge": {"uA.h": 1, "uA.hour": 1},
    "voltage": {"V": 1, "mV": 1e-3, "kV": 1000},
    "power": {"W": 1, "MW": 10**6},
    "energy": {
        **{"J": 1, "eV": _EV, "meV": _EV / 1000},
        **{"keV": _EV * 10**3, "MeV": _EV * 10**6, "GeV": _EV * 10**9},
    },
}
# Where the zero of a unit lies, in the basis.
_ZERO = {"degC": Fraction("273.15")}

#: What each measures, one of it in that quantity's basis, and where its zero lies.
COMMON: dict[str, tuple[str, Fraction, Fraction]] = {
    name: (quantity, _exact(size), _ZERO.get(name, Fraction(0)))
    for quantity, names in _BY_QUANTITY.items()
    for name, size in names.items()
}
