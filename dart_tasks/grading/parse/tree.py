"""What an answer is once parsed: a small typed tree, and how its parts are put together.

``\\frac{1}{2} \\text{ cm}`` becomes ``Quantity(Quotient(Number(1), Number(2)), unit="cm")``. No node holds a string
that is ever executed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

__all__ = [
    "CONSTANTS",
    "FUNCTIONS",
    "OPAQUE",
    "Based",
    "Builder",
    "Call",
    "Constant",
    "Group",
    "Matrix",
    "Negative",
    "Node",
    "Number",
    "Pending",
    "PlusMinus",
    "Power",
    "Product",
    "Quantity",
    "Quotient",
    "Relation",
    "Sequence",
    "SetOperation",
    "Sum",
    "Symbol",
    "UnreadableError",
    "applied",
    "children",
    "counted",
    "crossed",
    "depth",
    "derivative",
    "free_symbols",
    "is_integer",
    "is_made_of_functions",
    "is_minus_one",
    "is_proper",
    "joined",
    "juxtaposed",
    "literal",
    "mixed",
    "product_of",
    "rebuilt",
    "renamed",
    "scaled",
    "sum_of",
    "transposed",
    "walk",
]

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc sinh cosh tanh coth sech csch arcsin arccos arctan arccot arcsec arccsc arcsinh arccosh"
    " arctanh arsinh arcosh artanh asin acos atan asinh acosh atanh ln log lg exp sqrt cbrt root abs floor ceil min max"
    " gcd lcm cis".split()
)
CONSTANTS = {"pi": "pi", "infty": "infinity", "infinity": "infinity", "inf": "infinity", "oo": "infinity"}
OPAQUE = "text:"  # marks the name of a value whose name is no mathematics: P-value = 0.014


class UnreadableError(ValueError):
    """The text is not mathematics we can read, or is too long or too deep to be read in bounded time."""


@dataclass(frozen=True, slots=True)
class Number:
    """A literal. ``places`` counts the decimals written (None for an integer), ``digits`` the significant ones."""

    value: Fraction
    places: int | None = None
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, with subscript and primes in its name (``x``, ``x_1``, ``y'``, ``theta``)."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A number with a name of its own."""

    name: Literal["pi", "e", "i", "infinity"]


@dataclass(frozen=True, slots=True)
class Sum:
    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Product:
    factors: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Quotient:
    numerator: Node
    denominator: Node


@dataclass(frozen=True, slots=True)
class Negative:
    argument: Node


@dataclass(frozen=True, slots=True)
class Power:
    base: Node
    exponent: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A named function of its arguments: ``root``, ``sin``, ``degree`` (an angle mark), ``apply`` (f(x))."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class PlusMinus:
    """``left ± right``; ``sign`` is -1 for ``\\mp``."""

    left: Node
    right: Node
    sign: Literal[1, -1] = 1


@dataclass(frozen=True, slots=True)
class Group:
    """Bracketed items: a point, an interval, a list or a set, told apart by brackets and context."""

    opening: Literal["(", "[", "{", "<"]
    items: tuple[Node, ...]
    closing: Literal[")", "]", "}", ">"]


@dataclass(frozen=True, slots=True)
class Builder:
    """Set-builder notation ``{ element | conditions }``."""

    element: Node
    conditions: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain such as ``a < x \\le b``: one operator fewer than operands."""

    operands: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetOperation:
    """Sets joined by one of ``union``, ``intersection``, ``minus``, from the left."""

    operands: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its unit in canonical form (``cm``, ``degree``, ``%``, ``$``, or words as written)."""

    value: Node
    unit: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """Items joined by commas, semicolons, "and" or "or", without brackets."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Based:
    """A numeral written with its base: ``1011_2``."""

    numeral: str
    base: int


Node: TypeAlias = (
    Number
    | Symbol
    | Constant
    | Sum
    | Product
    | Quotient
    | Negative
    | Power
    | Call
    | PlusMinus
    | Group
    | Builder
    | Matrix
    | Relation
    | SetOperation
    | Quantity
    | Sequence
    | Based
)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below ``node``."""
    below = _BELOW.get(type(node))
    return below(node) if below else ()


_BELOW: dict[type, Callable[[Any], tuple[Node, ...]]] = {  # looked up by type, as it is asked for most of all
    Sum: lambda node: node.terms,
    Product: lambda node: node.factors,
    Call: lambda node: node.arguments,
    Group: lambda node: node.items,
    Sequence: lambda node: node.items,
    Relation: lambda node: node.operands,
    SetOperation: lambda node: node.operands,
    Quotient: lambda node: (node.numerator, node.denominator),
    Power: lambda node: (node.base, node.exponent),
    PlusMinus: lambda node: (node.left, node.right),
    Negative: lambda node: (node.argument,),
    Quantity: lambda node: (node.value,),
    Matrix: lambda node: tuple(entry for row in node.rows for entry in row),
    Builder: lambda node: (node.element, *node.conditions),
}


def rebuilt(node: Node, change: Callable[[Node], Node]) -> Node:
    """``node`` with ``change`` applied to each node directly below it."""

    def all_of(parts: tuple[Node, ...]) -> tuple[Node, ...]:
        return tuple(change(part) for part in parts)

    match node:
        case Sum(terms=parts):
            return Sum(all_of(parts))
        case Product(factors=parts):
            return Product(all_of(parts))
        case Quotient(numerator=top, denominator=bottom):
            return Quotient(change(top), change(bottom))
        case Negative(argument=argument):
            return Negative(change(argument))
        case Power(base=base, exponent=exponent):
            return Power(change(base), change(exponent))
        case Call(name=name, arguments=parts):
            return Call(name, all_of(parts))
        case Group(opening=opening, items=parts, closing=closing):
            return Group(opening, all_of(parts), closing)
        case Quantity(value=value, unit=unit):
            return Quantity(change(value), unit)
        case Relation(operands=parts, operators=operators):
            return Relation(all_of(parts), operators)
        case Sequence(items=parts):
            return Sequence(all_of(parts))
        case _:
            return node


def renamed(node: Node, names: dict[str, str]) -> Node:
    """``node`` with its variables renamed."""
    if isinstance(node, Symbol):
        return Symbol(names.get(node.name, node.name))
    return rebuilt(node, lambda part: renamed(part, names))


def walk(node: Node) -> Iterator[Node]:
    """``node`` and every node below it."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(children(current))


def depth(node: Node) -> int:
    """The number of levels of the tree."""
    levels = 0
    level: tuple[Node, ...] = (node,)
    while level:
        levels += 1
        level = tuple(child for parent in level for child in children(parent))
    return levels


def free_symbols(*nodes: Node) -> frozenset[str]:
    """The variables in the nodes; the name of a function and the index of a sum or an integral are none."""
    names: set[str] = set()
    stack = list(nodes)
    while stack:
        part = stack.pop()
        match part:
            case Symbol(name=name):
                names.add(name)
            case Call(name="apply", arguments=(_, *arguments)):
                stack.extend(arguments)
            case Call(name="sum" | "prod" | "integral" | "limit", arguments=(body, Symbol(name=index), low, high)):
                names |= free_symbols(body) - {index}
                stack += (low,) if part.name == "limit" else (low, high)
            case _:
                stack.extend(children(part))
    return frozenset(names)


# -- putting trees together -----------------------------------------------------------------------------------------

_DIFFERENTIALS = (Symbol("d"), Symbol("partial"))
_FUNCTIONS = tuple(Symbol(name) for name in "fghFGH")
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


def is_made_of_functions(node: Node) -> bool:
    """``f + g``, ``f \\circ g``: functions joined, which a bracket after them applies."""
    leaves = (part for part in walk(node) if not children(part))
    return not isinstance(node, Symbol) and all(leaf in _FUNCTIONS for leaf in leaves)


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


def crossed(left: Node, right: Node) -> Node:
    """The vector product, with its sign: ``v \\times u`` is ``-(u \\times v)``."""
    *scalars, left = left.factors if isinstance(left, Product) else (left,)
    first, second = sorted((left, right), key=repr)
    product: Node = Call("apply", (Symbol("cross"), first, second))
    product = product if first is left else Negative(product)
    return Product((*scalars, product)) if scalars else product


def counted(base: Node, upper: Node) -> Node | None:
    """``C_5^2`` and ``C_n^k`` as combinations, ``A_5^2`` and ``P_5^2`` as arrangements; None for another power."""
    letter, _, lower = base.name.partition("_") if isinstance(base, Symbol) else ("", "", "")
    if lower.isdigit() and isinstance(upper, Number) and is_integer(upper) and upper.value <= int(lower):
        n: Node = literal(lower)
        if letter in ("A", "P"):
            return Quotient(Call("factorial", (n,)), Call("factorial", (Sum((n, Negative(upper))),)))
        return Call("binomial", (n, upper)) if letter == "C" else None
    name = lower.removeprefix("2")
    if letter != "C" or name not in ("n", "m", "N") or not isinstance(upper, Symbol) or upper.name not in "kmrn":
        return None
    n = Symbol(name) if name == lower else Product((literal("2"), Symbol(name)))
    return Call("binomial", (n, upper))


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
    if isinstance(divisor, Quantity) and (number := mixed(value, divisor.value)) is not None:  # 12 1/2 %
        return Quantity(number, divisor.unit)
    whole, top = value.factors
    fraction = Quotient(Number(top.value, None, top.digits), divisor) if isinstance(top, Number) else top
    if not is_proper(fraction):
        raise UnreadableError("two numbers side by side")
    return Sum((whole, fraction))
