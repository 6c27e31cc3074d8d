"""What a question asks for: a number of something, money, a percentage, a truth value, an equation.

"How many more girls than boys are there?" counts girls.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache

__all__ = ["Asked", "asked_by", "stem"]

_COUNTED = re.compile(r"\b(?:how many|the number of|total number of)\s+((?:[a-z-]+[ ,]+){1,6})")
_NOT_NOUNS = frozenset("more fewer less total additional extra other different whole the such".split())
_NO_LONGER_NOUNS = re.compile(
    r"\b(?:do|does|did|are|is|will|were|was|can|could|has|have|had|would|should|must|might|may|there|in|to|on|at|for|he"
    r"|she|they|it|we|you|with|an?|from|between|that|which|who|after|before|if|when|by|less|greater)\b.*",
)
_MONEY_ASKED = re.compile(
    r"\bhow much (?!time|longer|more time|water|weight|does \w+ weigh)|\b(?:cost|price|pay|paid|earn|profit|spend"
    r"|spent|money"
    r"|dollars?|salary|revenue|income|wage|owe|save)s?\b",
)
_PERCENT_ASKED = re.compile(r"\bwhat (?:\w+ ){0,3}per\s?cent|\bpercentage of\b|\bhow many per\s?cent")
_CHANCE_ASKED = re.compile(r"\b(?:probability|chances?|odds|likel(?:y|ihood)|fraction)\b")
_ASKS_TRUTH = re.compile(
    r"(?:^|[.?!,:;$]\s+|\n)(?:is|are|does|do|did|can|could|will|would|has|have|was|were|must|should)\s|true or false"
    r"|\bfalse\b|\byes or no\b|\bwhether\b|\bthen the statement\b|是否",
)
_ASKS_EQUATION = re.compile(
    r"\b(?:find|what is|determine|write|give|state|enter)\b[^.?]{0,40}\bequation\b(?![^.?]*find)"
)
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|long|far|old)\b|\bwhat (?:is|are) the\b|\bfind\b|\bcompute\b|\bcalculate\b"
)

_ASKS_MORE = re.compile(r"\b(?:how (?:many|much) (?:more|fewer|less|older|younger|taller|shorter|longer)|difference)\b")

_ASKS_PLACE = re.compile(r"\b(?:where|(?:for|at) (?:which|what)|values? of \$?[a-z]\$?[ ,.?]|when)\b")
_CALENDAR = re.compile(r"\b(?:what|which) (?:day(?! of the month)|weekday|(?P<month>month))\b|\bday of the week\b")
_ASKS_EXTREME = re.compile(
    r"\b(?:(?P<least>least|minimum|minimal|smallest|lowest|fewest|lower bound)"
    r"|most|maximum|maximal|largest|greatest|highest|bound)\b",
)


_MACRO = re.compile(r"\\[a-z]+")
_LONG_WORD = re.compile(r"\w{3,}")
_LAST_SENTENCE = re.compile(r"[.!?]\s+(?=\S)")
_COMMON = frozenset("the and how man much what does did are was for has have had that they there who which".split())


class Asked:
    """What the end of a question asks for; each thing is looked up when it is wanted."""

    def __init__(self, question: str | None) -> None:
        self._question = (question or "").lower()
        self._last = self._question[-600:]

    @cached_property
    def words(self) -> frozenset[str]:
        """The stems of the words of the question's last sentence."""
        words = _LONG_WORD.findall(_MACRO.sub(" ", _LAST_SENTENCE.split(self._last)[-1]))
        return frozenset(map(stem, words)) - _COMMON

    @cached_property
    def nouns(self) -> tuple[str, ...]:
        """The stems of the words that are counted: "how many more girls" counts ``girl``."""
        nouns: list[str] = []
        for phrase in _COUNTED.findall(self._last):
            head, _, other = _NO_LONGER_NOUNS.sub("", phrase).replace(",", " ").partition(" of ")
            nouns += [word for word in (*head.split()[-2:], *other.split()[:2]) if word not in _NOT_NOUNS]
        return tuple(map(stem, nouns))

    @cached_property
    def money(self) -> bool:
        return not self.nouns and _MONEY_ASKED.search(self._last) is not None

    @cached_property
    def percent(self) -> bool:
        return _PERCENT_ASKED.search(self._last.rpartition(".")[2] or self._last) is not None

    @cached_property
    def chance(self) -> bool:
        """A probability, which may be said as "3 in 8"."""
        return _CHANCE_ASKED.search(self._last) is not None

    @cached_property
    def truth(self) -> bool:
        return _ASKS_TRUTH.search(self._question) is not None

    @cached_property
    def number(self) -> bool:
        return _ASKS_NUMBER.search(self._question) is not None

    @cached_property
    def equation(self) -> bool:
        return "equation" in self._last and _ASKS_EQUATION.search(self._last) is not None

    @cached_property
    def more(self) -> bool:
        """By how much one thing exceeds another."""
        return _ASKS_MORE.search(self._last) is not None

    @cached_property
    def place(self) -> bool:
        """Where, or for which value of a variable, something holds."""
        return _ASKS_PLACE.search(self._last) is not None

    @cached_property
    def extreme(self) -> str:
        """``least`` or ``most`` where that is asked for, ``both`` where both are: then a bound answers."""
        found = {bool(word["least"]) for word in _ASKS_EXTREME.finditer(self._last)}
        return "" if not found else "both" if len(found) > 1 else "least" if found.pop() else "most"

    @cached_property
    def calendar(self) -> str:
        """``day`` or ``month``, where the name of one is asked for."""
        named = _CALENDAR.search(self._last)
        return "" if named is None else "month" if named["month"] else "day"


asked_by = lru_cache(maxsize=256)(Asked)


def stem(word: str) -> str:
    """A word without its plural."""
    return re.sub(r"(?:ie|e)?s$|[ey]$", "", word) if len(word) > 3 else word
