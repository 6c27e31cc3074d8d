"""Equality of numbers, quantities and expressions: exactly where both are rational, else to many digits at points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Literal, TypeAlias

from dart_tasks.grading.nodes import (
    Based,
    Call,
    Constant,
    Negative,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    walk,
)
from dart_tasks.grading.numeric import (
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
    free_symbols,
    is_discrete,
    point,
)
from dart_tasks.grading.renaming import renamings
from dart_tasks.grading.sets import is_infinite
from dart_tasks.grading.units import conversion, known_unit
from dart_tasks.grading.views import value_and_unit

__all__ = ["Rules", "ValueComparison"]

Sides: TypeAlias = tuple[Node, Node]
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
SIGNIFICANT_DIGITS = 6  # a decimal stands for an exact value only from this many on


@dataclass(frozen=True, slots=True)
class Rules:
    """How strictly values are compared.

    Attributes:
        ordered: items of a bare list are compared in order.
        any_bracket: a list may be written in any brackets or none (lists of DeepMind-Mathematics and TheoremQA).
        absolute: numbers may differ by this much (OlympiadBench's ``error``).
        relative: numbers may differ by this fraction of the reference (TheoremQA).
        percent: the question asks for a percentage, so 20 and 20% are the same.
        base: the question speaks of a base, so an answer may carry one that the reference leaves out.
        choices: the question lists choices, so a lone small letter is one of them.
    """

    ordered: bool = False
    any_bracket: bool = False
    absolute: Fraction | None = None
    relative: Fraction | None = None
    percent: bool = False
    base: bool = True
    choices: bool = False


class ValueComparison:
    """Compares numbers, quantities and expressions under the rules, within a budget."""

    def __init__(self, rules: Rules, budget: Budget) -> None:
        self.rules = rules
        self.budget = budget

    def same_quantity(self, left: Node, right: Node) -> bool:
        if isinstance(left, Based) or isinstance(right, Based):
            return _same_based(left, right, self.rules.base)
        (a, left_unit), (b, right_unit) = value_and_unit(left), value_and_unit(right)
        if "%" in (left_unit, right_unit) and left_unit != right_unit:
            if self.rules.percent and self._same_value(a, b):
                return True
            a = Quotient(a, Number(Fraction(100))) if left_unit == "%" else a
            b = Quotient(b, Number(Fraction(100))) if right_unit == "%" else b
            return self._same_value(a, b)
        if left_unit != right_unit and (size := conversion(left_unit, right_unit)) is not None:
            return self._same_value(Product((a, Number(size))), b)
        if {left_unit, right_unit} in ({"degree", ""}, {"degree", "radian"}) and any(
            part == Constant("pi") for part in walk(Sum((a, b)))
        ):
            half_turn = Quotient(Constant("pi"), Number(Fraction(180)))
            a, b = (Product((v, half_turn)) if unit == "degree" else v for v, unit in ((a, left_unit), (b, right_unit)))
            return self._same_value(a, b)
        if left_unit != right_unit and left_unit and right_unit and known_unit(left_unit) and known_unit(right_unit):
            return False
        return self._same_value(a, b)

    def _same_value(self, left: Node, right: Node) -> bool:
        if is_infinite(left) or is_infinite(right):
            return is_infinite(left) == is_infinite(right)
        a, b = exact(left), exact(right)
        if a is not None and b is not None:
            return a == b or self._within(a, b) or _rounds(left, b) or _rounds(right, a)
        if not free_symbols(left, right):
            return self._same_constant(left, right)
        return self._same_expression(left, right)

    def _within(self, reference: Fraction, answer: Fraction) -> bool:
        difference = abs(reference - answer)
        if self.rules.absolute is not None:
            return difference <= self.rules.absolute
        return self.rules.relative is not None and difference <= self.rules.relative * abs(reference)

    def _same_constant(self, left: Node, right: Node) -> bool:
        try:
            a, b = evaluate(left, {}, self.budget), evaluate(right, {}, self.budget)
            if agree(a, b):
                return self._agrees((left, right), {}, digits_needed(a, left, right))
        except UndefinedError:
            return False
        if a.imag or b.imag:
            return False
        first, second = _as_fraction(a.real), _as_fraction(b.real)
        return self._within(first, second) or _rounds(left, second) or _rounds(right, first)

    def _same_expression(self, left: Node, right: Node) -> bool:
        try:
            return (
                self.agree_everywhere(left, right)
                or any(self.agree_everywhere(left, renamed) for renamed in renamings(left, right))
                or self._same_antiderivative(left, right)
            )
        except UndefinedError:
            return False

    def agree_everywhere(self, left: Node, right: Node, up_to: UpTo = "nothing") -> bool:
        """Whether two expressions agree at all points, possibly up to a constant factor or term.

        Rational functions that agree at five pseudo-random points are the same; others must also agree to the digits
        that tell the numbers written in them apart, and at further points: negative, small and large.
        """
        sides = (left, right)
        names = sorted(free_symbols(*sides))
        discrete = is_discrete(*sides)
        points = [{name: point(name, index, discrete) for name in names} for index in range(POINTS)]
        origin = None if up_to == "nothing" else points.pop()
        is_rational = True
        for values in points:
            verdict = self._agrees_exactly(sides, values, origin, up_to)
            is_rational = is_rational and verdict is not None
            if verdict is False or (
                verdict is None and not self._agrees(sides, values, WORKING_DIGITS, origin=origin, up_to=up_to)
            ):
                return False
        if is_rational and not discrete and all(_is_rational_function(part) for side in sides for part in walk(side)):
            return True
        value = evaluate(left, points[0], self.budget)
        if not is_rational and not self._agrees(
            sides, points[0], digits_needed(value, *sides), origin=origin, up_to=up_to
        ):
            return False
        return up_to == "a term" or all(
            self._agrees_where_real(sides, values, origin, up_to) for values in _further_points(names, sides, discrete)
        )

    def _agrees_exactly(
        self, sides: Sides, values: Mapping[str, Fraction], origin: Mapping[str, Fraction] | None, up_to: UpTo
    ) -> bool | None:
        """None where a side is not rational there."""
        found = [exact(side, at) for at in (values, origin) if at is not None for side in sides]
        return None if None in found else _matches(found, up_to, lambda a, b: bool(a == b))

    def _agrees(
        self,
        sides: Sides,
        values: Mapping[str, Fraction],
        digits: int,
        real: bool = False,
        origin: Mapping[str, Fraction] | None = None,
        up_to: UpTo = "nothing",
    ) -> bool:
        found = [
            evaluate(side, at, self.budget, digits, real) for at in (values, origin) if at is not None for side in sides
        ]
        return _matches(found, up_to, lambda a, b: agree(a, b, digits))

    def _agrees_where_real(
        self, sides: Sides, values: Mapping[str, Fraction], origin: Mapping[str, Fraction] | None, up_to: UpTo
    ) -> bool:
        """A point where a side has no real value, or none that can be computed, tells nothing."""
        verdict = self._agrees_exactly(sides, values, origin, up_to)
        if verdict is not None:
            return verdict
        try:
            return any(  # what seems to differ may be rounding, at a large value
                self._agrees(sides, values, digits, True, origin, up_to) for digits in (WORKING_DIGITS, MAX_DIGITS)
            )
        except UndefinedError:
            self.budget.spend(0)  # raises if it was the budget that ended
            return True

    def _same_antiderivative(self, left: Node, right: Node) -> bool:
        """Both end in a constant of integration, and they differ by a number that neither writes beside it."""
        first, second = _without_constant(left), _without_constant(right)
        return first is not None and second is not None and self.agree_everywhere(first, second, "a term")


def _matches(found: list[Value], up_to: UpTo, same: Callable[[Value, Value], bool]) -> bool:
    """Whether the values of two sides at a point, and at another one, are the same but for what does not count."""
    if up_to == "nothing":
        return same(*found)
    a, b, a_origin, b_origin = found
    if up_to == "a term":
        return same(a - a_origin, b - b_origin)
    return bool(a_origin and b_origin) and same(a * b_origin, b * a_origin)


def _further_points(names: list[str], sides: Sides, discrete: bool) -> Iterator[dict[str, Fraction]]:
    """Small integers where those are meant; else points of either sign, small and large."""
    rounds = any(isinstance(part, Call) and part.name in ROUNDING for side in sides for part in walk(side))
    if discrete or rounds:  # rounded expressions may differ at few integers only
        highest = (SMALL if rounds else 8, 6 if rounds else 3, 2)
        ranges = [range(1, highest[len(names) - 1] + 1)] * len(names) if len(names) <= len(highest) else []
        for chosen in product(*ranges) if ranges else ():
            yield {name: Fraction(value) for name, value in zip(names, chosen, strict=True)}
    if discrete:
        return
    only_positive = _is_length_of_root(names, sides)
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


def _is_length_of_root(names: list[str], sides: Sides) -> bool:
    """Whether a root is taken and its letters stand for lengths, as in a square's diagonal: those are positive."""
    has_root = any(
        (isinstance(part, Call) and part.name == "root") or (isinstance(part, Power) and _is_half(part.exponent))
        for side in sides
        for part in walk(side)
    )
    return has_root and not REAL_NAMES.intersection(names)


def _is_half(exponent: Node) -> bool:
    value = exact(exponent)
    return value is not None and value.denominator % 2 == 0


def _same_based(left: Node, right: Node, may_add: bool) -> bool:
    """Numerals in the same base, or one without its base written: the digits decide.

    The answer on the right may carry a base that the reference lacks only if ``may_add``.
    """
    if isinstance(left, Based) and isinstance(right, Based):
        return left.base == right.base and left.numeral.lstrip("0") == right.numeral.lstrip("0")
    based, other = (left, right) if isinstance(left, Based) else (right, left)
    if based is right and not may_add:
        return False
    value = exact(other)
    return (
        isinstance(based, Based)
        and value is not None
        and value.denominator == 1
        and str(value.numerator) == based.numeral.lstrip("0")
    )


def _rounds(decimal: Node, value: Fraction) -> bool:
    """Whether a literal decimal of enough digits is ``value`` rounded or cut to its places."""
    sign = 1
    while isinstance(decimal, Negative):
        decimal, sign = decimal.argument, -sign
    if not isinstance(decimal, Number) or decimal.places is None or decimal.digits < SIGNIFICANT_DIGITS:
        return False
    unit = Fraction(1, 10**decimal.places) if decimal.places >= 0 else Fraction(10**-decimal.places)
    difference = value * sign - decimal.value
    return abs(difference) <= unit / 2 or 0 <= difference * (1 if decimal.value >= 0 else -1) < unit


def _as_fraction(value: Value) -> Fraction:
    sign, mantissa, exponent = value._mpf_[:3]
    if abs(exponent) > 5_000:
        raise UndefinedError("too large")
    magnitude = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return -magnitude if sign else magnitude


def _without_constant(node: Node) -> Node | None:
    """A sum without its constant of integration; None if it has none, or has a number beside it."""
    if not isinstance(node, Sum):
        return None
    rest = tuple(term for term in node.terms if not (isinstance(term, Symbol) and term.name in ("C", "c", "K")))
    has_number = any(exact(term) is not None for term in rest)
    return Sum(rest) if len(rest) == len(node.terms) - 1 and not has_number else None
