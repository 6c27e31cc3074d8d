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
    Sum,
    Symbol,
    rebuilt,
)

__all__ = [
    "Pending",
    "applied",
    "derivative",
    "is_integer",
    "is_minus_one",
    "is_proper",
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
    mark, operand = (top.factors[0], top.factors[1:]) if isinstance(top, Product) else (top, ())
    order = "1"
    if isinstance(mark, Power) and isinstance(mark.exponent, Number | Symbol):
        mark, order = mark.base, _order(mark.exponent)
    if not isinstance(bottom, Product) or bottom.factors[0] not in _DIFFERENTIALS:
        return None
    if mark not in _DIFFERENTIALS:
        if bottom.factors[0] in operand and bottom.factors[1:] in _VARIABLES:  # 2dy/dx
            raise UnreadableError("a differential")
        return None
    below = bottom.factors
    variables, orders = [], []
    for sign, variable in zip(below[::2], below[1::2], strict=False):
        power = variable.exponent if isinstance(variable, Power) else Number(Fraction(1))
        variable = variable.base if isinstance(variable, Power) else variable
        if sign != mark or not isinstance(variable, Symbol) or not isinstance(power, Number | Symbol):
            return None
        variables.append(variable.name + _order(power))
        orders.append(_order(power))
    if len(below) % 2 or (orders != [order] and not (order.isdigit() and len(orders) == int(order))):
        return None
    name = f"{mark.name}{order}?/{mark.name}{''.join(variables)}" if isinstance(mark, Symbol) else ""
    return name, None if not operand else operand[0] if len(operand) == 1 else Product(operand)


def _order(exponent: Number | Symbol) -> str:
    return exponent.name if isinstance(exponent, Symbol) else str(exponent.value)


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
