r"""Answers of several parts that words hold together: dimensions, compound measures, labelled values.

``20 ft x 35 ft`` is a list of two lengths, ``5 feet 4 inches`` one of 64 inches, and ``radius: 5, center: $(1, -4)$``
a list of named values, whose order does not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from dart_tasks.grading.parse.notation import bare
from dart_tasks.grading.parse.tokens import GREEK_NAMES
from dart_tasks.grading.parse.tree import OPAQUE, Node, Number, Quantity, Relation, Sequence, Symbol, literal
from dart_tasks.grading.parse.units import canonical_unit, conversion, is_unit

__all__ = ["compound"]

MAX_PARTS = 8
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2}|\\(?:text|mathrm|mbox)|'|times|×|\dx|x\d")  # most answers have none
_MEASURE = r"(\d{1,12}(?:\.\d{1,12})?) ?([A-Za-z.]{1,12})?"
_BY = r" ?(?:x|×|times|by) ?"
_DIMENSIONS = re.compile(rf"{_MEASURE}{_BY}{_MEASURE}(?:{_BY}{_MEASURE})?")
_MIXED = re.compile(r"(\d{1,9}) ?([A-Za-z.]{1,12})(?:,? and|,)? (\d{1,9}(?:\.\d{1,9})?) ?([A-Za-z.]{1,12})")
_FEET = re.compile(r"(\d{1,6}) ?' ?(\d{1,2}) ?(?:''|\"|′′|″)")
_STYLED = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox|quad)\s*(?:\{([^{}]*)\})?")
_LABELLED = re.compile(
    r"((?:the )?[A-Za-z][A-Za-z'-]+\.?(?: [A-Za-z'-]+\.?){0,4}?)\s*[:=]?\s*"
    r"((?:[-+(\[{\\\d∞]|[A-Za-z]\s*(?:[<>=≤≥^]|\\[lg]e)).*)",
    re.DOTALL,
)
_SINGLE = re.compile(r"concave (?:up|down)|increas|decreas|cent(?:er|re)|vertex|focus|domain|range|saddle|rel|absolute")
_LEFT_OUT = frozenset("the is are a an at on when for of over if point pt points".split())
_SAME = {"maximum": "max", "minimum": "min", "maxima": "max", "minima": "min", "centre": "center", "local": "rel",
         "relative": "rel"}  # fmt: skip
_NO_LABELS = frozenset(  # what denies, compares or tells
    "not no never less more fewer greater than between least most or either about twice half so then thus hence it he"
    " she they we you now was were has have had will would can let costs cost rises takes gives gets makes pays".split()
)


def compound(text: str, read: Callable[[str], tuple[Node, ...]]) -> Node | None:
    """The tree of such an answer, whose values ``read`` reads; None for anything else."""
    if not _WORDS.search(text):
        return None
    words = bare(text)
    if len(words) <= 80:
        if match := _DIMENSIONS.fullmatch(words):
            return _dimensions(match.groups())
        if match := _FEET.fullmatch(words):
            return _mixed(match[1], "ft", match[2], "in")
        if match := _MIXED.fullmatch(words):
            return _mixed(*match.groups())
    return _labelled(text, read) if re.search(r"[A-Za-z]{3}", words) and len(text) <= 300 else None


def _dimensions(groups: tuple[str | None, ...]) -> Node | None:
    values = [value for value in groups[::2] if value]
    units = [unit for unit in groups[1::2] if unit]
    if not all(is_unit(unit, one_letter=True) for unit in units):
        return None
    return Sequence(tuple(_quantity(value, groups[2 * index + 1] or "") for index, value in enumerate(values)))


def _quantity(value: str, unit: str) -> Node:
    return Quantity(literal(value), canonical_unit([unit])) if unit else literal(value)


def _mixed(first: str, unit: str, second: str, small: str) -> Node | None:
    """``5 feet 4 inches`` in the smaller unit."""
    if not (is_unit(unit, one_letter=True) and is_unit(small, one_letter=True)):
        return None
    size = conversion(canonical_unit([unit]), canonical_unit([small]))
    if size is None or size <= 1:
        return None
    return Quantity(Number(Fraction(first) * size + Fraction(second)), canonical_unit([small]))


def _labelled(text: str, read: Callable[[str], tuple[Node, ...]]) -> Node | None:
    parts = _parts(_STYLED.sub(lambda style: f" {style[1] or ''} ", text))
    found: list[Node] = []
    labels: list[str] = []
    for part in parts:
        match = _LABELLED.fullmatch(part)
        label = _label(match[1]) if match else ""
        trees = read(match[2]) if match and label else read(part)
        if len(trees) != 1 or (match and not label) or isinstance(trees[0], Sequence):
            return None
        labels.append(label)
        name = Symbol(label if label in GREEK_NAMES else OPAQUE + label)
        found.append(Relation((name, trees[0]), ("=",)) if label else trees[0])
    labels = [label for label in labels if label]
    if len(found) == 1 and labels and _SINGLE.match(labels[0]):
        return found[0]
    return Sequence(tuple(found)) if 1 < len(found) <= MAX_PARTS and labels else None


def _label(words: str) -> str:
    """A label without what does not tell it from another; empty if it denies or compares."""
    names = [word.strip(".:'").lower() for word in words.split()]
    if _NO_LABELS.intersection(names) or any(is_unit(name) and name != "min" for name in names):
        return ""
    return " ".join(_SAME.get(name, name) for name in names if name not in _LEFT_OUT)


def _parts(text: str) -> list[str]:
    """What commas, semicolons and "and" divide outside of brackets."""
    parts, level, start = [], 0, 0
    for index, char in enumerate(text):
        level += (char in "([{") - (char in ")]}")
        is_and = text.startswith(" and ", index)
        if level == 0 and (char in ",;\n" or is_and):
            parts.append(text[start:index])
            start = index + (5 if is_and else 1)
    parts.append(text[start:])
    return [part.strip(" .$") for part in parts if part.strip(" .$")][: MAX_PARTS + 1]
