"""Tokens -> tree, by recursive descent with a bounded depth. Grammar, loosest binding first::

    sequence  = relation { ("," | ";" | "and" | "or") relation }
    relation  = sets { ("=" | "<" | "\\le" | "\\in" | ...) sets }
    sets      = sum { ("\\cup" | "\\cap" | "\\setminus") sum }
    sum       = [sign] term { ("+" | "-" | "\\pm") term } [unit]
    term      = power { ("\\cdot" | "/" | nothing) power }
    power     = primary { "!" | "%" | "^\\circ" } [ "^" power ]

Two readings that notation leaves open are settled here: an integer directly before a proper fraction of integers is a
mixed number (``3\\frac{1}{2}`` is 7/2), and a function without brackets takes the product up to the next sign or
function (``\\sin 2x \\cos x`` is sin(2x) cos(x)).
"""

from __future__ import annotations

from fractions import Fraction

from dart_tasks.grading.lexer import CONSTANTS, FUNCTIONS, Token, Unreadable, plain, tokenize
from dart_tasks.grading.nodes import (
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
)
from dart_tasks.grading.units import SCALES, canonical_unit

__all__ = ["parse", "parse_tokens"]

MAX_DEPTH = 24
MAX_EXPONENT_DIGITS = 6  # of a literal in scientific notation

_RELATIONS = {
    "=": "=", "==": "=", ":=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", "eq": "=", "lt": "<", "gt": ">",
    "le": "<=", "leq": "<=", "leqslant": "<=", "leqq": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=", "geqq": ">=",
    "ne": "!=", "neq": "!=", "approx": "~", "simeq": "~", "sim": "~", "cong": "~", "doteq": "~", "in": "in",
    "equiv": "=", "to": "->", "rightarrow": "->", "mapsto": "->", "->": "->", "implies": "->", "Rightarrow": "->",
}  # fmt: skip
_SET_OPERATORS = {"cup": "union", "cap": "intersection", "setminus": "minus", "backslash": "minus"}
_GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "omicron",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Sigma",
        "Upsilon",
        "Phi",
        "Psi",
        "Omega",
        "ell",
        "hbar",
    ]
)
_STYLE = frozenset(
    [
        "mathbf",
        "mathrm",
        "mathit",
        "mathsf",
        "mathcal",
        "boldsymbol",
        "bm",
        "text",
        "textbf",
        "textit",
        "vec",
        "hat",
        "bar",
        "tilde",
        "overline",
        "underline",
        "overrightarrow",
        "mathbb",
        "operatorname",
        "displaystyle",
        "rm",
        "bf",
        "it",
        "tt",
        "boxed",
        "fbox",
        "ensuremath",
        "mathop",
        "widehat",
        "mathring",
    ]
)
_OPENERS = {"(": ")", "[": "]", "{": "}", "langle": ">", "lfloor": "floor", "lceil": "ceil"}
_CLOSERS = {")": ")", "]": "]", "rangle": ">", "}": "}"}
_MATRICES = frozenset(["matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"])
_ANGLE_MARKS = frozenset(("circ", "degree", "degrees"))
_APPLIED = frozenset(["f", "g", "h", "F", "G", "H", "P", "p", "q", "r", "u", "v", "y"])
_ALIASES = {"lg": "log", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "arsinh": "arcsinh", "asinh": "arcsinh",
            "arcosh": "arccosh", "acosh": "arccosh", "artanh": "arctanh", "atanh": "arctanh"}  # fmt: skip
_ENDS = frozenset((",", ";", ")", "]", "}", "|", "&", "=", "<", ">", "<=", ">=", "!=", ":", "==", ":=", "->", "=>"))


def parse(text: str) -> Node:
    """The tree of an answer's text.

    Raises:
        Unreadable: it is not mathematics that this grammar covers, or exceeds the bounds.
    """
    return parse_tokens(tokenize(plain(text)))


def parse_tokens(tokens: list[Token]) -> Node:
    """The tree of tokens, all of which must be used up."""
    parser = _Parser(tokens)
    node = parser.sequence()
    if parser.position < len(tokens):
        raise Unreadable(f"unexpected {parser.peek().text!r}")
    return node


_END = Token("end", "")


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.bars = 0  # how many |...| are open

    # -- tokens ---------------------------------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> Token:
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else _END

    def next(self) -> Token:
        token = self.peek()
        self.position += 1
        return token

    def accept(self, *texts: str) -> str | None:
        token = self.peek()
        if token.kind in ("symbol", "command", "word") and token.text in texts:
            self.position += 1
            return token.text
        return None

    def expect(self, *texts: str) -> None:
        if self.accept(*texts) is None:
            raise Unreadable(f"expected {texts[0]!r}, found {self.peek().text!r}")

    # -- grammar --------------------------------------------------------------------------------------------------

    def sequence(self) -> Node:
        """One relation, or a Sequence of several."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        items = [self.relation()]
        while self._separator():
            if self.peek() is _END or self.peek().text in (")", "]", "}", "rbrace", "rangle"):
                break  # a trailing comma
            items.append(self.relation())
        self.depth -= 1
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _separator(self) -> bool:
        found = False
        while True:
            token = self.peek()
            is_word = token.kind == "word" and token.text.lower() in ("and", "or")
            is_mark = token.kind == "symbol" and token.text in (",", ";")
            if not (is_word or is_mark or (token.kind == "command" and token.text in ("land", "lor", "wedge", "vee"))):
                return found
            self.position += 1
            found = True

    def relation(self) -> Node:
        operands = [self.sets()]
        operators: list[str] = []
        while True:
            token = self.peek()
            operator = _RELATIONS.get(token.text) if token.kind in ("symbol", "command") else None
            if token.kind == "command" and token.text in ("not",) and self.peek(1).text in ("=", "in"):
                self.position += 1
                operator = "!=" if self.peek().text == "=" else None
            if operator is None:
                if token.text == ":" and token.kind == "symbol" and not self.bars:
                    operator = ":"
                else:
                    break
            self.position += 1
            if operator == "=" and self.accept("pm"):  # "= \pm 3"
                operands.append(PlusMinus(Number(Fraction(0)), self.sum()))
            else:
                operands.append(self.sets())
            operators.append(operator)
        return operands[0] if not operators else Relation(tuple(operands), tuple(operators))

    def sets(self) -> Node:
        operands = [self.sum()]
        operators: list[str] = []
        while (token := self.peek()).text in _SET_OPERATORS or (token.text in ("U", "u") and self._is_plain_union()):
            self.position += 1
            operators.append(_SET_OPERATORS.get(token.text, "union"))
            operands.append(self.sum())
        return operands[0] if not operators else SetOperation(tuple(operands), tuple(operators))

    def _is_plain_union(self) -> bool:
        """``(1,2) U (3,4)``: a letter U between a closing and an opening bracket."""
        before = self.tokens[self.position - 1].text if self.position else ""
        return before in (")", "]", "}") and self.peek(1).text in ("(", "[", "{")

    def sum(self) -> Node:
        terms: list[Node] = []
        left: Node | None = None
        sign = self.accept("+", "-", "pm", "mp") or "+"
        while True:
            term = self.term()
            if sign in ("pm", "mp"):
                before = _sum(terms) if terms else Number(Fraction(0))
                terms = []
                left = PlusMinus(before, term, 1 if sign == "pm" else -1)
                terms.append(left)
            else:
                terms.append(Negative(term) if sign == "-" else term)
            found = self.accept("+", "-", "pm", "mp")
            if found is None:
                break
            sign = found
        return self._with_unit(_sum(terms))

    def _with_unit(self, value: Node) -> Node:
        words: list[str] = []
        while True:
            token = self.peek()
            if token.kind == "word" and token.text.lower() not in ("and", "or"):
                scale = SCALES.get(token.text.lower().rstrip("s"))
                if scale and not words and isinstance(value, Number):
                    value = Number(value.value * scale)
                else:
                    words.append(token.text)
                self.position += 1
            elif words and token.text == "^" and self.peek(1).text in ("2", "3"):
                words.append("^" + self.peek(1).text)
                self.position += 2
            elif (
                words
                and token.text == "^"
                and self.peek(1).text == "{"
                and self.peek(2).text in ("2", "3")
                and self.peek(3).text == "}"
            ):
                words.append("^" + self.peek(2).text)
                self.position += 4
            elif words and token.text in ("/", "-", ".", "·", "cdot") and self.peek(1).kind in ("word", "letters"):
                words.append("per" if token.text == "/" else self.peek(1).text)
                self.position += 1
                if token.text != "/":
                    self.position += 1
            elif words and words[-1] == "per" and token.kind == "letters":
                words.append(token.text)
                self.position += 1
            elif words and token.text == "." and token.kind == "symbol":
                self.position += 1
            else:
                break
        if not words:
            return value
        unit = canonical_unit(words)
        if isinstance(value, Quantity):
            return Quantity(value.value, f"{value.unit} {unit}" if value.unit != "$" else unit)
        return Quantity(value, unit)

    def term(self) -> Node:
        value = self.power()
        while True:
            token = self.peek()
            if token.text in ("*", "cdot", "times", "ast", "bullet") and token.kind != "word":
                self.position += 1
                value = _product(value, self.signed_power())
            elif token.text in ("/", "div") and token.kind != "word":
                if self.peek(1).kind == "word":
                    return value
                self.position += 1
                divisor = self.signed_power()
                value = _mixed_slash(value, divisor) or Quotient(value, divisor)
            elif self._starts_primary(token):
                factor = self.power()
                value = _juxtapose(value, factor)
            else:
                if isinstance(value, Product) and isinstance(value.factors[-1], _Pending):
                    raise Unreadable("two numbers side by side")
                return value

    def _starts_primary(self, token: Token) -> bool:
        if token.kind in ("number", "letters", "begin"):
            return token.text not in ("U", "u") or not self._is_plain_union()
        if token.kind == "symbol":
            return token.text in ("(", "[", "{") or (token.text == "|" and not self.bars)
        if token.kind == "command":
            if token.text in ("lvert", "lVert"):
                return True
            return (
                token.text in ("frac", "dfrac", "tfrac", "cfrac", "sqrt", "binom", "dbinom", "tbinom", "pi", "infty", "langle", "lfloor", "lceil", "{")
                or token.text in FUNCTIONS or token.text in _GREEK or token.text in _STYLE or token.text in CONSTANTS
            )  # fmt: skip
        return False

    def signed_power(self) -> Node:
        sign = self.accept("+", "-")
        value = self.power()
        return Negative(value) if sign == "-" else value

    def power(self) -> Node:
        base = self.postfix()
        if self.accept("^", "**") is None:
            return base
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        exponent = self.exponent()
        self.depth -= 1
        if exponent is None:
            return self._marked(base)
        node: Node = Power(base, exponent)
        while self.accept("!"):
            node = Call("factorial", (node,))
        return node

    def exponent(self) -> Node | None:
        """The exponent after ``^``; None if what follows is a mark: degrees, or a transpose."""
        if self.peek().text in _ANGLE_MARKS or (self.peek().text == "{" and self.peek(1).text in _ANGLE_MARKS):
            return None
        if self.peek().text == "{" and self.peek().kind == "symbol":
            return self.braced()
        sign = self.accept("+", "-")
        value = self.postfix()
        if self.accept("^", "**"):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise Unreadable("nested too deeply")
            inner = self.exponent()
            self.depth -= 1
            if inner is None:
                raise Unreadable("an angle in an exponent")
            value = Power(value, inner)
        return Negative(value) if sign == "-" else value

    def _marked(self, base: Node) -> Node:
        """After ``^`` with a degree mark: an angle, with minutes and seconds if they follow."""
        braced = self.accept("{") is not None
        self.next()
        if braced:
            self.expect("}")
        if self.peek().kind == "letters" and self.peek().text in ("C", "F") and self.peek(1) is _END:
            return Quantity(base, f"degree {self.next().text}")
        return Call("degree", (base,))

    def postfix(self) -> Node:
        value = self.primary()
        while True:
            token = self.peek()
            if token.text == "!" and token.kind == "symbol":
                self.position += 1
                value = Call("factorial", (value,))
            elif token.text in _ANGLE_MARKS and token.kind == "command":
                self.position += 1
                value = Call("degree", (value,))
            elif token.text == "%" and token.kind in ("symbol", "command"):
                self.position += 1
                value = Quantity(value, "%")
            else:
                return value

    # -- primaries ------------------------------------------------------------------------------------------------

    def primary(self) -> Node:
        token = self.next()
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "letters":
            return self.symbol(token.text)
        if token.kind == "begin":
            return self.matrix(token.text)
        if token.text in ("(", "[", "langle") or (token.kind == "command" and token.text == "{"):
            return self.group("{" if token.kind == "command" and token.text == "{" else token.text)
        if token.text == "{" and token.kind == "symbol":
            self.position -= 1
            inner = self.braced()
            return Group("{", inner.items, "}") if isinstance(inner, Sequence) else inner
        if token.text in ("|", "lvert", "lVert") and token.kind in ("symbol", "command"):
            return self.absolute()
        if token.kind == "command":
            return self.command(token.text)
        raise Unreadable(f"unexpected {token.text!r}")

    def braced(self) -> Node:
        self.expect("{")
        bars, self.bars = self.bars, 0
        inner = self.sequence()
        self.bars = bars
        if self.accept("choose"):
            lower = self.sequence()
            inner = Call("binomial", (inner, lower))
        self.expect("}")
        return inner

    def group(self, opening: str) -> Node:
        bars, self.bars = self.bars, 0
        if opening == "{" and self.accept("}"):
            self.bars = bars
            return Group("{", (), "}")
        inner = self.sequence()
        if opening == "{" and self.peek().text in ("|", "mid", ":"):
            self.position += 1
            conditions = self.sequence()
            self.expect("}")
            self.bars = bars
            return Builder(inner, conditions.items if isinstance(conditions, Sequence) else (conditions,))
        self.bars = bars
        closing = _CLOSERS.get(self.next().text)
        if closing is None or (opening in ("{", "langle")) != (closing in ("}", ">")):
            raise Unreadable("brackets do not match")
        items = inner.items if isinstance(inner, Sequence) else (inner,)
        if len(items) == 1 and opening == "(" and closing == ")":
            return items[0]
        return Group("<" if opening == "langle" else opening, items, closing)  # type: ignore[arg-type]

    def absolute(self) -> Node:
        self.bars += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        inner = self.sum()
        self.depth -= 1
        self.bars -= 1
        self.expect("|", "rvert", "rVert")
        return Call("abs", (inner,))

    def symbol(self, name: str) -> Node:
        if self.peek().text == "_" and self.peek().kind == "symbol":
            self.position += 1
            name += "_" + self.subscript()
        while self.peek().text in ("'", "''") or (self.peek().text == "^" and self._primes()):
            name += "'" if self.peek().text != "''" else "''"
            self.position += 1 if self.peek().text != "^" else self._primes()
        if name == "e":
            return Constant("e")
        if name == "i":
            return Constant("i")
        follows = self.peek()
        if name[0] in _APPLIED and follows.text == "(" and not follows.spaced and self._is_application():
            self.position += 1
            inner = self.group("(")
            items = inner.items if isinstance(inner, Group) else (inner,)
            return Call("apply", (Symbol(name), *items))
        return Symbol(name)

    def _primes(self) -> int:
        """The number of tokens of ``^\\prime`` or ``^{\\prime\\prime}`` here, 0 if it is something else."""
        if self.peek(1).text == "prime":
            return 2
        if self.peek(1).text == "{" and self.peek(2).text == "prime":
            ahead = 3
            while self.peek(ahead).text == "prime":
                ahead += 1
            return ahead + 1 if self.peek(ahead).text == "}" else 0
        return 0

    def _is_application(self) -> bool:
        """``f(x)``, ``P(2)``: brackets that hold one or two names or numbers."""
        ahead = 1
        while self.peek(ahead).kind in ("letters", "number") or self.peek(ahead).text in (",", "-", "pi", "theta"):
            ahead += 1
        return ahead in (2, 3, 4, 6) and self.peek(ahead).text == ")"

    def subscript(self) -> str:
        token = self.next()
        if token.text != "{":
            return token.text
        parts: list[str] = []
        while (token := self.next()).text != "}":
            if token is _END or token.text == "{" or len(parts) > 12:
                raise Unreadable("an odd subscript")
            parts.append(token.text)
        return "".join(parts)

    def command(self, name: str) -> Node:
        if name in ("frac", "dfrac", "tfrac", "cfrac", "binom", "dbinom", "tbinom"):
            first = self.argument()
            second = self.argument()
            return Quotient(first, second) if name.endswith("frac") else Call("binomial", (first, second))
        if name in ("sqrt", "cbrt", "root"):
            return self.root(3 if name == "cbrt" else 2)
        if name in ("floor", "ceil", "abs", "exp", "min", "max", "gcd", "lcm") or name in FUNCTIONS:
            return self.function(_ALIASES.get(name, name))
        if name in ("lfloor", "lceil"):
            inner = self.sequence()
            self.expect("rfloor" if name == "lfloor" else "rceil")
            return Call(name[1:], (inner,))
        if name == "pi":
            return Constant("pi")
        if name in CONSTANTS:
            return Constant("infinity")
        if name in _GREEK:
            return self.symbol({"varepsilon": "epsilon", "varphi": "phi", "vartheta": "theta"}.get(name, name))
        if name in ("$", "pounds", "euro"):
            return self.money(name)
        if name in ("emptyset", "varnothing", "oslash"):
            return Group("{", (), "}")
        if name == "mathbb" or (name in _STYLE and self.peek().text in ("R", "Z", "Q", "N", "C") and name == "mathbf"):
            return Symbol("mathbb " + _only_letter(self.argument()))
        if name in _STYLE:
            return self.argument() if self.peek().text == "{" else self.primary()
        raise Unreadable(f"unknown command {name!r}")

    def money(self, name: str) -> Node:
        sign = self.accept("-")
        value = self.primary()
        unit = {"$": "$", "pounds": "£", "euro": "€"}[name]
        return Quantity(Negative(value) if sign else value, unit)

    def argument(self) -> Node:
        """A macro's argument: braces, or one token, where a number gives its first digit only (``\\frac12``)."""
        token = self.peek()
        if token.text == "{" and token.kind == "symbol":
            return self.braced()
        if token.kind == "number" and len(token.text) > 1 and token.text.isdigit():
            self.tokens[self.position] = Token("number", token.text[1:])
            return _number(token.text[0])
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        sign = self.accept("-")
        value = self.primary()
        self.depth -= 1
        return Negative(value) if sign else value

    def root(self, index: int) -> Node:
        degree: Node = Number(Fraction(index))
        if self.peek().text == "[":
            self.position += 1
            degree = self.sequence()
            self.expect("]")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        radicand = self.braced() if self.peek().text == "{" else self.primary()
        self.depth -= 1
        return Call("root", (radicand, degree))

    def function(self, name: str) -> Node:
        power: Node | None = None
        base: Node | None = None
        while self.peek().text in ("^", "_") and self.peek().kind == "symbol":
            mark = self.next().text
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise Unreadable("nested too deeply")
            if mark == "^":
                power = self.exponent()
            else:
                base = self.braced() if self.peek().text == "{" else _number_or_symbol(self.next())
            self.depth -= 1
        arguments = self.arguments()
        if name == "log" and base is not None:
            arguments = (*arguments, base)
        if (
            isinstance(power, Negative)
            and _is_one(power.argument)
            and name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")
        ):
            return Call("arc" + name, arguments)
        call = Call(name, arguments)
        return call if power is None else Power(call, power)

    def arguments(self) -> tuple[Node, ...]:
        """What a function applies to: a bracket, or the product up to the next sign, bracket or function."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        token = self.peek()
        if token.text in ("(", "[") or (token.text == "{" and token.kind == "symbol"):
            inner = self.braced() if token.text == "{" else self._bracketed()
            self.depth -= 1
            return inner.items if isinstance(inner, Sequence) else (inner,)
        sign = self.accept("-")
        value = self.power()
        while self._starts_primary(self.peek()) and self._continues_argument(self.peek()):
            value = _juxtapose(value, self.power())
        self.depth -= 1
        return (Negative(value) if sign else value,)

    def _bracketed(self) -> Node:
        opening = self.next().text
        bars, self.bars = self.bars, 0
        inner = self.sequence()
        self.bars = bars
        self.expect(")" if opening == "(" else "]")
        return inner

    def _continues_argument(self, token: Token) -> bool:
        return (
            token.text not in FUNCTIONS
            and token.text not in ("(", "[", "|", "lvert", "begin")
            and token.kind != "begin"
        )

    def matrix(self, environment: str) -> Node:
        if environment in ("aligned", "align", "gathered", "split", "equation", "cases", "vmatrix", "Vmatrix"):
            raise Unreadable(f"environment {environment}")
        if environment not in _MATRICES:
            raise Unreadable(f"environment {environment}")
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        bars, self.bars = self.bars, 0
        while self.peek().kind != "end":
            row.append(self.sequence())
            if self.accept("&"):
                continue
            rows.append(tuple(row))
            row = []
            if self.accept("\\", "cr") is None and self.peek().kind != "end":
                raise Unreadable("a matrix row that does not end")
        self.bars = bars
        if self.next() is _END:
            raise Unreadable("a matrix that does not end")
        if row:
            rows.append(tuple(row))
        if not rows or len({len(entries) for entries in rows}) != 1:
            raise Unreadable("a ragged matrix")
        return Matrix(tuple(rows))


def _number(text: str) -> Number:
    mantissa, _, exponent = text.lower().partition("e")
    if len(exponent.lstrip("+-")) > MAX_EXPONENT_DIGITS - 3:
        raise Unreadable("too large an exponent")
    if not exponent and "." not in mantissa:
        return Number(Fraction(int(mantissa)), None, len(mantissa.lstrip("0")))
    places = len(mantissa.partition(".")[2]) - (int(exponent) if exponent else 0)
    digits = len(mantissa.replace(".", "").lstrip("0"))
    return Number(
        Fraction(text.rstrip(".") if not exponent else text), places if "." in mantissa[:-1] else None, digits
    )


def _number_or_symbol(token: Token) -> Node:
    if token.kind == "number":
        return _number(token.text)
    if token.kind == "letters":
        return Constant("e") if token.text == "e" else Symbol(token.text)
    raise Unreadable("an odd base of a logarithm")


def _only_letter(node: Node) -> str:
    if isinstance(node, Symbol):
        return node.name
    raise Unreadable("blackboard bold of an expression")


def _sum(terms: list[Node]) -> Node:
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def _product(left: Node, right: Node) -> Node:
    factors = left.factors if isinstance(left, Product) else (left,)
    return Product((*factors, right))


def _is_proper(node: Node) -> bool:
    return (
        isinstance(node, Quotient)
        and isinstance(node.numerator, Number)
        and isinstance(node.denominator, Number)
        and node.numerator.places is None
        and node.denominator.places is None
        and 0 < node.numerator.value < node.denominator.value
    )


def _juxtapose(left: Node, right: Node) -> Node:
    """Two neighbours without an operator: a mixed number or a product. Two bare numbers are neither."""
    if isinstance(left, Number):
        if left.places is None and _is_proper(right):
            return Sum((left, right))
        if isinstance(right, Number):
            if right.places is None and left.places is None:
                return Product((left, _Pending(right.value, None, right.digits)))
            raise Unreadable("two numbers side by side")
    if isinstance(left, Product) and isinstance(left.factors[-1], _Pending):
        raise Unreadable("numbers side by side")
    if isinstance(right, Number):
        if isinstance(left, Quantity) or (isinstance(left, Quotient) and isinstance(left.denominator, Number)):
            raise Unreadable("two numbers side by side")
    return _product(left, right)


class _Pending(Number):
    """The 1 of ``3 1/2`` until the slash shows that it is a mixed number."""

    __slots__ = ()


def _mixed_slash(value: Node, divisor: Node) -> Node | None:
    if isinstance(value, Product) and isinstance(value.factors[-1], _Pending):
        whole, top = value.factors
        fraction = Quotient(Number(top.value, None, top.digits), divisor)  # type: ignore[union-attr]
        if _is_proper(fraction):
            return Sum((whole, fraction))
        raise Unreadable("two numbers side by side")
    return None


def _is_one(node: Node) -> bool:
    return isinstance(node, Number) and node.value == 1
