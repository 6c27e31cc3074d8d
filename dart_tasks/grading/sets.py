"""Regions of the real line: intervals, unions, inequalities and sets of points, in one canonical form.

``x < 2 \\text{ or } x \\ge 5``, ``(-\\infty, 2) \\cup [5, \\infty)`` and ``\\{x \\mid x<2 \\lor x\\ge5\\}`` are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from dart_tasks.grading.nodes import (
    Builder,
    Constant,
    Group,
    Negative,
    Node,
    PlusMinus,
    Product,
    Relation,
    Sequence,
    SetOperation,
    Symbol,
)
from dart_tasks.grading.numeric import Budget, UndefinedError, evaluate

__all__ = ["REALS", "Interval", "intervals", "is_infinite", "is_region"]


@dataclass(frozen=True, slots=True)
class Interval:
    """One piece; an end of None is infinite. A point has equal closed ends."""

    low: Node | None
    low_closed: bool
    high: Node | None
    high_closed: bool


REALS = (Interval(None, False, None, False),)
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


def is_infinite(node: Node) -> int:
    """1 for infinity, -1 for minus infinity, 0 for anything else."""
    match node:
        case Constant(name="infinity"):
            return 1
        case Negative(argument=Constant(name="infinity")):
            return -1
        case PlusMinus(right=Constant(name="infinity")):
            return 0
        case _:
            return 0


def is_region(node: Node) -> bool:
    """Whether the notation can only mean a region: a union, a half-open bracket, an infinite end, an inequality."""
    match node:
        case SetOperation() | Builder() | Symbol(name="mathbb R"):
            return True
        case Group(items=items, opening=opening, closing=closing) if len(items) == 2:
            mixed = (opening, closing) in (("(", "]"), ("[", ")"))
            return mixed or any(is_infinite(item) for item in items)
        case Relation(operators=operators, operands=operands):
            if operators == ("in",):
                return is_region(operands[1]) or (isinstance(operands[1], Group) and operands[1].opening in "([")
            if ":" in operators:
                return False
            return any(operator in ("<", ">", "<=", ">=", "!=") for operator in operators)
        case Sequence(items=items):
            excludes = isinstance(items[0], Relation) and items[0].operators == ("!=",)
            return excludes or all(isinstance(item, Relation) and is_region(item) for item in items)
        case _:
            return False


def intervals(node: Node) -> tuple[Interval, ...] | None:
    """The pieces of a region as written, not yet merged; None if it is no region. Two-item brackets are intervals."""
    match node:
        case Symbol(name="mathbb R"):
            return REALS
        case SetOperation(operands=operands, operators=operators):
            return _operation(operands, operators)
        case Group(opening="{", items=items):
            return tuple(Interval(item, True, item, True) for item in items)
        case Group(items=(low, high), opening="(" | "[" as opening, closing=closing) if (
            is_infinite(low) <= 0 <= is_infinite(high)
        ):
            return (
                Interval(
                    None if is_infinite(low) else low,
                    opening == "[" and not is_infinite(low),
                    None if is_infinite(high) else high,
                    closing == "]" and not is_infinite(high),
                ),
            )
        case Builder(conditions=(condition,)):
            return intervals(condition)
        case Relation(operators=("in",), operands=(_, region)):
            return intervals(region)
        case Relation(operands=operands, operators=operators):
            return _inequality(operands, operators)
        case Sequence(items=items):
            if isinstance(items[0], Relation) and items[0].operators == ("!=",):  # x \ne 2, 3
                return _without(tuple(item.operands[1] if isinstance(item, Relation) else item for item in items))
            parts = [intervals(item) for item in items]
            parts = [part for part in parts if part != REALS] or parts  # x \in R, x > 2
            return (
                None if any(part is None for part in parts) else tuple(piece for part in parts for piece in part or ())
            )
        case _:
            return None


def _operation(operands: tuple[Node, ...], operators: tuple[str, ...]) -> tuple[Interval, ...] | None:
    parts = [intervals(operand) for operand in operands]
    if any(part is None for part in parts):
        return None
    if all(operator == "union" for operator in operators):
        return tuple(piece for part in parts for piece in part or ())
    second = operands[1]
    if operators == ("minus",) and isinstance(second, Group) and second.opening == "{" and parts[0] == REALS:
        return _without(second.items)
    if operators == ("minus",) and parts[0] == REALS and parts[1] is not None and len(parts[1]) == 1:
        (inner,) = parts[1]
        below = Interval(None, False, inner.low, not inner.low_closed)
        above = Interval(inner.high, not inner.high_closed, None, False)
        return tuple(piece for piece, end in ((below, inner.low), (above, inner.high)) if end is not None)
    return None


def _without(points: tuple[Node, ...]) -> tuple[Interval, ...] | None:
    """The real line without some points; None if their order cannot be told."""
    if len(points) > 1:
        budget = Budget(1_000)
        try:
            points = tuple(sorted(points, key=lambda node: evaluate(node, {}, budget).real))
        except (UndefinedError, KeyError):
            return None
    ends = (None, *points, None)
    return tuple(Interval(low, False, high, False) for low, high in pairwise(ends))


def _is_variable(node: Node) -> bool:
    return isinstance(node, Symbol) or (
        isinstance(node, Product) and all(isinstance(part, Symbol) for part in node.factors)
    )


def _inequality(operands: tuple[Node, ...], operators: tuple[str, ...]) -> tuple[Interval, ...] | None:
    if len(operands) == 2:
        left, right = operands
        operator = operators[0]
        if not _is_variable(left) and _is_variable(right):
            left, right, operator = right, left, _FLIPPED.get(operator, operator)
        if not _is_variable(left):
            return None
        return _half_line(operator, right)
    if len(operands) == 3 and _is_variable(operands[1]):
        if all(operator in ("<", "<=") for operator in operators):
            low, high, closed_low, closed_high = operands[0], operands[2], operators[0] == "<=", operators[1] == "<="
        elif all(operator in (">", ">=") for operator in operators):
            low, high, closed_low, closed_high = operands[2], operands[0], operators[1] == ">=", operators[0] == ">="
        else:
            return None
        return intervals(Group("[" if closed_low else "(", (low, high), "]" if closed_high else ")"))
    return None


def _half_line(operator: str, bound: Node) -> tuple[Interval, ...] | None:
    if is_infinite(bound):
        return REALS if operator in ("<", ">", "<=", ">=") else None
    match operator:
        case "<" | "<=":
            return (Interval(None, False, bound, operator == "<="),)
        case ">" | ">=":
            return (Interval(bound, operator == ">=", None, False),)
        case "!=":
            return _without((bound,))
        case "=":
            return (Interval(bound, True, bound, True),)
        case _:
            return None
