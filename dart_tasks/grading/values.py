"""Equality of numbers, quantities and expressions: exactly where both are rational, else to many digits at points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from dart_tasks.grading.nodes import Based, Call, Constant, Negative, Node, Number, Product, Quotient, Sum, Symbol, walk
from dart_tasks.grading.numeric import (
    Budget,
    UndefinedError,
    Value,
    evaluate,
    exact,
    free_symbols,
    integer,
    is_discrete,
    is_rounded,
    point,
)
from dart_tasks.grading.renaming import renamings
from dart_tasks.grading.sets import is_infinite
from dart_tasks.grading.units import conversion, known_unit
from dart_tasks.grading.views import value_and_unit

__all__ = ["Rules", "ValueComparison"]

AGREEMENT = 30  # digits to which equal expressions agree
POINTS = 5
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
        except UndefinedError:
            return False
        if self.agree(a, b):
            return True
        if a.imag or b.imag:
            return False
        first, second = _as_fraction(a.real), _as_fraction(b.real)
        return self._within(first, second) or _rounds(left, second) or _rounds(right, first)

    def _same_expression(self, left: Node, right: Node) -> bool:
        try:
            if self._equal_everywhere(left, right):
                return True
            if any(self._equal_everywhere(left, renamed) for renamed in renamings(left, right)):
                return True
            return self._same_antiderivative(left, right)
        except UndefinedError:
            return False

    def _equal_everywhere(self, left: Node, right: Node) -> bool:
        if not all(self.agree(self.at(left, names), self.at(right, names)) for names in self.points(left, right)):
            return False
        if any(isinstance(part, Call) and part.name == "abs" for node in (left, right) for part in walk(node)):
            values = [(self.at(left, names), self.at(right, names)) for names in self.points(left, right, True)]
            return all(self.agree(a, b) for a, b in values if not a.imag and not b.imag)  # ln x has no value there
        return True

    def _same_antiderivative(self, left: Node, right: Node) -> bool:
        """Both end in a constant of integration, and they differ by a number that neither writes beside it."""
        bodies = [_without_constant(left), _without_constant(right)]
        if None in bodies:
            return False
        first, second = (body for body in bodies if body is not None)
        differences = [self.at(first, names) - self.at(second, names) for names in self.points(first, second)]
        return all(abs(other - differences[0]) < 1e-30 for other in differences[1:])

    def points(self, left: Node, right: Node, negative: bool = False) -> Iterable[dict[str, Value]]:
        names = sorted(free_symbols(left, right))
        discrete = is_discrete(left, right)
        if len(names) <= 2 and is_rounded(left, right):  # floors differ at few points: at each small one then
            values = [[one] for one in range(1, SMALL + 1)] if len(names) == 1 else product(range(1, 7), repeat=2)
            for chosen in values:
                yield {name: integer(value) for name, value in zip(names, chosen, strict=True)}
        for index in range(POINTS):
            yield {name: point(name, index, discrete, negative) for name in names}

    def at(self, node: Node, names: dict[str, Value]) -> Value:
        return evaluate(node, names, self.budget)

    def agree(self, left: Value, right: Value) -> bool:
        size = max(abs(left), abs(right))
        return bool(abs(left - right) * 10**AGREEMENT <= max(size, 1e-10))


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
