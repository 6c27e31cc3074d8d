"""Whether two expressions agree wherever they are looked at: exactly where rational, else to many digits.

Rational functions that agree at five pseudo-random points are the same; others must also agree to the digits that tell
the numbers written in them apart, and at further points: negative, small and large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Literal, TypeAlias

from dart_tasks.grading.compare.evaluate import (
    MAX_DIGITS,
    ROUNDING,
    WORKING_DIGITS,
    Budget,
    UndefinedError,
    Value,
    agree,
    digits_needed,
    evaluate,
    exact,
    is_discrete,
    point,
)
from dart_tasks.grading.parse.tree import Call, Node, Power, free_symbols, walk

__all__ = ["agree_everywhere", "same_value_exactly"]

Point: TypeAlias = Mapping[str, Fraction]
UpTo: TypeAlias = Literal["nothing", "a factor", "a term"]

POINTS = 5
# Further points: by how much the variables at even and at odd positions are multiplied.
FURTHER = tuple(
    (Fraction(even), Fraction(odd))
    for even, odd in (
        (-1, -1), (1, -1), (-1, 1), ("1/1000", "1/1000"), ("-1/1000", "-1/1000"), (70, 70), (-70, -70),
        (10**6, 10**6), (-(10**6), -(10**6)),
    )
)  # fmt: skip
REAL_NAMES = frozenset(("x", "y", "z", "t", "u", "v", "w", "theta"))  # others beside a root are lengths
SMALL = 33  # floors of one variable are compared up to here


def agree_everywhere(left: Node, right: Node, budget: Budget, up_to: UpTo = "nothing") -> bool:
    """Whether two expressions agree at all points, possibly up to a constant factor or term.

    Raises:
        UndefinedError: a side has no value at one of the first points, or the budget is exhausted.
    """
    sides = (left, right)
    names = sorted(free_symbols(*sides))
    discrete = is_discrete(*sides)
    points: list[Point] = [{name: point(name, index, discrete) for name in names} for index in range(POINTS)]
    pair = _Pair(sides, budget, up_to, None if up_to == "nothing" else points.pop())
    exactly = []
    for values in points:
        exactly.append(pair.agrees_exactly(values))
        if exactly[-1] is False or (exactly[-1] is None and not pair.agrees(values)):
            return False
    parts = [part for side in sides for part in walk(side)]
    if None in exactly:
        digits = digits_needed(evaluate(left, points[0], budget), *sides)
        if not pair.agrees(points[0], digits):
            return False
    elif not discrete and all(map(_is_rational_function, parts)):
        return True
    return up_to == "a term" or all(map(pair.agrees_where_real, _further_points(names, parts, discrete)))


def same_value_exactly(left: Node, right: Node, value: Value, budget: Budget) -> bool:
    """Whether two constants of about this value are the same, to the digits that the numbers written in them need."""
    return _Pair((left, right), budget).agrees({}, digits_needed(value, left, right))


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two sides, whose values at a point are compared; with ``origin``, relative to those at another point."""

    sides: tuple[Node, Node]
    budget: Budget
    up_to: UpTo = "nothing"
    origin: Point | None = None

    def agrees_exactly(self, values: Point) -> bool | None:
        """None where a side is not rational there."""
        found = [exact(side, at) for at in (values, self.origin) if at is not None for side in self.sides]
        return None if None in found else self._matches(found, lambda a, b: bool(a == b))

    def agrees(self, values: Point, digits: int = WORKING_DIGITS, real: bool = False) -> bool:
        found = [
            evaluate(side, at, self.budget, digits, real)
            for at in (values, self.origin)
            if at is not None
            for side in self.sides
        ]
        return self._matches(found, lambda a, b: agree(a, b, digits))

    def agrees_where_real(self, values: Point) -> bool:
        """A point where a side has no real value, or none that can be computed, tells nothing."""
        verdict = self.agrees_exactly(values)
        if verdict is not None:
            return verdict
        try:  # what seems to differ may be rounding, at a large value
            return any(self.agrees(values, digits, real=True) for digits in (WORKING_DIGITS, MAX_DIGITS))
        except UndefinedError:
            self.budget.spend(0)  # raises if it was the budget that ended
            return True

    def _matches(self, found: list[Value], same: Callable[[Value, Value], bool]) -> bool:
        if self.up_to == "nothing":
            return same(*found)
        a, b, a_origin, b_origin = found
        if self.up_to == "a term":
            return same(a - a_origin, b - b_origin)
        return bool(a_origin and b_origin) and same(a * b_origin, b * a_origin)


def _further_points(names: list[str], parts: list[Node], discrete: bool) -> Iterator[Point]:
    """Small integers where those are meant; else points of either sign, small and large."""
    rounds = any(isinstance(part, Call) and part.name in ROUNDING for part in parts)
    if discrete or rounds:  # rounded expressions may differ at few integers only
        highest = (SMALL if rounds else 8, 6 if rounds else 3, 2)
        ranges = [range(1, highest[len(names) - 1] + 1)] * len(names) if len(names) <= len(highest) else []
        for chosen in product(*ranges) if ranges else ():
            yield {name: Fraction(value) for name, value in zip(names, chosen, strict=True)}
    if discrete:
        return
    # Where a root is taken, letters that are no usual variables stand for lengths, as in a square's diagonal.
    only_positive = not REAL_NAMES.intersection(names) and any(map(_is_root, parts))
    for index, (even, odd) in enumerate(FURTHER):
        if not (only_positive and (even < 0 or odd < 0)) and (even == odd or len(names) > 1):
            signs = (odd if position % 2 else even for position in range(len(names)))
            yield {name: point(name, POINTS + index) * sign for name, sign in zip(names, signs, strict=True)}


def _is_rational_function(part: Node) -> bool:
    """The square root of x^2 has rational values at rational points, and is none."""
    if isinstance(part, Power):
        exponent = exact(part.exponent)
        return exponent is not None and exponent.denominator == 1
    return not isinstance(part, Call)


def _is_root(part: Node) -> bool:
    if isinstance(part, Power):
        exponent = exact(part.exponent)
        return exponent is not None and exponent.denominator % 2 == 0
    return isinstance(part, Call) and part.name == "root"
