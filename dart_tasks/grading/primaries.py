"""Tokens -> primaries: numbers, names, brackets, macros (``\\frac``, ``\\sqrt``, ``\\binom``) and functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

from dart_tasks.grading.cursor import END, Cursor
from dart_tasks.grading.lexer import CONSTANTS, FUNCTIONS, Token, UnreadableError
from dart_tasks.grading.nodes import (
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
    Sequence,
    Symbol,
)
from dart_tasks.grading.pieces import derivative, juxtaposed, literal

__all__ = ["APPLIED", "BARS", "BINOMIALS", "FRACTIONS", "GREEK", "OPENING", "STYLE", "PrimaryParser"]

GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi omicron rho sigma tau"
    " upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell hbar partial".split()
)
VARIANTS = {"varepsilon": "epsilon", "varphi": "phi", "vartheta": "theta"}
STYLE = frozenset(
    "mathbf mathrm mathit mathsf mathcal mathbb boldsymbol bm text textbf textit vec hat bar tilde overline underline"
    " overrightarrow operatorname rm bf it tt boxed fbox ensuremath mathop widehat mathring imath jmath".split()
)
ACCENTS = {
    "overline": "bar", "bar": "bar", "hat": "hat", "widehat": "hat", "tilde": "tilde", "mathring": "ring",
}  # fmt: skip
UNIT_VECTORS = (Constant("i"), Symbol("j"), Symbol("k"))
FRACTIONS = frozenset(("frac", "dfrac", "tfrac", "cfrac"))
BINOMIALS = frozenset(("binom", "dbinom", "tbinom"))
OPENING = frozenset(("(", "[", "langle", "lfloor", "lceil", "lvert", "lVert", "vert", "Vert"))
BARS = ("|", "lvert", "lVert", "vert", "Vert", "mid")
CLOSING_BARS = (*BARS, "rvert", "rVert")
FUNCTION_NAMES = frozenset("f g F phi psi Phi Psi Gamma zeta".split())  # before a bracket, whatever it holds
APPLIED = frozenset("h G H P p q r u v y".split()) | FUNCTION_NAMES  # before a bracket with a name or a number
APPLIED_TO_VARIABLES = frozenset("h G H P p q".split())  # h(x+1), but h(a+b) is a product
VARIABLES = frozenset("x y z t n".split())
INVERTIBLE = frozenset("sin cos tan cot sec csc sinh cosh tanh".split())
_PRIMES = {"'": "'", "prime": "'", "''": "''", '"': "''"}
ALIASES = {
    "lg": "log", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "arsinh": "arcsinh", "asinh": "arcsinh",
    "arcosh": "arccosh", "acosh": "arccosh", "artanh": "arctanh", "atanh": "arctanh",
}  # fmt: skip


class PrimaryParser(Cursor, ABC):
    """Numbers, names, macros and functions; what holds them belongs to the layers above."""

    @abstractmethod
    def sequence(self) -> Node:
        """What stands between brackets or braces."""

    @abstractmethod
    def group(self, opening: str) -> Node:
        """The rest of a bracket that was opened."""

    @abstractmethod
    def matrix(self, environment: str) -> Node:
        """The rest of a matrix environment that was begun."""

    @abstractmethod
    def sum(self) -> Node:
        """A sum, with its unit."""

    @abstractmethod
    def term(self) -> Node:
        """A product."""

    @abstractmethod
    def power(self) -> Node:
        """A primary with its marks and its exponent."""

    @abstractmethod
    def exponent(self) -> Node | None:
        """What follows ``^``; None if it is a degree mark."""

    @abstractmethod
    def postfix(self) -> Node:
        """A primary with its marks."""

    @abstractmethod
    def starts_factor(self, token: Token) -> bool:
        """Whether a factor may begin here, without an operator before it."""

    def primary(self) -> Node:
        token = self.next()
        match token.kind:
            case "number":
                return literal(token.text)
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
        elif name not in ("e", "i") and self.peek().text.isdigit() and not self.peek().spaced:
            name += "_" + self.next().text  # x2 is a name, no product
        while marks := self._primes():
            for _ in range(marks):
                name += _PRIMES.get(self.next().text, "")
        if name in ("e", "i"):
            return Constant("e" if name == "e" else "i")
        return self._application(name) if self._is_applied(name) else Symbol(name)

    def _is_applied(self, name: str) -> bool:
        """Whether a name before a bracket is a function's, not a factor."""
        letter = name.rstrip("'").partition("_")[0]
        if letter in FUNCTION_NAMES and (self.at_mark("(") or self.at_mark("[")):
            return True
        if letter not in APPLIED or not self.at_mark("(") or self.peek().spaced:
            return False
        return self._is_application() or (letter in APPLIED_TO_VARIABLES and self._holds_variables())

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

    def _is_application(self) -> bool:
        """``f(x)``, ``P(2)``: brackets that hold one or two names or numbers."""
        ahead = 1
        while self.peek(ahead).kind in ("letters", "number") or self.peek(ahead).text in (",", "-", "pi", "theta"):
            if self.at_mark("-", ahead) and self.peek(ahead - 1).text not in ("(", ","):
                return False
            ahead += 1
        has_decimal = any("." in self.peek(index).text for index in range(1, ahead))
        return ahead in (2, 3, 4, 6) and self.peek(ahead).text == ")" and not has_decimal

    def _holds_variables(self) -> bool:
        """``(x + 1)``, ``(f(x))``: a bracket with no other letters than variables and functions."""
        ahead, depth, found = 1, 1, False
        while depth:
            token = self.peek(ahead)
            if token is END or token.kind in ("word", "begin") or token.text in GREEK:
                return False
            if token.kind == "letters":
                is_function = token.text in APPLIED and self.at_mark("(", ahead + 1)
                if not is_function and token.text not in VARIABLES:
                    return False
                found = True
            depth += (token.text == "(") - (token.text == ")")
            ahead += 1
        return found

    def _application(self, name: str, *before: Node) -> Node:
        return Call("apply", (Symbol(name), *before, *self._bracketed()))

    def _bracketed(self) -> tuple[Node, ...]:
        inner = self.group(self.next().text)
        return inner.items if isinstance(inner, Group) else (inner,)

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

    def command(self, name: str) -> Node:
        if name in FRACTIONS or name in BINOMIALS:
            first, second = self.argument(), self.argument()
            if name in FRACTIONS and (operator := derivative(first, second)) is not None:
                return self.derived(*operator)
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
        if name in ("neg", "lnot", "sim"):
            self.descend()
            operand = self.power()
            self.depth -= 1
            return Call("apply", (Symbol("not"), operand))
        if name in ("angle", "measuredangle", "triangle"):
            return self.figure(name)
        if name in ("imath", "jmath"):
            return self.symbol(name[0])
        if name in ACCENTS:
            return self.accented(ACCENTS[name])
        if name in STYLE:
            inner = self.argument()
            if isinstance(inner, Symbol):
                return Symbol(f"mathbb {inner.name}") if name == "mathbb" else self.symbol(inner.name)
            return inner
        raise UnreadableError(f"unknown command {name!r}")

    def accented(self, accent: str) -> Node:
        """``\\overline{z}``, another value than z; over points and on unit vectors (``\\hat{i}``) it is typography."""
        inner = self.argument()
        letters = inner.factors if isinstance(inner, Product) else ()
        if letters and all(isinstance(letter, Symbol) and letter.name[0].isupper() for letter in letters):
            return inner
        if accent == "hat" and (inner in UNIT_VECTORS or isinstance(inner, Number)):
            return inner
        if isinstance(inner, Symbol):
            return self.symbol(f"{accent} {inner.name}")
        return Call(
            "conjugate" if accent == "bar" else "apply", (inner,) if accent == "bar" else (Symbol(accent), inner)
        )

    def derived(self, operator: str, operand: Node | None) -> Node:
        """``\\frac{dy}{dx}`` as a name of its own, ``\\frac{d}{dx}`` as a function of what follows it."""
        if operand is None and self.starts_factor(self.peek()):
            self.descend()
            operand = self.power()
            self.depth -= 1
        if operand is None or isinstance(operand, Symbol):
            return Symbol(operator.replace("?", operand.name if isinstance(operand, Symbol) else ""))
        return Call("apply", (Symbol(operator), operand))

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
            return literal(token.text[0])
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
                inner = juxtaposed(inner, self.power())
            return (Negative(inner) if sign else inner,)
        return inner.items if isinstance(inner, Sequence) else (inner,)

    @staticmethod
    def _continues_argument(token: Token) -> bool:
        return token.text not in FUNCTIONS and token.text not in OPENING and token.text != "|" and token.kind != "begin"
