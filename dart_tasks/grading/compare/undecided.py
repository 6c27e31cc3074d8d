"""Which pairs the fast comparison leaves undecided, and so are worth computer algebra; cheap, and without SymPy."""

from __future__ import annotations

from dart_tasks.grading.compare.calculus import is_calculus
from dart_tasks.grading.compare.regions import intervals
from dart_tasks.grading.compare.shapes import is_region, without_name
from dart_tasks.grading.parse.tree import (
    Call,
    Group,
    Matrix,
    Negative,
    Node,
    Power,
    Product,
    Quotient,
    Relation,
    Sequence,
    Sum,
    Symbol,
    free_symbols,
    walk,
)

__all__ = ["is_undecided", "noncommuting_names"]


def is_undecided(left: Node, right: Node, noncommuting: frozenset[str]) -> bool:
    """Whether a pair that was not found equal may yet be."""
    if is_calculus(left, right) or _has_matrix_value(left) or _has_matrix_value(right):
        return True
    if is_region(left) or is_region(right):
        may_be_regions = all(isinstance(side, Relation | Group | Sequence) or is_region(side) for side in (left, right))
        return may_be_regions and any(intervals(without_name(side)) is None for side in (left, right))
    return bool(noncommuting & free_symbols(left, right) or noncommuting_names(left, right))


def _has_matrix_value(node: Node) -> bool:
    """Whether something is to be worked out with matrices."""
    for part in walk(node):
        match part:
            case Call(name="det" | "tr"):
                return True
            case Sum() | Product() | Power() | Quotient() if any(isinstance(inner, Matrix) for inner in walk(part)):
                return True
            case _:
                pass
    return False


def noncommuting_names(*nodes: Node) -> frozenset[str]:
    """The names that notation alone makes matrices: capital letters in a product with an inverse or a transpose."""
    names: set[str] = set()
    for part in (part for node in nodes for part in walk(node)):
        if isinstance(part, Quotient) and any(_is_capital(inner) for inner in walk(part.denominator)):
            return frozenset()  # nobody divides by a matrix
        if isinstance(part, Product):
            bases = [factor.base if isinstance(factor, Power) else factor for factor in part.factors]
            letters = {base.name for base in bases if isinstance(base, Symbol) and _is_capital(base)}
            if sum(map(_is_capital, bases)) > 1 and any(map(_is_inverse, part.factors)):
                names |= letters
    return frozenset(names)


def _is_capital(node: Node) -> bool:
    return isinstance(node, Symbol) and len(node.name) == 1 and node.name.isupper()


def _is_inverse(node: Node) -> bool:
    """``A^{-1}``, ``A^T``."""
    if not isinstance(node, Power) or not _is_capital(node.base):
        return False
    return isinstance(node.exponent, Negative) or node.exponent == Symbol("T")
