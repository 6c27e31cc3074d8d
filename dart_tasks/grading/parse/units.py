"""Units of measure and words after a number: which are the same unit, which are known, which scale the number.

``5 \\text{ cm}^2`` and ``5 square centimeters`` carry the same unit; ``3 million`` is 3,000,000.
"""

from __future__ import annotations

from fractions import Fraction

__all__ = [
    "DENOMINATORS",
    "NUMBER_WORDS",
    "SCALES",
    "canonical_unit",
    "conversion",
    "is_unit",
    "known_unit",
    "makes_another_value",
]

# canonical name: spellings (plural "s" is removed before look-up)
_SPELLINGS = {
    "mm": "mm millimeter millimetre",
    "cm": "cm centimeter centimetre",
    "dm": "dm decimeter decimetre",
    "m": "m meter metre",
    "km": "km kilometer kilometre kms",
    "in": "in inch inche in.",
    "ft": "ft foot feet ft.",
    "yd": "yd yard yds",
    "mi": "mi mile",
    "mg": "mg milligram",
    "g": "g gram gm",
    "kg": "kg kilogram kilo kgs",
    "lb": "lb lbs pound",
    "oz": "oz ounce",
    "ton": "ton tonne",
    "ms": "ms millisecond",
    "s": "s sec second secs",
    "min": "min minute mins",
    "h": "h hr hour hrs",
    "day": "day",
    "week": "week wk",
    "month": "month",
    "year": "year yr yrs",
    "ml": "ml mL milliliter millilitre",
    "l": "l L liter litre",
    "gal": "gal gallon",
    "qt": "quart",
    "pint": "pint",
    "cup": "cup",
    "mph": "mph",
    "kph": "kph kmh",
    "n": "N newton",
    "j": "J joule",
    "kj": "kJ kilojoule",
    "w": "W watt",
    "kw": "kW kilowatt",
    "v": "V volt",
    "a": "A ampere amp",
    "hz": "Hz hertz",
    "khz": "kHz kilohertz",
    "mhz": "MHz megahertz",
    "coulomb": "C coulomb",
    "tesla": "T tesla",
    "pa": "Pa pascal",
    "kpa": "kPa kilopascal",
    "k": "K kelvin",
    "mol": "mol mole",
    "ohm": "ohm",
    "degree": "degree deg",
    "C": "celsius",
    "F": "fahrenheit",
    "radian": "radian rad",
    "%": "percent percentage pct",
    "$": "dollar usd buck",
    "cent": "cent ¢",
    "€": "euro eur",
    "£": "gbp",
    "unit": "unit",
}
_CANONICAL = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_SINGLE_LETTER = frozenset(spelling for spelling in _CANONICAL if len(spelling) == 1)
# canonical name: what it measures, and how many of the smallest unit listed for that
_MEASURES = {
    "mm": ("length", 1), "cm": ("length", 10), "dm": ("length", 100), "m": ("length", 1000), "km": ("length", 10**6),
    "in": ("imperial length", 1), "ft": ("imperial length", 12), "yd": ("imperial length", 36),
    "mi": ("imperial length", 63_360), "mg": ("mass", 1), "g": ("mass", 1000), "kg": ("mass", 10**6),
    "oz": ("weight", 1), "lb": ("weight", 16), "ms": ("time", 1), "s": ("time", 1000), "min": ("time", 60_000),
    "h": ("time", 3_600_000), "day": ("time", 86_400_000), "week": ("time", 604_800_000), "ml": ("volume", 1),
    "l": ("volume", 1000), "j": ("energy", 1), "kj": ("energy", 1000), "w": ("power", 1), "kw": ("power", 1000),
    "hz": ("frequency", 1), "khz": ("frequency", 1000), "mhz": ("frequency", 10**6), "pa": ("pressure", 1),
    "kpa": ("pressure", 1000), "cent": ("money", 1), "$": ("money", 100),
}  # fmt: skip
_COMPOUND = {"mi/h": "mph", "km/h": "kph"}
SCALES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBER_WORDS = {word: value for value, word in enumerate(_SMALL)}
NUMBER_WORDS |= {word: value * 10 for value, word in enumerate(_TENS, start=2)}
# spelt denominators: "three quarters"
DENOMINATORS = {
    word + plural: value
    for value, word in enumerate("third quarter fifth sixth seventh eighth ninth tenth".split(), start=3)
    for plural in ("", "s")
} | {"half": 2, "halves": 2, "fourth": 4, "fourths": 4, "hundredth": 100, "hundredths": 100}


def _lookup(word: str) -> str | None:
    for form in (word, word.lower(), word.lower().rstrip(".")):
        if form in _CANONICAL:
            return _CANONICAL[form]
        if len(form) > 3 and form.endswith("s") and form[:-1] in _CANONICAL:
            return _CANONICAL[form[:-1]]
    return None


def is_unit(word: str, one_letter: bool = False) -> bool:
    """Whether a run of letters after a number is a unit, not a product of variables."""
    return len(word) > 1 - one_letter and _lookup(word) is not None


# Words after a number that make it another value, or deny it: "3 quarters", "7 squared", "5 is wrong", "3 in base 5".
_NOT_UNITS = frozenset(
    "is isn't not no wrong invalid incorrect rejected factorial tenth tenths hundredth hundredths thousandths half "
    "halves third thirds fourths fifth fifths sixth sixths seventh sevenths eighth eighths ninth ninths "
    "plus minus off base below".split()
)


def makes_another_value(words: list[str]) -> bool:
    """Whether words after a number are no unit of it but change or deny it."""
    lower = [word.lower() for word in words]
    return bool(_NOT_UNITS.intersection(lower)) or lower[:1] in (["squared"], ["cubed"])


def canonical_unit(words: list[str]) -> str:
    """One spelling for a unit given as its words and marks: ``["square", "feet"]`` and ``["ft", "^2"]`` -> ``ft^2``."""
    parts: list[str] = []
    power = ""
    for word in words:
        lower = word.lower().rstrip(".")
        if lower in ("square", "sq", "squared"):
            power = "^2"
        elif lower in ("cubic", "cu", "cubed"):
            power = "^3"
        elif lower == "per":
            parts.append("/")
        elif lower in ("of", "the", "a", "an", "each"):
            continue
        else:
            parts.append(_lookup(word) or lower)
            if power and lower not in ("^2", "^3"):
                parts.append(power)
                power = ""
    if power and parts:
        parts.append(power)
    unit = "".join(part if part in ("/", "^2", "^3") else f" {part}" for part in parts).replace("/ ", "/").strip()
    return _COMPOUND.get(unit, unit)


def known_unit(unit: str) -> bool:
    """Whether every part of a canonical unit is one that we know, so that another known unit contradicts it."""
    if unit.startswith("mod "):
        return True
    names = unit.replace("^2", "").replace("^3", "").replace("/", " ").split()
    return bool(names) and all(name in _SPELLINGS for name in names) and "unit" not in names


def conversion(unit: str, other: str) -> Fraction | None:
    """How many ``other`` one ``unit`` is; None where they do not measure the same."""
    name, power = (unit[:-2], int(unit[-1])) if unit.endswith(("^2", "^3")) else (unit, 1)
    other_name, other_power = (other[:-2], int(other[-1])) if other.endswith(("^2", "^3")) else (other, 1)
    if name not in _MEASURES or other_name not in _MEASURES or power != other_power:
        return None
    (measure, size), (other_measure, other_size) = _MEASURES[name], _MEASURES[other_name]
    return Fraction(size, other_size) ** power if measure == other_measure else None
