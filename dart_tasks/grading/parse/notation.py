"""Other people's notation -> the notation that the lexer reads: spellings that no token-level rule can tell apart.

``\\frac{\\text{mi}}{\\text{h}}`` becomes ``\\text{mi}/\\text{h}``, ``_{5}C_{2}`` a binomial, ``5 \\checkmark`` 5. Every
pattern is linear, and is tried only where a mark that it needs is there.
"""

from __future__ import annotations

import re

__all__ = ["MACRO", "bare", "rewritten", "variants", "with_grids"]

_STYLE = r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{"
MACRO = re.compile(r"\\(?:text|mbox|textrm|textbf|textit|mathrm|mathbf|operatorname|textnormal|emph)\s*\{")
_NUMERAL = r"[-+]?\d[\d.,]{0,30}"
_DONE = re.compile(
    r"(?:[\s$]|\\quad|\\qquad|\\ ){0,8}(?:\\(?:checkmark|blacksquare|square|qed|Box)|[✓✔✅☑■])[\s$]{0,4}$"
)
_COLOUR = re.compile(r"\\(?:text)?color\s*\{\s*[A-Za-z]+\s*\}")
_ROW_GAP = re.compile(r"\\\\\s*\[-?[\d.]{1,6}(?:pt|em|ex|mm|cm)\]")
_BRACED_ROWS = re.compile(r"\\\{\s*\\begin\s*\{array\}\s*\{[lcr]+\}")
_ALIGNED = re.compile(r"\\begin\s*\{(aligned|align\*?|gathered|split)\}(.{0,2000}?)\\end\s*\{\1\}", re.DOTALL)
_IF = re.compile(rf"{_STYLE}\s*(?:,?\s*(?:if|for|when))\s*\}}")
_UNIT_FRACTION = re.compile(
    rf"(?<=[\d)}}])\s*(?:\\[,;: ])?\s*\\[dt]?frac\s*\{{\s*{_STYLE}\s*([A-Za-z ]{{1,20}})\}}\s*\}}"
    rf"\s*\{{\s*{_STYLE}\s*([A-Za-z ]{{1,20}})\}}\s*(\^\s*\{{?[23]\}}?)?\s*\}}"
)
_UNIT_INSIDE = re.compile(
    r"(?<=[\d\s)}~,:;])\\(?:mathrm|text|rm|operatorname)\s*"
    r"\{(?=[^}][^}])((?:[A-Za-z]{1,12}(?![A-Za-z])|\\[,;:! ]|[~\s/.]|\\cdot(?![a-z])|\^(?:-?\d|\{-?\d\})){1,20})\}"
)
_UNIT_PARTS = re.compile(r"\\cdot|([A-Za-z]+)|(\^\{?-?\d\}?)|(/)")
_QUOTED = re.compile(r"(?<=[\[, ])(['\"])([^'\"\[\]]{1,60})\1(?=\s*[,\]])")
_GRID_HINT = re.compile(r"\n-?\d{1,9} -?\d")
_GRID = re.compile(r"(?:^|(?<=\n))-?\d{1,9}(?: -?\d{1,9}){1,40}(?:\n-?\d{1,9}(?: -?\d{1,9}){1,40}){1,40}(?=\n|$)")
_COLON = re.compile(r"\{:\}|\\(?:text|mathrm)\s*\{\s*:\s*\}|(?<=\d)\\colon(?=\s?\d)")
_CHOOSE = re.compile(
    r"(?:\{\})?(?:[_^]\s*\{?\s*(\d{1,4}|\d?n)\s*\}?|(?<![\w.])(\d{1,4}))\s*([CP])\s*_?\s*\{?\s*(\d{1,4}|[nkr])\s*\}?$"
)
_CHOOSE_CALL = re.compile(r"^([CP])\s*\(\s*(\d{1,4}|\d?n)\s*,\s*(\d{1,4}|[nkr])\s*\)$")
_SUCH_THAT = re.compile(r"(\{\s*[A-Za-z]\s*(?:(?:\\in|∈)\s*(?:\\mathbb\s*\{?\s*R\s*\}?|ℝ)\s*)?)\|")
_MINUS_SET = re.compile(r"(\\mathbb\s*\{?\s*R\s*\}?|ℝ|[)\]])\s*[-−\\]\s*(?=\\\{)")  # \mathbb{R} - \{0\}
_ELEMENT_OF = re.compile(r"(?<=[a-z]) in (?=[(\[])")
_BOLD = re.compile(r"\\(?:mathbf|boldsymbol|bm)\s*\{\s*(\w)\s*\}")  # a vector, where its style is no matter of type
_TURNED = re.compile(r"([\[\]])([^\[\]();,]{1,80}[;,][^\[\]();,]{1,80})([\[\]])")  # ]0, 1[ is (0, 1)
_TURN, _TURN_BACK = {"]": "("}, {"[": ")"}
_UPPER_FIRST = re.compile(r"C\s*\^\s*\{?(\d{1,4}|[kmrn])\}?\s*_\s*\{?(\d{1,4}|2?n)\}?")  # C^3_{10}
_STYLED_SIGN = re.compile(r"\\text\s*\{(\\%|\\\$[\d.,]*)\}")
_FIGURE = re.compile(r"(?<![\\A-Za-z])(?=(?:triangle|angle) [A-Z]{3}\b)")
_MARKED_LENGTH = re.compile(r"^((?:\d[\d.]*)?\s*(?:\d+/\d+|\\[dt]?frac\{\d+\}\{\d+\})?)\s*(\"|''|'|″|′)$")  # 5.25"
_FEET_MARKS = ("'", "′")
_GREEK_UNIT = re.compile(  # 1.5\,\Omega, 5\ \mu\text{m}
    r"(?<=\d)(?:\s|~|\\[,;: ]){0,6}(?:(?:\\Omega|Ω)(?![a-z])"
    r"|(?:\\mu(?![a-z])|[μµ])\s*(?:\\(?:text|mathrm|rm)\s*\{)?\s*([ms])\}?)$"
)
_SMALL_UNITS = {"m": "micrometer", "s": "microsecond"}
_TIMES_TEN = re.compile(r"(?<=\d)[xX]10(?=\^|\*\*)")  # 3x10^8
_DEGREES = re.compile(r"\^\s*(?:\{\s*)?\\(?:text|mathrm)\s*\{\s*o\s*\}(?:\s*\})?|(?<=\d)\^(?:o(?![a-z])|\{o\})")
_CONSTANT = re.compile(r"\\(?:text|mathrm)\s*\{\s*[Cc]onst(?:ant)?\.?\s*\}")
_UNSPELT = re.compile(r"(?<![A-Za-z\\])(?=[dt]?frac\s*\{)")  # frac{1}{2}
_NAMED_POINTS = re.compile(  # P(1,2), which is also a number of permutations; A(0,0), B(2,4)
    r"(?:^|(?<=[,;]\s)|(?<=and\s))[A-Z](?:'|_\d)?\s*(?=\([^()]{1,60},[^()]{1,60}\)(?:$|,|;|\s+and\s))"
)
_CODE_LOG = re.compile(r"(?<![A-Za-z\\])log_?(2|10)\s*\(")
_ANGLES = re.compile(r"^<([^<>=]{1,200},[^<>=]{1,200})>$")
_MODULUS = re.compile(
    rf"(?:{_STYLE}\s*(?=\(mod\s*\}}))?\(\s*(?:{_STYLE})?\s*\\?mod\b\s*\}}?\s*(\d{{1,12}})\s*\)"
    r"|(?<=\d) mod (\d{1,12})$"
)
_CODE = re.compile(rf"^(?:USD|US(?=\s?\\?\$)|Rs\.?|INR)\s*(?={_NUMERAL}|\\?\$)")
_CURRENCY_LAST = re.compile(rf"^({_NUMERAL})\s*(\\\$|[$€£¥₹])$")
_CURRENCY = re.compile(r"[¥₹](?=\s?\d)")
_ROUGHLY = re.compile(
    rf"^(?:{_STYLE})?\s*(?:exactly|approximately|approx\.?|about|roughly|around|nearly)\s*\}}?\s*(?=[-\d\\$.])",
    re.IGNORECASE,
)
_REMARK = re.compile(  # "12 (not 15)", "5 (approximately)", "8 (since 2^3 = 8)": what comes after is no other answer
    rf"(?<=[\d)}}$])\s*(?:{_STYLE})?\s*\((?:{_STYLE})?\s*(?:(?:approximately|approx|about|roughly|exactly|exact|rounded|not"
    r"|since|because|as)\b|\\approx|≈)[^()]{0,120}(?:\([^()]{0,40}\)[^()]{0,60})?\)\s*\}?$"
)
_CONDITION = re.compile(  # "for x \ne 2", "where t > 0"
    rf"[,;\s]{{0,4}}(?:{_STYLE})?[,;\s]{{0,3}}\b(?:for|where|when|if|with|provided)(?: that)?\s*\}}?\s*\$?"
    r"(?=[A-Za-z]\s*(?:\\n?eq?\b|\\[gl](?:eq?|t)(?:slant)?\b|[≠<>≥≤]))"
)
_FOR_ALL = re.compile(
    rf"[,;(\s]{{0,4}}(?:\\quad\s*){{0,2}}(?:{_STYLE})?[,\s]{{0,3}}"
    r"(?:for (?:all|every|any|each)(?: real| positive| integer)?|\\forall|∀)\s*\}?"
    r"\s*\$?[A-Za-z](?:\s*,\s*[A-Za-z])?\s*(?:(?:\\in|∈)[^,;=]{1,40})?[)\s$]*(?=$|,|;| and | or |\\text)"
)
_LABEL = re.compile(
    r"^(?:the )?(?:point|vertex|cent(?:er|re)|focus|vector|coordinates|range|domain|interval)"
    r"(?: is| are| at)?:?\s+(?=[$\\(\[-])"
    r"|^[A-EMOPQ](?:'|_\d)?\s*(?=\(\s*[^(),]{1,30},[^()]{1,60}\)$)",
    re.IGNORECASE,
)
_MEASURE_OF = re.compile(r"(?<![A-Za-z\\])m\s*\\(?:measured)?angle\b")
_TENDS = re.compile(
    r"^(?:it )?(?:diverges|tends|goes|approaches) to\s+(?=\$?[-+−]?\s*(?:\\infty|∞|\w* ?infinity))", re.IGNORECASE
)
_OPTION = re.compile(
    rf"^(?:{_STYLE})?\s*\(?([A-Ha-h])(?:\)[.:]?|[.:])\s*\}}?(?:\s|[:~.]|\\ |\\quad|\\,)*(?=[-\d\\$])([^=]+)$", re.DOTALL
)
_AGAIN = re.compile(
    rf"^(.{{1,80}}?)[\s~\\]*(?:\((?:{_STYLE})?\s*(?:or|i\.e\.,?|=)\s*\}}?([^()]{{1,80}})\)"
    r"|\(((?:\d*\.\d+|[\d.]+\s*\\?%|\d+/\d+))\))$"
)


def rewritten(text: str) -> str:
    """``text`` in the lexer's notation; most text comes back as it is."""
    if text.startswith(("['", '["')):
        text = _QUOTED.sub(r"\2", text)
    if "\\" in text or "{" in text or not text.isascii():
        text = _in_latex(text)
    if "(" in text:
        text = _REMARK.sub("", _MODULUS.sub(_modulus, text)) if text.endswith((")", "}")) else text
        text = _CODE_LOG.sub(r"\\log_{\1}(", text) if "log" in text else text
    if "C" in text or "P" in text:
        text = _CHOOSE_CALL.sub(lambda call: _chosen(call[1], call[2], call[3]), text)
        text = _CHOOSE.sub(lambda match: _chosen(match[3], match[1] or match[2], match[4]), text)
    if "|" in text and "{" in text:
        text = _SUCH_THAT.sub(r"\1\\mid ", text)
    if text.endswith("[") or text.startswith("]"):
        text = _TURNED.sub(lambda ends: f"{_TURN.get(ends[1], '[')}{ends[2]}{_TURN_BACK.get(ends[3], ']')}", text)
    if text.startswith("<"):
        text = _ANGLES.sub(r"\\langle \1\\rangle ", text)
    if "ngle " in text:
        text = _FIGURE.sub(r"\\", text)
    if text.endswith(('"', "'", "″", "′")):
        text = _MARKED_LENGTH.sub(lambda mark: f"{mark[1]}\\text{{ {'ft' if mark[2] in _FEET_MARKS else 'in'}}}", text)
    if "x10" in text:
        text = _TIMES_TEN.sub(r"\\times 10", text)
    if " in " in text:
        text = _ELEMENT_OF.sub(r" \\in ", text)
    if " mod " in text:
        text = _MODULUS.sub(_modulus, text)
    if (
        "for" in text
        or "\\forall" in text
        or "∀" in text
        or "wh" in text
        or "if" in text
        or "with" in text
        or "prov" in text
    ):
        text = _CONDITION.sub(", ", _FOR_ALL.sub("", text))
    if text[:1].isalpha() or text.startswith("\\"):
        text = _TENDS.sub("", _LABEL.sub("", _ROUGHLY.sub("", _CODE.sub("", text))))
    return text


def with_grids(text: str) -> str:
    """The text with rows of numbers, one a line, as matrices."""
    return _GRID.sub(_as_matrix, text) if "\n" in text and _GRID_HINT.search(text) else text


def _as_matrix(match: re.Match[str]) -> str:
    """Rows of numbers, one a line, as a matrix."""
    rows = [line.split() for line in match[0].strip().split("\n")]
    if len({len(row) for row in rows}) != 1:
        return match[0]
    return "\n\\begin{pmatrix}" + r" \\ ".join(" & ".join(row) for row in rows) + "\\end{pmatrix}\n"


def _in_latex(text: str) -> str:
    text = _CURRENCY.sub(r"\\$", _DONE.sub("", text))
    if ":}" in text or "colon" in text:
        text = _COLON.sub(":", text)
    if "^" in text and ("mathrm" in text or "text" in text):
        text = _UNIT_INSIDE.sub(_unit_apart, text)
    if "angle" in text:
        text = _MEASURE_OF.sub(r"\\angle", text)
    if text.endswith(("Omega", "Ω", "m", "s", "}")):
        text = _GREEK_UNIT.sub(lambda unit: f"\\text{{ {_SMALL_UNITS.get(unit[1], 'ohm')}}}", text)
    if "^" in text:
        text = _DEGREES.sub(r"^\\circ ", text)
    if "onst" in text:
        text = _CONSTANT.sub("C", text)
    if "color" in text:
        text = _COLOUR.sub("", text)
    if "\\begin" in text:
        text = _BRACED_ROWS.sub(r"\\begin{cases}", _ROW_GAP.sub(r"\\\\", text))
        if "align" in text or "gathered" in text or "split" in text:
            text = _ALIGNED.sub(lambda rows: f"\\begin{{cases}}{rows[2].replace('&', '')}\\end{{cases}}", text)
        if "cases" in text:
            text = _IF.sub(" ", text)
    if "\\times" in text:
        text = _BOLD.sub(r"\\vec{\1}", text)
    if "frac" in text:
        text = _UNSPELT.sub(r"\\", _UNIT_FRACTION.sub(r"\\text{ \1}/\\text{\2}\3", text))
    if "\\{" in text:
        text = _MINUS_SET.sub(r"\1\\setminus ", text)
    if "C^" in text:
        text = _UPPER_FIRST.sub(r"C_{\2}^{\1}", text)
    if "text{\\" in text:
        text = _STYLED_SIGN.sub(r"\1", text)
    if text.endswith(("\\$", "€", "£", "¥", "₹")):
        text = _CURRENCY_LAST.sub(r"\2\1", text)
    return text.removesuffix("\\") if text.endswith("\\") and not text.endswith("\\\\") else text


def _unit_apart(match: re.Match[str]) -> str:
    """``\\mathrm{m\\,s^{-1}}`` as ``\\text{m}\\cdot\\text{s}^{-1}``."""
    parts: list[str] = []
    for name, power, stroke in _UNIT_PARTS.findall(match[1]):
        glue = "\\cdot" if name and parts and parts[-1] != "/" else ""
        parts += [glue + f"\\text{{{name}}}" if name else power or stroke] if name or power or stroke else []
    return " " + "".join(parts)


def _chosen(letter: str, n: str, k: str) -> str:
    return f"\\binom{{{n}}}{{{k}}}" if letter == "C" else f"\\frac{{{n}!}}{{({n}-{k})!}}"


def _modulus(match: re.Match[str]) -> str:
    return f"\\pmod{{{match[1] or match[2]}}}"


def variants(text: str) -> list[str]:
    """Further readings: the value beside a choice's letter, and a value that is given twice ("3/4 (or 0.75)")."""
    found = []
    if (option := _OPTION.match(text)) is not None:
        found.append(option[2])
    if text.endswith(")") and (again := _AGAIN.match(text)) is not None:
        found.append(f"{again[1]} or {again[2] or again[3]}")
    if text.endswith(")") and (points := _NAMED_POINTS.sub("", text)) != text:
        found.append(points)
    return found


def bare(text: str) -> str:
    """Without style macros, braces and dollars, white space collapsed."""
    for mark in ("}", "{", "$", "*", "\\"):
        text = MACRO.sub(" ", text).replace(mark, " ") if mark == "}" else text.replace(mark, " ")
    return " ".join(text.split())
