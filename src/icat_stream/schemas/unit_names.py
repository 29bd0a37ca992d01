"""How facilities spell units, and which unit each spelling means.

The spellings are those of the NeXus manual, of UDUNITS, of Mantid's log files and of
control systems.  A symbol (``mA``) is taken as it is written, since case tells prefixes
apart; a word (``microAmp``, ``COUNTS``) in whatever letters.  What could mean two
units means none: a guess would be off by a power of ten.
"""

import re
from typing import NamedTuple


class Spelled(NamedTuple):
    """A unit that a name spells.

    Parameters
    ----------
    prefix
        Of pint, such as ``milli``, or nothing.
    unit
        Pint's name.
    """

    prefix: str
    unit: str

    def __str__(self) -> str:
        return self.prefix + self.unit


class Ambiguous(Exception):
    """A name could mean several units; says which."""


# By pint's name: symbols, words in all their forms, and whether they take prefixes.
_UNITS: dict[str, tuple[str, str, bool]] = {
    # SI and what is used with it.
    "meter": ("m", "metre metres meter meters", True),
    "gram": ("g", "gram grams gramme grammes", True),
    "second": ("s", "sec secs second seconds", True),
    "ampere": ("A", "amp amps ampere amperes", True),
    "kelvin": ("K", "kelvin kelvins degk", True),
    "mole": ("mol", "mole moles", True),
    "candela": ("cd", "candela", True),
    "radian": ("rad", "radian radians rads", True),
    "steradian": ("sr", "steradian steradians", True),
    "hertz": ("Hz", "hertz", True),
    "newton": ("N", "newton newtons", True),
    "pascal": ("Pa", "pascal pascals", True),
    "joule": ("J", "joule joules", True),
    "watt": ("W", "watt watts", True),
    "coulomb": ("C", "coulomb coulombs coul", True),
    "volt": ("V", "volt volts", True),
    "farad": ("F", "farad farads", True),
    "ohm": ("Ω", "ohm ohms", True),
    "siemens": ("S", "siemens", True),
    "weber": ("Wb", "weber webers", True),
    "tesla": ("T", "tesla teslas", True),
    "henry": ("H", "henry henries", True),
    "lumen": ("lm", "lumen lumens", True),
    "lux": ("lx", "lux", True),
    "becquerel": ("Bq", "becquerel becquerels", True),
    "gray": ("Gy", "gray grays", True),
    "sievert": ("Sv", "sievert sieverts", True),
    "katal": ("kat", "katal katals", True),
    "liter": ("l L", "litre litres liter liters", True),
    "metric_ton": ("", "tonne tonnes", True),
    "electron_volt": ("eV", "electronvolt electronvolts electron_volt", True),
    "unified_atomic_mass_unit": ("u", "amu", False),
    "dalton": ("Da", "dalton daltons", True),
    "ampere_hour": ("Ah", "amphour amphours", True),
    # Times.
    "minute": ("", "min mins minute minutes", False),
    "hour": ("h hr", "hour hours hrs", False),
    "day": ("d", "day days", False),
    # Lengths, areas, pressures, fields and others that are older.
    "angstrom": (
        "Å",
        "angstrom angstroms angstroem angstroems angström ångström ångstrom ang",
        False,
    ),
    "micron": ("", "micron microns", False),
    "inch": ("", "in inch inches", False),
    "foot": ("ft", "foot feet", False),
    "pound": ("lb", "pound pounds lbs", False),
    "barn": ("", "barn barns", True),
    "bar": ("", "bar bars", True),
    "torr": ("", "torr", True),
    "standard_atmosphere": ("", "atm atmosphere atmospheres", False),
    "millimeter_Hg": ("mmHg", "", False),
    "pound_force_per_square_inch": ("", "psi", False),
    "field_gauss": ("G", "gauss", True),
    "oersted": ("Oe", "oersted oersteds", True),
    "erg": ("", "erg ergs", False),
    "calorie": ("cal", "calorie calories", True),
    "curie": ("Ci", "curie curies", True),
    # Angles and turns.
    "degree": ("°", "deg degs degree degrees", False),
    "arcminute": ("", "arcmin arcminute arcminutes", False),
    "arcsecond": ("", "arcsec arcsecs arcsecond arcseconds", True),
    "turn": ("", "rev revs revolution revolutions turn turns", False),
    "revolutions_per_minute": ("", "rpm", False),
    # Temperatures with a zero of their own.
    "degree_Celsius": ("oC", "degc celsius centigrade", False),
    "degree_Fahrenheit": ("oF", "degf fahrenheit", False),
    # What is counted, and parts of one.
    "count": (
        "",
        "count counts cts event events frame frames neutron neutrons photon photons"
        " ph pulse pulses shot shots",
        True,
    ),
    "counts_per_second": ("", "cps", True),
    "percent": ("%", "percent pct", False),
    "ppm": ("", "ppm", False),
    "dimensionless": ("", "dimensionless", False),
    "decibel": ("dB", "db", False),
    "decibelmilliwatt": ("dBm", "dbm", False),
}
_PREFIXES = {
    **{"Y": "yotta", "Z": "zetta", "E": "exa", "P": "peta", "T": "tera", "G": "giga"},
    **{"M": "mega", "k": "kilo", "h": "hecto", "da": "deca", "d": "deci"},
    **{"c": "centi", "m": "milli", "u": "micro", "μ": "micro", "n": "nano"},
    **{"p": "pico", "f": "femto", "a": "atto", "z": "zepto", "y": "yocto"},
}
_PREFIX_WORDS = frozenset(_PREFIXES.values())
# Symbols that are written in other letters so often that their case is forgiven.
_SLOPPY = {"hz": "hertz", "ev": "electron_volt"}
# Whole names that the rules below would take for something else, or for nothing.
_WHOLE = {
    "Kg": Spelled("kilo", "gram"),
    "KV": Spelled("kilo", "volt"),
    "KW": Spelled("kilo", "watt"),
    "kpa": Spelled("kilo", "pascal"),
    "KPA": Spelled("kilo", "pascal"),
}
_AMBIGUOUS = {
    "ct": "count or carat",
    "PA": "pascal (Pa), picoampere (pA) or petaampere",
    "MS": "millisecond (ms) or megasiemens",
    "PS": "picosecond (ps) or petasiemens",
    "KG": "kilogram (kg) or kilogauss (kG)",
    "Tm": "tesla metre (T.m) or terametre",
    "Gs": "gauss (G) or gigasecond",
}

_SYMBOLS = {
    symbol: unit
    for unit, (symbols, _, _) in _UNITS.items()
    for symbol in symbols.split()
}
_WORDS = {
    word: unit for unit, (_, words, _) in _UNITS.items() for word in words.split()
}
_SPLIT_WORD = re.compile(f"({'|'.join(sorted(_PREFIX_WORDS))})[ _]?(.+)")


def spelled(name: str) -> Spelled | None:
    """Return the unit that a single name spells, ``None`` if none is known.

    Raises
    ------
    Ambiguous
        It could be several.
    """
    if name in _AMBIGUOUS:
        raise Ambiguous(_AMBIGUOUS[name])
    if name in _WHOLE:
        return _WHOLE[name]
    unit = _SYMBOLS.get(name) or _WORDS.get(name.lower()) or _SLOPPY.get(name.lower())
    if unit is not None:
        return Spelled("", unit)
    return _prefixed_word(name.lower()) or _prefixed_symbol(name)


def _prefixed_word(name: str) -> Spelled | None:
    """Return what a name like microAmp means, in small letters."""
    match = _SPLIT_WORD.fullmatch(name)
    if match is None:
        return None
    prefix, rest = match.groups()
    unit = _WORDS.get(rest) or _SLOPPY.get(rest) or _SMALL_SYMBOLS.get(rest)
    return Spelled(prefix, unit) if unit is not None and _UNITS[unit][2] else None


# A prefix in full leaves no doubt about the symbol behind it, if no other is like it.
_SMALL_SYMBOLS = {
    symbol.lower(): unit
    for symbol, unit in _SYMBOLS.items()
    if sum(other.lower() == symbol.lower() for other in _SYMBOLS) == 1
}


def _prefixed_symbol(name: str) -> Spelled | None:
    """Return what a name like keV or kGauss means."""
    for letters, prefix in _PREFIXES.items():
        if not name.startswith(letters):
            continue
        rest = name[len(letters) :]
        symbol, sloppy = _SYMBOLS.get(rest), _SLOPPY.get(rest.lower())
        unit = symbol or _WORDS.get(rest.lower()) or sloppy
        if unit is None or not _UNITS[unit][2]:
            continue
        if symbol is None and (
            (letters == "M" and name.isupper())
            or (letters == "m" and name.islower() and sloppy is not None)
        ):
            # In letters of one case, what tells the two apart is not said.
            raise Ambiguous(f"milli or mega {unit.replace('_', ' ')}")
        return Spelled(prefix, unit)
    if name.startswith("K") and len(name) > 2:
        # Not kelvin: that would be K.eV.
        return _prefixed_symbol("k" + name[1:])
    return None
