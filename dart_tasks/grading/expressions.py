"""Tokens -> arithmetic: sums, products, powers, functions, roots, units. Grammar, loosest binding first::

    sum     = [sign] term { ("+" | "-" | "\\pm") term } [unit]
    term    = power { ("\\cdot" | "/" | nothing) power }
    power   = primary { "!" | "%" | "^\\circ" } [ "^" power ]

Two readings that notation leaves open are settled here: an integer directly before a proper fraction of integers is a
mixed number (``3\\frac{1}{2}`` is 7/2), and a function without brackets takes the product up to the next sign, bracket
or function (``\\sin 2x \\cos x`` is sin(2x) cos(x)).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

from dart_tasks.grading.cursor import END, Cursor
from dart_tasks.grading.lexer import CONSTANTS, FUNCTIONS, Token, UnreadableError
from dart_tasks.grading.nodes import (
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
    Sequence,
    Sum,
    Symbol,
)
from dart_tasks.grading.units import SCALES, canonical_unit, makes_another_value

__all__ = ["ExpressionParser"]

MAX_EXPONENT_DIGITS = 4  # of a literal in scientific notation: 1e9999

GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi omicron rho sigma tau"
    " upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell hbar".split()
)
VARIANTS = {"varepsilon": "epsilon", "varphi": "phi", "vartheta": "theta"}
STYLE = frozenset(
    "mathbf mathrm mathit mathsf mathcal mathbb boldsymbol bm text textbf textit vec hat bar tilde overline underline"
    " overrightarrow operatorname rm bf it tt boxed fbox ensuremath mathop widehat mathring".split()
)
FRACTIONS = frozenset(("frac", "dfrac", "tfrac", "cfrac"))
BINOMIALS = frozenset(("binom", "dbinom", "tbinom"))
OPENING = frozenset(("(", "[", "langle", "lfloor", "lceil", "lvert", "lVert", "vert", "Vert"))
BARS = ("|", "lvert", "lVert", "vert", "Vert", "mid")
CLOSING_BARS = (*BARS, "rvert", "rVert")
ANGLE_MARKS = frozenset(("circ", "degree", "degrees"))
UNIT_FUNCTIONS = ("min", "sec")  # also minutes and seconds
APPLIED = frozenset("f g h F G H P p q r u v y".split())
INVERTIBLE = frozenset("sin cos tan cot sec csc sinh cosh tanh".split())
ALIASES = {
    "lg": "log", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "arsinh": "arcsinh", "asinh": "arcsinh",
    "arcosh": "arccosh", "acosh": "arccosh", "artanh": "arctanh", "atanh": "arctanh",
}  # fmt: skip
STARTS_FACTOR = FRACTIONS | BINOMIALS | OPENING | FUNCTIONS | GREEK | STYLE | CONSTANTS.keys() | {"sum", "prod", "{"}


class ExpressionParser(Cursor, ABC):
    """The arithmetic layer; brackets that may hold several answers belong to the layer above."""

    @abstractmethod
    def sequence(self) -> Node:
        """What stands between brackets or braces."""

    @abstractmethod
    def group(self, opening: str) -> Node:
        """The rest of a bracket that was opened."""

    @abstractmethod
    def matrix(self, environment: str) -> Node:
        """The rest of a matrix environment that was begun."""

    # -- sums and units -------------------------------------------------------------------------------------------

    def sum(self) -> Node:
        terms: list[Node] = []
        sign = self.accept("+", "-", "pm", "mp") or "+"
        while True:
            term = self.term()
            if sign in ("pm", "mp"):
                before = _sum(terms) if terms else Number(Fraction(0))
                terms = [PlusMinus(before, term, 1 if sign == "pm" else -1)]
            else:
                terms.append(Negative(term) if sign == "-" else term)
            found = self.accept("+", "-", "pm", "mp")
            if found is None:
                return self._with_unit(_sum(terms))
            sign = found

    def _with_unit(self, value: Node) -> Node:
        words: list[str] = []
        while True:
            token = self.peek()
            scale = SCALES.get(token.text.lower().rstrip("s")) if token.kind == "word" else None
            if scale and not words and isinstance(value, Number | Quantity):
                value = _scaled(value, scale)
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

    # -- products -------------------------------------------------------------------------------------------------

    def term(self) -> Node:
        value = self.power()
        while True:
            token = self.peek()
            if (token.kind == "symbol" and token.text == "*") or (
                token.kind == "command" and token.text in ("cdot", "times", "ast", "bullet")
            ):
                self.position += 1
                value = _product(value, self.signed_power())
            elif self.at_mark("/") or (token.text == "div" and token.kind == "command"):
                if self.peek(1).kind == "word":
                    break
                self.position += 1
                divisor = self.signed_power()
                value = _mixed(value, divisor) or Quotient(value, divisor)
            elif self.starts_factor(token):
                value = _juxtaposed(value, self.power())
            else:
                break
        if isinstance(value, Product) and isinstance(value.factors[-1], _Pending):
            raise UnreadableError("two numbers side by side")
        return value

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

    # -- powers and marks -----------------------------------------------------------------------------------------

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
            return _transposed(base)
        is_inverse = isinstance(base, Symbol) and base.name in APPLIED and _is_minus_one(exponent)
        if is_inverse and self.at_mark("(") and self._is_application():  # f^{-1}(x)
            return self._application(f"{base.name}^-1" if isinstance(base, Symbol) else "")
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
            parts.append(Quotient(_number(self.next().text), Number(Fraction(size))))
            self.position += marks
        return Call("degree", (_sum(parts),))

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

    def postfix(self) -> Node:
        value = self.primary()
        while True:
            token = self.peek()
            if self.at_mark("!"):
                self.position += 1
                value = Call("factorial", (value,))
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

    def _modulus(self) -> int:
        modulus = self.argument()
        if not _is_integer(modulus) or not isinstance(modulus, Number):
            raise UnreadableError("an odd modulus")
        return int(modulus.value)

    # -- primaries ------------------------------------------------------------------------------------------------

    def primary(self) -> Node:
        token = self.next()
        match token.kind:
            case "number":
                return _number(token.text)
            case "letters":
                return self.symbol(token.text)
            case "begin":
                return self.matrix(token.text)
            case "command":
                return self.command(token.text)
            case "word" if self.at_mark("(") and not self.peek().spaced:  # Cov(Z, W)
                return self._application(token.text)
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
        bars, self.bars = self.bars, 0
        inner = self.sequence()
        if mark := self.accept("choose", "over"):
            lower = self.sequence()
            inner = Call("binomial", (inner, lower)) if mark == "choose" else Quotient(inner, lower)
        self.bars = bars
        self.expect("}")
        return inner

    def absolute(self) -> Node:
        self.bars += 1
        self.descend()
        inner = self.sum()
        self.depth -= 1
        self.bars -= 1
        self.expect(*CLOSING_BARS)
        return Call("abs", (inner,))

    def symbol(self, name: str) -> Node:
        if self.at_mark("_"):
            self.position += 1
            name += "_" + self.subscript()
        while marks := self._primes():
            name += "'"
            self.position += marks
        if name in ("e", "i"):
            return Constant("e" if name == "e" else "i")
        if name[0] in APPLIED and self.at_mark("(") and not self.peek().spaced and self._is_application():
            return self._application(name)
        return Symbol(name)

    def _is_application(self) -> bool:
        """``f(x)``, ``P(2)``: brackets that hold one or two names or numbers."""
        ahead = 1
        while self.peek(ahead).kind in ("letters", "number") or self.peek(ahead).text in (",", "-", "pi", "theta"):
            ahead += 1
        return ahead in (2, 3, 4, 6) and self.peek(ahead).text == ")"

    def _application(self, name: str) -> Node:
        self.expect("(")
        inner = self.group("(")
        return Call("apply", (Symbol(name), *(inner.items if isinstance(inner, Group) else (inner,))))

    def subscript(self) -> str:
        token = self.next()
        if token.text != "{":
            return token.text
        parts: list[str] = []
        while (token := self.next()).text != "}":
            if token is END or token.text == "{" or len(parts) > 12:
                raise UnreadableError("an odd subscript")
            parts.append(token.text)
        return "".join(parts)

    # -- commands -------------------------------------------------------------------------------------------------

    def command(self, name: str) -> Node:
        if name in FRACTIONS or name in BINOMIALS:
            first, second = self.argument(), self.argument()
            return Quotient(first, second) if name in FRACTIONS else Call("binomial", (first, second))
        if name in ("sqrt", "cbrt", "root"):
            return self.root(3 if name == "cbrt" else 2)
        if name in FUNCTIONS:
            return self.function(ALIASES.get(name, name))
        if name in ("{", "langle"):
            return self.group(name)
        if name in ("lfloor", "lceil"):
            inner = self.sequence()
            self.expect("rfloor" if name == "lfloor" else "rceil")
            return Call(name[1:], (inner,))
        if name in BARS:
            return self.absolute()
        if name in CONSTANTS:
            return Constant("pi" if name == "pi" else "infinity")
        if name in GREEK:
            return self.symbol(VARIANTS.get(name, name))
        if name in ("$", "pounds", "euro"):
            return self.money({"$": "$", "pounds": "£", "euro": "€"}[name])
        if name in ("emptyset", "varnothing", "oslash"):
            return Group("{", (), "}")
        if name in ("sum", "prod"):
            return self.series(name)
        if name in ("angle", "measuredangle", "triangle"):
            return self.figure(name)
        if name in STYLE:
            inner = self.argument()
            return Symbol(f"mathbb {inner.name}") if name == "mathbb" and isinstance(inner, Symbol) else inner
        raise UnreadableError(f"unknown command {name!r}")

    def money(self, unit: str) -> Node:
        sign = self.accept("-")
        value = self.postfix()
        return Quantity(Negative(value) if sign else value, unit)

    def figure(self, name: str) -> Node:
        """``\\angle ABC``: the name of a figure, with the letters of its points."""
        points = []
        while self.peek().kind == "letters":
            point = self.symbol(self.next().text)
            points.append(point.name if isinstance(point, Symbol) else "?")
        if not points:
            raise UnreadableError("a figure without points")
        return Symbol(f"{name} {''.join(points)}")

    def argument(self) -> Node:
        """A macro's argument: braces, or one token, where a number gives its first digit only (``\\frac12``)."""
        token = self.peek()
        if self.at_mark("{"):
            return self.braced()
        if token.kind == "number" and len(token.text) > 1 and token.text.isdigit():
            self.tokens[self.position] = Token("number", token.text[1:])
            return _number(token.text[0])
        self.descend()
        sign = self.accept("-")
        value = self.primary()
        self.depth -= 1
        return Negative(value) if sign else value

    def root(self, index: int) -> Node:
        degree: Node = Number(Fraction(index))
        if self.accept("["):
            degree = self.sequence()
            self.expect("]")
        self.descend()
        radicand = self.braced() if self.at_mark("{") else self.primary()
        self.depth -= 1
        return Call("root", (radicand, degree))

    def series(self, name: str) -> Node:
        """``\\sum_{k=1}^{n} a_k`` as ``sum(a_k, k, 1, n)``; ``\\prod`` alike."""
        self.descend()
        self.expect("_")
        self.expect("{")
        index = self.symbol(self.next().text)
        self.expect("=")
        low = self.sum()
        self.expect("}")
        self.expect("^")
        high = self.exponent()
        body = self.term()
        self.depth -= 1
        if not isinstance(index, Symbol) or high is None:
            raise UnreadableError("an odd sum")
        return Call(name, (body, index, low, high))

    # -- functions ------------------------------------------------------------------------------------------------

    def function(self, name: str) -> Node:
        power: Node | None = None
        base: tuple[Node, ...] = ()
        self.descend()
        while self.at_mark("^") or self.at_mark("_"):
            if self.next().text == "^":
                power = self.exponent()
            else:
                base = (self.argument(),)
        arguments = self.arguments()
        self.depth -= 1
        if name == "log":
            arguments = (*arguments, *base)
        if (
            name in INVERTIBLE
            and isinstance(power, Negative)
            and isinstance(power.argument, Number)
            and power.argument.value == 1
        ):
            return Call("arc" + name, arguments)
        call = Call(name, arguments)
        return call if power is None else Power(call, power)

    def arguments(self) -> tuple[Node, ...]:
        """What a function applies to: a bracket, or the product up to the next sign, bracket or function."""
        if self.at_mark("{"):
            inner = self.braced()
        elif opening := self.accept("(", "["):
            bars, self.bars = self.bars, 0
            inner = self.sequence()
            self.bars = bars
            self.expect(")" if opening == "(" else "]")
        else:
            sign = self.accept("-")
            inner = self.power()
            while self.starts_factor(self.peek()) and self._continues_argument(self.peek()):
                inner = _juxtaposed(inner, self.power())
            return (Negative(inner) if sign else inner,)
        return inner.items if isinstance(inner, Sequence) else (inner,)

    @staticmethod
    def _continues_argument(token: Token) -> bool:
        return token.text not in FUNCTIONS and token.text not in OPENING and token.text != "|" and token.kind != "begin"


# -- pieces -----------------------------------------------------------------------------------------------------------


def _number(text: str) -> Number:
    mantissa, _, exponent = text.lower().partition("e")
    if len(exponent.lstrip("+-")) > MAX_EXPONENT_DIGITS:
        raise UnreadableError("too large an exponent")
    digits = len(mantissa.replace(".", "").lstrip("0"))
    if exponent:
        return Number(Fraction(text), len(mantissa.partition(".")[2]) - int(exponent), digits)
    if "." in mantissa:
        places = len(mantissa.partition(".")[2])
        return Number(Fraction(text.rstrip(".")), places or None, digits)
    return Number(Fraction(int(mantissa)), None, digits)


def _scaled(value: Number | Quantity, scale: int) -> Node:
    if isinstance(value, Quantity):
        return Quantity(_scaled(value.value, scale), value.unit) if isinstance(value.value, Number) else value
    return Number(value.value * scale)


def _sum(terms: list[Node]) -> Node:
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def _product(left: Node, right: Node) -> Node:
    return Product((*(left.factors if isinstance(left, Product) else (left,)), right))


def _transposed(node: Group | Matrix) -> Node:
    return Matrix(tuple(zip(*node.rows, strict=True))) if isinstance(node, Matrix) else node


def _is_minus_one(node: Node) -> bool:
    return isinstance(node, Negative) and isinstance(node.argument, Number) and node.argument.value == 1


def _is_integer(node: Node) -> bool:
    return isinstance(node, Number) and node.places is None and node.value.denominator == 1


def _is_proper(node: Node) -> bool:
    if not isinstance(node, Quotient) or not (_is_integer(node.numerator) and _is_integer(node.denominator)):
        return False
    top, bottom = node.numerator, node.denominator
    return isinstance(top, Number) and isinstance(bottom, Number) and 0 < top.value < bottom.value


class _Pending(Number):
    """The 1 of ``3 1/2`` until a slash shows that it is a mixed number."""

    __slots__ = ()


def _juxtaposed(left: Node, right: Node) -> Node:
    """Two neighbours without an operator: a mixed number or a product. Two bare numbers are neither."""
    if _is_integer(left) and _is_proper(right):
        return Sum((left, right))
    if _is_integer(left) and isinstance(right, Quantity) and _is_proper(right.value):  # 66\frac{2}{3}\%
        return Quantity(Sum((left, right.value)), right.unit)
    if _is_integer(left) and isinstance(right, Call) and right.name == "degree" and _is_proper(right.arguments[0]):
        return Call("degree", (Sum((left, right.arguments[0])),))
    if isinstance(right, Number):
        if _is_integer(left) and _is_integer(right) and not isinstance(left, _Pending):
            return Product((left, _Pending(right.value, None, right.digits)))
        last = left.factors[-1] if isinstance(left, Product) else left
        if isinstance(last, Number | Quantity) or (isinstance(last, Quotient) and isinstance(last.denominator, Number)):
            raise UnreadableError("two numbers side by side")
    if isinstance(left, Product) and isinstance(left.factors[-1], _Pending):
        raise UnreadableError("two numbers side by side")
    return _product(left, right)


def _mixed(value: Node, divisor: Node) -> Node | None:
    """``3 1`` over ``2``: seven halves. None if ``value`` is no whole number beside a numerator."""
    if not (isinstance(value, Product) and isinstance(value.factors[-1], _Pending)):
        return None
    whole, top = value.factors
    fraction = Quotient(Number(top.value, None, top.digits), divisor) if isinstance(top, Number) else top
    if not _is_proper(fraction):
        raise UnreadableError("two numbers side by side")
    return Sum((whole, fraction))
