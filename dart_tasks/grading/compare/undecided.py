"""Which pairs the fast comparison leaves undecided, and so are worth computer algebra; cheap, and without SymPy."""

from __future__ import annotations

from dart_tasks.grading.compare.calculus import is_calculus
from dart_tasks.grading.compare.regions import intervals
from dart_tasks.grading.compare.shapes import is_region, noncommuting_names, without_name
from dart_tasks.grading.parse.tree import (
    Call,
    Group,
    Matrix,
    Node,
    Power,
    Product,
    Quotient,
    Relation,
    Sequence,
    Sum,
    free_symbols,
    walk,
)

__all__ = ["is_undecided"]


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
