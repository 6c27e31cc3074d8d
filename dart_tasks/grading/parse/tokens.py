"""Answer text -> tokens. One pass of one linear regular expression over text of bounded length; nothing is executed.

``3\\frac{1}{2}\\text{ cm}`` becomes number 3, command frac, open, number 1, close, open, number 2, close, word cm.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from dart_tasks.grading.parse.tree import CONSTANTS, FUNCTIONS, UnreadableError
from dart_tasks.grading.parse.units import is_unit

__all__ = ["END", "GREEK_NAMES", "MAX_CHARACTERS", "MAX_NUMBER_CHARACTERS", "Cursor", "Token", "plain", "tokenize"]

MAX_CHARACTERS = 4_000  # the longest of 11,612 real references has 1,900; longer text is only compared as text
MAX_TOKENS = 2_000
MAX_NUMBER_CHARACTERS = 1_000

MAX_DEPTH = 24

Kind: TypeAlias = Literal["number", "letters", "word", "command", "symbol", "begin", "end"]


class Token(NamedTuple):
    """``kind`` and text; ``spaced`` says whether white space came before it."""

    kind: Kind
    text: str
    spaced: bool = False


END = Token("end", "")
Read = TypeVar("Read")
_UNICODE = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "﹣": "-", "－": "-", "×": r"\times ", "⋅": r"\cdot ",
    "·": r"\cdot ", "∙": r"\cdot ", "÷": "/", "⁄": "/", "∕": "/", "π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt ",
    "£": r"\pounds ", "€": r"\euro ",
    "∛": r"\sqrt[3]", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
    "≅": r"\cong ", "±": r"\pm ", "∓": r"\mp ", "°": r"^\circ ", "º": r"^\circ ", "∪": r"\cup ", "∩": r"\cap ",
    "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}",
    "ℕ": r"\mathbb{N}", "′": "'", "″": "''", "’": "'", "‘": "'", "“": '"', "”": '"', "⟨": r"\langle ",
    "⟩": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "→": r"\to ",
    "⇒": r"\to ", "∧": r"\land ", "∨": r"\lor ", "¬": r"\neg ", "∣": "|", "∖": r"\setminus ", "∘": r"\circ ",
    "或": " or ", "和": " and ", "且": " and ", "、": ", ",
    "％": "%", "，": ",", "（": "(", "）": ")", "＝": "=", "＋": "+", "：": ":", "；": ";", "．": ".", "。": ".",
    "≡": r"\equiv ", "∀": r"\forall ", "∃": r"\exists ", "∶": ":",
    "¢": r"\text{ cents}", "△": r"\triangle ", "∠": r"\angle ",
    "∉": r"\notin ", "∥": r"\parallel ", "⊥": r"\perp ", "⊂": r"\subset ", "⊆": r"\subseteq ",
    "［": "[", "］": "]", "｛": r"\{", "｝": r"\}", "＜": "<", "＞": ">", "＄": "$", "！": "!", "／": "/", "＊": "*",
    "\u00a0": " ", "\u2009": " ", "\u200a": " ", "\u2002": " ", "\u2003": " ", "\u202f": " ", "\u2005": " ",
    "\u2006": " ", "\u2007": " ", "\u2008": " ", "\u3000": " ", "\u200b": "", "\u200c": "", "\u200d": "",
    "\ufeff": "", "\u2060": "", "\u2061": "", "\u2062": "", "\u2063": ",", "\x00": "",
    "½": r" \frac{1}{2}", "⅓": r" \frac{1}{3}", "⅔": r" \frac{2}{3}", "¼": r" \frac{1}{4}", "¾": r" \frac{3}{4}",
    "⅕": r" \frac{1}{5}", "⅖": r" \frac{2}{5}", "⅗": r" \frac{3}{5}", "⅘": r" \frac{4}{5}", "⅙": r" \frac{1}{6}",
    "⅚": r" \frac{5}{6}", "⅐": r" \frac{1}{7}", "⅛": r" \frac{1}{8}", "⅜": r" \frac{3}{8}", "⅝": r" \frac{5}{8}",
    "⅞": r" \frac{7}{8}", "⅑": r" \frac{1}{9}", "⅒": r" \frac{1}{10}",
}  # fmt: skip
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron rho sigma tau upsilon phi chi psi"
    " omega"
)
GREEK_NAMES = frozenset(_GREEK.split()) - {"pi"}
_UNICODE |= {char: f"\\{name} " for char, name in zip("αβγδεζηθικλμνξορστυφχψω", _GREEK.split(), strict=True)}
_UNICODE |= {
    "φ": r"\phi ",
    "ϕ": r"\phi ",
    "ϑ": r"\theta ",
    "ε": r"\epsilon ",
    "Δ": r"\Delta ",
    "Ω": r"\Omega ",
    "Σ": r"\Sigma ",
}
_UNICODE |= {chr(0xFF10 + digit): str(digit) for digit in range(10)}
_TABLE = str.maketrans(_UNICODE)
_SUPERSCRIPT = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni", strict=True))
_SUBSCRIPT = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_SCRIPTS = re.compile(f"([{''.join(_SUPERSCRIPT)}]+)|([{''.join(_SUBSCRIPT)}]+)")

_SIZING = "|".join(
    "left right bigl bigr Bigl Bigr biggl biggr Biggl Biggr big Big bigg Bigg bigm middle displaystyle textstyle"
    " scriptstyle limits nolimits hline hfill allowbreak nonumber notag mathstrut strut centering normalsize large"
    " Large small huge".split()
)
_IGNORED = re.compile(rf"\\(?:{_SIZING})(?![A-Za-z])\.?|\\(?:bf|rm|it|bfseries)(?![A-Za-z])(?!\s*\{{)|\\[!]")
_SPACING = "|".join("quad qquad enspace thinspace medspace thickspace space newline par".split())
_SPACES = re.compile(rf"\\(?:{_SPACING})(?![A-Za-z])|\\[hv]space\*?\{{[^{{}}]*\}}|~|(?<!\\)\\[,;: ]")
_DIGIT_GROUPS = re.compile(r"(?<=\d)(?:\{,\}|(?<!\\)\\[,!;: ]|,\\!|\{\\,\}|(?<!\\)~)\s*(?=\d{3}(?!\d))")
_DELIMITERS = re.compile(r"(?<!\\)\${1,2}|\\[()\]]|\\\[(?!\d+(?:pt|em|ex|mm)\])")
_GREEK_NUMBERED = re.compile(r"([α-ω])(\d)")  # λ1
_SPELT = {"\\lbrace": r"\{", "\\rbrace": r"\}", "\\lbrack": "[", "\\rbrack": "]", "\\Bbb": r"\mathbb", "+/-": r"\pm "}
_SPELLINGS = re.compile(r"(\\[lr]brac[ek](?![A-Za-z])|\\Bbb(?![A-Za-z])|\+/-)")
_CROSS = re.compile(r"(?<=\d) {1,2}[xX] {1,2}(?=[\d\\$])")
_MONEY = re.compile(r"(?<!\\)\$(?=\s*-?[\d.])")
_ESCAPED_COMMAND = re.compile(r"\\\\(?=[A-Za-z(\[{}])")

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<begin>\\begin\s*\{(?P<env>[A-Za-z]+)\*?\}(?:\s*\{[clr|\s@{}.]*\}|\s*\[[a-z]\])?)
    |(?P<end>\\end\s*\{[A-Za-z]+\*?\})
    |(?P<words>\\(?P<macro>text(?:rm|bf|it|sf|tt|up|normal)?|mbox|hbox|emph|math(?:rm|sf|it|tt|bf)|rm|bf|operatorname)\*?
        \s*\{(?P<content>[^{}\\$]*)\})
    |(?P<command>\\[A-Za-z]+|\\.)
    |(?P<prefixed>0(?:[xX][\dA-Fa-f]{1,64}|[bB][01]{1,256}|[oO][0-7]{1,80})(?![\dA-Za-z.]))
    |(?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,6}(?![\dA-Za-z.]))?|\d+\.(?!\d))
    |(?P<letters>[A-Za-z]+)
    |(?P<symbol>\*\*|<=|>=|!=|=>|->|:=|==|''|.)""",
    re.VERBOSE | re.DOTALL,
)
_FUNCTION = re.compile(  # before a bracket
    r"[A-Z][a-z]{2,9}|Re|Im|Pr|Li|Ei|sgn|sign|erfc?|det|tr|diag|arg|deg|dim|rank|adj|proj|span"
)
_IS_NAME = re.compile(r"\s*[=<>\\^+-]")  # "1 or a = 2": no article, and no unit
_REPEATING = re.compile(r"(?<![\d.])(\d{0,40})\.(\d{0,40})\\(?:overline|bar|dot)\s*\{?(\d{1,40})\}?")
_GOING_ON = re.compile(  # 0.1666..., 0.2727...
    r"(?<![\d.])(\d{0,12})\.(?:(\d{0,6}?)(\d{1,6}?)\3{2,8}|()(\d{2,6})\5)(?:\.\.\.|\\l?dots|\\cdots|…)"
)
_KNOWN_NAME = re.compile("|".join(sorted(FUNCTIONS | {"pi"}, key=len, reverse=True)))


def plain(text: str) -> str:
    """``text`` with Unicode mathematics spelt in LaTeX, and math delimiters, sizing and digit grouping removed."""
    if not text.isascii():
        text = _SCRIPTS.sub(_script, _GREEK_NUMBERED.sub(r"\1_\2", text)).translate(_TABLE)
    if "\\" in text or "~" in text or "{,}" in text:
        if "\\begin" not in text:
            text = _ESCAPED_COMMAND.sub(r"\\", text)
        text = _IGNORED.sub("", _DIGIT_GROUPS.sub("", text))
    if text.count("$") - text.count(r"\$") == 1:  # no pair, so it is not mathematics between dollars
        text = _MONEY.sub(r"\$", text)
    if "brac" in text or "Bbb" in text or "+/-" in text:
        text = _SPELLINGS.sub(lambda match: _SPELT[match[1]], text)
    if "\\" in text or "$" in text:
        text = _DELIMITERS.sub(" ", text)
    if "x" in text or "X" in text:
        text = _CROSS.sub(r" \\times ", text)
    if "." in text:
        text = _GOING_ON.sub(_repeating, _REPEATING.sub(_repeating, text))
    return _SPACES.sub(" ", text) if "\\" in text or "~" in text else text


def _repeating(match: re.Match[str]) -> str:
    """``0.1\\overline{6}`` as the fraction it is: 15/90."""
    whole, fixed, period = (group for group in match.groups() if group is not None)
    nines = (10 ** len(period) - 1) * 10 ** len(fixed)
    return f"\\frac{{{int(whole + fixed + period) - int(whole + fixed or '0')}}}{{{nines}}}"


def _script(match: re.Match[str]) -> str:
    if match[1]:
        return "^{" + "".join(_SUPERSCRIPT[char] for char in match[1]) + "}"
    return "_{" + "".join(_SUBSCRIPT[char] for char in match[2]) + "}"


def tokenize(text: str) -> list[Token]:
    """The tokens of text that went through :func:`plain`.

    Raises:
        UnreadableError: the text is longer than MAX_CHARACTERS or has more than MAX_TOKENS tokens.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnreadableError(f"longer than {MAX_CHARACTERS} characters")
    tokens: list[Token] = []
    spaced = False
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "space":
            spaced = True
            continue
        if kind in ("env", "begin"):
            tokens.append(Token("begin", match["env"], spaced))
        elif kind == "end":
            tokens.append(Token("end", match[0], spaced))
        elif kind in ("content", "words"):
            after_number = bool(tokens) and (tokens[-1].kind == "number" or tokens[-1].text in (")", "}", "pi"))
            after_number |= len(tokens) > 1 and tokens[-1].text in ("/", "cdot") and tokens[-2].kind == "word"
            after_number |= (
                bool(tokens) and tokens[-1].kind in ("letters", "word") and match.end() >= len(text.rstrip())
            )
            styled = _styled(match["macro"], match["content"], spaced, after_number)
            is_function = len(styled) > 1 and text[match.end() : match.end() + 1] == "(" and match["content"].isalpha()
            tokens.extend([Token("word", match["content"], spaced)] if is_function else styled)
        elif kind == "number" and len(match[0]) > MAX_NUMBER_CHARACTERS:
            raise UnreadableError("a number of too many digits")
        elif kind == "prefixed":
            tokens.append(Token("number", str(int(match[0], 0)), spaced))
        elif kind == "command":
            tokens.append(Token("command", match[0][1:], spaced))
        elif kind == "letters":
            after_number = bool(tokens) and (tokens[-1].kind == "number" or tokens[-1].text in (")", "}", "pi"))
            is_word = bool(tokens) and tokens[-1].kind == "word" and (len(match[0]) > 1 or match[0] == "a")
            is_word = is_word and not (len(match[0]) < 4 and _IS_NAME.match(text, match.end()))
            is_word = is_word or (text[match.end() : match.end() + 1] == "(" and bool(_FUNCTION.fullmatch(match[0])))
            tokens.extend([Token("word", match[0], spaced)] if is_word else _letters(match[0], spaced, after_number))
        elif kind is not None:
            tokens.append(Token("number" if kind == "number" else "symbol", match[0], spaced))
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise UnreadableError(f"more than {MAX_TOKENS} tokens")
    return tokens


def _letters(run: str, spaced: bool, after_number: bool) -> list[Token]:
    """A run of letters is a function's name, a unit after a number, a product of variables, or a word."""
    lower = run.lower()
    if len(run) == 1:
        return [Token("letters", run, spaced)]
    if run in FUNCTIONS or lower in CONSTANTS:
        return [Token("command", run if run in FUNCTIONS else CONSTANTS[lower], spaced)]
    if run in GREEK_NAMES:
        return [Token("command", run, spaced)]
    if lower in ("or", "and", "sq", "per", "the", "are", "has", "not", "for", "is", "it", "of", "we") or (
        after_number and is_unit(run)
    ):
        return [Token("word", run, spaced)]
    parts = _KNOWN_NAME.split(run)
    if len(parts) > 1 and all(len(part) <= 2 for part in parts):  # xsinx, pir
        names = _KNOWN_NAME.findall(run)
        tokens = [Token("letters", letter) for letter in parts[0]]
        for name, part in zip(names, parts[1:], strict=True):
            tokens.append(Token("command", name))
            tokens.extend(Token("letters", letter) for letter in part)
        return tokens
    if len(run) >= 4 or (spaced and after_number and len(run) == 3):
        return [Token("word", run, spaced)]
    return [Token("letters", letter, spaced and index == 0) for index, letter in enumerate(run)]


def _styled(macro: str, content: str, spaced: bool, after_number: bool) -> list[Token]:
    """Tokens of ``\\text{...}``: runs of two letters or more are words, everything else is as in mathematics."""
    name = content.strip(" ~")
    if name in FUNCTIONS:
        return [Token("command", name, spaced)]
    if (
        macro in ("mathrm", "mathit", "mathbf")
        and name.isalpha()
        and len(name) in (2, 3)
        and not (after_number and is_unit(name))
    ):
        return [Token("letters", letter, spaced and index == 0) for index, letter in enumerate(name)]
    tokens: list[Token] = []
    for match in _TOKEN.finditer(content):
        kind = match.lastgroup
        if kind == "space":
            spaced = True
            continue
        if kind == "letters":
            is_name = len(match[0]) == 1 and len(content.strip(" ().~")) == 1
            is_name = is_name and not (after_number and is_unit(match[0], one_letter=True))
            tokens.append(Token("letters" if is_name else "word", match[0], spaced))
        elif kind in ("number", "symbol"):
            if match[0] == "~":
                continue
            tokens.append(Token("number" if kind == "number" else "symbol", match[0], spaced))
        spaced = False
    return tokens


class Cursor:
    """A position in a list of tokens, and how deep in brackets it is."""

    END = END
    ONE = Token("number", "1")

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = [*tokens, END, END, END]  # so that looking ahead seldom leaves the list
        self.position = 0
        self.depth = 0
        self.bars = 0  # how many |...| are open here

    def peek(self, ahead: int = 0) -> Token:
        """The token ``ahead`` of the position; END after the last."""
        try:
            return self.tokens[self.position + ahead]
        except IndexError:
            return END

    def next(self) -> Token:
        """Take the token at the position."""
        token = self.peek()
        self.position += 1
        return token

    def accept(self, *texts: str) -> str | None:
        """Take the token if it is one of these marks or commands; its text, else None."""
        token = self.peek()
        if token.text in texts and token.kind in ("symbol", "command"):
            self.position += 1
            return token.text
        return None

    def expect(self, *texts: str) -> None:
        """Take one of these tokens.

        Raises:
            UnreadableError: something else is there.
        """
        if self.accept(*texts) is None:
            raise UnreadableError(f"expected {texts[0]!r}, found {self.peek().text!r}")

    def at_mark(self, text: str, ahead: int = 0) -> bool:
        """Whether this mark (no word, letter or command of that name) is there."""
        token = self.peek(ahead)
        return token.text == text and token.kind == "symbol"

    def deeper(self, rule: Callable[[], Read]) -> Read:
        """What a rule gives one level deeper.

        Raises:
            UnreadableError: deeper than MAX_DEPTH.
        """
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("nested too deeply")
        found = rule()
        self.depth -= 1
        return found

    def enclosed(self, rule: Callable[[], Read]) -> Read:
        """What a rule gives within a bracket, where bars that are open outside cannot close."""
        bars, self.bars = self.bars, 0
        found = rule()
        self.bars = bars
        return found
