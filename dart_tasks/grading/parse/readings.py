"""Answer text -> its readings: one or more trees, and a key for comparing it as text.

Text that notation leaves open has several readings: ``1,234`` is a number or a list of two; ``3:1`` a ratio.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import cast

from dart_tasks.grading.parse.compounds import compound
from dart_tasks.grading.parse.grammar import parse
from dart_tasks.grading.parse.notation import bare, rewritten, variants, with_grids
from dart_tasks.grading.parse.phrases import (
    calendar_date,
    choice_letter,
    choice_letters,
    clock_time,
    number_in_sentence,
    spelt_fraction,
    spelt_number,
    text_key,
    truth_value,
)
from dart_tasks.grading.parse.tokens import MAX_CHARACTERS, MAX_NUMBER_CHARACTERS, plain, tokenize
from dart_tasks.grading.parse.tree import (
    OPAQUE,
    Based,
    Call,
    Constant,
    Group,
    Negative,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Quotient,
    Relation,
    Sequence,
    SetOperation,
    Sum,
    Symbol,
    UnreadableError,
    free_symbols,
    literal,
)
from dart_tasks.grading.parse.units import NUMBER_WORDS, canonical_unit, is_unit, makes_another_value

__all__ = ["Reading", "completed", "is_value", "native", "read"]

Native = str | int | float | bool | list[object] | tuple[object, ...] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer as read.

    Attributes:
        nodes: the possible trees, likeliest first; none where it is only text.
        said: for text, the trees of what it says in passing (the only formula or number of a sentence); these are
            compared with a tree, never with another text.
    """

    text: str
    nodes: tuple[Node, ...]
    said: tuple[Node, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether it is a number in digits, and nothing else."""
        return len(self.nodes) == 1 and isinstance(self.nodes[0], Number) and self.text.lower() == self.text.upper()

    @property
    def key(self) -> str:
        """Equal for equal texts."""
        return text_key(_LABELS.sub("", self.text.strip()))


_PLAIN = re.compile(r"-?\d{1,15}(?:\.\d{1,12})?")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d])")
_BASE = r"(\d{1,2}|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen)"
_BASED = re.compile(
    r"^\(?(?:\\(?:text|mathrm)\s*\{\s*)?(-?[0-9A-Z][0-9A-Z.]*)\s*\}?\)?"
    rf"\s*_\s*\{{?\s*(?:\\text\s*\{{\s*)?\(?{_BASE}\)?\s*\}}?\s*\}}?$"
)
_IN_BASE = re.compile(rf"^(-?[0-9A-Z]+) ?[_(]?(?:in )?base[- ]{_BASE} ?\)?$")
_COMMA_INSIDE = re.compile(r"[(\[{][^)\]}]*,")
_MIXED = re.compile(r"\d{1,6} and [1-9]\d{0,3}/[1-9]\d{0,3}")
_SPACED = re.compile(r"^-?\d+(?:\.\d+)?(?:\s+-?\d+(?:\.\d+)?)+$")
_LABELS = re.compile(
    r"^(?:the )?(?:solutions?|answers?|ans|final answer|result)(?: set)?(?: is| are)?\s*:?\s+(?=\S)", re.IGNORECASE
)
_ASIDE = re.compile(r"(?<=\d) \((?:\\text\{)?[a-z][a-z ]+\}?\)$")  # 18 (dollars)
_NAMES = r"\$?\s*(?:\\[a-z]+|[a-zA-Z])(?:\s*,\s*[a-zA-Z]){0,8}\s*\$?\s*"
_CLAUSE = re.compile(  # ", where $n$ is any integer", ", k \\in \\mathbb{Z}", " for all real numbers $t$"
    r"(?:\\text\{)?(?:[,;(]\s*|\s(?=\\?(?:text\s*\{\s*)?(?:for|where|with)\b))(?:\\(?:text|mathrm|quad)\s*\{?\s*|\$\s*)*"
    r"(?:(?:for|where|with)\s+)?"
    r"(?:(?:all|any|every|some|each|an?)\s+)?\}?\s*"
    rf"(?:(?:positive |non-?negative )?(?:integers?|real numbers?|reals?|constants?)\s+\}}?{_NAMES}"
    rf"|{_NAMES}(?:\\in|∈)\s*(?:\\mathbb\s*\{{?\s*[ZRNQ]\s*\}}?|[ℤℝℕ]|\\[ZRN]\b)\s*(?:[_^]\s*\{{?[+*]\}}?)?"
    rf"|{_NAMES}(?:\\text\s*\{{\s*)?(?:is|are|being|an)\s[a-z ]{{0,30}}(?:integers?|numbers?|constants?|real))"
    r"[\s})$.]*$"
)
_SENTENCE = re.compile(
    r"^[^$]*\b(?:is|are|has|have|equals?|by|length|area|value|about|at|to)\s*:?\s*\$([^$]+)\$\s*\.?\s*$", re.IGNORECASE
)
MAX_REMEMBERED = 400  # characters: references and short answers come again and again
_NOTATION = re.compile(r"[\d\\$^_=<>√π∞]")
_WORD = re.compile(r"[a-z]{2,}")
_PROSE_START = re.compile(r"(?:an?|the|in|as|so|if|we|to|be|by|of|it|is|no|on|or)\s+[A-Za-z]{2,}", re.IGNORECASE)
_LETTERS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2}|[\d}] +[A-Za-z]")
_REALS_EXCEPT = re.compile(
    r"[Aa]ll (?:real numbers|reals)(?: [a-z])? (?:except|excluding|other than)(?: for)? (?:[a-z] ?= ?)?(.{1,60})"
)
_VALUE = r"(-? ?[\d./√π]{1,20})"
_REALS_WHERE = re.compile(
    rf"(?:all|any|every) (?:(?:real )?(?:numbers?|reals|values(?: of)?) ?)?(?:[a-z] )?(?:that are )?"
    rf"(?:(greater|larger|bigger|more|less|smaller) than (or equal to )?{_VALUE}"
    rf"|(strictly )?between {_VALUE} and {_VALUE}(?:,? (inclusive|exclusive|not inclusive))?)"
)
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}/\d{1,2}/(?:19|20)\d\d")
_DENIES = re.compile(r"(?:\\(?:not|n?[lg]e?|sim)|[<>≠!~])\s*$")
_CLOCK = re.compile(r"(0?)\d{1,2}(?::[0-5]\d){1,2}")
_RATIO = re.compile(r"(\d{1,30}) (?:to|out of|in) (\d{1,30})")
_SPELT_RATIO = re.compile(r"([a-z -]{3,30}) (?:out of|in) ([a-z -]{3,30})")
_THOUSAND_DOLLARS = re.compile(r"\\\$ ?(\d{1,6}(?:\.\d{1,3})?)[kK]")
_BUILT = re.compile(r"\{ ?[A-Za-z] ?(?:\||\\mid ).{1,100}\}")
_RATIO_OF_THREE = re.compile(r"\d{1,30}(?: to \d{1,30}){2,5}")
_INFINITE = re.compile(
    r"(?:there are )?(?:infinit(?:e|ely)(?: many)?|(?:an )?infinite number of)(?: solutions?)?|(?:positive )?infinity"
)
_NO_SOLUTION = re.compile(
    r"(?:(?:there|it|the (?:equation|inequality|system))? ?(?:is|are|has|have) )?no (?:real )?solutions?(?: exists?)?"
    r"(?: ?[:;,] ?(?:oslash|emptyset|varnothing))?|(?:the )?empty set|none"
)
_YES = re.compile(r"\s*(?:\\text\s*\{\s*)?(?:yes|no)\s*[.,:;]\s*\}?\s*", re.IGNORECASE)
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_HOUR = re.compile(r"(\d{1,2})(?::00)? ?[ap]\.?m\.?")
_DOLLARS_AND_CENTS = re.compile(r"(\d{1,9}) dollars? (?:and )?(\d{1,2}) cents?")
_BRACED_POWER = re.compile(r"\^\{(-?\d)\}")
_MEASURED = re.compile(
    r"(-?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?(?: *(?:\\times|\\cdot|\*) *10 *\^ *\{? *-?\d{1,4} *\}?)?) +"
    r"([A-Za-z]{1,12}(?:\^-?[123])?(?:(?: ?[/*·] ?| ?\\cdot ?| )[A-Za-z]{1,12}(?:\^-?[123])?){0,2})"
)
_SIGNED_REALS = re.compile(r"(?:all |the )?(non-?)?(positive|negative) (?:real numbers|reals)")
_REALS = re.compile(
    r"(?:(?:the )?set of )?(?:all|any|every) (?:real numbers?|reals|real values)(?: of)?(?: [a-z])?|all x"
    r"|(?:the )?real numbers|reals?|all real [a-z]"
)


def read(text: str) -> Reading:
    """The readings of an answer's text; never raises for a string."""
    return _read_short(text) if len(text) <= MAX_REMEMBERED else _read(text)


def completed(text: str) -> Reading:
    """The readings of a whole answer, whose closing braces may be missing: ``\\frac{7}{20``."""
    reading = read(text)
    missing = 0 if reading.nodes else text.count("{") - text.count("}") - text.count("\\{") + text.count("\\}")
    closed = read(text + "}" * missing) if 0 < missing <= 4 else reading
    return closed if closed.nodes else reading


@lru_cache(maxsize=4096)
def _read_short(text: str) -> Reading:
    return _read(text)


def _read(text: str) -> Reading:
    if _PLAIN.fullmatch(text):  # most answers are a number: nothing else can be meant
        number = literal(text.lstrip("-"))
        return Reading(text, (Negative(number) if text.startswith("-") else number,))
    base = _LABELS.sub("", text.strip())
    nodes: list[Node] = []
    shortened = rewritten(_CLAUSE.sub("", _ASIDE.sub("", base))) if len(base) <= MAX_CHARACTERS else base
    others = {text: None for form in (shortened, base) if len(form) <= MAX_REMEMBERED for text in variants(form)}
    for reading in (shortened, *others):
        for candidate in _spellings(_without_stop(plain(reading).strip())):
            try:
                nodes.extend(_trees(candidate))
            except (UnreadableError, RecursionError):
                continue
    if not nodes and (opening := _YES.match(shortened)) and "=" in shortened:  # Yes. F = x^2 y
        nodes.extend(_tree_or_nothing(_without_stop(plain(shortened[opening.end() :]).strip())))
    said = _said(shortened) if not nodes and len(base) <= MAX_CHARACTERS else ()
    return Reading(text, tuple(nodes), said)


def _without_stop(text: str) -> str:
    return text if text.endswith("...") else text.rstrip(".,;: ")


def _said(text: str) -> tuple[Node, ...]:
    """What a sentence says in its only formula, at its end, or as its only number; what an unreadable name equals."""
    if "\\not" in text:
        return ()
    sentence = _SENTENCE.match(text)
    name, equals, value = text.strip().strip("$").partition("=")
    if sentence:
        return _tree_or_nothing(sentence[1])
    if equals and "," not in value and not _DENIES.search(name):
        label = Symbol(f"{OPAQUE}{text_key(name)}")
        return tuple(
            Relation((label, *tree.operands), ("=", *tree.operators))
            if isinstance(tree, Relation) and set(tree.operators) == {"="}
            else Relation((label, tree), ("=",))
            for tree in _tree_or_nothing(value)
        )
    return _tree_or_nothing((number_in_sentence(text) or "").replace(",", ""))


def _tree_or_nothing(text: str) -> tuple[Node, ...]:
    try:
        return (parse(tokenize(plain(text))),) if text.strip() else ()
    except (UnreadableError, RecursionError):
        return ()


def _spellings(text: str) -> list[str]:
    """With commas as thousands separators first, where they can be that."""
    if len(text) < 4_000 and _THOUSANDS.search(text) and not _COMMA_INSIDE.search(text):
        joined = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
        return [joined] if re.search(r",0\d", text) else [joined, text]  # no item of a list is written 000
    return [text]


def _is_numeral(digits: str, base: int) -> bool:
    """Whether all digits are below the base; ``S_{10}`` is a name."""
    return all(int(digit, 36) < base for digit in digits if digit.isalnum())


def _trees(text: str) -> list[Node]:
    if _DATE.fullmatch(text):
        raise UnreadableError("a date")
    based = _BASED.match(text) or ("base" in text and _IN_BASE.match(bare(text))) or None
    base = NUMBER_WORDS.get(based[2]) or int(based[2]) if based else 0
    if based and _is_numeral(based[1], base):
        return [Based(based[1].lstrip("0") or "0", base)]
    if _MIXED.fullmatch(text):  # 3 and 1/2: seven halves, or two numbers
        parts = tuple(parse(tokenize(part)) for part in text.split(" and "))
        return [Sum(parts), Sequence(parts)]
    if text in ("R", "\\R"):
        return [Symbol("R"), Symbol("mathbb R")]
    if text.startswith("{") and _BUILT.fullmatch(text):  # {x | x < 5}
        return _trees(f"\\{text[:-1]}\\}}")
    if text.startswith("\\$") and (money := _THOUSAND_DOLLARS.fullmatch(text)):
        return [Quantity(Number(Fraction(money[1]) * 1000), "$")]
    if _SPACED.match(text):
        items = tuple(_literal(item) for item in text.split())
        joined = text.replace(" ", "")
        if re.fullmatch(r"\d{1,3}( \d{3})+", text):
            return [_literal(joined), Sequence(items)]
        return [Sequence(items)]
    if clock := _CLOCK.fullmatch(text):  # 2:05 is a time, 12:30 a time or a ratio
        hour, *rest = (int(part) for part in text.split(":"))
        time = Symbol(f"{OPAQUE}{hour}:{':'.join(f'{part:02}' for part in rest)}")
        if clock[1] or hour == 0 or any(part < 10 for part in rest):
            return [time]
        return [time, *_around_colon(cast(Relation, parse(tokenize(text))))]
    special = (_phrase(text) if len(text) <= 100 else None) or compound(text, _tree_or_nothing)
    if special is not None:
        is_product = isinstance(special, Sequence) and all(isinstance(item, Number) for item in special.items)
        return [special, *(_tree_or_nothing(text) if is_product else ())]  # 7 \\times 6 has sides, or is 42
    tokens = tokenize(text)
    if not tokens:
        return []
    node = parse(tokens)
    if isinstance(node, Relation) and ":" in node.operators:
        return _around_colon(node)
    last = node.items[-1] if isinstance(node, Sequence) else None
    if isinstance(node, Sequence) and isinstance(last, Relation) and ":" in last.operators:
        *before, _ = node.items  # x > 4 or x < 1 : (-\infty, 1) \cup (4, \infty)
        left, *right = _around_colon(last)
        return [Sequence((*before, left)), *right] if right else [node]
    return [node]


def _phrase(text: str) -> Node | None:
    """Phrases that mean a value: all real numbers, no solution, half, 3 to 1, 7 out of 12, 2nd, twenty-five apples."""
    if not _LETTERS.search(text):
        return None
    words = bare(text).lower().strip(" .")
    if except_ := _REALS_EXCEPT.fullmatch(bare(text)):
        excluded = _tree_or_nothing(except_[1])
        items = excluded[0].items if excluded and isinstance(excluded[0], Sequence) else excluded
        return SetOperation((Symbol("mathbb R"), Group("{", items, "}")), ("minus",)) if items else None
    if region := _REALS_WHERE.fullmatch(words):
        return _where(*region.groups())
    if signed := _SIGNED_REALS.fullmatch(words):
        with_zero, zero = bool(signed[1]), Number(Fraction(0))
        if (signed[2] == "positive") is with_zero:
            return Group("(", (Negative(Constant("infinity")), zero), "]" if with_zero else ")")
        return Group("[" if with_zero else "(", (zero, Constant("infinity")), ")")
    if _REALS.fullmatch(words):
        return Symbol("mathbb R")
    if _NO_SOLUTION.fullmatch(words):
        return Group("{", (), "}")
    if _INFINITE.fullmatch(words):
        return Constant("infinity")
    if words in ("negative infinity", "minus infinity", "- infinity"):
        return Negative(Constant("infinity"))
    if ratio := _RATIO.fullmatch(words):
        return Quotient(_literal(ratio[1]), _literal(ratio[2]))
    if (" in " in words or " of " in words) and (spelt_ratio := _SPELT_RATIO.fullmatch(words)):  # one in three
        parts = [spelt_number(part) for part in spelt_ratio.groups()]
        if all(part and not part[1] for part in parts):
            return Quotient(*(Number(Fraction(part[0])) for part in parts if part))
    if _RATIO_OF_THREE.fullmatch(words):
        return _around_colon(cast(Relation, parse(tokenize(words.replace(" to ", ":")))))[0]
    if ordinal := re.fullmatch(r"(\d+)(?:st|nd|rd|th)", words):
        return _literal(ordinal[1])
    if words in _ORDINALS:
        return _literal(str(_ORDINALS.index(words) + 1))
    if measured := _MEASURED.fullmatch(_BRACED_POWER.sub(r"^\1", text)):
        names = re.findall(r"[A-Za-z]+|\^-?\d|/", measured[2].replace("\\cdot", ""))
        if all(name[0] in "/^" or is_unit(name, one_letter=True) for name in names):
            return Quantity(
                _tree_or_nothing(measured[1])[0], canonical_unit(["per" if name == "/" else name for name in names])
            )
    if hour := _HOUR.fullmatch(words):
        return _literal(hour[1])
    if money := _DOLLARS_AND_CENTS.fullmatch(words):
        return Quantity(_literal(f"{money[1]}.{int(money[2]):02}"), "$")
    if (fraction := spelt_fraction(words)) is not None:
        return Quotient(Number(Fraction(fraction.numerator)), Number(Fraction(fraction.denominator)))
    amount, _, unit = re.sub(r"^half an? ", "half ", words).rpartition(" ")
    if is_unit(unit) and (fraction := spelt_fraction(amount)) is not None:  # two and a half hours
        return Quantity(Number(fraction), canonical_unit([unit]))
    sign = -1 if words.startswith(("negative ", "minus ")) else 1
    unsigned = words.partition(" ")[2] if sign < 0 else words
    if sign < 0 and re.fullmatch(r"\d{1,30}(?:\.\d{1,30})?", unsigned):
        return Negative(_literal(unsigned))
    spelt = spelt_number(unsigned)
    if spelt is None or makes_another_value(spelt[1].split()) or spelt[1].startswith("quarter"):
        return None
    value = Number(Fraction(sign * spelt[0]), None, len(str(spelt[0])))
    if spelt[1] == "pi":
        return Product((value, Constant("pi")))
    return Quantity(value, canonical_unit(spelt[1].split())) if spelt[1] else value


def _where(
    side: str | None, equal: str | None, end: str, strictly: str | None, low: str, high: str, ends: str | None
) -> Node | None:
    """The interval of "all real numbers greater than 1", "all x strictly between -2 and 3"."""
    bounds = [tree for text in ((end,) if side else (low, high)) for tree in _tree_or_nothing(plain(text))]
    if side in ("less", "smaller"):
        bounds.insert(0, Negative(Constant("infinity")))
    elif side:
        bounds.append(Constant("infinity"))
    if len(bounds) != 2 or not (side or strictly or ends):
        return None
    is_below = side in ("less", "smaller")
    opens_closed, ends_closed = (bool(equal) and side is not None and below is is_below for below in (False, True))
    inclusive = ends == "inclusive"
    return Group("[" if inclusive or opens_closed else "(", tuple(bounds), "]" if inclusive or ends_closed else ")")


def _literal(text: str) -> Number:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise UnreadableError("a number with too many digits")
    value = Fraction(text)
    return Number(value, len(text.partition(".")[2]) if "." in text else None, len(text.replace(".", "").lstrip("-0")))


_NUMERIC = Number | Negative | Call | Product | Quotient | Power | Sum


def _around_colon(node: Relation) -> list[Node]:
    """``3:1`` is a ratio; ``x<2 : (-\\infty,2)`` states the same thing twice."""
    if all(operator == ":" for operator in node.operators):
        first, *rest = node.operands
        if free_symbols(*node.operands) or not all(isinstance(part, _NUMERIC) for part in node.operands):
            return [node]
        if len(rest) == 1:
            return [Quotient(first, rest[0])]
        return [Group("<", tuple(Quotient(part, first) for part in rest), ">")]  # 2:3:5 is 4:6:10
    position = node.operators.index(":")
    if position == 0 and isinstance(node.operands[0], Symbol) and "_" in node.operands[0].name:  # H_0: \\mu = 5
        return [node]
    left_part: Node = (
        Relation(node.operands[: position + 1], node.operators[:position]) if position else node.operands[0]
    )
    after = node.operators[position + 1 :]
    right_part: Node = Relation(node.operands[position + 1 :], after) if after else node.operands[-1]
    return [left_part, right_part]


def native(reference: Native) -> Reading:
    """The reading of a reference in its native type; a list is in order, whatever its brackets."""
    if isinstance(reference, bool) or reference is None:
        return Reading(str(reference), ())
    if isinstance(reference, int | float):
        return _from_number(reference)
    if isinstance(reference, list | tuple):
        readings = [native(item) for item in reference]  # type: ignore[arg-type]
        text = "[" + ", ".join(reading.text for reading in readings) + "]"
        if all(reading.nodes for reading in readings):
            items = tuple(reading.nodes[0] for reading in readings)
            kind: Node = Sequence(items) if all(isinstance(item, str) for item in reference) else Group("[", items, "]")
            return Reading(text, (kind if len(items) > 1 or isinstance(kind, Group) else items[0],))
        return read(text)
    return completed(with_grids(str(reference)))


def _from_number(value: int | float) -> Reading:
    text = repr(value)
    try:
        return Reading(text, (_literal(text) if "e" not in text else Number(Fraction(text), None, 0),))
    except ValueError:  # inf, nan
        return read(text)


def is_value(text: str) -> bool:
    """Whether an answer can be compared as it stands: as mathematics, a truth value, a choice, a time."""
    if len(text) > 4_000:
        return False
    reading = read(text)
    if reading.nodes:
        words = len(text.split())
        is_prose = words >= 4 and (
            _NOTATION.search(text) is None or ("\\" not in text and len(_WORD.findall(text)) > 6)
        )
        return not is_prose and not _PROSE_START.match(text)
    return (
        truth_value(text) is not None
        or choice_letter(text) is not None
        or choice_letters(text) is not None
        or ((time := clock_time(text)) is not None and time[1])
        or calendar_date(text) is not None
    )
