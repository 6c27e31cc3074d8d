"""Tokens -> arithmetic: sums, products, powers, functions, roots, units. Grammar, loosest binding first::

    sum     = [sign] term { ("+" | "-" | "\\pm") term } [unit]
    term    = power { ("\\cdot" | "/" | nothing) power }
    power   = primary { "!" | "%" | "^\\circ" } [ "^" power ]

Two readings that notation leaves open are settled here: an integer directly before a proper fraction of integers is a
mixed number (``3\\frac{1}{2}`` is 7/2), and a function without brackets takes the product up to the next sign, bracket
or function (``\\sin 2x \\cos x`` is sin(2x) cos(x)).
"""

from __future__ import annotations

from fractions import Fraction

from dart_tasks.grading.cursor import END
from dart_tasks.grading.lexer import CONSTANTS, FUNCTIONS, Token, UnreadableError
from dart_tasks.grading.nodes import (
    Call,
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
    Symbol,
    children,
    walk,
)
from dart_tasks.grading.pieces import (
    Pending,
    applied,
    derivative,
    is_integer,
    is_minus_one,
    juxtaposed,
    literal,
    mixed,
    product_of,
    scaled,
    sum_of,
    transposed,
)
from dart_tasks.grading.primaries import (
    BARS,
    BINOMIALS,
    FRACTIONS,
    FUNCTION_NAMES,
    GREEK,
    OPENING,
    STYLE,
    PrimaryParser,
)
from dart_tasks.grading.units import SCALES, canonical_unit, makes_another_value

__all__ = ["ExpressionParser"]

COMBINED = frozenset("f g h F G H".split())
ANGLE_MARKS = frozenset(("circ", "degree", "degrees"))
UNIT_FUNCTIONS = ("min", "sec")  # also minutes and seconds
STARTS_FACTOR = (
    FRACTIONS | BINOMIALS | OPENING | FUNCTIONS | GREEK | STYLE | CONSTANTS.keys() | {"sum", "prod", "{", "neg", "lnot"}
)


class ExpressionParser(PrimaryParser):
    """The arithmetic layer; brackets that may hold several answers belong to the layer above."""

    def sum(self) -> Node:
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
        words: list[str] = []
        while True:
            token = self.peek()
            scale = SCALES.get(token.text.lower().rstrip("s")) if token.kind == "word" else None
            if scale and not words and isinstance(value, Number | Quantity):
                value = scaled(value, scale)
                self.position += 1
            elif self._at_unit(words):
                words.append(self.next().text)
            elif words and self._unit_power():
                words.append("^" + self._unit_power())
                self.position += 2 if self.peek(1).text != "{" else 4
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
        if not words:
            return value
        if makes_another_value(words):
            raise UnreadableError("a number within a phrase")
        unit = canonical_unit(words)
        if isinstance(value, Quantity):  # "$18 per day", "5 cm long": the first unit decides
            return value
        return Quantity(value, unit)

    def _at_unit(self, words: list[str]) -> bool:
        token = self.peek()
        if token.kind == "word":
            return token.text.lower() not in ("and", "or") or (bool(words) and self.peek(1).kind == "word")
        if words and words[-1] == "per":
            return token.kind == "letters"
        return token.kind == "command" and token.text in UNIT_FUNCTIONS and self._is_unit_function()

    def _is_unit_function(self) -> bool:
        """``27 \\mathrm{min}``: a name that is a unit and a function stands for the unit where nothing follows it."""
        after = self.peek(1)
        return (
            after is END
            or (after.kind == "symbol" and after.text in (",", ";", ")", "]", "}", "=", "/"))
            or after.kind == "word"
        )

    def _unit_power(self) -> str:
        if self.at_mark("^"):
            ahead = 2 if self.at_mark("{", 1) else 1
            if self.peek(ahead).text in ("2", "3") and (ahead == 1 or self.at_mark("}", 3)):
                return self.peek(ahead).text
        return ""

    def term(self) -> Node:
        value = self.power()
        while True:
            token = self.peek()
            if (token.kind == "symbol" and token.text == "*") or (
                token.kind == "command" and token.text in ("cdot", "times", "ast", "bullet")
            ):
                self.position += 1
                value = product_of(value, self.signed_power())
            elif self.at_mark("/") or (token.text == "div" and token.kind == "command"):
                if self.peek(1).kind == "word":
                    break
                self.position += 1
                divisor = self._differential() or self.signed_power()
                if (operator := derivative(value, divisor)) is not None:
                    value = self.derived(*operator)
                    continue
                value = mixed(value, divisor) or Quotient(value, divisor)
            elif self.starts_factor(token):
                value = juxtaposed(value, self.power())
            else:
                break
        if isinstance(value, Product) and isinstance(value.factors[-1], Pending):
            raise UnreadableError("two numbers side by side")
        return value

    def _differential(self) -> Node | None:
        """``dx^2`` of ``d^2y/dx^2``: one thing below the stroke, where ``1/ab`` would be b over a."""
        if not (self.peek().text in ("d", "partial") and self.peek(1).kind in ("letters", "command")):
            return None
        if self.peek().kind == "letters" and (self.peek(1).kind != "letters" or self.peek(1).spaced):
            return None
        return Product((Symbol(self.next().text), self.power()))

    def starts_factor(self, token: Token) -> bool:
        """Whether a factor may begin here, without an operator before it."""
        if token.kind in ("number", "begin"):
            return True
        if token.kind == "letters":
            return token.text not in ("U", "u") or not self.is_plain_union()
        if token.kind == "symbol":
            return token.text in ("(", "[", "{") or (token.text == "|" and not self.bars)
        if token.kind == "command":
            if token.text in UNIT_FUNCTIONS and self._is_unit_function():
                return False
            return token.text in STARTS_FACTOR and not (token.text in BARS and self.bars)
        return False

    def is_plain_union(self) -> bool:
        """``(1,2) U (3,4)``: a letter U between a closing and an opening bracket."""
        before = self.tokens[self.position - 1].text if self.position else ""
        return before in (")", "]", "}") and self.peek(1).text in ("(", "[", "{")

    def signed_power(self) -> Node:
        sign = self.accept("+", "-")
        value = self.power()
        return Negative(value) if sign == "-" else value

    def power(self) -> Node:
        base = self.postfix()
        if self.accept("^", "**") is None:
            return base
        self.descend()
        exponent = self.exponent()
        self.depth -= 1
        if exponent is None:
            return self._angle(base)
        if isinstance(base, Group | Matrix) and exponent == Symbol("T"):
            return transposed(base)
        if isinstance(base, Symbol) and self._is_applied(base.name):
            if is_minus_one(exponent):  # f^{-1}(x)
                return self._application(f"{base.name}^-1")
            if base.name in FUNCTION_NAMES:  # f^{(n)}(x), f^2(x)
                return self._application(f"{base.name}^", exponent)
        node: Node = Power(base, exponent)
        while self.accept("!"):
            node = Call("factorial", (node,))
        return node

    def exponent(self) -> Node | None:
        """What follows ``^``; None if it is a degree mark."""
        if self.peek().text in ANGLE_MARKS or (self.at_mark("{") and self.peek(1).text in ANGLE_MARKS):
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
            self.descend()
            inner = self.exponent()
            self.depth -= 1
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
        if self.peek().kind == "letters" and self.peek().text in ("C", "F") and self.peek(1) is END:
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
        value = self.primary()
        while True:
            token = self.peek()
            if self.at_mark("!"):
                is_double = self.at_mark("!", 1)
                self.position += 1 + is_double
                value = Call("doublefactorial" if is_double else "factorial", (value,))
            elif self._is_function(value) and self.at_mark("("):  # (f+g)(x)
                value = applied(value, self._bracketed())
            elif token.text == "circ" and isinstance(value, Symbol | Call) and self.starts_factor(self.peek(1)):
                self.position += 1
                value = Call("compose", (value, self.primary()))
            elif token.kind == "command" and token.text in ANGLE_MARKS:
                value = self._angle(value)
            elif token.text == "%" and token.kind in ("symbol", "command"):
                self.position += 1
                value = Quantity(value, "%")
            elif token.kind == "command" and token.text in ("pmod", "mod"):
                self.position += 1
                value = Quantity(value, f"mod {self._modulus()}")
            else:
                return value

    @staticmethod
    def _is_function(node: Node) -> bool:
        """``f + g``, ``f \\circ g``: made of functions only."""
        if isinstance(node, Symbol):
            return False
        leaves = (part for part in walk(node) if not children(part))
        return all(isinstance(leaf, Symbol) and leaf.name in COMBINED for leaf in leaves)

    def _modulus(self) -> int:
        modulus = self.argument()
        if not is_integer(modulus) or not isinstance(modulus, Number):
            raise UnreadableError("an odd modulus")
        return int(modulus.value)
