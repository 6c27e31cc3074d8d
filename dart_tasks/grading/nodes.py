"""What an answer is once parsed: a small typed tree. No node holds a string that is ever executed.

``\\frac{1}{2} \\text{ cm}`` becomes ``Quantity(Quotient(Number(1), Number(2)), unit="cm")``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

__all__ = [
    "Based",
    "Builder",
    "Call",
    "Constant",
    "Group",
    "Matrix",
    "Negative",
    "Node",
    "Number",
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
    "children",
    "depth",
    "rebuilt",
    "walk",
]


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
    match node:
        case Sum(terms=parts) | Product(factors=parts) | Call(arguments=parts) | Group(items=parts):
            return parts
        case Relation(operands=parts) | SetOperation(operands=parts) | Sequence(items=parts):
            return parts
        case Quotient(numerator=first, denominator=second) | Power(base=first, exponent=second):
            return (first, second)
        case PlusMinus(left=first, right=second):
            return (first, second)
        case Negative(argument=only) | Quantity(value=only):
            return (only,)
        case Matrix(rows=rows):
            return tuple(entry for row in rows for entry in row)
        case Builder(element=element, conditions=conditions):
            return (element, *conditions)
        case _:
            return ()


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
