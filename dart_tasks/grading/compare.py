"""Equality of two parsed answers, by type. Every rule is a sentence in docs/grading.md.

Dispatch is on what the notation says (interval, set, point, matrix, equation, quantity, number), never on a loose match
of the text; where notation leaves a choice (whether order matters), the benchmark's policy and the question decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from dart_tasks.grading.nodes import (
    Based,
    Call,
    Constant,
    Group,
    Matrix,
    Negative,
    Node,
    Number,
    PlusMinus,
    Product,
    Quantity,
    Quotient,
    Relation,
    Sequence,
    Sum,
    Symbol,
    rebuilt,
    walk,
)
from dart_tasks.grading.numeric import (
    Budget,
    UndefinedError,
    Value,
    evaluate,
    exact,
    free_symbols,
    integer,
    is_discrete,
    is_rounded,
    point,
)
from dart_tasks.grading.read import OPAQUE
from dart_tasks.grading.renaming import renamed, renamings
from dart_tasks.grading.sets import Interval, intervals, is_infinite, is_region
from dart_tasks.grading.units import conversion, known_unit

__all__ = ["Rules", "same"]

MAX_ITEMS = 200
AGREEMENT = 30  # digits to which equal expressions agree
POINTS = 5
SMALL = 33  # floors of one variable are compared up to here
SIGNIFICANT_DIGITS = 6  # a decimal stands for an exact value only from this many on


@dataclass(frozen=True, slots=True)
class Rules:
    """How strictly values are compared.

    Attributes:
        ordered: items of a bare list are compared in order.
        any_bracket: a list may be written in any brackets or none (lists of DeepMind-Mathematics and TheoremQA).
        absolute: numbers may differ by this much (OlympiadBench's ``error``).
        relative: numbers may differ by this fraction of the reference (TheoremQA).
        percent: the question asks for a percentage, so 20 and 20% are the same.
        base: the question speaks of a base, so an answer may carry one that the reference leaves out.
        choices: the question lists choices, so a lone small letter is one of them.
    """

    ordered: bool = False
    any_bracket: bool = False
    absolute: Fraction | None = None
    relative: Fraction | None = None
    percent: bool = False
    base: bool = True
    choices: bool = False


def same(reference: Node, answer: Node, rules: Rules, budget: Budget) -> bool:
    """Whether the two trees denote the same answer. May raise UndefinedError when the budget is exhausted."""
    return _Comparison(rules, budget).same(reference, answer)


class _Comparison:
    def __init__(self, rules: Rules, budget: Budget) -> None:
        self.rules = rules
        self.budget = budget

    # -- dispatch -------------------------------------------------------------------------------------------------

    def same(self, left: Node, right: Node) -> bool:
        self.budget.spend()
        if left == right:
            return True
        left, right = _unwrapped(left), _unwrapped(right)
        left, right = _without_condition(left, right), _without_condition(right, left)
        left, right = _as_vector(left, right), _as_vector(right, left)
        if is_region(left) or is_region(right):
            verdict = self._same_region(left, right)
            if verdict is not None:
                return verdict
        if isinstance(left, Relation) or isinstance(right, Relation):
            return self._same_relation(left, right)
        if isinstance(left, Matrix) or isinstance(right, Matrix):
            return self._same_matrix(left, right)
        left_items, right_items = _items(left), _items(right)
        if left_items is not None or right_items is not None:
            return self._same_collection(left, right, left_items, right_items)
        return self._same_quantity(left, right)

    # -- relations ------------------------------------------------------------------------------------------------

    def _same_relation(self, left: Node, right: Node) -> bool:
        left_items, right_items = _items(left), _items(right)
        if left_items is not None or right_items is not None:
            return self._same_collection(left, right, left_items, right_items)
        left_name, left_values = self._definition(left)
        right_name, right_values = self._definition(right)
        if left_values and right_values:
            if left_name is not None and right_name is not None and not _same_name(left_name, right_name):
                return isinstance(left, Relation) and isinstance(right, Relation) and self._same_equation(left, right)
            if isinstance(left_name, Call) and isinstance(right_name, Call):
                right_values = tuple(_with_parameters(value, right_name, left_name) for value in right_values)
            return any(self.same(a, b) for a in left_values for b in right_values)
        if isinstance(left, Relation) and isinstance(right, Relation):
            return _is_solved(left) == _is_solved(right) and self._same_equation(left, right)
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
            if node.operators == ("->",) and _is_label(node.operands[0]):
                return node.operands[0], (node.operands[1],)
            return None, ()
        first, *rest = node.operands
        if _is_label(first) and not _is_label_only_chain(node):
            return first, self._chain(tuple(rest), node.operators[1:])
        if _is_label(node.operands[-1]) and len(node.operands) == 2 and not free_symbols(first):
            return node.operands[-1], (first,)
        values = self._chain(node.operands, node.operators)
        return (None, values) if values else (None, ())

    def _chain(self, values: tuple[Node, ...], operators: tuple[str, ...]) -> tuple[Node, ...]:
        """The values that a chain of equals may stand for: its ends, if its links hold (roughly, for ``\\approx``)."""
        if len(values) == 1:
            return values
        for before, after, operator in zip(values, values[1:], operators, strict=False):
            if operator == "=" and not (
                self._same_quantity(before, after) or self._roughly(before, after, Fraction(1, 1000))
            ):
                return ()
            if operator == "~" and not self._roughly(before, after, Fraction(1, 20)):
                return ()
        return (values[-1], *values[:-1])

    def _roughly(self, left: Node, right: Node, share: Fraction) -> bool:
        try:
            a, b = (evaluate(_bare(node), {}, self.budget) for node in (left, right))
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
            ratios = [
                self._at(_difference(left), names) / self._at(_difference(right), names)
                for names in self._points(left, right)
            ]
        except (UndefinedError, ZeroDivisionError):
            return False
        return bool(abs(ratios[0]) > 1e-30) and all(self._agree(ratio, ratios[0]) for ratio in ratios[1:])

    # -- regions, matrices, collections ---------------------------------------------------------------------------

    def _same_region(self, left: Node, right: Node) -> bool | None:
        """None where a side is no region after all."""
        if any(isinstance(side, Group) and len(side.items) == 1 and side.opening == "[" for side in (left, right)):
            return False
        first, second = intervals(_without_name(left)), intervals(_without_name(right))
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
            overlapping = evaluate(_bare(above.low), {}, self.budget) < evaluate(_bare(below.high), {}, self.budget)
        except (UndefinedError, KeyError, TypeError):
            return pieces
        return (Interval(above.low, above.low_closed, below.high, below.high_closed),) if overlapping else pieces

    def _merged(self, pieces: tuple[Interval, ...]) -> tuple[Interval, ...] | None:
        """Sorted, with touching pieces joined; None where an end has no real value."""
        keyed: list[tuple[float | Value, float | Value, Interval]] = []
        try:
            for piece in pieces:
                low = float("-inf") if piece.low is None else evaluate(_bare(piece.low), {}, self.budget)
                high = float("inf") if piece.high is None else evaluate(_bare(piece.high), {}, self.budget)
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
        first, second = _rows(left), _rows(right)
        if first is None or second is None:
            return False
        same_shape = len(first) == len(second) and len(first[0]) == len(second[0])
        if not same_shape and not (_is_vector(first) and _is_vector(second)):
            return False
        a = [entry for row in first for entry in row]
        b = [entry for row in second for entry in row]
        return self._in_order(a, b)

    def _same_collection(
        self, left: Node, right: Node, left_items: tuple[Node, ...] | None, right_items: tuple[Node, ...] | None
    ) -> bool:
        if _is_half_open(left) != _is_half_open(right):
            return False
        named = _assignments(left_items), _assignments(right_items)
        if named[0] or named[1]:
            return self._same_assignments(left_items or (), right_items or (), *named)
        a = self._expanded(left_items if left_items is not None else (left,))
        b = self._expanded(right_items if right_items is not None else (right,))
        if max(len(a), len(b)) > MAX_ITEMS:
            return False
        kinds = {_kind(left), _kind(right)}
        if self.rules.any_bracket:
            return self._in_order(a, b) if self.rules.ordered else self._in_any_order(a, b, distinct=False)
        if kinds == {"value", "bare"} and left_items is None and self._is_one_value(b):
            b = b[:1]
        if left_items is None or right_items is None:  # one value against a list of one
            return len(a) == len(b) == 1 and kinds <= {"value", "bare", "{", "["} and self.same(a[0], b[0])
        if kinds == {"{", "("} and 1 in (len(a), len(b)):  # a set of one point
            return self._in_order(a if _kind(left) == "{" else [left], b if _kind(right) == "{" else [right])
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
            if isinstance(item, Relation) and item.operators == ("=",) and _is_label(item.operands[0])
        }
        expanded: list[Node] = []
        for item in items:
            if len(names) == 1 and isinstance(item, Relation) and item.operands[0] in names:
                item = item.operands[1]
            expanded.extend(_both_signs(item))
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
            item != items[0] and self._same_quantity(items[0], item) and not free_symbols(item) for item in items[1:]
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

    # -- numbers and expressions ----------------------------------------------------------------------------------

    def _same_quantity(self, left: Node, right: Node) -> bool:
        if isinstance(left, Based) or isinstance(right, Based):
            return _same_based(left, right, self.rules.base)
        (a, left_unit), (b, right_unit) = _split(left), _split(right)
        if "%" in (left_unit, right_unit) and left_unit != right_unit:
            if self.rules.percent and self._same_value(a, b):
                return True
            a = Quotient(a, Number(Fraction(100))) if left_unit == "%" else a
            b = Quotient(b, Number(Fraction(100))) if right_unit == "%" else b
            return self._same_value(a, b)
        if left_unit != right_unit and (size := conversion(left_unit, right_unit)) is not None:
            return self._same_value(Product((a, Number(size))), b)
        if {left_unit, right_unit} in ({"degree", ""}, {"degree", "radian"}) and any(
            part == Constant("pi") for part in walk(Sum((a, b)))
        ):
            half_turn = Quotient(Constant("pi"), Number(Fraction(180)))
            a, b = (Product((v, half_turn)) if unit == "degree" else v for v, unit in ((a, left_unit), (b, right_unit)))
            return self._same_value(a, b)
        if left_unit != right_unit and left_unit and right_unit and known_unit(left_unit) and known_unit(right_unit):
            return False
        return self._same_value(a, b)

    def _same_value(self, left: Node, right: Node) -> bool:
        if is_infinite(left) or is_infinite(right):
            return is_infinite(left) == is_infinite(right)
        a, b = exact(left), exact(right)
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

    def _same_constant(self, left: Node, right: Node) -> bool:
        try:
            a, b = evaluate(left, {}, self.budget), evaluate(right, {}, self.budget)
        except UndefinedError:
            return False
        if self._agree(a, b):
            return True
        if a.imag or b.imag:
            return False
        first, second = _as_fraction(a.real), _as_fraction(b.real)
        return self._within(first, second) or _rounds(left, second) or _rounds(right, first)

    def _same_expression(self, left: Node, right: Node) -> bool:
        try:
            if self._equal_everywhere(left, right):
                return True
            if any(self._equal_everywhere(left, renamed) for renamed in renamings(left, right)):
                return True
            return self._same_antiderivative(left, right)
        except UndefinedError:
            return False

    def _equal_everywhere(self, left: Node, right: Node) -> bool:
        if not all(self._agree(self._at(left, names), self._at(right, names)) for names in self._points(left, right)):
            return False
        if any(isinstance(part, Call) and part.name == "abs" for node in (left, right) for part in walk(node)):
            values = [(self._at(left, names), self._at(right, names)) for names in self._points(left, right, True)]
            return all(self._agree(a, b) for a, b in values if not a.imag and not b.imag)  # ln x has no value there
        return True

    def _same_antiderivative(self, left: Node, right: Node) -> bool:
        """Both end in a constant of integration, and they differ by a number that neither writes beside it."""
        bodies = [_without_constant(left), _without_constant(right)]
        if None in bodies:
            return False
        first, second = (body for body in bodies if body is not None)
        differences = [self._at(first, names) - self._at(second, names) for names in self._points(first, second)]
        return all(abs(other - differences[0]) < 1e-30 for other in differences[1:])

    def _points(self, left: Node, right: Node, negative: bool = False) -> Iterable[dict[str, Value]]:
        names = sorted(free_symbols(left, right))
        discrete = is_discrete(left, right)
        if len(names) <= 2 and is_rounded(left, right):  # floors differ at few points: at each small one then
            values = [[one] for one in range(1, SMALL + 1)] if len(names) == 1 else product(range(1, 7), repeat=2)
            for chosen in values:
                yield {name: integer(value) for name, value in zip(names, chosen, strict=True)}
        for index in range(POINTS):
            yield {name: point(name, index, discrete, negative) for name in names}

    def _at(self, node: Node, names: dict[str, Value]) -> Value:
        return evaluate(node, names, self.budget)

    def _agree(self, left: Value, right: Value) -> bool:
        size = max(abs(left), abs(right))
        return bool(abs(left - right) * 10**AGREEMENT <= max(size, 1e-10))


# -- views of nodes ---------------------------------------------------------------------------------------------------


def _unwrapped(node: Node) -> Node:
    """Without what means nothing: ``[M]`` around a matrix, ``x \\in`` a set of values, ``(x, y) =`` a point."""
    while isinstance(node, Group) and len(node.items) == 1 and isinstance(node.items[0], Matrix):
        node = node.items[0]
    if isinstance(node, Relation) and len(node.operands) == 2 and _is_label(node.operands[0]):
        value = node.operands[1]
        if node.operators == ("in",) or (node.operators == ("=",) and isinstance(value, Group | PlusMinus | Matrix)):
            node = _unwrapped(value)
    elif (  # A^{-1} = M
        isinstance(node, Relation)
        and node.operators == ("=",)
        and isinstance(node.operands[1], Matrix)
        and not any(isinstance(part, Matrix) for part in walk(node.operands[0]))
    ):
        node = node.operands[1]
    if isinstance(node, Sequence | Matrix | Relation) or (isinstance(node, Group) and node.opening == "{"):
        return node
    signs = _both_signs(node)
    return node if len(signs) == 1 else Sequence(signs)


def _without_condition(node: Node, other: Node) -> Node:
    """``x - 1, x \\ne 2`` without the condition on its variable, beside an answer that leaves it out."""
    if not isinstance(node, Sequence) or isinstance(other, Sequence | Group):
        return node
    first, *rest = node.items
    names = free_symbols(first)
    is_condition = all(
        isinstance(item, Relation)
        and not {"=", "~", ":"}.intersection(item.operators)
        and free_symbols(item)
        and free_symbols(item) <= names
        for item in rest
    )
    stands_alone = not isinstance(first, Relation | Symbol) or (
        isinstance(first, Relation) and first.operators == ("=",) and bool(free_symbols(first.operands[-1]))
    )
    return first if is_condition and stands_alone and not is_region(first) else node


UNIT_VECTORS: tuple[Node, ...] = (Constant("i"), Symbol("j"), Symbol("k"))


def _as_vector(node: Node, other: Node) -> Node:
    """``2i - 3j`` as its components, beside a vector in brackets or a matrix."""
    rows = _rows(other) if isinstance(other, Matrix | Group) and not _is_half_open(other) else None
    if rows is None or not _is_vector(rows) or isinstance(node, Group | Matrix | Sequence | Relation):
        return node
    size = max(len(rows), len(rows[0]))
    used = {part for part in walk(node) if part in UNIT_VECTORS}
    if (
        not 2 <= size <= 3
        or (Symbol("j") not in used and Symbol("k") not in used)
        or not used <= {*UNIT_VECTORS[:size]}
    ):
        return node
    terms = node.terms if isinstance(node, Sum) else (node,)
    if not all(sum(part in UNIT_VECTORS for part in walk(term)) == 1 for term in terms):
        return node  # every term is along one axis
    components = []
    for axis in UNIT_VECTORS[:size]:
        along = {unit: Number(Fraction(int(unit == axis))) for unit in UNIT_VECTORS}
        components.append(_substituted(node, along))
    return Group("<", tuple(components), ">")


def _substituted(node: Node, values: dict[Node, Number]) -> Node:
    return values[node] if node in values else rebuilt(node, lambda part: _substituted(part, values))


def _without_name(node: Node) -> Node:
    """``x = (1, 2)`` and ``D: [0, 1]`` as the region alone."""
    if isinstance(node, Relation) and node.operators in (("=",), (":",)) and _is_label(node.operands[0]):
        return node.operands[1]
    return node


def _items(node: Node) -> tuple[Node, ...] | None:
    if isinstance(node, Sequence | Group):
        return node.items
    return None


def _kind(node: Node) -> str:
    if isinstance(node, Group):
        return "(" if node.opening == "<" else node.opening
    return "bare" if isinstance(node, Sequence) else "value"


def _is_half_open(node: Node) -> bool:
    return isinstance(node, Group) and f"{node.opening}{node.closing}" in ("(]", "[)")


def _rows(node: Node) -> tuple[tuple[Node, ...], ...] | None:
    """The rows of a matrix, of a scalar times a matrix, or of a point or list read as a row."""
    match node:
        case Matrix(rows=rows):
            return rows
        case Group(items=items) if items and node.opening in ("(", "[", "<"):
            inner = [_items(item) for item in items]
            if all(row is not None for row in inner):
                return tuple(row for row in inner if row is not None)
            return (items,)
        case Product(factors=factors):
            matrices = [factor for factor in factors if isinstance(_unwrapped(factor), Matrix)]
            scalars = tuple(factor for factor in factors if factor not in matrices)
            scaled = _rows(_unwrapped(matrices[0])) if len(matrices) == 1 else None
            return scaled and tuple(tuple(Product((*scalars, entry)) for entry in row) for row in scaled)
        case Negative(argument=argument):
            positive = _rows(_unwrapped(argument))
            return positive and tuple(tuple(Negative(entry) for entry in row) for row in positive)
        case _:
            return None


def _is_vector(rows: tuple[tuple[Node, ...], ...]) -> bool:
    return len(rows) == 1 or len(rows[0]) == 1


def _is_solved(equation: Relation) -> bool:
    """``x = 5``: a name and a constant."""
    return _is_label(equation.operands[0]) and not free_symbols(*equation.operands[1:])


def _is_label(node: Node) -> bool:
    """What names a value: ``x``, ``f(x)``, ``(x, y)``, ``f^{-1}(x)``."""
    match node:
        case Symbol() | Call(name="apply"):
            return True
        case Group(items=items):
            return all(isinstance(item, Symbol) for item in items)
        case _:
            return False


def _is_label_only_chain(node: Relation) -> bool:
    return len(node.operands) == 2 and isinstance(node.operands[0], Symbol) and isinstance(node.operands[1], Relation)


def _same_name(left: Node, right: Node) -> bool:
    """Whether two labels may name the same thing: equal but for case, or the same function of another variable."""
    if isinstance(left, Symbol) and isinstance(right, Symbol):
        if left.name.startswith(OPAQUE) or right.name.startswith(OPAQUE):
            return True
        return left.name.lower() == right.name.lower()
    if isinstance(left, Call) and isinstance(right, Call):
        return left.arguments[0] == right.arguments[0] and len(left.arguments) == len(right.arguments)
    return isinstance(left, Call) != isinstance(right, Call) or left == right


def _with_parameters(value: Node, own: Call, other: Call) -> Node:
    """``2t``, the value of f(t), as that of f(x)."""
    pairs = zip(own.arguments[1:], other.arguments[1:], strict=True)
    return renamed(value, {a.name: b.name for a, b in pairs if isinstance(a, Symbol) and isinstance(b, Symbol)})


def _assignments(items: tuple[Node, ...] | None) -> dict[Node, Node] | None:
    if not items or len(items) < 2:
        return None
    named: dict[Node, Node] = {}
    for item in items:
        if not (isinstance(item, Relation) and item.operators == ("=",) and _is_label(item.operands[0])):
            return None
        named[item.operands[0]] = item.operands[1]
    return named if len(named) == len(items) else None


def _both_signs(node: Node) -> tuple[Node, ...]:
    signs = [part for part in walk(node) if isinstance(part, PlusMinus)]
    if not signs or len(signs) > 3:
        return (node,)
    return _signed(node, 1), _signed(node, -1)


def _signed(node: Node, sign: int) -> Node:
    """``node`` with every ``\\pm`` in it decided."""
    if isinstance(node, PlusMinus):
        term = _signed(node.right, sign)
        return Sum((_signed(node.left, sign), term if node.sign * sign > 0 else Negative(term)))
    return rebuilt(node, lambda part: _signed(part, sign))


def _split(node: Node) -> tuple[Node, str]:
    """A value and its unit; an angle mark around the whole is the unit degree."""
    match node:
        case Quantity(value=value, unit=unit):
            inner, inner_unit = _split(value)
            return inner, inner_unit or unit
        case Call(name="degree", arguments=(argument,)):
            return argument, "degree"
        case Negative(argument=argument):
            value, unit = _split(argument)
            return Negative(value), unit
        case Product(factors=(*scalars, last)) if isinstance(last, Quantity) and last.unit != "%":
            value, unit = _split(last)
            return Product((*scalars, value)), unit
        case _:
            return node, ""


def _bare(node: Node) -> Node:
    return _split(node)[0]


def _same_based(left: Node, right: Node, may_add: bool) -> bool:
    """Numerals in the same base, or one without its base written: the digits decide.

    The answer on the right may carry a base that the reference lacks only if ``may_add``.
    """
    if isinstance(left, Based) and isinstance(right, Based):
        return left.base == right.base and left.numeral.lstrip("0") == right.numeral.lstrip("0")
    based, other = (left, right) if isinstance(left, Based) else (right, left)
    if based is right and not may_add:
        return False
    value = exact(other)
    return (
        isinstance(based, Based)
        and value is not None
        and value.denominator == 1
        and str(value.numerator) == based.numeral.lstrip("0")
    )


def _difference(equation: Relation) -> Node:
    return Sum((equation.operands[0], Negative(equation.operands[1])))


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
