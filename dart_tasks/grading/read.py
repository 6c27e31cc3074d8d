"""Answer text -> its readings: one or more trees, and a key for comparing it as text.

Text that notation leaves open has several readings: ``1,234`` is a number or a list of two; ``3:1`` a ratio.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from dart_tasks.grading.lexer import MAX_CHARACTERS, UnreadableError, plain, tokenize
from dart_tasks.grading.nodes import Based, Group, Node, Number, Quotient, Relation, Sequence, Symbol
from dart_tasks.grading.parser import parse, parse_tokens
from dart_tasks.grading.units import NUMBER_WORDS

__all__ = ["OPAQUE", "Reading", "choice_letters", "native", "read", "truth_value"]

Native = str | int | float | bool | list[object] | tuple[object, ...] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """``nodes`` are the possible trees, likeliest first (none: it is text); ``key`` is equal for equal texts."""

    text: str
    nodes: tuple[Node, ...]
    key: str


_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d])")
_BASE = r"(\d{1,2}|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen)"
_BASED = re.compile(rf"^\(?(-?[0-9A-Z][0-9A-Z.]*)\)?\s*_\s*\{{?\s*(?:\\text\s*\{{\s*)?{_BASE}\s*\}}?\s*\}}?$")
_IN_BASE = re.compile(rf"^(-?[0-9A-Z]+) (?:in )?base {_BASE}$")
_SPACED = re.compile(r"^-?\d+(?:\.\d+)?(?:\s+-?\d+(?:\.\d+)?)+$")
_LABELS = re.compile(
    r"^(?:the )?(?:solutions?|answers?|ans|final answer|result)(?: set)?(?: is| are)?\s*:?\s+(?=\S)", re.IGNORECASE
)
_MACRO = re.compile(r"\\(?:text|mbox|textrm|textbf|textit|mathrm|mathbf|operatorname|textnormal|emph)\s*\{")
_CHOICE = re.compile(r"^(?i:option|choice|answer)?\s*(?:\(?([A-Za-z])\)|([A-Z])(?:[.:]|$))(?:\s.*)?$", re.DOTALL)
_NAMES = r"\$?\s*(?:\\[a-z]+|[a-zA-Z])(?:\s*,\s*[a-zA-Z])*\s*\$?\s*"
_CLAUSE = re.compile(  # ", where $n$ is any integer", ", k \\in \\mathbb{Z}", " for all real numbers $t$"
    r"(?:[,;(]\s*|\s(?=\\?(?:text\s*\{\s*)?(?:for|where|with)\b))(?:\\(?:text|mathrm|quad)\s*\{?\s*|\$\s*)*"
    r"(?:(?:for|where|with)\s+)?"
    r"(?:(?:all|any|every|some|each|an?)\s+)?\}?\s*"
    rf"(?:(?:positive |non-?negative )?(?:integers?|real numbers?|reals?|constants?)\s+\}}?{_NAMES}"
    rf"|{_NAMES}(?:\\in|∈)\s*(?:\\mathbb\s*\{{?\s*[ZRNQ]\s*\}}?|[ℤℝℕ]|\\[ZRN]\b)\s*(?:\^\s*\{{?\+\}}?)?"
    rf"|{_NAMES}(?:\\text\s*\{{\s*)?(?:is|are|being|an)\s[a-z ]{{0,30}}(?:integers?|numbers?|constants?|real))[\s}})$.]*$"
)
_SENTENCE = re.compile(
    r"^[^$]*\b(?:is|are|has|have|equals?|by|length|area|value|about|at|to)\s*:?\s*\$([^$]+)\$\s*\.?\s*$", re.IGNORECASE
)
MAX_REMEMBERED = 400  # characters: references and short answers come again and again
OPAQUE = "text:"  # marks the name of a value whose name is no mathematics: P-value = 0.014
_SUBJECT = r"(?:(?:series|sequence|integral|it) )?(?:is )?"  # articles are gone by then
_SAME_WORDS = (
    (r"(?:there (?:is|are) )?no (?:real )?solutions?(?: exists?)?|none|inconsistent(?: system)?", "no solution"),
    (r"emptyset|empty ?set|varnothing|oslash", "no solution"),
    (r"(?:there (?:is|are) )?infinit(?:e|ely)(?: many)?(?: number of)?(?: solutions?)?", "infinitely many solutions"),
    (r"(?:it )?(?:does not exist|dne|is undefined|undefined|not defined|is not defined)", "does not exist"),
    (rf"{_SUBJECT}(?:diverges|divergent|diverge)", "diverges"),
    (rf"{_SUBJECT}(?:converges|convergent|converge)", "converges"),
    (rf"{_SUBJECT}(?:converges absolutely|absolutely convergent)", "converges absolutely"),
    (rf"{_SUBJECT}(?:converges conditionally|conditionally convergent)", "converges conditionally"),
    (r"(?:it )?(?:is |yes )?function", "function"),
    (r"(?:it )?(?:is |no )?not function", "not function"),
)
_CANONICAL_WORDS = tuple((re.compile(pattern), words) for pattern, words in _SAME_WORDS)
_REALS = re.compile(
    r"(?:(?:the )?set of )?all (?:real numbers|reals|real values)(?: of)?(?: [a-z])?|(?:the )?real numbers|reals?"
)
_TRUE = frozenset(["true", "yes", "correct"])
_FALSE = frozenset(["false", "no", "incorrect"])


def read(text: str) -> Reading:
    """The readings of an answer's text; never raises for a string."""
    return _read_short(text) if len(text) <= MAX_REMEMBERED else _read(text)


@lru_cache(maxsize=4096)
def _read_short(text: str) -> Reading:
    return _read(text)


def _read(text: str) -> Reading:
    base = _LABELS.sub("", text.strip())
    nodes: list[Node] = []
    shortened = _CLAUSE.sub("", base) if len(base) <= MAX_CHARACTERS else base
    for candidate in _spellings(plain(shortened).strip().rstrip(".,;: ")):
        try:
            nodes.extend(_trees(candidate))
        except (UnreadableError, RecursionError):
            continue
    if not nodes and len(base) <= MAX_CHARACTERS:
        nodes = _stated_in_prose(shortened)
    return Reading(text, tuple(nodes), _key(base))


def _stated_in_prose(text: str) -> list[Node]:
    """What a sentence says at its end in its only formula, or what an unreadable left side equals."""
    sentence = _SENTENCE.match(text)
    name, equals, value = text.strip().strip("$").rpartition("=")
    for inner in (sentence[1] if sentence else "", value if equals and "=" not in name and "," not in value else ""):
        try:
            tree = parse(inner) if inner else None
        except (UnreadableError, RecursionError):
            continue
        if tree is not None:
            return [tree if sentence else Relation((Symbol(f"{OPAQUE}{_key(name)}"), tree), ("=",))]
    return []


def _spellings(text: str) -> list[str]:
    """With commas as thousands separators first, where they can be that."""
    if len(text) < 4_000 and _THOUSANDS.search(text) and not re.search(r"[(\[{]", text):
        joined = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
        return [joined, text]
    return [text]


def _trees(text: str) -> list[Node]:
    based = _BASED.match(text) or _IN_BASE.match(text)
    if based:
        base = NUMBER_WORDS.get(based[2]) or int(based[2])
        return [Based(based[1].lstrip("0") or "0", base)]
    if _SPACED.match(text):
        items = tuple(_literal(item) for item in text.split())
        joined = text.replace(" ", "")
        if re.fullmatch(r"\d{1,3}( \d{3})+", text):
            return [_literal(joined), Sequence(items)]
        return [Sequence(items)]
    words = text.lower().replace("-", " ").split()
    if words and _REALS.fullmatch(" ".join(words)):
        return [Symbol("mathbb R")]
    if " ".join(words) in ("no solution", "no solutions", "no real solutions", "no real solution", "empty set"):
        return [Group("{", (), "}")]
    if words and len(words) <= 3 and all(word in NUMBER_WORDS for word in words):
        return [Number(Fraction(sum(NUMBER_WORDS[word] for word in words)))]
    tokens = tokenize(text)
    if not tokens:
        return []
    node = parse_tokens(tokens)
    if isinstance(node, Relation) and ":" in node.operators:
        return _around_colon(node)
    return [node]


def _literal(text: str) -> Number:
    value = Fraction(text)
    return Number(value, len(text.partition(".")[2]) if "." in text else None, len(text.replace(".", "").lstrip("-0")))


def _around_colon(node: Relation) -> list[Node]:
    """``3:1`` is a ratio; ``x<2 : (-\\infty,2)`` states the same thing twice."""
    if node.operators == (":",):
        left, right = node.operands
        if isinstance(left, Number) and isinstance(right, Number):
            return [Quotient(left, right)]
        return [node]
    position = node.operators.index(":")
    left_part: Node = (
        Relation(node.operands[: position + 1], node.operators[:position]) if position else node.operands[0]
    )
    after = node.operators[position + 1 :]
    right_part: Node = Relation(node.operands[position + 1 :], after) if after else node.operands[-1]
    return [left_part, right_part]


def native(reference: Native) -> Reading:
    """The reading of a reference in its native type; a list is in order, whatever its brackets."""
    if isinstance(reference, bool) or reference is None:
        return Reading(str(reference), (), str(reference).lower())
    if isinstance(reference, int | float):
        return _from_number(reference)
    if isinstance(reference, list | tuple):
        readings = [native(item) for item in reference]  # type: ignore[arg-type]
        text = "[" + ", ".join(reading.text for reading in readings) + "]"
        if all(reading.nodes for reading in readings):
            items = tuple(reading.nodes[0] for reading in readings)
            kind: Node = Sequence(items) if all(isinstance(item, str) for item in reference) else Group("[", items, "]")
            return Reading(text, (kind if len(items) > 1 or isinstance(kind, Group) else items[0],), _key(text))
        return read(text)
    return read(str(reference))


def _from_number(value: int | float) -> Reading:
    text = repr(value)
    try:
        return Reading(text, (_literal(text) if "e" not in text else Number(Fraction(text), None, 0),), text)
    except ValueError:  # inf, nan
        return read(text)


def truth_value(text: str) -> bool | None:
    """True or False for an answer that says so (``True``, ``yes.``, ``\\text{No}``, "No, because ..."), else None."""
    words = re.findall(r"[a-z]+", _MACRO.sub(" ", text.lower()))
    if not words or (
        len(words) > 1 and not re.match(r"\s*\W*(?:yes|no|true|false)\s*[.,;:!]", _MACRO.sub(" ", text.lower()))
    ):
        return None
    return True if words[0] in _TRUE else False if words[0] in _FALSE else None


def choice_letters(text: str) -> str | None:
    """The letter of a multiple-choice answer, in upper case: ``(B)``, ``\\textbf{(B)}\\ 5``, ``option (c)``, ``B``."""
    bare = (
        _MACRO.sub(" ", text).replace("}", " ").replace("$", " ").replace("\\", " ").replace("*", " ").replace("{", " ")
    )
    match = _CHOICE.match(" ".join(bare.split()))
    return (match[1] or match[2]).upper() if match else None


def _key(text: str) -> str:
    """Text without what does not tell answers apart: case, spaces, macros, punctuation, articles, synonyms."""
    text = plain(_MACRO.sub(" ", text[:20_000])).lower().replace("}", " ").replace("{", " ")
    text = re.sub(r"(?<=[a-z])\.(?=[a-z]\b)", "", text)
    text = re.sub(r"(?<!\d)\.(?!\d)|[,;:!?\"'`*~](?!\d)|\.(?=\s|$)", " ", text)
    words = " ".join(word for word in text.split() if word not in ("the", "a", "an"))
    if len(words) <= 60:
        words = next((canonical for pattern, canonical in _CANONICAL_WORDS if pattern.fullmatch(words)), words)
    return words.replace(" ", "")
