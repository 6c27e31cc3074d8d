r"""Families of angles: ``\frac{\pi}{4} + k\pi`` and ``\frac{5\pi}{4} + n\pi`` are the same numbers in another order.

A family is an expression that is linear in one whole number (or in it and its parity, as with ``(-1)^k``), with a
multiple of pi or degrees in it: without those, ``2n + 1`` is a formula for the n-th term and not a set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from dart_tasks.grading.compare.evaluate import Budget, UndefinedError, Value, agree, evaluate
from dart_tasks.grading.compare.shapes import both_signs, is_label
from dart_tasks.grading.parse.tree import Call, Constant, Node, Relation, Sequence, free_symbols, walk

__all__ = ["same_families"]

PARAMETERS = frozenset("k n m l j K N".split())
SURE = frozenset("kK")  # "n pi" may be a formula of n, "pi/4 + n pi" is none
MAX_CLASSES = 240  # residues of a family within the common period


@dataclass(frozen=True, slots=True)
class _Family:
    """``start + period * k`` for every whole k."""

    start: Value
    period: Value


def same_families(left: Node, right: Node, budget: Budget) -> bool | None:
    """Whether two families, or lists of them, have the same members; None where a side is none."""
    if not free_symbols(left) & PARAMETERS:
        return None
    families = [[family for item in _items(side) for family in _families(item, budget)] for side in (left, right)]
    if not all(families):
        return None
    unit = families[0][0].period
    ratios = [_ratio(family.period, unit) for side in families for family in side]
    if not all(ratios):
        return None
    period = unit * lcm(*(ratio.numerator for ratio in ratios if ratio))
    first, second = (_residues(side, period) for side in families)
    if not (free_symbols(left) & SURE or any(min(share, 1 - share) > 1e-25 for share in first)):
        return None
    return _covers(first, second) and _covers(second, first)


def _items(node: Node) -> Iterator[Node]:
    """What a list of families is made of, without ``x =`` and with every sign of ``\\pm``."""
    for item in node.items if isinstance(node, Sequence) else (node,):
        if isinstance(item, Relation) and item.operators == ("=",) and is_label(item.operands[0]):
            item = item.operands[1]
        yield from both_signs(item)


def _families(node: Node, budget: Budget) -> list[_Family]:
    """The family that an expression describes, two where its parity counts; none if it is no family."""
    names = free_symbols(node)
    if len(names) != 1 or not names <= PARAMETERS or not any(_is_angle(part) for part in walk(node)):
        return []
    (name,) = names
    try:
        values = [evaluate(node, {name: Fraction(k)}, budget) for k in range(6)]
    except UndefinedError:
        return []
    for step in (1, 2):
        starts = values[:step]
        periods = [values[start + step] - values[start] for start in range(step)]
        expected = [starts[k % step] + periods[k % step] * (k // step) for k in range(6)]
        if all(map(agree, values, expected)) and all(periods) and not any(value.imag for value in values):
            return [_Family(start, abs(period)) for start, period in zip(starts, periods, strict=True)]
    return []


def _is_angle(node: Node) -> bool:
    return node == Constant("pi") or (isinstance(node, Call) and node.name == "degree")


def _ratio(period: Value, unit: Value) -> Fraction | None:
    """``period / unit`` where that is a simple fraction."""
    found = Fraction(str(period / unit)).limit_denominator(MAX_CLASSES)
    return found if found and agree(period * found.denominator, unit * found.numerator) else None


def _residues(families: list[_Family], period: Value) -> list[Value]:
    """The members within one common period, as shares of it."""
    shares: list[Value] = []
    for family in families:
        n_classes = min(int(period / family.period + 0.5), MAX_CLASSES)
        shares += [((family.start + family.period * index) / period) % 1 for index in range(n_classes)]
    return shares


def _covers(shares: list[Value], others: list[Value]) -> bool:
    """Whether each of the others is one of these; 0 and 1 are the same place."""
    return all(any(min(gap := abs(a - b), 1 - gap) < 1e-25 for a in shares) for b in others)
