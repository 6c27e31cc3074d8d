"""Answers that are words: truth values, choices, clock times, number words, sentences.

``\\textbf{(B)}\\ 5`` is choice B; "one hundred and twenty-five apples" is 125; "9 a.m." is "9:00 AM".
"""

from __future__ import annotations

import re

from dart_tasks.grading.lexer import plain
from dart_tasks.grading.units import NUMBER_WORDS

__all__ = ["bare", "choice_letter", "clock_time", "number_in_sentence", "spelt_number", "text_key", "truth_value"]

_MACRO = re.compile(r"\\(?:text|mbox|textrm|textbf|textit|mathrm|mathbf|operatorname|textnormal|emph)\s*\{")
_CHOICE = re.compile(
    r"^(?:(?i:option|choice|answer)\s*\(?([A-Za-z])\)?[.:]?$|\(?([A-Za-z])\)(?:\s.*)?$|([A-Z])(?:[.:](?:\s.*)?)?$)",
    re.DOTALL,
)
_TRUE = frozenset(("true", "yes", "correct"))
_FALSE = frozenset(("false", "no", "incorrect"))
_OPENS_WITH_TRUTH = re.compile(r"\W*(?:yes|no|true|false)\s*[.,;:!]")
_ENDS_WITH_TRUTH = re.compile(r"\bis (true|false)\W*$")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?\s*([ap])\.?\s*m\.?", re.IGNORECASE)
_SUBJECT = r"(?:(?:series|sequence|integral|it) )?(?:is )?"  # articles are gone by then
_SAME_WORDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"(?:there (?:is|are) )?no (?:real )?solutions?(?: exists?)?|none|inconsistent(?: system)?", "no solution"),
        (r"emptyset|empty ?set|varnothing|oslash", "no solution"),
        (r"(?:there (?:is|are) )?infinit(?:e|ely)(?: many)?(?: number of)?(?: solutions?)?", "infinitely many"),
        (r"(?:it )?(?:does not exist|dne|is undefined|undefined|not defined|is not defined)", "does not exist"),
        (rf"{_SUBJECT}(?:diverges|divergent|diverge)", "diverges"),
        (rf"{_SUBJECT}(?:converges|convergent|converge)", "converges"),
        (rf"{_SUBJECT}(?:converges absolutely|absolutely convergent)", "converges absolutely"),
        (rf"{_SUBJECT}(?:converges conditionally|conditionally convergent)", "converges conditionally"),
        (r"(?:it )?(?:is |yes )?function", "function"),
        (r"(?:it )?(?:is |no )?not function", "not function"),
    )
)
_ONE_NUMBER = re.compile(r"(?<![\w.,])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?(?![\w/])%?")
_COMPARES = re.compile(
    r"\b(?:at least|at most|more|less|fewer|greater|than|over|under|between|not|never|or|minus|negative|to|from"
    r"|wrong|incorrect|invalid"
    r"|hundreds?|thousands?|millions?|billions?|half|halves|thirds?|quarters?|dozens?|times|per ?cent|point|squared"
    r"|plus|and)\b|n't",
    re.IGNORECASE,
)


_SAYS = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|can|equals?|left|makes?|takes?|needs?|costs?|gets?|earns?|spends?|pays?|total)\b",
    re.IGNORECASE,
)


def bare(text: str) -> str:
    """Without style macros, braces and dollars, white space collapsed."""
    for mark in ("}", "{", "$", "*", "\\"):
        text = _MACRO.sub(" ", text).replace(mark, " ") if mark == "}" else text.replace(mark, " ")
    return " ".join(text.split())


def truth_value(text: str) -> bool | None:
    """True or False for an answer that says so: ``True``, ``yes.``, "No, because ...", "It is false"; else None."""
    lower = _MACRO.sub(" ", text.lower())
    words = re.findall(r"[a-z]+", lower)
    if not words:
        return None
    ending = _ENDS_WITH_TRUTH.search(lower)
    if ending and "not" not in words and len(words) <= 8:
        return ending[1] == "true"
    if len(words) > 1 and not _OPENS_WITH_TRUTH.match(lower):
        return None
    return True if words[0] in _TRUE else False if words[0] in _FALSE else None


def choice_letter(text: str) -> str | None:
    """The letter of a multiple-choice answer, in upper case: ``(B)``, ``\\textbf{(B)}\\ 5``, ``option (c)``, ``B``."""
    match = _CHOICE.match(bare(text)) if len(text) <= 400 else None
    return (match[1] or match[2] or match[3]).upper() if match else None


def clock_time(text: str) -> tuple[int, int, str] | None:
    """(hour, minute, "a" or "p") of a time of day on the twelve-hour clock."""
    match = _CLOCK.fullmatch(bare(text).strip(" .")) if len(text) <= 60 else None
    return (int(match[1]), int(match[2] or 0), match[3].lower()) if match else None


def spelt_number(text: str) -> tuple[int, str] | None:
    """A whole number in words and what follows it: "twenty-five apples" is (25, "apples")."""
    words = text.lower().replace("-", " ").split()
    total = current = 0
    used = 0
    for index, word in enumerate(words[:8]):
        if word in NUMBER_WORDS:
            current += NUMBER_WORDS[word]
        elif word == "hundred" and index:
            current = max(current, 1) * 100
        elif word == "thousand" and index:
            total, current = total + max(current, 1) * 1000, 0
        elif not (word == "and" and used and words[index - 1] == "hundred"):
            break
        used = index + 1
    if (
        not used
        or words[used - 1] == "and"
        or set(words[used:]) & (NUMBER_WORDS.keys() | {"million", "half", "point", "and"})
    ):
        return None
    return total + current, " ".join(words[used:])


def number_in_sentence(text: str) -> str | None:
    """The only number of a sentence that merely names it ("Ann makes $18 a day"), not compared or combined."""
    sentence = bare(text)
    numbers = _ONE_NUMBER.findall(sentence)
    if (
        len(sentence) > 200
        or len(numbers) != 1
        or _COMPARES.search(sentence)
        or not _SAYS.search(sentence)
        or re.search(r"[=<>+^|]|\d\s*[-*]", sentence)
    ):
        return None
    return str(numbers[0])


def text_key(text: str) -> str:
    """Text without what does not tell answers apart: case, spaces, macros, punctuation, articles, synonyms."""
    text = plain(_MACRO.sub(" ", text[:20_000])).lower().replace("}", " ").replace("{", " ")
    text = " ".join(text.split())  # no pattern may meet a long run of spaces
    text = re.sub(r" ?, ?", ",", re.sub(r"\\[dtc]frac\b", r"\\frac", text))
    text = re.sub(r"(?<=[a-z])\.(?=[a-z]\b)", "", text)
    text = re.sub(r"(?<!\d)\.(?!\d)|[,;:!?\"'`*~](?!\d)|\.(?=\s|$)", " ", text)
    words = " ".join(word for word in text.split() if word not in ("the", "a", "an"))
    words = re.sub(r"^(?:it|this|that) is (?=.)", "", words)
    if len(words) <= 60:
        words = next((canonical for pattern, canonical in _SAME_WORDS if pattern.fullmatch(words)), words)
    return words.replace(" ", "")
