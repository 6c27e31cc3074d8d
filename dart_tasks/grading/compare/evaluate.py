"""The value of an expression: exactly where it is rational, else to as many digits as are asked for.

Two expressions that agree at points chosen without regard to them are equal for every practical purpose, and unequal
ones nearly always differ at the first: this replaces symbolic simplification, which is slow and has no bound on its
time. Magnitudes, exponents, factorials and the number of operations are capped beforehand.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from dart_tasks.grading.parse.tree import (
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
    Sum,
    Symbol,
    free_symbols,
    walk,
)

__all__ = [
    "MAX_DIGITS",
    "MAX_FACTORIAL",
    "OF_INTEGERS",
    "ROUNDING",
    "WORKING_DIGITS",
    "Budget",
    "Evaluation",
    "UndefinedError",
    "Value",
    "agree",
    "context_of",
    "digits_needed",
    "evaluate",
    "exact",
    "is_discrete",
    "point",
    "self_check",
]

WORKING_DIGITS = 50
MAX_DIGITS = 900
MAX_GAMMA_DIGITS = 300
MAX_BITS = 32_000  # of an exact integer
MAX_MAGNITUDE_BITS = 1 << 20  # of a floating-point value: 2^(2^20) has 315,000 digits
MAX_ANGLE_BITS = 512
MAX_FACTORIAL = 3_000
SERIES_TERMS = 16  # of an infinite series: two are compared by their terms
MAX_TERMS = 200
MAX_EXACT = 40  # terms of a sum that is added up exactly
ROUNDING = frozenset(("floor", "ceil"))
OF_INTEGERS = frozenset(("factorial", "doublefactorial", "binomial", "gcd", "lcm", "mod"))
INTEGER_NAMES = frozenset("n m k j l i N".split())  # what rounds them is compared at integers
NO_VALUES: Mapping[str, Fraction] = MappingProxyType({})

Value = Any  # mpmath's mpf or mpc


class UndefinedError(ValueError):
    """The expression has no finite value here, or computing it would exceed the bounds."""


class Budget:
    """Counts evaluation steps over one whole comparison, so that its time is bounded."""

    def __init__(self, steps: int = 12_000) -> None:
        self.steps = steps

    def spend(self, steps: int = 1) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise UndefinedError("too many evaluation steps")


_local = threading.local()


def context_of(digits: int = WORKING_DIGITS) -> Any:
    """This thread's mpmath context (its precision is state, so threads must not share one)."""
    contexts = _local.__dict__.setdefault("contexts", {})
    if digits not in contexts:
        from mpmath.ctx_mp import MPContext

        contexts[digits] = MPContext()
        contexts[digits].dps = digits
    return contexts[digits]


def self_check() -> None:
    """Fail loudly, once, if mpmath cannot be used: a grader that swallows that scores every item wrong in silence.

    Raises:
        RuntimeError: mpmath is missing or gives a wrong value.
    """
    try:
        context = context_of()
        value = context.sqrt(2) * context.sin(context.pi / 4)
    except Exception as error:
        raise RuntimeError(f"the grader needs a working mpmath ({error}): pip install 'mpmath>=1.3'") from error
    if abs(value - 1) > context.mpf(10) ** -40:
        raise RuntimeError(f"mpmath computes sqrt(2) sin(pi/4) as {value}: reinstall mpmath")


# -- exact --------------------------------------------------------------------------------------------------------


def exact(node: Node, values: Mapping[str, Fraction] = NO_VALUES) -> Fraction | None:
    """The value as a fraction, its variables replaced, or None where it is not visibly rational or too large."""
    match node:
        case Number(value=value):
            return value
        case Symbol(name=name):
            return values.get(name)
        case Negative(argument=argument):
            inner = exact(argument, values)
            return None if inner is None else -inner
        case Sum(terms=parts):
            return _fold(parts, values, is_sum=True)
        case Product(factors=parts):
            return _fold(parts, values, is_sum=False)
        case Quotient(numerator=numerator, denominator=denominator):
            bottom = exact(denominator, values)
            top = exact(numerator, values) if bottom else None
            return None if top is None or not bottom else _capped(top / bottom)
        case Power(base=base, exponent=exponent):
            return _exact_power(exact(base, values), exact(exponent, values))
        case Call(name="sum" | "prod", arguments=(body, Symbol(name=index), low, high)):
            return _exact_series(node.name == "sum", body, index, (exact(low, values), exact(high, values)), values)
        case Call(name="apply" | "sum" | "prod"):
            return None
        case Call(name=name, arguments=arguments):
            inner_values = [exact(argument, values) for argument in arguments]
            return None if None in inner_values else _exact_call(name, inner_values)  # type: ignore[arg-type]
        case Group(items=(only,), opening="[" | "("):
            return exact(only, values)
        case _:
            return None


def _capped(value: Fraction) -> Fraction | None:
    small = value.numerator.bit_length() <= MAX_BITS and value.denominator.bit_length() <= MAX_BITS
    return value if small else None


def _fold(parts: tuple[Node, ...], values: Mapping[str, Fraction], is_sum: bool) -> Fraction | None:
    total = Fraction(0 if is_sum else 1)
    for part in parts:
        value = exact(part, values)
        if value is None:
            return None
        capped = _capped(total + value if is_sum else total * value)
        if capped is None:
            return None
        total = capped
    return total


def _exact_series(
    is_sum: bool, body: Node, index: str, ends: tuple[Fraction | None, ...], values: Mapping[str, Fraction]
) -> Fraction | None:
    """A short sum or product that holds no other."""
    low, high = ends
    if low is None or high is None or low.denominator != 1 or high.denominator != 1 or not 0 <= high - low < MAX_EXACT:
        return None
    if any(isinstance(part, Call) and part.name in ("sum", "prod") for part in walk(body)):
        return None
    total = Fraction(0 if is_sum else 1)
    for k in range(int(low), int(high) + 1):
        term = exact(body, {**values, index: Fraction(k)})
        found = None if term is None else _capped(total + term if is_sum else total * term)
        if found is None:
            return None
        total = found
    return total


def _exact_power(base: Fraction | None, exponent: Fraction | None) -> Fraction | None:
    if base is None or exponent is None:
        return None
    if exponent.denominator != 1:
        root = _exact_root(base, exponent.denominator) if exponent.denominator <= 64 else None
        return None if root is None else _exact_power(root, Fraction(exponent.numerator))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent.numerator) * bits > MAX_BITS or (base == 0 and exponent <= 0):
        return None
    return base**exponent.numerator


def _exact_root(value: Fraction, degree: int) -> Fraction | None:
    if value < 0:
        root = _exact_root(-value, degree) if degree % 2 else None
        return None if root is None else -root
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 2_000:
        return None
    parts = [_integer_root(part, degree) for part in (value.numerator, value.denominator)]
    if any(part**degree != whole for part, whole in zip(parts, (value.numerator, value.denominator), strict=True)):
        return None
    return Fraction(parts[0], parts[1])


def _integer_root(value: int, degree: int) -> int:
    if degree == 2:
        return math.isqrt(value)
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
    return low


def _exact_call(name: str, values: list[Fraction]) -> Fraction | None:
    first = values[0]
    integers = all(value.denominator == 1 for value in values)
    match name, len(values):
        case "abs", 1:
            return abs(first)
        case "floor", 1:
            return Fraction(math.floor(first))
        case "ceil", 1:
            return Fraction(math.ceil(first))
        case "root", 2:
            degree = values[1]
            return _exact_root(first, int(degree)) if (integers and 1 < degree <= 64) or degree == 2 else None
        case "doublefactorial", 1 if integers and 0 <= first <= MAX_FACTORIAL:
            return Fraction(math.prod(range(int(first), 1, -2)))
        case "factorial", 1 if integers and 0 <= first <= MAX_FACTORIAL:
            return Fraction(math.factorial(int(first)))
        case "binomial", 2 if integers and 0 <= values[1] <= first <= MAX_FACTORIAL:
            return Fraction(math.comb(int(first), int(values[1])))
        case "mod", 2 if values[1]:
            return first % values[1]
        case "min", _:
            return min(values)
        case "max", _:
            return max(values)
        case "gcd", _ if integers:
            return Fraction(math.gcd(*(int(value) for value in values)))
        case "lcm", _ if integers:
            return _capped(Fraction(math.lcm(*(int(value) for value in values))))
        case _:
            return None


# -- numeric ------------------------------------------------------------------------------------------------------


def is_discrete(*nodes: Node) -> bool:
    """Whether a variable can only be an integer (in a factorial, a bound of a sum, (-1)^n, the floor of n/2)."""
    names = free_symbols(*nodes)
    for part in (part for node in nodes for part in walk(node)):
        match part:
            case Call(name=name, arguments=arguments) if name in OF_INTEGERS and free_symbols(*arguments):
                return True
            case Call(name=name) if name in ROUNDING and names <= INTEGER_NAMES:
                return True
            case Call(name="sum" | "prod", arguments=(_, _, low, high)) if free_symbols(low, high):
                return True
            case Power(base=Negative(), exponent=exponent) if free_symbols(exponent) & names:
                return True
    return False


@lru_cache(maxsize=10_000)
def point(name: str, index: int, discrete: bool = False) -> Fraction:
    """The value of variable ``name`` at point ``index``: fixed, between 0.2 and 4 (or an integer from 2 to 33)."""
    digest = int.from_bytes(hashlib.sha256(f"{name}/{index}".encode("utf-8", "replace")).digest()[:20], "big")
    return Fraction(2 + digest % 32) if discrete else Fraction(1, 5) + Fraction(19 * (digest % (1 << 24)), 5 << 24)


def agree(left: Value, right: Value, digits: int = WORKING_DIGITS) -> bool:
    """Whether two values that were computed with ``digits`` digits are the same but for rounding."""
    size, difference = max(abs(left), abs(right)), abs(left - right)
    return bool(difference * 10 ** (digits * 3 // 5) <= max(size, context_of(digits).mpf(10) ** -(digits // 5)))


def digits_needed(value: Value, *nodes: Node) -> int:
    """How many digits tell expressions of this value apart, given the largest and smallest numbers written in them."""
    bits = 0
    for part in (part for node in nodes for part in walk(node)):
        match part:
            case Number(value=number):
                bits += _size(number)
            case Power(base=base, exponent=exponent) if (power := exact(exponent)) and (raised := exact(base)):
                bits += int(min(abs(power), Fraction(MAX_BITS))) * _size(raised)
    bits += max(0, -int(context_of().mag(value))) if value else 0
    return next((digits for digits in (100, 300) if digits >= 60 + bits), MAX_DIGITS)  # a bit is 0.3 digits


def _size(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def evaluate(
    node: Node,
    values: Mapping[str, Fraction],
    budget: Budget,
    digits: int = WORKING_DIGITS,
    real: bool = False,
) -> Value:
    """The value of an expression with its variables replaced.

    Args:
        real: a root, power or logarithm that is not real has no value.

    Raises:
        UndefinedError: a pole, an infinity, a node that has no number as value, or the bounds are exceeded.
    """
    context = context_of(digits)
    points = {name: context.mpf(value.numerator) / value.denominator for name, value in values.items()}
    try:
        return Evaluation(points, budget, context, real).value(node)
    except (ZeroDivisionError, OverflowError, ValueError, TypeError, MemoryError, KeyError) as error:
        raise UndefinedError(str(error)) from error


@dataclass(slots=True)
class Evaluation:
    points: dict[str, Value]
    budget: Budget
    context: Any
    real: bool

    def value(self, node: Node) -> Value:
        context = self.context
        self.budget.spend(1 + context.dps // 200)
        match node:
            case Number(value=value):
                top = context.mpf(value.numerator)
                return top / value.denominator if value.denominator != 1 else top
            case Symbol(name=name):
                return self.points[name]
            case Constant(name=name):
                if name == "infinity":
                    raise UndefinedError("infinity")
                return {"pi": +context.pi, "e": +context.e, "i": context.j}[name]
            case Sum(terms=parts):
                return self.checked(context.fsum([self.value(part) for part in parts]))
            case Product(factors=parts):
                return self.checked(context.fprod([self.value(part) for part in parts]))
            case Quotient(numerator=numerator, denominator=denominator):
                bottom = self.value(denominator)
                if abs(bottom) < self.epsilon():
                    raise UndefinedError("division by zero")
                return self.checked(self.value(numerator) / bottom)
            case Negative(argument=argument):
                return -self.value(argument)
            case Power(base=base, exponent=exponent):
                return self.power(self.value(base), exponent)
            case Call(name=name, arguments=arguments):
                return self.call(name, arguments)
            case Quantity(value=value, unit="%"):
                return self.value(value) / 100
            case Group(items=(only,), opening="(" | "["):
                return self.value(only)
            case _:
                raise UndefinedError(f"{type(node).__name__} is not a number")

    def epsilon(self) -> Value:
        return self.context.mpf(10) ** (10 - self.context.dps)

    def checked(self, value: Value) -> Value:
        if not self.context.isfinite(value):
            raise UndefinedError("infinite")
        if value and self.context.mag(value) > MAX_MAGNITUDE_BITS:
            raise UndefinedError("too large")
        return value

    def is_real(self, value: Value) -> bool:
        return not value.imag or bool(abs(value.imag) <= abs(value) * self.epsilon())

    def as_asked(self, value: Value, *arguments: Value) -> Value:
        """``value``, which must be real if real values are asked for and it comes from real arguments."""
        if self.real and not self.is_real(value) and all(self.is_real(argument) for argument in arguments):
            raise UndefinedError("not real")
        return value

    def power(self, base: Value, exponent: Node) -> Value:
        rational = exact(exponent)
        if (
            rational is not None
            and rational.denominator % 2
            and rational.denominator > 1
            and self.is_real(base)
            and base.real < 0
        ):
            root = -self.root(-base.real, self.context.mpf(rational.denominator))  # the real root of a negative number
            return self.bounded_power(root, self.context.mpf(rational.numerator))
        return self.bounded_power(base, self.value(exponent))

    def bounded_power(self, base: Value, exponent: Value) -> Value:
        if not base:
            if self.is_real(exponent) and exponent.real > 0:
                return self.context.mpf(0)
            raise UndefinedError("zero to a power that is not positive")
        most = MAX_MAGNITUDE_BITS >> 6 if self.real else MAX_MAGNITUDE_BITS
        if abs(exponent) * max(1, abs(self.context.mag(base))) > most:
            raise UndefinedError("too large a power")
        return self.as_asked(self.checked(self.context.power(base, exponent)), base, exponent)

    def root(self, value: Value, degree: Value) -> Value:
        context = self.context
        if not value:
            return value
        if degree == 2:
            return self.as_asked(context.sqrt(value), value)
        if self.is_real(degree) and degree.real == int(degree.real) and 2 < degree.real <= 1000:
            whole = int(degree.real)
            if whole % 2 and self.is_real(value) and value.real < 0:
                return -context.root(-value.real, whole)
            return self.as_asked(context.root(value, whole), value)
        return self.bounded_power(value, 1 / degree)

    def log(self, value: Value) -> Value:
        if not value:
            raise UndefinedError("logarithm of zero")
        return self.as_asked(self.context.log(value), value)

    def call(self, name: str, nodes: tuple[Node, ...]) -> Value:
        match name, nodes:
            case (("sum" | "prod"), (body, Symbol(name=index), low, high)):
                return self.series(name, body, index, low, high)
            case "apply", (Symbol(name=function), *rest):
                return self.opaque(function, [self.value(node) for node in rest])
            case (("and" | "or"), _):  # in any order
                return self.context.fsum([self.opaque(name, [self.value(node)]) for node in nodes])
            case (("Re" | "Im"), (only,)):
                inner = self.value(only)
                return self.opaque(name, [inner]) if free_symbols(only) else inner.real if name == "Re" else inner.imag
            case "conjugate", (only,):
                inner = self.value(only)
                return self.opaque("bar", [inner]) if free_symbols(only) else self.context.conj(inner)
            case _:
                self.budget.spend(8)
                return self.function(name, [self.value(node) for node in nodes])

    def opaque(self, name: str, arguments: list[Value]) -> Value:
        """The value of a function that is not known: a smooth function that its name chooses, with no identities."""
        first, second, third, *weights = (
            self.context.mpf(each.numerator) / each.denominator
            for each in (point(f"{name}/{index}", 0) for index in range(len(arguments) + 3))
        )
        phase = self.context.fsum(weight * argument for weight, argument in zip(weights, arguments, strict=True))
        if phase and self.context.mag(phase) > MAX_ANGLE_BITS:
            raise UndefinedError("too large an argument")
        return first + self.context.sin(phase + second) + third * self.context.cos(phase / 3)

    def series(self, name: str, body: Node, index: str, low: Node, high: Node) -> Value:
        """A finite sum or product; an infinite one has no value here, but a mark that its terms determine."""
        start = self.value(low)
        endless = high == Constant("infinity")
        stop = start + SERIES_TERMS - 1 if endless else self.value(high)
        if not 0 <= stop - start + 1 <= MAX_TERMS or start != int(start) or stop != int(stop):
            raise UndefinedError("too many terms")
        outer = self.points
        terms = []
        for k in range(int(start), int(stop) + 1):
            self.points = {**outer, index: self.context.mpf(k)}
            terms.append(self.value(body))
        self.points = outer
        if endless:
            weights = (point(f"infinite {name}", position) for position in range(SERIES_TERMS))
            terms = [term * weight.numerator / weight.denominator for term, weight in zip(terms, weights, strict=True)]
        return self.checked(self.context.fprod(terms) if name == "prod" and not endless else self.context.fsum(terms))

    def function(self, name: str, arguments: list[Value]) -> Value:
        context, first = self.context, arguments[0]
        match name, len(arguments):
            case "root", 2:
                return self.root(first, arguments[1])
            case "degree", 1:
                return first * context.pi / 180
            case "abs", 1:
                return abs(first)
            case "cis", 1:
                return context.expj(first)
            case "log", 1:
                return self.log(first) / self.log(context.mpf(10))
            case "ln", 1:
                return self.log(first)
            case "log", 2:
                return self.log(first) / self.log(arguments[1])
            case "exp", 1:
                return self.bounded_power(+context.e, first)
            case (("floor" | "ceil"), 1):
                nearest = context.nint(first)  # 2.9999...9 is 3 computed with rounding
                if abs(first - nearest) < context.mpf(10) ** (15 - context.dps):
                    return nearest
                return context.floor(first) if name == "floor" else context.ceil(first)
            case (("factorial" | "doublefactorial"), 1):
                self.check_gamma(first)
                self.budget.spend(20 + context.dps // 2)
                return context.gamma(first + 1) if name == "factorial" else context.fac2(first)
            case "binomial", 2:
                self.check_gamma(*arguments)
                self.budget.spend(60 + context.dps)
                return self.checked(context.binomial(first, arguments[1]))
            case ("mod", 2) if arguments[1] and all(self.is_real(value) for value in arguments):
                return first.real - arguments[1].real * context.floor(first.real / arguments[1].real)
            case (("min" | "max"), _) if all(self.is_real(value) for value in arguments):
                return (min if name == "min" else max)(value.real for value in arguments)
            case (("gcd" | "lcm"), _) if all(value == int(value) for value in arguments):
                return context.mpf((math.gcd if name == "gcd" else math.lcm)(*(int(value) for value in arguments)))
            case _ if name in _ELEMENTARY and len(arguments) == 1:
                return self.elementary(name, first)
            case _:
                raise UndefinedError(f"{name} of {len(arguments)} arguments")

    def check_gamma(self, *arguments: Value) -> None:
        if any(abs(argument) > MAX_FACTORIAL for argument in arguments):
            raise UndefinedError("too large a factorial")
        if self.context.dps > MAX_GAMMA_DIGITS and not all(self.context.isint(argument) for argument in arguments):
            raise UndefinedError("too many digits of a factorial")

    def elementary(self, name: str, argument: Value) -> Value:
        if argument and self.context.mag(argument) > (20 if name.endswith("h") else MAX_ANGLE_BITS):
            raise UndefinedError("too large an argument")
        if self.real and name in ("arccot", "arcsec", "arccsc") and argument.real < 0:
            raise UndefinedError("conventions differ")
        return self.as_asked(self.checked(getattr(self.context, _ELEMENTARY[name])(argument)), argument)


_INVERSES = "arcsin arccos arctan arccot arcsec arccsc arcsinh arccosh arctanh".split()
_ELEMENTARY = {name: name for name in "sin cos tan cot sec csc sinh cosh tanh coth sech csch".split()}
_ELEMENTARY |= {name: "a" + name[3:] for name in _INVERSES}  # arcsin is mpmath's asin
