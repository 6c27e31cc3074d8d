"""A sentence, a clause or what a mark encloses -> the answer in it.

"So he scored 4 + 5 = 9 points in the 40 minutes." gives ``9`` where the question asks how many points: the value whose
noun the question counts, else the last. "Hence the statement is false." gives ``False``; "That matches option D." gives
``D`` where the question lists options.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from dart_tasks.grading.extract.asked import Asked, asked_by, stem
from dart_tasks.grading.extract.document import DISPLAY, FORMULA, Document, IsValue, formula_content, prepared
from dart_tasks.grading.extract.dollars import MONEY
from dart_tasks.grading.extract.unwrap import BOX, MAX_ANSWER, box_at, clean
from dart_tasks.grading.parse.units import NUMBER_WORDS, is_unit
from dart_tasks.grading.question import hints

__all__ = [
    "MAX_CLAUSE",
    "MAX_SENTENCE",
    "NONE",
    "NO_ANSWER",
    "Extraction",
    "clause_asked",
    "count_before_list",
    "is_opposite",
    "last_list",
    "lists_names",
    "named_values",
    "read_clause",
    "read_marked",
    "stated_answer",
    "unboxed",
    "value_in",
]

_CURRENCY = f"[{MONEY}$€£¥₹]"
_NUMERAL = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?![-\d])|\d+)(?:\.\d+)?|\.\d+)"
_NUMBER = re.compile(
    rf"(?<![A-Za-z\d_.^/\\{{])[-−±]?\\?{_CURRENCY}?[-−]?{_NUMERAL}(?: \d+/\d+|/\d+(?![\d/])|(?::\d+)+)?"
    rf"(?:\\?%|\ per\s?cent\b|\ ?[aApP]\.?[mM]\b\.?|{_CURRENCY}|(?:e|π|\ ?pi|√\d+)(?![A-Za-z\d]))?(?![A-Za-z]*\d|_|\}})"
)
_BARE_TEX = re.compile(
    r"(?<![\w}^_\\])\{[^{}$\\=]{1,80}\}|(?<![-\d.])[-\d.]*\\(?:[dt]?frac|sqrt|pi|binom|infty)(?![A-Za-z])(?:[^\s,;。，]|,(?=\d))*"
)
_SPELT = "|".join(sorted(NUMBER_WORDS.keys() - {"zero", "one"}, key=len, reverse=True))
_WORDED = re.compile(
    rf"\b(?:(?:(?:one|{_SPELT}) out of |one in )?(?:{_SPELT}|(?:one|an?)(?= (?:hundred|thousand|million)))\b"
    rf"(?:(?:[- ]| and )(?:{_SPELT}|one|hundred|thousand|million)\b)*"
    r"(?: and (?:a|one|three) (?:half|quarters?|thirds?)| pi\b)?)",
    re.IGNORECASE,
)
_SCALE = re.compile(
    r"(?<=\d)[kK]\b|\s+(?:(?:and\s+)?a\s+half|hundred|thousand|million|billion|trillion)s?\b", re.IGNORECASE
)
_UNIT = re.compile(r" ?(?!second [a-z])([A-Za-z]{1,12})\b(?:(?:/| per )([A-Za-z]{1,8})\b)?")  # 4 second graders
MAX_LISTED = 300  # characters of a list in a sentence; what goes on is no answer
_OF_TWO_UNITS = re.compile(
    r"(\d+ ?(?:hours?|hrs?|h))(?:,? and |, | )(\d+ ?(?:minutes?|mins?|m)\b)"
    r"|(\d+ ?(?:minutes?|mins?))(?:,? and |, | )(\d+ ?(?:seconds?|secs?|s)\b)"
    r"|(\d+ dollars?)(?:,? and |, | )(\d{1,2} cents?\b)"
)
_SHARE = re.compile(r"(\d+) (?:in|out of)(?: every| a)? (\d+)\b")
_OPERATOR_AFTER = re.compile(r"\s*(?:\w{1,15}\s*)?(?:[*×÷+=]|(?<=\s)[-/x–−](?=\s))\s*(?:[$＄(\d.\\]|frac|sqrt)")
_SPACED_THOUSANDS = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")
_SIDES = re.compile(r"(?<![<>!:\\])=|\\(?:approx|equiv)(?![a-z])")
_DECIMAL = re.compile(r"-?\d*\.\d+\W{0,3}")
_EXACT = re.compile(r"\\(?:[dt]?frac|sqrt|pi)(?![a-z])|[√π]|^\d+/\d+$")
_APPROX_LAST = re.compile(r"\\approx(?![a-z])[^=]*$")
_ABOUT = re.compile(r"\s*(?:≈|,? (?:or|which is) (?:about|approximately|roughly) )\s*\$?")
_PERCENT_OF = re.compile(r"(?:.*(?:\\approx|≈) ?)?(0?\.\d+) or (\d[\d.]*)%")  # 0.6 or 60%
_NAMES_APART = re.compile(r"(?:[,;，；]|\\q?quad|\\text\s*\{\s*(?:and|or)\s*\})(?:\\[ ,;]|\\q?quad|\s)*")
_LETTER = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z]*\})")
_BETWEEN = re.compile(
    r"[\s*]*(?:[,;、，；]|[,，]?[\s*]*(?:and|or|和|或|,? ?(?:or )?(?:maybe|perhaps|possibly))[\s*]*)[\s*]*"
    r"(?:[a-z] ?= ?)?"
)
_NAMED = re.compile(r"(?:\\?[A-Za-z]+|[α-ω])\d?(?:_\w|_\{\w+\})?(?:\(\w\))?\s*=")


@dataclass(frozen=True, slots=True)
class _Value:
    """A value's text and where it stands."""

    start: int
    end: int
    text: str
    reduced: bool = False  # the last side of a computation
    name: str = ""  # x in $x = 2 + 3 = 5$


_WORD_ONLY = re.compile(r"\\text\w*\s*\{([A-Za-z]{3,})\}")


def _values(sentence: str, asked: Asked, is_value: IsValue) -> list[_Value]:
    """The values in a sentence, in order; the sides of a formula are parted where the last is what comes out."""
    found: list[_Value] = []
    start = 0
    for formula in FORMULA.finditer(sentence):
        found.extend(_numbers(sentence, start, formula.start(), asked, is_value))
        content = formula_content(formula[0])
        *before, right = (clean(side) for side in _SIDES.split(content))
        computed = bool(before) and (
            len(before) > 1
            or not (_LETTER.search(before[0]) or _NAMED.match(content))
            or not (asked.equation or _LETTER.search(right) or _NAMED.match(content))
        )
        if _states_names(content):
            computed = False  # x_1 = 0, x_2 = 5
        elif before and len(right) == 1 and right.isalpha() and is_value(before[-1]):
            right, computed = before[-1], True  # 18 = x
        elif before and _DECIMAL.fullmatch(right) and _EXACT.search(before[-1]) and _APPROX_LAST.search(content):
            right, computed = rf"{before[-1]} \approx {right}", True
        value = next((side for side in ((right, content) if computed else (content, right)) if is_value(side)), "")
        if not value and not asked.number and (word := _WORD_ONLY.fullmatch(content)):
            value = word[1]  # $\text{even}$
        if value and value[-1].isdigit() and (unit := _UNIT.match(sentence[formula.end() : formula.end() + 32])):
            value += _with_unit(unit, True)
        if value:
            name = before[0] if before and _NAMED.match(content) else ""
            found.append(_Value(formula.start(), formula.end(), value, value != content, name))
        start = formula.end()
    found.extend(_numbers(sentence, start, len(sentence), asked, is_value))
    return _listed(sentence, found)


def _worded(sentence: str) -> list[_Value]:
    """The numbers in words, from two on."""
    return [_Value(word.start(), word.end(), word[0]) for word in _WORDED.finditer(sentence)]


def _numbers(sentence: str, start: int, end: int, asked: Asked, is_value: IsValue) -> list[_Value]:
    found: list[_Value] = []
    position = start
    while position < end:
        tex = _BARE_TEX.search(sentence, position, end) if "\\" in sentence or "{" in sentence else None
        match = _NUMBER.search(sentence, position, end)
        if tex is not None and (match is None or tex.start() <= match.start()):
            if is_value(clean(tex[0])):
                found.append(_Value(tex.start(), tex.end(), clean(tex[0])))
            position = tex.end()
            continue
        if match is None:
            break
        position = match.end()
        if (parts := _OF_TWO_UNITS.match(sentence, match.start(), end)) is not None:
            found.append(_Value(match.start(), parts.end(), " ".join(part for part in parts.groups() if part)))
            position = parts.end()
            continue
        if asked.chance and (share := _SHARE.match(sentence, match.start(), end)) is not None:
            found.append(_Value(match.start(), share.end(), f"{share[1]}/{share[2]}"))
            position = share.end()
            continue
        scale = _SCALE.match(sentence, position, end)
        position = scale.end() if scale else position
        if _OPERATOR_AFTER.match(sentence, position, end):
            continue  # an operand: the value is what comes out
        text = _SPACED_THOUSANDS.sub("", sentence[match.start() : position])
        if text[-1] in "kK":
            text = f"{text[:-1]} thousand"  # $70k
        if unit := _UNIT.match(sentence[position : position + 32]):
            text += _with_unit(unit)
        found.append(_Value(match.start(), position, text.replace("−", "-")))
    return found


def _with_unit(unit: re.Match[str], one_letter: bool = False) -> str:
    """The unit that stands behind a number, as far as it is one."""
    if unit[2] and is_unit(unit[1], True) and is_unit(unit[2], True):
        return f" {unit[0].strip()}"
    return unit[0][: unit.end(1)] if unit[1] != "in" and is_unit(unit[1], one_letter) else ""


def _listed(sentence: str, values: list[_Value]) -> list[_Value]:
    """Neighbours with only "and", "or" and commas between them, joined into one value: $x = 2$ and $x = 5$."""
    joined: list[_Value] = []
    for value in values:
        previous = joined[-1] if joined else None
        between = sentence[previous.end : value.start] if previous else ""
        if (
            previous is not None
            and _DECIMAL.fullmatch(value.text)
            and _ABOUT.fullmatch(between)
            and _EXACT.search(previous.text)
        ):
            joined[-1] = _Value(
                previous.start,
                value.end,
                previous.text if "%" in value.text else rf"{previous.text} \approx {value.text}",
            )
        elif (
            previous is not None
            and len(between) < 12
            and _BETWEEN.fullmatch(between)
            and (not (value.reduced or previous.reduced) or value.name == previous.name != "")
            and _is_item(previous.text)
            and _is_item(value.text)
            and ("=" not in between or _same_name(sentence[: previous.start], between))
        ):
            if len(previous.text) > MAX_LISTED:
                joined[-1] = _Value(previous.start, value.end, previous.text)
                continue
            glue = " or " if re.search("or|may|poss", between) else ", "
            text = f"{previous.text}{glue}{value.text}"
            if (share := _PERCENT_OF.fullmatch(text)) and abs(float(share[1]) * 100 - float(share[2])) < 1e-9:
                text = previous.text if "≈" in share[0] or "\\approx" in share[0] else value.text
            joined[-1] = _Value(previous.start, value.end, text, name=value.name)
        else:
            joined.append(value)
    return [_in_brackets(sentence, value) if "," in value.text else value for value in joined]


_POINT = re.compile(
    r"\b(?:is|are|at|be|points?|vertex|cent(?:er|re)|midpoint|pair|focus|coordinates|to|in|on|interval|=)\s*[(\[]$"
)


def _in_brackets(sentence: str, value: _Value) -> _Value:
    """A point or an interval with its brackets: "the vertex is (3, -2)"."""
    is_point = sentence[value.end : value.end + 1] in (")", "]") and _POINT.search(sentence, 0, value.start)
    return _Value(value.start - 1, value.end + 1, sentence[value.start - 1 : value.end + 1]) if is_point else value


def _same_name(before: str, between: str) -> bool:
    """x = 3 or x = 2"""
    return re.search(rf"(?<![+*/^)-] )(?<![\w+*/^)-]){between.rstrip(' =')[-1]} ?= ?$", before) is not None


def _states_names(formula: str) -> bool:
    """Whether a formula gives values to two names or more: x_1 = 0, x_2 = 5."""
    parts = _NAMES_APART.split(formula) if formula.count("=") > 1 else []
    return len(parts) > 1 and all(part.count("=") == 1 and _NAMED.match(part) for part in parts)


def lists_names(text: str) -> bool:
    """Whether every equation in a list gives a name its value: x = 1, y = 2."""
    return all(part.count("=") < 2 and _is_item(part.strip(" $")) for part in re.split(r"[,;]|\band\b", text))


def _is_item(value: str) -> bool:
    """Whether a value can stand in a list of answers: 5, x = 5; an equation to be solved cannot."""
    return "=" not in value or _NAMED.match(value) is not None


MAX_SENTENCE = 1_200  # characters; of a longer sentence the end is read
_TAIL = re.compile(
    r"""(?:[,;]|\s)\s*\(?(?:which|because|since|as\ (?:required|desired|we|the|it)|so\ (?:that|the|we)|where\ (?:we|the)
    |when\ (?:we|the)|after\ (?!\S+\ (?:years?|months?|days?|weeks?|hours?|minutes?)\b)|given\ that
    |and\ (?:the|this|that|we|it)|but|I\ hope|that\ is|i\.e
    |(?<=[,;]\ )not|(?<=,\ )(?:so|as)|rather\ than|instead|based\ on)\b.*""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_REASON = re.compile(
    r"(?<!\bso)(?<!\band)(?<!\bbut)[,;]?\s+\(?(?:because|since|(?<=, )as (?:we|the|it|required)|given that"
    r"|(?:rather than|instead of)\b(?!.*=)"
    r"|with (?:the (?:restriction|condition|constraint)|(?:\w+ )?(?:eigenvectors?|multiplicit\w+))|"
    r"after(?= [^.=]{1,60}\b(?:discounts?|coupons?|taxe?s?|fees?|deductions?)\W*$)|provided that|as long as"
    r"|such that\b(?!.*\b(?:is|are)\b)"
    r"|from(?= (?:\\?[$(]\s*)?[a-z]\s?=)"
    r"|(?<=[\d$)}%]\s)when\b(?!.*\d\s*=)|which (?:adds?(?! up)|multiply|satisf\w+|agrees?|match(?:es)?)"
    r"|(?:and|which|we|you) (?:we |you )?(?:can )?(?:be )?(?:verify|verified|checked|check)(?! (?:in|out)\b))\b.*",
    re.I | re.S,
)
# where or in comparison with what: of the value that stands before
_AT = (
    r"(?:,\s|\sand\s|\s)(?:(?:which|it|this)\s+(?:is\s+|value\s+is\s+)?)?"
    r"(?:(?:attained|achieved|reached|occurs|occurring)(?:,)?\s+(?:at|when|for|if|only)\b|with equality\b"
)
_ATTAINED = re.compile(rf"{_AT}).*", re.I | re.S)
_EXTREME_AT = re.compile(rf"{_AT}|(?:at|when|for|if)\s+[$\\(]*[a-z]\s*=).*", re.I | re.S)
_CHINESE_AT = re.compile(r"当[^，。；]{1,40}?时[，,]?|[，,]?在[^，。；]{1,20}?(?:处|时)[^，。；]*")
_LEADING = re.compile(r"\W{0,3}(?:Since|Because|If|When)\b(?:[^,$]|\$[^$]*\$)*,\s+(?=.*\d)", re.DOTALL)
_WITH = re.compile(r", with (?:the )?([a-z]{4,}) (?=[$\\\d(])")  # (x-3)(x-4), with roots 3 and 4
_COMPARED = re.compile(
    rf",\s+(?:which is |that is |or )?{_CURRENCY}?\d[\d,.]*(?:\s\w+){{0,2}}"
    r"\s(?:more|fewer|less|older|younger|taller|shorter|longer)\s+than\b.*",
    re.I | re.S,
)
_PERIOD = re.compile(  # makes $18 a day, or $126 per week
    rf", or (?:about )?{_CURRENCY}?{_NUMERAL}(?: [a-z]+)? (?:per|an?|each|every) (hour|day|week|month|year)\W*$"
)
_LEAVING = re.compile(r",\s(?:thus )?leaving (?:\w+ ){0,3}(?=[$\d])")
_THUS = re.compile(
    r".*[,;.]\s+(?:and\s+)?(?:(?:so|thus|hence|therefore),?\s+(?=(?:the|there|her|his|their|its|our)\s)|meaning\s+"
    r"|and\s+(?=the\s(?:\w+\s){1,3}is\s))"
    r"(\w+\s.{0,80}?\b(?:is|are|was|equals|will|needs?)\s.*)",
    re.I | re.S,
)
_CONTRAST = re.compile(
    r",?\s+(?:while|whereas)\s+|;\s+|, which means (?=[A-Z])|, of which |,?\s+and\s+(?=in \d+ )"
    r"|,?\s+(?:and|but)\s+(?=[A-Z][a-z]+\s|[$\\]*\d[\d.]*[\\%$]*\s(?:is|are|was|were)\s(?![$\\\d])"
    r"|the\s[\w-]+\s(?:of\s.{1,30}\s)?is\s|the\s[a-z]+er\s[$\\]*\d)"
    r"|,\s+(?:and\s+)?(?=the\s(?:first|second|third|fourth|fifth|last|other)\s)"
)
_SUMS_UP = re.compile(r"\b(?:so|thus|hence|therefore|total|together|altogether|in all|left|sum)\b|=", re.IGNORECASE)
_LEAST, _MOST = (
    re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    for words in (
        "min(?:imum|imal|ima)?|least|smallest|lowest|fewest",
        "max(?:imum|imal|ima)?|most|largest|greatest|highest|biggest",
    )
)
_RATE = re.compile(rf"\s(?:at|for) \\?{_CURRENCY}?[\d.]+ (?:for|each|apiece)\b[^=]*$", re.IGNORECASE)
_WEEKDAYS = re.compile(r"\b(?<!after )(?<!from )(?<!before )(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b")
_MONTHS = re.compile(
    r"\b(?<!after )(?<!from )(?<!before )"
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"
)
_EMPHASIS = re.compile(r"\*\*([^*\n]{1,300})\*\*|__([^_\n]{1,300})__")
_TYPED = re.compile(r"(?=.*[√π])(?!.*(?:[A-Za-z]{2}|=))(?=.*\d).{1,60}")  # 3 + √2
_COMPUTED = re.compile(
    r"(?:[=≈≅为是得值]|\brounds? (?:up |down |off )?to"
    r"|\b(?:minus|plus|times|by) [\w.,]+ (?:is|makes|gives|leaves|equals))\s*$"
)
_TOTAL = re.compile(
    r"\bleaving(?: only| just)?\W*$|\b(?:total|altogether|in all)\W*(?:(?:is|of|comes to)\W*)?$", re.IGNORECASE
)
_OPERATION = r"(?:minus|plus|times|choose|mod(?:ulo)?|(?:divided|multiplied) by|(?:raised )?to(?: the power(?: of)?)?)"
_OPERAND_AFTER = re.compile(
    rf"\s*\.\.\s*\d|\s+(?:{_OPERATION}\s+{_CURRENCY}?\d|(?:squared|cubed|factorial)\b"
    rf"|(?:more|less|fewer|greater|smaller) than {_CURRENCY}?\d)",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"-[a-z]{3,}")  # a 6-foot rope
_OF_AMOUNT_AFTER = re.compile(r"\s+of\s+\W?\d")  # 20 is 25% of 80
_OPERAND_BEFORE = re.compile(
    rf"\d\s+{_OPERATION}\s+$|\d\s*\.\.\s*$|\b(?:line|page|step|part|problem|question|equation|figure)\s+\(?$"
    r"|\b(?:(?:half|thirds?|quarters?|squares?|cubes?|roots?|reciprocal|inverse|opposite|negative|log(?:arithm)?"
    r"|multiples?|factors?|divisors?|powers?|percent)\s+of|twice|double|triple|divisible by|close to"
    r"|numbers?\s+(?:before|after|with|below|above))\s+(?:the\s+)?(?:number\s+)?$|%\s+of\s+$"
    r"|\bto (?:reach|meet) (?:the |her |his |their )?$",
    re.IGNORECASE,
)
_OF_AMOUNT = (  # "a total of 5" gives its value, "a book of 250 pages" does not
    r"(?:total|sum|amount|number|profit|cost|price|average|mean|value|length|area|age|speed|distance|maximum|minimum"
    r"|volume|perimeter|rate|ratio|difference|product|probability|score|loss|gain|result|answer|savings?|weight|height"
    r"|width|radius"
    r"|count|balance|remainder|quotient|discount|tip|fee|charge|salary|income|revenue|bill|payment|median|mode|range"
    r"|term)s? "
)
_CIRCUMSTANCE = re.compile(
    r"\b(?:in|after|per|every|each|within|than|out of|if|when|from(?: \d[\d:]* ?[ap]\.?m\.? to)?|during|over|until|at"
    r"|after (?:paying|spending|giving|buying|selling|using|losing|eating|subtracting|deducting|removing))"
    r"(?:\s+(?:the|those|these|this|all|only|her|his|their|its|first|last|next|other|a|total|of|remaining)){0,3}\s+$"
    r"|\bfor"
    rf"(?:\s+(?:the|those|these|all|each|every)){{0,2}}\s+$"
    rf"|\b(?:takes?|took|needed|required|enough) [^.,]{{0,30}}\bto [a-z]+ (?:the |all )?$"
    rf"|\b(?!{_OF_AMOUNT})[a-z]+ of (?:the |all |these |those )?$",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"(?:\b(?:(?:more|less|fewer|greater|larger|smaller|higher|lower|rather|other)\s+than|at least|at most|over|under"
    r"|above"
    r"|below|between|either|exceeds?)\s+(?:\w+\s+)?|(?<![=-])[<>≤≥]=?\s*|\b(?:almost|nearly)\s+)$",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"\b(?:almost|nearly|at least|at most|(?:no )?(?:more|less|fewer|greater) than)\s+[*$\\(]*$", re.IGNORECASE
)
_DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor|far from|(?:different|distinct) from|unequal to|anything[*_]* but"
    r"|except(?: for)?|other than|apart from|rather than|instead of"
    r"|(?:wrong|incorrect)(?: answer)?(?: is)?:?)|n't(?: be)?)[*_]*\s+(?:(?!but\b|is\b|are\b)[a-z]+\s+){0,2}"
    r"[$\\(*_ ]*$|(?:不是|并非|不等于|不为|≠|(?<!\S)!)\W*$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\W{0,3}\s*(?:is|are|was|would be)(?:n't| (?:not|wrong|incorrect))\b|\s+[a-z]+ (?:is|are) not (?:what|the)\b",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:or|unless|else|otherwise|maybe|perhaps|possibly|(?:could|may|might) be|(?:not|n't) (?:be )?sure)\b"
    r"|\bone of:? \$?\d|\d\$?\s*[|&]\s*\$?\d",
    re.IGNORECASE,
)
_NO_VERB = re.compile(
    r"\W*(?:(?!(?:is|are|equals?|gives?|makes?|leaves?|remain|left|so|thus|hence|therefore|for|at|after|from|in|on|of|out|with|per)\b)[^\W\d]+\W+){1,2}",
    re.IGNORECASE,
)
_SECOND_GUESS = re.compile(
    r"\b(?:or|maybe|perhaps|possibly|(?:could|may|might)(?: also)? be)\s+(?:\w+\s+)?[$\\(*]*([-−]?\d[\d.,/]*)",
    re.IGNORECASE,
)
_OR_ELSE = re.compile(r"\?\s+or\b", re.IGNORECASE)
_THERE_ARE = re.compile(
    r"\bthere (?:are|is|were|will be|would be)(?: (?:a total of|only|exactly|still|now|thus|therefore))? $",
    re.IGNORECASE,
)
_TRUTH = re.compile(
    r"^\W*(?P<whole>true|false|yes|no)\W*$|^\W*(?P<opens>yes|no|true|false)[*_\s]*[,.:;—–]"
    r"|(?:\b(?:is|are|be|was|as|=|:)|'s)\s+"
    r"(?:therefore |thus |indeed |hence |also |always |actually |in fact |necessarily )?"
    r"[*_\"'`(]{0,4}(?:\\text\w*\{)?[*_]{0,2}(?P<no>not |un)?(?P<ends>true|false)"
    r"(?=\W*$|[*_}]*[,;]?\s+(?:as|since|because|by|which|and)\b)"
    r"|\b(?:statement|claim|assertion|proposition|conjecture)\s+(?:is\s+(?P<not>not |in)?(?:correct|valid)"
    r"|holds|(?P<fails>does(?: not|n['’]t) hold|fails))\W*$"
    r"|\b(?:so|thus|hence|therefore)[,:]?\s+[*_\"']{0,3}(?P<so>(?:true|false)(?=\W*$)|(?:yes|no)(?=,\s))"
    r"|\bit is (?P<that>true|false) that\b|\banswer\W+(?:is|:)\W+(?P<said>yes|no)\b",
    re.IGNORECASE,
)
_TRUTH_WORDS = ("true", "false", "yes", "no", "valid", "correct", "hold", "fails")
_LETTERS = re.compile(
    r"(?:\b(?i:options?|choices?|answers?|alternatives?)\b|选项?|答案)[*_ ]*(?:is|are|:|：|为|是)?[\s*_]*"
    r"[$(\\a-z{]*(?P<named>[A-J](?:\s*(?:,|、|and|和|&)\s*[A-J])*)(?![A-Za-z'])"
    r"|\((?P<bracketed>[A-Ja-j])\)|\*\*(?P<bold>[A-J]{1,5}(?:\s*[,、，]\s*[A-J])*)(?![A-Za-z])"
    r"|(?:^|\b(?:is|are|be|choose|select|pick)\s+|[选为是：→⇒]\s*)(?P<last>[A-J](?:\s*(?:,|、|and|和|&)\s*[A-J])*"
    r"|[A-J]{2,5})[.。)]?\s*$"
    r"|(?:^|\s)(?P<half>[A-J])\)"
    r"|\b(?P<judged>[A-J])\s+(?:is|are)\s+(?:therefore\s+|thus\s+)?(?:the\s+)?(?:right|correct|answer|best)\b"
    r"|^(?P<opens>[A-J])(?=[,，。:：;；(（])"
)


_OF_AN_OPTION = re.compile(  # Option (B) is the radius
    r"\W*(?:option|choice) \(?[A-J]\)?[*_]* (?:is|was) "
    r"(?:an?|not|too|wrong|false|incorrect|the (?!correct|right|only|best|answer|true|one|solution))\b",
    re.IGNORECASE,
)
_BESIDE_LETTER = re.compile(
    r"\s*([-$\\\d][^\s,]*),? (?:which is )?\(?(?:option|choice|answer) [^ ]{1,4}\W*$", re.IGNORECASE
)


def value_in(sentence: str, document: Document, bounds: bool = True) -> str:
    """The value that a sentence gives as its answer; empty if it gives none.

    Args:
        bounds: whether a value after "at least", "more than", "between" may be the answer where nothing else is, and
            one beside "or", "unless", "perhaps".
    """
    sentence = sentence[-MAX_SENTENCE:].replace(",$ ", "$, ")
    for given in _told(document.question):
        sentence = sentence.replace(given, "")
    truth = _truth(sentence)
    asked = asked_by(document.question)
    if hints(document.question).choices and (letters := _letters(sentence, bounds)):
        beside = _BESIDE_LETTER.match(sentence)
        return f"({letters}) {clean(beside[1])}" if beside and len(letters) == 1 else letters
    if option := _option_words(sentence, document.question):
        return option
    if not bounds and _HEDGE.search(sentence):
        return ""
    if truth and (asked.truth or not asked.number):
        return truth
    if asked.calendar and (named := (_MONTHS if asked.calendar == "month" else _WEEKDAYS).findall(sentence)):
        return str(named[-1])
    told = clause_asked(sentence, asked)
    if (
        (conclusion := _THUS.match(told)) is not None
        and re.search(r"[\d\\]", conclusion[1])
        and (not asked.nouns or any(stem(word) in asked.nouns for word in re.findall(r"\w+", conclusion[1].lower())))
        and (
            "=" in conclusion[1]
            or "meaning" in told
            or _shared(conclusion[1], asked) >= _shared(told[: conclusion.start(1)], asked)
        )
    ):
        told = conclusion[1]
    if is_opposite(told, asked):
        return ""
    told = _RATE.sub("", _REASON.sub("", _LEADING.sub("", told)))
    if asked.nouns:
        told = told.partition(", namely")[0]
    if ", or" in told and (again := _PERIOD.search(told)) and stem(again[1].lower()) not in asked.words:
        told = told[: again.start()]
    if "leaving" in told and asked.words & {"remain", "left"} and (left := _LEAVING.search(told)):
        told = told[left.start() :]
    if (beside := _WITH.search(told)) and stem(beside[1]) not in asked.words:
        told = told[: beside.start()]
    if not asked.place:
        told = (_EXTREME_AT if asked.extreme else _ATTAINED).sub("", told)
    if "当" in told or "在" in told:
        told = _CHINESE_AT.sub("", told)
    if not asked.more:
        told = _COMPARED.sub("", told)
    value = _best(told, document, bounds) or (_best(sentence, document, bounds) if told != sentence else "") or truth
    return "" if hints(document.question).choices and re.fullmatch("[A-Za-z]", value) else value  # a name in passing


@lru_cache(maxsize=256)
def _told(question: str | None) -> tuple[str, ...]:
    """The sentences of a question, which answer nothing where a response repeats them."""
    sentences = re.split(r"(?<=[.?!])\s+", prepared(question or ""))
    return tuple(sentence.rstrip(".?! ") for sentence in sentences if len(sentence.split()) > 4)


_ORDINALS = frozenset("first second third fourth fifth last other".split())


def clause_asked(sentence: str, asked: Asked) -> str:
    """Of clauses that give values of several things, the one with most of the question's words; of several such, the
    one with its ordinal."""
    clauses = _CONTRAST.split(sentence)
    if sum(bool(re.search(r"\d", clause)) for clause in clauses) < 2 or _SUMS_UP.search(sentence, len(clauses[0])):
        return sentence
    ordinals = asked.words & _ORDINALS
    shared = [(_shared(clause, asked), len(ordinals.intersection(clause.lower().split()))) for clause in clauses]
    return clauses[shared.index(max(shared))] if shared.count(max(shared)) == 1 else sentence


def _option_words(sentence: str, question: str | None) -> str:
    """Of options that are words ("- valid"), the one that a sentence names last and does not deny."""
    words = hints(question).words
    named = [found for found in re.finditer(r"[A-Za-z][\w-]*", sentence) if found[0].lower() in words] if words else []
    told = [found[0] for found in named if not _DENIED.search(sentence, 0, found.start())]
    return told[-1] if told else ""


def is_opposite(sentence: str, asked: Asked) -> bool:
    """Whether a sentence speaks of the maximum only, where the minimum is asked for, or the other way round."""
    wanted, other = (_LEAST, _MOST) if asked.extreme == "least" else (_MOST, _LEAST)
    return asked.extreme in ("least", "most") and bool(other.search(sentence)) and not wanted.search(sentence)


def _shared(clause: str, asked: Asked) -> int:
    """How many of the question's words a clause has."""
    return len(asked.words & {stem(word) for word in re.findall(r"\w+", clause.lower())})


def _truth(sentence: str) -> str:
    lower = sentence.lower()
    found = _TRUTH.search(sentence) if any(map(lower.__contains__, _TRUTH_WORDS)) else None
    if found is None:
        return ""
    word = next(
        (found[name] for name in ("whole", "opens", "ends", "so", "that", "said") if found[name]), "true"
    ).lower()
    holds = word in ("true", "yes")
    return "True" if holds is not bool(found["no"] or found["not"] or found["fails"]) else "False"


def _letters(sentence: str, last: bool) -> str:
    """The letter, or letters, of the options that a sentence chooses: the last named, or else the only one."""
    if _OF_AN_OPTION.match(sentence):
        return ""
    named = [next(filter(None, found.groups())).upper() for found in _LETTERS.finditer(sentence)]
    return named[-1] if named and (last or len(set(named)) == 1) else ""


def _best(sentence: str, document: Document, bounds: bool) -> str:
    asked = asked_by(document.question)
    values = _values(sentence, asked, document.is_value)
    emphasised = _listed(
        sentence.replace("**", "  ").replace("__", "  "),
        [
            _Value(bold.start(), bold.end(), text)
            for bold in _EMPHASIS.finditer(sentence)
            if _TYPED.fullmatch(text := clean(bold[0])) and document.is_value(text)
        ],
    ) or _listed(
        sentence.replace("**", "  "),
        [
            value
            for bold in _EMPHASIS.finditer(sentence)
            for value in values
            if bold.start() <= value.start and value.end <= bold.end()
        ],
    )
    values = emphasised or values
    if not values or (asked.nouns and not _computed(sentence, values) and not _counted(sentence, values, asked)):
        free = [value for value in values if not _LIMIT.search(sentence, max(0, value.start - 30), value.start)]
        words = [word for word in _worded(sentence) if not free or word.start > free[-1].end]
        values = _counted(sentence, words, asked) or values or (words if len(words) == 1 and not bounds else [])
    if not values:
        return ""
    depth = [sentence.count("(", 0, value.start) - sentence.count(")", 0, value.start) for value in values]
    outside = [value for value, inside in zip(values, depth, strict=True) if inside <= 0]
    values = outside or values
    values = [
        value for value in values if len(value.text) > 1 or not value.text.isalpha()
    ] or values  # all $x$ with $x > 2$
    values = [
        value
        for value in values
        if not (
            _DENIED.search(sentence, max(0, value.start - 30), value.start) or _DENIED_AFTER.match(sentence, value.end)
        )
    ]
    values = [
        value
        for value in values
        if not (
            _OPERAND_AFTER.match(sentence, value.end)
            or (not asked.percent and value.text[-1] == "%" and _OF_AMOUNT_AFTER.match(sentence, value.end))
            or (
                sentence[value.end : value.end + 1] == "-"
                and _ATTRIBUTE.match(sentence, value.end)
                and not _computed(sentence, [value])
            )
            or _OPERAND_BEFORE.search(sentence, max(0, value.start - 30), value.start)
        )
    ] or (values if bounds else [])
    free = [value for value in values if not _BOUND.search(sentence, max(0, value.start - 30), value.start)]
    if not free and (not bounds or not asked.extreme):
        values = [value for value in values if not _LIMIT.search(sentence, max(0, value.start - 30), value.start)]
        free = values if bounds else []
        if not free:
            return ""
    values = free or values
    if not values or (not bounds and _are_rivals(sentence, values)):
        return ""
    counted = _counted(sentence, values, asked)
    computed = _computed(sentence, counted) or [
        value
        for value in _computed(sentence, values)
        if not counted or (value.start > counted[-1].start and not re.search(r"dollars?$|cents?$", value.text))
    ]
    if computed and _TOTAL.search(sentence, max(computed[-1].end, values[-1].start - 20), values[-1].start):
        return values[-1].text
    main = [value for value in counted or values if not _is_circumstance(sentence, value)]
    last = values[-1]
    if (
        computed
        and main
        and last is main[-1]
        and last.start > computed[-1].start
        and _IS.search(sentence, 0, last.start)
    ):
        return last.text
    return (computed or main or counted or values)[-1].text


_IS = re.compile(
    r"\b(?:is|are|equals|(?:value|digit|total|sum|area|perimeter|minimum|maximum) of)"
    r"(?: (?:also|then|thus|therefore|just|simply|exactly|equal to|only))? [$\\(*]*$"
)


def _computed(sentence: str, values: list[_Value]) -> list[_Value]:
    """The values that are a computation's results."""
    return [
        value
        for value in values
        if value.reduced or "=" in value.text or _COMPUTED.search(sentence, max(0, value.start - 30), value.start)
    ]


def _are_rivals(sentence: str, values: list[_Value]) -> bool:
    """Whether a text is two values and a word between them that is no verb: "4 else 5"."""
    return (
        len(values) == 2
        and not sentence[: values[0].start].strip(" *")
        and not sentence[values[1].end :].strip(" *.)")
        and _NO_VERB.fullmatch(sentence, values[0].end, values[1].start) is not None
    )


def _is_circumstance(sentence: str, value: _Value) -> bool:
    before = sentence[max(0, value.start - 40) : value.start]
    found = _CIRCUMSTANCE.search(before)
    return found is not None and not (value.text.startswith((MONEY, "$")) and found[0].lower().startswith("for"))


_OUT_OF = re.compile(r"\b[Oo]ut of (?:(?:the|all|those|these|her|his|their) )*$")  # out of the 216 sticks, 191


def _counted(sentence: str, values: list[_Value], asked: Asked) -> list[_Value]:
    """The values that are followed by the noun that the question counts."""
    found: list[_Value] = []
    for index, value in enumerate(values):
        limit = values[index + 1].start if index + 1 < len(values) else len(sentence)
        after = re.split(r"[.,;:!?()=/]", sentence[value.end : min(limit, value.end + 60)], maxsplit=1)[0]
        words = [stem(word.strip("*_")) for word in after.lower().split()[:4]]
        if (
            (asked.percent and ("%" in value.text or words[:1] == ["percent"]))
            or (asked.money and (MONEY in value.text or words[:1] in (["dollar"], ["cent"])))
            or any(noun in words for noun in asked.nouns)
            or (asked.more and words[:1] == [stem("more")])
            or (asked.nouns and _THERE_ARE.search(sentence, max(0, value.start - 40), value.start))
        ):
            of_them = index and re.fullmatch(
                r"\W*(?:out )?of (?:the |all |these |those |her |his |their )*",
                sentence[values[index - 1].end : value.start],
            )
            out_of = index + 1 < len(values) and _OUT_OF.search(sentence, max(0, value.start - 20), value.start)
            found.append(values[index - 1] if of_them else values[index + 1] if out_of else value)
    return found


MAX_CLAUSE = 3_000
_COUNT = re.compile(r"\W{0,4}(\d[\d,]*)(?: [A-Za-z]+){0,3}\s*[:：]\s+\W{0,3}\d[^\n]*,")


@dataclass(frozen=True, slots=True)
class Extraction:
    """An answer's text, the cue it was found by, and whether that cue states it explicitly.

    Attributes:
        sentence: where the answer is a part of a sentence, that sentence: a reference may be all of it.
        unfinished: the response ends inside a thought.
    """

    answer: str
    source: str
    explicit: bool
    sentence: str = ""
    unfinished: bool = False


NONE = Extraction("", "none", False)
_LEAD = re.compile(
    r"""^[\s:*_]*(?:(?:is|are|be|equals?|equal\ to|approximately|approx\.?|about|roughly|exactly|simply|clearly|just
    |indeed|therefore|thus|given\ by|option|choice|that|therefore,|:|=)\s+)*""",
    re.IGNORECASE | re.VERBOSE,
)
_SENTENCE_END = re.compile(
    r"\.(?=\s+[A-Z*#<\"(✅]|\s*\n|\s*$|\s+I hope)|\n\s*\n|(?<!\\)[!?](?=\s)|(?<=[^\\])\n(?![ \t]*[\\$\[])|[。！？]"
)
# A formula in TeX that may have lines of its own, as matrices do.
_INLINE = re.compile(
    r"\$(?=[^$]*\\)(?:(?!\.\s+[A-Z]|\n\s*\n)[^$])+\$|\\\((?:(?!\n\s*\n).){1,2000}?\\\)"
    r"|\\begin\{(\w+\*?)\}.*?\\end\{\1\}",
    re.DOTALL,
)
_HEDGED = re.compile(r"\bnot\s*$|n't\s*$", re.IGNORECASE)
NO_ANSWER = re.compile(
    r"(?:right|wrong|correct|incorrect|reasonable|clear|clearly|obvious|as follows|below|above|unique|valid|verified"
    r"|consistent|already|given|provided|shown|found|obtained|ready|complete|the same|also|based|rounded|expected"
    r"|simply"
    r"|therefore|thus|here|json|let'?s|let us|we (?:need|have|can|must)|first|step|to (?:find|solve|get|determine)"
    r"|in the (?:form|box)|an? \w+ number)\b",
    re.IGNORECASE,
)
_GAP = re.compile(r"\s*\n")
_ITEM = re.compile(r"[ \t]*(?:[-*+•–]|\(?\d{1,2}[.)]|\(?[a-h][.)])[ \t]+(\S[^\n]*)")
_LABEL = re.compile(
    r"^(?:\\(?:text|mathrm|textbf)\s*\{\s*)?(?:the )?(?:final )?(?:answer|ans|solution|result)s?\s*(?:is|are|:|=|：)"
    r"\s*\}?\s*(?=\S)",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"(?:\\[;,:! ]|\s)*\\text\s*\{\s*\(?(?:about|approximately|approx\.?|i\.e\.|or about|roughly)\b.*", re.I | re.S
)
_WORDS = re.compile(r"[a-z]{2,}")
_NUMBERS_OR = NUMBER_WORDS.keys() | {"or", "and"}
_WORD = re.compile(r"\\text|(?<![\\A-Za-z])[A-Za-z]{2,}|[一-鿿]")
_WORKED = re.compile(r"\\text\s*\{[^{}]{0,40}\b(?:so|thus|hence|therefore|gives|giving)\b[^{}]{0,20}\}", re.IGNORECASE)
_CHOICE = re.compile(
    r"\\(?:text|mathrm|mathbf)\w*\s*\{\s*\(?([A-Ja-j])\)?(?:[\s.:]*\}[\s\\;:,]*(?=\S)|(?<=\))\s+)(.*)$"
)
_PLACEHOLDERS = frozenset(("...", "…", "?", "answer", "your answer", "final answer", "answer here", "value", "null"))
_WORKING_FOLLOWS = re.compile(r"=|\b(?:so|thus|hence|therefore)\b", re.IGNORECASE)


def read_marked(content: str, source: str, document: Document) -> Extraction | None:
    """The answer in what a mark encloses: a value, or a text, or a sentence with a value."""
    content = unboxed(content)
    text = clean(content)
    if not text or text.lower() in _PLACEHOLDERS:
        return None
    if (choice := _CHOICE.match(text)) and (choice[2].endswith("}") or hints(document.question).choices):
        return stated_answer(f"({choice[1]}) {choice[2].removesuffix('}')}".strip(), source, text)
    if not _WORD.search(text) or document.is_value(text) or "\\begin" in text:
        return stated_answer(text, source)
    for shorter in (_LABEL.sub("", text), _ASIDE.sub("", text), _WORKED.split(text)[-1]):
        if shorter != text and document.is_value(clean(shorter)):
            return stated_answer(clean(shorter), source, text)
    words = {*_WORDS.findall(_plain(text).lower())}
    is_hedge = bool(words) and words <= _NUMBERS_OR  # "four or 5"
    is_sentence = " " in text and not is_hedge and _WORD.search(text)
    value = value_in(_plain(text), document, bounds=False) if is_sentence and "?" not in text else ""
    return stated_answer(value or text, source, text)


def stated_answer(text: str, source: str, sentence: str = "") -> Extraction:
    """An explicit extraction; a sentence that is no more than the answer is left out."""
    return Extraction(text[:MAX_ANSWER], source, True, sentence[:MAX_ANSWER] if sentence != text else "")


def unboxed(text: str) -> str:
    """The text with boxes opened, as many as eight."""
    macro = BOX.search(text)
    for _ in range(8):
        if macro is None:
            break
        end, content = box_at(text, macro.start(), macro.end())
        text = f"{text[: macro.start()]}{content}{text[end:]}"
        macro = BOX.search(text)
    return text


def _plain(text: str) -> str:
    """TeX in which words are text, as a sentence with formulas."""
    if "$" in text or "\\text" not in text:
        return text
    return " ".join(
        part if index % 2 else f"${part.strip()}$" if part.strip(" \\,;:") else ""
        for index, part in enumerate(re.split(r"\\text(?:bf|rm|it)?\s*\{([^{}]*)\}", text))
    )


def read_clause(text: str, document: Document, colon: bool) -> tuple[str, str, bool, int]:
    """(answer, sentence, readable, end) behind "the answer is" or, with a colon, behind "Answer:"."""
    stripped = text.lstrip(" \t\n*_:：`#")
    offset = len(text) - len(stripped)
    display = DISPLAY.match(stripped)
    if display and (not stripped.startswith("\\begin") or stripped.startswith("\\begin{align")):
        answer = clean(formula_content(unboxed(display[0])))
        return answer, _comes_out(answer), True, offset + display.end()
    if "\n" in text[:offset]:
        items, listed_to = _items(text, document)
        if items:
            return items, "", True, listed_to
    end = _SENTENCE_END.search(_INLINE.sub(lambda formula: f"${'x' * (len(formula[0]) - 2)}$", stripped))
    whole = stripped[: end.start()] if end else stripped
    stop = offset + len(whole)
    if _HEDGED.search(whole):
        return "", "", False, stop
    if stripped[len(whole) : len(whole) + 1] != "$" and re.search(r"\d!$", whole) and "\\" not in whole:
        whole = whole[:-1]  # an exclamation, outside of formulas
    whole = _LEAD.sub("", unboxed(whole))
    if (count := count_before_list(whole, document)) is not None:
        return count, clean(whole), True, stop
    if whole.count("**") % 2:
        whole = f"**{whole}"  # of which the first mark was taken off with the cue
    clause = _TAIL.sub("", whole)
    second = _SECOND_GUESS.search(whole, len(clause))
    if (second and second[1].rstrip(".,") not in clause) or _OR_ELSE.match(stripped, len(whole)):
        return clean(whole), "", False, stop
    answer = clean(clause).removesuffix("选项")
    words = len(re.findall(r"[A-Za-z]{2,}", FORMULA.sub(" ", clause)))
    if document.is_value(answer) and (words <= 3 or "$" not in clause):
        return answer, _comes_out(answer), True, stop
    rest = stripped[end.end() :].partition("\n\n")[0] if end else ""
    if colon and rest.strip() and _WORKING_FOLLOWS.search(rest):
        return "", "", False, stop  # a worked solution
    if answer and len(answer) <= 60 and words <= 8 and not re.search(r"[\d$\\]", answer):
        value = value_in(whole, document, bounds=False)
        return value or answer, answer if value else "", bool(value) or not NO_ANSWER.match(answer), stop
    value = value_in(whole, document, bounds=False)
    return value or answer, clean(clause), bool(value), stop


def _comes_out(answer: str) -> str:
    """The last side of a chain: p^2 + q^2 = (p+q)^2 - 2pq = 5."""
    *before, right = _SIDES.split(answer)
    return clean(right) if len(before) > 1 and "," not in answer else ""


def count_before_list(text: str, document: Document) -> str | None:
    """The number in "8 primes: 2, 3, 5, ..." where a number of things is asked for."""
    count = _COUNT.match(text) if asked_by(document.question).nouns else None
    return count[1] if count else None


_LIST_END = re.compile(
    r"(?:^|\n)(?:#{1,6} [^\n]*|[^\n]*[:：][*_ ]{0,4})\n\s*"
    r"((?:[ \t]*(?:[-*+•–]|\(?\d{1,2}[.)])[ \t]+[^\n]{1,120}(?:\n\s*|$)){2,12})\s*"
    r"(?:(?:Both|All|Each|These)\b[^\n]*\s*)?$"
)
_OF_ITEMS = ("Both", "All", "Each", "These")


def last_list(text: str, document: Document) -> str | None:
    """The values of the list with which a text ends, if each item is a value and no step of a computation."""
    last = text.rstrip().rpartition("\n")[2]
    listed = _LIST_END.search(text[-2_000:]) if _ITEM.match(last) or last.startswith(_OF_ITEMS) else None
    if listed is None:
        return None
    items = [clean(item[1]) for item in _ITEM.finditer(listed[1])]
    names = {item.partition("=")[0].strip() for item in items}
    is_list = len(names) == 1 or not any("=" in item for item in items)
    return ", ".join(items) if is_list and len(items) > 1 and all(map(document.is_value, items)) else None


_NAMES_VALUE = re.compile(
    r"(?:\d[.)])?[\s*$]*(?:the )?([A-Za-z][A-Za-z ]{0,30}?)[*$\s]*(?:[:=]|\bis\b)(.+)", re.IGNORECASE
)


def named_values(text: str, document: Document) -> str:
    """The values of the names with which a text ends, a line each: "x = 3", "y = 2"; "Perimeter: 26 cm", "Area: 40"."""
    *lines, last = text[-400:].rstrip().split("\n")
    named: dict[str, str] = {}
    for line in reversed((*lines, *last.split(", "))):
        found = _NAMES_VALUE.fullmatch(line.strip(" -*•+$.\\()"))
        if found is None or found[1] in named or not (value := value_in(found[2], document)):
            break
        if len(found[1]) > 1 and not _shared(found[1], asked_by(document.question)):
            break
        named[found[1]] = f"{found[1]} = {value}" if len(found[1]) == 1 else value
    return ", ".join(reversed(named.values())) if len(named) > 1 else ""


def _items(text: str, document: Document) -> tuple[str, int]:
    """The values of the list that stands here, one after the other, and where it ends."""
    position = len(text) - len(text.lstrip("\n *_:"))
    position = text.rfind("\n", 0, position + 1) + 1 if text[position : position + 1] not in "*" else position
    values: list[str] = []
    item = _ITEM.match(text, position)
    while item is not None and len(values) < 32:
        value = clean(item[1])
        values.append(value if document.is_value(value) else value_in(value, document))
        position = item.end()
        gap = _GAP.match(text, position)
        item = _ITEM.match(text, gap.end()) if gap else None
    return (", ".join(values) if all(values) else ""), position
