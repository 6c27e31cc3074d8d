"""Names that may be chosen freely: the case of a letter, arbitrary constants, the integer in a family of angles.

``c_1 e^x + c_2 e^{-x}`` is ``A e^{-x} + B e^x``; ``\\frac{\\pi}{3} + 2\\pi k`` is ``\\frac{\\pi}{3} + 2\\pi n``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import permutations

from dart_tasks.grading.nodes import Constant, Node, Symbol, rebuilt, walk
from dart_tasks.grading.numeric import free_symbols

__all__ = ["renamed", "renamings"]

_CONSTANTS = re.compile(r"[cC](?:_\w+)?")
_OTHER_CONSTANTS = re.compile(r"[cCkKABD](?:_\w+)?")
_INTEGERS = frozenset("knmlj")
_VARIABLES = frozenset(("x", "y", "z", "t", "u", "v", "n", "r", "s", "theta"))
MAX_CONSTANTS = 3


def renamed(node: Node, names: dict[str, str]) -> Node:
    """``node`` with its variables renamed."""
    if isinstance(node, Symbol):
        return Symbol(names.get(node.name, node.name))
    return rebuilt(node, lambda part: renamed(part, names))


def renamings(reference: Node, answer: Node) -> Iterator[Node]:
    """``answer`` under each choice of names that would leave it the same answer, ``answer`` itself not among them."""
    first, second = free_symbols(reference), free_symbols(answer)
    if first != second and all(len({name.lower() for name in names}) == len(names) for names in (first, second)):
        spelling = {name.lower(): name for name in first}
        yield renamed(answer, {name: spelling.get(name.lower(), name) for name in second})
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
