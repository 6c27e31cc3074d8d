"""What a question says about its answer's form: which expression it asks for, in which order, rounded to what.

>>> asked_of("Let $m$ and $n$ be coprime with $m/n = 12/30$. Find $m+n$.")
('m+n',)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Hints", "asked_of", "asked_words", "hints", "is_property_denied", "mentions"]

_ORDERED = re.compile(
    r"\bsort\b|\b(?:arrange|put|list|order)\b.{0,80}\b(?:ascending|descending|increasing|decreasing)\b|\brespectively\b"
    r"|\bin (?:the )?(?:ascending|descending|increasing|decreasing|numerical) order\b"
    r"|from (?:the )?(?:least|smallest|greatest|largest) to",
    re.IGNORECASE,
)
_ORDER_HINTS = ("sort", "respective", "cending", "creasing", "numerical order", "from ")  # one is in each match
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
            "twelve": 12, "sixteen": 16}  # fmt: skip
_BASE = re.compile(rf"\bbases?\b(?:[- $]*(?:\\text\{{)?(\d{{1,2}}|{'|'.join(_NUMBERS)})\b)?|_\s*\{{?(\d{{1,2}})")
_NAMED_BASES = {"binary": 2, "octal": 8, "hexadecimal": 16, "decimal": 10}
_PERCENT = re.compile(r"\bper\s?cent")
_MATRICES = re.compile(r"[^.?!]*\bmatri(?:x|ces)\b[^.?!]*", re.IGNORECASE)
_CAPITAL = re.compile(r"(?<![A-Za-z\\])[A-Z](?![A-Za-z])")
_OPTIONS = re.compile(
    r"^\s*(?:\\text(?:bf)?\{)?\(?B[.):：、．]\s*\}?\s*\S|(?s:(?:^|\s)A[.):：、．]\s*\S.*?\sB[.):：、．]\s*\S.*?\sC[.):：、．])",
    re.MULTILINE,
)
_FORMULA = r"(?:\$\$?(?P<dollars>[^$]{1,600})\$|\\\[(?P<display>.{1,600}?)\\\]|\\\((?P<inline>.{1,600}?)\\\))"
_ASKS = re.compile(  # "Find the smallest value of $n$", "What are the lengths of $AB$ and $CD$"
    r"\b(?:find|compute|calculate|determine|evaluate|simplify|give|enter|solve\b[^.?!$]{0,40}?\bfor|for which|for what"
    r"|what(?:'s| is| are| was| were| must| can| would)?(?: be)?|how (?:long|large|big|far|tall|many) is|ratio(?: of)?)"
    r"(?:[\s,:]+(?:is|are|be|the|an?|all|exact|numerical|possible|positive|integer|real|complex|constants?|values?"
    r"|unknowns?|variables?|lengths?|measures?|size|magnitude|angles?|segments?|sides?|ordered|pairs?|triples?|tuple"
    r"|quantity|quantities|expressions?|following|determinant|vectors?|matrix|matrices|point|coordinates|coefficients?"
    r"|largest|greatest|maximum|smallest|least|minimum|value|degrees|in|of|for|both|each|ratio)\b){0,9}(?:\s+(?:probability|inverse|function|polynomial|derivative|sum|product|integral|limit|number|distance"
    r"|difference|area|volume))?[\s:,]*"
    + _FORMULA
    + r"(?P<more>(?:\s*(?:,|and|or|,\s*and)\s*(?:the (?:value|length|number|angle)s?(?: of)? )?"
    + re.sub(r"\?P<\w+>", "", _FORMULA)
    + r"){0,4})",
    re.IGNORECASE | re.DOTALL,
)
_ANY_FORMULA = re.compile(_FORMULA, re.DOTALL)
_OF_SET = re.compile(r"(?:\\in(?![a-z])|∈).*", re.DOTALL)  # \theta \in [0, 2\pi)
_COUNTED = re.compile(
    r"\bhow many (?:more |total |extra |additional )?([a-z]+)"
    r"| in (?:terms of )?([a-z]{2,}|[mb]illions of [a-z]+)\s*[?.](?=\s|$)"
)
_TWO_ASKED = re.compile(
    r"\b(?:find|what (?:is|are)|compute|calculate|determine|give)(?: both)? the ([a-z]{3,})"
    r"(?: of [^.?!,]{1,40})?,? and (?:the )?([a-z]{3,})\b",
    re.IGNORECASE,
)
_WHETHER = re.compile(
    r"(?:^|[.!?:]\s)\s*Is (?:[^.?!]{0,100} )?(?!an? )(\S{1,30}) (?:an? )?(?!number)([a-z]{3,20})(?: number)?\?\s*$"
)
_DENIED = re.compile(r"\b(?:not|no|never|if|whether|nor|neither|unless|suppose)\b|n't|\?")
_OPTION_WORDS = re.compile(r"\boptions:\s*((?:\n?\s*- [\w-]{2,30}\s*(?=\n|$))+)")
_INSIDE = re.compile(r"\{[^{}]*\}|\([^()]*\)")
_COMMAND = re.compile(r"\\(?:text\w*|mathrm|mbox|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_ROUNDS = re.compile(
    r"(?P<count>\d{1,2}|one|two|three|four|five|six)[- ](?:(?P<places>decimal places?|decimals|places after)"
    r"|(?:significant (?:figures?|digits?)|sig\.? ?figs?))"
    r"|(?:nearest|closest) (?P<unit>integer|whole number|unit|tenths?|hundredths?|thousandths?|ten-thousandth|ten"
    r"|hundred|thousand|million|cent|dollar|degree|minute|second|hour|day|year|mile|foot|inch|percent|meter|metre|centimeter|kilometer)"
    r"\b(?! of (?:a|one) per ?cent)",
    re.IGNORECASE,
)
_ROUNDING_WORDS = ("nearest", "closest", "decimal", "places", "signif", "sig")  # one is in each match
_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_PLACES = {
    "tenth": 1, "hundredth": 2, "cent": 2, "thousandth": 3, "ten-thousandth": 4, "ten": -1, "hundred": -2,
    "thousand": -3, "million": -6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hints:
    """What a question says about the answer's form.

    Attributes:
        ordered: the items of a list are wanted in an order.
        percent: a percentage is asked for.
        bases: those that it speaks of; None where they are not known.
        choices: it lists choices.
        words: the options, where those are words.
        unit: the word for what is counted, as the unit in "how many hours", "in minutes?".
        places: how many decimal places the answer is to be rounded to (negative: tens, hundreds).
        digits: how many significant digits the answer is to be rounded to.
        noncommuting: names that it calls matrices.
    """

    ordered: bool = False
    percent: bool = True
    bases: frozenset[int] | None = None
    choices: bool = False
    words: frozenset[str] = frozenset()
    unit: str = ""
    places: int | None = None
    digits: int | None = None
    noncommuting: frozenset[str] = frozenset()


@lru_cache(maxsize=1024)
def hints(question: str | None) -> Hints:
    """What a question says; nothing is known where there is none."""
    if question is None:
        return Hints()
    lower = question.lower()
    places, digits = _rounding(question) if any(map(lower.__contains__, _ROUNDING_WORDS)) else (None, None)
    return Hints(
        ordered=any(map(lower.__contains__, _ORDER_HINTS)) and bool(_ORDERED.search(question)),
        percent="%" in lower or ("cent" in lower and bool(_PERCENT.search(lower))),
        bases=_bases(lower),
        choices="(b)" in lower
        or (any(mark in question for mark in ("B.", "B)", "B:")) and bool(_OPTIONS.search(question))),
        words=_words(lower),
        unit=_unit(lower),
        places=places,
        digits=digits,
        noncommuting=_matrix_names(question) if "matri" in lower else frozenset(),
    )


def _words(question: str) -> frozenset[str]:
    options = _OPTION_WORDS.search(question) if "options" in question else None
    return frozenset(re.findall(r"[\w-]+", options[1].replace("- ", " "))) if options else frozenset()


def _unit(question: str) -> str:
    last = question[-400:]
    asked = [found[1] or found[2] for found in _COUNTED.finditer(last)] if "how many" in last or " in " in last else []
    return asked[-1] if asked else ""


def _bases(question: str) -> frozenset[int] | None:
    found = {base for name, base in _NAMED_BASES.items() if name in question}
    for base in _BASE.finditer(question) if "base" in question or "_" in question else ():
        number = base[1] or base[2]
        if number is None:
            return None  # base b
        found.add(int(number) if number.isdigit() else _NUMBERS[number])
    return frozenset(found)


def _matrix_names(question: str) -> frozenset[str]:
    """The capital letters in formulas of the sentences that speak of matrices."""
    formulas = (formula[0] for sentence in _MATRICES.findall(question) for formula in _ANY_FORMULA.finditer(sentence))
    return frozenset(letter for formula in formulas for letter in _CAPITAL.findall(formula))


@lru_cache(maxsize=1024)
def asked_of(question: str | None) -> tuple[str, ...]:
    """The expressions that a question asks for, as written: the formulas of the last phrase that asks for some."""
    found: tuple[str, ...] = ()
    for phrase in _ASKS.finditer((question or "")[-4_000:]):
        first = phrase["dollars"] or phrase["display"] or phrase["inline"]
        more = (next(filter(None, formula.groups())) for formula in _ANY_FORMULA.finditer(phrase["more"]))
        formulas = tuple(_OF_SET.sub("", formula).strip(" \n.,;:?") for formula in (first, *more))
        if "=" not in _INSIDE.sub("", "".join(formulas)):
            found = formulas
    return found


@lru_cache(maxsize=1024)
def asked_words(question: str | None) -> tuple[str, ...]:
    """The two things that a question asks for in words: "Find the perimeter and the area" asks for these, in order."""
    found = _TWO_ASKED.findall((question or "")[-1_000:])
    return tuple(word.lower() for word in found[-1]) if found else ()


def is_property_denied(question: str | None, sentence: str) -> bool | None:
    """Whether a sentence denies what a question wants to know ("Is 91 prime?"); None where it says nothing of it."""
    asked = _WHETHER.search((question or "")[-1_000:]) if len(sentence) <= 300 else None
    if asked is None:
        return None
    subject, wanted = (re.escape(part) for part in asked.groups())
    said = re.findall(rf"(?:(?<!\S)|[$]){subject}[$]? is (not )?(?:an? )?{wanted}\b", sentence, re.IGNORECASE)
    rest = _DENIED.findall(sentence.lower())
    return bool(said[0]) if len(said) == 1 and len(rest) == bool(said[0]) else None


def _rounding(question: str) -> tuple[int | None, int | None]:
    order = _ROUNDS.search(question)
    if order is None:
        return None, None
    if order["unit"]:
        return _PLACES.get(order["unit"].lower().removesuffix("s"), 0), None
    count = _COUNTS.get(order["count"].lower()) or int(order["count"])
    return (count, None) if order["places"] else (None, count)


def mentions(question: str | None, name: str) -> bool:
    """Whether a formula of the question has this letter in it (``m``, ``x_1``, ``theta``)."""
    letter, _, subscript = name.partition("_")
    for formula in _ANY_FORMULA.finditer((question or "")[-4_000:]):
        text = next(filter(None, formula.groups()))
        if len(letter) > 1:
            if f"\\{letter}" in text:
                return True
        elif re.search(rf"{letter}{rf'_{{?{subscript}' if subscript else ''}", _COMMAND.sub(" ", text)):
            return True
    return False
