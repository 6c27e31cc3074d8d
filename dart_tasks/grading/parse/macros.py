"""What each LaTeX command means: a table from its name to a function that reads what the command applies to.

A macro gets the grammar, whose position is just after the command, and the command's name; it gives a tree. To read a
further command, add a line to :data:`FACTORS` (it may begin a factor: ``2\\sqrt 3``) or to :data:`MACROS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from dart_tasks.grading.parse.tree import (
    CONSTANTS,
    FUNCTIONS,
    OPAQUE,
    Call,
    Constant,
    Group,
    Negative,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Quotient,
    Relation,
    Symbol,
    UnreadableError,
    derivative,
    is_minus_one,
    juxtaposed,
    rebuilt,
    renamed,
    walk,
)

if TYPE_CHECKING:
    from dart_tasks.grading.parse.grammar import Grammar
    from dart_tasks.grading.parse.tokens import Token

__all__ = ["BARS", "FACTORS", "GREEK", "MACROS", "derived"]

Macro: TypeAlias = "Callable[[Grammar, str], Node]"

BARS = ("|", "lvert", "lVert", "vert", "Vert", "mid")
GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi omicron rho sigma tau"
    " upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell hbar partial".split()
)
_VARIANTS = {"varepsilon": "epsilon", "varphi": "phi", "vartheta": "theta"}
_ACCENTS = {
    "overline": "bar", "bar": "bar", "hat": "hat", "widehat": "hat", "tilde": "tilde", "mathring": "ring",
}  # fmt: skip
_UNIT_VECTORS = (Constant("i"), Symbol("j"), Symbol("k"))
_INVERTIBLE = frozenset("sin cos tan cot sec csc sinh cosh tanh".split())
_ALIASES = {
    "lg": "log", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "arsinh": "arcsinh", "asinh": "arcsinh",
    "arcosh": "arccosh", "acosh": "arccosh", "artanh": "arctanh", "atanh": "arctanh",
}  # fmt: skip
_FRACTIONS = ("frac", "dfrac", "tfrac", "cfrac", "sfrac", "nicefrac")
_CURRENCIES = {"$": "$", "pounds": "£", "euro": "€"}


def _fraction(grammar: Grammar, name: str) -> Node:
    first, second = grammar.argument(), grammar.argument()
    operator = derivative(first, second)
    return Quotient(first, second) if operator is None else derived(grammar, *operator)


def derived(grammar: Grammar, operator: str, operand: Node | None) -> Node:
    """``\\frac{dy}{dx}`` as a name of its own, ``\\frac{d}{dx}`` as a function of what follows it."""
    if operand is None and grammar.starts_factor(grammar.peek()):
        operand = grammar.deeper(grammar.power)
    if operand is None or isinstance(operand, Symbol):
        return Symbol(operator.replace("?", operand.name if isinstance(operand, Symbol) else ""))
    return Call("apply", (Symbol(operator), operand))


def _root(grammar: Grammar, name: str) -> Node:
    degree: Node = Number(Fraction(3 if name == "cbrt" else 2))
    if grammar.accept("["):
        degree = grammar.sequence()
        grammar.expect("]")
    radicand = grammar.deeper(grammar.braced if grammar.at_mark("{") else grammar.primary)
    return Call("root", (radicand, degree))


def _extreme(grammar: Grammar, name: str) -> Node:
    """``\\max(a, b)``; without a bracket it is a name: ``\\max = 9``, ``max 9``."""
    if grammar.at_mark("(") or grammar.at_mark("{") or grammar.at_mark("_"):
        return _function(grammar, name)
    label = Symbol(f"{OPAQUE}{name}")
    if grammar.at_mark("="):
        return label
    if grammar.peek().kind == "letters" and grammar.at_mark("=", 1):  # \\min f = 2
        return Symbol(f"{OPAQUE}{name} {grammar.next().text}")
    value = grammar.deeper(grammar.signed_power)
    if isinstance(value, Group):  # \\max\\{a, b\\}
        return Call(name, value.items)
    return Relation((label, value), ("=",))


def _function(grammar: Grammar, name: str) -> Node:
    if name in ("max", "min") and grammar.at_mark("="):  # \\max = 9
        return Symbol(f"{OPAQUE}{name}")
    return grammar.deeper(lambda: _applied(grammar, _ALIASES.get(name, name)))


def _applied(grammar: Grammar, name: str) -> Node:
    power: Node | None = None
    base: tuple[Node, ...] = ()
    while grammar.at_mark("^") or grammar.at_mark("_"):
        if grammar.next().text == "^":
            power = grammar.exponent()
        else:
            base = (grammar.argument(),)
    arguments = grammar.arguments()
    if name == "log":
        arguments = (*arguments, *base)
    if name in _INVERTIBLE and power is not None and is_minus_one(power):
        return Call("arc" + name, arguments)
    call = Call(name, arguments)
    return call if power is None else Power(call, power)


def _rounded(grammar: Grammar, name: str) -> Node:
    inner = grammar.sequence()
    grammar.expect("rfloor" if name == "lfloor" else "rceil")
    return Call(name[1:], (inner,))


def _series(grammar: Grammar, name: str) -> Node:
    """``\\sum_{k=1}^{n} a_k`` as ``sum(a_k, k, 1, n)``; ``\\prod`` alike."""
    return grammar.deeper(lambda: _summed(grammar, name))


def _summed(grammar: Grammar, name: str) -> Node:
    grammar.expect("_")
    grammar.expect("{")
    name_of_index = grammar.next().text
    index = Symbol("i") if name_of_index == "i" else grammar.symbol(name_of_index)
    grammar.expect("=")
    low = grammar.sum()
    grammar.expect("}")
    grammar.expect("^")
    high = grammar.exponent()
    body = grammar.term()
    if not isinstance(index, Symbol) or high is None:
        raise UnreadableError("an odd sum")
    body = _indexed(body, index.name)
    level = sum(isinstance(part, Call) and part.name in ("sum", "prod") for part in walk(body))
    bound = f"index {level}"  # its name means nothing
    return Call(name, (renamed(body, {index.name: bound}), Symbol(bound), low, high))


def _indexed(body: Node, index: str) -> Node:
    """``a_k`` and ``a_{k+1}`` under a sum over k: no constants, but values for each k; an i that counts is a name."""
    if index == "i" and body == Constant("i"):
        return Symbol("i")
    if not isinstance(body, Symbol):
        return rebuilt(body, lambda part: _indexed(part, index))
    name, _, subscript = body.name.partition("_")
    return (
        Call("apply", (Symbol(f"{name}_{subscript.replace(index, '#')}"), Symbol(index)))
        if index in subscript
        else body
    )


def _integral(grammar: Grammar, name: str) -> Node:
    """``\\int_0^1 x^2\\,dx`` as ``integral(x^2, x, 0, 1)``; without limits it is no value."""
    grammar.accept("limits")
    grammar.expect("_")
    low = grammar.argument()
    grammar.expect("^")
    high = grammar.argument()
    integrand, variable = _up_to_differential(grammar)
    return Call("integral", (grammar.within(integrand, grammar.__class__.sum), variable, low, high))


def _up_to_differential(grammar: Grammar) -> tuple[list[Token], Symbol]:
    """The integrand's tokens and the variable of its ``dx``, which may stand in a numerator: ``\\frac{dx}{x}``."""
    level, start, inner = 0, grammar.position, 0
    while (token := grammar.next()) is not grammar.END:
        inner += token.text == "int"
        level += (token.text in ("{", "(")) - (token.text in ("}", ")"))
        variable = grammar.peek()
        is_differential = token.text == "d" and (variable.kind == "letters" or variable.text in GREEK)
        in_numerator = level == 1 and grammar.at_mark("}", 1) and grammar.tokens[start].text in _FRACTIONS
        if not is_differential or (level and not in_numerator):
            continue
        if inner:
            inner -= 1
            continue
        before = grammar.tokens[start : grammar.position - 1]
        grammar.position += 1
        after: list[Token] = []
        if level:
            before += [grammar.ONE] if before[-1].text == "{" else []
            rest = grammar.position
            grammar.expect("}")
            grammar.argument()
            after = grammar.tokens[rest : grammar.position]
        return [*before, *after] or [grammar.ONE], Symbol(variable.text)
    raise UnreadableError("an integral without its differential")


def _limit(grammar: Grammar, name: str) -> Node:
    """``\\lim_{x \\to 0^+} f`` as ``limit(f, x, 0, +)``; the last is ``+-`` for both sides."""
    grammar.accept("limits")
    grammar.expect("_")
    grammar.expect("{")
    variable = grammar.next()
    grammar.expect("to", "rightarrow", "->")
    start, level = grammar.position, 1
    while level:
        token = grammar.next()
        if token is grammar.END:
            raise UnreadableError("a limit that does not end")
        level += (token.text == "{") - (token.text == "}")
    target, side = grammar.tokens[start : grammar.position - 1], "+-"
    marks = [token.text for token in target[-4:]]
    for mark in "+-":
        for ending in (["^", mark], ["^", "{", mark, "}"]):
            if marks[-len(ending) :] == ending:
                target, side = target[: -len(ending)], mark
    at = grammar.within(target, grammar.__class__.sum)
    body = grammar.deeper(grammar.term)
    level = sum(isinstance(part, Call) and part.name == "limit" for part in walk(body))
    bound = f"limit {level}"  # its name means nothing
    return Call("limit", (renamed(body, {variable.text: bound}), Symbol(bound), at, Symbol(side)))


def _of_matrix(grammar: Grammar, name: str) -> Node:
    return Call(name, (grammar.deeper(grammar.power),))


def _negation(grammar: Grammar, name: str) -> Node:
    return Call("apply", (Symbol("not"), grammar.deeper(grammar.power)))


def _accented(grammar: Grammar, name: str) -> Node:
    """``\\overline{z}``, another value than z; over points and on unit vectors (``\\hat{i}``) it is typography."""
    inner, accent = grammar.argument(), _ACCENTS[name]
    letters = inner.factors if isinstance(inner, Product) else ()
    if letters and all(isinstance(letter, Symbol) and letter.name[0].isupper() for letter in letters):
        return inner
    if accent == "hat" and (inner in _UNIT_VECTORS or isinstance(inner, Number)):
        return inner
    if isinstance(inner, Symbol):
        return grammar.symbol(f"{accent} {inner.name}")
    return Call("conjugate", (inner,)) if accent == "bar" else Call("apply", (Symbol(accent), inner))


def _directed(grammar: Grammar, name: str) -> Node:
    """``\\overrightarrow{AB}``, the opposite of that from B to A; a single letter's arrow is typography."""
    inner = grammar.argument()
    ends = inner.factors if isinstance(inner, Product) else ()
    if len(ends) != 2 or not all(isinstance(end, Symbol) and end.name[0].isupper() for end in ends):
        return grammar.symbol(inner.name) if isinstance(inner, Symbol) else inner
    first, second = (end.name for end in ends if isinstance(end, Symbol))
    vector = Symbol(f"vector {min(first, second)}{max(first, second)}")
    return vector if first <= second else Negative(vector)


def _style(grammar: Grammar, name: str) -> Node:
    inner = grammar.argument()
    return grammar.symbol(inner.name) if isinstance(inner, Symbol) else inner


def _blackboard(grammar: Grammar, name: str) -> Node:
    inner = grammar.argument()
    if not isinstance(inner, Symbol):
        return inner
    name = f"mathbb {inner.name}"
    return grammar.application(name) if grammar.is_applied(name) else Symbol(name)


def _money(grammar: Grammar, name: str) -> Node:
    sign = grammar.accept("-")
    value = grammar.postfix()
    if isinstance(value, Number) and grammar.peek().text in _FRACTIONS:  # $2\\frac12
        value = juxtaposed(value, grammar.power())
    return Quantity(Negative(value) if sign else value, _CURRENCIES[name])


def _figure(grammar: Grammar, name: str) -> Node:
    """``\\angle ABC``: the name of a figure, with the letters of its points."""
    points = []
    while grammar.peek().kind == "letters":
        point = grammar.symbol(grammar.next().text)
        points.append(point.name if isinstance(point, Symbol) else "?")
    if not points:
        raise UnreadableError("a figure without points")
    return Symbol(f"{name} {''.join(points)}")


def _table(*rows: tuple[Iterable[str], Macro]) -> dict[str, Macro]:
    return {name: macro for names, macro in rows for name in names}


FACTORS = _table(
    (GREEK, lambda grammar, name: grammar.symbol(_VARIANTS.get(name, name))),
    (CONSTANTS, lambda grammar, name: Constant("pi" if name == "pi" else "infinity")),
    (FUNCTIONS, _function),
    (("max", "min"), _extreme),
    (("sqrt", "cbrt", "root"), _root),
    (_FRACTIONS, _fraction),
    (("binom", "dbinom", "tbinom"), lambda grammar, name: Call("binomial", (grammar.argument(), grammar.argument()))),
    (("{", "langle"), lambda grammar, name: grammar.group(name)),
    (("lfloor", "lceil"), _rounded),
    (("lvert", "lVert", "vert", "Vert"), lambda grammar, name: grammar.absolute()),
    (("sum", "prod"), _series),
    (("int",), _integral),
    (("lim",), _limit),
    (("det", "tr"), _of_matrix),
    (("Re", "Im"), lambda grammar, name: Call(name, grammar.arguments())),
    (("neg", "lnot"), _negation),
    (("imath", "jmath"), lambda grammar, name: grammar.symbol(name[0])),
    (_ACCENTS, _accented),
    (("mathbb",), _blackboard),
    (("vec", "overrightarrow"), _directed),
    (
        "mathbf mathrm mathit mathsf mathcal boldsymbol bm text textbf textit underline operatorname"
        " rm bf it tt boxed fbox ensuremath mathop".split(),
        _style,
    ),
)
MACROS = FACTORS | _table(
    (("sim",), _negation),
    (("|", "mid"), lambda grammar, name: grammar.absolute()),
    (_CURRENCIES, _money),
    (("emptyset", "varnothing", "oslash"), lambda grammar, name: Group("{", (), "}")),
    (("angle", "measuredangle", "triangle"), _figure),
)
