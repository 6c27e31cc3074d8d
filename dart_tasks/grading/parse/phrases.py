"""Answers that are words: truth values, choices, clock times, number words, sentences.

``\\textbf{(B)}\\ 5`` is choice B; "one hundred and twenty-five apples" is 125; "9 a.m." is "9:00 AM".
"""

from __future__ import annotations

import re
from fractions import Fraction

from dart_tasks.grading.parse.notation import MACRO, bare
from dart_tasks.grading.parse.tokens import plain
from dart_tasks.grading.parse.units import DENOMINATORS, NUMBER_WORDS, SCALES

__all__ = [
    "calendar_date",
    "choice_letter",
    "choice_letters",
    "clock_time",
    "listed_choices",
    "number_in_sentence",
    "predicate_key",
    "same_time",
    "spelt_fraction",
    "spelt_number",
    "text_key",
    "truth_value",
]

_STYLED = re.compile(
    r"\\(?:text|mbox|textrm|textbf|textit|mathrm|mathbf|operatorname|textnormal|emph)\s*\{([^{}]{0,2000})\}"
)
_CHOICE = re.compile(
    r"^(?:(?i:option|choice|answer)\s*\(?([A-Za-z])\)?[.:]?$|\(?([A-Za-z])\)(?:\s.*)?$|([A-Z])(?:[.:](?:\s.*)?)?$)",
    re.DOTALL,
)
_CHOICES = re.compile(r"\{?\(?[A-H]\)?(?:\s*(?:,|;|&|/|\band\b|\bor\b)\s*(?:and\s+|or\s+)?\(?[A-H]\)?){1,8}\}?")
_LISTED = re.compile(r"\(?[A-H]\)?(?:(?:\s*(?:,|;|&|、|，|和|与|and|or)\s*){0,2}\(?[A-H]\)?){0,7}")
_VALUED = re.compile(r"\(?([A-H])\)?\s*(?:\(.{1,80}\)|[.:：]\s(?:(?!\b[A-H][.:)]).){1,80})")
_NO_CHOICES = re.compile(r"[\d=+^<>_I-Z]")
_PREDICATE = re.compile(r"^(?:the|both|these|it|they)\s+(?:\w+\s+){0,4}?(?:is|are)\s+(?=\w)(?!not\b)", re.IGNORECASE)
_TRUE = frozenset(("true", "yes", "correct"))
_FALSE = frozenset(("false", "no", "incorrect"))
_OPENS_WITH_TRUTH = re.compile(r"\W*(?:yes|no|true|false)\s*[.,;:!]")
_ENDS_WITH_TRUTH = re.compile(r"(?:\bis|'s) (true|false)\W*$")
_TWELVE = re.compile(r"(?:12(?::00)? ?)?(noon|midnight)")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?\s*(?:([ap])\.?\s*m\.?)?", re.IGNORECASE)
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?"
)
_DATE = re.compile(
    rf"(?:on )?(?:the )?(?:(?P<month>{_MONTH})\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?"
    rf"|(?P<dated>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<named>{_MONTH})\.?),?(?: (?P<year>\d{{4}}))?"
)
_SUBJECT = r"(?:(?:series|sequence|integral|it) )?(?:is )?"  # articles are gone by then
_OBJECT = r"(?:(?:limit|value|slope|expression|function|derivative|inverse|it) )?"
_WHY = r"(?: (?:by|since|because|using|due to) .*)?"
_SAME_WORDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (
            r"(?:there (?:is|are) |(?:equation|system) has )?no (?:real )?solutions?(?: exists?)?|none"
            r"|inconsistent(?: system)?",
            "no solution",
        ),
        (r"emptyset|empty ?set|varnothing|oslash", "no solution"),
        (r"(?:there (?:is|are) )?infinit(?:e|ely)(?: many)?(?: number of)?(?: solutions?)?", "infinitely many"),
        (rf"{_OBJECT}(?:does not exist|dne|is undefined|undefined|not defined|is not defined)", "does not exist"),
        (rf"{_SUBJECT}(?:diverges|divergent|diverge){_WHY}", "diverges"),
        (rf"{_SUBJECT}(?:converges|convergent|converge){_WHY}", "converges"),
        (rf"{_SUBJECT}(?:converges absolutely|absolutely convergent)", "converges absolutely"),
        (rf"{_SUBJECT}(?:converges conditionally|conditionally convergent)", "converges conditionally"),
        (r"(?:it )?(?:is |yes )?function", "function"),
        (r"(?:it )?(?:is |no )?not function", "not function"),
        *(
            (rf"(?:in )?(?:{ordinal} quadrant|quadrant (?:{numeral}|{number}))", f"quadrant {number}")
            for number, (ordinal, numeral) in enumerate(
                (("first", "i"), ("second", "ii"), ("third", "iii"), ("fourth", "iv")), start=1
            )
        ),
    )
)
_NAMED_AGAIN = re.compile(r"[,;](?:[\s$\\{]|mathrm|text){0,8}[A-Z]\}?\s*[:=]")  # J: 3, K: 9 are names of values
_ONE_NUMBER = re.compile(r"(?<![\w.,])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?(?![\w/])%?")
_COMPARES = re.compile(
    r"\b(?:at least|at most|more|less|fewer|greater|than|over|under|between|not|never|or|minus|negative|to|from"
    r"|wrong|incorrect|invalid"
    r"|hundreds?|thousands?|millions?|billions?|half|halves|thirds?|quarters?|dozens?|times|per ?cent|point|squared"
    r"|plus|and)\b|n't",
    re.IGNORECASE,
)


_FORMULA = re.compile(r"\\[A-Za-z]|[\^_=<>|]")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_SINGLE = re.compile(r"\{\s*([^\s{}])\s*\}")
_PUNCTUATION = re.compile(r"(?<!\d)\.(?!\d)|[,;:!?\"'`*~](?!\d)|\.(?=\s|$)")
_FORMULA_PUNCTUATION = re.compile(r"(?<!\d)\.(?!\d)|[;?\"`~](?!\d)|:(?=\s|$)|(?<=[a-z]{2})['!*,]|[.,](?=\s|$)")
_ARTICLE = re.compile(r"\ba (?=[a-z]{3})")
_SAYS = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|can|equals?|left|makes?|takes?|needs?|costs?|gets?|earns?|spends?|pays?|total)\b",
    re.IGNORECASE,
)


def truth_value(text: str) -> bool | None:
    """True or False for an answer that says so: ``True``, ``yes.``, "No, because ...", "It is false"; else None."""
    lower = text.lower()
    if lower == text.upper():  # no letters
        return None
    lower = MACRO.sub(" ", lower)
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
    has_letters = len(text) <= 400 and text.lower() != text.upper()
    match = _CHOICE.match(bare(text)) if has_letters else None
    if match and (choice_letters(text) is not None or _NAMED_AGAIN.search(text)):
        return None
    return (match[1] or match[2] or match[3]).upper() if match else None


def choice_letters(text: str) -> tuple[str, ...] | None:
    """Several choices, in the order written: ``(A), (C)``, ``\\text{B and C}``; None for one or for anything else."""
    if not 2 < len(text) <= 120 or _NO_CHOICES.search(text):
        return None
    words = bare(text).strip(" .")
    return tuple(re.findall(r"\b[A-H]\b", words)) if _CHOICES.fullmatch(words) else None


def listed_choices(text: str) -> frozenset[str] | None:
    """The letters of an answer to a question that lists choices: ``ACD``, ``A, C and D``, ``B (a = 1)``, ``A、C``."""
    words = bare(text).strip(" .。") if len(text) <= 200 else ""
    listed = _LISTED.fullmatch(words)
    valued = _VALUED.fullmatch(words)
    letters = re.findall(r"[A-H]", words) if listed else [valued[1]] if valued else []
    return frozenset(letters) if letters and len(set(letters)) == len(letters) else None


def clock_time(text: str) -> tuple[frozenset[int], bool] | None:
    """The minutes of the day that a time may be, two of "3:40", and whether it has "AM" or "PM"."""
    if not 2 < len(text) <= 60 or not any(map(text.__contains__, ":mMnN")):  # a.m., noon
        return None
    words = bare(text).strip(" .").replace(" : ", ":")
    if twelve := _TWELVE.fullmatch(words.lower()):
        return frozenset((720 if twelve[1] == "noon" else 0,)), True
    match = _CLOCK.fullmatch(words)
    if not match or not (match[2] or match[3]):
        return None
    hour, minute = int(match[1]), int(match[2] or 0)
    if not match[3]:
        return frozenset(hours * 60 + minute for hours in ((hour, hour + 12) if 0 < hour < 12 else (hour,))), False
    return frozenset((hour % 12 * 60 + (720 if match[3].lower() == "p" else 0) + minute,)), True


def same_time(left: str, right: str) -> bool | None:
    """Whether two times of day, or two dates, may be the same; None where a side is none."""
    times = clock_time(left), clock_time(right)
    if times[0] and times[1] and (times[0][1] or times[1][1]):  # 3:40 alone may be a ratio
        return bool(times[0][0] & times[1][0])
    dates = calendar_date(left), calendar_date(right)
    if not dates[0] or not dates[1]:
        return None
    *first, year = dates[0]
    *second, other_year = dates[1]
    return first == second and (year == other_year or "" in (year, other_year))


def calendar_date(text: str) -> tuple[int, int, str] | None:
    """(month, day, year or nothing) of "March 15", "15 March", "the 15th of March", "March 15th, 2024"."""
    if (
        not 4 < len(text) < 60
        or not (text[0].isalnum() or text.startswith("\\text"))
        or text.isdigit()
        or (match := _DATE.fullmatch(bare(text).lower().strip(" ."))) is None
    ):
        return None
    name, day = match["month"] or match["named"], match["day"] or match["dated"]
    return _MONTHS.index(name[:3]), int(day), match["year"] or ""


_NUMERAL = re.compile(r"[-$]?\d[\d.,/]*")


def spelt_number(text: str) -> tuple[int, str] | None:
    """A whole number in words and what follows it: "twenty-five apples" is (25, "apples")."""
    words = text.lower().replace("-", " ").split()
    if words[:1] == ["a"] and words[1:2] and words[1] in ("dozen", "hundred", "thousand", "million", "billion"):
        words[0] = "one"
    total = current = 0
    used = 0
    for index, word in enumerate(words[:8]):
        if word in NUMBER_WORDS:
            current += NUMBER_WORDS[word]
        elif word == "hundred" and index:
            current = max(current, 1) * 100
        elif word in ("dozen", "thousand", "million", "billion") and index:
            total, current = total + max(current, 1) * SCALES[word], 0
        elif not (word == "and" and used and words[index - 1] == "hundred"):
            break
        used = index + 1
    if (
        not used
        or words[used - 1] == "and"
        or set(words[used:]) & (NUMBER_WORDS.keys() | SCALES.keys() | {"half", "point", "and", "or"})
        or any(_NUMERAL.fullmatch(word) for word in words[used:])
    ):
        return None
    return total + current, " ".join(words[used:])


def spelt_fraction(text: str) -> Fraction | None:
    """A fraction in words with nothing after it: "three quarters", "two and a half", "one-eighth"."""
    words = text.lower().replace("-", " ").split()
    sign = -1 if words[:1] in (["negative"], ["minus"]) else 1
    words = words[1:] if sign < 0 else words
    if not words or len(words) > 8 or words[-1] not in DENOMINATORS:
        return None
    denominator = DENOMINATORS[words[-1]]
    before, whole = words[:-1], Fraction(0)
    if "and" in before:
        split = before.index("and")
        number = spelt_number(" ".join(before[:split]))
        if number is None or number[1]:
            return None
        before, whole = before[split + 1 :], Fraction(number[0])
    if before in ([], ["a"], ["an"]):
        top = 1 if before or words[-1] == "half" else 0
    else:
        numerator = spelt_number(" ".join(before))
        top = numerator[0] if numerator and not numerator[1] else 0
    return sign * (whole + Fraction(top, denominator)) if top and (not whole or top < denominator) else None


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


def predicate_key(text: str) -> str:
    """The key of what a sentence says of its subject: "The lines are parallel" has that of "parallel"."""
    shorter = _PREDICATE.sub("", bare(text)) if len(text) <= 200 else text
    return text_key(shorter) if shorter != text else ""


def text_key(text: str, is_formula: bool = False) -> str:
    """Text without what does not tell answers apart: case, spaces, macros, punctuation, articles, synonyms.

    In a formula, the case of letters, primes, commas and what a brace holds do tell answers apart.
    """
    text = plain(MACRO.sub(" ", _STYLED.sub(r" \1 ", text[:20_000])))
    is_formula = is_formula or bool(_FORMULA.search(text))
    if is_formula:
        text = _WORD.sub(lambda word: word[0].lower(), text)
        if text.count("{") == text.count("}"):  # \sqrt{2x} is not \sqrt{2}x
            text = _SINGLE.sub(r"\1", text).replace("{", "(").replace("}", ")")
    else:
        text = text.lower()
    text = text.replace("}", " ").replace("{", " ")
    text = " ".join(text.replace("\\mid", "|").split())  # no pattern may meet a long run of spaces
    text = re.sub(r" ?, ?", ",", re.sub(r"\\[dtc]frac(?![a-z])", r"\\frac", text))
    text = re.sub(r"(?<=[a-z])\.(?=[a-z]\b)", "", text)
    text = (_FORMULA_PUNCTUATION if is_formula else _PUNCTUATION).sub(" ", text)
    text = _ARTICLE.sub(" ", text) if is_formula else text
    words = " ".join(word for word in text.split() if word not in ("the", "an") and (is_formula or word != "a"))
    words = words if is_formula else re.sub(r"(?<=[a-z])-(?=[a-z])", " ", words).removesuffix(" only")
    words = re.sub(r"^(?:it s|(?:it|this|that)(?: is)?) (?=.)|^on (?=\w+day$)", "", words)
    if len(words) <= 60:
        words = next((canonical for pattern, canonical in _SAME_WORDS if pattern.fullmatch(words)), words)
    return words.replace(" ", "")
