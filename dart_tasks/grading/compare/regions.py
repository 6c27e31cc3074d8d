"""Regions of the real line: intervals, unions, inequalities and sets of points, in one canonical form.

``x < 2 \\text{ or } x \\ge 5``, ``(-\\infty, 2) \\cup [5, \\infty)`` and ``\\{x \\mid x<2 \\lor x\\ge5\\}`` are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from dart_tasks.grading.compare.evaluate import Budget, UndefinedError, Value, evaluate
from dart_tasks.grading.compare.shapes import both_signs, is_infinite, variable_of, without_unit
from dart_tasks.grading.parse.tree import (
    Builder,
    Call,
    Group,
    Node,
    Product,
    Relation,
    Sequence,
    SetOperation,
    Symbol,
)

__all__ = ["Interval", "canonical", "intervals"]


@dataclass(frozen=True, slots=True)
class Interval:
    """One piece; an end of None is infinite. A point has equal closed ends."""

    low: Node | None
    low_closed: bool
    high: Node | None
    high_closed: bool


_REALS = (Interval(None, False, None, False),)
FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


def intervals(node: Node) -> tuple[Interval, ...] | None:
    """The pieces of a region as written, not yet merged; None if it is no region. Two-item brackets are intervals."""
    match node:
        case Symbol(name="mathbb R"):
            return _REALS
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
        case Builder(element=Symbol() | Relation(), conditions=(condition,)):
            return intervals(condition)
        case Relation(operators=("in",), operands=(_, region)):
            return intervals(region)
        case Relation(operators=("not in",), operands=(_, Group(opening="{", items=items))):
            return _without(items)
        case Relation(operands=operands, operators=operators):
            return _inequality(operands, operators)
        case Sequence(items=items):
            if isinstance(items[0], Relation) and items[0].operators == ("!=",):  # x \ne 2, 3
                return _without(tuple(item.operands[1] if isinstance(item, Relation) else item for item in items))
            if len({str(variable_of(item)).lower() for item in items if variable_of(item)}) > 1:
                return None  # x > 0, y > 0
            parts = [intervals(item) for item in items]
            parts = [part for part in parts if part != _REALS] or parts  # x \in R, x > 2
            if len(parts) > 1 and any(isinstance(item, Relation) and item.operators == ("!=",) for item in items):
                return None  # 0 < x < 2, x \ne 1
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
    if operators == ("minus",) and isinstance(second, Group) and second.opening == "{" and parts[0] == _REALS:
        return _without(second.items)
    if operators == ("minus",) and parts[0] == _REALS and parts[1] is not None and len(parts[1]) == 1:
        (inner,) = parts[1]
        below = Interval(None, False, inner.low, not inner.low_closed)
        above = Interval(inner.high, not inner.high_closed, None, False)
        return tuple(piece for piece, end in ((below, inner.low), (above, inner.high)) if end is not None)
    return None


def _without(points: tuple[Node, ...]) -> tuple[Interval, ...] | None:
    """The real line without some points; None if their order cannot be told."""
    points = tuple(sign for point in points for sign in both_signs(point))
    if len(points) > 1:
        budget = Budget(1_000)
        try:
            points = tuple(sorted(points, key=lambda node: evaluate(node, {}, budget).real))
        except (UndefinedError, KeyError):
            return None
    ends = (None, *points, None)
    return tuple(Interval(low, False, high, False) for low, high in pairwise(ends))


def _is_variable(node: Node) -> bool:
    return (
        isinstance(node, Symbol)
        or (isinstance(node, Call) and node.name == "apply")
        or (isinstance(node, Product) and all(isinstance(part, Symbol) for part in node.factors))
    )


def _inequality(operands: tuple[Node, ...], operators: tuple[str, ...]) -> tuple[Interval, ...] | None:
    if len(operands) == 2:
        left, right = operands
        operator = operators[0]
        if not _is_variable(left) and _is_variable(right):
            left, right, operator = right, left, FLIPPED.get(operator, operator)
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
        return _REALS if operator in ("<", ">", "<=", ">=") else None
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


def canonical(node: Node, pieces: tuple[Interval, ...], budget: Budget) -> tuple[Interval, ...]:
    """The pieces of a region in order, touching ones joined; as written where an end has no real value."""
    common = _overlap(pieces, budget) if isinstance(node, Sequence) else pieces
    joined = _merged(common, budget)
    return pieces if joined is None else joined


def _overlap(pieces: tuple[Interval, ...], budget: Budget) -> tuple[Interval, ...]:
    """``x > 2`` beside ``x < 3``: as a union they would be the whole line, so what they have in common is meant."""
    if len(pieces) != 2:
        return pieces
    above, below = sorted(pieces, key=lambda piece: piece.low is None)
    if above.low is None or above.high is not None or below.low is not None or below.high is None:
        return pieces
    try:
        low, high = (evaluate(without_unit(end), {}, budget) for end in (above.low, below.high))
        overlapping = low < high
    except (UndefinedError, KeyError, TypeError):
        return pieces
    return (Interval(above.low, above.low_closed, below.high, below.high_closed),) if overlapping else pieces


def _merged(pieces: tuple[Interval, ...], budget: Budget) -> tuple[Interval, ...] | None:
    """Sorted, with touching pieces joined; None where an end has no real value."""
    keyed: list[tuple[float | Value, float | Value, Interval]] = []
    try:
        for piece in pieces:
            low = float("-inf") if piece.low is None else evaluate(without_unit(piece.low), {}, budget)
            high = float("inf") if piece.high is None else evaluate(without_unit(piece.high), {}, budget)
            if low > high:
                return None  # (3, -2) is a point
            if low < high or (low == high and piece.low_closed and piece.high_closed):
                keyed.append((low, high, piece))
    except (UndefinedError, KeyError, TypeError):
        return None
    keyed.sort(key=lambda item: (item[0], not item[2].low_closed))
    joined: list[tuple[float | Value, float | Value, Interval]] = []
    for low, high, piece in keyed:
        if joined:
            before_low, before_high, before = joined[-1]
            if low < before_high or (low == before_high and (piece.low_closed or before.high_closed)):
                if high > before_high or (high == before_high and piece.high_closed):
                    wider = Interval(before.low, before.low_closed, piece.high, piece.high_closed)
                    joined[-1] = (before_low, high, wider)
                continue
        joined.append((low, high, piece))
    return tuple(piece for _, _, piece in joined)
