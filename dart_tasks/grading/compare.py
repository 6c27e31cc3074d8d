"""Equality of two parsed answers, by type. Every rule is a sentence in docs/grading.md.

Dispatch is on what the notation says (interval, set, point, matrix, equation, quantity, number), never on a loose match
of the text; where notation leaves a choice (whether order matters), the benchmark's policy and the question decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from dart_tasks.grading.nodes import Call, Group, Matrix, Negative, Node, Relation, Sequence, Sum
from dart_tasks.grading.numeric import Budget, UndefinedError, Value, evaluate, free_symbols
from dart_tasks.grading.sets import Interval, intervals, is_region
from dart_tasks.grading.values import Rules, ValueComparison
from dart_tasks.grading.views import (
    as_vector,
    assignments,
    both_signs,
    bracket_of,
    is_half_open,
    is_label,
    is_label_only_chain,
    is_solved,
    is_vector,
    items_of,
    rows_of,
    same_name,
    unwrapped,
    with_parameters,
    without_condition,
    without_name,
    without_unit,
)

__all__ = ["Rules", "same"]

MAX_ITEMS = 200


def same(reference: Node, answer: Node, rules: Rules, budget: Budget) -> bool:
    """Whether the two trees denote the same answer. May raise UndefinedError when the budget is exhausted."""
    return _Comparison(rules, budget).same(reference, answer)


class _Comparison(ValueComparison):
    def same(self, left: Node, right: Node) -> bool:
        self.budget.spend()
        if left == right:
            return True
        left, right = unwrapped(left), unwrapped(right)
        left, right = without_condition(left, right), without_condition(right, left)
        left, right = as_vector(left, right), as_vector(right, left)
        if is_region(left) or is_region(right):
            verdict = self._same_region(left, right)
            if verdict is not None:
                return verdict
        if isinstance(left, Relation) or isinstance(right, Relation):
            return self._same_relation(left, right)
        if isinstance(left, Matrix) or isinstance(right, Matrix):
            return self._same_matrix(left, right)
        left_items, right_items = items_of(left), items_of(right)
        if left_items is not None or right_items is not None:
            return self._same_collection(left, right, left_items, right_items)
        return self.same_quantity(left, right)

    def _same_relation(self, left: Node, right: Node) -> bool:
        left_items, right_items = items_of(left), items_of(right)
        if left_items is not None or right_items is not None:
            return self._same_collection(left, right, left_items, right_items)
        left_name, left_values = self._definition(left)
        right_name, right_values = self._definition(right)
        if left_values and right_values:
            if left_name is not None and right_name is not None and not same_name(left_name, right_name):
                return isinstance(left, Relation) and isinstance(right, Relation) and self._same_equation(left, right)
            if isinstance(left_name, Call) and isinstance(right_name, Call):
                right_values = tuple(with_parameters(value, right_name, left_name) for value in right_values)
            return any(self.same(a, b) for a in left_values for b in right_values)
        if isinstance(left, Relation) and isinstance(right, Relation):
            return is_solved(left) == is_solved(right) and self._same_equation(left, right)
        return False

    def _definition(self, node: Node) -> tuple[Node | None, tuple[Node, ...]]:
        """``x = v``: (x, (v,)); a true chain of constants ``a = b``: (None, (b, a)); a value: (None, (value,)).

        No values where it is none of these.
        """
        if not isinstance(node, Relation):
            return None, (node,)
        if not all(operator in ("=", "~") for operator in node.operators):
            if node.operators == ("in",):
                return node.operands[0], (node.operands[1],)
            names = free_symbols(node.operands[-1])  # x -> 5, n -> n + 1; but p -> q is no q
            if node.operators == ("->",) and is_label(node.operands[0]) and names <= free_symbols(node.operands[0]):
                return node.operands[0], (node.operands[1],)
            return None, ()
        first, *rest = node.operands
        if is_label(first) and not is_label_only_chain(node):
            return first, self._chain(tuple(rest), node.operators[1:])
        if is_label(node.operands[-1]) and len(node.operands) == 2 and not free_symbols(first):
            return node.operands[-1], (first,)
        values = self._chain(node.operands, node.operators)
        return (None, values) if values else (None, ())

    def _chain(self, values: tuple[Node, ...], operators: tuple[str, ...]) -> tuple[Node, ...]:
        """The values that a chain of equals may stand for: its ends, if its links hold (roughly, for ``\\approx``)."""
        if len(values) == 1:
            return values
        for before, after, operator in zip(values, values[1:], operators, strict=False):
            if operator == "=" and not (
                self.same_quantity(before, after) or self._roughly(before, after, Fraction(1, 1000))
            ):
                return ()
            if operator == "~" and not self._roughly(before, after, Fraction(1, 20)):
                return ()
        return (values[-1], *values[:-1])

    def _roughly(self, left: Node, right: Node, share: Fraction) -> bool:
        try:
            a, b = (evaluate(without_unit(node), {}, self.budget) for node in (left, right))
            return bool(abs(a - b) <= abs(a) * share.numerator / share.denominator)
        except (UndefinedError, KeyError):
            return False

    def _same_equation(self, left: Relation, right: Relation) -> bool:
        """Equal as conditions: sides swapped, or one a constant multiple of the other."""
        if left.operators != right.operators:
            return False
        if all(self.same(a, b) for a, b in zip(left.operands, right.operands, strict=True)):
            return True
        if left.operators != ("=",) or free_symbols(left) != free_symbols(right) or not free_symbols(left):
            return False
        try:
            return self.agree_everywhere(_difference(left), _difference(right), "a factor")
        except UndefinedError:
            return False

    def _same_region(self, left: Node, right: Node) -> bool | None:
        """None where a side is no region after all."""
        if any(isinstance(side, Group) and len(side.items) == 1 and side.opening == "[" for side in (left, right)):
            return False
        first, second = intervals(without_name(left)), intervals(without_name(right))
        if first is None or second is None:
            return None
        canonical = [
            self._merged(self._overlap(pieces) if isinstance(side, Sequence) else pieces)
            for side, pieces in ((left, first), (right, second))
        ]
        a, b = (merged if merged is not None else raw for merged, raw in zip(canonical, (first, second), strict=True))
        return len(a) == len(b) and all(self._same_interval(x, y) for x, y in zip(a, b, strict=True))

    def _overlap(self, pieces: tuple[Interval, ...]) -> tuple[Interval, ...]:
        """``x > 2`` beside ``x < 3``: as a union they would be the whole line, so what they have in common is meant."""
        if len(pieces) != 2:
            return pieces
        above, below = sorted(pieces, key=lambda piece: piece.low is None)
        if above.low is None or above.high is not None or below.low is not None or below.high is None:
            return pieces
        try:
            low, high = (evaluate(without_unit(end), {}, self.budget) for end in (above.low, below.high))
            overlapping = low < high
        except (UndefinedError, KeyError, TypeError):
            return pieces
        return (Interval(above.low, above.low_closed, below.high, below.high_closed),) if overlapping else pieces

    def _merged(self, pieces: tuple[Interval, ...]) -> tuple[Interval, ...] | None:
        """Sorted, with touching pieces joined; None where an end has no real value."""
        keyed: list[tuple[float | Value, float | Value, Interval]] = []
        try:
            for piece in pieces:
                low = float("-inf") if piece.low is None else evaluate(without_unit(piece.low), {}, self.budget)
                high = float("inf") if piece.high is None else evaluate(without_unit(piece.high), {}, self.budget)
                if low > high:
                    return None  # (3, -2) is a point
                if low < high or (low == high and piece.low_closed and piece.high_closed):
                    keyed.append((low, high, piece))
        except (UndefinedError, KeyError, TypeError):
            return None
        keyed.sort(key=lambda item: (item[0], not item[2].low_closed))
        merged: list[tuple[float | Value, float | Value, Interval]] = []
        for low, high, piece in keyed:
            if merged:
                before_low, before_high, before = merged[-1]
                if low < before_high or (low == before_high and (piece.low_closed or before.high_closed)):
                    if high > before_high or (high == before_high and piece.high_closed):
                        joined = Interval(before.low, before.low_closed, piece.high, piece.high_closed)
                        merged[-1] = (before_low, high, joined)
                    continue
            merged.append((low, high, piece))
        return tuple(piece for _, _, piece in merged)

    def _same_interval(self, left: Interval, right: Interval) -> bool:
        if (left.low_closed, left.high_closed) != (right.low_closed, right.high_closed):
            return False
        for a, b in ((left.low, right.low), (left.high, right.high)):
            if (a is None) != (b is None) or (a is not None and b is not None and not self.same(a, b)):
                return False
        return True

    def _same_matrix(self, left: Node, right: Node) -> bool:
        first, second = rows_of(left), rows_of(right)
        if first is None or second is None:
            return False
        same_shape = len(first) == len(second) and len(first[0]) == len(second[0])
        if not same_shape and not (is_vector(first) and is_vector(second)):
            return False
        a = [entry for row in first for entry in row]
        b = [entry for row in second for entry in row]
        return self._in_order(a, b)

    def _same_collection(
        self, left: Node, right: Node, left_items: tuple[Node, ...] | None, right_items: tuple[Node, ...] | None
    ) -> bool:
        if is_half_open(left) != is_half_open(right):
            return False
        named = assignments(left_items), assignments(right_items)
        if named[0] or named[1]:
            return self._same_assignments(left_items or (), right_items or (), *named)
        a = self._expanded(left_items if left_items is not None else (left,))
        b = self._expanded(right_items if right_items is not None else (right,))
        if max(len(a), len(b)) > MAX_ITEMS:
            return False
        kinds = {bracket_of(left), bracket_of(right)}
        if self.rules.any_bracket:
            return self._in_order(a, b) if self.rules.ordered else self._in_any_order(a, b, distinct=False)
        if kinds == {"value", "bare"} and left_items is None and self._is_one_value(b):
            b = b[:1]
        if left_items is None or right_items is None:  # one value against a list of one
            return len(a) == len(b) == 1 and kinds <= {"value", "bare", "{", "["} and self.same(a[0], b[0])
        if kinds == {"{", "("} and 1 in (len(a), len(b)):  # a set of one point
            return self._in_order(a if bracket_of(left) == "{" else [left], b if bracket_of(right) == "{" else [right])
        if kinds in ({"bare"}, {"bare", "{"}, {"{"}):
            if self.rules.ordered and "bare" in kinds:
                return self._in_order(a, b)
            return self._in_any_order(a, b, distinct="{" in kinds)
        is_vector = any(isinstance(side, Group) and side.opening == "<" for side in (left, right))
        if "[" in kinds and kinds != {"["} and len(a) == 2 and not is_vector and not self.rules.ordered:
            return False  # a closed interval
        if "{" in kinds:
            return False
        return self._in_order(a, b)

    def _expanded(self, items: Iterable[Node]) -> list[Node]:
        """The items with each ``a \\pm b`` written out, and a common name (``x = 1, x = 2``; ``x = 1, 2``) removed."""
        names = {
            item.operands[0]
            for item in items
            if isinstance(item, Relation) and item.operators == ("=",) and is_label(item.operands[0])
        }
        expanded: list[Node] = []
        for item in items:
            if len(names) == 1 and isinstance(item, Relation) and item.operands[0] in names:
                item = item.operands[1]
            expanded.extend(both_signs(item))
        return expanded

    def _same_assignments(
        self,
        left: tuple[Node, ...],
        right: tuple[Node, ...],
        left_named: dict[Node, Node] | None,
        right_named: dict[Node, Node] | None,
    ) -> bool:
        """``x = 1, y = 2`` against the same in any order, or against a point in the order of the names."""
        if left_named and right_named:
            return left_named.keys() == right_named.keys() and all(
                self.same(value, right_named[name]) for name, value in left_named.items()
            )
        if any(isinstance(item, Relation) for item in (left if right_named else right)):
            return False  # x = 1, x = 2 beside x = 1, y = 2
        a = [left_named[name] for name in sorted(left_named, key=repr)] if left_named else list(left)
        b = [right_named[name] for name in sorted(right_named, key=repr)] if right_named else list(right)
        return self._in_order(a, b)

    def _is_one_value(self, items: list[Node]) -> bool:
        """``3/4 or 0.75``: one value, in different ways of writing it."""
        return len(items) > 1 and all(
            item != items[0] and self.same_quantity(items[0], item) and not free_symbols(item) for item in items[1:]
        )

    def _in_order(self, left: list[Node], right: list[Node]) -> bool:
        return len(left) == len(right) and all(self.same(a, b) for a, b in zip(left, right, strict=True))

    def _in_any_order(self, left: list[Node], right: list[Node], distinct: bool) -> bool:
        if distinct:
            left, right = self._distinct(left), self._distinct(right)
        if len(left) != len(right):
            return False
        rest = list(right)
        for item in left:
            found = next((index for index, other in enumerate(rest) if self.same(item, other)), None)
            if found is None:
                return False
            del rest[found]
        return True

    def _distinct(self, items: list[Node]) -> list[Node]:
        kept: list[Node] = []
        for item in items:
            if not any(self.same(item, other) for other in kept):
                kept.append(item)
        return kept


def _difference(equation: Relation) -> Node:
    return Sum((equation.operands[0], Negative(equation.operands[1])))
