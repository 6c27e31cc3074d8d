"""Equality of two parsed answers, by type. Every rule is a sentence in docs/grading.md.

Dispatch is on what the notation says (interval, set, point, matrix, equation, quantity, number), never on a loose match
of the text; where notation leaves a choice (whether order matters), the rules decide. Numbers and expressions are
compared exactly where both are rational, else to many digits at points.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from fractions import Fraction

from dart_tasks.grading.compare.calculus import is_calculus
from dart_tasks.grading.compare.evaluate import (
    Budget,
    UndefinedError,
    Value,
    agree,
    context_of,
    evaluate,
    exact,
    point,
)
from dart_tasks.grading.compare.families import PARAMETERS, same_families
from dart_tasks.grading.compare.points import agree_everywhere, same_value_exactly
from dart_tasks.grading.compare.regions import FLIPPED, Interval, canonical, intervals
from dart_tasks.grading.compare.shapes import (
    as_vector,
    assignments,
    both_signs,
    bracket_of,
    is_half_open,
    is_infinite,
    is_label,
    is_label_only_chain,
    is_named_value,
    is_region,
    is_solved,
    is_vector,
    is_worded,
    items_of,
    kind_of_name,
    noncommuting_names,
    numbered,
    renamings,
    rows_of,
    same_name,
    unwrapped,
    value_and_unit,
    variable_of,
    with_parameters,
    without_condition,
    without_letter,
    without_name,
    without_unit,
)
from dart_tasks.grading.parse.tree import (
    OPAQUE,
    Based,
    Builder,
    Call,
    Constant,
    Group,
    Matrix,
    Negative,
    Node,
    Number,
    Product,
    Quantity,
    Quotient,
    Relation,
    Sequence,
    SetOperation,
    Sum,
    Symbol,
    free_symbols,
    renamed,
    walk,
)
from dart_tasks.grading.parse.units import canonical_unit, contradict, conversion
from dart_tasks.grading.policy import Rules
from dart_tasks.grading.question import asked_of, asked_words, mentions

__all__ = ["same", "unlabelled"]

MAX_ITEMS = 200
OTHERWISE = Symbol("otherwise")
SIGNIFICANT_DIGITS = 6  # a decimal stands for an exact value only from this many on


def same(reference: Node, answer: Node, rules: Rules, budget: Budget) -> bool:
    """Whether the two trees denote the same answer. May raise UndefinedError when the budget is exhausted."""
    value = unlabelled(reference, answer, rules, budget)
    return value is not None and _Comparison(rules, budget).same(reference, value)


def unlabelled(reference: Node, answer: Node, rules: Rules, budget: Budget) -> Node | None:
    """The answer without the name that the question asks for; None where it names another quantity of the question."""
    return _Comparison(rules, budget).without_asked(answer, reference) if rules.asked else answer


class _Comparison:
    """Compares two trees under the rules, within a budget."""

    def __init__(self, rules: Rules, budget: Budget) -> None:
        self.rules = rules
        self.budget = budget

    def without_asked(self, answer: Node, reference: Node) -> Node | None:
        """``m + n = 7`` as 7 where m + n is asked for; None where the answer names another quantity of the question."""
        asked = self.rules.asked
        if isinstance(answer, Relation) and set(answer.operators) <= {"=", "~"}:
            first, *rest = answer.operands
            if self._is_asked(first):
                rest = _without_formulas(rest)
                return rest[0] if len(rest) == 1 else Relation(tuple(rest), answer.operators[-len(rest) + 1 :])
            if len(rest) == 1 and self._is_asked(rest[0]):
                return first
            if isinstance(first, Group) and isinstance(rest[0], Group):  # (y, x) = (1, 2)
                return self._in_asked_order(dict(zip(first.items, rest[0].items, strict=False))) or answer
            has_other_name = not is_label(first) and bool(free_symbols(first) or is_calculus(first))
            is_value = has_other_name and not isinstance(reference, Relation)
            return None if is_value or self._names_another(first, rest[0], reference) else answer
        stated = [item for item in items_of(answer) or () if isinstance(item, Relation) and item.operators == ("=",)]
        if len(asked) == 1 and items_of(reference) is None and len(stated) == len(items_of(answer) or ()):
            values = [item.operands[1] for item in stated if self._is_asked(item.operands[0])]
            if len(values) == 1:  # p = 4, q = 7, p + q = 11
                return values[0]
        named = assignments(items_of(answer))
        if named is None or assignments(items_of(reference)):
            return answer
        return self._in_asked_order(named) or answer

    def _in_asked_order(self, named: dict[Node, Node]) -> Node | None:
        """The values in the order in which the question asks for their names."""
        asked = self.rules.asked
        names = asked[0].items if len(asked) == 1 and isinstance(asked[0], Group) else asked
        return Group("(", tuple(named[name] for name in names), ")") if set(names) == named.keys() else None

    def _is_asked(self, node: Node) -> bool:
        if isinstance(node, Call) and node.name == "abs" and isinstance(node.arguments[0], Product):  # |AB|
            node = node.arguments[0] if is_label(node.arguments[0]) else node
        names = free_symbols(node)
        return any(
            node == asked
            or (isinstance(node, Symbol) and isinstance(asked, Symbol) and same_name(node, asked))
            or (isinstance(node, Call) and is_label(node) and kind_of_name(node) == kind_of_name(asked))
            or (bool(names) and names == free_symbols(asked) and self.same_quantity(asked, node))
            for asked in self.rules.asked
        )

    def _names_another(self, label: Node, value: Node, reference: Node) -> bool:
        """Whether a label is of another quantity than the one that the question asks for."""
        kind = kind_of_name(label)
        for asked in self.rules.asked:
            own = kind_of_name(asked)
            if kind and own and kind[0] == own[0]:
                return kind != own  # a_4 where a_5 is asked for
            if isinstance(value, Group) and isinstance(asked, Symbol) and asked.name.isupper():
                return isinstance(label, Symbol) and label.name.isupper()  # Q = (1, 2) where P is asked for
        if isinstance(label, Symbol) and any(
            text.startswith(f"{label.name}(") for text in asked_of(self.rules.question)
        ):
            return False  # P = 1/3 where P(S = 8) is asked for
        if not isinstance(label, Symbol) or label.name in ("x", "y") or label.name in free_symbols(reference):
            return False
        return label.name in free_symbols(*self.rules.asked) or mentions(self.rules.question, label.name)

    def same(self, left: Node, right: Node) -> bool:
        self.budget.spend()
        if isinstance(left, Number) and isinstance(right, Number):  # most pairs
            return self._same_value(left, right)
        if left == right:
            return True
        labels = [side.operands[0] for side in (left, right) if isinstance(side, Relation) and is_worded(side)]
        if len(labels) == 2 and not same_name(*labels):
            return False  # increasing on (0, 1), decreasing on (0, 1)
        left, right = unwrapped(left), unwrapped(right)
        left, right = without_condition(left, right), without_condition(right, left)
        left, right = as_vector(left, right), as_vector(right, left)
        if isinstance(left, Builder) and isinstance(right, Builder) and not isinstance(left.element, Symbol | Relation):
            return self._same_builders(left, right)
        families = same_families(left, right, self.budget)
        if families is not None:
            return families
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

    def _same_builders(self, left: Builder, right: Builder) -> bool:
        """``\\{3n \\mid n \\in \\mathbb{Z}\\}``, whatever the letter."""
        first, second = free_symbols(left.element), free_symbols(right.element)
        names = dict(zip(second, first, strict=False)) if len(first) == len(second) == 1 else {}
        pairs = zip((left.element, *left.conditions), (right.element, *right.conditions), strict=True)
        return len(left.conditions) == len(right.conditions) and all(self.same(a, renamed(b, names)) for a, b in pairs)

    def _same_relation(self, left: Node, right: Node) -> bool:
        left_items, right_items = items_of(left), items_of(right)
        if left_items is not None or right_items is not None:
            return self._same_collection(left, right, left_items, right_items)
        left_name, left_values = self._definition(left)
        right_name, right_values = self._definition(right)
        left_values, right_values = _stated(left_values, right), _stated(right_values, left)
        if left_values and right_values:
            if _gives_another(left, right):
                return False
            if left_name is not None and right_name is not None and not same_name(left_name, right_name):
                return isinstance(left, Relation) and isinstance(right, Relation) and self._same_equation(left, right)
            if isinstance(left_name, Call) and isinstance(right_name, Call):
                right_values = tuple(with_parameters(value, right_name, left_name) for value in right_values)
            elif isinstance(right_name, Call) and right_name.arguments[1:] == (Symbol("t"),):
                names = {"t": "x"} if free_symbols(*left_values) == {"x"} else {}  # y(t) = 2t is y = 2x
                right_values = tuple(renamed(value, names) for value in right_values)
            return any(self.same(a, b) for a in left_values for b in right_values)
        if isinstance(left, Relation) and isinstance(right, Relation):
            if all(side.operators in (("<",), (">",), ("<=",), (">=",)) for side in (left, right)):
                return self._same_inequality(left, right)
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
        is_chance = isinstance(first, Product) and isinstance(first.factors[-1], Relation)  # P(sum >= 10)
        if (is_chance or is_label(first) or is_named_value(first)) and not is_label_only_chain(node):
            values = tuple(_without_formulas(rest))
            return first, self._chain(values, node.operators[len(node.operators) - len(values) + 1 :])
        if is_label(node.operands[-1]) and len(node.operands) == 2 and not free_symbols(first):
            return node.operands[-1], (first,)
        values = self._chain(node.operands, node.operators)
        return (None, values) if values else (None, ())

    def _chain(self, values: tuple[Node, ...], operators: tuple[str, ...]) -> tuple[Node, ...]:
        """The values that a chain of equals may stand for: its ends, if its links hold (roughly, for ``\\approx``)."""
        if len(values) == 1:
            return values
        for before, after, operator in zip(values, values[1:], operators, strict=False):
            is_given = is_calculus(before)  # the question's limit or integral, with the value that it is given
            is_same = is_given or self._rounds_to(before, after)
            is_same = is_same or (self.same_quantity if operator == "=" else self._roughly)(before, after)
            if not is_same:
                return ()
        *others, last = values
        if set(operators) == {"="} and value_and_unit(last)[1] not in ("", "%"):  # 900/20 = 45 cm is no 45
            others = [value for value in others if value_and_unit(value)[1]]
        return (last, *others)

    def _roughly(self, left: Node, right: Node) -> bool:
        """Within a twentieth, where neither is a decimal: \\pi \\approx 22/7."""
        if any(_literal(side) is not None for side in (left, right)):
            return False
        try:
            a, b = (evaluate(without_unit(node), {}, self.budget) for node in (left, right))
            return bool(abs(a - b) * 20 <= abs(a))
        except UndefinedError:
            return False

    def _rounds_to(self, left: Node, right: Node) -> bool:
        """Whether a decimal at one end is the other end rounded or cut to its places."""
        literals = [literal for side in (left, right) if (literal := _literal(side)) is not None]
        try:
            a, b = (evaluate(without_unit(node), {}, self.budget) for node in (left, right))
            return any(abs(a - b) < context_of().mpf(10) ** -(literal.places or 0) for literal in literals)
        except UndefinedError:
            return False

    def _same_equation(self, left: Relation, right: Relation) -> bool:
        """Equal as conditions: sides swapped, or one a constant multiple of the other."""
        if left.operators != right.operators:
            return False
        if all(self.same(a, b) for a, b in zip(left.operands, right.operands, strict=True)):
            return True
        if left.operators != ("=",) or free_symbols(left) != free_symbols(right) or not free_symbols(left):
            return False
        return self._are_multiples(left, right)

    def _are_multiples(self, left: Relation, right: Relation) -> bool:
        try:
            return agree_everywhere(_difference(left), _difference(right), self.budget, "a factor")
        except UndefinedError:
            return False

    def _same_inequality(self, left: Relation, right: Relation) -> bool:
        """Equal as conditions: one a constant multiple of the other, turned round where the factor is negative."""
        if free_symbols(left) != free_symbols(right) or not self._are_multiples(left, right):
            return False
        values = {name: point(name, 0) for name in free_symbols(left)}
        try:
            ratio = evaluate(_difference(left), values, self.budget) / evaluate(_difference(right), values, self.budget)
        except (UndefinedError, ZeroDivisionError):
            return False
        return left.operators[0] == (right.operators[0] if ratio.real > 0 else FLIPPED[right.operators[0]])

    def _same_region(self, left: Node, right: Node) -> bool | None:
        """None where a side is no region after all."""
        if any(isinstance(side, Group) and len(side.items) == 1 and side.opening == "[" for side in (left, right)):
            return False
        if all(
            isinstance(side, Relation) and len(free_symbols(side)) > 1 == len(side.operators) for side in (left, right)
        ):
            return None  # x < y
        if self._same_operands(left, right):
            return True
        first, second = intervals(without_name(left)), intervals(without_name(right))
        if first is None or second is None:
            return None
        names = {variable_of(left), variable_of(right)} - {None}
        if len({str(name).lower() for name in names}) > 1:
            return False  # y > 6 where x > 6 is meant
        a, b = canonical(left, first, self.budget), canonical(right, second, self.budget)
        return len(a) == len(b) and all(self._same_interval(x, y) for x, y in zip(a, b, strict=True))

    def _same_operands(self, left: Node, right: Node) -> bool:
        """``A \\cup B`` in any order."""
        if not (
            isinstance(left, SetOperation) and isinstance(right, SetOperation) and left.operators == right.operators
        ):
            return False
        commutes = len(set(left.operators)) == 1 and "minus" not in left.operators
        return commutes and self._in_any_order(list(left.operands), list(right.operands), distinct=False)

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
        if all(len(row) == 2 and _is_condition(row[1]) for row in (*first, *second)):
            return self._same_pieces(first, second)
        a = [entry for row in first for entry in row]
        b = [entry for row in second for entry in row]
        return self._in_order(a, b)

    def _same_pieces(self, left: tuple[tuple[Node, ...], ...], right: tuple[tuple[Node, ...], ...]) -> bool:
        """A definition by cases, in any order; "otherwise" is the condition that is left."""
        rest = sorted(right, key=lambda piece: piece[1] == OTHERWISE)
        for value, condition in sorted(left, key=lambda piece: piece[1] == OTHERWISE):
            for piece in rest:
                is_rest = OTHERWISE in (condition, piece[1])
                if self.same(value, piece[0]) and (is_rest or self.same(condition, piece[1])):
                    rest.remove(piece)
                    break
            else:
                return False
        return not rest

    def _same_collection(
        self, left: Node, right: Node, left_items: tuple[Node, ...] | None, right_items: tuple[Node, ...] | None
    ) -> bool:
        if is_half_open(left) != is_half_open(right):
            return False
        left_items, right_items = numbered(left_items, right), numbered(right_items, left)
        named = assignments(left_items), assignments(right_items)
        if named[0] or named[1]:
            return self._same_assignments(left_items or (), right_items or (), *named)
        (left_name, a), (right_name, b) = (
            self._expanded(items if items is not None else (side,))
            for side, items in ((left, left_items), (right, right_items))
        )
        if left_name is not None and right_name is not None and not same_name(left_name, right_name):
            return False
        if (left_name is None) != (right_name is None) and any(
            isinstance(item, Relation) for item in (a if left_name is None else b)
        ):  # y = 1 - x beside x + y = 1
            a, b = list(left_items or (left,)), list(right_items or (right,))
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
        units = [[value_and_unit(item)[1] for item in items] for items in (a, b)]
        if all(units[0]) and len(set(units[0])) == len(a) > 1 and sorted(units[0]) == sorted(units[1]):
            return self._in_order(a, [b[units[1].index(unit)] for unit in units[0]])  # 3 red, 2 blue
        if _is_set_of_sets(left_items) != _is_set_of_sets(right_items):
            return False
        if kinds == {"bare", "("} and any(
            name is not None and sum(isinstance(item, Relation) for item in items) > 1
            for name, items in ((left_name, left_items), (right_name, right_items))
        ):
            return False  # x = 0 or x = 3 beside (0, 3)
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

    def _expanded(self, items: Iterable[Node]) -> tuple[Node | None, list[Node]]:
        """A common name (``x = 1, x = 2``; ``x = 1, 2``), and the items without it, each ``a \\pm b`` written out."""
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
        return names.pop() if len(names) == 1 else None, expanded

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
        named, values = (left_named, right) if left_named else (right_named or {}, left)
        if in_order := self._in_worded_order(named):
            return self._in_order(in_order, list(values))
        if any(is_worded(item) for item in (*left, *right)):
            return self._in_any_order(list(left), list(right), distinct=False)
        if any(isinstance(item, Relation) for item in (left if right_named else right)):
            return False  # x = 1, x = 2 beside x = 1, y = 2
        a, b = (
            _by_name(named) if named else list(items) for named, items in ((left_named, left), (right_named, right))
        )
        return self._in_order(a, b)

    def _in_worded_order(self, named: dict[Node, Node]) -> list[Node] | None:
        """``P = 26, A = 40`` and "area 40, perimeter 26" as 26, 40, where the question asks for perimeter and area."""
        called = [
            [value for name, value in named.items() if isinstance(name, Symbol) and _is_called(name, word)]
            for word in asked_words(self.rules.question)
        ]
        is_each = len(called) == len(named) and all(len(values) == 1 for values in called)
        return [values[0] for values in called] if is_each else None

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

    # -- quantities, numbers and expressions

    def same_quantity(self, left: Node, right: Node) -> bool:
        if isinstance(left, Based) or isinstance(right, Based):
            return _same_based(left, right, self.rules.bases)
        if isinstance(right, Product):
            right = self._measured(left, right)
        (a, left_unit), (b, right_unit) = value_and_unit(left), value_and_unit(right)
        a, b = without_letter(a, right_unit), without_letter(b, left_unit)
        if "%" in (left_unit, right_unit) and left_unit != right_unit:
            if left_unit and right_unit and contradict(left_unit, right_unit):
                return False
            if self.rules.percent and self._same_value(a, b):
                return True
            a = Quotient(a, Number(Fraction(100))) if left_unit == "%" else a
            b = Quotient(b, Number(Fraction(100))) if right_unit == "%" else b
            return self._same_value(a, b)
        if left_unit.startswith("mod ") and not right_unit:
            b = self._residue(b, left_unit) or b
        if right_unit.startswith("mod ") and not left_unit:
            a = self._residue(a, right_unit) or a
        if (congruent := _congruent(exact(a), left_unit, exact(b), right_unit)) is not None:
            return congruent
        if self.rules.unit and not left_unit and (size := conversion(right_unit, self.rules.unit)) is not None:
            return self._same_value(a, Product((b, Number(size))) if size != 1 else b)
        if left_unit != right_unit and (size := conversion(left_unit, right_unit)) is not None:
            return self._same_value(Product((a, Number(size))), b)
        if {left_unit, right_unit} in ({"degree", ""}, {"degree", "radian"}) and any(
            part == Constant("pi") or (isinstance(part, Call) and part.name.startswith("arc"))
            for part in walk(Sum((a, b)))
        ):
            half_turn = Quotient(Constant("pi"), Number(Fraction(180)))
            a, b = (Product((v, half_turn)) if unit == "degree" else v for v, unit in ((a, left_unit), (b, right_unit)))
            return self._same_value(a, b)
        if left_unit != right_unit and left_unit and right_unit and contradict(left_unit, right_unit):
            return False
        return self._same_value(a, b)

    def _measured(self, reference: Node, answer: Product) -> Node:
        """``540m`` as a length and no product, if its letter is not in the question nor in the reference."""
        match answer.factors:
            case (Number() as number, Symbol(name="m" | "g" | "s" | "h" | "L" as letter)) if self.rules.question:
                is_name = re.search(rf"(?<![A-Za-z\\'’]){letter}(?![A-Za-z])", self.rules.question)
                return answer if is_name or free_symbols(reference) else Quantity(number, canonical_unit([letter]))
            case _:
                return answer

    def _residue(self, node: Node, unit: str) -> Node | None:
        """``7k + 3`` as its residue 3; None where it is no class modulo this."""
        names, modulus = free_symbols(node), int(unit[4:])
        if len(names) != 1 or not names <= PARAMETERS:
            return None
        (name,) = names
        first, second, third = (exact(node, {name: Fraction(k)}) for k in range(3))
        if first is None or second is None or third is None or third - second != second - first:
            return None
        return Number(first % modulus) if abs(second - first) == modulus and first.denominator == 1 else None

    def _same_value(self, left: Node, right: Node) -> bool:
        if is_infinite(left) or is_infinite(right):
            return is_infinite(left) == is_infinite(right)
        a, b = exact(left), exact(right)
        if b is not None and self._rounds_as_ordered(left, a, b):
            return True
        if a is not None and b is not None:
            return a == b or self._within(a, b) or _rounds(left, b) or _rounds(right, a)
        if not free_symbols(left, right):
            return self._same_constant(left, right)
        return self._same_expression(left, right)

    def _within(self, reference: Fraction, answer: Fraction) -> bool:
        difference = abs(reference - answer)
        if self.rules.absolute is not None:
            return difference <= self.rules.absolute
        return self.rules.relative is not None and difference <= self.rules.relative * abs(reference)

    def _rounds_as_ordered(self, left: Node, reference: Fraction | None, answer: Fraction) -> bool:
        """Whether the answer is the reference rounded to the places or digits that the question orders."""
        places, digits = self.rules.places, self.rules.digits
        if (places is None and digits is None) or free_symbols(left):
            return False
        if reference is None:
            try:
                value = evaluate(left, {}, self.budget)
            except UndefinedError:
                return False
            if value.imag:
                return False
            reference = _as_fraction(value.real)
        if places is None:
            places = (digits or 1) - 1 - (_order(abs(reference)) if reference else 0)
        return answer == _rounded(reference, places)

    def _same_constant(self, left: Node, right: Node) -> bool:
        try:
            a, b = evaluate(left, {}, self.budget), evaluate(right, {}, self.budget)
            if agree(a, b):
                return same_value_exactly(left, right, a, self.budget)
        except UndefinedError:
            return False
        if a.imag or b.imag:
            return False
        first, second = _as_fraction(a.real), _as_fraction(b.real)
        return self._within(first, second) or _rounds(left, second) or _rounds(right, first)

    def _same_expression(self, left: Node, right: Node) -> bool:
        if self.rules.noncommuting & free_symbols(left, right) or noncommuting_names(left, right):
            return False  # the values of products tell nothing of their order: that is left to computer algebra
        try:
            return (
                agree_everywhere(left, right, self.budget)
                or any(agree_everywhere(left, renamed, self.budget) for renamed in renamings(left, right))
                or any(agree_everywhere(renamed, right, self.budget) for renamed in renamings(right, left))
                or self._same_antiderivative(left, right)
            )
        except UndefinedError:
            return False

    def _same_antiderivative(self, left: Node, right: Node) -> bool:
        """Both end in a constant of integration, and they differ by a number that neither writes beside it."""
        first, second = _without_constant(left), _without_constant(right)
        return first is not None and second is not None and agree_everywhere(first, second, self.budget, "a term")


def _without_formulas(sides: list[Node]) -> list[Node]:
    """``2A/b = 168/14 = 12`` from its first constant on, where all that follow are constants."""
    start = next((index for index, side in enumerate(sides) if not free_symbols(side)), 0)
    return sides if free_symbols(*sides[start:]) else sides[start:]


def _is_called(name: Symbol, word: str) -> bool:
    """Whether a name is this word, has it, or is its first letter."""
    label = name.name.removeprefix(OPAQUE)
    return word in label.split() if label != name.name else label.lower() == word[0]


def _is_condition(node: Node) -> bool:
    """Whether an entry says where a value of a definition by cases holds."""
    parts = node.items if isinstance(node, Sequence) else (node,)
    return node == OTHERWISE or all(isinstance(part, Relation) for part in parts)


def _stated(values: tuple[Node, ...], other: Node) -> tuple[Node, ...]:
    """The values without the limit or integral that has them, unless the other side is no more than that."""
    is_it = is_calculus(other) and not isinstance(other, Relation)
    return values if is_it else tuple(value for value in values if not is_calculus(value)) or values


def _gives_another(left: Node, right: Node) -> bool:
    """``\\int_0^1 f(x)\\,dx = 3`` beside the same of another integral, of a function that is not known."""
    given = [side.operands[0] for side in (left, right) if isinstance(side, Relation)]
    is_unknown = (
        len(given) == 2
        and all(map(is_calculus, given))
        and any(
            bool(free_symbols(side)) or any(isinstance(part, Call) and part.name == "apply" for part in walk(side))
            for side in given
        )
    )
    return is_unknown and given[0] != given[1]


def _is_set_of_sets(items: tuple[Node, ...]) -> bool:
    return any(isinstance(item, Group) and item.opening == "{" for item in items)


def _literal(node: Node) -> Number | None:
    """A number as written, without its sign and unit."""
    node = without_unit(node)
    node = node.argument if isinstance(node, Negative) else node
    return node if isinstance(node, Number) and node.places is not None else None


def _by_name(named: dict[Node, Node]) -> list[Node]:
    """The values in the order of their names; as written where names are of several kinds (an angle and f(2))."""
    names = list(named) if len(set(map(type, named))) > 1 else sorted(named, key=repr)
    return [named[name] for name in names]


def _difference(equation: Relation) -> Node:
    return Sum((equation.operands[0], Negative(equation.operands[1])))


def _same_based(left: Node, right: Node, bases: frozenset[int] | None) -> bool:
    """Numerals in the same base, or one without its base written: the digits decide.

    The answer on the right may carry a base that the reference lacks only if it is one of ``bases``.
    """
    if isinstance(left, Based) and isinstance(right, Based):
        return left.base == right.base and left.numeral.lstrip("0") == right.numeral.lstrip("0")
    based, other = (left, right) if isinstance(left, Based) else (right, left)
    value = exact(other)
    return (
        isinstance(based, Based)
        and (based is left or bases is None or based.base in bases)
        and value is not None
        and value.denominator == 1
        and str(value.numerator) == based.numeral.lstrip("0")
    )


def _congruent(left: Fraction | None, left_unit: str, right: Fraction | None, right_unit: str) -> bool | None:
    """``10 \\pmod 7`` beside ``3`` or ``-4 \\pmod 7``; a number alone is to be the least residue. None: no residues."""
    moduli = {unit for unit in (left_unit, right_unit) if unit.startswith("mod ")}
    if len(moduli) != 1 or left is None or right is None or not {left_unit, right_unit} <= {*moduli, ""}:
        return None
    modulus = int(moduli.pop()[4:])
    is_least = all(unit or 0 <= value < modulus for value, unit in ((left, left_unit), (right, right_unit)))
    return left == right or (modulus > 0 and is_least and (left - right) % modulus == 0)


def _rounds(decimal: Node, value: Fraction) -> bool:
    """Whether a literal decimal of enough digits is ``value`` rounded or cut to its places."""
    sign = 1
    while isinstance(decimal, Negative):
        decimal, sign = decimal.argument, -sign
    if not isinstance(decimal, Number) or decimal.places is None or decimal.digits < SIGNIFICANT_DIGITS:
        return False
    unit = Fraction(1, 10**decimal.places) if decimal.places >= 0 else Fraction(10**-decimal.places)
    difference = value * sign - decimal.value
    return abs(difference) <= unit / 2 or 0 <= difference * (1 if decimal.value >= 0 else -1) < unit


def _order(size: Fraction) -> int:
    """The power of ten of its first digit."""
    order = int((size.numerator.bit_length() - size.denominator.bit_length()) * 0.30103)
    while size < Fraction(10) ** order:
        order -= 1
    while size >= Fraction(10) ** (order + 1):
        order += 1
    return order


def _rounded(value: Fraction, places: int) -> Fraction:
    """Half away from zero, as in school."""
    size = abs(value) * Fraction(10) ** places
    return Fraction(math.floor(size + Fraction(1, 2))) / Fraction(10) ** places * (1 if value > 0 else -1)


def _as_fraction(value: Value) -> Fraction:
    sign, mantissa, exponent = value._mpf_[:3]
    if abs(exponent) > 5_000:
        raise UndefinedError("too large")
    magnitude = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return -magnitude if sign else magnitude


def _without_constant(node: Node) -> Node | None:
    """A sum without its constant of integration; None if it has none, or has a number beside it."""
    if not isinstance(node, Sum):
        return None
    rest = tuple(term for term in node.terms if not (isinstance(term, Symbol) and term.name in ("C", "c", "K")))
    has_number = any(exact(term) is not None for term in rest)
    return Sum(rest) if len(rest) == len(node.terms) - 1 and not has_number else None
