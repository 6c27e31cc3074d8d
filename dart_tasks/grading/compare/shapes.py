"""What a tree is for the purpose of comparing it: its items, rows, name and unit, and what of it means nothing.

Wrappers without a meaning are removed here, and names that may be chosen freely (the case of a letter, arbitrary
constants, the integer in a family of angles) are replaced: ``c_1 e^x + c_2 e^{-x}`` is ``A e^{-x} + B e^x``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import permutations

from dart_tasks.grading.parse.tree import (
    OPAQUE,
    Builder,
    Call,
    Constant,
    Group,
    Matrix,
    Negative,
    Node,
    Number,
    PlusMinus,
    Power,
    Product,
    Quantity,
    Quotient,
    Relation,
    Sequence,
    SetOperation,
    Sum,
    Symbol,
    children,
    free_symbols,
    rebuilt,
    renamed,
    walk,
)
from dart_tasks.grading.parse.units import canonical_unit, directed, is_unit

__all__ = [
    "as_vector",
    "assignments",
    "both_signs",
    "bracket_of",
    "is_half_open",
    "is_infinite",
    "is_label",
    "is_label_only_chain",
    "is_named_value",
    "is_region",
    "is_solved",
    "is_vector",
    "is_worded",
    "items_of",
    "kind_of_name",
    "noncommuting_names",
    "numbered",
    "renamings",
    "rows_of",
    "same_name",
    "unwrapped",
    "value_and_unit",
    "variable_of",
    "with_parameters",
    "without_condition",
    "without_letter",
    "without_name",
    "without_unit",
]

_DERIVED = re.compile(r"(.+?)(?:'+|\^-1|\^)")  # f', f^-1, f^: of f
_DERIVATIVE = re.compile(r"d(\d)([^/]+)/d.+")
COORDINATES: frozenset[Node] = frozenset((Symbol("x"), Symbol("y"), Symbol("z")))
UNIT_VECTORS: tuple[Node, ...] = (Constant("i"), Symbol("j"), Symbol("k"))
_CONSTANTS = re.compile(r"[cC](?:_\w+)?")
_OTHER_CONSTANTS = re.compile(r"[cCkKABD](?:_\w+)?")
_INTEGERS = frozenset("knmlj")
_IMAGINARY = frozenset("jI")
_VARIABLES = frozenset(("x", "y", "z", "t", "u", "v", "n", "r", "s", "theta"))
MAX_CONSTANTS = 3


def unwrapped(node: Node) -> Node:
    """Without what means nothing: ``[M]`` around a matrix, ``x \\in`` a set of values, ``(x, y) =`` a point; a vector
    that is written as a sum as one."""
    node = combined(node)
    while isinstance(node, Group) and len(node.items) == 1 and isinstance(node.items[0], Matrix):
        node = node.items[0]
    if isinstance(node, Relation) and isinstance(node.operands[0], Call) and node.operands[0].name == "abs":
        (figure,) = node.operands[0].arguments
        if isinstance(figure, Product) and is_label(figure):  # |AB| = 5
            node = replace(node, operands=(figure, *node.operands[1:]))
    if isinstance(node, Relation) and len(node.operands) == 2 and is_label(node.operands[0]):
        value = combined(node.operands[1])
        if node.operators == ("in",) or (
            node.operators == ("=",)
            and (isinstance(value, Group | Matrix) or any(isinstance(part, PlusMinus) for part in walk(value)))
        ):
            node = unwrapped(_in_order_of(node.operands[0], value))
    elif (  # A^{-1} = M
        isinstance(node, Relation)
        and node.operators == ("=",)
        and isinstance(node.operands[1], Matrix)
        and (
            not any(isinstance(part, Matrix) for part in walk(node.operands[0]))
            or (isinstance(node.operands[0], Matrix) and set(map(type, children(node.operands[0]))) == {Symbol})
        )
    ):
        node = node.operands[1]
    if isinstance(node, Sequence):
        return _in_points(node)
    if isinstance(node, Matrix | Relation) or (isinstance(node, Group) and node.opening == "{"):
        return node
    signs = both_signs(node)
    return node if len(signs) == 1 else Sequence(signs)


def combined(node: Node) -> Node:
    """``(1, 3) + t(2, -1)`` as one vector."""
    if not isinstance(node, Sum | Product) or not any(isinstance(part, Group) for part in walk(node)):
        return node
    components = _components(node)
    return Group("<", components, ">") if components else node


def _components(node: Node) -> tuple[Node, ...] | None:
    match node:
        case Group(items=items, opening="(" | "<") if len(items) > 1:
            return items
        case Negative(argument=argument):
            inner = _components(argument)
            return inner and tuple(map(Negative, inner))
        case Product(factors=factors):
            vectors = [factor for factor in factors if isinstance(factor, Group) and len(factor.items) > 1]
            inner = _components(vectors[0]) if len(vectors) == 1 else None
            scalars = tuple(factor for factor in factors if factor is not vectors[0]) if inner else ()
            return inner and tuple(Product((*scalars, item)) for item in inner)
        case Sum(terms=terms):
            parts = [_components(term) or () for term in terms]
            return tuple(map(Sum, zip(*parts, strict=True))) if len(set(map(len, parts))) == 1 and parts[0] else None
        case _:
            return None


def _in_order_of(names: Node, values: Node) -> Node:
    """``(y, x) = (1, 2)`` as the point (2, 1)."""
    if not isinstance(names, Group) or not isinstance(values, Group) or not COORDINATES.issuperset(names.items):
        return values
    order = sorted(range(len(names.items)), key=lambda index: repr(names.items[index]))
    in_order = order == [*range(len(order))] or len(values.items) != len(order)
    return values if in_order else replace(values, items=tuple(values.items[index] for index in order))


def _in_points(node: Sequence) -> Sequence:
    """``x = 2, y = 3, x = 3, y = 2`` as two points."""
    pairs = [item.operands for item in node.items if isinstance(item, Relation) and item.operators == ("=",)]
    names = [pair[0] for pair in pairs if is_label(pair[0])]
    size = names.index(names[0], 1) if names and names.count(names[0]) > 1 else 0
    if size < 2 or len(names) != len(node.items) or names != names[:size] * (len(names) // size):
        return node
    values = [pair[1] for pair in pairs]
    order = sorted(range(size), key=lambda index: repr(names[index]))
    starts = range(0, len(values), size)
    return Sequence(tuple(Group("(", tuple(values[start + index] for index in order), ")") for start in starts))


def without_condition(node: Node, other: Node) -> Node:
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


def as_vector(node: Node, other: Node) -> Node:
    """``2i - 3j`` as its components, beside a vector in brackets or a matrix."""
    rows = rows_of(other) if isinstance(other, Matrix | Group) and not is_half_open(other) else None
    if rows is None or not is_vector(rows) or isinstance(node, Group | Matrix | Sequence | Relation):
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


def _substituted(node: Node, values: Mapping[Node, Node]) -> Node:
    return values[node] if node in values else rebuilt(node, lambda part: _substituted(part, values))


def without_name(node: Node) -> Node:
    """``x = (1, 2)`` and ``D: [0, 1]`` as the region alone."""
    if isinstance(node, Relation) and node.operators in (("=",), (":",)) and is_label(node.operands[0]):
        return node.operands[1]
    return node


def items_of(node: Node) -> tuple[Node, ...] | None:
    if isinstance(node, Sequence | Group):
        return node.items
    return None


def bracket_of(node: Node) -> str:
    if isinstance(node, Group):
        return "(" if node.opening == "<" else node.opening
    return "bare" if isinstance(node, Sequence) else "value"


def is_half_open(node: Node) -> bool:
    return isinstance(node, Group) and f"{node.opening}{node.closing}" in ("(]", "[)")


def rows_of(node: Node) -> tuple[tuple[Node, ...], ...] | None:
    """The rows of a matrix, of a scalar times a matrix, or of a point or list read as a row."""
    match node:
        case Matrix(rows=rows):
            return rows
        case Group(items=items) if items and node.opening in ("(", "[", "<"):
            inner = [items_of(item) for item in items]
            if all(row is not None for row in inner):
                return tuple(row for row in inner if row is not None)
            return (items,)
        case Product(factors=factors):
            matrices = [factor for factor in factors if isinstance(unwrapped(factor), Matrix)]
            scalars = tuple(factor for factor in factors if factor not in matrices)
            scaled = rows_of(unwrapped(matrices[0])) if len(matrices) == 1 else None
            return scaled and tuple(tuple(Product((*scalars, entry)) for entry in row) for row in scaled)
        case Negative(argument=argument):
            positive = rows_of(unwrapped(argument))
            return positive and tuple(tuple(Negative(entry) for entry in row) for row in positive)
        case _:
            return None


def is_vector(rows: tuple[tuple[Node, ...], ...]) -> bool:
    return len(rows) == 1 or len(rows[0]) == 1


def is_solved(equation: Relation) -> bool:
    """``x = 5``: a name and a constant."""
    return is_label(equation.operands[0]) and not free_symbols(*equation.operands[1:])


def is_label(node: Node) -> bool:
    """What names a value: ``x``, ``f(x)``, ``(x, y)``, ``f^{-1}(x)``."""
    match node:
        case Symbol() | Call(name="apply" | "Re" | "Im"):
            return True
        case Group(opening="[", items=(Product() as figure,)):  # [ABC], an area
            return is_label(figure)
        case Group(items=items):
            return all(isinstance(item, Symbol) for item in items)
        case Product(factors=letters):  # AB
            return all(isinstance(letter, Symbol) and letter.name.isupper() for letter in letters)
        case _:
            return False


def is_named_value(node: Node) -> bool:
    """``\\det A``, ``\\sin\\alpha``, ``\\cos A``: names for values, where ``\\sin x`` is a part of an equation."""
    match node:
        case Call(name="det" | "tr", arguments=(Symbol(),)):
            return True
        case Call(name="sin" | "cos" | "tan" | "cot" | "sec" | "csc", arguments=(Symbol(name=angle),)):
            return angle.isalpha() and (len(angle) > 1 or angle.isupper())
        case _:
            return False


def kind_of_name(label: Node) -> tuple[str, object] | None:
    """The kind of a name, and which of that kind it is: ``a_4`` is one of the a, ``y''`` one of y's derivatives."""
    match label:
        case Product(factors=letters) if is_label(label):
            return "segment", frozenset(letters)
        case Call(name="apply", arguments=(Symbol(name=name), *arguments)):
            derived = _DERIVED.fullmatch(name)
            by_name = all(isinstance(part, Symbol) and part.name.islower() for part in arguments)  # f(t) is f(x)
            return (derived[1] if derived else name) + "(", (name, () if by_name else tuple(arguments))
        case Symbol(name=name) if name.startswith("angle "):
            points = name.removeprefix("angle ")
            return "angle", points[len(points) // 2]
        case Symbol(name=name) if fraction := _DERIVATIVE.fullmatch(name):
            return fraction[2] + "'", int(fraction[1])
        case Symbol(name=name) if name.endswith("'"):
            base = name.rstrip("'")
            return base + "'", len(name) - len(base)
        case Symbol(name=name) if "_" in name and not name.startswith(OPAQUE):
            return name.partition("_")[0] + "_", name
        case _:
            return None


def is_worded(node: Node) -> bool:
    """``radius 4``: a value that words name."""
    name = node.operands[0] if isinstance(node, Relation) else None
    return isinstance(name, Symbol) and name.name.startswith(OPAQUE)


def is_label_only_chain(node: Relation) -> bool:
    return len(node.operands) == 2 and isinstance(node.operands[0], Symbol) and isinstance(node.operands[1], Relation)


def same_name(left: Node, right: Node) -> bool:
    """Whether two labels may name the same thing: equal but for case, or the same function of another variable."""
    if isinstance(left, Symbol) and isinstance(right, Symbol):
        if "'" in left.name + right.name and "/" in left.name + right.name:  # y' is dy/dx
            primed, fraction = sorted((left.name, right.name), key=lambda name: "/" in name)
            order = len(primed) - len(primed.rstrip("'"))
            return fraction.startswith(f"d{order}{primed.rstrip(chr(39))}/")
        labels = [name.removeprefix(OPAQUE) for name in (left.name, right.name) if name.startswith(OPAQUE)]
        if labels:  # the words that name a value tell it from other words only
            return labels[0] in labels[-1] or labels[-1] in labels[0]
        return left.name.removeprefix("hat ").lower() == right.name.removeprefix("hat ").lower()
    if isinstance(left, Call) and isinstance(right, Call):
        kind = kind_of_name(left)  # f(x) is f(t), but not f(2)
        return left == right or (
            kind is not None and kind == kind_of_name(right) and len(left.arguments) == len(right.arguments)
        )
    return isinstance(left, Call) != isinstance(right, Call) or left == right


def with_parameters(value: Node, own: Call, other: Call) -> Node:
    """``2t``, the value of f(t), as that of f(x)."""
    pairs = zip(own.arguments[1:], other.arguments[1:], strict=True)
    return renamed(value, {a.name: b.name for a, b in pairs if isinstance(a, Symbol) and isinstance(b, Symbol)})


def assignments(items: tuple[Node, ...] | None) -> dict[Node, Node] | None:
    if not items or len(items) < 2:
        return None
    named: dict[Node, Node] = {}
    for item in items:
        if not (isinstance(item, Relation) and item.operators == ("=",) and is_label(item.operands[0])):
            return None
        named[item.operands[0]] = item.operands[1]
    return named if len(named) == len(items) else None


def numbered(items: tuple[Node, ...] | None, other: Node) -> tuple[Node, ...] | None:
    """``x_1 = 2, x_2 = 3`` as ``x = 2, x = 3``, beside a list or set that numbers nothing: roots, in any order."""
    named = assignments(items)
    if not named or bracket_of(other) not in ("bare", "{") or assignments(items_of(other)):
        return items
    bases = {name.name.partition("_")[0] if isinstance(name, Symbol) and "_" in name.name else None for name in named}
    base = bases.pop()
    return items if bases or not base else tuple(Relation((Symbol(base), value), ("=",)) for value in named.values())


def both_signs(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Number | Symbol):
        return (node,)
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


def value_and_unit(node: Node) -> tuple[Node, str]:
    """A value and its unit; an angle mark around the whole is the unit degree."""
    match node:
        case Quantity(value=value, unit=unit):
            inner, inner_unit = value_and_unit(value)
            return inner, directed(inner_unit, unit) if inner_unit else unit
        case Call(name="degree", arguments=(argument,)):
            return argument, "degree"
        case Negative(argument=argument):
            value, unit = value_and_unit(argument)
            return Negative(value), unit
        case Product(factors=(*scalars, last)) if isinstance(last, Quantity) and last.unit != "%":
            value, unit = value_and_unit(last)
            return Product((*scalars, value)), unit
        case _:
            return node, ""


def without_letter(node: Node, unit: str) -> Node:
    """``5m``, which looks like a product, beside a value in metres."""
    match node:
        case Product(factors=(*value, Symbol(name=name))) if unit and is_unit(name, one_letter=True):
            return Product(tuple(value)) if canonical_unit([name]) == unit else node
        case _:
            return node


def variable_of(region: Node) -> str | None:
    """The variable that an inequality, or each of several, is about; None for brackets."""
    match region:
        case Relation(operands=operands):
            names = {part.name for part in operands if isinstance(part, Symbol)}
            names |= {repr(part) for part in operands if isinstance(part, Call) and part.name == "apply"}
        case Sequence(items=items):
            names = {name for item in items if (name := variable_of(item)) is not None}
        case _:
            return None
    return names.pop() if len(names) == 1 else None


def without_unit(node: Node) -> Node:
    return value_and_unit(node)[0]


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
            if operators == ("not in",):
                return True
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


def renamings(reference: Node, answer: Node) -> Iterator[Node]:
    """``answer`` under each choice of names that would leave it the same answer, ``answer`` itself not among them."""
    first, second = free_symbols(reference), free_symbols(answer)
    for name in _IMAGINARY & second - first:  # 3 + 4j, where no other i is
        if isinstance(answer, Sum) and Constant("i") in walk(reference) and Constant("i") not in walk(answer):
            yield _substituted(answer, {Symbol(name): Constant("i")})
    if first != second and all(len({name.lower() for name in names}) == len(names) for names in (first, second)):
        spelling = {name.lower(): name for name in first}
        yield renamed(answer, {name: spelling.get(name.lower(), name) for name in second})
    degrees, no_degrees = (_without_degrees(answer), _without_degrees(reference))
    if degrees != answer and no_degrees == reference:  # 90^\\circ - x
        yield degrees
    one_integer = len(first) == len(second) == 1 and first != second and first | second <= _INTEGERS
    if one_integer and all(any(part == Constant("pi") for part in walk(node)) for node in (reference, answer)):
        yield renamed(answer, dict(zip(second, first, strict=True)))
    constants = sorted(name for name in first if _CONSTANTS.fullmatch(name))
    if not (first - set(constants)) & _VARIABLES:  # a lone C is a name, and c in a formula of lengths a length
        return
    own = sorted(
        name for name in second if _OTHER_CONSTANTS.fullmatch(name) and (name in constants or name not in first)
    )
    if constants and len(own) == len(constants) <= MAX_CONSTANTS:
        for order in permutations(constants):
            names = dict(zip(own, order, strict=True))
            if any(name != other for name, other in names.items()):
                yield renamed(answer, names)


def _without_degrees(node: Node) -> Node:
    """A sum without the degree marks of its terms; within a function they mean something."""
    if isinstance(node, Call):
        return node.arguments[0] if node.name == "degree" else node
    return rebuilt(node, _without_degrees)


def noncommuting_names(*nodes: Node) -> frozenset[str]:
    """The names that notation alone makes matrices: capital letters in a product with an inverse or a transpose."""
    names: set[str] = set()
    for part in walk(nodes[0]):
        if isinstance(part, Quotient) and any(_is_capital(inner) for inner in walk(part.denominator)):
            return frozenset()  # nobody divides by a matrix
    for part in (part for node in nodes for part in walk(node)):
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
