r"""SymPy as the second opinion, on pairs that the fast comparison cannot decide.

``\int_0^1 x^2\,dx`` and ``1/3``, ``[0,2] \setminus \{1\}`` and ``[0,1) \cup (1,2]``, ``A^{-1}B`` and ``BA^{-1}``. Trees
become SymPy objects by constructors: no text is parsed by SymPy. Integrals and the like are first compared by their
digits (:mod:`dart_tasks.grading.compare.calculus`); only where that proves nothing does SymPy work them out. Nothing
here bounds its own time: the caller does (:mod:`dart_tasks.grading.run.worker`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from itertools import product
from typing import Any

import sympy

from dart_tasks.grading.compare.calculus import DERIVATIVE, is_calculus, value_at
from dart_tasks.grading.compare.evaluate import MAX_FACTORIAL, OF_INTEGERS, UndefinedError, point
from dart_tasks.grading.parse.tree import (
    Builder,
    Call,
    Constant,
    Group,
    Matrix,
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
    free_symbols,
)

__all__ = ["decide"]

DIGITS = 30
N_POINTS = 3
MAX_POWER = 60  # of a matrix
MAX_EXPONENT = 2_000
MAX_EXPANDED = 6  # power of a sum of matrices without values
MAX_CELLS = 100
_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "infinity": sympy.oo}
_NUMBER_SETS = {"mathbb R": sympy.S.Reals, "mathbb Z": sympy.S.Integers, "mathbb N": sympy.S.Naturals}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": sympy.Abs, "floor": sympy.floor, "ceil": sympy.ceiling, "exp": sympy.exp, "ln": sympy.log,
    "factorial": sympy.factorial, "doublefactorial": sympy.factorial2, "binomial": sympy.binomial, "min": sympy.Min,
    "max": sympy.Max, "gcd": sympy.gcd, "lcm": sympy.lcm, "root": lambda base, degree: sympy.root(base, degree),
    "log": lambda value, base=10: sympy.log(value, base), "degree": lambda angle: angle * sympy.pi / 180,
} | {
    name: getattr(sympy, name.replace("arc", "a"))
    for name in (
        "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan arccot arcsec arccsc arcsinh arccosh arctanh"
    ).split()
}  # fmt: skip
_RELATIONS = {"<": sympy.Lt, "<=": sympy.Le, ">": sympy.Gt, ">=": sympy.Ge, "!=": sympy.Ne, "=": sympy.Eq}


class _UnknownError(ValueError):
    """A tree that has no SymPy object here."""


def decide(reference: Node, answer: Node, noncommuting: frozenset[str] = frozenset()) -> bool | None:
    """Whether the two denote the same; None where SymPy cannot tell.

    Args:
        noncommuting: names of matrices and vectors, whose products keep their order.
    """
    if is_calculus(reference, answer) and _agree_by_digits(reference, answer):
        return True
    reader = _Reader(noncommuting)
    for same in (_same_regions, _same_matrices, _same_scalars):
        try:
            return same(reader, reference, answer)
        except _UnknownError:
            continue
        except Exception:  # SymPy raises errors of every kind for what it cannot do
            return None
    return None


# -- trees to SymPy ---------------------------------------------------------------------------------------------------


class _Reader:
    """Trees as SymPy objects; variables are real, unless they are matrices."""

    def __init__(self, noncommuting: frozenset[str]) -> None:
        self._noncommuting = noncommuting
        self._size = sympy.Symbol("size", integer=True, positive=True)

    def symbol(self, name: str) -> Any:
        if name in self._noncommuting:
            return sympy.MatrixSymbol(name, self._size, self._size)
        if name in ("I", "E") and self._noncommuting:
            return sympy.Identity(self._size)
        return sympy.Symbol(name, real=True)

    def expression(self, node: Node) -> Any:
        match node:
            case Number(value=value):
                return sympy.Rational(value.numerator, value.denominator)
            case Symbol(name=name) if not name.startswith("mathbb "):
                return self.symbol(name)
            case Constant(name=name):
                return _CONSTANTS[name]
            case Negative(argument=argument):
                return -self.expression(argument)
            case Sum(terms=parts):
                return reduce(lambda left, right: left + right, self.expressions(parts))
            case Product(factors=parts):
                return reduce(lambda left, right: left * right, self.expressions(parts))
            case Quotient(numerator=top, denominator=bottom):
                return self.expression(top) / self.expression(bottom)
            case Power(base=base, exponent=exponent):
                return self.power(self.expression(base), exponent)
            case Matrix(rows=rows) if len(rows) * len(rows[0]) <= MAX_CELLS:
                return sympy.ImmutableMatrix([self.expressions(row) for row in rows])
            case Group(opening="(" | "<" | "[", items=(only,)):
                return self.expression(only)
            case Quantity(value=value, unit="%"):
                return self.expression(value) / 100
            case Call(name=name, arguments=arguments):
                return self.call(name, arguments)
            case _:
                raise _UnknownError

    def expressions(self, nodes: Iterable[Node]) -> list[Any]:
        return [self.expression(node) for node in nodes]

    def power(self, base: Any, exponent: Node) -> Any:
        if isinstance(base, sympy.MatrixBase | sympy.MatrixExpr):
            if exponent == Symbol("T"):
                return base.T
            power = self.expression(exponent)
            if not power.is_Integer or abs(power) > MAX_POWER:
                raise _UnknownError
            if isinstance(base, sympy.MatAdd) and 1 < power <= MAX_EXPANDED:  # (A + B)^2
                return sympy.MatAdd(*(sympy.MatMul(*chosen) for chosen in product(base.args, repeat=int(power))))
            return base**power
        power = self.expression(exponent)
        if power.is_number and abs(power) > MAX_EXPONENT:  # SymPy multiplies it out, in one step that nothing ends
            raise _UnknownError
        return base**power

    def call(self, name: str, arguments: tuple[Node, ...]) -> Any:
        match name, arguments:
            case "sum", (body, Symbol() as index, low, high):
                return sympy.Sum(self.expression(body), (self.expression(index), *self.expressions((low, high))))
            case "prod", (body, Symbol() as index, low, high):
                return sympy.Product(self.expression(body), (self.expression(index), *self.expressions((low, high))))
            case "integral", (body, Symbol() as variable, low, high):
                ends = self.expressions((low, high))
                return sympy.Integral(self.expression(body), (self.expression(variable), *ends))
            case "limit", (body, Symbol() as variable, target, Symbol(name=side)):
                return sympy.Limit(self.expression(body), self.expression(variable), self.expression(target), side)
            case "apply", (Symbol(name=operator), body) if found := DERIVATIVE.fullmatch(operator):
                variable, order = self.symbol(found[1]), int(found[2])
                return sympy.Derivative(self.expression(body), (variable, order))
            case "apply", (Symbol(name=function), *rest):
                return sympy.Function(function)(*self.expressions(rest))
            case (("det" | "tr"), (only,)):
                matrix = self.expression(only)
                return matrix.det() if name == "det" else matrix.trace()
            case _ if name in _FUNCTIONS:
                values = self.expressions(arguments)
                if name in OF_INTEGERS and any(value.is_number and abs(value) > MAX_FACTORIAL for value in values):
                    raise _UnknownError
                return _FUNCTIONS[name](*values)
            case _:
                raise _UnknownError

    # -- regions ------------------------------------------------------------------------------------------------------

    def region(self, node: Node) -> Any:
        """A set of real numbers."""
        match node:
            case Symbol(name=name) if name in _NUMBER_SETS:
                return _NUMBER_SETS[name]
            case SetOperation(operands=operands, operators=operators):
                region = self.region(operands[0])
                for operator, operand in zip(operators, operands[1:], strict=True):
                    region = _COMBINED[operator](region, self.region(operand))
                return region
            case Group(opening="{", items=items):
                return sympy.FiniteSet(*self.expressions(items))
            case Group(opening="(" | "[" as opening, items=(low, high), closing=closing):
                ends = self.expressions((low, high))
                return sympy.Interval(*ends, left_open=opening == "(", right_open=closing == ")")
            case Builder(element=Symbol() | Relation(), conditions=(condition,)):
                return self.region(condition)
            case Relation(operators=("in",), operands=(Symbol(), inner)):
                return self.region(inner)
            case Relation(operands=operands, operators=operators):
                pairs = zip(operands, operators, operands[1:], strict=False)
                return reduce(sympy.Intersection, [self.solutions(*pair) for pair in pairs])
            case Call(name="and" | "or" as name, arguments=parts):
                return (sympy.Intersection if name == "and" else sympy.Union)(*map(self.region, parts))
            case Sequence(items=items):
                return self.several([self.region(item) for item in items])
            case _:
                raise _UnknownError

    def solutions(self, left: Node, operator: str, right: Node) -> Any:
        """Where a relation in one variable holds."""
        names = free_symbols(left, right)
        if len(names) != 1 or operator not in _RELATIONS:
            raise _UnknownError
        sides = self.expressions((left, right))
        if operator in ("=", "!="):
            solved = sympy.solveset(sides[0] - sides[1], self.symbol(*names), sympy.S.Reals)
            return solved if operator == "=" else sympy.Complement(sympy.S.Reals, solved)
        relation = _RELATIONS[operator](*sides)
        if relation in (True, False):
            return sympy.S.Reals if relation else sympy.S.EmptySet
        return sympy.solve_univariate_inequality(relation, self.symbol(*names), relational=False)

    @staticmethod
    def several(regions: list[Any]) -> Any:
        """What regions with a comma between them mean: what they have in common if they overlap partly, else all."""
        common = reduce(sympy.Intersection, regions)
        overlap = common.is_empty is False and not any(common == region for region in regions)
        return common if overlap else reduce(sympy.Union, regions)


_COMBINED = {"union": sympy.Union, "intersection": sympy.Intersection, "minus": sympy.Complement}


# -- comparisons ------------------------------------------------------------------------------------------------------


def _same_regions(reader: _Reader, reference: Node, answer: Node) -> bool | None:
    names = [free_symbols(node) - _NUMBER_SETS.keys() for node in (reference, answer)]
    if (names[0] and names[1] and names[0] != names[1]) or max(len(each) for each in names) > 1:
        raise _UnknownError
    first, second = (reader.region(node) for node in (reference, answer))
    if first == second:
        return True
    verdicts = first.is_subset(second), second.is_subset(first)
    return None if None in verdicts else all(verdicts)


def _same_matrices(reader: _Reader, reference: Node, answer: Node) -> bool | None:
    first, second = (reader.expression(_as_matrix(node)) for node in (reference, answer))
    if not all(isinstance(side, sympy.MatrixBase) for side in (first, second)):
        if not any(isinstance(side, sympy.MatrixExpr) for side in (first, second)):
            raise _UnknownError
        return bool(sympy.expand(first.doit()) == sympy.expand(second.doit()))
    are_vectors = all(1 in side.shape for side in (first, second))
    if first.shape != second.shape and not (are_vectors and len(first) == len(second)):
        return False
    return _all(_same_values(a, b) for a, b in zip(first, second, strict=True))


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    """True if all are, False if one is, None where it depends on what is not known."""
    found = set(verdicts)
    return False if False in found else None if None in found else True


def _as_matrix(node: Node) -> Node:
    """A point or a vector in brackets as a row."""
    if isinstance(node, Group) and node.opening in ("(", "<", "[") and len(node.items) > 1:
        return Matrix((node.items,))
    return node


def _same_scalars(reader: _Reader, reference: Node, answer: Node) -> bool | None:
    return _same_values(reader.expression(reference), reader.expression(answer))


def _same_values(left: Any, right: Any) -> bool | None:
    """By digits at fixed points, once integrals and the like are worked out."""
    if left == right:
        return True
    left, right = left.doit(), right.doit()
    return _all(_agree(left.subs(values), right.subs(values)) for values in _points((left - right).free_symbols))


def _points(symbols: Iterable[Any]) -> list[dict[Any, Any]]:
    """Values between 0.04 and 0.8: power series are to converge there."""
    names = sorted(symbols, key=str)
    return [
        {name: sympy.Rational(*(point(str(name), index) / 5).as_integer_ratio()) for name in names}
        for index in range(N_POINTS if names else 1)
    ]


def _agree(left: Any, right: Any) -> bool | None:
    if left == right:
        return True
    values = [part for side in (left, right) for part in side.evalf(DIGITS).as_real_imag()]
    if not all(part.is_Float or part.is_Rational for part in values):
        return None  # infinite, or an integral or a sum is left in it
    a, b = values[0] + sympy.I * values[1], values[2] + sympy.I * values[3]
    return bool(abs(a - b) <= sympy.Float(10) ** -20 * max(1, abs(a), abs(b)))


def _agree_by_digits(reference: Node, answer: Node) -> bool:
    names = sorted(free_symbols(reference, answer))
    try:
        for index in range(N_POINTS if names else 1):
            values = {name: point(name, index) / 5 for name in names}
            a, b = (value_at(node, values) for node in (reference, answer))
            if abs(a - b) > max(1, abs(a)) * 1e-18:
                return False
    except UndefinedError:
        return False
    return True
