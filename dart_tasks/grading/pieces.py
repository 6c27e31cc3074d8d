"""The small trees that the parser builds: literals, sums, products, mixed numbers."""

from __future__ import annotations

from fractions import Fraction

from dart_tasks.grading.lexer import UnreadableError
from dart_tasks.grading.nodes import (
    Call,
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
    Sum,
    Symbol,
    rebuilt,
    walk,
)

__all__ = [
    "Pending",
    "applied",
    "derivative",
    "is_integer",
    "is_minus_one",
    "is_proper",
    "joined",
    "juxtaposed",
    "literal",
    "mixed",
    "product_of",
    "scaled",
    "sum_of",
    "transposed",
]

_DIFFERENTIALS = (Symbol("d"), Symbol("partial"))
_VARIABLES = tuple((Symbol(name),) for name in ("x", "y", "z", "t"))
MAX_EXPONENT_DIGITS = 4  # of a literal in scientific notation: 1e9999


def literal(text: str) -> Number:
    mantissa, _, exponent = text.lower().partition("e")
    if len(exponent.lstrip("+-")) > MAX_EXPONENT_DIGITS:
        raise UnreadableError("too large an exponent")
    digits = len(mantissa.replace(".", "").lstrip("0"))
    if exponent:
        return Number(Fraction(text), len(mantissa.partition(".")[2]) - int(exponent), digits)
    if "." in mantissa:
        places = len(mantissa.partition(".")[2])
        return Number(Fraction(text.rstrip(".")), places or None, digits)
    return Number(Fraction(int(mantissa)), None, digits)


def scaled(value: Number | Quantity, scale: int) -> Node:
    if isinstance(value, Quantity):
        return Quantity(scaled(value.value, scale), value.unit) if isinstance(value.value, Number) else value
    return Number(value.value * scale)


def sum_of(terms: list[Node]) -> Node:
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def product_of(left: Node, right: Node) -> Node:
    return Product((*(left.factors if isinstance(left, Product) else (left,)), right))


def applied(function: Node, arguments: tuple[Node, ...]) -> Node:
    """``(f + g)(x)`` as ``f(x) + g(x)``, ``(f \\circ g)(x)`` as ``f(g(x))``."""
    match function:
        case Symbol():
            return Call("apply", (function, *arguments))
        case Call(name="compose", arguments=(outer, inner)):
            return applied(outer, (applied(inner, arguments),))
        case _:
            return rebuilt(function, lambda part: applied(part, arguments))


def derivative(top: Node, bottom: Node) -> tuple[str, Node | None] | None:
    """The operator (``d?/dx``, ``d2?/dx2``) and operand of ``\\frac{d^2 y}{dx^2}``; None for any other fraction."""
    marked, operand = (top.factors[0], top.factors[1:]) if isinstance(top, Product) else (top, ())
    mark, order = _with_order(marked)
    if not isinstance(bottom, Product) or bottom.factors[0] not in _DIFFERENTIALS:
        return None
    if mark not in _DIFFERENTIALS:
        if bottom.factors[0] in operand and bottom.factors[1:] in _VARIABLES:  # 2dy/dx
            raise UnreadableError("a differential")
        return None
    below = [_with_order(variable) for variable in bottom.factors[1::2]]
    orders = [each for _, each in below]
    if (
        len(bottom.factors) % 2
        or any(factor != mark for factor in bottom.factors[::2])
        or not all(isinstance(variable, Symbol) for variable, _ in below)
        or (orders != [order] and order != str(len(orders)))
    ):
        return None
    variables = "".join(f"{variable.name}{each}" for variable, each in below if isinstance(variable, Symbol))
    name = f"{mark.name}{order}?/{mark.name}{variables}" if isinstance(mark, Symbol) else ""
    return name, None if not operand else operand[0] if len(operand) == 1 else Product(operand)


def _with_order(node: Node) -> tuple[Node, str]:
    """``d^2`` as (d, "2"); a power that no derivative has is left as it is."""
    match node:
        case Power(base=base, exponent=Number(value=value)) if value.denominator == 1:
            return base, str(value)
        case Power(base=base, exponent=Symbol(name=name)):
            return base, name
        case _:
            return node, "1"


def transposed(node: Group | Matrix) -> Node:
    return Matrix(tuple(zip(*node.rows, strict=True))) if isinstance(node, Matrix) else node


def is_minus_one(node: Node) -> bool:
    return isinstance(node, Negative) and isinstance(node.argument, Number) and node.argument.value == 1


def is_integer(node: Node) -> bool:
    return isinstance(node, Number) and node.places is None and node.value.denominator == 1


def is_proper(node: Node) -> bool:
    if not isinstance(node, Quotient) or not (is_integer(node.numerator) and is_integer(node.denominator)):
        return False
    top, bottom = node.numerator, node.denominator
    return isinstance(top, Number) and isinstance(bottom, Number) and 0 < top.value < bottom.value


class Pending(Number):
    """The 1 of ``3 1/2`` until a slash shows that it is a mixed number."""

    __slots__ = ()


def joined(items: list[Node], marks: list[str], mark: str) -> tuple[list[Node], list[str]]:
    """Statements between ``\\land`` (or ``\\lor``) as one; what has values or conditions between them is a list."""
    kept, rest = [items[0]], []
    for item, between in zip(items[1:], marks, strict=False):
        parts = (kept[-1], item)
        if between == mark and all(_is_statement(part) for part in parts):
            kept[-1] = Call(mark, tuple(inner for part in parts for inner in _operands(part, mark)))
        else:
            kept.append(item)
            rest.append(between)
    return kept, rest


def _operands(node: Node, name: str) -> tuple[Node, ...]:
    return node.arguments if isinstance(node, Call) and node.name == name else (node,)


def _is_statement(node: Node) -> bool:
    return not isinstance(node, Relation) and any(isinstance(part, Symbol) for part in walk(node))


def juxtaposed(left: Node, right: Node) -> Node:
    """Two neighbours without an operator: a mixed number or a product. Two bare numbers are neither."""
    if is_integer(left) and is_proper(right):
        return Sum((left, right))
    if is_integer(left) and isinstance(right, Quantity) and is_proper(right.value):  # 66\frac{2}{3}\%
        return Quantity(Sum((left, right.value)), right.unit)
    if is_integer(left) and isinstance(right, Call) and right.name == "degree" and is_proper(right.arguments[0]):
        return Call("degree", (Sum((left, right.arguments[0])),))
    if isinstance(right, Number):
        if is_integer(left) and is_integer(right) and not isinstance(left, Pending):
            return Product((left, Pending(right.value, None, right.digits)))
        last = left.factors[-1] if isinstance(left, Product) else left
        if isinstance(last, Number | Quantity) or (isinstance(last, Quotient) and isinstance(last.denominator, Number)):
            raise UnreadableError("two numbers side by side")
    if isinstance(left, Product) and isinstance(left.factors[-1], Pending):
        raise UnreadableError("two numbers side by side")
    return product_of(left, right)


def mixed(value: Node, divisor: Node) -> Node | None:
    """``3 1`` over ``2``: seven halves. None if ``value`` is no whole number beside a numerator."""
    if not (isinstance(value, Product) and isinstance(value.factors[-1], Pending)):
        return None
    whole, top = value.factors
    fraction = Quotient(Number(top.value, None, top.digits), divisor) if isinstance(top, Number) else top
    if not is_proper(fraction):
        raise UnreadableError("two numbers side by side")
    return Sum((whole, fraction))
