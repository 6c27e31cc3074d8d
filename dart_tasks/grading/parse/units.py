"""Units of measure and words after a number: which are the same unit, which are known, which scale the number.

``5 \\text{ cm}^2`` and ``5 square centimeters`` carry the same unit; ``3 million`` is 3,000,000.
"""

from __future__ import annotations

import re
from collections.abc import Set
from fractions import Fraction

__all__ = [
    "DENOMINATORS",
    "NUMBER_WORDS",
    "SCALES",
    "canonical_unit",
    "contradict",
    "conversion",
    "directed",
    "is_unit",
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
    "μm": "μm micrometer micrometre micron",
    "μs": "μs microsecond",
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
_EXCLUDING = tuple(  # 4 units to the left, or to the right; 5 km north, or east
    frozenset(words.split())
    for words in (
        "left right up down", "north south east west", "above below", "before after", "clockwise counterclockwise",
        "profit loss", "gain loss", "noon midnight",
    )
)  # fmt: skip
_DIRECTIONS = frozenset().union(*_EXCLUDING)
_POWER = re.compile(r"\^(-?[0-9]{1,2})")
_COMPOUND = {"mi/h": "mph", "km/h": "kph"}
_EXPANDED = {short: unit for unit, short in _COMPOUND.items()}
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
    """One spelling for a unit given as its words and marks: ``["square", "feet"]`` and ``["ft", "^2"]`` -> ``ft^2``.

    What is below a stroke, or has a negative power, follows one: ``["m", "s", "^-2"]`` -> ``m/s^2``.
    """
    parts: list[list[str | int]] = []  # a name and its power
    sign, power = 1, 1
    for word in words:
        lower = word.lower().rstrip(".")
        if lower in ("square", "sq", "cubic", "cu"):
            power = 2 if lower.startswith("s") else 3
        elif lower in ("squared", "cubed") and parts:
            parts[-1][1] = sign * (2 if lower == "squared" else 3)
        elif (raised := _POWER.fullmatch(lower)) and parts:
            parts[-1][1] = sign * int(raised[1])
        elif lower == "per":
            sign = -1
        elif lower not in ("of", "the", "to", "an", "each", "-") and word != "a":
            parts.append([_lookup(word) or lower, sign * power])
            power = 1
    above = " ".join(_raised(str(name), int(size)) for name, size in parts if int(size) > 0)
    below = " ".join(_raised(str(name), -int(size)) for name, size in parts if int(size) < 0)
    unit = f"{above}/{below}" if below else above
    return _COMPOUND.get(unit, unit)


def _raised(name: str, power: int) -> str:
    return name if power == 1 else f"{name}^{power}"


def _powers(unit: str) -> dict[str, int]:
    """The names in a canonical unit with their powers: ``m/s^2`` has m to 1, s to -2."""
    above, _, below = _EXPANDED.get(unit, unit).partition("/")
    powers: dict[str, int] = {}
    for names, sign in ((above, 1), (below, -1)):
        for part in names.split():
            name, _, power = part.partition("^")
            raised = _POWER.fullmatch(f"^{power}")
            powers[name] = powers.get(name, 0) + sign * (int(raised[1]) if raised else 1)
    return powers


def directed(unit: str, words: str) -> str:
    """A unit with what tells the direction of its value: ``30^\\circ \\text{ clockwise}``, ``$5 loss``."""
    is_residue = unit.startswith("mod ")
    return unit if is_residue else " ".join((unit, *(word for word in words.split() if word in _DIRECTIONS)))


def _exclude(words: Set[str], others: Set[str]) -> bool:
    """Whether two units tell different directions."""
    return any(one & words and one & others and not one & words & others for one in _EXCLUDING)


def contradict(unit: str, other: str) -> bool:
    """Whether two different units cannot belong to one quantity: both are known, or their powers differ."""
    if unit.startswith("mod ") or other.startswith("mod "):
        return True
    if "degree" in (unit, other) and unit.split()[:1] == other.split()[:1]:  # 72 degrees, of Fahrenheit
        return False
    powers, other_powers = _powers(unit), _powers(other)
    if _exclude(powers.keys(), other_powers.keys()):
        return True
    if "unit" in powers or "unit" in other_powers:
        return sorted(powers.values()) != sorted(other_powers.values())
    return {*powers, *other_powers} <= _SPELLINGS.keys()


def conversion(unit: str, other: str) -> Fraction | None:
    """How many ``other`` one ``unit`` is; None where they do not measure the same."""
    (size, measures), (other_size, other_measures) = _size(unit), _size(other)
    is_same = measures == other_measures and not _exclude(_powers(unit).keys(), _powers(other).keys())
    return size / other_size if measures and is_same else None


def _size(unit: str) -> tuple[Fraction, dict[str, int]]:
    """A unit's size and what it measures: ``km/h`` is 10^6/3,600,000, and length by time. Nothing if unknown."""
    size, measures = Fraction(1), dict[str, int]()
    for name, power in _powers(unit).items():
        if name in _DIRECTIONS:  # $0.20 left
            continue
        if name not in _MEASURES:
            return Fraction(1), {}
        measure, small = _MEASURES[name]
        size *= Fraction(small) ** power
        measures[measure] = measures.get(measure, 0) + power
    return size, {measure: power for measure, power in measures.items() if power}
