r"""Integrals, limits, derivatives, endless sums and products by mpmath: their values to 30 digits at given points.

mpmath extrapolates, and may be wrong without a word: that two such values agree proves something, that they differ does
not. ``\sum_{n=1}^\infty \frac{1}{n^2}`` has the value 1.6449...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

from dart_tasks.grading.compare.evaluate import Budget, Evaluation, UndefinedError, Value, context_of
from dart_tasks.grading.compare.shapes import is_infinite
from dart_tasks.grading.parse.tree import Call, Constant, Node, Symbol, walk

__all__ = ["DERIVATIVE", "DIGITS", "is_calculus", "value_at"]

DIGITS = 30
STEPS = 400_000  # evaluations of a node: a second or so
MAX_ORDER = 6
DERIVATIVE = re.compile(r"(?:d|partial)\d+\?/(?:d|partial)([A-Za-z]+)(\d+)")  # the operator's name in the tree
NEAR = 10**9  # the distance from infinity, or its inverse from a point, at which a function is near its limit
SIDES = {"+": (1,), "-": (-1,), "+-": (1, -1)}


def is_calculus(*nodes: Node) -> bool:
    """Whether a tree holds what only this module can evaluate."""
    return any(_is_calculus(part) for node in nodes for part in walk(node))


def _is_calculus(node: Node) -> bool:
    match node:
        case Call(name="integral" | "limit"):
            return True
        case Call(name="sum" | "prod", arguments=(_, _, _, high)):
            return high == Constant("infinity")
        case Call(name="apply", arguments=(Symbol(name=name), *_)):
            return bool(DERIVATIVE.fullmatch(name))
        case _:
            return False


def value_at(node: Node, values: Mapping[str, Fraction]) -> Value:
    """The value of an expression with its variables replaced.

    Raises:
        UndefinedError: it has none, or mpmath does not find it.
    """
    context = context_of(DIGITS)
    points = {name: context.mpf(value.numerator) / value.denominator for name, value in values.items()}
    try:
        return _Calculus(points, Budget(STEPS), context, False).value(node)
    except (ArithmeticError, ValueError, TypeError, KeyError, context.NoConvergence) as error:
        raise UndefinedError(str(error)) from error


class _Calculus(Evaluation):
    __slots__ = ()

    def call(self, name: str, nodes: tuple[Node, ...]) -> Value:
        context = self.context
        match name, nodes:
            case (("sum" | "prod"), (body, Symbol(name=index), low, Constant("infinity"))):
                total = context.nsum if name == "sum" else context.nprod
                return self.checked(total(self.function_of(body, index), [self.value(low), context.inf]))
            case "integral", (body, Symbol(name=variable), low, high):
                ends = [self.bound(low), self.bound(high)]
                found, error = context.quad(self.function_of(body, variable), ends, error=True)
                if error > abs(found) * context.mpf(10) ** -20 + context.mpf(10) ** -20:
                    raise UndefinedError("the integral does not converge")
                return self.checked(found)
            case "limit", (body, Symbol(name=variable), target, Symbol(name=side)):
                if any(isinstance(part, Call) and part.name == "apply" for part in walk(body)):
                    raise UndefinedError("a function that is not known need not be continuous")
                function, at = self.function_of(body, variable), self.bound(target)
                found = [context.limit(function, at, direction) for direction in SIDES[side]]
                near = [function(self.near(at, direction)) for direction in SIDES[side]]
                if any(abs(each - found[0]) > max(1, abs(found[0])) / 1000 for each in (*found, *near)):
                    raise UndefinedError("no limit, or another one from the other side")
                return self.checked(found[0])
            case "apply", (Symbol(name=operator), body) if named := DERIVATIVE.fullmatch(operator):
                if int(named[2]) > MAX_ORDER or named[1] not in self.points:
                    raise UndefinedError("no such derivative")
                with context.workdps(DIGITS * 2):
                    return context.diff(self.function_of(body, named[1]), self.points[named[1]], int(named[2]))
            case _:
                return super().call(name, nodes)

    def function_of(self, body: Node, variable: str) -> Callable[[Value], Value]:
        def function(at: Value) -> Value:
            outer = self.points
            self.points = {**outer, variable: at}
            try:
                return self.value(body)
            finally:
                self.points = outer

        return function

    def near(self, at: Value, direction: int) -> Value:
        return at + self.context.mpf(direction) / NEAR if self.context.isfinite(at) else NEAR * self.context.sign(at)

    def bound(self, node: Node) -> Value:
        sign = is_infinite(node)
        return sign * self.context.inf if sign else self.value(node)
