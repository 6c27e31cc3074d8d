"""What a question asks for: a number of something, money, a percentage, a truth value, an equation.

"How many more girls than boys are there?" counts girls.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Asked", "asked_by", "stem"]

_COUNTED = re.compile(r"\b(?:how many|the number of|total number of)\s+((?:[a-zA-Z-]+[ ,]+){1,6})", re.IGNORECASE)
_NOT_NOUNS = frozenset("more fewer less total additional extra other different whole the such".split())
_NO_LONGER_NOUNS = re.compile(
    r"\b(?:do|does|did|are|is|will|were|was|can|could|has|have|had|would|should|must|might|may|there|in|to|on|at|for|he"
    r"|she|they|it|we|you|with|an?|from|between|that|which|who|after|before|if|when|by|less|greater)\b.*",
    re.IGNORECASE,
)
_MONEY_ASKED = re.compile(
    r"\bhow much (?!time|longer|more time|water|weight|does \w+ weigh)|\b(?:cost|price|pay|paid|earn|profit|spend"
    r"|spent|money"
    r"|dollars?|salary|revenue|income|wage|owe|save)s?\b",
    re.IGNORECASE,
)
_PERCENT_ASKED = re.compile(r"\bwhat (?:\w+ ){0,3}per\s?cent|\bpercentage of\b|\bhow many per\s?cent", re.IGNORECASE)
_CHANCE_ASKED = re.compile(r"\b(?:probability|chances?|odds|likel(?:y|ihood)|fraction)\b", re.IGNORECASE)
_ASKS_TRUTH = re.compile(
    r"(?:^|[.?!,:;$]\s+|\n)(?:is|are|does|do|did|can|could|will|would|has|have|was|were|must|should)\s|true or false"
    r"|\bfalse\b|\byes or no\b|\bwhether\b|\bthen the statement\b|是否",
    re.IGNORECASE,
)
_ASKS_EQUATION = re.compile(
    r"\b(?:find|what is|determine|write|give|state|enter)\b[^.?]{0,40}\bequation\b(?![^.?]*[Ff]ind)", re.I
)
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|long|far|old)\b|\bwhat (?:is|are) the\b|\bfind\b|\bcompute\b|\bcalculate\b", re.I
)

_ASKS_MORE = re.compile(
    r"\b(?:how (?:many|much) (?:more|fewer|less|older|younger|taller|shorter|longer)|difference)\b", re.I
)

_ASKS_PLACE = re.compile(r"\b(?:where|(?:for|at) (?:which|what)|values? of \$?[a-z]\$?[ ,.?]|when)\b", re.IGNORECASE)
_CALENDAR = re.compile(
    r"\b(?:what|which) (?:day(?! of the month)|weekday|(?P<month>month))\b|\bday of the week\b", re.IGNORECASE
)
_ASKS_EXTREME = re.compile(
    r"\b(?:(?P<least>least|minimum|minimal|smallest|lowest|fewest|lower bound)"
    r"|most|maximum|maximal|largest|greatest|highest|bound)\b",
    re.IGNORECASE,
)


_LAST_SENTENCE = re.compile(r"[.!?]\s+(?=\S)")
_COMMON = frozenset("the and how man much what does did are was for has have had that they there who which".split())


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for.

    Attributes:
        words: the stems of the words of the question's last sentence.
        nouns: the stems of the words that are counted: "how many more girls" counts ``girl``.
        chance: a probability, which may be said as "3 in 8".
        more: by how much one thing exceeds another.
        place: where, or for which value of a variable, something holds.
        extreme: "least" or "most" where that is asked for, "both" where both are: then a bound answers.
        calendar: "day" or "month", where the name of one is asked for.
    """

    words: frozenset[str] = frozenset()
    nouns: tuple[str, ...] = ()
    money: bool = False
    percent: bool = False
    chance: bool = False
    truth: bool = False
    number: bool = False
    equation: bool = False
    more: bool = False
    place: bool = False
    extreme: str = ""
    calendar: str = ""


@lru_cache(maxsize=256)
def asked_by(question: str | None) -> Asked:
    """What the end of the question asks for."""
    if question is None:
        return Asked()
    last = question[-600:]
    nouns: list[str] = []
    for phrase in _COUNTED.findall(last):
        head, _, other = _NO_LONGER_NOUNS.sub("", phrase).lower().replace(",", " ").partition(" of ")
        nouns += [word for word in (*head.split()[-2:], *other.split()[:2]) if word not in _NOT_NOUNS]
    return Asked(
        frozenset(stem(word) for word in re.findall(r"\w{3,}", _LAST_SENTENCE.split(last)[-1].lower())) - _COMMON,
        tuple(stem(noun) for noun in nouns),
        bool(_MONEY_ASKED.search(last)) and not nouns,
        bool(_PERCENT_ASKED.search(last.rpartition(".")[2] or last)),
        bool(_CHANCE_ASKED.search(last)),
        bool(_ASKS_TRUTH.search(question)),
        bool(_ASKS_NUMBER.search(question)),
        bool(_ASKS_EQUATION.search(last)),
        bool(_ASKS_MORE.search(last)),
        bool(_ASKS_PLACE.search(last)),
        _extreme(last),
        ("month" if named["month"] else "day") if (named := _CALENDAR.search(last)) else "",
    )


def _extreme(question: str) -> str:
    found = {bool(word["least"]) for word in _ASKS_EXTREME.finditer(question)}
    return "" if not found else "both" if len(found) > 1 else "least" if found.pop() else "most"


def stem(word: str) -> str:
    """A word without its plural."""
    return re.sub(r"(?:ie|e)?s$|[ey]$", "", word) if len(word) > 3 else word
