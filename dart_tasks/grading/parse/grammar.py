"""Tokens -> tree, by recursive descent of bounded depth. The grammar, loosest binding first::

    sequence  = relation { ("," | ";" | "and" | "or") relation }
    relation  = sets { ("=" | "<" | "\\le" | "\\in" | ":" ...) sets }
    sets      = sum { ("\\cup" | "\\cap" | "\\setminus") sum }
    sum       = [sign] term { ("+" | "-" | "\\pm") term } [unit]
    term      = power { ("\\cdot" | "/" | nothing) power }
    power     = postfix [ "^" power ]
    postfix   = primary { "!" | "%" | "^\\circ" | "\\pmod" }
    primary   = number | name [ "(" sequence ")" ] | bracket | matrix | macro

Two readings that notation leaves open are settled here: an integer directly before a proper fraction of integers is a
mixed number (``3\\frac{1}{2}`` is 7/2), and a function without brackets takes the product up to the next sign, bracket
or function (``\\sin 2x \\cos x`` is sin(2x) cos(x)). What a macro means is in :mod:`dart_tasks.grading.parse.macros`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Literal, cast

from dart_tasks.grading.parse.macros import BARS, FACTORS, GREEK, MACROS, derived
from dart_tasks.grading.parse.tokens import END, Cursor, Token
from dart_tasks.grading.parse.tree import (
    FUNCTIONS,
    Builder,
    Call,
    Constant,
    Group,
    Matrix,
    Negative,
    Node,
    Number,
    Pending,
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
    UnreadableError,
    applied,
    counted,
    crossed,
    depth,
    derivative,
    is_integer,
    is_made_of_functions,
    is_minus_one,
    joined,
    juxtaposed,
    literal,
    mixed,
    product_of,
    scaled,
    sum_of,
    transposed,
)
from dart_tasks.grading.parse.units import SCALES, canonical_unit, directed, makes_another_value

__all__ = ["Grammar", "parse"]

MAX_TREE_DEPTH = 80
_MARKS = {
    "=": "=", "==": "=", ":=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", ":": ":", "->": "->",
    "=>": "->",
}  # fmt: skip
_COMMANDS = {
    "eq": "=", "equiv": "=", "lt": "<", "gt": ">", "le": "<=", "leq": "<=", "leqslant": "<=", "leqq": "<=", "ge": ">=",
    "geq": ">=", "geqslant": ">=", "geqq": ">=", "ne": "!=", "neq": "!=", "approx": "~", "simeq": "~", "sim": "~",
    "cong": "cong", "doteq": "~", "in": "in", "notin": "not in", "to": "->", "rightarrow": "->", "mapsto": "->",
    "implies": "->", "Rightarrow": "->", "colon": ":",
}  # fmt: skip
_OPERATORS = {"symbol": _MARKS, "command": _COMMANDS}
_CONNECTIVES = {"land": "and", "wedge": "and", "lor": "or", "vee": "or"}
_SET_OPERATORS: dict[str, Literal["union", "intersection", "minus"]] = {
    "cup": "union", "bigcup": "union", "cap": "intersection", "setminus": "minus", "backslash": "minus",
}  # fmt: skip
_CLOSERS = {")": ")", "]": "]", "rangle": ">", "}": "}"}
_CLOSING_BARS = (*BARS, "rvert", "rVert")
_ANGLE_MARKS = frozenset(("circ", "degree", "degrees", "deg"))
_UNIT_FUNCTIONS = ("min", "sec")  # also minutes and seconds
_MATRICES = frozenset("matrix pmatrix bmatrix Bmatrix smallmatrix vmatrix array cases".split())
_ENDS_ARGUMENT = FUNCTIONS | {"(", "[", "langle", "lfloor", "lceil", "lvert", "lVert", "vert", "Vert", "|"} | _MATRICES
_FUNCTION_NAMES = frozenset("f g F phi psi Phi Psi Gamma zeta".split())  # before a bracket, whatever it holds
_APPLIED = (  # before a bracket with a name or a number
    frozenset("h G H P Q S T W p q r u v y mu sigma tau chi".split()) | _FUNCTION_NAMES
)
_APPLIED_TO_VARIABLES = frozenset("h G H P p q T sigma tau".split())  # h(x+1), but h(a+b) is a product
_OF_EVENTS = frozenset(("E", "P", "V", "mathbb E", "mathbb P"))  # P(A + B), E[X^2]
_ORDERS = frozenset("O o Theta Omega".split())  # of growth
_VARIABLES = frozenset("x y z t n".split())
_ARROWS = frozenset(("vec", "overrightarrow", "mathbf", "boldsymbol", "bm"))
_VECTORS = frozenset("uvw")
_CONDITIONS = frozenset(("if", "for", "when", "where"))
_OTHERWISE = frozenset(("otherwise", "else", "elsewhere"))
_PRIMES = {"'": "'", "prime": "'", "''": "''", '"': "''"}


def parse(tokens: list[Token]) -> Node:
    """The tree of an answer's tokens, all of which must be used up.

    Raises:
        UnreadableError: it is not mathematics that this grammar covers, or exceeds the bounds.
    """
    grammar = Grammar(tokens)
    node = grammar.chosen()
    if grammar.position < len(tokens):
        raise UnreadableError(f"unexpected {grammar.peek().text!r}")
    if len(tokens) > MAX_TREE_DEPTH // 4 and depth(node) > MAX_TREE_DEPTH:  # 1/2/3/... nests without brackets
        raise UnreadableError("nested too deeply")
    return node


class Grammar(Cursor):
    """A method for each rule: it takes the rule's tokens and gives their tree."""

    # -- several values, relations, sets

    def sequence(self) -> Node:
        """One relation, or a Sequence of several."""
        items, marks = self.deeper(self._items)
        if not marks:
            return items[0]
        for mark in ("and", "or"):
            items, marks = joined(items, marks, mark)
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _items(self) -> tuple[list[Node], list[str]]:
        items, marks = [self.relation()], []
        while mark := self._separator():
            if self.peek() is END or self.peek().kind == "end" or self.peek().text in (*_CLOSERS, "&", "\\"):
                break  # a trailing comma
            items.append(self.relation())
            marks.append(mark)
        return items, marks

    def _separator(self) -> str:
        """What stands between two items: "and", "or" of logic, a comma for anything else; empty where nothing does."""
        found = ""
        while True:
            token = self.peek()
            is_word = token.kind == "word" and token.text.lower() in ("and", "or")
            is_mark = token.kind == "symbol" and token.text in (",", ";")
            is_logical = token.kind == "command" and token.text in _CONNECTIVES
            if not (is_word or is_mark or is_logical):
                return found
            self.position += 1
            found = _CONNECTIVES[token.text] if is_logical and not found else ","

    def relation(self) -> Node:
        """Sets, or a chain of them: ``a < x \\le b``."""
        if not (self.peek().text == "sim" and self.starts_factor(self.peek(1)) and self.peek(1).kind != "number"):
            self.accept("approx", "=", "sim", "simeq")  # "= 5", "\approx 5": the left side was left out
        operands = [self.sets()]
        operators: list[str] = []
        while operator := self._operator():
            operators.append(operator)
            operands.append(self.sets())
        if not operators:
            return operands[0]
        if "cong" in operators and not (isinstance(operands[0], Symbol) and " " in operands[0].name):  # no figures
            operators = ["~" if operator == "cong" else operator for operator in operators]
        return Relation(tuple(operands), tuple(operators))

    def _operator(self) -> str | None:
        token = self.peek()
        if token.kind == "command" and token.text == "not" and self.peek(1).text in ("=", "eq", "in"):
            self.position += 2
            return "not in" if self.tokens[self.position - 1].text == "in" else "!="
        operator = _OPERATORS[token.kind].get(token.text) if token.kind in _OPERATORS else None
        if operator is not None and not (operator == ":" and self.bars):
            self.position += 1
            return operator
        return None

    def sets(self) -> Node:
        """A sum, or sets joined by ``\\cup``, ``\\cap``, ``\\setminus``."""
        operands = [self.sum()]
        operators: list[str] = []
        while True:
            token = self.peek()
            if token.kind == "command" and token.text in _SET_OPERATORS:
                operators.append(_SET_OPERATORS[token.text])
            elif token.kind == "letters" and token.text in ("U", "u") and self._is_plain_union():
                operators.append("union")
            else:
                break
            self.position += 1
            operands.append(self.sum())
        return operands[0] if not operators else SetOperation(tuple(operands), tuple(operators))

    def _is_plain_union(self) -> bool:
        """``(1,2) U (3,4)``: a letter U between a closing and an opening bracket."""
        before = self.tokens[self.position - 1].text if self.position else ""
        return before in (")", "]", "}") and self.peek(1).text in ("(", "[", "{")

    def group(self, opening: str) -> Node:
        """The rest of ``( [ \\{ \\langle``: one bracketed expression, or a Group."""
        return self.enclosed(lambda: self._group(opening))

    def _group(self, opening: str) -> Node:
        if opening == "{" and self.accept("}"):
            return Group("{", (), "}")
        inner = self.sequence()
        items = inner.items if isinstance(inner, Sequence) else (inner,)
        if opening == "{" and self.accept("|", "mid", "vert", ":"):
            conditions = self.sequence()
            self.expect("}")
            return Builder(inner, (conditions,))
        closing = _CLOSERS.get(self.next().text)
        curly = opening == "{"
        if closing is None or curly != (closing == "}") or (opening == "langle") != (closing == ">"):
            raise UnreadableError("brackets do not match")
        first, *others = items
        if curly and isinstance(first, Relation) and ":" in first.operators[:-1]:  # \{ x : x > 0 \}
            position = first.operators.index(":") + 1
            condition = Relation(first.operands[position:], first.operators[position:])
            return Builder(first.operands[0], (Sequence((condition, *others)) if others else condition,))
        if len(items) == 1 and opening in "([":
            if (opening == "(") != (closing == ")"):
                raise UnreadableError("brackets do not match")
            if opening == "(":
                return items[0]
        mark = "<" if opening == "langle" else opening
        return Group(cast(Literal["(", "[", "{", "<"], mark), items, cast(Literal[")", "]", "}", ">"], closing))

    def matrix(self, environment: str) -> Node:
        """The rest of a matrix after its ``\\begin``."""
        if environment not in _MATRICES:
            raise UnreadableError(f"environment {environment}")
        rows = self.enclosed(lambda: self.deeper(self._rows))
        if self.next() is END or not rows or len({len(entries) for entries in rows}) != 1:
            raise UnreadableError("a matrix that does not end, or is ragged")
        if environment == "cases" and all(len(entries) == 1 for entries in rows):  # a system of equations, solved
            return Sequence(tuple(entry for entries in rows for entry in entries))
        return Call("det", (Matrix(tuple(rows)),)) if environment == "vmatrix" else Matrix(tuple(rows))

    def _rows(self) -> list[tuple[Node, ...]]:
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while self.peek().kind != "end":
            row.append(self._cell())
            if self.accept("&"):
                continue
            rows.append(tuple(row))
            row = []
            self.accept(".")
            if self.accept("\\", "cr") is None and self.peek().kind != "end":
                raise UnreadableError("a matrix row that does not end")
            while self.accept("\\"):  # escaped twice
                pass
        return rows

    def _cell(self) -> Node:
        """An entry; in a definition by cases, also its condition: ``\\text{if } x > 0``, ``\\text{otherwise}``."""
        word = self.peek().text.lower() if self.peek().kind == "word" else ""
        self.position += word in _CONDITIONS or word in _OTHERWISE
        if word in _CONDITIONS:
            self.accept("&")  # the word has a column of its own
        cell = Symbol("otherwise") if word in _OTHERWISE else self.sequence()
        self.accept(".")
        return cell

    # -- sums and units

    def sum(self) -> Node:
        """A sum, with its unit."""
        terms: list[Node] = []
        sign = self.accept("+", "-", "pm", "mp") or "+"
        while True:
            term = self.term()
            if sign in ("pm", "mp"):
                before = sum_of(terms) if terms else Number(Fraction(0))
                terms = [PlusMinus(before, term, 1 if sign == "pm" else -1)]
            else:
                terms.append(Negative(term) if sign == "-" else term)
            found = self.accept("+", "-", "pm", "mp")
            if found is None:
                return self._with_unit(sum_of(terms))
            sign = found

    def _with_unit(self, value: Node) -> Node:
        if self.peek() is END or (self.peek().kind == "symbol" and not self.at_mark("/")):
            return value
        words: list[str] = []
        while True:
            token = self.peek()
            scale = SCALES.get(token.text.lower().rstrip("s")) if token.kind == "word" else None
            if scale and not words and isinstance(value, Number | Quantity):
                value = scaled(value, scale)
                self.position += 1
            elif self._at_unit(words):
                words.append(self.next().text)
            elif words and (power := self._unit_power()):
                words.append("^" + power)
            elif (
                words and token.text in ("/", "-", "cdot", ".") and self.peek(1).kind in ("word", "letters", "command")
            ):
                self.position += 1
                words.append("per" if token.text == "/" else "-")
                words.append(self.next().text)
            elif not words and isinstance(value, Quantity) and self.at_mark("/") and self.peek(1).kind == "word":
                self.position += 1  # $18/day
                words.append(self.next().text)
            elif words and self.at_mark("."):
                self.position += 1
            else:
                break
        if makes_another_value(words):
            raise UnreadableError("a number within a phrase")
        if not words:
            return value
        if isinstance(value, Quantity):  # "$18 per day", "5 cm long": the first unit decides
            return Quantity(value.value, directed(value.unit, " ".join(words)))
        return Quantity(value, canonical_unit(words))

    def _at_unit(self, words: list[str]) -> bool:
        token = self.peek()
        if token.kind == "word":
            return token.text.lower() not in ("and", "or") or (bool(words) and self.peek(1).kind == "word")
        if words and words[-1] == "per":
            return token.kind == "letters"
        return token.kind == "command" and token.text in _UNIT_FUNCTIONS and self._is_unit_function()

    def _is_unit_function(self) -> bool:
        """``27 \\mathrm{min}``: a name that is a unit and a function stands for the unit where nothing follows it."""
        after = self.peek(1)
        is_mark = after.kind == "symbol" and after.text in (",", ";", ")", "]", "}", "=", "/")
        return after is END or is_mark or after.kind == "word"

    def _unit_power(self) -> str:
        """The power of a unit, which it takes: ``^2``, ``^{-2}``."""
        start, braced = self.position, False
        if self.accept("^") is not None:
            braced = self.accept("{") is not None
            sign = self.accept("-") or ""
            power = self.next().text
            if power in ("1", "2", "3") and (not braced or self.accept("}")):
                return sign + power
        self.position = start
        return ""

    # -- products and powers

    def term(self) -> Node:
        """A product or quotient."""
        last = self.position
        value = self.power()
        while True:
            token = self.peek()
            if token is END:
                break
            if self.at_mark("*") or (token.kind == "command" and token.text in ("cdot", "times", "ast", "bullet")):
                self.position += 1
                is_cross = token.text == "times" and self._is_vector(last) and self._is_vector(self.position)
                last = self.position
                value = (crossed if is_cross else product_of)(value, self.signed_power())
            elif self.at_mark("/") or (token.text == "div" and token.kind == "command"):
                if self.peek(1).kind == "word":
                    break
                self.position += 1
                divisor = self._differential() or self.signed_power()
                if (operator := derivative(value, divisor)) is not None:
                    value = derived(self, *operator)
                    continue
                value = mixed(value, divisor) or Quotient(value, divisor)
            elif self.starts_factor(token):
                last = self.position
                value = juxtaposed(value, self.power())
            else:
                break
        if isinstance(value, Product) and isinstance(value.factors[-1], Pending):
            raise UnreadableError("two numbers side by side")
        return value

    def _is_vector(self, position: int) -> bool:
        """``\\vec{a}``, or one of the letters that nobody multiplies with a cross unless they are vectors."""
        token = self.tokens[position] if position < len(self.tokens) else END
        return token.text in _ARROWS or (token.kind == "letters" and token.text in _VECTORS)

    def _differential(self) -> Node | None:
        """``dx^2`` of ``d^2y/dx^2``: one thing below the stroke, where ``1/ab`` would be b over a."""
        first, second = self.peek(), self.peek(1)
        if first.text not in ("d", "partial") or second.kind not in ("letters", "command"):
            return None
        if first.kind == "letters" and (second.kind != "letters" or second.spaced):
            return None
        return Product((Symbol(self.next().text), self.power()))

    def starts_factor(self, token: Token) -> bool:
        """Whether a factor may begin here, without an operator before it."""
        match token.kind:
            case "number" | "begin":
                return True
            case "letters":
                return token.text not in ("U", "u") or not self._is_plain_union()
            case "symbol":
                return token.text in ("(", "[", "{") or (token.text == "|" and not self.bars)
            case "command":
                is_unit = token.text in _UNIT_FUNCTIONS and self._is_unit_function()
                return token.text in FACTORS and not is_unit and not (token.text in BARS and self.bars)
            case _:
                return False

    def signed_power(self) -> Node:
        """A power, possibly with a sign: ``2 \\cdot -3``."""
        sign = self.accept("+", "-")
        value = self.power()
        return Negative(value) if sign == "-" else value

    def power(self) -> Node:
        """A primary with its marks and its exponent."""
        base = self.postfix()
        if self.accept("^", "**") is None:
            return base
        order = "()" if self.at_mark("{") and self.peek(1).text == "(" else ""  # of a derivative: f^{(n)}
        exponent = self.deeper(self.exponent)
        if exponent is None:
            return self._angle(base)
        if isinstance(base, Group | Matrix) and exponent == Symbol("T"):
            return transposed(base)
        if isinstance(base, Symbol) and self.is_applied(base.name):
            if is_minus_one(exponent):  # f^{-1}(x)
                return self.application(f"{base.name}^-1")
            if base.name in _FUNCTION_NAMES:  # f^{(n)}(x), f^2(x)
                return self.application(f"{base.name}^{order}", exponent)
        if order and isinstance(base, Symbol) and base.name in _FUNCTION_NAMES:
            return Call("apply", (Symbol(f"{base.name}^{order}"), exponent))
        node = counted(base, exponent) or Power(base, exponent)
        while self.accept("!"):
            node = Call("factorial", (node,))
        return node

    def exponent(self) -> Node | None:
        """What follows ``^``; None if it is a degree mark."""
        if self.peek().text in _ANGLE_MARKS or (self.at_mark("{") and self.peek(1).text in _ANGLE_MARKS):
            return None
        if self.accept("top", "intercal"):
            return Symbol("T")
        if self.at_mark("{"):
            if self.peek(1).text in ("top", "intercal") and self.at_mark("}", 2):
                self.position += 3
                return Symbol("T")
            return self.braced()
        sign = self.accept("+", "-")
        value = self.postfix()
        if self.accept("^", "**"):
            inner = self.deeper(self.exponent)
            if inner is None:
                raise UnreadableError("an angle in an exponent")
            value = Power(value, inner)
        return Negative(value) if sign == "-" else value

    def _angle(self, base: Node) -> Node:
        """At a degree mark after ``base``: degrees, then minutes and seconds if they follow, or a temperature."""
        braced = self.accept("{") is not None
        self.next()
        if braced:
            self.expect("}")
        if self.peek().kind in ("letters", "word") and self.peek().text in ("C", "F") and self.peek(1) is END:
            return Quantity(base, f"degree {self.next().text}")
        parts = [base]
        for size in (60, 3600):
            marks = self._primes(1) if self.peek().kind == "number" else 0
            if not marks:
                break
            parts.append(Quotient(literal(self.next().text), Number(Fraction(size))))
            self.position += marks
        return Call("degree", (sum_of(parts),))

    def postfix(self) -> Node:
        """A primary with the marks after it."""
        value = self.primary()
        while True:
            token = self.peek()
            if token is END:
                return value
            if self.at_mark("!"):
                is_double = self.at_mark("!", 1)
                self.position += 1 + is_double
                value = Call("doublefactorial" if is_double else "factorial", (value,))
            elif self.at_mark("(") and is_made_of_functions(value):  # (f+g)(x)
                value = applied(value, self._bracketed())
            elif token.text == "circ" and isinstance(value, Symbol | Call) and self.starts_factor(self.peek(1)):
                self.position += 1
                value = Call("compose", (value, self.primary()))
            elif token.kind == "command" and token.text in _ANGLE_MARKS:
                value = self._angle(value)
            elif token.text == "%" and token.kind in ("symbol", "command"):
                self.position += 1
                value = Quantity(value, "%")
            elif token.kind == "command" and token.text == "bmod":
                self.position += 1
                value = Call("mod", (value, self.primary()))
            elif token.kind == "command" and token.text in ("pmod", "mod"):
                self.position += 1
                modulus = literal(self.next().text) if self.peek().kind == "number" else self.argument()
                if not isinstance(modulus, Number) or not is_integer(modulus):
                    raise UnreadableError("an odd modulus")
                value = Quantity(value, f"mod {int(modulus.value)}")
            else:
                return value

    # -- primaries

    def primary(self) -> Node:
        """A number, name, bracket, matrix or macro."""
        token = self.next()
        match token.kind:
            case "number":
                return literal(token.text)
            case "letters":
                return self.symbol(token.text)
            case "begin":
                return self.matrix(token.text)
            case "command":
                macro = MACROS.get(token.text)
                if macro is None:
                    raise UnreadableError(f"unknown command {token.text!r}")
                return macro(self, token.text)
            case "word" if self.at_mark("(") and not self.peek().spaced:  # Cov(Z, W)
                return self.application(token.text)
            case "symbol" if token.text in ("(", "["):
                return self.group(token.text)
            case "symbol" if token.text == "{":
                self.position -= 1
                inner = self.braced()
                return Group("{", inner.items, "}") if isinstance(inner, Sequence) else inner
            case "symbol" if token.text == "|":
                return self.absolute()
            case _:
                raise UnreadableError(f"unexpected {token.text!r}")

    def braced(self) -> Node:
        """``{...}`` as LaTeX groups, with ``\\choose`` inside."""
        self.expect("{")
        inner = self.enclosed(self.chosen)
        self.expect("}")
        return inner

    def chosen(self) -> Node:
        """A sequence, or two with ``\\choose`` or ``\\over`` between them."""
        inner = self.sequence()
        if mark := self.accept("choose", "over"):
            lower = self.sequence()
            return Call("binomial", (inner, lower)) if mark == "choose" else Quotient(inner, lower)
        return inner

    def absolute(self) -> Node:
        """The rest of ``|...|``."""
        self.bars += 1
        inner = self.deeper(self.sum)
        self.bars -= 1
        self.expect(*_CLOSING_BARS)
        if isinstance(inner, Group) and inner.opening in "(<":  # the length of a vector
            two = Number(Fraction(2))
            return Call("root", (Sum(tuple(Power(item, two) for item in inner.items)), two))
        return Call("abs", (inner,))

    def symbol(self, name: str) -> Node:
        """A name with its subscript and primes; a function's with its bracket."""
        if self.at_mark("_"):
            self.position += 1
            name += "_" + self._subscript()
        elif name not in ("e", "i") and self.peek().text.isdigit() and not self.peek().spaced:
            name += "_" + self.next().text  # x2 is a name, no product
        while marks := self._primes():
            for _ in range(marks):
                name += _PRIMES.get(self.next().text, "")
        if name in ("e", "i"):
            return Constant("e" if name == "e" else "i")
        return self.application(name) if self.is_applied(name) else Symbol(name)

    def _subscript(self) -> str:
        token = self.next()
        if token.text != "{":
            return token.text
        parts: list[str] = []
        while (token := self.next()).text != "}":
            if token is END or token.text == "{" or len(parts) > 12:
                raise UnreadableError("an odd subscript")
            parts.append(token.text)
        return "".join(parts)

    def _primes(self, ahead: int = 0) -> int:
        """How many tokens from ``ahead`` on are prime marks: ``'``, ``''``, ``^\\prime``, ``^{\\prime\\prime}``."""
        if self.peek(ahead).text in ("'", "''", '"'):
            return 1
        if not self.at_mark("^", ahead):
            return 0
        if self.peek(ahead + 1).text == "prime":
            return 2
        end = ahead + 2
        if not self.at_mark("{", ahead + 1) or self.peek(end).text != "prime":
            return 0
        while self.peek(end).text == "prime":
            end += 1
        return end + 1 - ahead if self.at_mark("}", end) else 0

    def is_applied(self, name: str) -> bool:
        """Whether a name before a bracket is a function's, not a factor."""
        letter = name.rstrip("'").partition("_")[0]
        if letter in _FUNCTION_NAMES and (self.at_mark("(") or self.at_mark("[")):
            return True
        if letter in _ORDERS and self.at_mark("(") and self._holds_one_item():  # O(n \\log n), but O(0, 0)
            return True
        if letter in _OF_EVENTS and (self.at_mark("(") or self.at_mark("[")) and self.peek(1).text.isupper():
            return True
        if letter not in _APPLIED or not self.at_mark("(") or self.peek().spaced:
            return False
        return self._holds_one_name() or (letter in _APPLIED_TO_VARIABLES and self._holds_variables())

    def _holds_one_name(self) -> bool:
        """``f(x)``, ``P(2)``: a bracket with one or two names or numbers."""
        ahead = 1
        while self.peek(ahead).kind in ("letters", "number") or self.peek(ahead).text in (",", "-", "pi", "theta"):
            if self.at_mark("-", ahead) and self.peek(ahead - 1).text not in ("(", ","):
                return False
            ahead += 1
        has_decimal = any("." in self.peek(index).text for index in range(1, ahead))
        return ahead in (2, 3, 4, 6) and self.peek(ahead).text == ")" and not has_decimal

    def _holds_one_item(self) -> bool:
        """``(n^2 + 1)``: a bracket without a comma."""
        ahead, level = 1, 1
        while level:
            token = self.peek(ahead)
            if token is END or token.text == ",":
                return False
            level += (token.text == "(") - (token.text == ")")
            ahead += 1
        return True

    def _holds_variables(self) -> bool:
        """``(x + 1)``, ``(f(x))``: a bracket with no other letters than variables and functions."""
        ahead, level, found = 1, 1, False
        while level:
            token = self.peek(ahead)
            if token is END or token.kind in ("word", "begin") or token.text in GREEK:
                return False
            if token.kind == "letters":
                is_function = token.text in _APPLIED and self.at_mark("(", ahead + 1)
                if not is_function and token.text not in _VARIABLES:
                    return False
                found = True
            level += (token.text == "(") - (token.text == ")")
            ahead += 1
        return found

    def application(self, name: str, *before: Node) -> Node:
        """A function's name with the bracket after it; ``diag(2, 3)`` and ``Matrix([[1, 2], [3, 4]])`` are matrices."""
        if name == "Matrix":
            return self.group(self.next().text)
        if name in ("Re", "Im"):
            return Call(name, self._bracketed())
        if name == "diag":
            entries = self._bracketed()
            zero = Number(Fraction(0))
            places = range(len(entries))
            return Matrix(tuple(tuple(entries[row] if row == column else zero for column in places) for row in places))
        return Call("apply", (Symbol(name), *before, *self._bracketed()))

    def _bracketed(self) -> tuple[Node, ...]:
        inner = self.group(self.next().text)
        return inner.items if isinstance(inner, Group) else (inner,)

    # -- what macros apply to

    def within(self, tokens: list[Token], rule: Callable[[Grammar], Node]) -> Node:
        """What a rule makes of other tokens, all of which must be used up."""
        inner = Grammar(tokens)
        inner.depth = self.depth
        node = inner.deeper(lambda: rule(inner))
        if inner.position < len(tokens):
            raise UnreadableError(f"unexpected {inner.peek().text!r}")
        return node

    def argument(self) -> Node:
        """A macro's argument: braces, or one token, where a number gives its first digit only (``\\frac12``)."""
        token = self.peek()
        if self.at_mark("{"):
            return self.braced()
        if token.kind == "number" and len(token.text) > 1 and token.text.isdigit():
            self.tokens[self.position] = Token("number", token.text[1:])
            return literal(token.text[0])
        if token.kind == "letters":  # \frac x2
            self.position += 1
            return Constant("e" if token.text == "e" else "i") if token.text in ("e", "i") else Symbol(token.text)
        sign = self.accept("-")
        value = self.deeper(self.primary)
        return Negative(value) if sign else value

    def arguments(self) -> tuple[Node, ...]:
        """What a function applies to: a bracket, or the product up to the next sign, bracket or function."""
        if self.at_mark("{"):
            inner = self.braced()
        elif opening := self.accept("(", "["):
            inner = self.enclosed(self.sequence)
            self.expect(")" if opening == "(" else "]")
        else:
            sign = self.accept("-")
            inner = self.power()
            while (
                self.starts_factor(token := self.peek()) and token.kind != "begin" and token.text not in _ENDS_ARGUMENT
            ):
                inner = juxtaposed(inner, self.power())
            return (Negative(inner) if sign else inner,)
        return inner.items if isinstance(inner, Sequence) else (inner,)
