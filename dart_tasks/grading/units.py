"""Units of measure and words after a number: which are the same unit, which are known, which scale the number.

``5 \\text{ cm}^2`` and ``5 square centimeters`` carry the same unit; ``3 million`` is 3,000,000.
"""

from __future__ import annotations

__all__ = ["NUMBER_WORDS", "SCALES", "canonical_unit", "is_unit", "known_unit", "makes_another_value"]

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
    "pa": "Pa pascal",
    "kpa": "kPa kilopascal",
    "k": "K kelvin",
    "mol": "mol mole",
    "ohm": "ohm",
    "degree": "degree deg",
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
_COMPOUND = {"mi/h": "mph", "km/h": "kph"}
SCALES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
NUMBER_WORDS = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {
    word: value * 10
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}


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
    names = unit.replace("^2", "").replace("^3", "").replace("/", " ").split()
    return bool(names) and all(name in _SPELLINGS for name in names) and "unit" not in names
