"""The value of an expression: exactly where it is rational, else to 50 digits at fixed pseudo-random points.

Two expressions that agree to 30 digits at five points chosen without regard to them are equal for every practical
purpose, and unequal ones nearly always differ at the first: this replaces symbolic simplification, which is slow and
has no bound on its time. Magnitudes, exponents, factorials and the number of operations are capped beforehand.
"""

from __future__ import annotations

import hashlib
import math
import threading
from fractions import Fraction
from typing import Any

from dart_tasks.grading.nodes import (
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
    children,
    walk,
)

__all__ = [
    "Budget",
    "UndefinedError",
    "Value",
    "evaluate",
    "exact",
    "free_symbols",
    "integer",
    "is_discrete",
    "is_rounded",
    "point",
    "self_check",
]

WORKING_DIGITS = 50
MAX_BITS = 32_000  # of an exact integer
MAX_MAGNITUDE_BITS = 1 << 20  # of a floating-point value: 2^(2^20) has 315,000 digits
MAX_ANGLE_BITS = 512
MAX_FACTORIAL = 3_000
SERIES_TERMS = 12  # of an infinite series, compared by its first terms
MAX_TERMS = 200
DISCRETE = frozenset(("floor", "ceil", "factorial", "binomial", "gcd", "lcm", "sum", "prod"))

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


def _context() -> Any:
    """This thread's mpmath context (its precision is state, so threads must not share one)."""
    context = getattr(_local, "context", None)
    if context is None:
        from mpmath.ctx_mp import MPContext

        context = MPContext()
        context.dps = WORKING_DIGITS
        _local.context = context
        _local.points = {}
    return context


def self_check() -> None:
    """Fail loudly, once, if mpmath cannot be used: a grader that swallows that scores every item wrong in silence.

    Raises:
        RuntimeError: mpmath is missing or gives a wrong value.
    """
    try:
        context = _context()
        value = context.sqrt(2) * context.sin(context.pi / 4)
    except Exception as error:
        raise RuntimeError(f"the grader needs a working mpmath ({error}): pip install 'mpmath>=1.3'") from error
    if abs(value - 1) > context.mpf(10) ** -40:
        raise RuntimeError(f"mpmath computes sqrt(2) sin(pi/4) as {value}: reinstall mpmath")


# -- exact --------------------------------------------------------------------------------------------------------


def exact(node: Node) -> Fraction | None:
    """The value as a fraction, or None where it is not visibly rational or too large."""
    match node:
        case Number(value=value):
            return value
        case Negative(argument=argument):
            inner = exact(argument)
            return None if inner is None else -inner
        case Sum(terms=parts):
            return _fold(parts, is_sum=True)
        case Product(factors=parts):
            return _fold(parts, is_sum=False)
        case Quotient(numerator=numerator, denominator=denominator):
            top, bottom = exact(numerator), exact(denominator)
            return None if top is None or not bottom else _capped(top / bottom)
        case Power(base=base, exponent=exponent):
            return _exact_power(exact(base), exact(exponent))
        case Call(name=name, arguments=arguments):
            values = [exact(argument) for argument in arguments]
            return None if None in values else _exact_call(name, values)  # type: ignore[arg-type]
        case Group(items=(only,), opening="[" | "("):
            return exact(only)
        case _:
            return None


def _capped(value: Fraction) -> Fraction | None:
    small = value.numerator.bit_length() <= MAX_BITS and value.denominator.bit_length() <= MAX_BITS
    return value if small else None


def _fold(parts: tuple[Node, ...], is_sum: bool) -> Fraction | None:
    total = Fraction(0 if is_sum else 1)
    for part in parts:
        value = exact(part)
        if value is None:
            return None
        capped = _capped(total + value if is_sum else total * value)
        if capped is None:
            return None
        total = capped
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
        case "factorial", 1 if integers and 0 <= first <= MAX_FACTORIAL:
            return Fraction(math.factorial(int(first)))
        case "binomial", 2 if integers and 0 <= values[1] <= first <= MAX_FACTORIAL:
            return Fraction(math.comb(int(first), int(values[1])))
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


def free_symbols(*nodes: Node) -> frozenset[str]:
    """The variables in the nodes; the name of a function is none."""
    names: set[str] = set()
    stack = list(nodes)
    while stack:
        part = stack.pop()
        if isinstance(part, Symbol):
            names.add(part.name)
        is_applied = isinstance(part, Call) and part.name == "apply"
        stack.extend(children(part)[1:] if is_applied else children(part))
    return frozenset(names)


def is_discrete(*nodes: Node) -> bool:
    """Whether a function of integers occurs (floor, factorial, (-1)^n): then only integer points are compared."""
    for node in nodes:
        for part in walk(node):
            if isinstance(part, Call) and part.name in DISCRETE:
                return True
            if isinstance(part, Power) and isinstance(part.base, Negative) and free_symbols(part.exponent):
                return True
    return False


def is_rounded(*nodes: Node) -> bool:
    """Whether a floor or ceiling occurs: such expressions may differ at few integers only."""
    return any(isinstance(part, Call) and part.name in ("floor", "ceil") for node in nodes for part in walk(node))


def integer(value: int) -> Value:
    return _context().mpf(value)


def point(name: str, index: int, discrete: bool, negative: bool = False) -> Value:
    """The value of variable ``name`` at point ``index``: fixed, between 0.2 and 4 (or an integer from 2 to 33)."""
    context = _context()
    key = (name, index, discrete, negative)
    value = _local.points.get(key)
    if value is None:
        digest = int.from_bytes(hashlib.sha256(f"{name}/{index}".encode("utf-8", "replace")).digest()[:20], "big")
        value = context.mpf(2 + digest % 32) if discrete else context.mpf(0.2) + context.mpf(3.8) * digest / (1 << 160)
        value = -value if negative else value
        if len(_local.points) < 10_000:
            _local.points[key] = value
    return value


def evaluate(node: Node, values: dict[str, Value], budget: Budget) -> Value:
    """The value of an expression with its variables replaced.

    Raises:
        UndefinedError: a pole, an infinity, a node that has no number as value, or the bounds are exceeded.
    """
    try:
        return _evaluate(node, values, budget, _context())
    except (ZeroDivisionError, OverflowError, ValueError, TypeError, MemoryError) as error:
        raise UndefinedError(str(error)) from error


def _evaluate(node: Node, values: dict[str, Value], budget: Budget, context: Any) -> Value:
    budget.spend()
    match node:
        case Number(value=value):
            return (
                context.mpf(value.numerator) / value.denominator
                if value.denominator != 1
                else context.mpf(value.numerator)
            )
        case Symbol(name=name):
            return values[name]
        case Constant(name=name):
            if name == "infinity":
                raise UndefinedError("infinity")
            return {"pi": +context.pi, "e": +context.e, "i": context.j}[name]
        case Sum(terms=parts):
            return _checked(context.fsum([_evaluate(part, values, budget, context) for part in parts]), context)
        case Product(factors=parts):
            return _checked(context.fprod([_evaluate(part, values, budget, context) for part in parts]), context)
        case Quotient(numerator=numerator, denominator=denominator):
            bottom = _evaluate(denominator, values, budget, context)
            if abs(bottom) < context.mpf(10) ** -40:
                raise UndefinedError("division by zero")
            return _checked(_evaluate(numerator, values, budget, context) / bottom, context)
        case Negative(argument=argument):
            return -_evaluate(argument, values, budget, context)
        case Power(base=base, exponent=exponent):
            return _power(_evaluate(base, values, budget, context), exponent, values, budget, context)
        case Call(name="sum" | "prod" as name, arguments=(body, Symbol(name=index), low, high)):
            start = _evaluate(low, values, budget, context)
            endless = isinstance(high, Constant) and high.name == "infinity"
            stop = start + SERIES_TERMS - 1 if endless else _evaluate(high, values, budget, context)
            if not 0 <= stop - start + 1 <= MAX_TERMS or start != int(start) or stop != int(stop):
                raise UndefinedError("too many terms")
            terms = [
                _evaluate(body, {**values, index: context.mpf(k)}, budget, context)
                for k in range(int(start), int(stop) + 1)
            ]
            return _checked(context.fsum(terms) if name == "sum" else context.fprod(terms), context)
        case Call(name="apply", arguments=(Symbol(name=name), *arguments)):
            return _opaque(name, [_evaluate(argument, values, budget, context) for argument in arguments], context)
        case Call(name="and" | "or" as name, arguments=arguments):  # in any order
            return context.fsum(
                _opaque(name, [_evaluate(part, values, budget, context)], context) for part in arguments
            )
        case Call(name="conjugate", arguments=(argument,)):
            inner = _evaluate(argument, values, budget, context)
            return _opaque("bar", [inner], context) if free_symbols(argument) else context.conj(inner)
        case Call(name=name, arguments=arguments):
            return _call(
                name, [_evaluate(argument, values, budget, context) for argument in arguments], budget, context
            )
        case Quantity(value=value, unit="%"):
            return _evaluate(value, values, budget, context) / 100
        case Group(items=(only,), opening="(" | "["):
            return _evaluate(only, values, budget, context)
        case _:
            raise UndefinedError(f"{type(node).__name__} is not a number")


def _checked(value: Value, context: Any) -> Value:
    if not context.isfinite(value):
        raise UndefinedError("infinite")
    if value and context.mag(value) > MAX_MAGNITUDE_BITS:
        raise UndefinedError("too large")
    return value


def _power(base: Value, exponent: Node, values: dict[str, Value], budget: Budget, context: Any) -> Value:
    rational = exact(exponent)
    if (
        rational is not None
        and rational.denominator % 2
        and rational.denominator > 1
        and _is_real(base, context)
        and context.re(base) < 0
    ):
        root = -_root(
            -context.re(base), context.mpf(rational.denominator), context
        )  # the real root of a negative number
        return _bounded_power(root, context.mpf(rational.numerator), context)
    return _bounded_power(base, _evaluate(exponent, values, budget, context), context)


def _bounded_power(base: Value, exponent: Value, context: Any) -> Value:
    if not base:
        if _is_real(exponent, context) and context.re(exponent) > 0:
            return context.mpf(0)
        raise UndefinedError("zero to a power that is not positive")
    size = abs(exponent) * max(1, abs(context.mag(base)))
    if size > MAX_MAGNITUDE_BITS:
        raise UndefinedError("too large a power")
    return _checked(context.power(base, exponent), context)


def _is_real(value: Value, context: Any) -> bool:
    return bool(abs(context.im(value)) <= abs(value) * context.mpf(10) ** -40)


def _root(value: Value, degree: Value, context: Any) -> Value:
    if not value:
        return value
    if degree == 2:
        return context.sqrt(value)
    if _is_real(degree, context) and context.re(degree) == int(context.re(degree)) and 2 < context.re(degree) <= 1000:
        if int(context.re(degree)) % 2 and _is_real(value, context) and context.re(value) < 0:
            return -context.root(-context.re(value), int(context.re(degree)))
        return context.root(value, int(context.re(degree)))
    return _bounded_power(value, 1 / degree, context)


def _call(name: str, arguments: list[Value], budget: Budget, context: Any) -> Value:
    budget.spend(8)
    first = arguments[0]
    match name, len(arguments):
        case "root", 2:
            return _root(first, arguments[1], context)
        case "degree", 1:
            return first * context.pi / 180
        case "abs", 1:
            return abs(first)
        case "cis", 1:
            return context.expj(first)
        case "log", 1:
            return _log(first, context) / _log(context.mpf(10), context)
        case "ln", 1:
            return _log(first, context)
        case "log", 2:
            return _log(first, context) / _log(arguments[1], context)
        case "exp", 1:
            return _bounded_power(+context.e, first, context)
        case (("floor" | "ceil"), 1):
            nearest = context.nint(first)  # 2.9999...9 is 3 computed with rounding
            if abs(first - nearest) < context.mpf(10) ** -35:
                return nearest
            return context.floor(first) if name == "floor" else context.ceil(first)
        case "factorial", 1:
            if abs(first) > MAX_FACTORIAL:
                raise UndefinedError("too large a factorial")
            budget.spend(20)
            return context.gamma(first + 1)
        case "binomial", 2:
            if max(abs(first), abs(arguments[1])) > MAX_FACTORIAL:
                raise UndefinedError("too large a binomial")
            budget.spend(60)
            return context.binomial(first, arguments[1])
        case (("min" | "max"), _) if all(_is_real(value, context) for value in arguments):
            return (min if name == "min" else max)(context.re(value) for value in arguments)
        case (("gcd" | "lcm"), _) if all(value == int(value) for value in arguments):
            return context.mpf((math.gcd if name == "gcd" else math.lcm)(*(int(value) for value in arguments)))
        case _:
            return _elementary(name, arguments, context)


def _opaque(name: str, arguments: list[Value], context: Any) -> Value:
    """The value of a function that is not known: a smooth function that its name chooses, with no identities."""
    weights = [point(f"{name}/{index}", 0, False) for index in range(len(arguments) + 3)]
    phase = context.fsum(weight * argument for weight, argument in zip(weights[3:], arguments, strict=True))
    if phase and context.mag(phase) > MAX_ANGLE_BITS:
        raise UndefinedError("too large an argument")
    return weights[0] + context.sin(phase + weights[1]) + weights[2] * context.cos(phase / 3)


_INVERSES = "arcsin arccos arctan arccot arcsec arccsc arcsinh arccosh arctanh".split()
_ELEMENTARY = {name: name for name in "sin cos tan cot sec csc sinh cosh tanh coth sech csch".split()}
_ELEMENTARY |= {name: "a" + name[3:] for name in _INVERSES}  # arcsin is mpmath's asin


def _elementary(name: str, arguments: list[Value], context: Any) -> Value:
    if name not in _ELEMENTARY or len(arguments) != 1:
        raise UndefinedError(f"{name} of {len(arguments)} arguments")
    if arguments[0] and context.mag(arguments[0]) > (20 if name.endswith("h") else MAX_ANGLE_BITS):
        raise UndefinedError("too large an argument")
    return _checked(getattr(context, _ELEMENTARY[name])(arguments[0]), context)


def _log(value: Value, context: Any) -> Value:
    if not value:
        raise UndefinedError("logarithm of zero")
    return context.log(value)
